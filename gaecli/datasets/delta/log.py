"""The log of a Delta table, as `deltalake` reads it, within bounds and with what is in it checked."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from gaecli.datasets.tables import MAX_FILES, MAX_LOG_BYTES, own_path, too_large
from gaecli.errors import FileError, GaeError, MissingExtraError, first_line
from gaecli.records import dataclass

TITLE = "Delta table"
_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint.*")
#: A row of a checkpoint is an action; files that were removed stay for a while.
_MAX_ACTIONS = 2_000_000
#: A deletion vector comes as a byte per row that the log claims.
_MAX_ROWS_WITH_VECTORS = 1_000_000_000


@dataclass(frozen=True)
class Action:
    """What the log says of one live file."""

    path: str
    modified_ms: int
    num_rows: int
    partition: Mapping[str, Any]
    lowest: Mapping[str, Any]
    highest: Mapping[str, Any]
    nulls: Mapping[str, Any]


def open_table(root: Path, version: int | None = None) -> Any:
    """The table as `deltalake` has it; the newest version unless one is asked for."""
    try:
        import deltalake
    except ImportError as error:
        raise MissingExtraError(
            f"`{root}` is a {TITLE}: which of its files are live, only `deltalake` can read",
            hint="pip install 'gaecli[delta]'",
        ) from error
    _check_size(root)
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
        line = first_line(error)[:300]
        raise FileError(
            f"the log of the {TITLE} `{root}` cannot be {doing}: {line}",
            hint="this is what `deltalake` says of it; write elsewhere with `--output`"
            if doing == "written"
            else "this is what `deltalake` says of it; restore or repair the table",
        ) from error


def live_files(root: Path, table: Any) -> dict[Path, Action]:
    """File -> what the log says of it."""
    import pyarrow as pa

    with told(root, "read"):
        found = pa.table(table.get_add_actions(flatten=False))
    if found.num_rows > MAX_FILES:
        raise too_large(TITLE, root)
    actions = [_action(row) for row in found.to_pylist()]
    files = {own_path(root, unquote(action.path), TITLE): action for action in actions}
    if len(files) < len(actions):
        raise FileError(f"the log of the {TITLE} `{root}` names a file twice")
    return files


def has_deletion_vectors(root: Path, table: Any, num_rows: int) -> bool:
    import pyarrow as pa

    if "deletionVectors" not in (table.protocol().reader_features or ()):
        return False
    if num_rows > _MAX_ROWS_WITH_VECTORS:
        raise too_large(TITLE, root)
    with told(root, "read"):
        deleted = pa.RecordBatchReader.from_stream(table.deletion_vectors())
        return any(batch.num_rows for batch in deleted)


def commits(root: Path) -> dict[str, int]:
    """File, as the log spells it -> the version that added it, as far as the commits are still there."""
    found: dict[str, int] = {}
    for path in sorted((root / "_delta_log").iterdir()):
        if (match := _COMMIT.fullmatch(path.name)) is None or path.stat().st_size > MAX_LOG_BYTES:
            continue
        with contextlib.suppress(OSError, ValueError, RecursionError), path.open("rb") as lines:
            for line in lines:
                action = json.loads(line) if b'"add"' in line else None
                added = action.get("add") if isinstance(action, dict) else None
                if isinstance(added, dict) and isinstance(added.get("path"), str):
                    found[added["path"]] = int(match[1])
    return found


def _action(row: Mapping[str, Any]) -> Action:
    return Action(
        str(row["path"]),
        int(row["modification_time"] or 0),
        int(row.get("num_records") or 0),
        row.get("partition") or {},
        row.get("min") or {},
        row.get("max") or {},
        row.get("null_count") or {},
    )


def _check_size(root: Path) -> None:
    """Bounds, before a library that has none reads all of it into memory."""
    import pyarrow.parquet as pq

    log = root / "_delta_log"
    checkpoints = [path for path in log.iterdir() if _CHECKPOINT.fullmatch(path.name)]
    newest = max((path.name[:20] for path in checkpoints), default="")
    later = [path for path in log.iterdir() if _COMMIT.fullmatch(path.name) and path.name[:20] >= newest]
    num_bytes = sum(path.stat().st_size for path in [*later, *checkpoints])
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
        raise too_large(TITLE, root)
