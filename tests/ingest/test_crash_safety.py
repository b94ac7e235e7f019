"""Builds that are killed, interrupted, out of room or two at once: real processes, and nothing is ever lost."""

import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imgsearch.cli.main import main
from imgsearch.config import ROOT
from imgsearch.errors import InputError
from imgsearch.index.bundle import read_report
from imgsearch.index.index import Index
from imgsearch.index.manifest import read_manifest
from imgsearch.ingest.builder import build_index
from imgsearch.ingest.folder import Folder
from imgsearch.ingest.source import BuildOptions
from imgsearch.models.encoder import Encoder
from imgsearch.models.registry import load_encoder
from tests.helpers.tiny_bundles import check_same, contents_of, items_of, save_picture, save_pictures

SHARD_SIZE = 64
OPTIONS = BuildOptions(shard_size=SHARD_SIZE)
NUM_OLD = 5  # items of the bundle that stands there before
END_S = 5  # an interrupted build takes less


def build_arguments(folder: Path, bundle: Path, tiny: Path, *flags: str) -> list[str]:
    """The command line of a build with shards of 64 pictures."""
    models = ("--encoder", f"local-dir:{tiny}/clip", "--shard-size", str(SHARD_SIZE))
    return ["build", str(folder), "--out", str(bundle), *flags, *models]


class Process(subprocess.Popen[str]):
    """`python -m imgsearch build` with shards of 64 pictures."""

    def __init__(
        self, folder: Path, bundle: Path, tiny: Path, *flags: str, prefix: Sequence[str] = (), **more: Any
    ) -> None:
        command = [*prefix, sys.executable, "-m", "imgsearch", *build_arguments(folder, bundle, tiny, *flags)]
        self._outputs = [tempfile.TemporaryFile("w+", encoding="utf-8") for _ in range(2)]  # noqa: SIM115
        # Where the tests run in a shell's background, Ctrl-C would be ignored, by their children too.
        more = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)} | more
        super().__init__(command, cwd=ROOT, stdout=self._outputs[0], stderr=self._outputs[1], **more)

    def printed(self) -> str:
        """What stands on stdout."""
        self._outputs[0].seek(0)
        return self._outputs[0].read()

    def said(self) -> list[str]:
        """The lines on stderr, less the progress bar."""
        self._outputs[1].seek(0)
        lines = self._outputs[1].read().replace("\r", "\n").splitlines()
        return [line for line in lines if line.strip() and " pictures/s" not in line and " pictures [" not in line]


def work_of(bundle: Path) -> Path:
    return bundle.with_name(f".{bundle.name}.build")


def num_finished(bundle: Path) -> int:
    return len(list(work_of(bundle).glob("*/*.arrow")))


def finished(bundle: Path) -> dict[str, int]:
    """The finished shards of a build, each with the moment at which its file was written."""
    return {file.name: file.stat().st_mtime_ns for file in work_of(bundle).glob("*/*.arrow")}


def wait_until(condition: Callable[[], bool], process: Process, timeout_s: float = 120) -> None:
    """Until the condition holds or the process has ended."""
    deadline = time.monotonic() + timeout_s
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.002)


def wait_for_shards(bundle: Path, count: int, process: Process) -> None:
    wait_until(lambda: num_finished(bundle) >= count, process)
    assert process.poll() is None, process.said()


def start_old(bundle: Path, encoder: Encoder) -> dict[str, bytes]:
    """A bundle of a few other pictures; its files."""
    folder = save_pictures(bundle.parent / "few", NUM_OLD)
    build_index(Folder(folder), bundle, encoder)
    return dict(contents_of(bundle))


def first_done(folder: Path, bundle: Path, encoder: Encoder, options: BuildOptions = OPTIONS) -> int:
    """Finish a build; how many entries were done when it went on."""
    steps: list[int] = []
    build_index(Folder(folder), bundle, encoder, options, lambda done, total: steps.append(done - 1))
    return steps[0] if steps else -1


