"""The inputs of the page and the API: what strangers send is checked, and never repeated in an error or the log."""

import base64
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import gradio as gr
from gradio.data_classes import ImageData
from pydantic import ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator

from imgsearch.images import is_picture
from imgsearch.web.i18n import tr
from imgsearch.web.page_state import MAX_HITS, Uploads, token_of

MAX_ID = 4096  # characters


class Upload(ImageData):
    """The data that the page and API clients send for a picture."""

    model_config = ConfigDict(json_schema_extra={"description": "The path of a local file."})

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

    The stock component opens any path on the server that an API call names. Addresses, which Gradio would download
    before `preprocess`, are refused with the body of the request.
    """

    is_template = True  # the browser draws it as the stock component
    data_model = Upload

    def preprocess(self, payload: ImageData | None) -> str | None:
        """Return the path of the uploaded file, None without one. Raise gr.Error if it is not an upload."""
        if payload is None:
            return None
        if not payload.path or not is_upload(payload.path):
            raise gr.Error(tr("not_an_upload", None), print_exception=False)  # without a request no language is known
        return str(Path(payload.path).resolve())


def upload_folder() -> Path:
    """Return the folder in which Gradio puts uploads, and the page the pictures that it shows."""
    return Path(os.environ["GRADIO_TEMP_DIR"]).resolve()


def is_upload(path: str) -> bool:
    """Return whether a path is a file that a visitor uploaded or that the page has shown. Do not open the file."""
    try:
        file = Path(path).resolve()
        return file.is_relative_to(upload_folder()) and file.is_file()
    except (OSError, ValueError):  # the path is too long or holds a null character
        return False


def picture_path(path: str | None, request: gr.Request) -> Path:
    """Return the path of the uploaded picture; raise gr.Error if there is none."""
    if path is None:
        raise gr.Error(tr("no_picture", request), print_exception=False)
    return Path(path)


@contextmanager
def sent_image(text: str) -> Iterator[tuple[dict[str, Any], Uploads]]:
    """Yield the field of a PageState and the upload for the id of an item or a picture in base64: a file meanwhile."""
    data = b""
    with suppress(ValueError):
        data = base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text)
    if not is_picture(data):
        yield {"item": text[:MAX_ID] or " "}, {}  # the engine says if there is none
        return
    with TemporaryDirectory(dir=upload_folder()) as folder:
        path = Path(folder) / "picture"
        path.write_bytes(data)
        yield {"upload": token_of(path)}, {token_of(path): path}


def _quiet(preprocess: Callable[[Any, Any], Any]) -> Any:
    def checked(self: Any, payload: Any) -> Any:
        """Return the chosen value; raise gr.Error if it is none of the choices."""
        try:
            return preprocess(self, payload)
        except Exception:
            raise gr.Error(tr("not_understood", None), print_exception=False) from None

    return checked


class QuietRadio(gr.Radio):
    """A `gr.Radio` that does not print what a client sends into the log."""

    is_template = True
    preprocess = _quiet(gr.Radio.preprocess)


class QuietDropdown(gr.Dropdown):
    """A `gr.Dropdown` that does not print what a client sends into the log."""

    is_template = True
    preprocess = _quiet(gr.Dropdown.preprocess)


class NumHits(gr.Slider):
    """The number of hits. A call that asks for more than MAX_HITS gets MAX_HITS instead of an error."""

    is_template = True

    def preprocess(self, payload: Any) -> int:
        """Return k as an int of at most MAX_HITS; raise gr.Error if it is no number."""
        try:
            return min(int(payload), MAX_HITS)
        except (TypeError, ValueError, OverflowError):
            raise gr.Error(tr("bad_k", None), print_exception=False) from None
