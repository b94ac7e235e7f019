"""Build the page: three tabs that ask, one wall of pictures that answers, the map. `server` serves it."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.web.api import ApiBlocks, define_endpoints
from imgsearch.web.components import status
from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.components.map import draw_map
from imgsearch.web.components.wall import Wall
from imgsearch.web.handlers import QUIET
from imgsearch.web.i18n import browser_translations
from imgsearch.web.retrieval import Retrieval
from imgsearch.web.router import Router
from imgsearch.web.security.cleanup import MAX_AGE_S, SWEEP_S
from imgsearch.web.security.decoder import Decoder
from imgsearch.web.tabs.describe import DescribeTab
from imgsearch.web.tabs.search import SearchTab
from imgsearch.web.tabs.similar import SimilarTab
from imgsearch.web.zips import Zips


def build_app(engines: Sequence[Engine], decoder: Decoder, *, originals: bool = False) -> gr.Blocks:
    """Return the page, not yet served, with one engine per collection; the engines may load their models later."""
    t = browser_translations()
    app = ApiBlocks(title="imgsearch", fill_width=True, delete_cache=(SWEEP_S, MAX_AGE_S))
    with app:
        with gr.Row(elem_id="head"):
            gr.HTML("<h1>imgsearch</h1>", padding=False, elem_id="header")
            banner = gr.HTML(padding=False, elem_id="banner")
            collections = CollectionPicker(engines, t)
        retrieval, router = Retrieval(collections, decoder), Router()
        with gr.Tabs(overflow_behavior="wrap", elem_id="tabs") as tabs:
            with gr.Tab(t("search_tab"), id="search", elem_id="search_tab"):
                search = SearchTab(t, collections.choice)
            with gr.Tab(t("similar_tab"), id="similar", elem_id="similar_tab"):
                similar = SimilarTab(retrieval)
            with gr.Tab(t("describe_tab"), id="describe", elem_id="describe_tab"):
                describe = DescribeTab(retrieval, router, t)
        wall = Wall(retrieval, Zips(originals=originals))
        draw_map(collections)
        router.connect(tabs, {"search": search, "similar": similar, "describe": describe}, wall, retrieval)
        define_endpoints(retrieval)
        models = status.connect(banner, collections, app)

        def adapt(models: status.Models, collection: str, request: gr.Request) -> dict[Any, Any]:
            """Return what the tabs show for the models and the collection that the page has now."""
            engine, name = collections[collection], collections.named(collection)
            return {
                **search.adapted(models.encoder, name, request),
                **similar.adapted(engine, name, request),
                **describe.adapted(engine, name, models, request),
            }

        outputs = [*search.adapts, *similar.adapts, *describe.adapts]
        models.change(adapt, [models, collections.choice], outputs, **QUIET)
    return app
