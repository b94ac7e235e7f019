"""Bundles of strangers, with digests that fit unless that is the point: what they claim, point at, hide and blow up."""

import hashlib
import io
import json
import os
import pickle
import sqlite3
import struct
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
import pyarrow as pa

from imgsearch.embeddings import normalize
from imgsearch.index.index import Index
from imgsearch.index.items import FORMAT_3, MAGIC, SCHEMA, Items
from imgsearch.index.manifest import read_manifest
from imgsearch.records import Item
from imgsearch.search.words import TABLE

NUM_ITEMS = 24  # a map of more takes a minute, the first time in a process
Fate = Literal["refused", "unsearchable", "searched"]
"""What must come of a bundle: it is not opened; it is, but a search says what is wrong; all is well."""


@dataclass(frozen=True)
class Hostile:
    """A way to make a sound bundle hostile, in its folder."""

    name: str
    make: Callable[[Path], object]
    fate: Fate = "refused"


def save_sound(starter: Path, bundle: Path) -> Path:
    """A bundle of some example photos by the starter encoder, calibrated."""
    index = Index.load(starter)
    items = [index.item(row) for row in range(NUM_ITEMS)]
    Index.from_rows(normalize(index.rows[:NUM_ITEMS]), items, index.provenance).save(bundle)
    with_annex("calibration.json", next(starter.glob("calibration-*.json")).read_bytes)(bundle)
    return bundle


def values_of(bundle: Path) -> dict[str, Any]:
    """The fields of a manifest, less its digest."""
    values: dict[str, Any] = json.loads((bundle / "manifest.json").read_text("utf-8"))
    return {name: value for name, value in values.items() if name != "digest"}


