"""The menu from which a visitor chooses the collection to search."""

from collections.abc import Sequence

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.environment import collection_name
from imgsearch.text import without_surrogates
from imgsearch.web.components.inputs import QuietDropdown
from imgsearch.web.handlers import QUIET
from imgsearch.web.i18n import choice_of

BROWSE = """(collection) => document.dispatchEvent(new CustomEvent('ask', {detail: {
  link: '?' + new URLSearchParams({tab: 'search', in: collection})}}))"""


class CollectionPicker:
    """Holds one engine per collection, by a unique name. With only one, neither the page nor the API shows a menu."""

    def __init__(self, engines: Sequence[Engine], t: gr.I18n) -> None:
        """Draw the menu."""
        names = [without_surrogates(collection_name(engine.bundle)) for engine in engines]
        counts = [names[: index + 1].count(name) for index, name in enumerate(names)]
        unique = [f"{name} ({count})" if count > 1 else name for name, count in zip(names, counts, strict=True)]
        self.engines = dict(zip(unique, engines, strict=True))
        self.first = engines[0]
        self.default, self.names = unique[0], unique
        self.choice: gr.Dropdown | gr.State = gr.State(self.default)
        if len(unique) > 1:
            choices = [choice_of(name) for name in unique]
            self.choice = QuietDropdown(choices, value=self.default, label=t("collection"), elem_id="collection")
            self.choice.input(None, self.choice, None, js=BROWSE, **QUIET)

    def __getitem__(self, name: str) -> Engine:
        """Return the engine of a collection; the first engine if there is no collection with this name."""
        return self.engines.get(name, self.first)

    def named(self, name: str) -> str:
        """Return the collection's name in links: "" for the first collection or an unknown name."""
        return name if name in self.engines and name != self.default else ""
