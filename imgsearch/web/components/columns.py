"""Choose what the page shows of a collection's columns: those of the visitor's language, filters, an item's fields."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import gradio as gr

from imgsearch.index.filters import MAX_LENGTH, ColumnStore, Condition
from imgsearch.records import CAPTIONED_BY, FIGURES, GENERATED_CAPTION, NUMBER, TAKEN, TEXT_IN_PICTURE, Item
from imgsearch.text import truncate
from imgsearch.web.i18n import DEFAULT, LANGUAGES, LOCALES, MAX_CHOICE, format_date, language_of, tr
from imgsearch.web.page_state import PageState

NUM_COLUMNS, NUM_VALUES = 20, 14  # columns looked at for filters; values of one: with more of them it says nothing
NUM_SORTS = 5  # columns that hits may be sorted by
MIN_REPEATED = 2.0  # items per value, at least
MAX_ROWS, MAX_NAME, MAX_TEXT = 100, 60, 2000  # fields of an item shown; characters of a field's name and text


def offered_filters(table: ColumnStore, state: PageState, request: gr.Request) -> list[dict[str, Any]]:
    """Return the columns that make good filters, those with few, repeated values, with links that add each value."""
    columns = []
    for name in column_names(table.metadata, request)[:NUM_COLUMNS]:
        if name in (*FIGURES, TEXT_IN_PICTURE) or set(name) & set("=~"):  # such a name is ambiguous
            continue
        values = _repeated_values(table, name)
        if not 2 <= len(values) <= NUM_VALUES:
            continue
        offered = [
            {"label": truncate(text, MAX_CHOICE), "count": count, "link": toggled(state, f"{name}={text}").to_link()}
            for text, count in values
            if len(f"{name}={text}") <= MAX_LENGTH
        ]
        columns.append({"name": _name(name, request), "values": offered})
    return columns


def offered_sorts(table: ColumnStore, state: PageState, request: gr.Request) -> list[dict[str, Any]]:
    """Return the orders to choose from, with links: by date and by columns of repeated numbers; [] without any."""
    numeric = [name for name in column_names(table.metadata, request)[:NUM_COLUMNS] if _is_numeric(table, name)]
    chosen = state.sort.removeprefix("-")  # in a link it may be any column
    known = dict.fromkeys((TAKEN, *numeric[:NUM_SORTS], chosen))
    names = [name for name in known if name and name in table.names]
    orders = {"": tr("sort_best" if state.has_main or state.terms else "sort_mixed", request)} if names else {}
    for name in names:
        for sign, word in (("-", "sort_down"), ("", "sort_up")):
            key = f"{word}_taken" if name == TAKEN else word
            orders[f"{sign}{name}"] = tr(key, request).format(_name(name, request))
    return [
        {"label": label, "link": replace(state, sort=sort, start=0).to_link(), "on": sort == state.sort}
        for sort, label in orders.items()
    ]


def _repeated_values(table: ColumnStore, name: str) -> list[tuple[str, int]]:
    """Return the most frequent values of a column, up to NUM_VALUES + 1, with their counts; [] if few are repeated."""
    values = [(text, count) for text, count in table.values(name, NUM_VALUES + 1) if count]
    return values if sum(count for _, count in values) >= MIN_REPEATED * len(values) else []


def _is_numeric(table: ColumnStore, name: str) -> bool:
    values = [] if name in FIGURES else _repeated_values(table, name)
    return len(values) > 1 and all(NUMBER.fullmatch(text) for text, _ in values)


def toggled(state: PageState, text: str) -> PageState:
    """Return the state with a filter or, if it has it, without."""
    where = tuple(other for other in state.where if other != text)
    return replace(state, where=where if text in state.where else (*where, text), start=0)


def column_names(columns: Collection[str], request: gr.Request) -> list[str]:
    """Return the columns in the visitor's language, "subject_fr" in French, else "subject"; no generated captions."""
    stems, language = {*columns, "caption"}, language_of(request)
    own = {stem for stem in stems if f"{stem}_{language}" in columns}
    others = {f"{stem}_{code}" for code in LANGUAGES if code != language for stem in stems}
    return [name for name in columns if name not in own | others | {GENERATED_CAPTION, CAPTIONED_BY}]


def shown_fields(item: Item, request: gr.Request) -> list[list[str]]:
    """Return the names and texts of an item's fields in the visitor's language, without its caption."""
    names = [name for name in column_names(item.columns, request) if not name.startswith("caption_")]
    texts = {**item.columns, TAKEN: format_date(item.columns.get(TAKEN, ""), request)}
    fields = [(_name(name, request), texts[name]) for name in names[:MAX_ROWS]]
    if not (item.columns.get(f"caption_{language_of(request)}") or item.caption):
        fields.insert(0, (tr("described_by", request), item.columns.get(CAPTIONED_BY, "")))
    shown = [[name, truncate(text, MAX_TEXT)] for name, text in fields if text]
    return [*shown, [tr("file", request), truncate(item.id, MAX_TEXT)]]


def _name(column: str, request: gr.Request) -> str:
    """Return the name of a column for visitors."""
    known = f"column_{column.removesuffix(f'_{language_of(request)}')}"
    return tr(known, request) if known in LOCALES[DEFAULT]["words"] else truncate(column, MAX_NAME)


def with_column(condition: Condition, table: ColumnStore, request: gr.Request) -> Condition:
    """Return a condition whose column may be called as the page calls it: "Sujet=animaux" for "subject_fr=animaux"."""
    name = condition.column.casefold()
    shown = (column for column in column_names(table.names, request) if _name(column, request).casefold() == name)
    return condition if condition.column in table.names else replace(condition, column=next(shown, condition.column))


def shown_filter(text: str, request: gr.Request) -> str:
    """Return a filter for visitors: "Subject: animals" for "subject=animals", any other one as it is."""
    name, sign, value = text.partition("=")
    is_plain = sign and not set(name) & set("~:")
    return f"{_name(name, request)}: {truncate(value, MAX_CHOICE)}" if is_plain else truncate(text, MAX_CHOICE)
