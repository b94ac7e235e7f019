"""The input for a visitor's picture: it accepts an uploaded file and nothing else."""

import secrets
from pathlib import Path
from typing import Any, Self

import gradio as gr
from gradio import processing_utils
from gradio.data_classes import ImageData
from gradio.utils import get_upload_folder
from pydantic import ModelWrapValidatorHandler, ValidationError, model_validator

from imgsearch.web.i18n import tr


class Upload(ImageData):
    """The data that the page and API clients send for a picture."""

    @model_validator(mode="wrap")
    @classmethod
    def from_client(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Turn invalid data into an empty path, which `preprocess` refuses: pydantic's error would log the data."""
        try:
            return handler(value)
        except ValidationError:
            return cls(path="")


class UploadedImage(gr.Image):
    """A `gr.Image` that passes on the path of an uploaded file without opening it, and refuses everything else.

    The stock component opens any path on the server and downloads any address that an API call names.
    """

    is_template = True  # the browser draws it as the stock component
    data_model = Upload

    async def async_move_resource_to_block_cache(self, url_or_file_path: Any) -> str | None:
        """Refuse addresses before Gradio downloads them."""
        if str(url_or_file_path).lower().startswith(("http:", "https:")):
            raise _not_an_upload()
        moved: str | None = await super().async_move_resource_to_block_cache(url_or_file_path)
        return moved

    def preprocess(self, payload: ImageData | None) -> str | None:
        """Return the path of the uploaded file, None without one. Raise gr.Error if it is not an upload."""
        if payload is None:
            return None
        if not payload.path or (payload.url or "").startswith("data:") or not is_upload(payload.path):
            raise _not_an_upload()
        return str(Path(payload.path).resolve())


def is_upload(path: str) -> bool:
    """Return whether a path is a file that a visitor uploaded or that the page has shown. Do not open the file."""
    try:
        file = Path(path).resolve()
        return file.is_relative_to(Path(get_upload_folder()).resolve()) and file.is_file()
    except (OSError, ValueError):  # the path is too long or holds a null character
        return False


def randomise_upload_paths() -> None:
    """Give Gradio a random seed for the names of its upload folders, so that nobody can compute them.

    The names are digests of the content and the seed. Gradio stores its own seed in its package folder, where
    everybody who has the same container image can read it.
    """
    processing_utils.hash_seed = secrets.token_bytes(32)


def _not_an_upload() -> gr.Error:
    return gr.Error(tr("not_an_upload", None), print_exception=False)  # no request here, so no language is known


def picture_path(path: str | None, request: gr.Request) -> Path:
    """Return the path of the uploaded picture; raise gr.Error if there is none."""
    if path is None:
        raise gr.Error(tr("no_picture", request), print_exception=False)
    return Path(path)


def draw_upload(name: str, t: gr.I18n, label: str = "picture", height: int = 300) -> UploadedImage:
    """Draw the input for a picture."""
    return UploadedImage(
        label=t(label),
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard"],
        buttons=[],
        height=height,
        elem_id=f"{name}_picture",
    )
