"""Captions that a model wrote: where there is none, never twice, kept by updates, exported and never over a file."""

import csv
import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgsearch.errors import InputError, ModelError, PictureError
from imgsearch.images import to_webp
from imgsearch.index.bundle import bundle_writer
from imgsearch.index.captions import NOTES, add_captions, export_captions, export_sidecars
from imgsearch.index.edit import merge, remove
from imgsearch.index.index import Index
from imgsearch.index.items import MAX_TEXT
from imgsearch.index.manifest import Provenance
from imgsearch.ingest.builder import build_index
from imgsearch.ingest.folder import Folder
from imgsearch.ingest.source import BuildOptions
from imgsearch.models.encoder import Encoder
from imgsearch.records import CAPTIONED_BY, GENERATED_CAPTION, Item, Skip
from tests.helpers.tables import ignore
from tests.helpers.tiny_bundles import check_same, contents_of, items_of, save_picture, save_pictures

NUM_PICTURES, BARE = 12, 6  # every other one has a caption
MODEL = "test/writer"
Describe = Callable[[bytes], str]


def words_of(picture: bytes) -> str:
    return f"a picture of {hashlib.sha256(picture).hexdigest()[:8]}"


class Writer:
    """Writes `words_of` pictures, and notes of which."""

    def __init__(self, fails_at: int = -1, error: Exception | None = None) -> None:
        self.texts: list[str] = []
        self._fails_at, self._error = fails_at, error

    def __call__(self, picture: bytes) -> str:
        if len(self.texts) == self._fails_at and self._error:
            raise self._error
        self.texts.append(words_of(picture))
        return self.texts[-1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Encoder) -> Path:
    folder = tmp_path_factory.mktemp("captions")
    build_index(Folder(save_pictures(folder / "pictures", NUM_PICTURES)), folder / "bundle", tiny_encoder)
    return folder


@pytest.fixture
def bundle(built: Path, tmp_path: Path) -> Path:
    """A bundle of one's own, and its pictures beside it."""
    return Path(shutil.copytree(built, tmp_path / "own")) / "bundle"


def describe_all(bundle: Path, describe: Describe = words_of, model: str = MODEL) -> int:
    count, skips = add_captions(bundle, describe, model, ignore)
    assert not skips
    return count


def generated(bundle: Path) -> Mapping[str, str]:
    return {item.id: item.generated_caption for item in items_of(bundle) if item.generated_caption}


def test_only_what_has_no_caption_is_described_and_nothing_else_changes(bundle: Path) -> None:
    before = Index.load(bundle)
    old, rows = items_of(bundle), before.rows
    writer = Writer()
    assert describe_all(bundle, writer) == len(writer.texts) == BARE
    after = items_of(bundle)
    assert np.array_equal(Index.load(bundle).rows, rows)
    for item, new in zip(old, after, strict=True):
        text = words_of((bundle.with_name("pictures") / item.id).read_bytes())
        own = {} if item.caption else {GENERATED_CAPTION: text, CAPTIONED_BY: MODEL}
        assert new == replace(item, columns={**item.columns, **own})
    assert not list(bundle.parent.glob(".*"))
    stored = contents_of(bundle)
    assert describe_all(bundle, Writer(0, AssertionError())) == 0 and contents_of(bundle) == stored


def test_a_failure_ends_in_one_sentence_and_the_next_run_goes_on(bundle: Path, tmp_path: Path) -> None:
    once = Path(shutil.copytree(bundle.parent, tmp_path / "once")) / "bundle"
    describe_all(once)
    stored, first = contents_of(bundle), Writer(3, RuntimeError("out of luck\nand more"))
    with pytest.raises(ModelError, match=r"test/writer failed at .*\.jpg \(out of luck and more\)") as failed:
        describe_all(bundle, first)
    assert "\n" not in str(failed.value) and contents_of(bundle) == stored
    with (bundle.with_name(".bundle.build") / NOTES).open("a") as file:
        file.write('\nnull\n["a", "b", 3]\n["half of a li')  # as after a kill in the middle of writing, and worse
    second = Writer()
    assert describe_all(bundle, second) == BARE
    assert len(first.texts) == 3 and len(second.texts) == BARE - 3 and not set(first.texts) & set(second.texts)
    check_same(bundle, once)


def test_a_picture_that_cannot_be_read_is_left_out(bundle: Path) -> None:
    writer = Writer(1, PictureError("It is damaged."))

    def describe(picture: bytes) -> str:
        try:
            return writer(picture)
        except PictureError:
            writer.texts.append("")
            raise

    count, skips = add_captions(bundle, describe, MODEL, ignore)
    assert count == BARE - 1 and [skip.reason for skip in skips] == ["It is damaged."]
    assert len(generated(bundle)) == BARE - 1 and skips[0].picture not in generated(bundle)
    assert add_captions(bundle, lambda picture: "", MODEL, ignore)[1][0].reason == "the captioner wrote nothing"
    assert describe_all(bundle) == 1


