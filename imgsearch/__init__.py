"""Describe images, find similar ones, search by text.

The public names are loaded on first use, so that importing the package loads no torch, FAISS or Gradio.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgsearch.build import build_index
    from imgsearch.captioner import Captioner
    from imgsearch.dataset import Folder
    from imgsearch.describer import Describer
    from imgsearch.encoder import Encoder
    from imgsearch.engine import Engine
    from imgsearch.errors import BundleError, ImgsearchError, InputError, ModelError, PictureError, SettingsError
    from imgsearch.evaluate import evaluate
    from imgsearch.images import open_rgb
    from imgsearch.index import Index
    from imgsearch.models import load_captioner, load_encoder

__all__ = [
    "BundleError",
    "Captioner",
    "Describer",
    "Encoder",
    "Engine",
    "Folder",
    "ImgsearchError",
    "Index",
    "InputError",
    "ModelError",
    "PictureError",
    "SettingsError",
    "build_index",
    "evaluate",
    "load_captioner",
    "load_encoder",
    "open_rgb",
]

_HOMES = {
    "build_index": "build",
    "Captioner": "captioner",
    "Folder": "dataset",
    "Describer": "describer",
    "Encoder": "encoder",
    "Engine": "engine",
    "BundleError": "errors",
    "ImgsearchError": "errors",
    "InputError": "errors",
    "ModelError": "errors",
    "PictureError": "errors",
    "SettingsError": "errors",
    "evaluate": "evaluate",
    "open_rgb": "images",
    "Index": "index",
    "load_captioner": "models",
    "load_encoder": "models",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'imgsearch' has no attribute {name!r}")
    return getattr(import_module(f"imgsearch.{_HOMES[name]}"), name)
