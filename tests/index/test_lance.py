"""Lance tables: exported from a bundle, searched as it is, and refused in one sentence if something is wrong."""

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from imgsearch.config import ROOT, STARTER_BUNDLE, table_path
from imgsearch.embeddings import Embeddings, normalize
from imgsearch.engine import Engine
from imgsearch.errors import BundleError, ImgsearchError, InputError
from imgsearch.index import lance_export
from imgsearch.index.filters import Condition
from imgsearch.index.index import Index
from imgsearch.index.lance import LanceIndex
from imgsearch.index.lance_export import export_table
from imgsearch.index.lance_table import VECTOR
from imgsearch.index.manifest import Provenance
from imgsearch.records import Item
from imgsearch.search.query import Part
from imgsearch.search.words import stems
from tests.helpers.app import free_port, running_app
from tests.helpers.commands import Run, run_process
from tests.helpers.greedy import Caller
from tests.helpers.tables import as_table, ignore

QUOTED = ["it's", "'' OR ''=''", 'say "no"', "back\\slash'", "`t0`; --", "%_*", "a\x00b", "Straße\u202e", "é'漢"]
QUERIES = """a red fruit|an owl|a dog on the beach|the sun|un château|a cup of coffee|stars in the night sky|a flag
an astronaut|vegetables|a bird with a long beak|snow|a musical instrument|something blue|flowers|a map|a horse
a ripe strawberry with its long green stalk|fromage|a zebra crossing a street""".replace("\n", "|").split("|")


