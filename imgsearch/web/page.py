"""Build the page: draw the three tabs and connect their events. `server` serves it."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.web.api import ApiBlocks
from imgsearch.web.components import status
from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.components.map import MapPanel
from imgsearch.web.i18n import browser_translations
from imgsearch.web.page_state import Tab
from imgsearch.web.picture_files import PictureFiles
from imgsearch.web.router import Router
from imgsearch.web.security.cleanup import MAX_AGE_S, SWEEP_S
from imgsearch.web.security.decoder import Decoder
from imgsearch.web.shared import Shared
from imgsearch.web.tabs.describe import DescribeTab
from imgsearch.web.tabs.search import SearchTab
from imgsearch.web.tabs.similar import SimilarTab


def build_app(engines: Sequence[Engine], decoder: Decoder) -> gr.Blocks:
    """Return the page, not yet served, with one engine per collection; the engines may load their models later."""
    t = browser_translations()
    app = ApiBlocks(title="imgsearch", fill_width=True, delete_cache=(SWEEP_S, MAX_AGE_S))
    with app:
        status.draw_title(app)
        gr.Markdown(t("tagline"), elem_id="tagline")
        collections = CollectionPicker(engines, t)
        router, pictures = Router(), PictureFiles(decoder)
        shared = Shared(t, collections, pictures, router, status.draw(collections, app))
        views: dict[Tab, Any] = {"describe": DescribeTab, "similar": SimilarTab, "search": SearchTab}
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            for name, view in views.items():
                with gr.Tab(t(f"{name}_tab"), id=name, elem_id=f"{name}_tab"):
                    views[name] = view(shared)
        map_panel = MapPanel(shared)
        map_panel.connect(views["similar"].results)
        map_panel.connect(views["search"].results)
        router.connect(tabs, collections, views)
    return app
