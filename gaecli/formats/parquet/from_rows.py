"""Rows of another format as a Parquet file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gaecli.formats.rows import Rows
from gaecli.formats.stored import PROVENANCE_KEY

#: Of a row group, whichever comes first.
_GROUP_ROWS, _GROUP_BYTES = 1 << 20, 64 << 20


def unfit(data_type: pa.DataType) -> str | None:
    try:
        with pq.ParquetWriter(io.BytesIO(), pa.schema([pa.field("x", data_type)])):
            return None
    except (pa.ArrowException, ValueError, OSError):  # the last of decimals with a negative scale
        return f"has a type that Parquet has not ({data_type})"


def write_rows(rows: Rows, path: Path) -> None:
    schema = rows.schema.with_metadata(
        {key: value for key, value in (rows.schema.metadata or {}).items() if key != PROVENANCE_KEY}
    )
    with pq.ParquetWriter(path, schema) as writer:
        for table in _groups(rows):
            writer.write_table(table, row_group_size=max(table.num_rows, 1))


def _groups(rows: Rows) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for table in rows.tables(rows.schema.names):
        waiting.append(table)
        num_rows = sum(one.num_rows for one in waiting)
        if num_rows >= _GROUP_ROWS or sum(one.nbytes for one in waiting) >= _GROUP_BYTES:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)
