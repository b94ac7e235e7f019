"""Files of strangers: bombs, claims, loops, polyglots, other formats, damage, odd names; and what must come of each."""

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, TiffImagePlugin

Files = Iterator[tuple[str, bytes, bool | None]]
READ = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tiff": "TIFF", "avif": "AVIF"} | {
    "jp2": "JPEG2000",
    "ico": "ICO",
    "ppm": "PPM",
    "heic": "HEIF",
}
OTHERS = ("DDS", "ICNS", "IM", "MSP", "PCX", "PDF", "EPS", "SGI", "SPIDER", "TGA", "XBM")
NAMES = [
    "a\nb\tc.jpg",
    "\x1b[31mred\x07.jpg",
    "\u202egnp.exe.jpg",
    "\u2066two\u2069\u200f.jpg",
    ";rm -rf .;.jpg",
    "$(id)`id`%s%n{0}.jpg",
    "<img src=x onerror=alert(1)>.jpg",
    '"><script>alert(1)<!--.jpg',
    "x%2f..%2f..%2fetc%2fpasswd.jpg",
    "=1+1|cmd.jpg",
    "-rf.jpg",
    " .jpg",
    "é" * 125 + ".jpg",
]


@dataclass(frozen=True)
class Hostile:
    """A file, and whether it is a picture that must be read; None where either is fine."""

    path: Path
    is_picture: bool | None


def make_hostile(folder: Path) -> list[Hostile]:
    """Write all of them into `folder`: small files that are made in a second or two."""
    folder.mkdir(parents=True, exist_ok=True)
    hostile = []
    for make in (png_bombs, other_bombs, claims, tiffs, odd_pictures, odd_exif, damaged, in_disguise, odd_names):
        for name, data, is_picture in make():
            path = folder / name
            path.write_bytes(data)
            hostile.append(Hostile(path, is_picture))
    return hostile


def photo() -> Image.Image:
    """A small picture that no format packs into nothing."""
    blocks = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((64, 48), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    """The picture as a file of that format."""
    buffer = io.BytesIO()
    if format == "HEIF":
        pillow_heif.from_pillow(image).save(buffer)
    else:
        image.save(buffer, format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes, error: int = 0) -> bytes:
    """A chunk of a PNG; `error` falsifies its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ error)


def with_chunks(data: bytes, *chunks: bytes, before: bytes) -> bytes:
    """A PNG with more chunks before the first one of a kind."""
    where = data.index(before) - 4
    return data[:where] + b"".join(chunks) + data[where:]


def png(width: int, height: int, *chunks: tuple[bytes, bytes], depth: int = 8, colour: int = 2) -> bytes:
    """A PNG that announces a size; `chunks` come between its header and its one black byte."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = b"".join(chunk(*each) for each in (*chunks, (b"IDAT", zlib.compress(b"\0"))))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def png_bombs() -> Files:
    """PNGs that become gigabytes, in pixels or in what stands beside them."""
    bomb = zlib.compress(bytes(60_000_000), 9)
    yield "bomb.png", png(30_000, 30_000), False
    yield "bomb_of_169_megapixels.png", png(13_000, 13_000), False
    yield "wide.png", png(2**31 - 1, 1), False
    yield "high.png", png(1, 2**31 - 1), False
    yield "zero.png", png(0, 0), False
    yield "blank_of_64_megapixels.png", encoded(Image.new("1", (8_000, 8_000)), "PNG"), None
    yield "iccp.png", png(1, 1, (b"iCCP", b"a\0\0" + bomb)), None
    yield "ztxt.png", png(1, 1, (b"zTXt", b"a\0\0" + bomb)), None
    yield "itxt.png", png(1, 1, (b"iTXt", b"a\0\1\0\0\0" + bomb)), None
    yield "many_texts.png", png(1, 1, *[(b"zTXt", b"a\0\0" + zlib.compress(bytes(900_000), 9))] * 200), None
    yield "animated.png", png(1, 1, (b"acTL", struct.pack(">II", 2**31 - 1, 0))), None
    frames = [Image.new("L", (32, 32), shade % 256) for shade in range(500)]
    for name, format in (("frames.gif", "GIF"), ("frames.png", "PNG"), ("frames.webp", "WEBP")):
        yield name, encoded(frames[0], format, save_all=True, append_images=frames[1:]), True


def other_bombs() -> Files:
    """The same of other formats: a claim that is true, or that a decoder believes."""
    yield "canvas.gif", b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b";", False
    frame = b"," + struct.pack("<HHHHB", 60_000, 60_000, 65_535, 65_535, 0) + b"\x08\x01\0\0;"
    yield "frame_beyond_its_canvas.gif", b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + frame, False
    yield "bomb_in_an_icon.ico", icon(png(13_000, 13_000)), False
    icon_with_picture = icon(encoded(Image.new("1", (13_000, 13_000)), "PNG"))
    yield "blank_of_169_megapixels_in_an_icon.ico", icon_with_picture, False
    yield "many_icons.ico", struct.pack("<HHH", 0, 1, 65_535) + bytes(16 * 65_535), False
    yield "skips.bmp", bitmap(79_000_000, 1, b"\0\2\0\xff" * 4), None
    yield "line_ends.bmp", bitmap(5_000, 5_000, b"\1\0\0\0" * 5_000), None
    yield "slow.jpg", slow_jpeg(), None


def icon(data: bytes) -> bytes:
    """An icon that says that it has 16 x 16 pixels."""
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(data), 22) + data


