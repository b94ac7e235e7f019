"""Worker processes that decode: the same pictures as here, and nothing that a file does reaches this process."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgsearch.config import ROOT
from imgsearch.engine import Engine
from imgsearch.errors import BusyError, PictureError
from imgsearch.images import open_rgb
from imgsearch.search.query import Part
from imgsearch.web.security.decoder import MAX_KEPT, NICENESS, Decoder
from tests.helpers.app import wait_until
from tests.helpers.hostile_pictures import encoded, slow_jpeg


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slow") / "slow.jpg"
    path.write_bytes(slow_jpeg())
    return path


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    decoder = Decoder()
    yield decoder
    decoder.close()


@pytest.fixture
def single() -> Iterator[Decoder]:
    """One worker that is given a second."""
    decoder = Decoder(1, timeout_s=1)
    yield decoder
    decoder.close()


@pytest.fixture
def coffee(examples: Path) -> Path:
    return examples / "skimage" / "coffee.jpg"


def workers() -> set[int]:
    return {process.pid for process in active_children() if process.pid}


def check_works(decoder: Decoder, path: Path) -> None:
    assert decoder.open_rgb(path, "It").size == open_rgb(path).size


@pytest.mark.parametrize("side", [None, 224])
def test_gives_what_is_decoded_here(decoder: Decoder, photo: Image.Image, tmp_path: Path, side: int | None) -> None:
    path = tmp_path / "large.jpg"
    path.write_bytes(encoded(photo.resize((3000, 2000)), "JPEG"))
    decoded = decoder.open_rgb(path, "It", side)
    assert decoded.mode == "RGB" and np.array_equal(decoded, open_rgb(path, side=side))


def test_the_engine_takes_it_like_any_picture(decoder: Decoder, engine: Engine, coffee: Path) -> None:
    for box in (None, (0.1, 0.2, 0.7, 0.9)):
        answers = [engine.query([Part(image=image, box=box)], 5) for image in (coffee, decoder.open_rgb(coffee, "It"))]
        assert answers[0].hits == answers[1].hits
    assert engine.describe(decoder.open_rgb(coffee, "It")).tags == engine.describe(coffee).tags


def test_refuses_in_the_same_words(decoder: Decoder, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    for path in (tmp_path / "notes.txt", tmp_path / "none.jpg", tmp_path / "nul\0.jpg"):
        with pytest.raises(PictureError) as expected:
            open_rgb(path, "holiday.jpg")
        with pytest.raises(PictureError) as raised:
            decoder.open_rgb(path, "holiday.jpg", None)
        assert str(raised.value) == str(expected.value)


def test_what_takes_too_long_is_killed(single: Decoder, slow: Path, coffee: Path) -> None:
    check_works(single, coffee)
    before = workers()
    with pytest.raises(PictureError, match="It takes too long to decode"):
        single.open_rgb(slow, "It")
    assert not before & workers()
    check_works(single, coffee)


def test_who_asks_at_once_shares_one_decode(single: Decoder, slow: Path, coffee: Path) -> None:
    check_works(single, coffee)
    seen = workers()
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(single.open_rgb, slow, "It") for _ in range(4)]
        while not all(future.done() for future in futures):
            seen |= workers()
            time.sleep(0.02)
    assert all(isinstance(future.exception(), PictureError) for future in futures)
    with pytest.raises(PictureError, match="too long"):
        single.open_rgb(slow, "It")
    assert single.open_rgb(coffee, "It", 224).size  # not kept yet, so it needs a worker
    assert len(seen | workers()) == 2  # one was killed, once


def test_a_client_may_use_some_of_the_workers_only(slow: Path, coffee: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder(2, timeout_s=60, max_own=1)
    check_works(decoder, coffee)
    monkeypatch.setattr("imgsearch.web.security.decoder.WAIT_S", 0.5)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(decoder.open_rgb, slow, "It", None, None, "greedy")
        time.sleep(0.2)
        with pytest.raises(BusyError, match="too many pictures wait"):
            decoder.open_rgb(coffee, "It", 224, None, "greedy")
        assert decoder.open_rgb(coffee, "It", 224, None, "modest").size
        assert not future.done()
        decoder.close()


def test_none_is_decoded_twice_in_a_row(decoder: Decoder, tmp_path: Path) -> None:
    def decoded(path: Path) -> object:
        return decoder.open_rgb(path, "It").getpixel((0, 0))

    path, other = tmp_path / "a.bmp", tmp_path / "b.bmp"
    red, blue = (encoded(Image.new("RGB", (4, 4), colour), "BMP") for colour in ("red", "blue"))
    path.write_bytes(red)
    facts = path.stat()
    assert decoded(path) == (255, 0, 0)
    path.write_bytes(blue)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert decoded(path) == (255, 0, 0)  # it seems to be the same file
    os.utime(path, ns=(0, 0))
    assert decoded(path) == (0, 0, 255)
    path.write_bytes(red)
    os.utime(path, ns=(0, 0))
    for number in range(MAX_KEPT):
        other.write_bytes(red)
        os.utime(other, ns=(0, number))
        assert decoded(other) == (255, 0, 0)
    assert decoded(path) == (255, 0, 0)  # it was forgotten


@pytest.mark.parametrize("is_busy", [True, False])
def test_a_worker_that_dies_is_replaced(slow: Path, coffee: Path, is_busy: bool) -> None:
    decoder = Decoder(1, timeout_s=60)
    check_works(decoder, coffee)
    (worker,) = workers()
    with ThreadPoolExecutor(1) as pool:
        if is_busy:
            future = pool.submit(decoder.open_rgb, slow, "It")
            wait_for_work(worker)
        os.kill(worker, signal.SIGSEGV)
        if is_busy:
            assert "It is damaged" in str(future.exception())
    wait_until(lambda: worker not in workers())
    decoder.open_rgb(coffee, "another name", None)
    decoder.close()
    assert not workers()


def test_a_worker_is_bound(decoder: Decoder, coffee: Path) -> None:
    check_works(decoder, coffee)
    nice = os.getpriority(os.PRIO_PROCESS, 0) + NICENESS
    for pid in workers():
        wait_until(lambda pid=pid: os.getpriority(os.PRIO_PROCESS, pid) == nice)
        wait_until(lambda pid=pid: 2**31 < resource.prlimit(pid, resource.RLIMIT_AS)[0] < 2**33)
        wait_until(lambda pid=pid: resource.prlimit(pid, resource.RLIMIT_CORE)[0] == 0)


def test_closing_ends_a_decode_at_once(slow: Path, coffee: Path) -> None:
    decoder = Decoder(1, timeout_s=60)
    check_works(decoder, coffee)
    (worker,) = workers()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(decoder.open_rgb, slow, "It")
        wait_for_work(worker)
        decoder.close()
        assert isinstance(future.exception(timeout=5), PictureError) and not workers()


PROGRAM = """if True:
    import signal, sys
    from multiprocessing import active_children
    from pathlib import Path
    from imgsearch.web.security.decoder import Decoder

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    decoder = Decoder(timeout_s=60)
    decoder.open_rgb(Path(sys.argv[1]), "It")
    print(*(process.pid for process in active_children()), flush=True)
    try:
        decoder.open_rgb(Path(sys.argv[2]), "It")
    except KeyboardInterrupt:
        decoder.close()