class Reader(threading.Thread):
    """Opens a bundle again and again, and searches it."""

    def __init__(self, bundle: Path) -> None:
        super().__init__(daemon=True)
        self._bundle = bundle
        self._is_over = threading.Event()
        self.sizes: set[int] = set()
        self.num_opened = 0
        self.errors: list[str] = []

    def run(self) -> None:
        while not self._is_over.wait(0.1):
            try:
                index = Index.load(self._bundle)
                hits = index.search(np.eye(1, index.dim, dtype=np.float32), 3)
                self.sizes.add(len(index))
                self.num_opened += 1
                assert len(hits) == 3 and all(hit.item.sha256 for hit in hits)
            except BaseException as error:
                self.errors.append(repr(error))

    def end(self) -> None:
        self._is_over.set()
        self.join()


def save_oddities(folder: Path) -> set[str]:
    """Pictures of odd modes and names, and files that are none; the ids of those that cannot be indexed."""
    picture = save_picture(folder / "0100a.png", 5000)
    shutil.copy(picture, folder / "0101 a PNG.jpg")
    rgb = Image.open(picture).convert("RGB")
    rgb.convert("CMYK").save(folder / "0500 CMYK.jpg")
    rgb.convert("LA").save(folder / "0501 LA.png")
    palette = rgb.convert("P")
    palette.save(folder / "0502 palette.png", transparency=3)
    deep = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 21
    Image.fromarray(deep).save(folder / "2900 16 bit.png")
    for number in (7, 8, 9):
        shutil.copy(folder / f"{number:04}.bmp", folder / f"{2990 + number}-copy.bmp")
    whole = (folder / "0010.bmp").read_bytes()
    header = struct.pack(">IIBBBBB", 10_000, 8_001, 8, 2, 0, 0, 0)
    broken = {
        "0000 cut.bmp": whole[: len(whole) // 2],
        "0300 zero.jpg": b"",
        "1500 text.jpg": b"no picture",
        "1501 noise.png": np.random.default_rng(1).bytes(500),
        "2000 huge.png": b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"\0" * 100)),
        "9999 last.gif": b"GIF89a",
        ".hidden.jpg": whole,
    }
    for name, data in broken.items():
        (folder / name).write_bytes(data)
    return set(broken)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


SHORT = ["starting", "working", "merging"]
LONG = ["starting"] * 4 + ["working"] * 12 + ["merging"] * 4


