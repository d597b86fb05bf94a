"""Parquet: a copy of a file with new columns, or the new columns of some row groups alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from gaecli.array_types import FloatArray
from gaecli.formats.arrow.columns import output_array, output_type, type_of
from gaecli.formats.base import OutputColumn, WritePlan
from gaecli.formats.parquet.splice import SOURCE_FOOTER, ParquetAppender
from gaecli.formats.stored import PROVENANCE_KEY, own_entries
from gaecli.names import LANGUAGE

if TYPE_CHECKING:
    from gaecli.formats.parquet.language import LanguageRows


class ParquetSource(Protocol):
    """The file that is copied, as it was opened."""

    path: Path
    schema: pa.Schema

    @property
    def provenance(self) -> dict[str, Any] | None: ...

    @property
    def payload_end(self) -> Any: ...


class ParquetOutput:
    """A copy of a Parquet file with new columns, under a temporary name."""

    def __init__(self, source: ParquetSource, temporary: Path, plan: WritePlan) -> None:
        kinds = _kinds(source, plan)
        self._language: LanguageRows | None = None
        if plan.is_language:
            from gaecli.formats.parquet.language import LanguageRows, language_type

            kinds[LANGUAGE] = language_type(source.schema, source.path)
            self._language = LanguageRows(
                source.path,
                kinds[LANGUAGE],
                has_rows=LANGUAGE in source.schema.names,
                replaces=plan.replaces_labels or LANGUAGE in plan.own_columns,
            )
        self._schema = _schema(kinds, plan)
        self._appender = ParquetAppender(
            source.path,
            temporary,
            self._schema,
            drop_columns=plan.drop_columns,
            own_columns=plan.own_columns,
            payload_end=source.payload_end,
            leaves_head=plan.leaves_head,
            replaces_source=plan.replaces_source,
            has_parts=plan.has_parts,
        )
        self.method, self.left_out = self._appender.method, self._appender.left_out
        self._source_footer = self._appender.source_footer or _noted_footer(
            source, self._appender.payload_end
        )
        self._payload = self._appender.payload_fingerprint(plan.kept_own_columns)

    def write(self, columns: Mapping[str, OutputColumn]) -> None:
        if self._language is None:
            self._appender.write(_batch(columns, self._schema))
            return
        for which in self._language.pieces(len(columns[LANGUAGE].values)):
            piece = {name: column.rows(which) for name, column in columns.items()}
            arrays = [
                self._language.cells(piece[field.name])
                if field.name == LANGUAGE
                else output_array(piece[field.name], field.type)
                for field in self._schema
            ]
            self._appender.write(pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def place(self, part: Path, *, leaves_pages: bool) -> None:
        self._appender.place(part, leaves_pages=leaves_pages)

    def finish(self, provenance: dict[str, Any] | None) -> None:
        assert provenance is not None
        stored = {**provenance, "payload": self._payload, "payload_end": self._appender.payload_end}
        if self._source_footer is not None:
            stored[SOURCE_FOOTER] = self._source_footer
        text = json.dumps(stored, allow_nan=False, separators=(",", ":"))
        self._appender.finish({PROVENANCE_KEY.decode(): text})

    def abort(self) -> None:
        self._appender.abort()


class ParquetPart:
    """The new columns of some row groups alone."""

    method = "part"

    def __init__(self, source: ParquetSource, temporary: Path, plan: WritePlan) -> None:
        self.numbers: FloatArray = np.zeros(0)
        self._schema = _schema(_kinds(source, plan), plan)
        from gaecli.formats.parquet.parts import RowGroupsWriter

        self._writer = RowGroupsWriter(source.path, temporary, self._schema, plan.row_groups)

    def write(self, columns: Mapping[str, OutputColumn]) -> None:
        self._writer.write(_batch(columns, self._schema))

    def finish(self, provenance: dict[str, Any] | None) -> None:
        self._writer.finish(self.numbers)  # what tells of the columns goes into the whole file

    def abort(self) -> None:
        self._writer.abort()


def _noted_footer(source: ParquetSource, payload_end: int) -> str | None:
    """What an earlier run noted of the file that ends there, whose columns stand behind it."""
    noted = (entry for entry in own_entries(source.provenance) if entry.get("payload_end") == payload_end)
    return next((digest for entry in noted if isinstance(digest := entry.get(SOURCE_FOOTER), str)), None)


def _kinds(source: ParquetSource, plan: WritePlan) -> dict[str, pa.DataType]:
    like = type_of(plan.like_column, source.schema) if plan.like_column is not None else None
    return {name: output_type(pa.from_numpy_dtype(dtype), like) for name, dtype in plan.new_columns.items()}


def _schema(kinds: Mapping[str, pa.DataType], plan: WritePlan) -> pa.Schema:
    return pa.schema(
        [_numbered(pa.field(name, kind), plan.field_ids.get(name, ())) for name, kind in kinds.items()]
    )


def _batch(columns: Mapping[str, OutputColumn], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [output_array(columns[field.name], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _numbered(field: pa.Field, ids: Sequence[int]) -> pa.Field:
    """With the ids of the column and of its items."""
    if not ids:
        return field
    kind = field.type
    if len(ids) > 1:
        item = _numbered(kind.value_field, ids[1:])
        kind = pa.large_list(item) if pa.types.is_large_list(kind) else pa.list_(item)
    return pa.field(field.name, kind, field.nullable, {"PARQUET:field_id": str(ids[0])})
