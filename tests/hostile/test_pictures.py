"""Every hostile file through the decoder and the command line: a picture or one sentence, and the process lives."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgsearch.cli.main import main
from imgsearch.errors import PictureError
from imgsearch.images import SEEN_PIXELS
from imgsearch.web.security.decoder import MAX_KEPT, Decoder
from tests.helpers.hostile_pictures import Hostile, encoded, make_hostile, photo

TIMEOUT_S = 6
GROWTH_BYTES = 64 * 2**20 + MAX_KEPT * 3 * SEEN_PIXELS  # what is kept, and what the allocator keeps for itself
STARTER = ("--encoder", "starter", "--captioner", "starter")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> list[Hostile]:
    return make_hostile(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(timeout_s=TIMEOUT_S)
    yield decoder
    decoder.close()


def own_bytes() -> int:
    """What this process holds in memory of its own."""
    (size,) = re.findall(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(size) * 1024


def test_there_are_many_of_both_kinds(hostile: list[Hostile]) -> None:
    kinds = [each.is_picture for each in hostile]
    assert len({each.path.name for each in hostile}) == len(hostile) > 60
    assert kinds.count(True) > 20 and kinds.count(False) > 40


def test_a_picture_or_one_sentence(hostile: list[Hostile], decoder: Decoder) -> None:
    decoder.open_rgb(hostile[-1].path, "It")
    before = own_bytes()
    wrong = []
    for each in hostile:
        if each.path.name == "slow.jpg":  # the next test waits for it
            continue
        try:
            image = decoder.open_rgb(each.path, "It")
            sound = image.mode == "RGB" and 0 < image.width * image.height <= SEEN_PIXELS
            came = "a picture" if each.is_picture is not False and sound else f"{image.mode} {image.size}"
        except PictureError as error:
            sound = re.fullmatch(r"It [^\n.]+\. [^\n.]+\.", str(error)) is not None
            came = "refused" if not each.is_picture and sound else str(error)
        if came not in ("a picture", "refused"):
            wrong.append((each, came))
    assert not wrong
    assert own_bytes() < before + GROWTH_BYTES


def test_decodes_that_are_endless_or_huge_are_refused(hostile: list[Hostile], decoder: Decoder) -> None:
    messages = {"slow.jpg": "takes too long", "skips.bmp": "a side of more", "tile_of_2_gigabytes.tiff": "damaged"}
    for each in hostile:
        if message := messages.pop(each.path.name, None):
            with pytest.raises(PictureError, match=message):
                decoder.open_rgb(each.path, "It")
    assert not messages


def test_the_command_line_refuses_in_one_line(hostile: list[Hostile], capfd: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for each in hostile:
        if each.is_picture or each.path.name == "slow.jpg":  # one's own file may take its time
            continue
        code = main(["describe", str(each.path), *STARTER])
        printed, errors = capfd.readouterr()
        is_told = code == 2 and printed == "" and errors.count("\n") == 1 and errors[:-1].isprintable()
        is_described = code == 0 and printed != "" and errors == ""
        if not is_told and (each.is_picture is False or not is_described):
            wrong.append((each, code, errors))
    assert not wrong


def test_a_build_takes_what_is_a_picture(
    hostile: list[Hostile], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for each in hostile:
        if each.path.name != "slow.jpg":
            (folder / each.path.name).hardlink_to(each.path)
    skipped, noted = set[str](), set[str]()
    for part in ("1/2", "2/2"):  # of parts no map is drawn
        flags = ("--out", str(tmp_path / part[0]), "--shard", part, "--encoder", "starter", "--json")
        assert main(["build", str(folder), *flags]) == 0
        for skip in json.loads(capfd.readouterr().out)["skipped"]:
            (noted if skip["is_note"] else skipped).add(skip["picture"])
    assert not [each for each in hostile if each.is_picture and each.path.name in skipped]
    refused = {each.path.name for each in hostile if each.is_picture is False}
    assert not refused - skipped - noted


@pytest.mark.parametrize("name", ["a\nb\x1b[2J.jpg", "\u202egpj.jpg", os.fsdecode(b"\xff\xfe.jpg")])
def test_a_refusal_shows_the_name_as_letters(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_bytes(encoded(photo(), "JPEG")[:100])
    assert main(["describe", str(tmp_path / name), *STARTER]) == 2
    (line,) = capfd.readouterr().err.split("\n")[:-1]
    assert line.isprintable() and line.endswith(".")


@pytest.mark.parametrize("command", ["describe", "similar"])
def test_the_command_line_waits_for_no_pipe(command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", "/dev/zero", "/dev/stdin", "/proc/self/mem"):
        assert main([command, str(path), "--encoder", "starter"]) == 2
        assert len(capfd.readouterr().err.splitlines()) == 1
