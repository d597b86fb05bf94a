"""Arrow IPC: the file format (`.arrow`, `.feather` version 2) and the stream format.

Written anew with the new columns: schema, the borders of the batches, their compression and all metadata (of
the schema, of each batch, of the footer) stay.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from gaecli.errors import DataError, FileError, first_line
from gaecli.formats.arrow.columns import (
    SchemaColumns,
    are_single,
    output_array,
    output_type,
    path_of,
    pick,
    schema_columns,
    to_column,
    type_of,
)
from gaecli.formats.arrow.messages import FILE_MAGIC, MalformedMessage, read_batches
from gaecli.formats.base import (
    NO_REMARKS,
    NO_ROLES,
    Column,
    ColumnInfo,
    OutputColumn,
    Structure,
    Unit,
    WritePlan,
    unreadable,
)
from gaecli.formats.own_columns import ContentDigest, fingerprint, signature
from gaecli.formats.parquet.keys import updated_keys
from gaecli.formats.stored import PROVENANCE_KEY, parse_document

#: KeyError: of a type for which pyarrow has no class.
_DAMAGE = (pa.ArrowException, OSError, ValueError, OverflowError, KeyError)


class ArrowInput(SchemaColumns):
    """One Arrow IPC file or stream, opened by its schema and the headers of its batches."""

    format_name = "arrow"
    structure: Structure = "table"
    row_group_rows = None
    known_roles = NO_ROLES
    remarks = NO_REMARKS

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            status = path.stat()
            with path.open("rb") as file:
                self.is_file = file.read(len(FILE_MAGIC)) == FILE_MAGIC
            self.batches = read_batches(path, is_file=self.is_file)
            with self._reader([]) as reader:
                self.schema: pa.Schema = reader.schema
                #: Of the footer, where neither pyarrow's schema nor a stream has it.
                self.metadata: Mapping[bytes, bytes] = dict(getattr(reader, "metadata", None) or {})
            self.num_rows = sum(self.batches.num_rows)
            self.columns: Mapping[str, ColumnInfo] = schema_columns(self.schema, self.num_rows)
        except _DAMAGE as error:
            raise _unreadable(path, error) from error
        self.identity = (status.st_size, status.st_mtime_ns, status.st_ino)

    @cached_property
    def provenance(self) -> dict[str, Any] | None:
        return parse_document((self.schema.metadata or {}).get(PROVENANCE_KEY))

    def fingerprint(self, own_columns: Sequence[str]) -> str:
        return fingerprint(self, own_columns)

    def digests(self, names: Sequence[str]) -> dict[str, str]:
        kinds = {name: self.columns[name].kind for name in names if name in self.columns}
        there = [name for name, kind in kinds.items() if kind in ("float", "bool", "id")]
        found = {name: ContentDigest() for name in there}
        try:
            for batch in self.read_batches(self._indices(there)) if there else ():
                for name in there:
                    found[name].add(pick(batch, name, self.path))
        except _DAMAGE as error:
            raise _unreadable(self.path, error) from error
        others = {name: self.columns[name].type_name for name in names if name in self.columns}
        return {**others, **{name: digest.hexdigest() for name, digest in found.items()}}

    def payload(self, own_columns: Sequence[str]) -> str:
        """Of the schema and of all cells that are not gaecli's, as a writer would lay them out."""
        kept = [index for index, name in enumerate(self.schema.names) if name not in own_columns]
        digest = hashlib.sha256()
        for index in kept:
            digest.update(str(self.schema.field(index)).encode())
        try:
            for batch in self.read_batches(kept):
                digest.update(f"{batch.num_rows};".encode())
                for array in batch.columns:
                    _digest(array, digest)
        except _DAMAGE as error:
            raise _unreadable(self.path, error) from error
        return digest.hexdigest()

    def units(self, rows_per_block: int, like: str) -> Sequence[Unit]:
        """Small batches are read together; a stream can only be read from its beginning."""
        if not self.is_file:
            return [Unit(0, self.num_rows, tuple(range(len(self.batches.num_rows))))] if self.num_rows else []
        units: list[Unit] = []
        start = row = 0
        parts: list[int] = []
        for index, rows in enumerate(self.batches.num_rows):
            if parts and row + rows - start > rows_per_block:
                units.append(Unit(start, row, tuple(parts)))
                start, parts = row, []
            parts.append(index)
            row += rows
        if row > start:
            units.append(Unit(start, row, tuple(parts)))
        return units

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        row = unit.start
        try:
            for table in self._tables(unit, self._indices(names), rows_per_block):
                yield row, row + table.num_rows, {name: pick(table, name, self.path) for name in names}
                row += table.num_rows
        except _DAMAGE as error:
            raise _unreadable(self.path, error) from error
        if row != unit.stop:
            raise FileError(f"`{self.path}` is damaged: {unit.stop - row:,} rows are missing at its end")

    def has_single_items(self, name: str) -> bool:
        """Batch by batch, up to the first that has more."""
        data_type = type_of(name, self.schema)
        if data_type is not None and pa.types.is_fixed_size_list(data_type) and data_type.list_size > 1:
            return False
        try:
            batches = self.read_batches(self._indices([name]))
            return are_single(pick(batch, name, self.path) for batch in batches)
        except _DAMAGE as error:
            raise _unreadable(self.path, error) from error
        except DataError:  # lists of lists of more
            return False

    def read_whole(self, name: str) -> Column:
        unit = Unit(0, self.num_rows, tuple(range(len(self.batches.num_rows))))
        pieces = list(self.blocks(unit, [name], max(self.num_rows, 1)))
        if len(pieces) != 1:
            raise DataError(f"column `{name}` of `{self.path}` is empty")
        return pieces[0][2][name]

    def planned_method(
        self, own_columns: Sequence[str], drop_columns: Sequence[str], *, adds: bool = True
    ) -> str:
        return ArrowOutput.method

    def writer(self, temporary: Path, plan: WritePlan) -> ArrowOutput:
        return ArrowOutput(self, temporary, plan)

    def tables(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """Batch by batch."""
        try:
            for batch in self.read_batches(self._indices(names)):
                yield pa.Table.from_batches([batch]).select(list(names))
        except _DAMAGE as error:
            raise _unreadable(self.path, error) from error

    def read_batches(
        self, columns: Sequence[int], parts: Sequence[int] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Batches with these columns; `parts` only of a file."""
        if not columns:
            for rows in self.batches.num_rows:
                yield _empty_batch(rows)
            return
        for batch, _ in self.read_all(columns, parts):
            yield batch

    def read_all(
        self, columns: Sequence[int], parts: Sequence[int] | None = None
    ) -> Iterator[tuple[pa.RecordBatch, Mapping[bytes, bytes] | None]]:
        """Batches with the metadata of their own. Checked, so that no offset leads astray."""
        with self._reader(columns) as reader:
            numbers = range(len(self.batches.num_rows)) if parts is None else parts
            for number in numbers:
                if self.is_file:
                    batch, metadata = reader.get_batch_with_custom_metadata(number)
                else:
                    batch, metadata = reader.read_next_batch_with_custom_metadata()
                if self.batches.is_version_4:
                    batch = batch.select(list(columns))
                batch.validate(full=True)
                yield batch, metadata

    def _tables(self, unit: Unit, columns: Sequence[int], rows_per_block: int) -> Iterator[pa.Table]:
        """The rows of a unit, in tables of at most so many."""
        waiting: list[pa.RecordBatch] = []
        num_waiting = 0
        for batch in self.read_batches(columns, unit.parts if self.is_file else None):
            for start in range(0, batch.num_rows, rows_per_block):
                piece = batch.slice(start, rows_per_block)
                if num_waiting and num_waiting + piece.num_rows > rows_per_block:
                    yield pa.Table.from_batches(waiting)
                    waiting, num_waiting = [], 0
                waiting.append(piece)
                num_waiting += piece.num_rows
        if num_waiting:
            yield pa.Table.from_batches(waiting)

    def _indices(self, names: Sequence[str]) -> list[int]:
        heads = ((path_of(name, self.schema) or (name,))[0] for name in names)
        return sorted({self.schema.get_field_index(head) for head in heads})

    def _reader(self, columns: Sequence[int]) -> Any:
        # Not a memory map: a file that is cut short while it is read would end the process.
        # Of what is older than Arrow 1.0 all columns: pyarrow then reads unions right only if it skips none.
        included = None if self.batches.is_version_4 else list(columns)
        options = pa.ipc.IpcReadOptions(included_fields=included, use_threads=False)
        source = pa.OSFile(str(self.path))
        opened = pa.ipc.open_file if self.is_file else pa.ipc.open_stream
        return opened(source, options=options)


class ArrowOutput:
    """A copy with new columns. Provenance stands in the schema, ahead of all rows, so rows wait on disk."""

    method = "rewrite: Arrow"

    def __init__(self, source: ArrowInput, temporary: Path, plan: WritePlan) -> None:
        if source.batches.has_footer_metadata and not source.metadata:
            raise FileError(
                f"`{source.path}` has metadata in its footer, which pyarrow {pa.__version__} would lose",
                hint="install a newer pyarrow, or use `--sidecar`",
            )
        like = type_of(plan.like_column, source.schema) if plan.like_column is not None else None
        self._source = source
        self._temporary = temporary
        self._plan = plan
        self._schema = pa.schema(
            [
                pa.field(name, output_type(pa.from_numpy_dtype(dtype), like))
                for name, dtype in plan.new_columns.items()
            ]
        )
        self._added = _BatchSpool(temporary.parent, self._schema)
        self._digests = {name: ContentDigest() for name in self._schema.names}

    def write(self, columns: Mapping[str, OutputColumn]) -> None:
        arrays = [output_array(columns[field.name], field.type) for field in self._schema]
        self._added.put(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        for name, array in zip(self._schema.names, arrays, strict=True):
            self._digests[name].add(to_column(array))

    def finish(self, provenance: dict[str, Any] | None) -> None:
        source, plan = self._source, self._plan
        replaced = {*plan.own_columns, *plan.drop_columns}
        kept = [index for index, name in enumerate(source.schema.names) if name not in replaced]
        written = {name: digest.hexdigest() for name, digest in self._digests.items()}
        stored = None
        if provenance is not None:
            document = {**provenance, **signature(source, plan, written)}
            stored = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
        schema = self._new_schema(kept, stored)
        try:
            self._write(schema, kept)
        except _DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise _unreadable(source.path, error) from error
        self._added.close()

    def abort(self) -> None:
        self._added.close()
        self._temporary.unlink(missing_ok=True)

    def _new_schema(self, kept: Sequence[int], provenance: bytes | None) -> pa.Schema:
        old = self._source.schema
        dropped = set(range(len(old))) - set(kept)
        metadata = {key: value for key, value in (old.metadata or {}).items() if key != PROVENANCE_KEY}
        stored = {} if provenance is None else {PROVENANCE_KEY: provenance}
        pairs = updated_keys(metadata, old.names, dropped, self._schema, stored)
        fields = [*(old.field(index) for index in kept), *self._schema]
        return pa.schema(fields, metadata={key: value or b"" for key, value in pairs.items()})

    def _write(self, schema: pa.Schema, kept: Sequence[int]) -> None:
        source = self._source
        # Always as since Arrow 1.0: pyarrow cannot read all that it writes as before.
        options = pa.ipc.IpcWriteOptions(
            compression=source.batches.codec, emit_dictionary_deltas=source.is_file, use_threads=False
        )
        opened = pa.ipc.new_file if source.is_file else pa.ipc.new_stream
        of_footer = {"metadata": source.metadata} if source.metadata else {}
        with (
            pa.OSFile(str(self._temporary), "wb") as sink,
            opened(sink, schema, options=options, **of_footer) as writer,
        ):
            for batch, metadata in source.read_all(kept):
                arrays = list(batch.columns)
                if self._schema.names:
                    new = self._added.take(batch.num_rows).combine_chunks()
                    arrays += [_only_chunk(new.column(name)) for name in self._schema.names]
                writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema), metadata)


class _BatchSpool:
    """Batches in a file without a name, and their rows taken out again in other batches."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - until `close`
        self._writer = pa.ipc.new_stream(self._file, schema)
        self._waiting = schema.empty_table()
        self._reader: pa.RecordBatchReader | None = None

    def put(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def take(self, num_rows: int) -> pa.Table:
        if self._reader is None:
            self._writer.close()
            self._file.seek(0)
            self._reader = pa.ipc.open_stream(self._file)
        while self._waiting.num_rows < num_rows:
            batch = pa.Table.from_batches([self._reader.read_next_batch()])
            self._waiting = pa.concat_tables([self._waiting, batch])
        taken, self._waiting = self._waiting.slice(0, num_rows), self._waiting.slice(num_rows)
        return taken

    def close(self) -> None:
        self._file.close()


def _only_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _empty_batch(num_rows: int) -> pa.RecordBatch:
    nothing = pa.RecordBatch.from_arrays([pa.nulls(num_rows)], names=["nothing"])
    return nothing.select([])


def _digest(array: pa.Array, digest: Any) -> None:
    """The cells of an array, independent of slices and of what lies under nulls in the buffers' padding."""
    if isinstance(array, pa.DictionaryArray):
        _digest(array.indices, digest)
        _digest(array.dictionary, digest)
        return
    batch = pa.RecordBatch.from_arrays([array], names=["column"])
    digest.update(memoryview(batch.serialize()))


def _unreadable(path: Path, error: Exception) -> FileError:
    hint = "the file may be truncated or of another format; write it again with a current Arrow"
    if isinstance(error, KeyError | pa.ArrowNotImplementedError):
        hint = "leave the column out, or cast it to another type, and write the file again"
    what = None
    if isinstance(error, KeyError):
        what = "a column has a type that pyarrow cannot read"
    elif isinstance(error, MalformedMessage):
        what = f"its messages cannot be followed: {first_line(error)}"
    return unreadable(path, error, "Arrow IPC", hint, what=what)
