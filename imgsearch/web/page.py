"""Build the page: three tabs that ask, one wall of pictures that answers, the map. `server` serves it."""

from collections.abc import Sequence

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
from imgsearch.web.tabs import Tabs
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
        tabs = Tabs(retrieval, router, t)
        wall = Wall(retrieval, Zips(originals=originals))
        draw_map(collections)
        router.connect(tabs.component, tabs.inputs, wall, retrieval)
        define_endpoints(retrieval)
        models = status.connect(banner, collections, app)
        models.change(tabs.adapted, collections.choice, tabs.adapts, **QUIET)
    return app
