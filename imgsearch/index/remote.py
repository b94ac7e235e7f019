"""Bundles on the hub, stored there as datasets: download them, and check them against the hub and their manifest."""

import shutil
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path

from imgsearch.config import Bundle, Settings
from imgsearch.errors import BundleError, Message
from imgsearch.index.manifest import FILE_NAME, MAX_MANIFEST_BYTES, check_digests, parse_manifest

MEGABYTE = 1_000_000


def fetch_hub_bundles(settings: Settings) -> Settings:
    """Download the bundles on the hub, and return the settings with their folders instead. Takes minutes, once.

    At each start the newest commit of the branch is used; offline, the last one that was downloaded. Raise
    SettingsError if a name is not valid; BundleError if a bundle cannot be downloaded or is damaged.
    """
    folders = (bundle if isinstance(bundle, Path) else _fetch(bundle) for bundle in settings.index)
    return replace(settings, index=tuple(dict.fromkeys(folders)))


def _fetch(name: Bundle) -> Path:
    """Download the manifest of a bundle and the files that it lists, nothing else. Return their folder."""
    # The hub's client is imported only if there is something to fetch.
    from imgsearch.downloads import cached_snapshot, fetch_snapshot, remember_commit, resolve_commit
    from imgsearch.hub import Repo

    repo = Repo.parse(str(name), "bundle")
    needed = [FILE_NAME]

    def choose(available: Collection[str]) -> list[str]:
        if missing := [name for name in needed if name not in available]:
            raise _no_bundle(repo, "{file} is missing.", missing[0])
        return needed

    pinned = resolve_commit(repo, choose)
    fetch = partial(fetch_snapshot, pinned, choose, lambda done, total: None)
    folder = fetch(max_bytes=MAX_MANIFEST_BYTES)
    try:
        manifest = parse_manifest(folder)
        if FILE_NAME in manifest.files:
            raise ValueError("it names itself")
    except ValueError as error:
        raise _no_bundle(repo, "its {file} is damaged.") from error
    needed += manifest.files
    total = sum(digest.num_bytes for digest in manifest.files.values())
    if not cached_snapshot(pinned, choose) and total > (free := shutil.disk_usage(folder).free):
        raise BundleError(
            "{repo} has {num_mb:,.0f} MB, and {free_mb:,.0f} MB are free. Make room, or set HF_HOME to another folder.",
            repo=repo,
            num_mb=total / MEGABYTE,
            free_mb=free / MEGABYTE,
        )
    folder = fetch(max_bytes=MAX_MANIFEST_BYTES + total)
    try:
        check_digests(folder, manifest, inf)
    except BundleError as error:
        raise _no_bundle(repo, "its files are not those of its {file}.") from error
    remember_commit(repo, folder)
    return folder


def _no_bundle(repo: object, problem: str, file: str = FILE_NAME) -> BundleError:
    why = Message(problem, file=file)
    return BundleError("{repo} is no bundle: {why} Push the folder that a build made.", repo=repo, why=why)
