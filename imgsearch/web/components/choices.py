"""Components for a choice that do not repeat what else a client sends: Gradio would print it into the log."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from imgsearch.web.i18n import tr


def _quiet(preprocess: Callable[[Any, Any], Any]) -> Any:
    def checked(self: Any, payload: Any) -> Any:
        """Return the chosen value; raise gr.Error if it is none of the choices."""
        try:
            return preprocess(self, payload)
        except Exception:
            raise gr.Error(tr("not_understood", None), print_exception=False) from None

    return checked


class QuietRadio(gr.Radio):
    """A `gr.Radio`; the browser draws it as the stock component."""

    is_template = True
    preprocess = _quiet(gr.Radio.preprocess)


class QuietDropdown(gr.Dropdown):
    """A `gr.Dropdown`; the browser draws it as the stock component."""

    is_template = True
    preprocess = _quiet(gr.Dropdown.preprocess)
