"""`Shared`: what all parts of the page are made with."""

from dataclasses import dataclass

import gradio as gr

from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.picture_files import PictureFiles
from imgsearch.web.router import Router


@dataclass(frozen=True)
class Shared:
    """Created once per page; `models` is the state of `components.status`, whose change event adapts the tabs."""

    t: gr.I18n
    collections: CollectionPicker
    pictures: PictureFiles
    router: Router
    models: gr.State