def render(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def seal(bundle: Path, **changes: Any) -> None:
    """Write the manifest with these fields; the digests of files that are there, and its own, fit."""
    values = values_of(bundle) | changes
    if isinstance(values["files"], dict):
        for name in values["files"]:
            file = bundle / name if "\0" not in name else bundle
            if file.is_file():
                data = file.read_bytes()
                values["files"][name] = {"num_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    text = render(values)
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    (bundle / "manifest.json").write_bytes(render(values | {"digest": digest}).encode(errors="surrogatepass"))


def sealed(**changes: Any) -> Callable[[Path], None]:
    return lambda bundle: seal(bundle, **changes)


def file_of(bundle: Path, suffix: str) -> Path:
    return bundle / read_manifest(bundle).file(suffix)


def put(suffix: str, data: Callable[[Path], bytes]) -> Callable[[Path], None]:
    """Puts what `data` makes of the file of that kind in its place."""

    def make(bundle: Path) -> None:
        file = file_of(bundle, suffix)
        file.write_bytes(data(file))
        seal(bundle)

    return make


def text(content: str) -> Callable[[Path], object]:
    return lambda bundle: (bundle / "manifest.json").write_text(content, "utf-8")


def named(name: str) -> Callable[[Path], None]:
    """The items under another name, with their digest."""

    def make(bundle: Path) -> None:
        items = file_of(bundle, ".arrow").rename(bundle.parent / "outside.arrow")
        files = {key: entry for key, entry in values_of(bundle)["files"].items() if key != items.name}
        data = (bundle.parent / "outside.arrow").read_bytes()
        entry = {"num_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        seal(bundle, files={key: each for key, each in files.items() if not key.endswith(".arrow")} | {name: entry})

    return make


def linked_out(bundle: Path) -> None:
    file = file_of(bundle, ".arrow")
    file.symlink_to(file.rename(bundle.parent / "outside.arrow"))


def in_place_of(suffix: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Another kind of file, where the digest of the old one still stands."""

    def replace_it(bundle: Path) -> None:
        file = file_of(bundle, suffix) if suffix else bundle / "manifest.json"
        file.unlink()
        make(file)

    return replace_it


def index_of(make: Callable[[int], faiss.Index]) -> Callable[[Path], None]:
    """Vectors in a FAISS index of another kind."""

    def make_bytes(file: Path) -> bytes:
        rows = Index.load(file.parent).rows
        index = make(rows.shape[1])
        if not index.is_trained:
            index.train(rows)
        if isinstance(index, faiss.IndexIDMap2):
            index.add_with_ids(rows, np.arange(len(rows)))
        else:
            index.add(rows)
        return bytes(faiss.serialize_index(index).tobytes())

    return put(".faiss", make_bytes)


def inverted(dim: int) -> faiss.Index:
    quantizer = faiss.IndexFlatIP(dim)
    quantizer.this.disown()
    index = faiss.IndexIVFFlat(quantizer, dim, 4, faiss.METRIC_INNER_PRODUCT)
    index.own_fields = True
    return index


def at(place: int, data: bytes) -> Callable[[Path], bytes]:
    """The bytes of a file with others at a place."""

    def make(file: Path) -> bytes:
        old = file.read_bytes()
        place_ = place % len(old)
        return old[:place_] + data + old[place_ + len(data) :]

    return make


def rows_of(number: float) -> Callable[[Path], bytes]:
    """The vectors' file with a third of its rows of that number."""

    def make(file: Path) -> bytes:
        manifest = read_manifest(file.parent)
        size = 2 * manifest.dim
        old = file.read_bytes()
        head = len(old) - manifest.num_items * size
        count = manifest.num_items // 3
        return old[:head] + np.full(count * manifest.dim, number, np.float16).tobytes() + old[head + count * size :]

    return make


def smaller(bundle: Path) -> None:
    """Rows of 8 numbers, in the name of the starter encoder."""
    index = Index.load(bundle)
    items = [index.item(row) for row in range(len(index))]
    rows = normalize(np.random.default_rng(0).standard_normal((len(items), 8), np.float32))
    Index.from_rows(rows, items, index.provenance).save(bundle)


def arrow(change: Callable[[pa.Table], pa.Table], stream: bool = False, **options: Any) -> Callable[[Path], None]:
    """The items as another table."""

    def make(file: Path) -> bytes:
        table = change(pa.Table.from_batches(Items.open(file).batches))
        buffer = io.BytesIO()
        write = pa.ipc.new_stream if stream else pa.ipc.new_file
        with write(buffer, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
            for batch in table.to_batches():
                writer.write_batch(batch)
        return buffer.getvalue()

    return put(".arrow", make)


def column(
    name: str, values: Callable[[list[Any]], Sequence[Any]], kind: pa.DataType | None = None
) -> Callable[[Path], None]:
    """The items with another column of that name."""

    def change(table: pa.Table) -> pa.Table:
        number = SCHEMA.get_field_index(name)
        array = pa.array(values(table[name].to_pylist()), kind or SCHEMA.field(name).type)
        return table.set_column(number, pa.field(name, array.type), array)

    return arrow(change)


def from_dictionary(table: pa.Table) -> pa.Table:
    return table.set_column(1, "caption", table["caption"].dictionary_encode())


def each(value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda old: [value] * len(old)


def bomb(table: pa.Table) -> pa.Table:
    """A caption of a gigabyte of the same letter, which a few kB of zstd or lz4 hold."""
    captions = [" " * 2**29, *table["caption"].to_pylist()[1:]]
    return table.set_column(1, SCHEMA.field("caption"), pa.array(captions, pa.string()))


def many_batches(file: Path) -> bytes:
    batch = Items.open(file).batches[0]
    buffer = io.BytesIO()
    with pa.ipc.new_file(buffer, SCHEMA) as writer:
        for _ in range(20_000):
            writer.write_batch(batch.slice(0, 0))
        writer.write_batch(batch)
    return buffer.getvalue()


def changed(old: bytes, new: bytes) -> Callable[[Path], bytes]:
    """A file in which other bytes of the same number stand."""

    def make(file: Path) -> bytes:
        data = file.read_bytes()
        assert len(old) == len(new) and old in data
        return data.replace(old, new)

    return make


def lying_offsets(file: Path) -> bytes:
    """The ends of the ids lie far outside of the file."""
    ids = Items.open(file).batches[0]["id"]
    offsets = ids.buffers()[1].to_pybytes()[: 4 * (len(ids) + 1)]
    return changed(offsets, struct.pack("<i", 0) + struct.pack("<i", 2**30) * len(ids))(file)


def map_offsets(change: Callable[[list[int]], list[int]]) -> Callable[[Path], bytes]:
    """The places of the items' columns among those of all are others."""

    def make(file: Path) -> bytes:
        old = Items.open(file).batches[0]["columns"].offsets.to_pylist()
        return changed(struct.pack(f"<{len(old)}i", *old), struct.pack(f"<{len(old)}i", *change(old)))(file)

    return make


def map_lengths(length: int, num_nulls: int) -> Callable[[Path], bytes]:
    """The columns of all items are said to be that many, that many of them empty."""

    def make(file: Path) -> bytes:
        number = len(Items.open(file).batches[0]["columns"].keys)
        return changed(struct.pack("<2q", number, 0), struct.pack("<2q", length, num_nulls))(file)

    return make


def pairs(change: Callable[[list[Any]], list[Any]], kind: pa.DataType | None = None) -> Callable[[Path], None]:
    """Maps that Arrow itself would not make. Lists of pairs lie in a file as maps do: only the schema tells them."""
    entries = pa.list_(kind or pa.struct([("key", pa.string()), ("value", pa.string())]))

    def make(file: Path) -> bytes:
        batch = Items.open(file).batches[0]
        lists = [[{"key": name, "value": text} for name, text in columns] for columns in batch["columns"].to_pylist()]
        batch = batch.set_column(2, "columns", pa.array(change(lists), entries))
        buffer = io.BytesIO()
        with pa.ipc.new_stream(buffer, batch.schema) as writer:
            writer.write_batch(batch)
        _, message = pa.ipc.MessageReader.open_stream(buffer.getvalue())
        return MAGIC + SCHEMA.serialize().to_pybytes() + message.serialize().to_pybytes()

    return put(".arrow", make)


def map_bomb(table: pa.Table) -> pa.Table:
    """Half a gigabyte of the same letter in the columns of an item."""
    maps = [[("name", " " * 2**29)], *table["columns"].to_pylist()[1:]]
    return table.set_column(2, SCHEMA.field("columns"), pa.array(maps, SCHEMA.field("columns").type))


def json_columns(content: str) -> Callable[[Path], None]:
    """The items as of format 3, whose columns are that JSON."""

    def change(table: pa.Table) -> pa.Table:
        return table.set_column(2, FORMAT_3.field("columns"), pa.array([content] * len(table)))

    return arrow(change)


def frame(width: int, height: int) -> bytes:
    """The head of a lossy WebP of that size."""
    body = b"WEBPVP8 " + struct.pack("<I", 10) + b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", width, height)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def with_annex(name: str, data: Callable[[], bytes]) -> Callable[[Path], None]:
    """A calibration or map of that content, named by the manifest."""

    def make(bundle: Path) -> None:
        (bundle / name).write_bytes(data())
        seal(bundle, files={**values_of(bundle)["files"], name: {}})

    return make


def database(*statements: str) -> Callable[[], bytes]:
    """A SQLite file made by these statements."""

    def make() -> bytes:
        connection = sqlite3.connect(":memory:")
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        return connection.serialize()

    return make


def npz(**arrays: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in arrays.items():
            file.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


class Trap:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.makedirs, (str(TRAP), 0o777, True)


TRAP = Path(f"/tmp/imgsearch-trap-{os.getpid()}")


def pickled_map() -> bytes:
    trap = np.array([Trap()], dtype=object)
    return npz(rows=npy(trap), points=npy(np.zeros((1, 2), np.uint16)), clusters=npy(np.zeros(1, np.uint8)))


def map_of(rows: Any) -> bytes:
    """A map whose rows are these."""
    number = len(rows)
    return npz(rows=npy(rows), points=npy(np.zeros((number, 2), np.uint16)), clusters=npy(np.zeros(number, np.uint8)))


def claimed(shape: str) -> bytes:
    """A map that says it has rows of that shape, and holds none."""
    head = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return npz(rows=b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode(), points=b"", clusters=b"")


def blown_up() -> bytes:
    """A map of which a member is half a gigabyte of zeros in half a megabyte."""
    head = npy(np.zeros(0, np.int64))
    return npz(rows=head + bytes(2**29), points=head, clusters=head)


def with_report(content: bytes) -> Callable[[Path], object]:
    return lambda bundle: (bundle / "report.json").write_bytes(content)


def calibration(**changes: Any) -> Callable[[], bytes]:
    """A calibration with these fields; the bounds of a text among them are given as `fair` and `strong`."""
    bounds = {"fair": 0.1, "strong": 0.2, "bias": 0.0, "length_bias": 0.0}
    fields = {"text": bounds, "image": bounds, "near_duplicate": 0.99, "figures": {}}
    return lambda: json.dumps(fields | changes).encode()


def sourced(source: str, id: str) -> Callable[[Path], None]:
    """An item that names a file of the server as its picture."""

    def make(bundle: Path) -> None:
        column("id", lambda old: [id, *old[1:]])(bundle)
        seal(bundle, source=os.path.relpath(source, bundle))

    return make


def vast_original(bundle: Path) -> None:
    """A picture of a terabyte, all of it a hole."""
    folder = bundle.parent / "vast"
    folder.mkdir(exist_ok=True)
    with (folder / "vast.jpg").open("wb") as file:
        file.truncate(2**40)
    sourced(str(folder), "vast.jpg")(bundle)


def endless_original(bundle: Path) -> None:
    """A picture that is a pipe no one writes to."""
    folder = bundle.parent / "endless"
    folder.mkdir(exist_ok=True)
    os.mkfifo(folder / "endless.jpg")
    sourced(str(folder), "endless.jpg")(bundle)


DEEP = "[" * 100_000
NESTED = '{"a":' * 100_000
MANIFESTS = [
    Hostile("manifest-huge", sealed(licence="x" * 2**21)),
    Hostile("manifest-deep-list", text(DEEP)),
    Hostile("manifest-deep-object", text(NESTED)),
    Hostile("manifest-number-of-a-million-digits", text('{"format_version": ' + "9" * 1_000_000 + "}")),
    Hostile("manifest-list", text("[]")),
    Hostile("manifest-a-pipe", in_place_of("", os.mkfifo)),
    Hostile("manifest-a-device", in_place_of("", lambda path: path.symlink_to("/dev/zero"))),
    Hostile("manifest-a-loop", in_place_of("", lambda path: path.symlink_to(path))),
    *(Hostile(f"dim-{dim!r:.9}", sealed(dim=dim)) for dim in ("x", -1, 0, 2**40, 10**300, True, None, float("nan"))),
    *(Hostile(f"num-items-{n!r:.9}", sealed(num_items=n)) for n in (-1, "40", 10**30, float("inf"), [40])),
    Hostile("files-a-list", sealed(files=["items.arrow"])),
    Hostile("files-none", sealed(files={})),
    Hostile("files-thousands", sealed(files={f"{n}.json": {"num_bytes": 1, "sha256": "0" * 64} for n in range(5000)})),
    Hostile("digest-a-number", sealed(files={"a.arrow": {"num_bytes": 1, "sha256": 5}})),
    Hostile("size-a-text", sealed(files={"a.arrow": {"num_bytes": "1", "sha256": "0" * 64}})),
    Hostile("half-a-character", sealed(licence="\ud800")),
    Hostile("vectors-of-another-kind", sealed(vectors="float128")),
    Hostile("part-of-none", sealed(part="\x1b[31m1/2")),
    Hostile("encoder-a-list", sealed(encoder=["starter"])),
    Hostile("format-a-truth", sealed(format_version=True)),
    Hostile("source-absolute", sealed(source="/etc")),
    Hostile("wrong-digest", lambda bundle: (bundle / "manifest.json").write_text(render(values_of(bundle)), "utf-8")),
]
PATHS = [
    *(Hostile(f"name-{name!r}", named(name)) for name in ("../outside.arrow", "a/../../outside.arrow", "..", "", ".")),
    Hostile("name-absolute", lambda bundle: named(str(bundle.parent / "outside.arrow"))(bundle)),
    Hostile("name-with-nul", named("items\0.arrow")),
    Hostile("name-with-escapes", named("\x1b[2Jitems.arrow")),
    Hostile("link-out-of-the-bundle", linked_out),
    Hostile("link-to-itself", in_place_of(".arrow", lambda path: path.symlink_to(path))),
    Hostile("items-a-pipe", in_place_of(".arrow", os.mkfifo)),
    Hostile("items-a-folder", in_place_of(".arrow", lambda path: path.mkdir())),
    Hostile("vectors-a-device", in_place_of(".faiss", lambda path: path.symlink_to("/dev/zero"))),
]
VECTORS = [
    Hostile("vectors-by-distance", index_of(faiss.IndexFlatL2)),
    Hostile("vectors-in-lists", index_of(inverted)),
    Hostile("vectors-quantised", index_of(lambda dim: faiss.IndexPQ(dim, 1, 4, faiss.METRIC_INNER_PRODUCT))),
    Hostile("vectors-behind-a-map", index_of(lambda dim: faiss.IndexIDMap2(faiss.IndexFlatIP(dim)))),
    Hostile("vectors-many-claimed", put(".faiss", at(8, struct.pack("<q", 2**40)))),
    Hostile("vectors-negative", put(".faiss", at(8, struct.pack("<q", -1)))),
    Hostile("vectors-of-another-width", put(".faiss", at(4, struct.pack("<i", 2**30)))),
    Hostile("vectors-long-codes", put(".faiss", at(73, struct.pack("<Q", 2**62)))),
    Hostile("vectors-cut", put(".faiss", lambda file: file.read_bytes()[:-1])),
    Hostile("vectors-with-a-tail", put(".faiss", lambda file: file.read_bytes() + b"x")),
    Hostile("vectors-empty", put(".faiss", lambda file: b"")),
    Hostile("vectors-no-numbers", put(".faiss", rows_of(float("nan"))), "unsearchable"),
    Hostile("vectors-endless", put(".faiss", rows_of(float("inf"))), "unsearchable"),
    Hostile("vectors-far-too-long", put(".faiss", rows_of(60_000)), "unsearchable"),
    Hostile("vectors-of-another-encoder", smaller, "unsearchable"),
]
ITEMS = [
    Hostile("items-bomb-zstd", arrow(bomb, compression="zstd")),
    Hostile("items-bomb-lz4", arrow(bomb, compression="lz4")),
    Hostile("items-empty", put(".arrow", lambda file: b"")),
    Hostile("items-no-arrow", put(".arrow", lambda file: b"PAR1" * 100)),
    Hostile("items-only-magic", put(".arrow", lambda file: b"ARROW1\0\0")),
    Hostile("items-stream", arrow(lambda table: table, stream=True)),
    Hostile("items-cut", put(".arrow", lambda file: file.read_bytes()[:5000])),
    Hostile("items-fewer", arrow(lambda table: table.slice(1))),
    Hostile("items-other-columns", arrow(lambda table: table.drop_columns(["sha256"]))),
    Hostile("items-thousands-of-batches", put(".arrow", many_batches)),
    Hostile("items-lying-offsets", put(".arrow", lying_offsets)),
    Hostile("items-no-utf-8", put(".arrow", changed(b"animals/alpaca", b"animals/\xff\xfe\xfd\xfc\xfb\xfa"))),
    Hostile("ids-numbers", column("id", lambda old: range(len(old)), pa.int64())),
    Hostile("ids-missing", column("id", each(None))),
    Hostile("captions-from-a-dictionary", arrow(from_dictionary)),
    Hostile("caption-of-five-megabytes", column("caption", lambda old: ["x" * 5 * 2**20, *old[1:]])),
    Hostile("thumbnail-of-five-megabytes", column("thumbnail", lambda old: [bytes(5 * 2**20), *old[1:]])),
    Hostile("ids-that-repeat", column("id", each("twice.jpg")), "searched"),
    *(
        Hostile(f"columns-{number}", json_columns(content), "searched")
        for number, content in enumerate(
            [
                "",
                "not JSON",
                "[1, 2]",
                "null",
                DEEP,
                NESTED,
                '{"a": 1, "b": null, "c": ["d"], "e": NaN, "f": {"g": "h"}}',
                '{"\\ud800": "\\udfff", "a": "\\ud83d"}',
                '{"a": ' + "9" * 100_000 + "}",
                json.dumps({str(number): "x" for number in range(20_000)}),
            ]
        )
    ),
    Hostile("pairs-that-are-sound", pairs(lambda lists: lists), "searched"),
    *(
        Hostile(f"pairs-{name}", pairs(partial(lambda first, lists: [first, *lists[1:]], first)))
        for name, first in {
            "without-a-name": [{"key": None, "value": "x"}],
            "without-a-text": [{"key": "a", "value": None}],
            "none": None,
            "an-empty-one": [None],
            "of-one-name": [{"key": "a", "value": "x"}, {"key": "b", "value": "y"}, {"key": "a", "value": "z"}],
            "too-many": [{"key": str(number), "value": "x"} for number in range(1001)],
            "of-a-long-name": [{"key": "x" * 100_000, "value": "x"}],
            "of-a-long-text": [{"key": "a", "value": "x" * 100_000}],
        }.items()
    ),
    *(
        Hostile(f"map-offsets-{name}", put(".arrow", map_offsets(partial(change, 2**30))))
        for name, change in {
            "far-out": lambda far, old: [*old[:-1], far],
            "below-0": lambda far, old: [-far, *old[1:]],
            "that-fall": lambda far, old: [old[0], old[3], old[2], old[1], *old[4:]],
            "that-leave-some-out": lambda far, old: [5, *old[1:]],
            "that-end-early": lambda far, old: [*old[:-1], old[-2]],
            "all-far-out": lambda far, old: [old[0], *[far] * (len(old) - 1)],
        }.items()
    ),
    *(
        Hostile(f"map-lengths-{length}-{num_nulls}", put(".arrow", map_lengths(length, num_nulls)))
        for length, num_nulls in [(2**62, 0), (2**31 - 1, 0), (-1, 0), (7, 0), (120, 120), (120, -1), (121, 0)]
    ),
    Hostile("map-names-no-utf-8", put(".arrow", changed(b"subject_fr", b"subject\xff\xfe\xfd"))),
    Hostile("map-texts-no-utf-8", put(".arrow", changed(b"animaux", b"anim\xff\xfe\xfd"))),
    Hostile("columns-heavy", column("columns", each([(f"{n}", "x" * 2**14) for n in range(60)])), "searched"),
    Hostile("map-bomb", arrow(map_bomb, compression="zstd")),
    *(
        Hostile(f"map-of-{kind}".replace(" ", ""), column("columns", each(None), kind))
        for kind in (
            pa.map_(pa.string(), pa.int64()),
            pa.map_(pa.int32(), pa.string()),
            pa.map_(pa.string(), pa.binary()),
            pa.map_(pa.string(), pa.map_(pa.string(), pa.string())),
            pa.list_(pa.string()),
            pa.large_string(),
        )
    ),
    *(
        Hostile(f"thumbnail-{name}", column("thumbnail", each(data)), "searched")
        for name, data in {
            "svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='window.hacked = 1'/>",
            "huge": frame(16_383, 16_383),
            "heavy": frame(320, 320) + bytes(2**18),
            "cut": frame(100, 100)[:28],
            "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
        }.items()
    ),
    *(
        Hostile(f"picture-{number}", sourced(source, id), "searched")
        for number, (source, id) in enumerate(
            [("/proc", "kmsg"), ("/", "etc/passwd"), ("/dev", "zero"), ("/tmp", "../etc/passwd"), ("/tmp", "a\0b")]
        )
    ),
    Hostile("picture-vast", vast_original, "searched"),
    Hostile("picture-a-pipe", endless_original, "searched"),
    Hostile("report-deep", with_report(DEEP.encode()), "searched"),
]
MAPS = [
    Hostile("map-pickled", with_annex("atlas.npz", pickled_map)),
    Hostile("map-blown-up", with_annex("atlas.npz", blown_up)),
    Hostile("map-claims-terabytes", with_annex("atlas.npz", lambda: claimed("(1000000000000,)"))),
    Hostile("map-claims-nothing-of-much", with_annex("atlas.npz", lambda: claimed("(0, -1, 99999999999)"))),
    Hostile("map-of-rows-that-are-not-there", with_annex("atlas.npz", lambda: map_of(np.array([0, 10**12])))),
    Hostile("map-of-no-numbers", with_annex("atlas.npz", lambda: map_of(np.array([np.nan, 1.0])))),
    Hostile("map-no-zip", with_annex("atlas.npz", lambda: pickle.dumps(Trap()))),
    Hostile("map-too-long", with_annex("atlas.npz", lambda: bytes(2**21))),
]
CALIBRATIONS = [
    Hostile(f"calibration-{number}", with_annex("calibration.json", data))
    for number, data in enumerate(
        [
            calibration(near_duplicate=float("nan")),
            calibration(near_duplicate=float("-inf")),
            calibration(near_duplicate=1e308),
            calibration(near_duplicate=10**400),
            calibration(text={"fair": 2, "strong": 1}),
            calibration(text=[0.1, 0.2]),
            calibration(figures={"x" * 1000: float("nan")}),
            calibration(figures=None),
            calibration(figures={"a": "b"}),
            calibration(more="fields"),
            lambda: DEEP.encode(),
            lambda: b"\xff" * 100,
            lambda: b"{" + b" " * 2**21 + b"}",
        ]
    )
]
ENDLESS = "WITH RECURSIVE a(rowid) AS (SELECT 1 UNION ALL SELECT rowid + 1 FROM a) SELECT rowid, 'owl' AS words FROM a"
WORDS = [
    Hostile(f"words-{name}", with_annex("words.db", data))
    for name, data in {
        "empty": bytes,
        "no-database": lambda: b"SQLite format 3\0" + b"\xff" * 5000,
        "too-large": lambda: bytes(2**21),
        "another-table": database("CREATE TABLE items (words)"),
        "a-view": database("CREATE TABLE a (b)", "CREATE VIEW items AS SELECT 1 AS rowid, b AS words FROM a"),
        "an-endless-view": database(f"CREATE VIEW items AS {ENDLESS}"),
        "a-trigger": database(TABLE, "CREATE TABLE a (b)", "CREATE TRIGGER c AFTER INSERT ON a BEGIN SELECT 1; END"),
        "one-table-more": database(TABLE, "CREATE TABLE more (words)"),
        "another-tokenizer": database(TABLE.replace("porter ", "")),
        "cut-short": lambda: database(TABLE)()[:5000],
    }.items()
]
HOSTILE = [*MANIFESTS, *PATHS, *VECTORS, *ITEMS]


def with_texts(bundle: Path, change: Callable[[int, Item], Item]) -> None:
    """The bundle with other items, in the same order; what was worked out of their vectors stays."""
    index = Index.load(bundle)
    kept = {name: next(bundle.glob(f"{name[:5]}*")).read_bytes() for name in ("calibration.json", "atlas.npz")}
    items = [change(row, index.item(row)) for row in range(len(index))]
    Index.from_rows(normalize(index.rows), items, index.provenance).save(bundle)
    for name, data in kept.items():
        with_annex(name, partial(bytes, data))(bundle)