def clustered(number: int, dim: int, seed: int) -> Embeddings:
    """Unit rows near 50 centres, as pictures of 50 subjects are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(50, dim))
    return normalize(centres[rng.integers(0, 50, number)] + rng.normal(size=(number, dim)))


def made_up(number: int, dim: int = 64) -> Index:
    """Items with hostile texts in ids, captions, and in names and texts of columns."""

    def item(row: int) -> Item:
        strange = QUOTED[row % len(QUOTED)]
        columns = {f"it's {strange}": f"{strange} {row % 7}", "n": str(row)} if row % 4 else {}
        return Item(f"{row} {strange}", f"{strange} caption", columns, "0" * 64, b"")

    provenance = Provenance(encoder="test/encoder", source=str(Path("pictures").resolve()))
    return Index.from_rows(clustered(number, dim, 1), [item(row) for row in range(number)], provenance)


def index_few(patch: pytest.MonkeyPatch) -> None:
    """Let a table of 6,000 rows have an index, which is measured quickly."""
    patch.setattr(lance_export, "MIN_INDEXED", 5000)
    patch.setattr(lance_export, "NUM_QUERIES", 100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of 6,000 items and its table, which is large enough for an index."""
    folder = tmp_path_factory.mktemp("made-up")
    with pytest.MonkeyPatch.context() as patch:
        index_few(patch)
        as_table(made_up(6000), folder)
    return folder


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """The same of one's own."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture(scope="module")
def starter_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = tmp_path_factory.mktemp("starter") / "starter.lance"
    export_table(STARTER_BUNDLE, table, stems, ignore)
    return table


def test_the_nearest_are_found_about_as_often_as_told_and_all_if_asked_for(folder: Path) -> None:
    bundle, table = Index.load(folder / "bundle"), LanceIndex(folder / "table.lance")
    exact, queries = LanceIndex(folder / "table.lance", exact=True), clustered(100, 64, 2)
    assert table.recall is not None and table.recall >= 0.98 and exact.recall is None
    shares = []
    for query in queries:
        scores, rows = bundle.nearest(query[None], 10)
        assert exact.nearest(query[None], 10)[1].tolist() == rows.tolist()
        assert exact.nearest(query[None], 10)[0] == pytest.approx(scores, abs=1e-6)
        shares.append(len({*table.nearest(query[None], 10)[1].tolist()} & {*rows.tolist()}) / 10)
    assert np.mean(shares) >= table.recall - 0.03


def test_late_pages_come_from_partitions_that_else_are_not_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index_few(monkeypatch)
    for name, number in {"PARTITION": 256, "FIRST_PROBES": 8, "FIRST_REFINED": 8}.items():
        monkeypatch.setattr(lance_export, name, number)
    table, queries = as_table(made_up(6000), tmp_path), clustered(50, 64, 2)
    exact, measured = LanceIndex(tmp_path / "table.lance", exact=True), table.table.measured
    assert measured and measured.max_probes < lance_export.num_partitions(6000)
    found = [[{*index.nearest(query[None], 10)[1].tolist()} for query in queries] for index in (table, exact)]
    shares = [len(one & other) / 10 for one, other in zip(*found, strict=True)]
    assert np.mean(shares) >= measured.recall_at_10 - 0.03
    pages = [table.nearest(queries[:1], start + 500)[1][start:].tolist() for start in range(0, 6500, 500)]
    rows = [row for page in pages for row in page]
    assert len(rows) == 6000 and len({*rows}) >= 5900 and pages[-1] == []  # with more candidates one may come again


@pytest.mark.long
def test_200_000_rows_are_found_as_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lance_export, "NUM_QUERIES", 100)
    rows = clustered(200_000, 512, 1)
    items = [Item(f"{row}.jpg", f"word{row % 5000}", {"n": str(row)}, "0" * 64, b"") for row in range(len(rows))]
    bundle = Index.from_rows(rows, items, Provenance(encoder="test/encoder", source=str(tmp_path / "pictures")))
    table, queries = as_table(bundle, tmp_path), clustered(100, 512, 2)
    assert table.recall is not None and table.recall >= 0.98
    within = [Condition("n", "range", "1000..10999")]
    for conditions in ((), within):
        masks = [index.columns.mask(conditions) if conditions else None for index in (bundle, table)]
        found = [
            [{*index.nearest(query[None], 10, mask)[1].tolist()} for query in queries]
            for index, mask in zip((bundle, table), masks, strict=True)
        ]
        assert np.mean([len(one & other) / 10 for one, other in zip(*found, strict=True)]) >= 0.95
    assert set.union(*found[1]) <= {*range(1000, 11_000)}


def test_a_table_says_what_its_bundle_says(folder: Path) -> None:
    bundle, table = Index.load(folder / "bundle"), LanceIndex(folder / "table.lance")
    assert bundle.provenance == table.provenance and (len(table), table.dim) == (6000, 64)
    assert not bundle.provenance.difference(table.provenance)
    assert [table.item(row) for row in (0, 3, 5999)] == [bundle.item(row) for row in (0, 3, 5999)]
    assert np.array_equal(table.rows, bundle.rows) and [*table.column("id")] == [*bundle.column("id")]
    assert table.items.sample(1000).tolist() == bundle.items.sample(1000).tolist()
    columns, of_bundle = table.columns, bundle.columns
    assert columns.names == of_bundle.names
    assert all(columns.values(name, 9) == of_bundle.values(name, 9) for name in of_bundle.metadata if name != "n")
    assert columns.values("n", 9) == []  # too many to be counted


def test_hostile_texts_are_found_and_change_nothing(folder: Path) -> None:
    bundle, table = Index.load(folder / "bundle"), LanceIndex(folder / "table.lance")
    of_bundle, query = bundle.columns, clustered(1, 64, 3)
    for row, strange in enumerate(QUOTED):
        assert table.items.row_of(f"{row} {strange}") == row
        conditions = [
            [Condition(f"it's {strange}", "equals", f"{strange} 1")],
            [Condition(f"it's {strange}", "contains", strange)],
            [Condition("caption", "contains", strange), Condition("n", "range", "100..2000")],
            [Condition("id", "range", f"{row} {strange}..{row} {strange}")],
            [Condition("caption", "equals", f"{strange}' OR '1'='1")],
        ]
        for each in conditions:
            mask = of_bundle.mask(each)
            rows, has_more = table.columns.spread(each, 0, 6000)
            assert rows == np.flatnonzero(mask).tolist() and not has_more
            expected = bundle.nearest(query, 10, mask)[1].tolist()
            assert table.nearest(query, 10, table.columns.mask(each))[1].tolist() == expected
    for refused in ("none", "' OR 1=1 --", "\ud800'"):
        with pytest.raises(InputError, match="has no picture"):
            table.items.row_of(refused)


def test_browsing_shows_each_item_once(folder: Path) -> None:
    columns = LanceIndex(folder / "table.lance").columns
    pages = [columns.spread([], start, 999) for start in range(0, 6000, 999)]
    assert sorted(row for rows, _ in pages for row in rows) == [*range(6000)]
    assert [has_more for _, has_more in pages] == [True] * 6 + [False]
    first = columns.spread([], 0, 60)[0]
    assert np.ptp(np.bincount(np.array(first) // 1000)) <= 2  # from all parts of the collection
    within = [Condition("n", "range", "0..99")]
    assert columns.spread(within, 0, 10) == ([1, 2, 3, 5, 6, 7, 9, 10, 11, 13], True)
    assert columns.spread(within, 70, 10) == ([94, 95, 97, 98, 99], False)


KILLED = """
import os, signal, sys, threading
from pathlib import Path
from imgsearch.index import lance_export
from imgsearch.search.words import stems
lance_export.MIN_INDEXED, lance_export.NUM_QUERIES, lance_export.BATCH, lance_export.CHUNK = 5000, 100, 512, 2048
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
bundle, table, rows, seconds = sys.argv[1:]
threading.Timer(float(seconds), kill).start()
lance_export.export_table(Path(bundle), Path(table), stems, lambda done, total: done == int(rows) and kill())
"""


def killed_export(copy: Path, rows: int, seconds: float = 600.0) -> Path:
    """The table of an export that was killed at a number of rows, or after so many seconds."""
    table = copy / "again.lance"
    arguments = [copy / "bundle", table, rows, seconds]
    done = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return table


def test_a_killed_export_goes_on(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index_few(monkeypatch)
    monkeypatch.setattr(lance_export, "CHUNK", 2048)
    table, seen = killed_export(copy, 4096), list[int]()
    with pytest.raises(BundleError, match=r"is being written\. Wait, or run the same export again"):
        LanceIndex(table)
    measured = export_table(copy / "bundle", table, stems, lambda done, total: seen.append(done))
    assert seen == [4096, 6000]
    one, other = LanceIndex(table), LanceIndex(copy / "table.lance")
    assert one.table.measured == measured and [*one.column("id")] == [*other.column("id")]
    assert np.array_equal(one.rows, other.rows)
    assert export_table(copy / "bundle", table, stems, lambda done, total: seen.append(done)) == measured
    assert seen[2:] == [6000]


def test_a_second_export_to_the_same_table_is_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index_few(monkeypatch)
    arguments = ["export", "--index", str(copy / "bundle"), "--lance", f"lance://{copy}/twice"]
    refusals = list[str]()

    def export_again(done: int, total: int) -> None:
        second = subprocess.run([sys.executable, "-m", "imgsearch", *arguments], cwd=ROOT, capture_output=True)
        refusals.append(f"{second.returncode} {second.stderr.decode().splitlines()[-1]}")

    export_table(copy / "bundle", copy / "twice.lance", stems, export_again)
    expected = f"2 imgsearch: {copy}/twice.lance is being written by another process. Wait until it is done."
    assert {*refusals} == {expected}
    assert len(LanceIndex(copy / "twice.lance")) == 6000


@pytest.mark.long
def test_an_export_that_is_killed_at_any_moment_goes_on(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index_few(monkeypatch)
    for seconds in (0.2, 0.5, 0.8, 1.2):  # after its imports
        table = killed_export(copy, -1, seconds)
    export_table(copy / "bundle", table, stems, ignore)
    one, other = LanceIndex(table), LanceIndex(copy / "table.lance")
    assert one.recall and [*one.column("id")] == [*other.column("id")] and np.array_equal(one.rows, other.rows)


def test_a_lost_index_is_told_and_made_anew(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index_few(monkeypatch)
    table = copy / "table.lance"
    lancedb.connect(copy).open_table("table").drop_index(f"{VECTOR}_idx")
    with pytest.raises(BundleError, match="has lost its index. Run the same export again"):
        LanceIndex(table)
    export_table(copy / "bundle", table, stems, ignore)
    assert LanceIndex(table).recall is not None


def refusals(copy: Path) -> Iterator[tuple[str, Any]]:
    """What is wrong, as a part of its sentence, and what is then refused."""
    made_up(10).save(copy / "other")
    lancedb.connect(copy).create_table("foreign", schema=pa.schema([("id", pa.string())]))
    (copy / "file").write_text("x")
    yield "There is no Lance table at", lambda: LanceIndex(copy / "none.lance")
    yield "cannot be read: it is of another program", lambda: LanceIndex(copy / "foreign.lance")
    yield "holds another collection", lambda: export_table(copy / "other", copy / "table.lance", stems, ignore)
    yield "is of another program", lambda: export_table(copy / "other", copy / "foreign.lance", stems, ignore)
    yield "cannot be written", lambda: export_table(copy / "other", copy / "file" / "a.lance", stems, ignore)
    yield "cannot be written", lambda: export_table(copy / "other", copy / "a b'c.lance", stems, ignore)
    yield "There is no bundle at", lambda: export_table(copy / "none", copy / "table.lance", stems, ignore)


def test_what_is_wrong_is_told_in_a_sentence(copy: Path) -> None:
    for part, refused in refusals(copy):
        with pytest.raises(ImgsearchError, match=part) as caught:
            refused()
        assert "\n" not in str(caught.value)


def test_opening_reads_no_row_and_a_search_that_breaks_off_is_told(copy: Path) -> None:
    shutil.rmtree(copy / "table.lance" / "data")
    table = LanceIndex(copy / "table.lance")
    for ask in (lambda: table.item(5), lambda: table.rows_of([5]), lambda: table.search(clustered(1, 64, 3), 5)):
        with pytest.raises(BundleError, match=r"cannot be read: a file of it is missing\. "):
            ask()


def test_without_lancedb_a_sentence_says_how_to_install_it(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(InputError, match=r'needs LanceDB\. Install it: pip install "lancedb>=0.40,<0.41"'):
        LanceIndex(copy / "table.lance")


def test_a_table_answers_as_its_bundle(starter_table: Path, engine: Engine) -> None:
    """Without an index the search is exact: hits, verdicts, words, near-duplicates and pages are the same."""
    table = Engine.open(starter_table)
    assert table.status.recall is None and table.status.num_items == len(engine.index)
    for text in QUERIES:
        found, expected = table.search(text), engine.search(text)
        assert [hit.item for hit in found.hits[:5]] == [hit.item for hit in expected.hits[:5]], text
        assert [(hit.strength, hit.near_duplicates) for hit in found.hits] == [
            (hit.strength, hit.near_duplicates) for hit in expected.hits
        ]
        assert [hit.words for hit in found.hits] == pytest.approx([hit.words for hit in expected.hits])
        assert found.bounds == pytest.approx(expected.bounds) and found.following == expected.following
    coffee = [Part(item="skimage/coffee.jpg")]
    within = [Condition("subject", "equals", "food")]
    ids = [
        [hit.item.id for hit in each.query(coffee, 12, start=12, conditions=within).hits] for each in (table, engine)
    ]
    assert ids[0] == ids[1]
    assert len(table.browse(12, conditions=within).hits) == 12 == len({hit.row for hit in table.browse(12).hits})
    for ask in (lambda each: each.query(coffee, 24, sort="-id"), lambda each: each.browse(12, start=12, sort="-id")):
        found, expected = ask(table), ask(engine)
        assert [hit.item.id for hit in found.hits] == [hit.item.id for hit in expected.hits]
        assert found.following == expected.following
    item = table.index.item_by_id("skimage/coffee.jpg")
    assert table.thumbnail(item) == engine.thumbnail(item) and len(table.large_picture(item.id)) > 10_000


def test_a_build_writes_a_table_of_its_bundle(run: Run, tmp_path: Path) -> None:
    bundle, address = tmp_path / "stamps", f"lance://{tmp_path}/stamps"
    run("build", ROOT / "examples" / "stamps", "--out", bundle, "--lance", address, "--limit", 9, "--json").answer()
    table = LanceIndex(table_path(address))
    assert [*table.column("id")] == [*Index.load(bundle).column("id")] and table.table.facts.calibration
    refused = run("build", ROOT / "examples", "--out", bundle, "--lance", address, "--shard", "1/2").refusal()
    assert "--lance does not go with --shard" in refused


@pytest.mark.usefixtures("refusing")
def test_a_table_that_cannot_be_written_is_told_before_a_build(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for address, words in {
        f"lance://{tmp_path}/file/x": "x.lance cannot be written: ",
        "s3://photos/x": "x.lance cannot be written: access is denied",
        f"lance://{tmp_path}/a b": "is no address of a Lance table. Give one such as",
    }.items():
        asked = ("build", ROOT / "examples" / "stamps", "--out", tmp_path / "bundle", "--lance", address)
        assert words in run(*asked).refusal() and not (tmp_path / "bundle").exists()
    for address in ("lance://", "lance://x/.lance", "s3://", "s3://photos"):
        assert "is no address of a Lance table. Give" in run("info", "--index", address).refusal()
    assert "IMGSEARCH_INDEX: 'lance://' is no" in run_process("info", IMGSEARCH_INDEX="lance://").refusal()


def test_by_command_line(run: Run, tmp_path: Path) -> None:
    address = f"lance://{tmp_path}/starter"
    made = run("export", "--index", STARTER_BUNDLE, "--lance", address, "--json").answer()
    assert (made["num_items"], made["recall_at_10"], made["table"]) == (263, 1.0, f"{tmp_path}/starter.lance")
    found = run("search", "--index", address, "an owl", "--exact", "--json").answer()
    expected = run("search", "--index", STARTER_BUNDLE, "an owl", "--json").answer()
    assert [hit["id"] for hit in found["hits"]] == [hit["id"] for hit in expected["hits"]]
    told = run("info", "--index", address, "--json").answer()
    assert told["encoder"].startswith("starter/") and (told["num_items"], told["recall_at_10"]) == (263, 1.0)
    assert "was made by the encoder starter" in run("search", "--index", address, "--encoder", "clip", "owl").refusal()
    assert "There is no Lance table" in run("search", "--index", f"{address}s", "an owl").refusal()
    for command in ("remove --id a.jpg --index", "export --parquet out --index", "merge --out out"):
        refusal = run(*command.split(), address).refusal()
        assert "A Lance table cannot be changed, merged or exported. Do that with its bundle" in refusal
    assert "Leave out --verify." in run("info", "--verify", "--index", address).refusal()


def use_server(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Take S3 to be at a port of this machine."""
    variables = {"ENDPOINT": f"http://127.0.0.1:{port}", "ALLOW_HTTP": "true", "REGION": "us-east-1"}
    variables |= {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "EC2_METADATA_DISABLED": "true"}
    for name, value in variables.items():
        monkeypatch.setenv(f"AWS_{name}", value)