def test_of_a_picture_that_is_gone_the_thumbnail_is_described(bundle: Path, tiny_encoder: Encoder) -> None:
    pictures = bundle.with_name("pictures")
    build_index(Folder(pictures), bundle.with_name("bare"), tiny_encoder, BuildOptions(thumbnails=False))
    (pictures / "0002.jpg").unlink()
    seen: list[bytes] = []
    assert describe_all(bundle, lambda picture: seen.append(picture) or "words") == BARE
    assert Index.load(bundle).item_by_id("0002.jpg").thumbnail in seen
    count, skips = add_captions(bundle.with_name("bare"), words_of, MODEL, ignore)
    assert count == BARE - 1 and skips == [Skip("0002.jpg", "its file is gone or has changed")]


def test_a_long_text_is_cut_and_a_copy_is_described_once(bundle: Path, tiny_encoder: Encoder) -> None:
    pictures = bundle.with_name("pictures")
    shutil.copy(pictures / "0002.jpg", pictures / "copy.jpg")
    build_index(Folder(pictures), bundle, tiny_encoder, BuildOptions(update=True))
    calls: list[bytes] = []

    def describe(picture: bytes) -> str:
        calls.append(picture)
        return "\ud800" + 100_000 * "a"

    assert describe_all(bundle, describe) == BARE + 1 and len(calls) == BARE
    assert {*generated(bundle).values()} == {"?" + (MAX_TEXT - 1) * "a"}


def test_an_item_of_very_many_columns_stays_readable(tmp_path: Path) -> None:
    item = Item(
        "a", "", {f"column {number}": "x" for number in range(1000)}, "0" * 64, to_webp(Image.new("RGB", (8, 8)))
    )
    Index.from_rows(np.ones((1, 1), np.float32), [item], Provenance(encoder="test/encoder")).save(tmp_path / "bundle")
    describe_all(tmp_path / "bundle")
    assert items_of(tmp_path / "bundle") == [item]  # there is no room for more


def test_an_update_keeps_them_where_the_picture_is_the_same(bundle: Path, tiny_encoder: Encoder) -> None:
    pictures = bundle.with_name("pictures")
    describe_all(bundle)
    before = generated(bundle)
    text = (pictures / "metadata.csv").read_text("utf-8")
    (pictures / "metadata.csv").write_text(f"{text}0002.jpg,at last a caption,2\n", "utf-8")
    (pictures / "0004.jpg").rename(pictures / "renamed.jpg")
    save_picture(pictures / "0008.jpg", 500)  # changed
    save_picture(pictures / "new.jpg", 501)
    build_index(Folder(pictures), bundle, tiny_encoder, BuildOptions(update=True))
    kept = {id: text for id, text in before.items() if id not in ("0002.jpg", "0004.jpg", "0008.jpg")}
    assert generated(bundle) == kept | {"renamed.jpg": before["0004.jpg"]} and len(kept) == BARE - 3
    item = Index.load(bundle).item_by_id("0002.jpg")
    assert item.caption == "at last a caption" and not {GENERATED_CAPTION, CAPTIONED_BY} & item.columns.keys()
    assert describe_all(bundle) == 2  # the changed one, and the new one
    build_index(Folder(pictures), bundle, tiny_encoder, BuildOptions(update=True, captions=False))
    assert not generated(bundle) and len(items_of(bundle)) == NUM_PICTURES + 1


def test_an_update_that_was_interrupted_before_keeps_them(bundle: Path, tiny_encoder: Encoder) -> None:
    """Its finished shards were made when there were none."""
    options = BuildOptions(update=True, shard_size=4)

    def stop(done: int, total: int | None) -> None:
        if done == 10:
            raise TimeoutError

    with pytest.raises((TimeoutError, InputError)):
        build_index(Folder(bundle.with_name("pictures")), bundle, tiny_encoder, options, stop)
    describe_all(bundle)
    before = generated(bundle)
    seen: list[int] = []
    build_index(
        Folder(bundle.with_name("pictures")), bundle, tiny_encoder, options, lambda done, total: seen.append(done)
    )
    assert seen[0] > 8 and generated(bundle) == before and len(before) == BARE


