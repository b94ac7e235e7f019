"""How the app is, for whoever watches over it: GET /healthz."""

from collections.abc import Sequence
from typing import Any, cast

from gradio.routes import App
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from imgsearch import __version__
from imgsearch.engine import Engine
from imgsearch.web.components.status import model_name


def health_route(engines: Sequence[Engine]) -> Route:
    """The route: 200 and a JSON object as long as the app serves. It waits for nothing and tells no paths.

    A model that is not loaded yet is "", and the number of items then None; the first collection's captioner describes.
    """

    async def healthz(request: Request) -> JSONResponse:
        first, *_ = statuses = [engine.status for engine in engines]
        names = [engine.bundle.resolve().name for engine in engines]
        collections = [
            {"name": name, "num_items": status.num_items} for name, status in zip(names, statuses, strict=True)
        ]
        models = {"encoder": model_name(first.encoder), "captioner": model_name(first.captioner)}
        return JSONResponse(
            {
                "status": "ok",
                "version": __version__,
                "models": models,
                "collections": collections,
                "queue": _queue(cast(App, request.app)),
            }
        )

    return Route("/healthz", healthz)


def _queue(app: App) -> dict[str, Any]:
    queues = app.get_blocks()._queue.event_queue_per_concurrency_id.values()
    return {
        "waiting": sum(len(queue.queue) for queue in queues),
        "running": sum(queue.current_concurrency for queue in queues),
    }
