"""The finished parts of a build that is under way: small bundles beside the one to be, which outlive the process."""

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
    """Shard after shard in a folder, each with its mark and its report, each whole or not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.marks: list[ShardEnd] = []  # of the leading shards that are whole
        while self._is_whole(self._path(len(self.marks))):
            self.marks.append(ShardEnd(**_facts(self._path(len(self.marks)))["mark"]))

    def keep(self, count: int) -> list[Path]:
        """Count on the first `count` shards only. Returns those that once were some: their pictures may come again."""
        for path in self._paths()[count:]:
            path.rename(self._folder / f"old-{len(list(self._folder.glob('old-*'))):06}")
        del self.marks[count:]
        return sorted(self._folder.glob("old-*"))

    def write(self, index: Index) -> Path:
        """Put the next shard on disk, to be finished. Raises OSError."""
        path = self._path(len(self.marks))
        path.with_suffix(".json").unlink(missing_ok=True)
        write_bundle(path, self._folder, index.blocks(), index.provenance)
        return path

    def finish(self, path: Path, mark: ShardEnd, report: BuildReport) -> None:
        """From here on the shard counts."""
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"mark": asdict(mark), "report": report.to_json()}), "utf-8")
        part.replace(path.with_suffix(".json"))
        self.marks.append(mark)

    def reports(self) -> Iterator[BuildReport]:
        """The report of each shard."""
        return (BuildReport.from_json(_facts(path)["report"]) for path in self._paths())

    def indexes(self) -> Iterator[Index]:
        """Each shard, opened one after the other."""
        return map(Index.load, self._paths())

    def _paths(self) -> list[Path]:
        return [self._path(number) for number in range(len(self.marks))]

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06}"

    def _is_whole(self, path: Path) -> bool:
        try:
            Index.load(path)
            return bool(_facts(path))
        except (BundleError, OSError, ValueError):
            return False


def _facts(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(path.with_suffix(".json").read_text("utf-8"))
    return facts
