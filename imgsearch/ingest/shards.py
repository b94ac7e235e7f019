"""The finished shards of a build (see `source`): small bundles on disk, so that a later process can go on."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from imgsearch.errors import BundleError
from imgsearch.index.index import Index, write_bundle
from imgsearch.ingest.source import ShardEnd
from imgsearch.records import BuildReport


class Shards:
    """A folder of shards, each with its `ShardEnd` and its report. A shard counts only once it is complete."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.ends: list[ShardEnd] = []  # one for each complete shard, up to the first that is not
        while self._is_complete(self._path(len(self.ends))):
            self.ends.append(ShardEnd(**_read_json(self._path(len(self.ends)))["mark"]))

    def keep(self, count: int) -> list[Path]:
        """Keep the first `count` shards. Return the folders of all that were dropped: their vectors may be reused."""
        for path in self._paths()[count:]:
            path.rename(self._folder / f"old-{len(list(self._folder.glob('old-*'))):06}")
        del self.ends[count:]
        return sorted(self._folder.glob("old-*"))

    def write(self, index: Index) -> Path:
        """Write the next shard to disk and return its folder; `finish` completes it. Raise OSError."""
        path = self._path(len(self.ends))
        path.with_suffix(".json").unlink(missing_ok=True)
        write_bundle(path, self._folder, index.blocks(), index.provenance)
        return path

    def finish(self, path: Path, end: ShardEnd, report: BuildReport) -> None:
        """Write the end and the report of the shard at `path`. From now on it counts."""
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"mark": asdict(end), "report": report.to_json()}), "utf-8")
        part.replace(path.with_suffix(".json"))
        self.ends.append(end)

    def reports(self) -> Iterator[BuildReport]:
        """Yield the report of each shard."""
        return (BuildReport.from_json(_read_json(path)["report"]) for path in self._paths())

    def indexes(self) -> Iterator[Index]:
        """Open the shards one after the other."""
        return map(Index.load, self._paths())

    def _paths(self) -> list[Path]:
        return [self._path(position) for position in range(len(self.ends))]

    def _path(self, position: int) -> Path:
        return self._folder / f"{position:06}"

    def _is_complete(self, path: Path) -> bool:
        try:
            Index.load(path)
            return bool(_read_json(path))
        except (BundleError, OSError, ValueError):
            return False


def _read_json(path: Path) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(path.with_suffix(".json").read_text("utf-8"))
    return fields
