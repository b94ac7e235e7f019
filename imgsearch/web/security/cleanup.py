"""Delete what visitors leave behind while the app runs: files beyond a size, results that nobody fetched.

Files that are old are Gradio's to delete (`delete_cache`).
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import gradio as gr
from gradio.routes import App

from imgsearch.web import gradio_internals
from imgsearch.web.components.inputs import upload_folder

MAX_AGE_S = 3600  # seconds since a picture was last used
MAX_BYTES = 2**30  # of all pictures: beyond it the least recently used ones are deleted
ZIP_S = 600  # seconds that a zip of hits is kept
SWEEP_S = 30  # seconds between two sweeps
log = logging.getLogger(__name__)


@asynccontextmanager
async def sweeping(app: App) -> AsyncIterator[None]:
    """Sweep every SWEEP_S seconds while the server runs: the `lifespan` of its app."""
    task = asyncio.create_task(_sweep_for_ever(app.get_blocks()))
    yield
    task.cancel()


async def _sweep_for_ever(blocks: gr.Blocks) -> None:
    unfetched: dict[str, frozenset[str]] = {}
    while True:
        for _ in range(SWEEP_S):
            await asyncio.sleep(1)
            gradio_internals.forget_configs(blocks)
        try:
            unfetched = gradio_internals.forget_unfetched(blocks, unfetched)
            await asyncio.to_thread(sweep_files, upload_folder(), MAX_BYTES)
        except Exception:
            log.exception("not all could be swept")


def sweep_files(folder: Path, max_bytes: int) -> None:
    """Delete the least recently used files until the rest is at most `max_bytes` large, and folders long empty."""
    files = []
    for path in folder.rglob("*"):
        with suppress(OSError):  # another thread may have deleted it
            status = path.lstat()
            used = max(status.st_atime, status.st_mtime)
            if path.suffix == ".zip" and time.time() - used > ZIP_S:
                path.unlink()
            elif not path.is_dir():
                files.append((used, path, status.st_size))
            elif time.time() - status.st_mtime > SWEEP_S:
                path.rmdir()  # fails if it is not empty
    delete_first([(path, size) for _, path, size in sorted(files)], max_bytes)


def delete_first(files: Sequence[tuple[Path, int]], max_bytes: int) -> None:
    """Delete files, the first ones first, until the rest is at most `max_bytes` large; each comes with its size."""
    num_bytes = sum(size for _, size in files)
    for path, size in files:
        if num_bytes <= max_bytes:
            break
        num_bytes -= size
        path.unlink(missing_ok=True)
