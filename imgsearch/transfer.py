"""One file from the hub: fetched, gone on with where it was broken off, and compared with the hub's digest."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub.file_download import http_get
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]
from tqdm import tqdm


class Bar(tqdm):  # type: ignore[misc]
    """A progress bar for the console that also reports; the client's own is switched off with transformers'."""

    def __init__(self, *, on_bytes: Callable[[int], None], **options: Any) -> None:
        self._on_bytes = on_bytes
        super().__init__(**options, delay=0.5)

    def update(self, n: float | None = 1) -> Any:
        """Count n bytes more."""
        shown = super().update(n)
        self._on_bytes(int(self.n))
        return shown


def fetch_file(url: str, file: RepoSibling, folder: Path, title: str, on_bytes: Callable[[int], None]) -> bool:
    """Put one file into `folder`: it gets its name once its digest is the one that the hub states.

    `on_bytes` is called with the number of bytes that are here. Returns False where others arrived: they are deleted.
    """
    part = folder / f"{file.rfilename}.part"
    resumed = part.stat().st_size if part.exists() else 0
    if resumed > (file.size or 0):
        part.unlink()
        resumed = 0
    with part.open("ab") as stream:
        http_get(
            url,
            stream,
            resume_size=resumed,
            headers=build_hf_headers() | {"Accept-Encoding": "identity"},  # bytes as they are stored
            expected_size=file.size,
            displayed_filename=title,
            tqdm_class=partial(Bar, on_bytes=on_bytes),  # type: ignore[arg-type]
        )
    if not _is_whole(part, file):
        part.unlink()
        return False
    part.replace(folder / file.rfilename)
    return True


def _is_whole(path: Path, file: RepoSibling) -> bool:
    """Whether the bytes are those the hub has: by SHA-256 of a large file, by git's object id of a small one."""
    with path.open("rb") as stream:
        if file.lfs:
            return hashlib.file_digest(stream, "sha256").hexdigest() == file.lfs.sha256
        data = stream.read()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == file.blob_id
