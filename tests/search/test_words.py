"""The words of captions and columns: what holds them rises, in any language, and a stranger's file is checked."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imgsearch.engine import Engine
from imgsearch.index.index import Index
from imgsearch.index.manifest import Provenance
from imgsearch.records import Item
from imgsearch.search.query import Part
from imgsearch.search.words import TABLE, TableShares, WordIndex
from tests.helpers.hostile_bundles import database
from tests.helpers.tables import as_table

CAPTIONS = [
    "Two women with their dogs.",
    "Trois oiseaux sur un château.",
    "黒い犬が走る",
    "Œufs à la coque",
    "Собаки на пляже",
    "A red car by the sea, seen from Café Müller.",
    "",
]


def index_of(*captions: str, **columns: str) -> Index:
    items = [Item(f"{n}.jpg", caption, columns, "", b"") for n, caption in enumerate(captions)]
    return Index.from_rows(np.eye(len(items), 8, dtype=np.float32), items, Provenance(encoder="toy", vectors="float32"))


@pytest.fixture(scope="module", params=["bundle", "table"])
def shares(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[float]]:
    """The shares of a query that all items hold."""
    index = index_of(*CAPTIONS)
    if request.param == "bundle":
        return lambda query: WordIndex.of(index).shares(query).tolist()
    table = as_table(index, tmp_path_factory.mktemp("words")).table

    def of_table(query: str) -> list[float]:
        return TableShares(table, query)[np.arange(len(CAPTIONS))].tolist()

    return of_table


@pytest.mark.parametrize(
    ("query", "row"),
    [("woman", 0), ("a dog", 0), ("DOGS", 0), ("oiseau", 1), ("CHATEAU", 1), ("des châteaux", 1), ("犬", 2)]
    + [("oeuf", 3), ("собаки", 4), ("muller", 5), ("the cafe", 5), ("cars", 5)],
)
def test_number_case_and_accents_fold_together(shares: Callable[[str], list[float]], query: str, row: int) -> None:
    assert shares(query) == [float(n == row) for n in range(len(CAPTIONS))]


def test_a_word_counts_by_how_rare_it_is() -> None:
    words = WordIndex.of(index_of("a red car", "a red hat", "a blue hat", "a hat"))
    red, car = np.log1p(4 / 3), np.log1p(4 / 2)  # in two and in one of four
    assert words.shares("a red car") == pytest.approx([1, red / (red + car), 0, 0])
    assert words.shares("zebra car") == pytest.approx([car / (car + np.log1p(4)), 0, 0, 0])
    assert words.shares("") == pytest.approx([0] * 4) and words.shares('" OR * NEAR(') == pytest.approx([0] * 4)
    assert words.shares("a") == pytest.approx([1] * 4)  # nothing else is asked for


def test_columns_count_too() -> None:
    assert WordIndex.of(index_of("", place="Saint-Malo")).shares("malo").tolist() == [1]


def test_a_long_text_leaves_room_for_the_others() -> None:
    words = WordIndex.of(index_of("caption " * 500, text_in_picture="picture " * 500, place="Saint-Malo"))
    assert [words.shares(word).tolist() for word in ("caption", "picture", "malo")] == [[1], [1], [1]]


def test_what_holds_the_word_is_found_and_neither_drowns_the_other(engine: Engine) -> None:
    for query in ("owl", "Christmas", "sunset", "astronaut", "hibou", "Thames"):
        result = engine.search(query)
        assert result.has_match and result.hits[0].words == 1, query
    by_vectors = Engine.open(engine.bundle, "starter", words=False)
    for query in ("a dog", "an owl"):
        with_words = {hit.item.id for hit in engine.search(query).hits}
        alone = [hit for hit in by_vectors.search(query).hits if hit.strength == "strong"]
        assert {hit.item.id for hit in alone} <= with_words and all(hit.words == 0 for hit in alone)


def test_pages_follow_each_other(engine: Engine) -> None:
    whole = engine.query([Part("a black dog")], 30, fold=False).hits
    pages = [
        hit for start in (0, 10, 20) for hit in engine.query([Part("a black dog")], 10, start=start, fold=False).hits
    ]
    pages, whole = ([replace(hit, is_likely=True) for hit in hits] for hits in (pages, whole))  # each page has its line
    assert pages == whole and [hit.rank for hit in whole] == list(range(1, 31))
    assert any(hit.words for hit in whole) and any(not hit.words for hit in whole)


def test_the_ranking_is_exact(engine: Engine) -> None:
    """As by a bonus for each of all items."""
    searcher = engine.searcher
    result = searcher.search([Part("a white cup of coffee")], len(searcher.index), fold=False)
    assert len(result.hits) == len(searcher.index)
    spread = float(np.std([hit.score for hit in result.hits]))
    raised = {hit.row: hit.score + 3 * spread * hit.words**3 for hit in result.hits}
    assert [hit.row for hit in result.hits] == sorted(raised, key=lambda row: (-raised[row], row))
    first = searcher.search([Part("a white cup of coffee")], 20, fold=False).hits
    assert [hit.row for hit in first] == [hit.row for hit in result.hits[:20]]


def test_rows_out_of_range_and_damage_give_no_word(tmp_path: Path) -> None:
    path = tmp_path / "words.db"
    insert = "INSERT INTO items (rowid, words) VALUES "
    path.write_bytes(database(TABLE, f"{insert} (-1, 'dog'), (1, 'dog'), (3, 'dog'), (9223372036854775807, 'dog')")())
    assert WordIndex.open(path, 3).shares("dog").tolist() == [0, 1, 0]
    whole = WordIndex.of(index_of(*CAPTIONS)).to_bytes()
    for place in range(4096, len(whole), 997):
        path.write_bytes(whole[:place] + bytes(64) + whole[place + 64 :])
        try:
            damaged = WordIndex.open(path, len(CAPTIONS))
        except ValueError:
            continue
        assert damaged.shares("dog women").shape == (len(CAPTIONS),)


def test_a_file_says_the_same_as_memory(tmp_path: Path) -> None:
    words = WordIndex.of(index_of(*CAPTIONS))
    (tmp_path / "words.db").write_bytes(words.to_bytes())
    stored = WordIndex.open(tmp_path / "words.db", len(CAPTIONS))
    assert all((stored.shares(query) == words.shares(query)).all() for query in ("dog", "oiseaux", "犬"))


def test_the_kind_of_part_decides(engine: Engine) -> None:
    coffee = Part(item="skimage/coffee.jpg")
    assert not any(hit.words for hit in engine.query([coffee]).hits)
    assert not any(hit.words for hit in engine.query([coffee, Part("owl", weight=-1)]).hits)
    assert not any(hit.words for hit in engine.query([coffee, Part("owl")]).hits)  # the picture tells more
    assert engine.query([Part("owl"), Part("brown"), replace(coffee, weight=-1)]).hits[0].words == 1
