"""Delta tables: `_delta_log/` says which files are live, and what their partition columns hold.

The log is read by `deltalake`. A table has no order of rows; here its files come in the order of the commits that
added them, so that what was appended later comes later; those of one commit by the number in their names, then by
partition.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from gaecli.datasets.base import natural_key
from gaecli.datasets.tables import (
    MAX_FILES,
    MAX_LOG_BYTES,
    Table,
    check_files,
    own_path,
    part_number,
    too_large,
)
from gaecli.errors import FileError, GaeError, MissingExtraError, UsageError

_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint.*")
_TITLE = "Delta table"
#: A row of a checkpoint is an action; files that were removed stay for a while.
_MAX_ACTIONS = 2_000_000
#: A deletion vector comes as a byte per row that the log claims.
_MAX_ROWS_WITH_VECTORS = 1_000_000_000


@dataclass(frozen=True)
class DeltaTable(Table):
    """The live files of a version."""

    version: int = 0

    def refuse_in_place(self) -> UsageError | None:
        return UsageError(
            f"`{self.root}` is a {_TITLE}: its log tells the size of every file, and readers fail at one that grew",
            hint="write elsewhere with `--output` or `--sidecar`",
        )


def read(root: Path) -> DeltaTable:
    """The newest version of the table at `root`."""
    opened = open_table(root)
    actions = _live_actions(root, opened)
    _check_readable(root, opened, sum(action.get("num_records") or 0 for action in actions))
    files = {own_path(root, unquote(action["path"]), _TITLE): action for action in actions}
    if len(files) < len(actions):
        raise FileError(f"the log of the {_TITLE} `{root}` names a file twice")
    check_files(_TITLE, root, list(files))
    commits = _commits(root)

    def place(path: Path) -> tuple[object, ...]:
        """By the commit that added it. What only a checkpoint knows is older, and has its time."""
        version = commits.get(files[path]["path"], -1)
        time = files[path]["modification_time"] if version < 0 else 0
        return version, time, part_number(path), natural_key(path)

    ordered = tuple(sorted(files, key=place))
    partitions = {path: _constants(files[path].get("partition") or {}) for path in ordered}
    version = opened.version()
    return DeltaTable(root, f"{_TITLE} (version {version})", (ordered,), "delta", partitions, version=version)


def open_table(root: Path, version: int | None = None) -> Any:
    """The table as `deltalake` has it."""
    try:
        import deltalake
    except ImportError as error:
        raise MissingExtraError(
            f"`{root}` is a {_TITLE}: which of its files are live, only `deltalake` can read",
            hint="pip install 'gaecli[delta]'",
        ) from error
    _check_log(root)
    with told(root, "read"):
        return deltalake.DeltaTable(str(root.absolute()), version=version)


@contextlib.contextmanager
def told(root: Path, doing: str) -> Iterator[None]:
    """What goes wrong in `deltalake`, in words. It raises what it likes, panics among it."""
    try:
        yield
    except (GaeError, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:
        line = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise FileError(
            f"the log of the {_TITLE} `{root}` cannot be {doing}: {line}",
            hint="repair or restore the table; `deltalake` says this of it",
        ) from error


def _check_log(root: Path) -> None:
    """Bounds, before a library that has none reads all of it into memory."""
    import pyarrow.parquet as pq

    log = root / "_delta_log"
    checkpoints = [path for path in log.iterdir() if _CHECKPOINT.fullmatch(path.name)]
    newest = max((path.name[:20] for path in checkpoints), default="")
    commits = [path for path in log.iterdir() if _COMMIT.fullmatch(path.name) and path.name[:20] >= newest]
    num_bytes = sum(path.stat().st_size for path in [*commits, *checkpoints])
    num_actions = 0
    parts = [path for path in checkpoints if path.name[:20] == newest]
    for path in (*parts, *log.glob("_sidecars/*.parquet")):
        if path.suffix != ".parquet":
            continue
        with told(root, "read"):
            footer = pq.read_metadata(path)
        num_actions += footer.num_rows
        num_bytes += sum(footer.row_group(index).total_byte_size for index in range(footer.num_row_groups))
    if num_bytes > MAX_LOG_BYTES or num_actions > _MAX_ACTIONS:
        raise too_large(_TITLE, root)


def _check_readable(root: Path, opened: Any, num_rows: int) -> None:
    """Refuse what is in a file otherwise than in the table."""
    import pyarrow as pa

    configuration: Mapping[str, str] = opened.metadata().configuration or {}
    if configuration.get("delta.columnMapping.mode", "none") != "none":
        raise UsageError(
            f"the {_TITLE} `{root}` maps its columns: their names in the files are others than in the table",
            hint="write it anew without `delta.columnMapping.mode`, or export it, and read that",
        )
    if "deletionVectors" not in (opened.protocol().reader_features or ()):
        return
    if num_rows > _MAX_ROWS_WITH_VECTORS:
        raise too_large(_TITLE, root)
    with told(root, "read"):
        deleted = pa.RecordBatchReader.from_stream(opened.deletion_vectors())
        has_deletes = any(batch.num_rows for batch in deleted)
    if has_deletes:
        raise UsageError(
            f"rows of the {_TITLE} `{root}` were deleted by deletion vectors, and are still in its files",
            hint="`REORG TABLE … APPLY (PURGE)` takes them out, or export the table and read that",
        )


def _live_actions(root: Path, opened: Any) -> list[dict[str, Any]]:
    import pyarrow as pa

    with told(root, "read"):
        actions = pa.table(opened.get_add_actions(flatten=False))
    if actions.num_rows > MAX_FILES:
        raise too_large(_TITLE, root)
    found: list[dict[str, Any]] = actions.to_pylist()
    return found


def _commits(root: Path) -> dict[str, int]:
    """File, as the log spells it -> the version that added it, as far as the commits are still there."""
    commits: dict[str, int] = {}
    for path in sorted((root / "_delta_log").iterdir()):
        if (match := _COMMIT.fullmatch(path.name)) is None or path.stat().st_size > MAX_LOG_BYTES:
            continue
        with contextlib.suppress(OSError, ValueError, RecursionError), path.open("rb") as lines:
            for line in lines:
                action = json.loads(line) if b'"add"' in line else None
                added = action.get("add") if isinstance(action, dict) else None
                if isinstance(added, dict) and isinstance(added.get("path"), str):
                    commits[added["path"]] = int(match[1])
    return commits


def _constants(partition: Mapping[str, Any]) -> dict[str, int | str | None]:
    return {name: _constant(value) for name, value in partition.items()}


def _constant(value: Any) -> int | str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return int(value)
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
