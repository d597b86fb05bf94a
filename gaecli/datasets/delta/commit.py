"""A new version of a Delta table: files with more columns take the place of those that are live, in one commit.

The files are ours, spliced, so that rows, their order and their bytes stay; the commit is `deltalake`'s, so that
protocol, table features and checkpoints are its business. Not `write_deltalake(mode="overwrite")`: that would
read the whole table into Arrow, and write its rows anew in an order of its own.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from gaecli.datasets.delta.log import TITLE, Action, commits, live_files, open_table, told
from gaecli.errors import FileError


def commit(root: Path, version: int, new_files: Mapping[Path, Path], columns: Collection[str]) -> None:
    """Version `version + 1`: `new_files` for the old ones, with `columns` in the schema.

    Raises:
        FileError: if somebody else has committed since `version`, or the log cannot be written. Nothing of
            this commit is in the log then: what fails after it is in there, such as a checkpoint, raises nothing.
    """
    import deltalake
    import pyarrow.parquet as pq
    from deltalake.transaction import AddAction, CommitProperties

    table = open_table(root, version)
    actions = live_files(root, table)
    now = time.time_ns() // 1_000_000
    adds = [
        AddAction(
            path=new.relative_to(root).as_posix(),  # which `deltalake` spells as the log does
            size=new.stat().st_size,
            partition_values={name: partition_text(value) for name, value in actions[old].partition.items()},
            modification_time=now,
            data_change=True,
            stats=json.dumps(_statistics(actions[old], columns), allow_nan=False),
        )
        for old, new in new_files.items()
    ]
    with told(root, "written"):
        added = pq.read_schema(next(iter(new_files.values())))
        schema = _with_columns(table.schema(), added, columns)
        partition_by = table.metadata().partition_columns
    # No retry: what somebody has committed meanwhile was not looked at here.
    properties = CommitProperties(max_commit_retries=0, custom_metadata={"gaecli": ",".join(columns)})
    try:
        with told(root, "written"):
            table.create_write_transaction(
                adds, "overwrite", schema, partition_by, commit_properties=properties
            )
    except FileError as error:
        if _is_in_log(root, new_files.values()):
            return
        with told(root, "read"):
            newest = deltalake.DeltaTable(str(root.absolute())).version()
        if newest > version:
            raise FileError(
                f"somebody else committed version {newest} of the {TITLE} `{root}` meanwhile; nothing was written",
                hint="run the command again: it reads that version",
            ) from error
        raise


def _is_in_log(root: Path, files: Iterable[Path]) -> bool:
    """Whether a commit has added one of these files, whose names nobody else has; they come together."""
    names = {path.name for path in files}
    return any(unquote(path.rpartition("/")[2]) in names for path in commits(root))


def partition_text(value: Any) -> str | None:
    """As the log spells it; `ValueError` for types whose spelling differs between writers."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, date) and not isinstance(value, datetime)):
        return str(value)
    raise ValueError(type(value).__name__)


def _with_columns(old: Any, added: Any, columns: Collection[str]) -> Any:
    import deltalake
    import pyarrow as pa

    new = deltalake.Schema.from_arrow(pa.schema([added.field(name) for name in columns]))
    by_name = {field.name: field for field in new.fields}
    kept = [by_name.pop(field.name, field) for field in old.fields]
    return deltalake.Schema([*kept, *by_name.values()])


def _statistics(action: Action, columns: Collection[str]) -> dict[str, Any]:
    """What the log says of the cells of the old file, as far as JSON has one way to say it."""
    return {
        "numRecords": action.num_rows,
        "minValues": _plain(action.lowest, columns),
        "maxValues": _plain(action.highest, columns),
        "nullCount": _plain(action.nulls, columns),
    }


def _plain(values: Mapping[str, Any], left_out: Collection[str] = ()) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name in left_out:
            continue
        if isinstance(value, Mapping):
            found[name] = _plain(value)
        elif isinstance(value, date) and not isinstance(value, datetime):
            found[name] = value.isoformat()
        elif isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
            found[name] = value
    return found
