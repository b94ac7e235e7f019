"""The folder of a bundle: lock it for one writer, and replace all of its files in one step.

The name of a data file contains its digest. So new files can stand beside the old ones until the manifest, which lists
them, is replaced by one rename. A process that is killed at any moment leaves the old bundle or the new one.
"""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from imgsearch.errors import InputError
from imgsearch.files import digest_file, read_at_most
from imgsearch.index.manifest import FILE_NAME, Manifest, named_files
from imgsearch.records import BuildReport
from imgsearch.text import json_text

REPORT, NEW = "report.json", "new"
MAX_REPORT_BYTES = 32 * 2**20
REPORT_JSON = TypeAdapter(BuildReport)
DATA_FILE = re.compile(r"(vectors|items|calibration|atlas|words)-[0-9a-f]{16}\.(faiss|arrow|json|npz|db)")


def check_target(bundle: Path) -> None:
    """Raise InputError if a bundle cannot be saved at that path, or if something that is not a bundle is there."""
    try:
        bundle.resolve().parent.mkdir(parents=True, exist_ok=True)
        is_free = not bundle.exists() or (bundle.is_dir() and _holds_only_a_bundle(bundle))
        is_mounted = bundle.exists() and bundle.stat().st_dev != bundle.resolve().parent.stat().st_dev
    except (OSError, RuntimeError) as error:
        raise _not_writable(bundle, error) from error
    if not is_free:
        raise InputError("{bundle} exists and is not a bundle. Give another path.", bundle=bundle)
    if is_mounted:  # files written beside it could not be renamed into it
        raise InputError("{bundle} is a file system of its own. Give a folder in it.", bundle=bundle)


def is_bundle(folder: Path) -> bool:
    """Return True if `folder` holds a bundle and nothing else. Data files may be damaged, the manifest may not."""
    with suppress(OSError):  # of some folders the names can be listed, and no more
        return (folder / FILE_NAME).exists() and _holds_only_a_bundle(folder)
    return False


@contextmanager
def bundle_writer(bundle: Path) -> Iterator[Path]:
    """Lock a bundle for writing, and yield a work folder beside it. Files left there stay for the next writer.

    In it, NEW is an empty folder for the files of the new bundle; it is deleted at the end. Raise InputError if another
    process is writing the bundle, or if nothing can be written there.
    """
    check_target(bundle)
    target = bundle.resolve()
    work = target.with_name(f".{target.name}.build")
    lock = FileLock(work / "lock", timeout=0)
    try:
        work.mkdir(exist_ok=True)
        lock.acquire()
        if not (work / "lock").exists():  # its last owner deleted it after we opened it, before we locked it
            raise Timeout(lock.lock_file)
        try:
            shutil.rmtree(work / NEW, ignore_errors=True)  # of a writer that was killed
            (work / NEW).mkdir()
            yield work
        finally:
            shutil.rmtree(work / NEW, ignore_errors=True)
            with suppress(OSError):
                if {path.name for path in work.iterdir()} <= {"lock"}:
                    shutil.rmtree(work)  # while we hold the lock: after that the folder may belong to another writer
            lock.release()
    except Timeout:
        raise InputError(
            "{bundle} is being written by another process. Wait until it is done.", bundle=bundle
        ) from None
    except OSError as error:
        raise _not_writable(bundle, error) from error


def install_files(files: Sequence[Path], bundle: Path, manifest: Manifest, report: BuildReport | None) -> None:
    """Move finished files into the bundle, then replace its manifest by one that lists them, too.

    Files that `manifest` lists already are kept; the other old files of the bundle are deleted.
    """
    named, folder = dict(manifest.files), files[0].parent
    bundle.mkdir(exist_ok=True)
    for path in files:
        digest = digest_file(path)
        name = f"{path.stem}-{digest.sha256[:16]}{path.suffix}"
        named[name] = digest
        _sync(path)
        path.replace(bundle / name)
    if report:
        _install_text(folder / REPORT, json_text(report.to_json()) + "\n", bundle)
    old_names = named_files(bundle)
    _sync(bundle)
    _install_text(folder / FILE_NAME, replace(manifest, files=named).to_text(), bundle)
    _sync(bundle)
    for path in bundle.iterdir():
        if path.name not in named and (path.name in old_names or DATA_FILE.fullmatch(path.name)):
            with suppress(OSError):  # Windows cannot delete an open file: the next write will
                path.unlink()


def read_report(bundle: Path) -> BuildReport:
    """Read the report of the build of a bundle. Return an empty report if it is missing or damaged."""
    with suppress(OSError, ValueError):
        return REPORT_JSON.validate_json(read_at_most(bundle / REPORT, MAX_REPORT_BYTES))
    return BuildReport()


def _not_writable(bundle: Path, error: Exception) -> InputError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    template = "{bundle} cannot be written: {reason}. Give another path, or make room and start again."
    return InputError(template, bundle=bundle, reason=reason)


def _holds_only_a_bundle(folder: Path) -> bool:
    own_names = {FILE_NAME, REPORT, *named_files(folder)}
    names = {path.name for path in folder.iterdir()}
    if FILE_NAME in names and len(own_names) == 2:  # a manifest.json of another program
        return False
    return all(name in own_names or DATA_FILE.fullmatch(name) for name in names)


def _install_text(path: Path, text: str, bundle: Path) -> None:
    path.write_text(text, "utf-8", newline="\n")
    _sync(path)
    path.replace(bundle / path.name)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
