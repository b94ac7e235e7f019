"""GET /healthz: the state of the app for monitoring."""

from collections.abc import Sequence
from typing import Any, cast

from gradio.routes import App
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from imgsearch import __version__
from imgsearch.engine import Engine
from imgsearch.environment import bundle_name
from imgsearch.web.components.status import model_name


def health_route(engines: Sequence[Engine]) -> Route:
    """Return the route. It answers 200 and a JSON object while the app runs, waits for nothing and shows no paths.

    A model that is not loaded yet is ""; the number of items is None until then. The captioner is the first engine's.
    """

    async def healthz(request: Request) -> JSONResponse:
        first, *_ = statuses = [engine.status for engine in engines]
        names = [bundle_name(engine.bundle) for engine in engines]
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
                "queue": _queue_lengths(cast(App, request.app)),
            }
        )

    return Route("/healthz", healthz)


def _queue_lengths(app: App) -> dict[str, Any]:
    # Gradio internal: Blocks._queue, because the lengths of the queues are not public.
    queues = app.get_blocks()._queue.event_queue_per_concurrency_id.values()
    return {
        "waiting": sum(len(queue.queue) for queue in queues),
        "running": sum(queue.current_concurrency for queue in queues),
    }
