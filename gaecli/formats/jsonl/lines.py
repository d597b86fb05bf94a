"""JSON lines: one object per line, with numbers or lists of numbers as fields.

New fields are appended to the text of each line, so that all else in it keeps its bytes. There is no place
for metadata in this format: provenance lies beside the file (`record_beside.py`). Once it was a field `gaecli` of the
first line; where that is found it is read, and gone with the next write.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gaecli.errors import DataError, FileError
from gaecli.formats.arrow.columns import SchemaColumns, are_single, path_of, pick, schema_columns
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
from gaecli.formats.jsonl.bounds import BoundError, check_cells, check_depth, parse, whole_lines
from gaecli.formats.jsonl.mixed import MOST_PATHS, changed_path, conflicts, with_texts
from gaecli.formats.jsonl.numbers import inexact_columns, with_exact_columns
from gaecli.formats.jsonl.objects import edited, field_texts, is_compact
from gaecli.formats.own_columns import signature
from gaecli.formats.stored import parse_document
from gaecli.formats.text_file import TextFile
from gaecli.records import dataclass

PROVENANCE_FIELD = "gaecli"


@dataclass(frozen=True)
class _LineBatch:
    """Whole lines: bytes `start` up to `stop`, and the rows that they hold."""

    start: int
    stop: int
    first_row: int
    num_rows: int


class JsonLinesInput(TextFile, SchemaColumns):
    """One file of JSON lines. It has no header: opening it means parsing it once."""

    format_name = "jsonl"
    structure: Structure = "table"
    row_group_rows = None
    known_roles = NO_ROLES
    remarks = NO_REMARKS

    def __init__(self, path: Path) -> None:
        self.path = path
        schemas: list[pa.Schema] = []
        self._pieces: list[_LineBatch] = []
        self._inexact: set[str] = set()
        #: Fields that hold values of several types, and are read as texts.
        self._mixed: list[str] = []
        self._is_reread = False
        self._first_line = ""
        try:
            status = path.stat()
            with path.open("rb") as file:
                for start, content in whole_lines(file):
                    self._add_piece(start, content, schemas)
            self.schema: pa.Schema = with_exact_columns(self._unified(schemas), self._inexact, self._tables)
            self.num_rows = sum(piece.num_rows for piece in self._pieces)
            columns = schema_columns(self.schema, self.num_rows)
            columns |= {
                name: replace(columns[name], type_name="of several types")
                for name in self._mixed
                if name in columns
            }
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(path, error) from error
        self.identity = (status.st_size, status.st_mtime_ns, status.st_ino)
        self._in_line = _provenance_in(self._first_line)
        if self._in_line is not None:
            columns.pop(PROVENANCE_FIELD, None)
        self.columns: Mapping[str, ColumnInfo] = columns

    def _add_piece(self, start: int, content: bytes, schemas: list[pa.Schema]) -> None:
        lines = [line for line in content.splitlines() if line.strip()]
        if not lines:
            return
        first_row = self._pieces[-1].first_row + self._pieces[-1].num_rows if self._pieces else 0
        check_depth(lines, first_row)
        check_cells(content, len(lines), first_row)
        table = self._parse(content)
        if table.num_rows != len(lines):
            raise ValueError(
                f"{len(lines):,} lines from row {first_row:,} on hold {table.num_rows:,} objects"
            )
        if not self._pieces:
            self._first_line = lines[0].decode()
        self._pieces.append(_LineBatch(start, start + len(content), first_row, len(lines)))
        schemas.append(table.schema)
        self._inexact |= inexact_columns(table)

    def _parse(self, content: bytes, schema: pa.Schema | None = None) -> pa.Table:
        """Lines as a table. A field that changes its type is one of texts from then on."""
        plain = content
        while True:
            try:
                return parse(with_texts(plain, self._mixed) if self._mixed else plain, schema)
            except pa.ArrowInvalid as error:
                path = changed_path(error)
                if path is None or path in self._mixed or len(self._mixed) == MOST_PATHS:
                    raise
                self._mixed.append(path)

    def _unified(self, schemas: list[pa.Schema]) -> pa.Schema:
        """That of all pieces; where they differ in the type of a field, it is one of texts."""
        while True:
            try:
                return _unified(schemas)
            except pa.ArrowException:
                known = len(self._mixed)
                for one, other in itertools.pairwise(schemas):
                    paths = conflicts(pa.struct(list(one)), pa.struct(list(other)))
                    self._mixed += [path for path in paths if path not in self._mixed]
                if not self._mixed or len(self._mixed) > MOST_PATHS or self._is_reread:
                    raise
                self._is_reread = len(self._mixed) == known
                schemas = [table.schema for table in self._tables(None)]

    def tables(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """Piece by piece."""
        schema = pa.schema([self.schema.field(name) for name in names])
        try:
            for table in self._tables(schema):
                yield table.select(list(names))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(self.path, error) from error

    def _tables(self, schema: pa.Schema | None) -> Iterator[pa.Table]:
        """The pieces, one after the other."""
        with self.path.open("rb") as file:
            for piece in self._pieces:
                file.seek(piece.start)
                yield self._parse(file.read(piece.stop - piece.start), schema)

    @functools.cached_property
    def provenance(self) -> dict[str, Any] | None:
        return super().provenance if self._in_line is None else self._in_line

    @property
    def field_of_ours(self) -> tuple[str, ...]:
        """The field that is neither data nor a result."""
        return () if self._in_line is None else (PROVENANCE_FIELD,)

    def digests(self, names: Sequence[str]) -> dict[str, str]:
        """Of the texts of these fields in all lines."""
        found: dict[str, Any] = {}
        try:
            for line in self.lines():
                for name, text in field_texts(line, names):
                    found.setdefault(name, hashlib.sha256()).update(f"{text}\n".encode())
        except (OSError, ValueError) as error:
            raise _unreadable(self.path, error) from error
        return {name: digest.hexdigest() for name, digest in found.items()}

    def digest_without(self, own_columns: frozenset[str]) -> str:
        digest = hashlib.sha256()
        try:
            for line in self.lines():
                digest.update(edited(line, (*own_columns, *self.field_of_ours), ()).encode())
        except (OSError, ValueError) as error:
            raise _unreadable(self.path, error) from error
        return digest.hexdigest()

    def units(self, rows_per_block: int, like: str) -> Sequence[Unit]:
        return [
            Unit(piece.first_row, piece.first_row + piece.num_rows, (index,))
            for index, piece in enumerate(self._pieces)
        ]

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        heads = {(path_of(name, self.schema) or (name,))[0] for name in names}
        schema = pa.schema([field for field in self.schema if field.name in heads])
        row = unit.start
        for part in unit.parts:
            piece = self._pieces[part]
            try:
                with self.path.open("rb") as file:
                    file.seek(piece.start)
                    table = self._parse(file.read(piece.stop - piece.start), schema)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise _unreadable(self.path, error) from error
            if table.num_rows != piece.num_rows:
                raise FileError(f"`{self.path}` was changed while it was read")
            for start in range(0, table.num_rows, rows_per_block):
                rows = table.slice(start, rows_per_block)
                yield row, row + rows.num_rows, {name: pick(rows, name, self.path) for name in names}
                row += rows.num_rows

    def has_single_items(self, name: str) -> bool:
        """Piece by piece, up to the first that has more."""
        units = self.units(self.num_rows, name)
        blocks = (
            columns[name] for unit in units for _, _, columns in self.blocks(unit, [name], self.num_rows)
        )
        try:
            return are_single(blocks)
        except DataError:  # lists of lists of more
            return False

    def read_whole(self, name: str) -> Column:
        raise DataError(
            f"`{name}` of `{self.path}` is a field of every line, not a number for the whole file"
        )

    def lines(self) -> Iterator[str]:
        """All lines as they are, with their line ends; blank ones too."""
        with self.path.open("r", encoding="utf-8", newline="") as file:
            yield from file

    def planned_method(
        self, own_columns: Sequence[str], drop_columns: Sequence[str], *, adds: bool = True
    ) -> str:
        return JsonLinesOutput.method

    def writer(self, temporary: Path, plan: WritePlan) -> JsonLinesOutput:
        return JsonLinesOutput(self, temporary, plan)


class JsonLinesOutput:
    """A copy whose lines have further fields, and what is to be known of them for the file beside it."""

    method = "append: fields of each line"

    def __init__(self, source: JsonLinesInput, temporary: Path, plan: WritePlan) -> None:
        self._source = source
        self._temporary = temporary
        self._plan = plan
        self._removed = {*plan.own_columns, *plan.drop_columns, *plan.new_columns, *source.field_of_ours}
        self._lines = source.lines()
        self._digests = {name: hashlib.sha256() for name in plan.new_columns}
        self._has_lines = False
        self._file = temporary.open("wb")
        #: Ready when the file is.
        self.record = b""

    def write(self, columns: Mapping[str, OutputColumn]) -> None:
        names = list(self._plan.new_columns)
        for texts in zip(*(_texts(columns[name]) for name in names), strict=True):
            line = self._next_line()
            shown = [text.replace(" ", "") for text in texts] if is_compact(line) else texts
            for name, text in zip(names, shown, strict=True):
                self._digests[name].update(f"{text}\n".encode())
            try:
                new_line = edited(line, self._removed, list(zip(names, shown, strict=True)))
            except ValueError as error:
                raise self._not_an_object(line) from error
            self._file.write(new_line.encode())
            self._has_lines = True

    def _not_an_object(self, line: str) -> FileError:
        """pyarrow reads an object that goes on in the next line, which has no place for new fields."""
        start = line[:40].rstrip() + ("…" if len(line) > 40 else "")
        return FileError(
            f"`{self._source.path}` has a line that is not one JSON object: `{start}`",
            hint="write one object per line, for example with `jq -c .`",
        )

    def _next_line(self) -> str:
        """The next line that holds an object; blank ones before it are copied."""
        for line in self._lines:
            if line.strip():
                return line
            self._file.write(line.encode())
        raise FileError(f"`{self._source.path}` was changed while it was read")

    def finish(self, provenance: dict[str, Any] | None) -> None:
        for line in self._lines:
            new_line = line if provenance is not None or not line.strip() else edited(line, self._removed, ())
            self._file.write(new_line.encode())
        self._file.close()
        if provenance is None:
            return
        written = {name: digest.hexdigest() for name, digest in self._digests.items() if self._has_lines}
        document = {**provenance, **signature(self._source, self._plan, written)}
        self.record = json.dumps(document, allow_nan=False, separators=(",", ":")).encode() + b"\n"

    def abort(self) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def _provenance_in(line: str) -> dict[str, Any] | None:
    """What gaecli stored in the first line before it had a file of its own for that."""
    try:
        texts = [json.loads(text) for _, text in field_texts(line, (PROVENANCE_FIELD,))]
    except (ValueError, RecursionError):
        return None
    return parse_document(texts[0]) if texts and isinstance(texts[0], str) else None


def _unified(schemas: Sequence[pa.Schema]) -> pa.Schema:
    if not schemas:
        return pa.schema([])
    return pa.unify_schemas(list(schemas), promote_options="permissive")


def _texts(column: OutputColumn) -> list[str]:
    """The cells as JSON, numbers with as many digits as their type has."""
    numbers: list[str] = column.values.astype(str).tolist()
    if column.values.dtype.kind == "f":
        absent = ~np.isfinite(column.values)
    else:
        numbers = [json.dumps(cell) for cell in column.values.tolist()]
        absent = np.zeros(len(numbers), np.bool_)
    if column.is_null is not None:
        absent |= column.is_null
    for index in np.flatnonzero(absent).tolist():
        numbers[index] = "null"
    if column.offsets is None:
        return numbers
    offsets = column.offsets.tolist()
    null_lists = [False] * (len(offsets) - 1) if column.null_lists is None else column.null_lists.tolist()
    return [
        "null" if is_null else f"[{', '.join(numbers[start:stop])}]"
        for is_null, start, stop in zip(null_lists, offsets[:-1], offsets[1:], strict=True)
    ]


def _unreadable(path: Path, error: Exception) -> FileError:
    usual = "every line is one object, and a field has one type throughout"
    return unreadable(path, error, "JSON lines", error.hint if isinstance(error, BoundError) else usual)
