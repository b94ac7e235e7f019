"""Decode bytes, a file or a PIL image to upright RGB. Index and query share this path, so that equal pictures match."""

import io
import stat
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import sqrt
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from imgsearch.errors import PictureError

MAX_PIXELS, FEW_PIXELS = 80_000_000, 1_000_000  # the limit; the limit if memory is short
MAX_SIDE = 250_000  # pixels: a run-length BMP skips 255 rows with four bytes
MAX_BYTES = 256 * 2**20
SEEN_PIXELS = 2048 * 2048  # kept of a decoded picture: no model looks at more
ZOOMED_PIXELS = 4 * SEEN_PIXELS  # kept if a model looks at a small part only
BYTES_PER_PIXEL = 32  # at the peak of a decode; measured: 27 for WebP, 25 for JPEG 2000, 15 for JPEG
THUMBNAIL_SIDE = 320
LONGEST_RATIO = 100  # of the longer side to the shorter one
DRAFT_RATIO = 1.4  # smallest side of a reduced JPEG over the model's side: below this, scaling can be seen
# The formats that are decoded: none that starts another program (EPS) or is a document (PDF, SVG).
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ESSENTIAL_CHUNKS = (b"tRNS", b"eXIf")  # of a PNG's ancillary ones: transparency, and the side that is up
HEADER_CHUNKS, XMP_TEXT = (b"IHDR", b"eXIf", b"iTXt", b"IEND"), b"XML:com.adobe.xmp\0\0"  # not compressed
MAX_EXIF, READINGS = 2**16, 8  # bytes that one segment of a JPEG holds; how often each byte of a file is read at most
IS_CUT = "is_cut"  # the key, in the information of a picture, that its end is missing
MISSING = 0.1  # of a JPEG's height may be missing at its end
FULL_GREYS = [2**bits - 1 for bits in (1, 8, 10, 12, 14, 15, 16)]  # white of floats, cameras, scanners
GREYS = (0.5, 99.5)  # percentiles of grey values: the ones beyond are outliers
SAMPLED_GREYS = 250_000  # at least, of a picture with more
warnings.filterwarnings("ignore", module="PIL")  # what matters is raised, also our pixel limit
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow refuses more than twice this, also for a picture in an icon


ImageSource: TypeAlias = bytes | Path | Image.Image


def open_rgb(source: ImageSource, name: str = "The picture", *, side: int | None = None) -> Image.Image:
    """Decode to an upright 8-bit RGB image: EXIF rotation applied, transparency on white, first frame only.

    `name` is the picture's name in messages. `side` is the side, in pixels, of the square that a model sees: a much
    larger JPEG is decoded at 1/2, 1/4 or 1/8 of its size, in at most half the time. A result of more than SEEN_PIXELS
    (ZOOMED_PIXELS if `side` squared is more than SEEN_PIXELS) is scaled down to that number.
    Raise PictureError if it cannot be decoded, before decoding if its header announces more than `max_pixels`.
    """
    if isinstance(source, Image.Image):
        return _to_rgb(source, side)
    with opened(source, name) as image:
        _draft(image, side)
        return _to_rgb(image, side)


@contextmanager
def opened(source: bytes | Path, name: str, *, has_pixels: bool = True) -> Iterator[Image.Image]:
    """Open a picture, for its decoding or, without `has_pixels`, for its header. Raise PictureError as `open_rgb`."""
    try:
        _check_bytes(source, name)
        with (
            io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file,
            Image.open(_bounded(_without_ancillary_chunks(file, has_pixels)), formats=FORMATS) as image,
        ):
            _check_pixels(image, name)
            if len(image.info.get("exif") or b"") > MAX_EXIF:
                del image.info["exif"]
            yield image
    except PictureError:
        raise
    except FileNotFoundError:
        raise PictureError("{name} does not exist. Check the path.", name=name) from None
    except Image.DecompressionBombError:
        raise _too_large(name, MAX_PIXELS) from None
    except UnidentifiedImageError:
        raise PictureError(
            "{name} is not a picture that can be read. Use a JPEG, PNG, WebP, GIF, AVIF or HEIC.", name=name
        ) from None
    except OSError as error:
        if error.errno is None:  # Pillow's own
            raise damaged_picture(name) from error
        raise PictureError(
            "{name} cannot be read: {reason}. Check the path.", name=name, reason=error.strerror
        ) from error
    except Exception as error:  # on damaged bytes Pillow's readers raise almost anything
        raise damaged_picture(name) from error


