"""Headers that Gradio obeys, repeats or sets, and that strangers or other sites must not choose."""

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Scope

from imgsearch.environment import on_space
from imgsearch.web.security.refusals import RefusedError

# Gradio puts these names into the code that it shows to all visitors. Two proxies join theirs with a comma.
NAMES = r"[\w.:\[\], -]{0,255}"
FRAMES = "'self' https://huggingface.co" if on_space() else "'self'"  # a Space is shown in a frame of the hub
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # the page's links hold queries
    "content-security-policy": f"frame-ancestors {FRAMES}",
}
OTHER_COOKIE = b"access-token-unsecure-"  # Gradio's second, for HTTP


def clean_headers(scope: Scope, *, trust_proxy: bool) -> None:
    """Remove the headers of a request that Gradio must not see; with `trust_proxy` those of the proxy stay.

    Gradio answers a `range` with all headers of the request, cookies too, and fails for a malformed one.
    """
    removed = (b"range", b"x-gradio-server")
    scope["headers"] = [
        (name, value)
        for name, value in scope["headers"]
        if name not in removed and (trust_proxy or not name.startswith(b"x-forwarded-"))
    ]


def check_names(headers: Headers) -> None:
    """Raise RefusedError if a header that names this app holds anything but a name."""
    names = [*headers.getlist("host"), *headers.getlist("x-forwarded-host")]
    if not all(re.fullmatch(NAMES, name, re.ASCII) for name in names):
        raise RefusedError(400, "not_understood")


def set_headers(message: Message, request_headers: Headers, scheme: str) -> None:
    """Add HEADERS to a response; over HTTPS leave out the cookie that a browser would also send without it."""
    proxied = request_headers.get("x-forwarded-proto", "").partition(",")[0].strip()
    if "https" in (scheme, proxied):
        message["headers"] = [(name, value) for name, value in message["headers"] if not value.startswith(OTHER_COOKIE)]
    MutableHeaders(scope=message).update(HEADERS)
