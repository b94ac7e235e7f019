"""GET /healthz: the state of the app for monitoring."""

from collections.abc import Sequence
from typing import cast

from gradio.routes import App
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from imgsearch import __version__
from imgsearch.engine import Engine
from imgsearch.environment import collection_name
from imgsearch.models.registry import model_name
from imgsearch.web.gradio_internals import queue_lengths


def health_route(engines: Sequence[Engine], *, has_password: bool) -> Route:
    """Return the route. It answers 200 and a JSON object while the app runs, waits for nothing and shows no paths.

    A model that is not loaded yet is ""; the number of items is None until then. The captioner is the first engine's.
    With a password, strangers who do not have it see no more than the status.
    """

    async def healthz(request: Request) -> JSONResponse:
        if has_password:
            return JSONResponse({"status": "ok"})
        statuses = [(collection_name(engine.bundle), engine.status) for engine in engines]
        first = statuses[0][1]
        answer = {
            "status": "ok",
            "version": __version__,
            "models": {"encoder": model_name(first.encoder), "captioner": model_name(first.captioner)},
            "collections": [{"name": name, "num_items": status.num_items} for name, status in statuses],
            "queue": queue_lengths(cast(App, request.app).get_blocks()),
        }
        return JSONResponse(answer)

    return Route("/healthz", healthz)
