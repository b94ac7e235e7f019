"""Bundles on the hub: fetched, checked, followed, and used without it; what is wrong with one is one sentence."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from imgsearch.config import STARTER_BUNDLE, Settings
from imgsearch.engine import Engine
from imgsearch.environment import collection_name, is_from_elsewhere
from imgsearch.errors import BundleError, ImgsearchError, SettingsError
from imgsearch.files import FileDigest
from imgsearch.index.manifest import FILE_NAME, Manifest, Provenance, encoder_of, read_manifest
from imgsearch.index.remote import fetch_hub_bundles
from imgsearch.models.encoder import Encoder
from imgsearch.search.collection import open_collection
from tests.helpers.commands import Run
from tests.helpers.examples import NUM_EXAMPLES
from tests.helpers.hostile_bundles import seal, values_of
from tests.helpers.loopback_hub import Corrupt, Hang, LoopbackHub, Status

NAME = "hf://datasets/org/my.bundle"
REPO = "org/my.bundle"


@pytest.fixture
def pushed(
    hub: LoopbackHub, empty_cache: Path, copy_bundle: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The folder of a bundle that the hub has, with other files beside those of the bundle."""
    monkeypatch.setattr("imgsearch.downloads.ANSWER_S", 1.0)
    bundle = copy_bundle()
    (bundle / "README.md").write_text("---\nlicense: mit\n---\n")
    (bundle / "run.py").write_text("raise SystemExit('never')")
    hub.add(REPO, bundle, "dataset")
    return bundle


def folder_of(name: str = NAME) -> Path:
    [folder] = fetch_hub_bundles(Settings(index=(name,))).index
    assert isinstance(folder, Path)
    return folder


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def failure(name: str = NAME) -> str:
    with pytest.raises(ImgsearchError) as caught:
        folder_of(name)
    message = str(caught.value)
    assert "org/my.bundle" in message and not any(word in message for word in ("\n", "http:", "Traceback"))
    return message


def test_only_the_files_of_the_bundle_are_fetched(hub: LoopbackHub, pushed: Path, empty_cache: Path) -> None:
    folder = folder_of()
    assert names_in(folder) == {FILE_NAME, *read_manifest(pushed).files}
    assert all((folder / name).read_bytes() == (pushed / name).read_bytes() for name in names_in(folder))
    assert (
        folder.is_relative_to(constants.HF_HUB_CACHE)
        and is_from_elsewhere(folder)
        and collection_name(folder) == "my.bundle"
    )
    assert (
        not is_from_elsewhere(pushed)
        and not is_from_elsewhere(STARTER_BUNDLE)
        and collection_name(pushed) == pushed.name
    )
    assert fetch_hub_bundles(Settings()).index == (STARTER_BUNDLE,)


def test_a_branch_is_followed_and_a_commit_is_pinned(hub: LoopbackHub, pushed: Path) -> None:
    first = folder_of()
    hub.requests.clear()
    assert folder_of() == first and len(hub.requests) == 1
    (pushed / "README.md").write_text("another commit")
    commit = hub.add(REPO, pushed, "dataset")
    second = folder_of()
    assert second != first and commit in second.parts
    hub.requests.clear()
    assert folder_of(f"{NAME}@{commit}") == second and not hub.requests
    assert folder_of(f"{NAME}@{first.name}") == first and not hub.requests


