"""Sidecars: keys and new columns in a Parquet file of their own; the input is not touched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gaecli.formats.arrow import output_array, output_type
from gaecli.formats.base import Column, OutputColumn, RolloutFile, Unit, WritePlan

PROVENANCE_KEY = b"gaecli"
#: Roles whose columns say which row this is.
KEY_ROLES = ("env", "episode", "step")
#: The row number, where no key column does.
ROW_COLUMN = "row"


class SidecarOutput:
    """Rows in the order of the input: its key columns, else the row number; then the new columns."""

    method = "sidecar"

    def __init__(
        self,
        source: RolloutFile,
        key_columns: Sequence[str],
        units: Sequence[Unit],
        rows_per_block: int,
        temporary: Path,
        plan: WritePlan,
    ) -> None:
        self._source = source
        self._temporary = temporary
        self._plan = plan
        self._keys = tuple(key_columns)
        self._key_blocks = self._read_keys(units, rows_per_block)
        self._writer: pq.ParquetWriter | None = None
        self._schema: pa.Schema | None = None
        self._row = 0

    def write(self, columns: Mapping[str, OutputColumn]) -> None:
        named = {name: columns[name] for name in self._plan.new_columns}
        first = next(iter(named.values()))
        num_rows = len(first.values) if first.offsets is None else len(first.offsets) - 1
        arrays = self._key_arrays(num_rows)
        like = pa.list_(pa.float32()) if first.offsets is not None else None
        for name, column in named.items():
            arrays[name] = output_array(column, output_type(pa.from_numpy_dtype(column.values.dtype), like))
        batch = pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))
        if self._writer is None:
            self._schema = batch.schema
            self._writer = pq.ParquetWriter(self._temporary, batch.schema)
        self._writer.write_batch(batch)

    def finish(self, provenance: dict[str, Any]) -> None:
        if self._writer is None:
            schema = pa.schema(
                [pa.field(name, pa.from_numpy_dtype(t)) for name, t in self._plan.new_columns.items()]
            )
            self._writer = pq.ParquetWriter(self._temporary, schema)
        stored = {**provenance, "payload": ""}
        self._writer.add_key_value_metadata({PROVENANCE_KEY: json.dumps(stored, allow_nan=False).encode()})
        self._writer.close()

    def abort(self) -> None:
        # Not closed: closing would complete the file.
        self._temporary.unlink(missing_ok=True)

    def _read_keys(self, units: Sequence[Unit], rows_per_block: int) -> Iterator[dict[str, Column]]:
        if not self._keys:
            return
        for unit in units:
            for _, _, columns in self._source.blocks(unit, self._keys, rows_per_block):
                yield columns

    def _key_arrays(self, num_rows: int) -> dict[str, pa.Array]:
        if not self._keys:
            rows = np.arange(self._row, self._row + num_rows)
            self._row += num_rows
            return {ROW_COLUMN: output_array(OutputColumn(rows), pa.int64())}
        columns = next(self._key_blocks)
        return {name: _key_array(column) for name, column in columns.items()}


def _key_array(column: Column) -> pa.Array:
    if column.categories is not None:
        codes = output_array(OutputColumn(column.values, column.is_null), pa.int64())
        return pa.DictionaryArray.from_arrays(codes, pa.array(column.categories)).dictionary_decode()
    return output_array(OutputColumn(column.values, column.is_null), pa.from_numpy_dtype(column.values.dtype))