@pytest.mark.parametrize(
    ("num_pictures", "wanted", "least"),
    [(600, SHORT, (1, 1, 1)), pytest.param(3000, LONG, (3, 8, 2), marks=pytest.mark.long)],
    ids=["3 kills", "20 kills"],
)
def test_killed_again_and_again_the_bundle_equals_an_undisturbed_one(
    num_pictures: int,
    wanted: list[str],
    least: tuple[int, int, int],
    tmp_path: Path,
    tiny: Path,
    tiny_encoder: Encoder,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, bundle, undisturbed = tmp_path / "pictures", tmp_path / "out" / "bundle", tmp_path / "out" / "undisturbed"
    bundle.parent.mkdir()
    for number in range(num_pictures - 16):
        save_picture(folder / f"{number:04}.bmp", number)
    broken = save_oddities(folder)
    ids = [f"{number:04}.bmp" for number in range(0, num_pictures - 16, 3)]
    (folder / "metadata.csv").write_text("file_name,caption\n" + "".join(f"{id},a {id}\n" for id in ids), "utf-8")
    assert len(list(folder.iterdir())) == num_pictures + 1
    start_old(bundle, tiny_encoder)

    reader = Reader(bundle)
    reader.start()
    run = partial(Process, folder, bundle, tiny, "--precision", "float32")
    moments = kill_often(run, bundle, -(-(num_pictures - 1) // SHARD_SIZE), wanted)
    for path in (bundle, undisturbed):
        assert main(build_arguments(folder, path, tiny, "--precision", "float32", "--json")) == 0
        assert json.loads(capsys.readouterr().out) == json.loads((path / "report.json").read_text("utf-8"))
    reader.end()

    assert not reader.errors and reader.num_opened > len(wanted)
    assert reader.sizes == {NUM_OLD, num_pictures - len(broken)}
    for moment, number in zip(("starting", "working", "merging"), least, strict=True):
        assert moments.count(moment) >= number, moments
    check_same(bundle, undisturbed)
    assert read_manifest(bundle).files == read_manifest(undisturbed).files  # to the bit
    reports = [read_report(path) for path in (bundle, undisturbed)]
    for report, path in zip(reports, (bundle, undisturbed), strict=True):
        assert {skip.picture for skip in report.skipped} == broken and all(skip.reason for skip in report.skipped)
        assert report.num_items == report.num_encoded == len(items_of(path)) == num_pictures - len(broken)
        assert report.num_items + len(report.skipped) == num_pictures
        assert report.num_duplicates == 4
        assert not work_of(path).exists()
    assert reports[0].skipped == reports[1].skipped


def kill_often(run: Callable[[], Process], bundle: Path, num_shards: int, wanted: Sequence[str]) -> list[str]:
    """Kill runs of a build at such moments: what each was at. A shard that was finished once is never made again."""
    numbers = random.Random(20)
    early = [moment for moment in wanted if moment != "merging"]
    numbers.shuffle(early)
    moments: list[str] = []
    almost = bundle.with_name("almost")  # all shards are there, the bundle is the old one
    before: dict[str, int] = {}
    while len(moments) < len(wanted):
        moment = early[len(moments)] if len(moments) < len(early) else "merging"
        if len(before) == num_shards and moment == "working":
            moment = "merging"
        manifest = (bundle / "manifest.json").read_bytes()
        process = run()
        new = work_of(bundle) / "new"
        if moment == "starting":
            time.sleep(numbers.uniform(0, 3))
        elif moment == "working":
            wait_until(lambda: num_finished(bundle) > len(before) or new.exists(), process)  # noqa: B023
            time.sleep(numbers.uniform(0, 0.25))
        else:
            wait_until(new.exists, process)
            time.sleep(numbers.uniform(0, 0.2))
        process.kill()
        if process.wait() == -signal.SIGKILL:
            moments.append(moment)
        after = finished(bundle)
        if (bundle / "manifest.json").read_bytes() != manifest:  # it came to its end, and was cleaning up or through
            shutil.rmtree(work_of(bundle), ignore_errors=True)
            if almost.exists():
                shutil.copytree(almost, work_of(bundle))
        else:
            assert before.items() <= after.items()
            assert moment != "starting" or len(after) <= len(before) + 1
            if len(after) == num_shards and not almost.exists():
                shutil.copytree(work_of(bundle), almost)
        before = finished(bundle)
    return moments


def test_interrupted_a_build_ends_at_once_and_goes_on_later(tmp_path: Path, tiny: Path, tiny_encoder: Encoder) -> None:
    folder, bundle = save_pictures(tmp_path / "pictures", 768), tmp_path / "bundle"
    old = start_old(bundle, tiny_encoder)
    count = 0
    for number in (signal.SIGINT, signal.SIGTERM):
        process = Process(folder, bundle, tiny, "--precision", "float32")
        wait_for_shards(bundle, count + 2, process)
        before = time.monotonic()
        process.send_signal(number)
        assert process.wait(60) == 130
        assert time.monotonic() - before < END_S
        assert process.said() == ["imgsearch: interrupted. The same command goes on after the last finished shard."]
        assert process.printed() == ""
        assert contents_of(bundle) == old
        assert count + 2 <= num_finished(bundle) < 768 // SHARD_SIZE
        count = num_finished(bundle)
    assert first_done(folder, bundle, tiny_encoder) == count * SHARD_SIZE
    build_index(Folder(folder), tmp_path / "clean", tiny_encoder, OPTIONS)
    check_same(bundle, tmp_path / "clean")


@contextmanager
def small_disk(path: Path) -> Iterator[bool]:
    """A file system of 400 KB at a path, where one can be mounted here."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(path)]
    is_mounted = bool(shutil.which("mount")) and not subprocess.run(mount, capture_output=True).returncode
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_is_said_and_the_build_goes_on_when_there_is_room(
    tmp_path: Path, tiny: Path, tiny_encoder: Encoder
) -> None:
    folder = save_pictures(tmp_path / "pictures", 600)
    build_index(Folder(folder), tmp_path / "clean", tiny_encoder, OPTIONS)
    with small_disk(tmp_path / "disk") as is_mounted:
        bundle = tmp_path / "disk" / "bundle"
        old = start_old(bundle, tiny_encoder)
        more = {} if is_mounted else {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000,) * 2)}
        process = Process(folder, bundle, tiny, "--precision", "float32", **more)
        assert process.wait(120) == 2
        (line,) = process.said()
        assert "cannot be written" in line and "room" in line
        assert contents_of(bundle) == old
        counts = [num_finished(bundle)]
        for size in range(500, 4000, 100) if is_mounted else []:
            subprocess.run(["mount", "-o", f"remount,size={size}k", str(tmp_path / "disk")], check=True)
            try:
                assert first_done(folder, bundle, tiny_encoder) in (counts[-1] * SHARD_SIZE, -1)
                break
            except InputError as error:
                assert "cannot be written" in str(error) and "room" in str(error)
                assert contents_of(bundle) == old
                counts.append(num_finished(bundle))
        if is_mounted:  # it was out of room in the shards, and in what is made of them
            assert 0 < counts[0] < 10 == counts[-1] and counts == sorted(counts)
        else:
            assert first_done(folder, bundle, tiny_encoder) == counts[0] * SHARD_SIZE
        check_same(bundle, tmp_path / "clean")


def test_of_two_builds_into_one_bundle_the_second_is_refused(
    tmp_path: Path, tiny: Path, tiny_encoder: Encoder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, bundle = save_pictures(tmp_path / "pictures", 600), tmp_path / "bundle"
    old = start_old(bundle, tiny_encoder)
    first = Process(folder, bundle, tiny, "--precision", "float32")
    wait_for_shards(bundle, 1, first)
    first.send_signal(signal.SIGSTOP)
    try:
        assert main(build_arguments(folder, bundle, tiny, "--precision", "float32")) == 2
        refusal = f"imgsearch: {bundle} is being written by another process. Wait until it is done."
        assert capsys.readouterr().err.splitlines()[-1] == refusal
        with pytest.raises(InputError, match="another process"):
            Index.load(bundle).save(bundle)
        assert contents_of(bundle) == old
    finally:
        first.send_signal(signal.SIGCONT)
    wait_until(lambda: len(Index.load(bundle)) == 600, first)
    first.send_signal(signal.SIGINT)  # while it calibrates, or after
    assert first.wait(60) in (0, 130)
    build_index(Folder(folder), tmp_path / "clean", tiny_encoder, OPTIONS)
    check_same(bundle, tmp_path / "clean")


def test_after_a_kill_changed_options_never_mix(tmp_path: Path, tiny: Path, tiny_encoder: Encoder) -> None:
    folder, bundle = save_pictures(tmp_path / "pictures", 320), tmp_path / "killed" / "bundle"
    bundle.parent.mkdir()
    process = Process(folder, bundle, tiny, "--precision", "float32")
    wait_for_shards(bundle, 2, process)
    process.kill()
    process.wait()
    count = num_finished(bundle)
    half = load_encoder(f"local-dir:{tiny}/clip", "bfloat16")
    others = [
        (half, OPTIONS),
        (tiny_encoder, BuildOptions(shard_size=SHARD_SIZE, vectors="float32")),
        (tiny_encoder, BuildOptions(shard_size=SHARD_SIZE, limit=160)),
        (tiny_encoder, BuildOptions(shard_size=SHARD_SIZE, thumbnails=False)),
        (tiny_encoder, BuildOptions(shard_size=50)),
    ]
    for number, (encoder, options) in enumerate(others):
        parts = [tmp_path / f"{name}{number}" / "bundle" for name in ("after", "clean")]
        shutil.copytree(bundle.parent, parts[0].parent)
        assert first_done(folder, parts[0], encoder, options) == 0
        first_done(folder, parts[1], encoder, options)
        check_same(*parts)
        assert read_manifest(parts[0]).files == read_manifest(parts[1]).files
    assert first_done(folder, bundle, tiny_encoder) == count * SHARD_SIZE  # and the same ones still go on


def test_a_folder_that_changes_between_a_kill_and_the_next_run(
    tmp_path: Path, tiny: Path, tiny_encoder: Encoder
) -> None:
    folder, bundle = save_pictures(tmp_path / "pictures", 600), tmp_path / "bundle"
    process = Process(folder, bundle, tiny, "--precision", "float32")
    wait_for_shards(bundle, 3, process)
    process.kill()
    process.wait()
    count = num_finished(bundle)
    assert 3 <= count < 9
    save_picture(folder / "0000 in front.jpg", 7000)
    (folder / "0100.jpg").unlink()  # of a finished shard
    text = (folder / "metadata.csv").read_text("utf-8")
    (folder / "metadata.csv").write_text(text.replace("the picture 0101.jpg", "another caption"), "utf-8")
    report = build_index(Folder(folder), bundle, tiny_encoder, OPTIONS)
    assert report.num_items == 600
    assert report.num_encoded == 600 - count * SHARD_SIZE + 1  # what was encoded before the kill is taken over
    build_index(Folder(folder), tmp_path / "clean", tiny_encoder, OPTIONS)
    check_same(bundle, tmp_path / "clean", 1e-3)
    assert Index.load(bundle).item_by_id("0101.jpg").caption == "another caption"


def as_another_user(place: Path) -> list[str] | None:
    """What to put before a command for it to run without root's right to read everything; None where nothing does."""
    secret = place / "secret"
    secret.touch(0)
    secret.chmod(0)
    probe = "import sys\ntry: open(sys.argv[1])\nexcept PermissionError: import imgsearch.index.index; sys.exit(13)"
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    rights = ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"]
    for prefix in ([], user, rights):
        if prefix and not shutil.which(prefix[0]):
            continue
        command = [*prefix, sys.executable, "-c", probe, str(secret)]
        if subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 13:
            return prefix
    return None


def test_a_file_that_may_not_be_read_is_reported(tiny: Path, tiny_encoder: Encoder) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)  # the folders of pytest are closed to others
        if (prefix := as_another_user(place)) is None:
            pytest.skip("root reads every file here, and there is no way to run as another user")
        folder, bundle = save_pictures(place / "pictures", 20), place / "out" / "bundle"
        for closed in ("closed", "listed"):
            save_picture(folder / closed / "a.jpg", 8000)
        shutil.copytree(tiny / "clip", place / "clip")
        bundle.parent.mkdir()
        for path in (place, *place.rglob("*")):
            path.chmod(0o777)
        for path in (place / "secret", folder / "0002.jpg", folder / "closed"):
            path.chmod(0)
        (folder / "listed").chmod(0o444)  # its names may be read, what they name may not
        env = os.environ | {"HOME": name, "XDG_CACHE_HOME": name, "HF_HOME": f"{name}/hub"}
        process = Process(folder, bundle, place, "--precision", "float32", prefix=prefix, env=env)
        assert process.wait(120) == 0, process.said()
        report = read_report(bundle)
        assert {skip.picture: skip.reason for skip in report.skipped} == {
            "0002.jpg": "cannot be read: Permission denied",
            "closed": "cannot be read: Permission denied",
            "listed/a.jpg": "cannot be read: Permission denied",
        }
        assert report.num_items == 19
        assert "Not indexed: 0002.jpg: cannot be read" in process.printed()
        (folder / "0002.jpg").unlink()
        for closed in ("closed", "listed"):
            shutil.rmtree(folder / closed)
        build_index(Folder(folder), place / "clean", tiny_encoder, OPTIONS)
        check_same(bundle, place / "clean")