"""


@pytest.mark.parametrize("is_group", [False, True])
def test_the_end_of_the_program_ends_the_workers(slow: Path, coffee: Path, is_group: bool) -> None:
    command = [sys.executable, "-c", PROGRAM, str(coffee), str(slow)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout
    pids = [int(pid) for pid in process.stdout.readline().split()]
    wait_until(lambda: any(seconds_of(pid) > 0.5 for pid in pids))
    if is_group:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    else:
        process.terminate()
    _, errors = process.communicate(timeout=5)
    assert (process.returncode, errors) == (0, "") and len(pids) == 2
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def seconds_of(pid: int) -> float:
    """The processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for_work(pid: int) -> None:
    """Until a worker has begun to decode."""
    start = seconds_of(pid)
    wait_until(lambda: seconds_of(pid) > start + 0.1)


def test_waiting_is_not_blamed_on_the_picture(
    single: Decoder, slow: Path, coffee: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_works(single, coffee)  # the worker is there
    monkeypatch.setattr("imgsearch.web.security.decoder.WAIT_S", 0.8)
    others = [slow.with_name(f"{i}.jpg") for i in range(3)]
    for path in others:
        path.write_bytes(slow.read_bytes())
    with ThreadPoolExecutor(3) as visitors:
        errors = [outcome.exception() for outcome in [visitors.submit(single.open_rgb, path, "It") for path in others]]
    kinds = [type(error) for error in errors]
    assert kinds.count(PictureError) >= 1 and kinds.count(BusyError) >= 1 and {*kinds} == {PictureError, BusyError}
    assert all(("too long" if type(error) is PictureError else "wait") in str(error) for error in errors)
