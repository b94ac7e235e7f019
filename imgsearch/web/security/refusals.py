"""The responses to requests that are refused."""

import gradio as gr
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from imgsearch.web.i18n import tr


class RefusedError(Exception):
    """A refused request: HTTP status, key of the message in `words`, and the values to fill into it.

    `outcome` goes to the log; `wait_s` is the number of seconds after which to try again, 0 if unknown.
    """

    def __init__(self, status: int, key: str, *values: str, outcome: str = "refused", wait_s: int = 0) -> None:
        super().__init__(key)
        self.status, self.key, self.values, self.outcome, self.wait_s = status, key, values, outcome, wait_s

    def answer(self, request: Request, endpoint: str) -> Response:
        """Return the message in the client's language, in the format that the page or gradio_client can show."""
        text = tr(self.key, gr.Request(request=request)).format(*self.values)
        headers = {"retry-after": str(self.wait_s)} if self.wait_s else {}
        if self.status in (408, 413):
            headers["connection"] = "close"  # the rest of the body is not read
        if endpoint == "upload":  # the page shows the response as plain text
            return PlainTextResponse(text, self.status, headers)
        if endpoint == "join" and request.headers.get("x-gradio-user") == "api":  # shows only messages of this form
            detail = {"__type__": "validate", "is_valid": False, "parameter_name": "request", "message": text}
            return JSONResponse({"detail": [detail]}, 422, headers)
        return JSONResponse({"detail": text}, self.status, headers)
