"""Conditions as text, and the columns of an index held against them, one item at a time."""

from collections.abc import Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from imgsearch.config import ROOT
from imgsearch.errors import BusyError, InputError
from imgsearch.index.bundle import bundle_writer
from imgsearch.index.filters import ColumnStore, Condition
from imgsearch.index.index import Index, filter_blocks, write_bundle
from imgsearch.index.manifest import Provenance
from imgsearch.records import Item
from tests.helpers.tables import as_kind, as_table

STRANGE: list[Mapping[str, str]] = [
    {"year": "1990", "place": "Besançon", "note": "a=b"},
    {"year": "1990.0", "place": "besancon", "note": 'say "hello"'},
    {"place": "BESANÇON, café", "note": "it's {brace}"},
    {"year": "nan", "place": "", "date": "2020-02-29"},
    {"year": " 2001 ", "date": "2020-12-31T18:00", "odd name: x": "yes"},
    {"year": "2e3", "date": "2021-01-01", "note": "a~b"},
    {"year": "-5", "date": "not known", "id": "shadow"},
    {},
]


def make_index(columns: list[Mapping[str, str]]) -> Index:
    items = [Item(f"{row}.jpg", f"Caption {row}", fields, "0" * 64, b"") for row, fields in enumerate(columns)]
    return Index.from_rows(np.ones((len(items), 1), np.float32), items, Provenance(encoder="test/encoder"))


def make_table(columns: list[Mapping[str, str]]) -> ColumnStore:
    return make_index(columns).columns


@pytest.fixture(scope="module", params=["bundle", "table"])
def strange(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ColumnStore:
    if request.param == "table":
        return as_table(make_index(STRANGE), tmp_path_factory.mktemp("strange")).columns
    return make_table(STRANGE)


def met(table: ColumnStore, *conditions: str) -> list[int]:
    """The rows that meet all conditions."""
    return sorted(table.spread([Condition.parse(text) for text in conditions], 0, 1000)[0])


@pytest.mark.parametrize(
    ("text", "column", "relation", "value"),
    [
        ("subject=animals", "subject", "equals", "animals"),
        ("subject = animals ", "subject", "equals", "animals"),
        ("subject=", "subject", "equals", ""),
        ("note=a=b~c:d..e", "note", "equals", "a=b~c:d..e"),
        ("caption~red dog", "caption", "contains", "red dog"),
        ("url~http://x?a=1", "url", "contains", "http://x?a=1"),
        ("year:1990..2000", "year", "range", "1990..2000"),
        ("year:1990..", "year", "range", "1990.."),
        ("year: ..2000", "year", "range", "..2000"),
        ("odd name: x=yes", "odd name: x", "equals", "yes"),
    ],
)
def test_a_condition_is_read_and_written(text: str, column: str, relation: str, value: str) -> None:
    condition = Condition.parse(text)
    assert (condition.column, condition.relation, condition.value) == (column, relation, value)
    assert Condition.parse(str(condition)) == condition


@pytest.mark.parametrize("text", ["", "subject", "=x", " =x", "caption~", "caption~ ", "caption~\u0301", "y:..", "y:5"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"is not understood\. Write column=value"):
        Condition.parse(text)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("year=1990", [0]),
        ("year=", [2, 7]),
        ("year:1990..1990", [0, 1]),
        ("year:1990..2000", [0, 1, 5]),
        ("year:..0", [6]),
        ("year:2000.5..", [4]),
        ("year:1.99e3..1991", [0, 1]),
        ("year:2100..1990", []),
        ("place~besancon", [0, 1, 2]),
        ("place~ÇON, CAFE", [2]),
        ("place=besancon", [1]),
        ("note=a=b", [0]),
        ('note~"HELLO"', [1]),
        ("note~it's {", [2]),
        ("note~a~b", [5]),
        ("date:2020-02..2020-12", [3, 4]),
        ("date:2020-12-31..", [4, 5, 6]),
        ("date:2020..2020", [3, 4]),
        ("date:..2020-02-28", []),
        ("odd name: x=yes", [4]),
        ("id=6.jpg", [6]),
        ("id=shadow", []),
        ("caption~CAPTION 3", [3]),
    ],
)
def test_conditions_on_strange_columns(strange: ColumnStore, text: str, rows: list[int]) -> None:
    assert met(strange, text) == rows