class Refusing(BaseHTTPRequestHandler):
    """An S3 server that lets nobody in."""

    def do_GET(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        use_server(monkeypatch, server.server_port)
        threading.Thread(target=server.serve_forever).start()
        yield
        server.shutdown()


@pytest.mark.usefixtures("refusing")
def test_why_s3_fails_is_told_in_a_few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_path("s3://photos/starter")

    def check(reason: str) -> None:
        with pytest.raises(BundleError, match=rf"^The table \S+ cannot be read: {reason}\. See"):
            LanceIndex(table)
        with pytest.raises(InputError, match=rf"^The table \S+ cannot be written: {reason}\. Give"):
            export_table(STARTER_BUNDLE, table, stems, ignore)

    check("access is denied, check the keys")
    use_server(monkeypatch, free_port())
    check("its server does not answer")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    check("there are no keys, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """An S3 server on loopback, with a bucket `photos`."""
    port = free_port()
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stderr=subprocess.DEVNULL)
    use_server(monkeypatch, port)
    for _ in range(100):
        with suppress(OSError):
            urlopen(Request(f"http://127.0.0.1:{port}/photos", method="PUT"))
            break
        time.sleep(0.2)
    yield server
    server.kill()
    server.wait()


def test_a_table_in_s3_and_a_server_that_breaks_off(s3: subprocess.Popen[bytes]) -> None:
    table = table_path("s3://photos/starter")
    export_table(STARTER_BUNDLE, table, stems, ignore)
    with pytest.raises(BundleError, match=r"s3://none/starter\.lance cannot be read: there is no such bucket"):
        LanceIndex(table_path("s3://none/starter"))
    with running_app("--index", "s3://photos/starter", "--captioner", "starter") as (url, _):
        caller = Caller(url, "127.0.0.1")
        status, answer = caller.call("search", "an owl", 3, [], True)
        assert status == 200 and "owl" in answer
        s3.kill()
        status, answer = caller.call("search", "a red fruit", 3, [], True)
        assert "event: error" in answer and "cannot be read" in answer
        assert caller.ask("healthz")[0] == 200
