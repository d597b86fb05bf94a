"""Labels as rows of `language_persistent`, the column in which LeRobot keeps what is said of its frames.

Each cell is a list of rows, role, content, style, timestamp, camera and tool_calls, of which the one of a style is
in force that has the latest timestamp up to the frame's own. The column and its rows are those of lerobot 0.6.1
(datasets/language.py), the style `advantage` that of huggingface/lerobot refs/pull/3764 2aa7f60
(annotations/steerable_pipeline/modules/advantage.py): role `user`, content `positive` or `negative`, camera and
tool_calls null. That tool puts the rows of all frames of an episode into each of its frames, which grows with the
square of its length; here each frame has its own row, which is what `active_at` finds there in either case.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gaecli.array_types import IndexArray
from gaecli.errors import DataError, UsageError
from gaecli.formats.base import OutputColumn
from gaecli.names import LANGUAGE

#: Rows that are put together at once: a cell may hold all that was said in its episode.
PIECE_ROWS = 1 << 13
TIMESTAMP = "timestamp"
STYLE = "advantage"
#: A row as lerobot 0.6.1 has it; `tool_calls` holds JSON.
_ROW = pa.struct(
    [
        ("role", pa.string()),
        ("content", pa.string()),
        ("style", pa.string()),
        ("timestamp", pa.float32()),
        ("camera", pa.string()),
        ("tool_calls", pa.list_(pa.string())),
    ]
)
#: Without these a row is none of LeRobot's.
_NEEDED = ("role", "content", "style", "timestamp")


def language_type(schema: pa.Schema, path: Path) -> pa.DataType:
    """Of the new column: as that which is there, with room for texts where it never had one."""
    if TIMESTAMP not in schema.names or not pa.types.is_floating(schema.field(TIMESTAMP).type):
        raise UsageError(
            f"`{path}` has no numbers `{TIMESTAMP}`, by which rows of `{LANGUAGE}` say of which frame they are",
            hint="take `--label-type text` for a column of texts",
        )
    if LANGUAGE not in schema.names:
        return pa.list_(_ROW)
    kind = schema.field(LANGUAGE).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    item = kind.value_type if is_list else kind
    if is_list and pa.types.is_null(item):
        return pa.list_(_ROW)
    names = [field.name for field in item] if pa.types.is_struct(item) else []
    if not is_list or any(name not in names for name in _NEEDED):
        raise UsageError(
            f"`{LANGUAGE}` of `{path}` is {kind}: it holds no rows as LeRobot has them ({', '.join(_ROW.names)})",
            hint="take `--label-type text` for a column of texts",
        )
    fields = [
        pa.field(field.name, _ROW.field(field.name).type, metadata=field.metadata)
        if pa.types.is_null(field.type) and field.name in _NEEDED
        else field
        for field in item
    ]
    row = pa.struct(fields)
    return pa.large_list(row) if pa.types.is_large_list(kind) else pa.list_(row)


class LanguageRows:
    """Takes labels in the order of the rows of a file, and gives the cells with them.

    Args:
        path: the file, whose own rows are kept but for those of this style.
        kind: as `language_type` has it.
        replaces: rows of this style may be of somebody else.
    """

    def __init__(self, path: Path, kind: pa.DataType, *, has_rows: bool, replaces: bool) -> None:
        self._path, self._kind, self._replaces = path, kind, replaces
        self._stored = StoredColumns(path, [TIMESTAMP, *([LANGUAGE] if has_rows else [])])

    def pieces(self, num_rows: int) -> Iterator[slice]:
        """How many rows at a time are to be handed over."""
        return (slice(start, start + PIECE_ROWS) for start in range(0, num_rows, PIECE_ROWS))

    def cells(self, labels: OutputColumn) -> pa.Array:
        num_rows = len(labels.values)
        stored = self._stored.take(num_rows)
        times = stored.column(TIMESTAMP).combine_chunks()
        texts = pa.array(labels.values.astype(object), pa.string())
        has_label = np.ones(num_rows, np.bool_) if labels.is_null is None else ~labels.is_null
        if times.null_count:
            raise DataError(f"`{TIMESTAMP}` of `{self._path}` is null in a row that gets a label")
        row = self._kind.value_type
        own = self._own(row, texts.filter(pa.array(has_label)), times.filter(pa.array(has_label)))
        others, counts = self._others(stored, row, num_rows)
        offsets = np.concatenate(([0], np.cumsum(counts + has_label)))
        order = np.empty(offsets[-1], np.int64)
        places_of_own = (offsets[1:] - 1)[has_label]  # behind all others
        is_own = np.zeros(offsets[-1], np.bool_)
        is_own[places_of_own] = True
        order[~is_own] = np.arange(len(others))
        order[is_own] = len(others) + np.arange(len(own))
        rows = pa.concat_arrays([others, own]).take(pa.array(order))
        made: pa.Array
        if pa.types.is_large_list(self._kind):
            made = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), rows, type=self._kind)
        else:
            made = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), rows, type=self._kind)
        return made

    def _own(self, row: pa.StructType, texts: pa.Array, times: pa.Array) -> pa.Array:
        given: dict[str, pa.Array] = {
            "role": pa.array(["user"] * len(texts), pa.string()),
            "content": texts,
            "style": pa.array([STYLE] * len(texts), pa.string()),
            "timestamp": times,
        }
        columns = [
            given[field.name].cast(field.type) if field.name in given else pa.nulls(len(texts), field.type)
            for field in row
        ]
        return pa.StructArray.from_arrays(columns, fields=list(row))

    def _others(self, stored: pa.Table, row: pa.StructType, num_rows: int) -> tuple[pa.Array, IndexArray]:
        """(rows of other styles, how many of them each frame has)."""
        if LANGUAGE not in stored.column_names:
            return pa.nulls(0, row), np.zeros(num_rows, np.int64)
        cells = stored.column(LANGUAGE).combine_chunks()
        lengths = pc.fill_null(pc.list_value_length(cells), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        rows = cells.flatten()
        if pa.types.is_null(rows.type):
            rows = pa.nulls(len(rows), row)
        styles = rows.field("style") if not rows.null_count else pc.struct_field(rows, "style")
        is_own = pc.fill_null(pc.equal(styles.cast(pa.string()), STYLE), False).to_numpy(zero_copy_only=False)
        if is_own.any() and not self._replaces:
            raise UsageError(
                f"`{LANGUAGE}` of `{self._path}` has rows of the style `{STYLE}` already, which carry no mark of "
                "gaecli's",
                hint="pass `--overwrite` to replace them; rows of other styles are kept either way",
            )
        kept = rows.filter(pa.array(~is_own))
        frames = np.repeat(np.arange(num_rows), lengths)
        counts = np.bincount(frames[~is_own], minlength=num_rows).astype(np.int64)
        return _as(kept, row), counts


def _as(rows: pa.Array, row: pa.StructType) -> pa.Array:
    """The same rows, with room for texts where all were null."""
    if rows.type == row:
        return rows
    valid = pc.is_null(rows) if rows.null_count else None
    columns = [
        pc.struct_field(rows, field.name).cast(field.type)
        if rows.type.field(field.name).type != field.type
        else pc.struct_field(rows, field.name)
        for field in row
    ]
    return pa.StructArray.from_arrays(columns, fields=list(row), mask=valid)


class StoredColumns:
    """Columns of a file, so many rows at a time."""

    def __init__(self, path: Path, names: list[str]) -> None:
        self._batches = self._read(path, names)
        self._rest: pa.Table | None = None

    def _read(self, path: Path, names: list[str]) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            yield from file.iter_batches(PIECE_ROWS, columns=names, use_threads=False)

    def take(self, num_rows: int) -> pa.Table:
        parts: list[pa.Table] = [] if self._rest is None else [self._rest]
        there = sum(part.num_rows for part in parts)
        while there < num_rows or not parts:
            batch: Any = next(self._batches)
            parts.append(pa.Table.from_batches([batch]))
            there += batch.num_rows
        table = pa.concat_tables(parts)
        self._rest = table.slice(num_rows)
        return table.slice(0, num_rows)
