"""The folder of a bundle: who may write it, and how new files take the place of old ones at once.

Data files have their digest in their name, so new ones stand beside the old until the manifest, which names them, is
replaced: that one rename is the change. Killed at any moment, a bundle is the old one or the new one.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from imgsearch.errors import InputError
from imgsearch.files import FileDigest, digest_file, read_at_most
from imgsearch.index.manifest import FILE_NAME, Manifest, named_files
from imgsearch.records import BuildReport
from imgsearch.text import json_text

REPORT = "report.json"
MAX_REPORT_BYTES = 32 * 2**20
DATA_FILE = re.compile(r"(vectors|items|calibration|atlas)-[0-9a-f]{16}\.(faiss|arrow|json|npz)")


def check_target(bundle: Path) -> None:
    """Raise InputError where a bundle cannot be saved at that path, or would take the place of something else."""
    try:
        bundle.resolve().parent.mkdir(parents=True, exist_ok=True)
        is_free = not bundle.exists() or (bundle.is_dir() and _holds_no_other(bundle))
        is_mounted = bundle.exists() and bundle.stat().st_dev != bundle.resolve().parent.stat().st_dev
    except (OSError, RuntimeError) as error:
        raise write_error(bundle, error) from error
    if not is_free:
        raise InputError("{bundle} exists and is not a bundle. Give another path.", bundle=bundle)
    if is_mounted:  # what is written beside it could not be moved into it
        raise InputError("{bundle} is a file system of its own. Give a folder in it.", bundle=bundle)


def is_bundle(folder: Path) -> bool:
    """Whether `folder` holds the files of a bundle and nothing else; they may be damaged, the manifest may not."""
    return bool(named_files(folder)) and _holds_no_other(folder)


@contextmanager
def bundle_writer(bundle: Path) -> Iterator[Path]:
    """The only writer of a bundle, and a folder beside it for its work; what is left there stays for the next one.

    Raises InputError where there is another writer, or no place to write.
    """
    check_target(bundle)
    target = bundle.resolve()
    work = target.with_name(f".{target.name}.build")
    lock = FileLock(work / "lock", timeout=0)
    try:
        work.mkdir(exist_ok=True)
        lock.acquire()
        if not (work / "lock").exists():  # deleted by its last owner between our opening and locking it
            raise Timeout(lock.lock_file)
    except Timeout:
        raise InputError(
            "{bundle} is being written by another process. Wait until it is done.", bundle=bundle
        ) from None
    except OSError as error:
        raise write_error(bundle, error) from error
    try:
        yield work
    except OSError as error:
        raise write_error(bundle, error) from error
    finally:
        with suppress(OSError):
            if {path.name for path in work.iterdir()} <= {"lock"}:
                shutil.rmtree(work)  # as long as it is ours: afterwards it may be another's
        lock.release()


def install_files(files: Sequence[Path], bundle: Path, manifest: Manifest, report: BuildReport | None) -> None:
    """Move finished files into the bundle, and put its manifest, which is to name them, in place of the old one.

    Files that the manifest names already stay.
    """
    digests = {path: digest_file(path) for path in files}
    named = {**manifest.files, **{_name(path, digest): digest for path, digest in digests.items()}}
    bundle.mkdir(exist_ok=True)
    for path, digest in digests.items():
        _sync(path)
        path.replace(bundle / _name(path, digest))
    folder = files[0].parent
    if report:
        _put(folder / REPORT, json_text(report.to_json()) + "\n", bundle)
    old = named_files(bundle)
    _sync(bundle)
    _put(folder / FILE_NAME, replace(manifest, files=named).to_text(), bundle)
    _sync(bundle)
    for path in bundle.iterdir():
        if path.name not in named and (path.name in old or DATA_FILE.fullmatch(path.name)):
            with suppress(OSError):  # on Windows a file that is open stays until the next time
                path.unlink()


def read_report(bundle: Path) -> BuildReport:
    """What the build of a bundle reported; an empty report where it is not there or damaged."""
    try:
        report = BuildReport.from_json(json.loads(read_at_most(bundle / REPORT, MAX_REPORT_BYTES)))
        _ = BuildReport() + report  # raises where a number is none
        return report
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return BuildReport()


def write_error(bundle: Path, error: Exception) -> InputError:
    """What the user is told."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return InputError(
        "{bundle} cannot be written: {reason}. Give another path, or make room and start again.",
        bundle=bundle,
        reason=reason,
    )


def _holds_no_other(folder: Path) -> bool:
    known = {FILE_NAME, REPORT, *named_files(folder)}
    names = {path.name for path in folder.iterdir()}
    if FILE_NAME in names and len(known) == 2:  # a manifest that is not ours
        return False
    return all(name in known or DATA_FILE.fullmatch(name) for name in names)


def _name(path: Path, digest: FileDigest) -> str:
    return f"{path.stem}-{digest.sha256[:16]}{path.suffix}"


def _put(part: Path, text: str, bundle: Path) -> None:
    part.write_text(text, "utf-8", newline="\n")
    _sync(part)
    part.replace(bundle / part.name)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