def test_a_users_own_column_wins(bundle: Path, tiny_encoder: Encoder) -> None:
    pictures = bundle.with_name("pictures")
    (pictures / "metadata.csv").write_text(f"file_name,caption,{GENERATED_CAPTION}\n0002.jpg,,mine\n", "utf-8")
    for _ in range(2):
        build_index(Folder(pictures), bundle, tiny_encoder, BuildOptions(update=True))
        describe_all(bundle)
        item = Index.load(bundle).item_by_id("0002.jpg")
        assert item.generated_caption == "mine" and CAPTIONED_BY not in item.columns


def test_they_stay_when_pictures_are_removed_or_bundles_merged(bundle: Path, tmp_path: Path) -> None:
    describe_all(bundle)
    kept = generated(bundle)
    remove(bundle, ["0002.jpg", "0001.jpg"])
    assert generated(bundle) == {id: text for id, text in kept.items() if id != "0002.jpg"}
    merge([bundle], tmp_path / "merged")
    assert generated(tmp_path / "merged") == generated(bundle)


def test_words_of_them_are_found_but_not_the_name_of_the_model(bundle: Path) -> None:
    describe_all(bundle)
    for item, text in zip(items_of(bundle), Index.load(bundle).texts(), strict=True):
        assert item.any_caption and item.any_caption in text and MODEL not in text


def test_one_writer_at_a_time(bundle: Path) -> None:
    with bundle_writer(bundle), pytest.raises(InputError, match="another process"):
        describe_all(bundle)


def test_all_captions_are_exported_with_who_wrote_them(bundle: Path, tmp_path: Path) -> None:
    describe_all(bundle, lambda picture: "=1+1")
    file = tmp_path / "captions.csv"
    assert export_captions(bundle, file) == NUM_PICTURES
    with file.open(encoding="utf-8", newline="") as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream)}
    for item in items_of(bundle):
        own = {"caption": item.caption, CAPTIONED_BY: ""} if item.caption else {"caption": "'=1+1", CAPTIONED_BY: MODEL}
        assert rows[item.id] == {"id": item.id, **own}
    for no_file in (tmp_path / "none" / "a.csv", tmp_path):
        with pytest.raises(InputError, match="cannot be written"):
            export_captions(bundle, no_file)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["captions.csv"]


def test_a_text_for_each_picture(bundle: Path, tmp_path: Path, tiny_encoder: Encoder) -> None:
    describe_all(bundle)
    (tmp_path / "texts" / "sub").mkdir(parents=True)
    (tmp_path / "texts" / "0001.txt").write_text("a person's", "utf-8")
    count, skips = export_sidecars(bundle, tmp_path / "texts")
    assert count == NUM_PICTURES - 1 and skips == [Skip("0001.jpg", "File exists")]
    assert (tmp_path / "texts" / "0001.txt").read_text("utf-8") == "a person's"
    items = [item for item in items_of(bundle) if item.id != "0001.jpg"]
    for item in items:
        text = (tmp_path / "texts" / item.id).with_suffix(".txt").read_text("utf-8")
        assert text == f"{item.any_caption}\n"
    with pytest.raises(InputError, match="is a file"):
        export_sidecars(bundle, tmp_path / "texts" / "0001.txt")
    shutil.copytree(tmp_path / "texts", bundle.with_name("pictures"), dirs_exist_ok=True)  # as `build` reads them
    (bundle.with_name("pictures") / "metadata.csv").unlink()
    build_index(Folder(bundle.with_name("pictures")), bundle, tiny_encoder)
    assert {item.id: item.caption for item in items_of(bundle)} == {
        **{item.id: item.any_caption for item in items},
        "0001.jpg": "a person's",
    }


HOSTILE = ["../out", "/etc/out", "a/../../out", "..", "link/out", "x\0y", "n" * 300, "sub", "sub/a.b", "sub/a.c"]


def test_no_text_leaves_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    (folder / "sub.txt").symlink_to(tmp_path / "elsewhere.txt")
    items = [Item(id, f"a {number}\x1b", {}, f"{number:064}", b"") for number, id in enumerate(HOSTILE)]
    index = Index.from_rows(np.ones((len(items), 1), np.float32), items, Provenance(encoder="test/encoder"))
    index.save(tmp_path / "bundle")
    count, skips = export_sidecars(tmp_path / "bundle", folder)
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*.txt") if not path.is_symlink()}
    assert written == {"...txt", "sub/a.b.txt", "sub/a.c.txt"} and count == 3  # ids of no files have no ending
    assert {skip.picture for skip in skips} == {*HOSTILE} - {"..", "sub/a.b", "sub/a.c"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "texts"]
    assert "\x1b" not in (folder / "sub" / "a.b.txt").read_text("utf-8")
