"""Components for a choice that do not repeat what else a client sends: Gradio would print it into the log."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from imgsearch.web.i18n import tr


class QuietRadio(gr.Radio):
    """A `gr.Radio`; the browser draws it as the stock component."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """Return the chosen value; raise gr.Error if it is none of the choices."""
        return _chosen(super().preprocess, payload)


class QuietDropdown(gr.Dropdown):
    """A `gr.Dropdown`; the browser draws it as the stock component."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """Return the chosen value; raise gr.Error if it is none of the choices."""
        return _chosen(super().preprocess, payload)


def _chosen(preprocess: Callable[[Any], Any], payload: Any) -> Any:
    try:
        return preprocess(payload)
    except Exception:
        raise gr.Error(tr("not_understood", None), print_exception=False) from None
