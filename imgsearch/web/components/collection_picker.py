"""The collections that the page searches, and the choice among them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.web.i18n import choice_of
from imgsearch.web.page_state import PageState


class CollectionPicker:
    """One engine each. With one collection there is nothing to choose, and nothing of it in the page or the API."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        names = [_text(engine.bundle.resolve().name) for engine in engines]
        counts = [names[: number + 1].count(name) for number, name in enumerate(names)]
        unique = [f"{name} ({count})" if count > 1 else name for name, count in zip(names, counts, strict=True)]
        self._engines = dict(zip(unique, engines, strict=True))
        self.first = engines[0]
        self.default = next(iter(self._engines))

    def draw(self, t: gr.I18n) -> None:
        """Draw the choice in the current layout."""
        names = list(self._engines)
        self.choice: gr.Dropdown | gr.State = gr.State(names[0])
        self.changes: list[Any] = []  # the events of another choice,
        self.choices: list[Any] = []  # and of one that the visitor made
        if len(names) > 1:
            choices = [choice_of(name) for name in names]
            self.choice = gr.Dropdown(choices, value=names[0], label=t("collection"), elem_id="collection")
            self.changes, self.choices = [self.choice.change], [self.choice.input]

    def __getitem__(self, name: str) -> Engine:
        """The engine of that collection; of the first one where there is none of that name."""
        return self._engines.get(name, self.first)

    def named(self, name: str) -> str:
        """What a link calls it: nothing, where it is the first one or there is none of that name."""
        return name if name in self._engines and name != self.default else ""

    def canonical(self, asked: PageState) -> PageState:
        """The question of a link as this page words it."""
        return replace(asked, collection=self.named(asked.collection))

    @property
    def are_complete(self) -> bool:
        """Whether nothing will change any more in any of them."""
        return all(engine.status.is_complete for engine in self._engines.values())


def _text(path: str) -> str:
    """A path in Unicode: its bytes may be none."""
    return path.encode(errors="replace").decode()