@pytest.mark.parametrize("fault", [Hang(), Status(500)], ids=repr)
def test_what_was_fetched_last_is_taken_without_the_hub(
    hub: LoopbackHub, pushed: Path, fault: Hang, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of()
    if fault == Hang():
        monkeypatch.setattr("imgsearch.hub.PROBE_S", 1.0)
    hub.fault = fault
    assert folder_of() == folder
    hub.fault = None
    (pushed / "README.md").write_text("another commit")
    hub.add(REPO, pushed, "dataset")
    hub.fault = Status(500, "/resolve/")
    assert "answers 500" in failure()  # a newer one that is not here yet
    hub.fault = fault
    assert folder_of() == folder


def test_what_version_0_8_fetched_is_used_as_it_lies(hub: LoopbackHub, pushed: Path, empty_cache: Path) -> None:
    commit = hub.commit(f"datasets/{REPO}")
    folder = empty_cache / "hub" / "bundles--org--my.bundle" / commit / "my.bundle"
    shutil.copytree(pushed, folder)
    for revision in ("main", commit):
        record = "\n".join([commit, *sorted(names_in(pushed))])
        (folder.parents[1] / f"{revision}.txt").write_text(record)
    assert folder_of() == folder_of(f"{NAME}@{commit}") == folder and is_from_elsewhere(folder)
    hub.fault = Status(500)
    assert folder_of() == folder
    assert not [request for request in hub.requests if "/resolve/" in request.path]


def test_a_bundle_of_the_cache_that_shares_files_between_repositories_opens(
    hub: LoopbackHub, pushed: Path, encoder: Encoder
) -> None:
    """The client keeps what comes by its Xet storage once for all repositories, two links away."""
    folder = folder_of()
    store = Path(constants.HF_HUB_CACHE) / "blobs" / "ab"
    store.mkdir(parents=True)
    for path in [path for path in folder.iterdir() if path.suffix != ".json"]:
        blob = path.resolve()
        blob.rename(store / blob.name)
        blob.symlink_to(store / blob.name)
    assert len(open_collection(folder_of(), encoder, lambda done, total: None)) == NUM_EXAMPLES


@pytest.mark.parametrize("name", ["hf://org/my.bundle", "hf:/org/my.bundle", f"{NAME}/sub", f"{NAME}@"])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(SettingsError, match="is not the name of a bundle on the hub"):
        folder_of(name)


@pytest.mark.parametrize("name", ["hf://datasets/../x", "hf://datasets/a/..", "hf://datasets//a", "hf://models/a/b"])
def test_a_name_that_leads_elsewhere(name: str) -> None:
    with pytest.raises(SettingsError, match="is not the name of a bundle on the hub"):
        folder_of(name)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Status(404), "the hub knows no such bundle or revision (404)"),
        (Status(401), "the hub knows no such bundle, or does not show it to you"),
        (Hang(), "did not answer within 1 s"),
        (Corrupt(FILE_NAME, 2), "manifest.json arrived damaged"),
    ],
    ids=repr,
)
def test_what_cannot_be_had_is_told_and_got_over(
    hub: LoopbackHub, pushed: Path, fault: Hang, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fault = fault
    with monkeypatch.context() as patch:
        if fault == Hang():
            patch.setattr("imgsearch.hub.PROBE_S", 1.0)
        assert words in failure()
    hub.fault = None
    assert names_in(folder_of()) == {FILE_NAME, *read_manifest(pushed).files}


def push(hub: LoopbackHub, bundle: Path, **files: FileDigest) -> None:
    """Push a bundle whose manifest names these files too, and is otherwise in order."""
    seal(bundle, files={**values_of(bundle)["files"], **{name: asdict(digest) for name, digest in files.items()}})
    hub.add(REPO, bundle, "dataset")


@pytest.mark.parametrize("name", ["../x.bin", "a/b.bin", "/etc/passwd", ".hidden", "..", "", "a\0b", FILE_NAME, "a\\b"])
def test_a_file_by_a_name_that_leads_elsewhere_is_not_fetched(hub: LoopbackHub, pushed: Path, name: str) -> None:
    push(hub, pushed, **{name: FileDigest(3, "0" * 64)})
    assert "is no bundle: its manifest.json is damaged" in failure()
    assert not [request for request in hub.requests if request.path.endswith((".bin", ".faiss", "passwd"))]


def test_more_than_there_is_room_for_is_not_fetched(hub: LoopbackHub, pushed: Path) -> None:
    push(hub, pushed, **{"more.bin": FileDigest(2**62, "0" * 64)})
    assert "MB are free. Make room" in failure()
    assert not [request for request in hub.requests if request.path.endswith(".faiss")]


def test_what_is_larger_than_the_manifest_says_is_not_fetched(hub: LoopbackHub, pushed: Path) -> None:
    [vectors] = pushed.glob("vectors*")
    with vectors.open("ab") as file:
        file.write(bytes(2**21))
    hub.add(REPO, pushed, "dataset")
    assert "larger than it says" in failure()
    (pushed / FILE_NAME).write_text(" " * 2**21)
    hub.add(REPO, pushed, "dataset")
    assert "larger than it says" in failure()
    assert not [request for request in hub.requests if request.path.endswith(".faiss")]


def test_a_file_that_is_not_what_the_manifest_says_is_never_used(hub: LoopbackHub, pushed: Path) -> None:
    [vectors] = pushed.glob("vectors*")
    data = bytearray(vectors.read_bytes())
    data[-1] ^= 1
    vectors.write_bytes(data)
    hub.add(REPO, pushed, "dataset")
    for _ in range(2):
        assert "its files are not those of its manifest.json" in failure()
    hub.fault = Status(500)
    assert "answers 500" in failure() or "its files are not those" in failure()


@pytest.mark.parametrize("text", ["", "{}", "[" * 100_000, '{"files": 3}', "\udcff"])
def test_a_manifest_that_is_none(hub: LoopbackHub, pushed: Path, text: str) -> None:
    (pushed / FILE_NAME).write_bytes(text.encode(errors="surrogateescape"))
    hub.add(REPO, pushed, "dataset")
    assert "is no bundle: its manifest.json is damaged" in failure()
    (pushed / FILE_NAME).unlink()
    hub.add(REPO, pushed, "dataset")
    assert "is no bundle: manifest.json is missing" in failure()


def test_a_source_that_is_a_path_is_never_read_here(
    hub: LoopbackHub, pushed: Path, examples: Path, encoder: Encoder
) -> None:
    source = "../" * 40 + str(examples.relative_to("/"))  # from wherever it lies
    (pushed / FILE_NAME).write_text(replace(read_manifest(pushed), source=source).to_text(), "utf-8", newline="\n")
    index = open_collection(pushed, encoder, lambda done, total: None)
    item = next(item for item in map(index.item, range(len(index))) if index.original(item))
    hub.add(REPO, pushed, "dataset")
    fetched = open_collection(folder_of(), encoder, lambda done, total: None)
    assert fetched.item_by_id(item.id) == item and fetched.original(item) is None


def test_the_command_line_asks_it_and_changes_it_not(
    hub: LoopbackHub, pushed: Path, run: Run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(run("search", "a red fruit", "--index", NAME, "-k", "2", "--json").answer()["hits"]) == 2
    assert run("info", "--index", NAME, "--json").answer()["num_items"] == NUM_EXAMPLES
    assert "cannot be changed here" in run("remove", "--id", "skimage/coffee.jpg", "--index", NAME).refusal()
    monkeypatch.setenv("IMGSEARCH_INDEX", f"{NAME}@{hub.commit(f'datasets/{REPO}')}")
    assert "my.bundle" in run("info").out
    shutil.rmtree(pushed)
    hub.repos.clear()
    assert run("info", "--index", "hf://datasets/org/nothing").refusal()


def test_an_error_is_a_bundle_error(hub: LoopbackHub, empty_cache: Path) -> None:
    with pytest.raises(BundleError, match="^hf://datasets/org/nothing cannot be had: the hub knows no such bundle"):
        folder_of("hf://datasets/org/nothing")


@pytest.mark.parametrize("place", ["s3:/photos/starter.lance", "cache/datasets--a--b/snapshots/0123"])
@pytest.mark.parametrize("encoder", ["hf-hub:a/b", "local-dir:/models/a"])
def test_a_bundle_from_elsewhere_chooses_no_free_encoder_and_no_paths(place: str, encoder: str) -> None:
    manifest = Manifest.of(Provenance(encoder=encoder, source="/pictures"), Path("here"), 4, 1)
    with pytest.raises(BundleError, match="may not choose by itself. Give --encoder"):
        encoder_of(manifest, Path(place), "auto")
    assert encoder_of(manifest, Path("here"), "auto").model_id == encoder
    assert (manifest.at(Path(place)).source, manifest.at(Path("here")).source) == ("", "/pictures")