def _bounded(file: IO[bytes]) -> Any:
    """Let only a few times its bytes be read of a file: the tags of a TIFF may all name the same megabytes."""
    left = READINGS * file.seek(0, io.SEEK_END)
    file.seek(0)

    def read(size: int = -1) -> bytes:
        nonlocal left
        data = file.read(size)
        left -= len(data)
        if left < 0:
            raise OSError("more is read than there is")
        return data

    return SimpleNamespace(read=read, seek=file.seek, tell=file.tell, fileno=file.fileno)


def is_picture(head: bytes) -> bool:
    """Return True if a file that begins with these bytes is of one of FORMATS."""
    Image.init()
    return len(head) >= 16 and any(accept(head) for _, accept in map(Image.OPEN.__getitem__, FORMATS) if accept)


def to_webp(image: Image.Image, longest_side: int = THUMBNAIL_SIDE) -> bytes:
    """Encode an RGB image as WebP, scaled down to at most `longest_side` pixels."""
    small = image.copy()
    # Average whole blocks of pixels first (gap 1): a seventh of the time of scaling all pixels, and looks alike.
    small.thumbnail((longest_side, longest_side), Image.Resampling.BICUBIC, reducing_gap=1.0)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=80, method=0)  # the fastest method: a third of the time, a tenth larger
    return buffer.getvalue()