def bitmap(width: int, height: int, runs: bytes) -> bytes:
    """A BMP of run lengths."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    start = 14 + len(header) + 1024
    return b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + header + bytes(1024) + runs


def slow_jpeg(num_scans: int = 600, side: int = 8_000) -> bytes:
    """A JPEG of one colour whose last scan stands in it hundreds of times: 300 kB that take half a minute to decode."""
    data = encoded(Image.new("L", (side, side), "grey"), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * num_scans + data[-2:]


def claims() -> Files:
    """Small pictures whose headers were changed to announce a large one, or none."""
    jpeg = encoded(photo(), "JPEG")
    sizes = struct.pack(">HH", 48, 64)
    yield "claim.jpg", jpeg.replace(sizes, b"\xff\xff\xff\xff", 1), False
    yield "zero.jpg", jpeg.replace(sizes, bytes(4), 1), False
    for name, format in (("claim.avif", "AVIF"), ("claim.heic", "HEIF")):
        data = encoded(photo(), format)
        where = data.index(b"ispe") + 8
        yield name, data[:where] + struct.pack(">II", 60_000, 60_000) + data[where + 8 :], False
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\x3f\0" * 2
    yield "claim.webp", b"RIFF" + struct.pack("<I", len(extended) + 4) + b"WEBP" + extended, False
    start = encoded(photo(), "PNG")[:33]
    yield "claim_of_a_chunk.png", start + b"\xff\xff\xff\xffIDAT", False
    yield "claim_of_a_text.png", start + b"\xff\xff\xff\xffzTXt", False
    yield "claim.bmp", bitmap(40_000, 40_000, b""), False
    yield "negative.bmp", bitmap(-40, -(2**31), b""), False
    yield "claim.ppm", b"P6\n99999 99999\n255\n", False
    yield "digits.ppm", b"P6\n" + b"9" * 1_000_000, False
    yield "endless_comment.ppm", b"P3\n#" + b" " * 1_000_000, False
    yield "plain.ppm", b"P1\n3000 3000\n" + b"1 " * 3_000_000, False
    jp2 = encoded(photo(), "JPEG2000", no_jp2=True)
    sizes = struct.pack(">IIIIIIII", 64, 48, 0, 0, 64, 48, 0, 0)
    for name, size in (("claim.j2k", (60_000, 60_000)), ("tiles.j2k", (64, 48))):
        claim = struct.pack(">IIIIIIII", *size, 0, 0, 2**31, 2**31, 0, 0)
        yield name, jp2.replace(sizes, claim, 1), False if size[0] > 64 else None
    tiny = struct.pack(">IIIIIIII", 9_000, 8_000, 0, 0, 1, 1, 0, 0)
    yield "tiny_tiles.j2k", jp2.replace(sizes, tiny, 1), False


def tiff(tags: dict[int, tuple[int, int]], data: bytes = b"", following: int = 0) -> bytes:
    """A TIFF of one directory: each tag has a type and a value; `data` begins at byte 8."""
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in sorted(tags.items()))
    start = 8 + len(data)
    return (
        b"II*\0"
        + struct.pack("<I", start)
        + data
        + struct.pack("<H", len(tags))
        + directory
        + bytes([*struct.pack("<I", following)])
    )


def tiffs() -> Files:
    """TIFFs of strange layouts."""
    grey = {256: (4, 8), 257: (4, 8), 258: (3, 8), 259: (3, 1), 262: (3, 1), 273: (4, 8), 278: (4, 8), 279: (4, 64)}
    yield "60_gigabytes_of_tags.tiff", many_tags(), False
    yield "plain.tiff", tiff(grey, bytes(64)), True
    yield "cyclic.tiff", tiff(grey, bytes(64), following=72), True
    yield "claim.tiff", tiff(grey | {256: (4, 60_000), 257: (4, 60_000)}, bytes(64)), False
    yield "zero.tiff", tiff(grey | {256: (4, 0)}, bytes(64)), False
    packed = zlib.compress(bytes(400_000_000), 9)
    strip = grey | {259: (3, 8), 278: (4, 2**32 - 1), 279: (4, len(packed))}
    yield "strip_that_unpacks_to_400_megabytes.tiff", tiff(strip, packed), None
    tiles = {256: (4, 8), 257: (4, 8), 258: (3, 8), 259: (3, 8), 262: (3, 1), 322: (4, 65_536), 323: (4, 32_768)}
    yield "tile_of_2_gigabytes.tiff", tiff(tiles | {324: (4, 8), 325: (4, len(packed))}, packed), None
    pages = [Image.new("L", (32, 32), shade) for shade in range(200)]
    yield "pages.tiff", encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]), True
    floats = np.array([[np.nan, np.inf, -np.inf, 1e38]], np.float32)
    yield "floats.tiff", encoded(Image.fromarray(floats), "TIFF"), True
    yield "whole_numbers.tiff", encoded(Image.fromarray(np.array([[-(2**31), 2**31 - 1]], np.int32)), "TIFF"), True


def odd_pictures() -> Files:
    """What is a picture, though a rare one."""
    yield "cmyk.jpg", encoded(photo().convert("CMYK"), "JPEG"), True
    yield "16_bit.png", encoded(Image.fromarray(np.full((9, 9), 40_000, np.uint16)), "PNG"), True
    for mode in ("1", "LA", "RGBA", "P"):
        yield f"mode_{mode}.png", encoded(photo().convert(mode), "PNG"), True
    yield "palette_with_alpha.png", encoded(photo().convert("P"), "PNG", transparency=bytes(range(256))), True
    yield "hair.png", encoded(Image.new("L", (1, 60_000)), "PNG"), True
    yield "phone.heic", encoded(photo(), "HEIF"), True
    yield "png_in_truth.jpg", encoded(photo(), "PNG"), True
    yield "jpeg_in_truth.txt", encoded(photo(), "JPEG"), True
    yield "no_extension", encoded(photo(), "WEBP"), True
    whole = encoded(photo(), "PNG")
    yield (
        "workflow.png",
        with_chunks(whole, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3 * 10**6))), before=b"IDAT"),
        True,
    )
    yield "wrong_checksum.png", with_chunks(whole, chunk(b"tEXt", b"a\0b", error=1), before=b"IDAT"), True
    yield "12_bits_in_16.png", encoded(Image.fromarray(np.full((9, 9), 2_000, np.uint16)), "PNG"), True
    yield "nearly_whole.jpg", encoded(photo(), "JPEG", progressive=True)[:-2], True
    loop = b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x8769, 4, 1, 8) + struct.pack("<I", 8)
    yield "exif_loop.jpg", encoded(photo(), "JPEG", exif=b"Exif\0\0" + loop), True
    jpeg = encoded(photo(), "JPEG")
    much = b"".join(b"\xff\xe1" + struct.pack(">H", 65_000) + b"Exif\0\0" + bytes(64_992) for _ in range(20))
    yield "much_exif.jpg", jpeg[:2] + much + jpeg[2:], None
    script = b"<script>alert(1)</script>"
    yield "comment.jpg", jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(script) + 2) + script + jpeg[2:], True
    yield "archive_behind.jpg", jpeg + archive(), True
    yield "mpo.jpg", encoded(photo(), "MPO", save_all=True, append_images=[photo()]), True


def exif_block(
    first: Mapping[int, object] = {}, details: Mapping[int, object] = {}, gps: Mapping[int, object] = {}
) -> bytes:
    """EXIF with these entries."""
    exif = Image.Exif()
    exif.update({**first, 0x8769: dict(details), 0x8825: dict(gps)})
    return exif.tobytes()


def many_tags() -> bytes:
    """A TIFF of 60,000 tags, each of which names the same megabyte."""
    tags = b"".join(struct.pack("<HHII", tag, 2, 10**6, 100) for tag in range(60_000))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 60_000) + tags + bytes(4 + 10**6)


def odd_exif() -> Files:
    """Whole pictures whose EXIF or XMP tells nothing that is true, and would like to take hours or gigabytes."""
    start, text_of_4_gigabytes = b"II*\0\x08\0\0\0", struct.pack("<HHII", 0x0110, 2, 2**32 - 1, 2**31)
    nowhere = {1: "N", 2: (95.0, 0.0, 0.0), 3: "E", 4: (200.0, 0.0, 0.0)}
    nothing = TiffImagePlugin.IFDRational(0, 0)
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    xmp = f'<!DOCTYPE x [<!ENTITY a0 "2019">{laughs}]><x exif:DateTimeOriginal="&a11;" exif:GPSLatitude="NaN,NaNN"/>'
    blocks = {
        "exif_of_two_bytes": b"MM",
        "exif_beyond_its_end": b"II*\0" + struct.pack("<I", 2**32 - 2),
        "exif_in_a_circle": start + struct.pack("<HHHIIHHII", 2, 0x8769, 4, 1, 8, 0x8825, 4, 1, 8),
        "exif_of_65535_entries": start + struct.pack("<H", 65_535) + text_of_4_gigabytes * 5_000,
        "exif_of_other_types": start + struct.pack("<HHHIIHHII", 2, 0x0110, 12, 5, 8, 0x9003, 99, 1, 8),
        "taken_in_the_year_0": exif_block(details={0x9003: "0000:00:00 00:00:00"}),
        "taken_in_2107": exif_block(details={0x9003: "2107:12:31 23:59:58", 0x9004: "1970:01:01 00:00:00"}),
        "taken_nowhere": exif_block(gps=nowhere),
        "divided_by_0": exif_block(gps=nowhere | {2: (nothing,) * 3, 4: (nothing,) * 3}),
    }
    for name, block in blocks.items():
        yield f"{name}.jpg", encoded(photo(), "JPEG", exif=b"Exif\0\0" + block.removeprefix(b"Exif\0\0")), True
    block = many_tags()
    yield "60_gigabytes_of_tags.webp", encoded(photo(), "WEBP", exif=block), True
    whole = encoded(photo(), "PNG")
    yield "60_gigabytes_of_tags.png", with_chunks(whole, chunk(b"eXIf", block), before=b"IDAT"), True
    yield "a_billion_laughs.jpg", encoded(photo(), "JPEG", xmp=xmp.encode()), True


def damaged() -> Files:
    """Each format cut in half, and what is hardly there."""
    for suffix, format in READ.items():
        data = encoded(photo(), format)
        yield f"half.{suffix}", data[: len(data) // 2], None if format == "JPEG2000" else False
    noise = random.Random(1).randbytes(10_000)
    for name, data in {"empty": b"", "one_byte": b"\xff", "zeros": bytes(10_000), "noise": noise}.items():
        yield f"{name}.jpg", data, False
    yield "noise_behind_the_header.jpg", encoded(photo(), "JPEG")[:200] + noise, None


def archive() -> bytes:
    """A ZIP of one small text."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("../../hello.txt", "hello")
    return buffer.getvalue()


def in_disguise() -> Files:
    """What is no picture, or none that is ever read, under the name of one."""
    svg = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>1</script></svg>'
    html = b"<!doctype html><script>alert(1)</script>"
    elf = b"\x7fELF\2\1\1" + bytes(200)
    for name, data in {"svg": svg, "html": html, "zip": archive(), "elf": elf, "text": b"hello " * 100}.items():
        yield f"{name}.jpg", data, False
    yield "vector.svg", svg, False
    yield "postscript.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n", False
    yield "pdf_before_a_picture.jpg", b"%PDF-1.4\n" + encoded(photo(), "JPEG"), False
    for format in OTHERS:
        yield (
            f"{format.lower()}.png",
            encoded(photo().convert("1" if format in ("MSP", "XBM") else "RGB"), format),
            False,
        )
    yield "fits.png", b"SIMPLE  =                    T".ljust(2880), False


def odd_names() -> Files:
    """A good picture under each of the names."""
    for name in NAMES:
        yield name, encoded(photo(), "JPEG"), True
