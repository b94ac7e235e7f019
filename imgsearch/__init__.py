"""Describe images, find similar ones, search by text.

The public names are loaded on first use, so that importing the package loads no torch, FAISS or Gradio.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgsearch.build import build_index
    from imgsearch.captioner import Captioner
    from imgsearch.columns import DatasetOptions
    from imgsearch.curate import export_parquet, merge, remove
    from imgsearch.dataset import open_source
    from imgsearch.describer import Describer
    from imgsearch.encoder import Encoder
    from imgsearch.engine import Engine
    from imgsearch.errors import BundleError, ImgsearchError, InputError, ModelError, PictureError, SettingsError
    from imgsearch.evaluate import evaluate
    from imgsearch.filters import Condition
    from imgsearch.folder import Folder
    from imgsearch.images import open_rgb
    from imgsearch.index import Index
    from imgsearch.models import load_captioner, load_encoder
    from imgsearch.query import Part
    from imgsearch.stream import BuildOptions

__version__ = "0.6.0"
__all__ = [
    "BuildOptions",
    "BundleError",
    "Captioner",
    "Condition",
    "DatasetOptions",
    "Describer",
    "Encoder",
    "Engine",
    "Folder",
    "ImgsearchError",
    "Index",
    "InputError",
    "ModelError",
    "Part",
    "PictureError",
    "SettingsError",
    "build_index",
    "evaluate",
    "export_parquet",
    "load_captioner",
    "load_encoder",
    "merge",
    "open_rgb",
    "open_source",
    "remove",
]

_HOMES = {
    "build_index": "build",
    "Captioner": "captioner",
    "export_parquet": "curate",
    "merge": "curate",
    "remove": "curate",
    "DatasetOptions": "columns",
    "open_source": "dataset",
    "Describer": "describer",
    "Encoder": "encoder",
    "Engine": "engine",
    "Condition": "filters",
    "Part": "query",
    "BundleError": "errors",
    "ImgsearchError": "errors",
    "InputError": "errors",
    "ModelError": "errors",
    "PictureError": "errors",
    "SettingsError": "errors",
    "evaluate": "evaluate",
    "Folder": "folder",
    "open_rgb": "images",
    "Index": "index",
    "load_captioner": "models",
    "load_encoder": "models",
    "BuildOptions": "stream",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'imgsearch' has no attribute {name!r}")
    return getattr(import_module(f"imgsearch.{_HOMES[name]}"), name)