def within_ratio(image: Image.Image) -> Image.Image:
    """Crop a picture beyond LONGEST_RATIO to its middle: CLIP scales by the shorter side, which would be gigabytes."""
    width, height = (min(side, LONGEST_RATIO * min(image.size)) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image if (width, height) == image.size else image.crop((left, top, left + width, top + height))


def damaged_picture(name: str) -> PictureError:
    """Return the error for a picture that cannot be decoded."""
    return PictureError("{name} is damaged or incomplete. Save it again, or use another one.", name=name)


def max_pixels(available: int | None) -> int:
    """Return how many pixels a picture may have: what half of the available bytes can decode, at least 1 million."""
    return MAX_PIXELS if available is None else min(MAX_PIXELS, max(available // 2 // BYTES_PER_PIXEL, FEW_PIXELS))


def memory_available(root: Path = Path("/")) -> int | None:
    """Return the bytes that its machine and its container still leave this process; None if Linux does not tell.

    `root` is the folder that holds proc and sys. Container memory that only caches files counts as free.
    """
    with suppress(OSError, LookupError, ValueError):
        limits = [_read_numbers(root / "proc/meminfo")["MemAvailable:"] * 1024]
        groups = root / "sys/fs/cgroup"
        for folder, limit, use, files in (
            (groups, "memory.max", "memory.current", "{}_file"),
            (groups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_{}_file"),
        ):
            with suppress(OSError, LookupError, ValueError):  # no such group, or "max"
                statistics = _read_numbers(folder / "memory.stat")
                in_files = sum(statistics[files.format(kind)] for kind in ("active", "inactive"))
                taken = int((folder / use).read_text()) - in_files
                limits.append(int((folder / limit).read_text()) - taken)
        return max(0, min(limits))
    return None


def _read_numbers(file: Path) -> dict[str, int]:
    return {name: int(number) for name, number, *_ in map(str.split, file.read_text().splitlines())}


def _check_bytes(source: bytes | Path, name: str) -> None:
    """Check kind and size before anything is read: a pipe or a device may never end."""
    num_bytes = len(source) if isinstance(source, bytes) else 0
    if isinstance(source, Path):
        status = source.stat()
        if not stat.S_ISREG(status.st_mode):
            raise PictureError("{name} cannot be read: it is not a file. Check the path.", name=name)
        num_bytes = status.st_size
    if num_bytes > MAX_BYTES:
        raise PictureError("{name} has more than {max_mb} MB. Use a smaller one.", name=name, max_mb=MAX_BYTES // 2**20)


def _without_ancillary_chunks(file: IO[bytes], has_pixels: bool) -> IO[bytes]:
    """Leave out of a PNG what stands beside its pixels: Pillow refuses long texts and wrong checksums there."""
    kept = io.BytesIO()
    kept.write(file.read(len(PNG_SIGNATURE)))
    if kept.getvalue() != PNG_SIGNATURE:
        file.seek(0)
        return file
    while len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4]), head[4:]
        is_ancillary = kind[0] & 32  # a small letter
        is_kept = (not is_ancillary or kind in ESSENTIAL_CHUNKS) if has_pixels else kind in HEADER_CHUNKS
        if not is_kept or (is_ancillary and length > MAX_EXIF):
            file.seek(length + 4, io.SEEK_CUR)
            continue
        data = file.read(min(length, MAX_BYTES) + 4)
        is_whole = not is_ancillary or zlib.crc32(kind + data[:-4]) == int.from_bytes(data[-4:])
        if is_whole and (kind != b"iTXt" or data.startswith(XMP_TEXT)):
            kept.writelines((head, data))
    kept.seek(0)
    return kept


def _check_pixels(image: Image.Image, name: str) -> None:
    if max(image.size) > MAX_SIDE:
        raise PictureError(
            "{name} has a side of more than {max_side:,} pixels. Scale it down first.", name=name, max_side=MAX_SIDE
        )
    num_pixels = image.width * image.height
    if num_pixels > FEW_PIXELS and num_pixels > (allowed := max_pixels(memory_available())):
        raise _too_large(name, allowed)


def _draft(image: Image.Image, side: int | None) -> None:
    """Let a JPEG be decoded smaller, but with sides that are still long enough for the model and for a thumbnail."""
    min_side = max(THUMBNAIL_SIDE, round(DRAFT_RATIO * side)) if side else round(sqrt(SEEN_PIXELS))
    image.draft(None, (min_side, min_side))


def _too_large(name: str, max_pixels: int) -> PictureError:
    template = "{name} has more than {max_megapixels} megapixels. Scale it down first."
    return PictureError(template, name=name, max_megapixels=max_pixels // 1_000_000)


def _to_rgb(image: Image.Image, side: int | None) -> Image.Image:
    _load(image)
    with suppress(Exception):  # on broken EXIF data; the picture itself is whole
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        image = _to_8_bit(image)
    if not image.has_transparency_data:
        return _scaled_down(image.convert("RGB"), side)
    rgba = _scaled_down(image.convert("RGBA"), side)
    image = Image.new("RGB", rgba.size, "white")
    image.paste(rgba, mask=rgba)
    return image


def _load(image: Image.Image) -> None:
    """Decode the pixels. Read a JPEG that breaks off shortly before its end as viewers do, else raise OSError."""
    ends = [b"\xff\xd9"]  # the marker of the end: what is missing before it becomes grey
    if isinstance(image, JpegImageFile) and image.fp:
        read = image.fp.read
        image.load_read = lambda read_bytes: read(read_bytes) or (ends.pop() if ends else b"")  # type: ignore[method-assign]
    image.load()
    if not ends:
        lowest = np.asarray(image.crop((0, round((1 - MISSING) * image.height), *image.size)))
        if lowest.min() == lowest.max() and lowest.flat[0] in (127, 128):
            raise OSError("the end is missing")
        image.info[IS_CUT] = True


def _scaled_down(image: Image.Image, side: int | None) -> Image.Image:
    max_num_pixels = ZOOMED_PIXELS if side and side**2 > SEEN_PIXELS else SEEN_PIXELS
    scale = sqrt(max_num_pixels / (image.width * image.height))
    if scale >= 1:
        return image
    width, height = (max(1, int(scale * length)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit and float grey values to 0..255 (Pillow's own conversion clips them to white).

    12 bits in 16 would be nearly black. So white is the one of FULL_GREYS of which at least half is used, else the
    highest value. Outliers and what is no number do not count.
    """
    grey: npt.NDArray[np.float32] = np.array(image, dtype=np.float32)
    sample = grey.ravel()[:: 1 + grey.size // SAMPLED_GREYS]
    finite = sample[np.isfinite(sample)]
    low, high = np.percentile(finite, GREYS, method="nearest").tolist() if finite.size else (0.0, 0.0)
    low = min(low, 0.0)
    white = next((full for full in FULL_GREYS if high <= full <= 2 * high), high)
    np.nan_to_num(grey, copy=False, nan=low, posinf=white, neginf=low)
    scale = 255 / (white - low or 1.0)
    grey *= scale
    grey -= low * scale
    return Image.fromarray(np.clip(np.rint(grey, out=grey), 0, 255, out=grey).astype(np.uint8))


def _open_heif(file: IO[bytes], path: str | bytes) -> ImageFile.ImageFile:
    """Read a HEIC picture; the first one loads the library."""
    from pillow_heif import HeifImageFile

    return HeifImageFile(file, path)


Image.register_open("HEIF", _open_heif, lambda prefix: prefix[4:8] == b"ftyp")
