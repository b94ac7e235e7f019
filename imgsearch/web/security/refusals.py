"""What is said to a client whose request is not let in."""

import gradio as gr
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from imgsearch.web.i18n import tr


class RefusedError(Exception):
    """A request that is not let in: the HTTP status, the key of the words that say why, and what is filled in.

    `outcome` is what the log says of it; `wait_s` the seconds, where known, after which to try again.
    """

    def __init__(self, status: int, key: str, *values: str, outcome: str = "refused", wait_s: int = 0) -> None:
        super().__init__(key)
        self.status, self.key, self.values, self.outcome, self.wait_s = status, key, values, outcome, wait_s

    def answer(self, request: Request, endpoint: str) -> Response:
        """The words in the client's language, in the shape in which the page or gradio_client shows them."""
        text = tr(self.key, gr.Request(request=request)).format(*self.values)
        headers = {"retry-after": str(self.wait_s)} if self.wait_s else {}
        if self.status in (408, 413):
            headers["connection"] = "close"  # the rest of the body is not read
        if endpoint == "upload":  # the page shows the answer as it is
            return PlainTextResponse(text, self.status, headers)
        if endpoint == "join" and request.headers.get("x-gradio-user") == "api":  # shows no other words
            detail = {"__type__": "validate", "is_valid": False, "parameter_name": "request", "message": text}
            return JSONResponse({"detail": [detail]}, 422, headers)
        return JSONResponse({"detail": text}, self.status, headers)
