"""Rows of another format as an Arrow IPC file, which has one dictionary for each column: values are written out."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from gaecli.formats.rows import Rows
from gaecli.formats.stored import PROVENANCE_KEY


def unfit(data_type: pa.DataType) -> str | None:
    return None


def write_rows(rows: Rows, path: Path) -> None:
    metadata = {key: value for key, value in (rows.schema.metadata or {}).items() if key != PROVENANCE_KEY}
    schema = pa.schema([_plain(field) for field in rows.schema], metadata=metadata)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for table in rows.tables(schema.names):
            writer.write_table(table.cast(schema))


def _plain(field: pa.Field) -> pa.Field:
    return field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
