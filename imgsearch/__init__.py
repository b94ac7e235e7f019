"""Describe images, find similar ones, search by text.

A public name is imported on its first use, so that `import imgsearch` does not load torch, FAISS or Gradio.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgsearch.describe.describer import Describer
    from imgsearch.engine import Engine
    from imgsearch.errors import BundleError, ImgsearchError, InputError, ModelError, PictureError, SettingsError
    from imgsearch.evaluate import evaluate
    from imgsearch.images import open_rgb
    from imgsearch.index.edit import export_parquet, merge, remove
    from imgsearch.index.filters import Condition
    from imgsearch.index.index import Index
    from imgsearch.ingest.builder import build_index
    from imgsearch.ingest.columns import DatasetOptions
    from imgsearch.ingest.dataset import open_source
    from imgsearch.ingest.folder import Folder
    from imgsearch.ingest.source import BuildOptions
    from imgsearch.models.captioner import Captioner
    from imgsearch.models.encoder import Encoder
    from imgsearch.models.registry import load_captioner, load_encoder
    from imgsearch.search.query import Part

__version__ = "0.9.0"
_MODULES = {
    "describe.describer": ("Describer",),
    "engine": ("Engine",),
    "errors": ("BundleError", "ImgsearchError", "InputError", "ModelError", "PictureError", "SettingsError"),
    "evaluate": ("evaluate",),
    "images": ("open_rgb",),
    "index.edit": ("export_parquet", "merge", "remove"),
    "index.filters": ("Condition",),
    "index.index": ("Index",),
    "ingest.builder": ("build_index",),
    "ingest.columns": ("DatasetOptions",),
    "ingest.dataset": ("open_source",),
    "ingest.folder": ("Folder",),
    "ingest.source": ("BuildOptions",),
    "models.captioner": ("Captioner",),
    "models.encoder": ("Encoder",),
    "models.registry": ("load_captioner", "load_encoder"),
    "search.query": ("Part",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'imgsearch' has no attribute {name!r}")
    return getattr(import_module(f"imgsearch.{_MODULE_OF[name]}"), name)
