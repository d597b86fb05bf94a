"""Sidecars: keys and new columns in a Parquet file of their own; the input is not touched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gaecli.formats.arrow.columns import output_array, output_type
from gaecli.formats.base import Column, OutputColumn, RolloutFile, Unit, WritePlan
from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.footer import MAGIC, FileMetaData, fingerprint, read_open_footer
from gaecli.formats.parquet.keys import to_thrift
from gaecli.formats.parquet.mark import with_marked_columns
from gaecli.formats.stored import PROVENANCE_KEY

#: The row number, where no key column does.
ROW_COLUMN = "row"


class SidecarOutput:
    """Rows in the order of the input, or of several: key columns, else the row number; then the new columns."""

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
        self._keys = _KeyRows(source, key_columns, units, rows_per_block) if key_columns else None
        self._writer: pq.ParquetWriter | None = None
        self._row = 0

    def go_on(self, source: RolloutFile, units: Sequence[Unit]) -> None:
        """The rows of one more file of the same stream follow."""
        if self._keys is not None:
            self._keys.go_on(source, units)

    def write(self, columns: Mapping[str, OutputColumn]) -> None:
        named = {name: columns[name] for name in self._plan.new_columns}
        first = next(iter(named.values()))
        num_rows = len(first.values) if first.offsets is None else len(first.offsets) - 1
        arrays = self._key_arrays(num_rows)
        like = pa.list_(pa.float32()) if first.offsets is not None else None
        for name, column in named.items():
            item = pa.from_numpy_dtype(self._plan.new_columns[name])
            arrays[name] = output_array(column, output_type(item, like))
        table = pa.Table.from_arrays(list(arrays.values()), names=list(arrays))
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._temporary, table.schema)
        self._writer.write_table(table)

    def finish(self, provenance: dict[str, Any] | None) -> None:
        assert provenance is not None
        if self._writer is None:
            schema = pa.schema(
                [pa.field(name, pa.from_numpy_dtype(t)) for name, t in self._plan.new_columns.items()]
            )
            self._writer = pq.ParquetWriter(self._temporary, schema)
        self._writer.close()
        _sign(self._temporary, tuple(self._plan.new_columns), provenance)

    def abort(self) -> None:
        # Not closed: closing would complete the file.
        self._temporary.unlink(missing_ok=True)

    def _key_arrays(self, num_rows: int) -> dict[str, pa.Array | pa.ChunkedArray]:
        if self._keys is not None:
            return self._keys.take(num_rows)
        rows = np.arange(self._row, self._row + num_rows)
        self._row += num_rows
        return {ROW_COLUMN: output_array(OutputColumn(rows), pa.int64())}


class _KeyRows:
    """The key columns of a file, in as many rows at a time as are asked for."""

    def __init__(
        self, source: RolloutFile, names: Sequence[str], units: Sequence[Unit], rows_per_block: int
    ) -> None:
        self._names = tuple(names)
        self._sources = [(source, units)]
        self._tables = self._read(rows_per_block)
        self._pending: pa.Table | None = None

    def take(self, num_rows: int) -> dict[str, pa.Array | pa.ChunkedArray]:
        while self._pending is None or self._pending.num_rows < num_rows:
            table = next(self._tables)
            if self._pending is not None:
                table = pa.concat_tables([self._pending, table.cast(self._pending.schema)])
            self._pending = table
        taken, self._pending = self._pending.slice(0, num_rows), self._pending.slice(num_rows)
        return {name: taken.column(name) for name in self._names}

    def go_on(self, source: RolloutFile, units: Sequence[Unit]) -> None:
        self._sources.append((source, units))

    def _read(self, rows_per_block: int) -> Iterator[pa.Table]:
        for source, units in self._sources:  # which may grow meanwhile
            for unit in units:
                for _, _, columns in source.blocks(unit, self._names, rows_per_block):
                    arrays = [_key_array(columns[name]) for name in self._names]
                    yield pa.Table.from_arrays(arrays, names=list(self._names))


def _key_array(column: Column) -> pa.Array:
    if column.coded is not None:
        column = column.coded()
    if column.categories is not None:
        codes = output_array(OutputColumn(column.values, column.is_null), pa.int64())
        labels = _labels(column.categories)
        if pa.types.is_null(labels.type):
            labels = labels.cast(pa.string())
        return pa.DictionaryArray.from_arrays(codes, labels).dictionary_decode()
    return output_array(OutputColumn(column.values, column.is_null), pa.from_numpy_dtype(column.values.dtype))


def _labels(categories: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(categories)
    except OverflowError:  # whole numbers of more than 64 bits
        return pa.array([None if label is None else Decimal(label) for label in categories])


def _sign(path: Path, own_columns: Sequence[str], provenance: dict[str, Any]) -> None:
    """Put provenance and fingerprint into a finished file: they say what is in it, so they come last."""
    with path.open("r+b") as file:
        footer = read_open_footer(file, str(path))
        document = {**provenance, "payload": fingerprint(footer, own_columns)}
        text = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
        tree = with_marked_columns(footer, own_columns)
        tree.put(
            FileMetaData.KEY_VALUE_METADATA, thrift.LIST, to_thrift({**footer.pairs, PROVENANCE_KEY: text})
        )
        encoded = thrift.encode(tree)
        file.seek(footer.start)
        file.write(encoded + len(encoded).to_bytes(4, "little") + MAGIC)
        file.truncate()
