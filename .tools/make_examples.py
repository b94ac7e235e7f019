"""Make examples/ again from .tools/examples.csv and the packages its photos come from.

    apt-get download gcompris-qt-data gnome-control-center-data jigzo-data kphotoalbum lomiri-wallpapers-16.04 \\
        mate-backgrounds palapeli-data plasma-workspace-wallpapers puzzle-jigsaw stellarium-data tuxpaint-data \\
        tuxpaint-stamps-default                                         # then: dpkg -x EACH.deb ROOT
    pip download --no-deps scikit-image scikit-learn                    # then: unzip EACH.whl -d ROOT
    python .tools/make_examples.py ROOT

ROOT is the folder all of them were unpacked into. The result is a Hugging Face imagefolder.

examples.csv is written by hand, one photo a line; `source` is the photo's path below ROOT, which may lead into a
resource file of GCompris (.rcc) or be a puzzle of Jigzo (.pzl). Of the Tux Paint stamps only those whose path hashes
to 0-7 are shown; the other half is kept for measuring.
"""

import csv
import hashlib
import io
import re
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageOps

TABLE = Path(__file__).resolve().parent / "examples.csv"
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
LONGEST_SIDE = 512
JPEG_QUALITY = 72
LICENCES = Path("/usr/share/common-licenses")
STAMPS = "usr/share/tuxpaint/stamps/"
STAMPS_CREDIT = "Tux Paint stamps, Bill Kendrick and contributors"
PACKAGES = (
    (STAMPS, "Debian's tuxpaint-stamps-default"),
    ("usr/share/tuxpaint/", "Debian's tuxpaint-data"),
    ("usr/share/gcompris-qt/", "Debian's gcompris-qt-data"),
    ("usr/share/pixmaps/faces/", "Debian's gnome-control-center-data"),
    ("usr/share/games/jigzo/", "Debian's jigzo-data"),
    ("usr/share/kphotoalbum/", "Debian's kphotoalbum"),
    ("usr/share/backgrounds/mate/", "Debian's mate-backgrounds"),
    ("usr/share/backgrounds/", "Debian's lomiri-wallpapers-16.04"),
    ("usr/share/palapeli/", "Debian's palapeli-data"),
    ("usr/share/wallpapers/", "Debian's plasma-workspace-wallpapers"),
    ("usr/share/puzzle-jigsaw/", "Debian's puzzle-jigsaw"),
    ("usr/share/stellarium/", "Debian's stellarium-data"),
    ("skimage/", "scikit-image"),
    ("sklearn/", "scikit-learn"),
)
LICENCE_OF = {
    "CC-BY-2.0": "https://creativecommons.org/licenses/by/2.0/",
    "CC-BY-3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC0-1.0": "`CC0-1.0.txt`",
    "GPL-2.0": "`GPL-2.txt`",
    "GPL-2.0-or-later": "`GPL-2.txt`",
    "LGPL-3.0": "`LGPL-3.txt`, which adds to `GPL-3.txt`",
}


def resources(rcc: bytes) -> Iterator[tuple[str, bytes]]:
    """The files of a Qt resource file that are stored in it as they are: path and content."""
    version, tree, data, names = struct.unpack_from(">4I", rcc, 4)
    node_size = 14 if version < 2 else 22

    def walk(node: int, folder: str) -> Iterator[tuple[str, bytes]]:
        name_at, flags = struct.unpack_from(">IH", rcc, tree + node * node_size)
        first, second = struct.unpack_from(">2I", rcc, tree + node * node_size + 6)
        (length,) = struct.unpack_from(">H", rcc, names + name_at)
        name = rcc[names + name_at + 6 :][: 2 * length].decode("utf-16-be")
        path = f"{folder}/{name}" if node else ""
        if flags & 2:  # a folder: how many nodes it has, and the first of them
            for child in range(second, second + first):
                yield from walk(child, path)
        elif not flags & 5:
            (size,) = struct.unpack_from(">I", rcc, data + second)
            yield path, rcc[data + second + 4 :][:size]

    return walk(0, "")


def open_photo(root: Path, source: str) -> Image.Image:
    if ".rcc/" in source:
        rcc, _, inside = source.partition(".rcc/")
        files = resources((root / f"{rcc}.rcc").read_bytes())
        (content,) = (content for path, content in files if path.endswith(f"/{inside}"))
        return Image.open(io.BytesIO(content))
    if source.endswith(".pzl"):  # a picture with all its pieces beside it; the line "image" says where it lies
        puzzle = (root / source).read_bytes()
        box = re.search(rb"\nimage (\d+) (\d+) (\d+) (\d+) ", puzzle)
        assert box
        left, top, width, height = map(int, box.groups())
        jpeg = Image.open(io.BytesIO(puzzle[puzzle.rindex(b"\xff\xd8\xff\xe0") :]))
        return jpeg.crop((left + 1, top + 1, left + width - 1, top + height - 1))
    return Image.open(root / source)


def save_jpeg(opened: Image.Image, target: Path) -> None:
    image = ImageOps.exif_transpose(opened)
    if image.mode in ("RGBA", "LA", "P"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    target.parent.mkdir(parents=True, exist_ok=True)
    image.save(target, quality=JPEG_QUALITY, optimize=True)


def package(source: str) -> str:
    return next(name for start, name in PACKAGES if source.startswith(start))


def write_credits(rows: list[dict[str, str]]) -> None:
    lines = [
        "# Credits",
        "",
        f"The photos of this folder, scaled to at most {LONGEST_SIDE} pixels and put on white where they were"
        " transparent; nothing else was changed.",
        f"`stamps/`: {STAMPS_CREDIT}; GPL-2.0-or-later (`GPL-2.txt`); from Debian's tuxpaint-stamps-default.",
        "",
        "Each licence is the one that the package states for the photo, or for all its files where it names none apart."
        " For the photos of gcompris-qt-data it is the one that GCompris states file by file in the `REUSE.toml` of"
        ' its sources (https://invent.kde.org/education/gcompris), where "Unlicense" stands for the public domain.',
        "",
        *(f"- {licence}: {text}" for licence, text in LICENCE_OF.items()),
        "",
        "| photo | credit | licence | from |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['file_name']} | {row['credit']} | {row['license']} | {package(row['source'])} |"
        for row in rows
        if row["credit"] != STAMPS_CREDIT
    ]
    (EXAMPLES / "CREDITS.md").write_text("\n".join(lines) + "\n", "utf-8")
    for licence in ("CC0-1.0", "GPL-2", "GPL-3", "LGPL-3"):
        shutil.copy(LICENCES / licence, EXAMPLES / f"{licence}.txt")


def main() -> None:
    root = Path(sys.argv[1])
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        stamp = row["source"].partition(STAMPS)[2]
        assert not stamp or hashlib.sha1(stamp.encode()).hexdigest()[0] in "01234567", stamp
    shutil.rmtree(EXAMPLES, ignore_errors=True)
    for row in rows:
        save_jpeg(open_photo(root, row["source"]), EXAMPLES / row["file_name"])
    with (EXAMPLES / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        columns = [column for column in rows[0] if column != "source"]
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_credits(rows)
    print(len(rows), "photos,", sum(path.stat().st_size for path in EXAMPLES.rglob("*.jpg")), "bytes")


if __name__ == "__main__":
    main()