def test_several_conditions_are_all_met(strange: ColumnStore) -> None:
    assert met(strange, "place~besancon", "year:1980..1999", "note~hello") == [1]
    assert met(strange) == [*range(len(STRANGE))]


def test_conditions_that_take_too_long_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgsearch.index.filters.MAX_S", 0.0)
    with pytest.raises(BusyError, match="longer than 0 s"):
        make_table(STRANGE).mask([Condition.parse("place~besancon")])


def test_a_mask_is_remembered_and_cannot_be_changed() -> None:
    strange = make_table(STRANGE)
    mask = strange.mask([Condition("year", "equals", "1990")])
    assert strange.mask([Condition.parse("year=1990")]) is mask
    with pytest.raises(ValueError, match="read-only"):
        mask[0] = False


def test_the_columns_and_their_texts(strange: ColumnStore) -> None:
    assert strange.names == ["id", "caption", "year", "place", "note", "date", "odd name: x"]
    assert strange.of("year", [7, 0, 3]) == ["", "1990", "nan"]
    assert strange.of("id", [6]) == ["6.jpg"] and strange.of("caption", []) == []


@pytest.mark.parametrize("kind", ["bundle", "table"])
def test_a_column_gives_an_order(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [{"n": "10", "word": "pear"}, {"n": "9", "word": "Éclair"}, {"word": "apple"}]
    columns += [{"n": "1e1", "word": " ", "size": "12"}, {"n": "-1", "word": "PEAR", "size": "9 cm"}]
    index = as_kind(kind, make_index(columns), tmp_path)
    table = index.columns
    for sort, rows in {
        "n": [4, 1, 0, 3, 2],  # numbers; equal ones as they are, none last
        "-n": [0, 3, 1, 4, 2],
        "word": [2, 1, 0, 4, 3],
        "-word": [0, 4, 1, 2, 3],
        "size": [3, 4, 0, 1, 2],  # not all of them are numbers
        "-id": [4, 3, 2, 1, 0],
    }.items():
        assert table.order(sort, range(5)).tolist() == rows
        assert [table.spread([], start, 2, sort) for start in (0, 2, 4)] == [
            (rows[:2], True),
            (rows[2:4], True),
            (rows[4:], False),
        ]
    assert table.order("n", [2, 3, 1]).tolist() == [2, 1, 0] and table.order("n", []).tolist() == []
    within = [Condition.parse("word~pear")]
    monkeypatch.setattr("imgsearch.index.lance.MAX_SORTED", 2)
    assert table.spread(within, 0, 5, "n") == ([4, 0], False)
    if kind == "table":
        with pytest.raises(InputError, match=r"More than 2 pictures .* add a filter"):
            table.spread([], 0, 5, "n")


def test_an_unknown_column_names_those_there_are(strange: ColumnStore) -> None:
    expected = "no column 'colour'. It has: id, caption, year, place"
    for ask in (
        lambda: strange.mask([Condition("colour", "equals", "red")]),
        lambda: strange.values("colour", 5),
        lambda: strange.of("colour", [0]),
        lambda: strange.order("-colour", []),
        lambda: strange.spread([], 0, 5, "colour"),
    ):
        with pytest.raises(InputError, match=expected):
            ask()


@pytest.mark.parametrize("kind", ["bundle", "table"])
def test_values_are_the_most_frequent(kind: str, tmp_path: Path) -> None:
    columns = [{"kind": kind} for kind in ("b", "", "a", "b", "", "c", "", "a", "b")] + [{}]
    table = as_table(make_index(columns), tmp_path).columns if kind == "table" else make_table(columns)
    assert table.values("kind", 10) == [("b", 3), ("a", 2), ("c", 1)]
    assert table.values("kind", 2) == [("b", 3), ("a", 2)]
    assert len(table.values("id", 4)) == 4


def test_columns_that_come_and_go_between_blocks(tmp_path: Path) -> None:
    """Over several blocks, each column is what the items say, one by one."""
    number = 2100
    columns: list[Mapping[str, str]] = [{"early": str(row)} if row < 1000 else {} for row in range(number)]
    columns[1010:] = [{"late": str(row % 7)} for row in range(1010, number)]
    whole = make_index(columns)
    with bundle_writer(tmp_path / "bundle") as work:
        parts = (filter_blocks(whole.blocks(), np.arange(number) // 700 == part) for part in range(3))
        write_bundle(tmp_path / "bundle", work, chain.from_iterable(parts), Provenance(encoder="test/encoder"))
    table = Index.load(tmp_path / "bundle").columns
    for name in ("early", "late"):
        assert table.of(name, range(number)) == [fields.get(name, "") for fields in columns]
    rows = np.flatnonzero(table.mask([Condition.parse("late:2..3")]))
    assert rows.tolist() == [row for row in range(number) if columns[row].get("late") in ("2", "3")]


def test_an_index_without_columns() -> None:
    assert make_table([]).names == ["id", "caption"] and len(make_table([]).mask([])) == 0
    assert make_table([]).values("id", 3) == []


def test_the_starter_bundle_is_searched_within_a_subject(starter_bundle: Path) -> None:
    index = Index.load(starter_bundle)
    table = index.columns
    subject, number = table.values("subject", 1)[0]
    kept = table.mask([Condition("subject", "equals", subject)])
    hits = index.search(index.row(0)[None], len(index), mask=kept)
    assert len(hits) == number == int(kept.sum())
    assert {hit.item.columns["subject"] for hit in hits} == {subject}
    assert table.of("subject", [hit.row for hit in hits]) == [subject] * number


@pytest.mark.parametrize("format", ["format1", "format2", "format3"])
def test_bundles_of_older_formats_are_filtered(format: str, tmp_path: Path) -> None:
    """Their columns are JSON. They are the same as maps, once the bundle is written again."""
    index = Index.load(ROOT / "tests" / "bundles" / format)
    index.save(tmp_path / "bundle")
    for table in (index.columns, Index.load(tmp_path / "bundle").columns):
        assert table.names == ["id", "caption", "subject"]
        assert table.values("subject", 5) == [("animals", 2), ("food", 2)]
        rows = np.flatnonzero(table.mask([Condition.parse("subject=food"), Condition.parse("caption~LÉMON")]))
        assert table.of("id", rows.tolist()) == ["food-fruit-lemon.jpg"]
    assert list(Index.load(tmp_path / "bundle").texts()) == list(index.texts())


@pytest.mark.parametrize("kind", ["bundle", "table"])
def test_case_and_accents_do_not_matter_in_any_alphabet(kind: str, tmp_path: Path) -> None:
    columns = [{"place": "Große Straße"}, {"place": "ΟΔΌΣ"}, {"place": "İzmir"}, {"place": "\ufb01n?"}]
    table = as_table(make_index(columns), tmp_path).columns if kind == "table" else make_table(columns)
    for text, row in (
        ("place~STRASSE", 0),
        ("place~grosse s", 0),
        ("place~οδός", 1),
        ("place~izmir", 2),
        ("place~FIN", 3),
    ):
        assert met(table, text) == [row]
    assert not met(table, "place~.*")
    for text in ("place~\ud800", "place=\ud800", "place:\ud800..\udfff", "\ud800=x"):
        with suppress(InputError):
            assert met(table, text) is not None
