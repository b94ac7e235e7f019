"""What a picture's file tells becomes columns: of each format, whatever is wrong in it, and without encoding anew."""

import io
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import TiffImagePlugin

from imgsearch.errors import InputError
from imgsearch.images import open_rgb
from imgsearch.index.edit import merge
from imgsearch.index.filters import Condition
from imgsearch.index.index import Index
from imgsearch.ingest.builder import build_index
from imgsearch.ingest.columns import DatasetOptions
from imgsearch.ingest.dataset import open_source
from imgsearch.ingest.exif import columns_of, iso_date
from imgsearch.ingest.folder import Folder
from imgsearch.ingest.source import BuildOptions
from imgsearch.models.encoder import Encoder
from tests.helpers.commands import Run
from tests.helpers.hostile_pictures import chunk, encoded, exif_block, odd_exif, photo, with_chunks
from tests.helpers.tiny_bundles import items_of

PLACES = BuildOptions(places=True)
PARIS = {1: "N", 2: (48.0, 51.0, 23.8), 3: "E", 4: (2.0, 21.0, 8.0)}
FIRST = {0x010F: "Canon\0", 0x0110: "Canon EOS R5", 0x0112: 6}
DETAILS = {0x9003: "2019:05:04 12:30:00", 0xA434: "RF50mm F1.8 STM"}
BLOCK = exif_block(FIRST, DETAILS, PARIS)
XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Make="NIKON CORPORATION" tiff:Model = 'NIKON D750'
exif:GPSLatitude="33,52.5S" exif:GPSLongitude="151,12,36.5E"><aux:Lens>50.0 mm &amp; f/1.8</aux:Lens>
<exif:DateTimeOriginal>2019-05-04T12:30:00.25+02:00</exif:DateTimeOriginal></rdf:Description></x:xmpmeta>"""
TOLD_BY_EXIF = {"taken": "2019-05-04T12:30:00", "camera": "Canon EOS R5", "lens": "RF50mm F1.8 STM"}
TOLD_BY_XMP = {"taken": "2019-05-04T12:30:00", "camera": "NIKON D750", "lens": "50.0 mm & f/1.8"}
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF")


def with_facts(format: str, exif: bytes = b"", xmp: bytes = b"") -> bytes:
    """A picture of that format that tells these facts."""
    if format == "HEIF":
        buffer, own = io.BytesIO(), {"exif": exif or None, "xmp": xmp or None}
        pillow_heif.from_pillow(photo()).save(buffer, **own)
        return buffer.getvalue()
    if format == "PNG":  # as some programs write it: behind the pixels
        chunks = [chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))] if exif else []
        chunks += [chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)] if xmp else []
        return with_chunks(encoded(photo(), "PNG"), *chunks, before=b"IEND")
    if format == "TIFF":
        return encoded(photo(), "TIFF", **({"exif": exif} if exif else {"tiffinfo": {700: xmp}}))
    return encoded(photo(), format, **({"exif": exif} if exif else {}), **({"xmp": xmp} if xmp else {}))


def read(data: bytes, options: BuildOptions = PLACES, **own: str) -> Mapping[str, str]:
    return columns_of(own, data, options)


@pytest.mark.parametrize("format", FORMATS)
def test_exif_and_xmp_of_each_format(format: str) -> None:
    data = with_facts(format, exif=BLOCK)
    width, height = map(str, open_rgb(data).size)
    assert read(data) == TOLD_BY_EXIF | {"place": "48.86,2.35", "width": width, "height": height}
    assert {width, height} == {"64", "48"}
    data = with_facts(format, xmp=XMP)
    assert read(data) == TOLD_BY_XMP | {"place": "-33.88,151.21", "width": "64", "height": "48"}


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_no_pixel_is_decoded(format: str) -> None:
    data = with_facts(format, exif=BLOCK, xmp=XMP)
    if format == "JPEG":
        data = data[: data.rindex(b"\xff\xda") + 20]
    else:
        start = data.index(b"IDAT")
        data = data[: start + 4] + bytes(10) + data[start + 14 :]
    assert read(data)["taken"] == TOLD_BY_EXIF["taken"] and read(data)["camera"] == TOLD_BY_EXIF["camera"]


NEXT_YEAR = datetime.now(UTC).year + 1


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2019:05:04 12:30:00", "2019-05-04T12:30:00"),
        ("2019-05-04T12:30:00.5+02:00", "2019-05-04T12:30:00"),
        ("2019-05-04T12:30Z", "2019-05-04T12:30:00"),
        ("2019/05/04", "2019-05-04"),
        ("2019:05:04   :  :  ", "2019-05-04"),
        ("1826-06-01", "1826-06-01"),
        (f"{NEXT_YEAR}-01-01", f"{NEXT_YEAR}-01-01"),
        ("1970:01:02 00:00:00", "1970-01-02T00:00:00"),
        ("1970:01:01 01:00:00", ""),
        ("0000:00:00 00:00:00", ""),
        ("1825-12-31", ""),
        (f"{NEXT_YEAR + 1}-01-01", ""),
        ("2107:01:01 00:00:00", ""),
        ("2019:02:30 12:00:00", ""),
        ("2019:05:04 25:61:00", ""),
        ("    :  :     :  :  ", ""),
        ("2019", ""),
        ("1556973000", ""),
        ("20190504123000", ""),
        ("٢٠١٩-٠٥-٠٤", ""),
        ("yesterday", ""),
    ],
)
def test_a_date_is_right_or_empty(text: str, date: str) -> None:
    assert iso_date(text) == date


def test_a_wrong_date_gives_way_to_the_next() -> None:
    block = exif_block(details={0x9003: "0000:00:00 00:00:00", 0x9004: "2019:05:04 12:30:00"})
    assert read(with_facts("JPEG", exif=block))["taken"] == "2019-05-04T12:30:00"
    block = exif_block({0x0132: "2019:05:04 12:30:00"}, {0x9003: "0000:00:00 00:00:00"})  # the first: of the file
    assert "taken" not in read(with_facts("JPEG", exif=block))
    assert read(with_facts("JPEG", exif=block, xmp=XMP))["taken"] == "2019-05-04T12:30:00"


def ratio(above: int, below: int) -> TiffImagePlugin.IFDRational:
    return TiffImagePlugin.IFDRational(above, below)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({1: "S", 3: "W"}, "-48.86,-2.35"),
        ({2: (0.0, 0.0, 1.0), 1: "S"}, "0.00,2.35"),
        ({2: (90.0, 0.0, 0.0), 4: (180.0, 0.0, 0.0)}, "90.00,180.00"),
        ({2: (90.0, 0.0, 1.0)}, ""),
        ({4: (180.0, 1.0, 0.0)}, ""),
        ({2: (0.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)}, ""),
        ({2: (ratio(48, 1), ratio(51, 0), ratio(0, 1))}, ""),
        ({2: (ratio(0, 0),) * 3}, ""),
        ({2: (48.0,)}, ""),
        ({1: "X"}, ""),
        ({1: ""}, ""),
    ],
)
def test_a_place_is_right_or_empty(changes: dict[int, Any], place: str) -> None:
    assert read(with_facts("JPEG", exif=exif_block(gps=PARIS | changes)))["place"] == place


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("NIKON CORPORATION", "NIKON D750", "NIKON D750"),
        ("Apple", "iPhone 12", "Apple iPhone 12"),
        ("LG Electronics", "LG-H815", "LG-H815"),
        ("", "HERO7", "HERO7"),
        ("Leica", " ", "Leica"),
        ("\x1b[31m", "a\nb", "\ufffd[31m a b"),
    ],
)
def test_a_camera_is_one_line(make: str, model: str, camera: str) -> None:
    assert read(with_facts("JPEG", exif=exif_block({0x010F: make, 0x0110: model})))["camera"] == camera


@pytest.mark.filterwarnings("ignore:.*EXIF", "ignore:Truncated")
@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data, _ in odd_exif()])
def test_odd_exif_tells_nothing(data: bytes) -> None:
    assert read(data) == {"width": "64", "height": "48", "place": ""}


def test_what_is_no_picture_tells_nothing() -> None:
    assert read(b"") == read(b"no picture") == read(with_facts("HEIF", exif=BLOCK)[:99]) == {}


def test_a_column_of_the_users_wins_and_its_date_fills_in() -> None:
    data, bare = with_facts("JPEG", exif=BLOCK), encoded(photo(), "JPEG")
    assert read(data, camera="mine", taken="long ago")["camera"] == "mine"
    assert read(data, taken="long ago")["taken"] == "long ago"
    for name in ("date", "Date_Taken", "DateTimeOriginal", "created_at", "timestamp"):
        assert read(bare, **{name: "2018:01:02 03:04:05"})["taken"] == "2018-01-02T03:04:05"
        assert read(data, **{name: "2018:01:02 03:04:05"})["taken"] == "2019-05-04T12:30:00"
    assert "taken" not in read(bare, date="2107-01-01", updated="2018-01-02", year="2018")
    assert read(data, BuildOptions(exif=False), date="2018-01-02") == {"date": "2018-01-02"}
    assert "place" not in read(data, BuildOptions())


def by_id(bundle: Path) -> dict[str, dict[str, str]]:
    return {item.id: dict(item.columns) for item in items_of(bundle)}


def test_an_update_adds_them_to_kept_items(tmp_path: Path, tiny_encoder: Encoder) -> None:
    folder, bundle = tmp_path / "pictures", tmp_path / "bundle"
    folder.mkdir()
    (folder / "told.jpg").write_bytes(with_facts("JPEG", exif=BLOCK))
    (folder / "bare.jpg").write_bytes(encoded(photo(), "JPEG"))
    (folder / "metadata.csv").write_text("file_name,date\nbare.jpg,2017-01-02\n", "utf-8")
    build_index(Folder(folder), bundle, tiny_encoder, BuildOptions(exif=False))
    assert by_id(bundle) == {"bare.jpg": {"date": "2017-01-02"}, "told.jpg": {}}
    rows = Index.load(bundle).rows

    def update(**options: bool) -> dict[str, dict[str, str]]:
        report = build_index(Folder(folder), bundle, tiny_encoder, BuildOptions(update=True, **options))
        assert (report.num_items, report.num_encoded) == (2, 0) and np.array_equal(Index.load(bundle).rows, rows)
        return by_id(bundle)

    told = TOLD_BY_EXIF | {"width": "48", "height": "64"}
    bare = {"date": "2017-01-02", "taken": "2017-01-02", "width": "64", "height": "48"}
    assert update() == {"told.jpg": told, "bare.jpg": bare}
    assert update(places=True) == {"told.jpg": told | {"place": "48.86,2.35"}, "bare.jpg": bare | {"place": ""}}
    # From here on no file tells anything, and none is asked.
    for path in folder.glob("*.jpg"):
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert update(places=True) == {"told.jpg": told | {"place": "48.86,2.35"}, "bare.jpg": bare | {"place": ""}}
    assert update() == {"told.jpg": told, "bare.jpg": bare}
    (folder / "metadata.csv").write_text(
        "file_name,caption,camera,date\ntold.jpg,,mine,\nbare.jpg,,,2017-01-02\n", "utf-8"
    )
    assert update()["told.jpg"] == told | {"camera": "mine", "date": ""}
    assert update(exif=False)["told.jpg"] == {"camera": "mine", "date": ""}


def test_a_date_that_is_corrected_is_taken_over(tmp_path: Path, tiny_encoder: Encoder) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encoded(photo(), "PNG"))
    for year in (2017, 2018):
        (tmp_path / "in" / "metadata.csv").write_text(f"file_name,date\na.png,{year}-01-02\n", "utf-8")
        build_index(Folder(tmp_path / "in"), tmp_path / "out", tiny_encoder, BuildOptions(update=True))
        assert by_id(tmp_path / "out")["a.png"]["taken"] == f"{year}-01-02"


def test_rows_of_a_dataset_in_parts(tmp_path: Path, tiny_encoder: Encoder, run: Run) -> None:
    """The bytes and the dates may come from anywhere."""
    moment = datetime(2018, 1, 2, 3, 4, 5)
    pictures = [with_facts("JPEG", exif=BLOCK), with_facts("PNG"), with_facts("WEBP", xmp=XMP)]
    table = {"image": [{"bytes": data, "path": None} for data in pictures], "created": [moment] * 3}
    pq.write_table(pa.table(table), tmp_path / "rows.parquet", row_group_size=1)
    source = open_source(str(tmp_path / "rows.parquet"), DatasetOptions(columns=("created",)))
    build_index(source, tmp_path / "whole", tiny_encoder, PLACES)
    taken = [TOLD_BY_EXIF["taken"], moment.isoformat(), TOLD_BY_XMP["taken"]]
    assert [item.columns["taken"] for item in items_of(tmp_path / "whole")] == taken
    table = Index.load(tmp_path / "whole").columns
    for condition, rows in (("taken:2019..2021", [0, 2]), ("taken:2018-01..2018-02", [1]), ("camera~canon", [0])):
        assert np.flatnonzero(table.mask([Condition.parse(condition)])).tolist() == rows
    parts = [tmp_path / "1", tmp_path / "2"]
    flags = ("--encoder", tiny_encoder.model_id, "--precision", "float32", "--columns", "created", "--shard", "1/2")
    run("build", tmp_path / "rows.parquet", "--out", parts[0], *flags, "--places", "--json").answer()
    build_index(source, parts[1], tiny_encoder, BuildOptions(part=(2, 2), places=True))
    assert merge(parts, tmp_path / "merged").num_items == 3
    assert by_id(tmp_path / "merged") == by_id(tmp_path / "whole")
    build_index(source, parts[1], tiny_encoder, BuildOptions(part=(2, 2)))
    with pytest.raises(InputError, match="differ"):
        merge(parts, tmp_path / "merged")
    refused = run("build", tmp_path / "rows.parquet", "--out", tmp_path / "x", "--places", "--no-exif").refusal()
    assert "not allowed with" in refused
