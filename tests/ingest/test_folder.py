"""A walked folder: every file comes out as a picture or is reported."""

import os
import shutil
from pathlib import Path

import pytest

from imgsearch.errors import InputError
from imgsearch.ingest.folder import Folder
from imgsearch.records import Picture, Skip


def read(path: Path) -> tuple[dict[str, Picture], dict[str, str]]:
    folder = Folder(path)
    entries = [*folder.skips, *folder.read()]
    skips = {entry.picture: entry.reason for entry in entries if isinstance(entry, Skip)}
    return {entry.id: entry for entry in entries if isinstance(entry, Picture)}, skips


def test_joins_the_metadata(folder: Path) -> None:
    pictures, skips = read(folder)
    assert len(pictures) == 6 and not skips
    assert pictures["coffee.jpg"].caption == "a cup of coffee"
    assert pictures["coffee.jpg"].columns == {"subject": "food"}
    assert pictures["coffee.jpg"].read() == (folder / "coffee.jpg").read_bytes()


def test_loses_nothing_unreported(folder: Path, starter_bundle: Path) -> None:
    odd = ["train/a.jpg", "test/b.jpg", "my[dir]/c.jpg", "no suffix", "d.avif", "deep/er/e.JPEG"]
    for name in odd:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "coffee.jpg", folder / name)
    (folder / ".hidden.jpg").write_bytes(b"x")
    (folder / ".git").mkdir()
    (folder / "link").symlink_to(folder.parent)
    (folder / "loop").symlink_to("loop")
    (folder / "outside.jpg").symlink_to("/etc/hostname")
    shutil.copytree(starter_bundle, folder / "bundle")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpg")).write_bytes(b"x")
    with (folder / "metadata.csv").open("a", encoding="utf-8") as file:
        file.write("gone.jpg,a ghost,x\ncoffee.jpg,again,x\n../../etc/passwd,no,x\n/etc/hosts,no,x\n")
        file.write("test/../train/a.jpg,joined,x,more\n,no name,x\n")
    pictures, skips = read(folder)
    assert set(odd) <= pictures.keys() and len(pictures) == 12
    assert skips.keys() == {
        ".hidden.jpg", ".git", "link", "loop", "outside.jpg", "bundle", "caf\\udce9.jpg",
        "gone.jpg", "../../etc/passwd", "/etc/hosts",
        "metadata.csv, line 9", "metadata.csv, line 12", "metadata.csv, line 13",
    }  # fmt: skip
    assert pictures["coffee.jpg"].caption == "a cup of coffee"
    assert pictures["train/a.jpg"].caption == "joined"


@pytest.mark.parametrize("data", [b"a,b\n1,2\n", b"\xff\xfe\xfa", b"", b"file_name,a,a\n"])
def test_refuses_unusable_metadata(folder: Path, data: bytes) -> None:
    (folder / "metadata.csv").write_bytes(data)
    with pytest.raises(InputError, match=r"metadata\.csv"):
        Folder(folder)


def test_refuses_what_is_no_folder(folder: Path) -> None:
    for path in (folder / "none", folder / "coffee.jpg"):
        with pytest.raises(InputError, match="not a folder"):
            Folder(path)
