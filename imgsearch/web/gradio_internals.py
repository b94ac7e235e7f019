"""All names of Gradio that its documentation does not promise and that the page rests on, as read in Gradio 6.31.0.

Look here first when a new version of Gradio breaks something: no other module uses such a name. requirements.txt holds
Gradio to this minor version.
"""

import secrets
from typing import Any, TypeAlias

import gradio as gr
from gradio import processing_utils
from gradio.block_function import BlockFunction
from gradio.route_utils import CustomCORSMiddleware
from gradio.tunneling import CURRENT_TUNNELS

Function: TypeAlias = BlockFunction
"""The function of an event. Used of it: api_name, api_visibility, collects_event_data, concurrency_id,
concurrency_limit, inputs (with skip_api), name, queue."""


def functions(blocks: gr.Blocks) -> dict[int, Function]:
    """Return the functions of all events by their ids: `fns`, because the public config does not hold their queues."""
    return blocks.fns


def queue_lengths(blocks: gr.Blocks) -> dict[str, int]:
    """Return how many events wait and run: `Blocks._queue`, because no public function tells."""
    return {"waiting": len(blocks._queue), "running": blocks._queue.get_active_worker_count()}


def num_waiting(blocks: gr.Blocks, function: Function) -> int:
    """Return how many events wait in the function's own queue; the public `max_size` counts all queues together."""
    queue = blocks._queue.event_queue_per_concurrency_id.get(str(function.concurrency_id))
    return len(queue.queue) if queue else 0


def num_unfetched(blocks: gr.Blocks, session: str) -> int:
    """Return how many results of a session wait or are not fetched: Gradio has no limit for them."""
    return len(blocks._queue.pending_event_ids_session.get(session, ()))


def num_own(blocks: gr.Blocks, function: Function, client: str) -> int:
    """Return how many events of a client wait and run in the function's own queue; in all those without a limit."""
    events = list(blocks._queue.event_ids_to_events.values())
    own = (event for event in events if event.request.client and event.request.client.host == client)
    return sum(queue_name(event.fn) == queue_name(function) for event in own)


def queue_name(function: Function) -> str:
    """Return the name of a function's queue; "" for all queues without a limit."""
    return str(function.concurrency_id) if function.concurrency_limit is not None else ""


def is_known(blocks: gr.Blocks, session: str) -> bool:
    """Return whether a session has asked for something: for others Gradio begins a response and then fails."""
    return session in blocks._queue.pending_messages_per_session


def is_event(blocks: gr.Blocks, event: str) -> bool:
    """Return whether there is an event with a result to come or to fetch: for others Gradio fails, too."""
    return any(event in ids for ids in list(blocks._queue.pending_event_ids_session.values()))


def has_state(blocks: gr.Blocks, session: str) -> bool:
    """Return whether a session is among those kept; an event in another one makes it, which takes a while."""
    return session in blocks.state_holder.session_data


def forget_unfetched(blocks: gr.Blocks, before: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Forget the results that were there `before` and are still not fetched; Gradio keeps them for ever.

    Return those that are left, for the next call: session -> ids of events. Call it in the thread of the server.
    """
    queue = blocks._queue
    sessions = {*queue.pending_messages_per_session, *queue.pending_event_ids_session}
    idle = {}
    for session in sessions:
        ids = frozenset(queue.pending_event_ids_session.get(session, ()))
        if ids & queue.event_ids_to_events.keys():
            continue  # they are still under way
        if before.get(session) == ids:
            queue.pending_messages_per_session.pop(session, None)
            queue.pending_event_ids_session.pop(session, None)
        else:
            idle[session] = ids
    return idle


def forget_configs(blocks: gr.Blocks) -> None:
    """Forget each session's copy of the page, 0.25 MB and all that it was sent: no option turns this off.

    Gradio keeps it for deep links, which are not served. Call it in the thread of the server.
    """
    for state in blocks.state_holder.session_data.values():
        state.config_values.clear()


def without_cors(middleware: list[Any]) -> list[Any]:
    """Leave out the one of Gradio's that lets any site read an app with a public name: no option turns it off."""
    return [each for each in middleware if each.cls is not CustomCORSMiddleware]


def randomise_upload_paths() -> None:
    """Give Gradio a random seed for the names of its upload folders, so that nobody can compute them.

    The names are digests of the content and the seed. Gradio stores its own seed in its package folder, where
    everybody who has the same container image can read it.
    """
    processing_utils.hash_seed = secrets.token_bytes(32)


def configure_server(app: gr.Blocks, protocol: Any, seconds: int) -> None:
    """Set uvicorn's options that Gradio does not pass on: how it makes connections, how long it waits at its end."""
    app.server.config.http_protocol_class = protocol
    app.server.config.timeout_graceful_shutdown = seconds


def mcp_server(blocks: gr.Blocks) -> Any:
    """Return Gradio's MCP server of a page's endpoints: with the public `mcp_server=True`, it has those of the app."""
    return gr.mcp.GradioMCPServer(blocks).mcp_server


def close_links() -> None:
    """End the program of the public link: Gradio ends it only when the interpreter exits, which the app does not."""
    for tunnel in CURRENT_TUNNELS:
        process: Any = tunnel.proc
        if process:
            process.terminate()
