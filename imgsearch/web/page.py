"""Build the page: draw the three tabs and connect their events. `server` serves it."""

from collections.abc import Sequence

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.web.components import status
from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.components.map import MapPanel
from imgsearch.web.i18n import browser_translations
from imgsearch.web.picture_files import PictureFiles
from imgsearch.web.router import Router
from imgsearch.web.security.cleanup import MAX_AGE_S, SWEEP_S
from imgsearch.web.security.decoder import Decoder
from imgsearch.web.tabs.describe import DescribeTab
from imgsearch.web.tabs.search import SearchTab
from imgsearch.web.tabs.similar import SimilarTab


def build_app(engines: Sequence[Engine], decoder: Decoder) -> gr.Blocks:
    """Return the page, not yet served, with one engine per collection; the engines may load their models later."""
    t = browser_translations()
    app = gr.Blocks(title="imgsearch", fill_width=True, delete_cache=(SWEEP_S, MAX_AGE_S))
    with app:
        status.draw_title(app)
        gr.Markdown(t("tagline"), elem_id="tagline")
        router = Router()
        collections = CollectionPicker(engines)
        collections.draw(t)
        models = status.draw(collections, app)
        common = collections, PictureFiles(decoder), router, t, models
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            with gr.Tab(t("describe_tab"), id="describe", elem_id="describe_tab"):
                describe = DescribeTab(*common)
            with gr.Tab(t("similar_tab"), id="similar", elem_id="similar_tab"):
                similar = SimilarTab(*common)
            with gr.Tab(t("search_tab"), id="search", elem_id="search_tab"):
                search = SearchTab(*common)
        map_panel = MapPanel(*common)
        map_panel.connect(similar.results)
        map_panel.connect(search.results)
        router.connect(tabs, collections, {"describe": describe, "similar": similar, "search": search})
    return app
