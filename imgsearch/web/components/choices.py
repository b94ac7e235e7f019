"""Components for a choice that do not repeat what else a client sends: Gradio would print it into the log."""

from typing import Any

import gradio as gr

from imgsearch.web.i18n import tr


class _Quiet:
    is_template = True  # the browser draws it as the stock component

    def preprocess(self, payload: Any) -> Any:
        """Return the chosen value; raise gr.Error if it is none of the choices."""
        try:
            return super().preprocess(payload)  # type: ignore[misc]
        except Exception:
            raise gr.Error(tr("not_understood", None), print_exception=False) from None


class QuietRadio(_Quiet, gr.Radio):
    """A `gr.Radio`."""


class QuietDropdown(_Quiet, gr.Dropdown):
    """A `gr.Dropdown`."""
