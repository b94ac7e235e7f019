"""The picture a visitor gives: an upload and nothing else."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData
from gradio.utils import get_upload_folder

from imgsearch.tabs.languages import word


class UploadedImage(gr.Image):
    """A `gr.Image` that hands on the path of an uploaded file, unopened, and nothing but uploads.

    The stock component opens any path of the server and fetches any address that an API call names.
    """

    is_template = True  # the browser draws it as the stock component

    async def async_move_resource_to_block_cache(self, url_or_file_path: Any) -> str | None:
        """Refuse addresses before Gradio downloads them."""
        if str(url_or_file_path).lower().startswith(("http:", "https:")):
            raise _not_an_upload()
        moved: str | None = await super().async_move_resource_to_block_cache(url_or_file_path)
        return moved

    def preprocess(self, payload: ImageData | None) -> str | None:
        """The path of the uploaded file, None where there is none."""
        if payload is None:
            return None
        if not payload.path or (payload.url or "").startswith("data:"):
            raise _not_an_upload()
        path = Path(payload.path).resolve()
        if not path.is_relative_to(Path(get_upload_folder()).resolve()) or not path.is_file():
            raise _not_an_upload()
        return str(path)


def _not_an_upload() -> gr.Error:
    return gr.Error(word("not_an_upload", None), print_exception=False)  # no request here, so no language is known


def picture_path(path: str | None, request: gr.Request) -> Path:
    """The uploaded picture's path; a message to the visitor where there is none."""
    if path is None:
        raise gr.Error(word("no_picture", request), print_exception=False)
    return Path(path)


def draw_upload(name: str, t: gr.I18n, label: str = "picture", height: int = 300) -> UploadedImage:
    """Draw the place for a picture."""
    return UploadedImage(
        label=t(label),
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard"],
        buttons=[],
        height=height,
        elem_id=f"{name}_picture",
    )
