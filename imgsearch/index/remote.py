"""Bundles from the hub, stored there as datasets: download them, and check them against the hub and their manifest."""

import re
import shutil
from collections.abc import Collection
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from imgsearch.config import HF_DATASETS_PREFIX, Bundle, Settings
from imgsearch.environment import hub_folder
from imgsearch.errors import BundleError, SettingsError
from imgsearch.files import read_at_most
from imgsearch.index.manifest import FILE_NAME, MAX_MANIFEST_BYTES, Manifest, check_digests

if TYPE_CHECKING:  # at run time the hub's client is imported only if there is something to fetch
    from imgsearch.hub import Repo, Snapshot

NAME = re.compile(r"\w[\w.-]*", re.ASCII)  # contains no path separator
MEGABYTE = 1_000_000


def fetch_hub_bundles(settings: Settings) -> Settings:
    """Download the bundles on the hub, and return the settings with their folders instead. Takes minutes, once.

    At each start the newest commit of the branch is used; offline, the last one that was downloaded. Raise
    SettingsError if a name is not valid; BundleError if a bundle cannot be downloaded or is damaged.
    """
    return replace(settings, index=tuple(dict.fromkeys(_local_folder(bundle) for bundle in settings.index)))


def _local_folder(bundle: Bundle) -> Path:
    if isinstance(bundle, Path):
        return bundle
    from imgsearch.hub import Repo

    repo_id, at, revision = bundle.removeprefix(HF_DATASETS_PREFIX).partition("@")
    names = repo_id.split("/")
    is_name = bundle.startswith(HF_DATASETS_PREFIX) and len(names) == 2 and all(map(NAME.fullmatch, names))
    if not is_name or (at and not revision):
        raise SettingsError(
            "{bundle} is not the name of a bundle on the hub. Give {prefix}ORG/NAME, if need be with @REVISION.",
            bundle=bundle,
            prefix=HF_DATASETS_PREFIX,
        )
    return _fetch(Repo(repo_id, revision or "main", "bundle"))


def _fetch(repo: "Repo") -> Path:
    """Download the manifest of a bundle and the files that it lists, nothing else. Return their folder."""
    from imgsearch.hub import cached_snapshot, fetch_snapshot, remember_commit, resolve_commit

    pinned = resolve_commit(repo)

    def get(*names: str, max_bytes: int) -> "Snapshot":
        def choose(available: Collection[str]) -> list[str]:
            if missing := [name for name in names if name not in available]:
                raise BundleError(
                    "{repo} is no bundle: {file} is missing. Push the folder that a build made.",
                    repo=repo,
                    file=missing[0],
                )
            return list(names)

        return fetch_snapshot(pinned, choose, lambda done, total: None, max_bytes=max_bytes)

    folder = get(FILE_NAME, max_bytes=MAX_MANIFEST_BYTES).folder
    manifest = _manifest(repo, folder)
    total = sum(digest.num_bytes for digest in manifest.files.values())
    is_new = cached_snapshot(pinned, lambda available: [*manifest.files]) is None
    if is_new and total > (free := shutil.disk_usage(hub_folder()).free):
        raise BundleError(
            "{repo} has {num_mb:,.0f} MB, and {free_mb:,.0f} MB are free. Make room, or set "
            "XDG_CACHE_HOME to another folder.",
            repo=repo,
            num_mb=total / MEGABYTE,
            free_mb=free / MEGABYTE,
        )
    get(FILE_NAME, *manifest.files, max_bytes=MAX_MANIFEST_BYTES + total)
    _verify(repo, folder, manifest)
    remember_commit(repo, pinned)
    return folder


def _manifest(repo: "Repo", folder: Path) -> Manifest:
    try:
        manifest = Manifest.from_text(read_at_most(folder / FILE_NAME, MAX_MANIFEST_BYTES).decode())
        if {FILE_NAME, f"{FILE_NAME}.part"} & set(manifest.files):
            raise ValueError("it names itself")
    except ValueError as error:
        raise BundleError(
            "{repo} is no bundle: its {file} is damaged. Push the folder that a build made.", repo=repo, file=FILE_NAME
        ) from error
    return manifest


def _verify(repo: "Repo", folder: Path, manifest: Manifest) -> None:
    """Delete the download if its digests differ from the manifest, even if they match the hub."""
    try:
        check_digests(folder, manifest, inf)
    except BundleError as error:
        shutil.rmtree(folder)
        raise BundleError(
            "{repo} is no bundle: its files are not those of its {file}. Push the folder that a build made.",
            repo=repo,
            file=FILE_NAME,
        ) from error
