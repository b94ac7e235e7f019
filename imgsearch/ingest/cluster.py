"""`build_on_ray`: build the parts of a source on the machines of a Ray cluster, and merge them into one bundle.

Ray runs the tasks, and runs them again where a machine is lost. What they write are the parts of a divided build
(`--shard I/N`), so the result is what one machine makes. All machines need this package, the same path to the source
and the same folder for the bundle.
"""

import logging
import os
import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

from imgsearch.errors import BundleError, ImgsearchError, InputError
from imgsearch.index.edit import merge
from imgsearch.index.index import Index
from imgsearch.ingest.builder import build_index, build_provenance
from imgsearch.ingest.columns import DatasetOptions
from imgsearch.ingest.dataset import open_source
from imgsearch.ingest.source import BuildOptions
from imgsearch.models.registry import ModelRef, load_encoder
from imgsearch.records import BuildReport

INSTALL = 'pip install "ray>=2.60,<3"'
MAX_RETRIES = 3  # of a part whose worker or machine was lost
CONNECT_S = 5.0  # Ray itself waits for minutes at a wrong address, then ends the process
SETTINGS = b"\x04"  # the type of a frame, after three bytes of its length
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + SETTINGS + bytes(5)  # of an HTTP/2 client


def build_on_ray(
    address: str,
    num_parts: int | None,
    source: tuple[str, DatasetOptions],
    bundle: Path,
    encoder: tuple[ModelRef, str],
    options: BuildOptions,
    say: Callable[[str], None],
) -> BuildReport:
    """Build a bundle on the cluster at `address` ("local": one of this machine's cores); return the report.

    Each part takes a GPU where the cluster has some, else a core; without `num_parts` there are as many parts as these.
    `source` holds the arguments of `open_source`, `encoder` those of `load_encoder`, with the precision that all
    machines use. The parts lie in BUNDLE.parts until they are merged; those that are finished are found again. `say`
    gets a line for each part. Raise InputError if no cluster answers or if a part fails.
    """
    ray = _connected(address)
    try:
        resources = ray.cluster_resources()
        kind = "GPU" if resources.get("GPU") else "CPU"
        num_parts = num_parts or max(1, int(resources.get(kind, 1)))
        folder = bundle.resolve().with_name(f"{bundle.name}.parts")
        parts = {number: folder / f"{number}-of-{num_parts}" for number in range(1, num_parts + 1)}
        needs = {"num_gpus": 1} if kind == "GPU" else {"num_cpus": 1}
        task = ray.remote(max_retries=MAX_RETRIES, **needs)(_build_part)
        running = {}
        for number, path in parts.items():
            own = replace(options, part=(number, num_parts))
            running[task.remote(source, path, encoder, own)] = number
        failed: dict[int, str] = {}
        num_items = 0
        while running:
            [done], _ = ray.wait(list(running))
            number = running.pop(done)
            try:
                report: BuildReport = ray.get(done)
                num_items += report.num_items
                say(f"Part {number} of {num_parts}: {report.num_items} pictures, {report.num_encoded} encoded.")
            except ray.exceptions.RayError as error:
                cause = getattr(error, "cause", None) or error
                failed[number] = str(cause) if isinstance(cause, ImgsearchError) else f"{type(cause).__name__}."
                say(f"Part {number} of {num_parts} failed: {failed[number]}")
    finally:
        ray.shutdown()
    if failed:
        raise InputError(
            "{count} of {total} parts failed: {reason} The same command builds only what is missing.",
            count=len(failed),
            total=num_parts,
            reason=next(iter(failed.values())),
        )
    is_done = not num_items  # then nothing of the parts is of use
    try:
        report = merge(list(parts.values()), bundle)
        is_done = True
    finally:
        for path in parts.values() if is_done else ():
            for place in (path, path.with_name(f".{path.name}.build")):
                shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):  # parts or somebody else's files lie there
            folder.rmdir()
    return report


def _connected(address: str) -> ModuleType:
    """Return Ray, connected to a cluster, or to one of its own if the address is "local"."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        raise InputError("Ray is not installed. Install it: {install}", install=INSTALL) from None
    try:
        place = urlsplit(address if "://" in address else f"//{address}")
        if address != "local":
            _check_answer(place.hostname or "", place.port or 0)
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            "No Ray cluster answers at {address}: {reason}. Give HOST:PORT of its head (ray start --head), or local.",
            address=address,
            reason=error,
        ) from error
    return ray


def _check_answer(host: str, port: int) -> None:
    """Raise OSError or ValueError unless a server of HTTP/2 (RFC 9113, section 3.4), as Ray's are, answers there."""
    with socket.create_connection((host, port), CONNECT_S) as connection:
        if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
            return
        connection.sendall(HELLO)
        if connection.makefile("rb").read(4)[3:] != SETTINGS:
            raise ValueError("another program listens there")


_load = lru_cache(1)(load_encoder)  # a process of Ray builds several parts


def _build_part(
    source: tuple[str, DatasetOptions], bundle: Path, encoder: tuple[ModelRef, str], options: BuildOptions
) -> BuildReport:
    """Build a part, on any machine. One that was finished by the same options is not encoded again."""
    opened, model, is_same = open_source(*source), _load(*encoder), False
    with suppress(BundleError):
        made = vars(Index.load(bundle).provenance)
        is_same = asdict(build_provenance(opened, model, options)).items() <= made.items()
    return build_index(opened, bundle, model, replace(options, update=is_same))
