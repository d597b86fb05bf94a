"""Delta tables: `_delta_log/` says which files are live, and what their partition columns hold.

A table has no order of rows; here its files come in the order of the commits that added them, so that what was
appended later comes later; those of one commit by the number in their names, then by partition.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from gaecli.datasets.base import natural_key
from gaecli.datasets.delta.commit import commit, partition_text
from gaecli.datasets.delta.log import (
    TITLE,
    Action,
    commits,
    has_deletion_vectors,
    live_files,
    open_table,
)
from gaecli.datasets.tables import LakeTable, check_files, part_number
from gaecli.errors import UsageError
from gaecli.records import dataclass


@dataclass(frozen=True)
class DeltaTable(LakeTable):
    """The live files of a version. New ones lie beside them, and are made the table by a commit."""

    version: int = 0
    #: Why no version can be added, if so.
    obstacle: str | None = None
    #: In the names of new files.
    commit_id: str = field(default_factory=lambda: str(uuid.uuid4()), compare=False)

    def refuse_in_place(self) -> UsageError | None:
        if self.obstacle is None:
            return None
        return UsageError(
            f"no version with more columns can be added to the {TITLE} `{self.root}`: {self.obstacle}",
            hint="write elsewhere with `--output` or `--sidecar`",
        )

    def successor(self, path: Path) -> Path:
        return path.with_name(f"part-{self.numbers[path]:05d}-{self.commit_id}-c000.parquet")

    def publish(self, new_files: Mapping[Path, Path], columns: Mapping[str, str]) -> None:
        commit(self.root, self.version, new_files, columns)


def read(root: Path) -> DeltaTable:
    """The newest version of the table at `root`."""
    opened = open_table(root)
    files = live_files(root, opened)
    _check_readable(root, opened, files)
    check_files(TITLE, root, list(files))
    added = commits(root)

    def place(path: Path) -> tuple[object, ...]:
        """What only a checkpoint knows is older, and has its time."""
        version = added.get(files[path].path, -1)
        return version, files[path].modified_ms if version < 0 else 0, part_number(path), natural_key(path)

    ordered = tuple(sorted(files, key=place))
    version = opened.version()
    return DeltaTable(
        root,
        f"{TITLE} (version {version})",
        (ordered,),
        "delta",
        {path: _constants(files[path].partition) for path in ordered},
        version=version,
        obstacle=_obstacle(opened, files),
    )


def _check_readable(root: Path, opened: Any, files: Mapping[Path, Action]) -> None:
    """Refuse what is in a file otherwise than in the table."""
    if _configuration(opened).get("delta.columnMapping.mode", "none") != "none":
        raise UsageError(
            f"the {TITLE} `{root}` maps its columns: their names in the files are others than in the table",
            hint="write it anew without `delta.columnMapping.mode`, or export it, and read that",
        )
    if has_deletion_vectors(root, opened, sum(action.num_rows for action in files.values())):
        raise UsageError(
            f"rows of the {TITLE} `{root}` were deleted by deletion vectors, and are still in its files",
            hint="`REORG TABLE … APPLY (PURGE)` takes them out, or export the table and read that",
        )


def _obstacle(opened: Any, files: Mapping[Path, Action]) -> str | None:
    if _configuration(opened).get("delta.appendOnly", "false").lower() == "true":
        return "it is append-only (`delta.appendOnly`)"
    try:
        for action in files.values():
            for value in action.partition.values():
                partition_text(value)
    except ValueError as error:
        return f"it is partitioned by a column of type {error}"
    return None


def _configuration(opened: Any) -> Mapping[str, str]:
    return opened.metadata().configuration or {}


def _constants(partition: Mapping[str, Any]) -> dict[str, int | str | None]:
    return {name: _constant(value) for name, value in partition.items()}


def _constant(value: Any) -> int | str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return int(value)
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
