"""CSV, with commas, tabs, semicolons or bars between its cells: one row per step, names of columns in the first line.

The file is never in memory as a whole: records are read in pieces, twice, first for the types of its columns. New
cells are appended to the text of each record (`writer.py`), so that all else keeps its bytes. There is no place for
metadata in this format: provenance lies beside the file (`record_beside.py`).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv

from gaecli.errors import DataError, FileError
from gaecli.formats.arrow.columns import SchemaColumns, pick, schema_columns
from gaecli.formats.base import (
    NO_REMARKS,
    NO_ROLES,
    TWO_COLUMNS,
    Column,
    Structure,
    Unit,
    WritePlan,
    unreadable,
)
from gaecli.formats.csv.cells import ColumnFacts, typed
from gaecli.formats.csv.header import read_head
from gaecli.formats.csv.records import (
    BadRecordError,
    RecordPiece,
    body_of,
    line_of_row,
    raw_cells,
    record_pieces,
    without,
)
from gaecli.formats.csv.writer import CsvOutput
from gaecli.formats.text_file import TextFile
from gaecli.records import dataclass

#: Of a piece that was divided before.
_NO_ENDS = np.zeros(0, np.int64)


@dataclass(frozen=True)
class _RowPiece:
    """Whole records: bytes `start` up to `stop`, and the rows that they hold."""

    start: int
    stop: int
    first_row: int
    num_rows: int


class CsvInput(TextFile, SchemaColumns):
    """One CSV file. Its header has no types: opening it means reading it once."""

    format_name = "csv"
    structure: Structure = "table"
    row_group_rows = None
    known_roles = NO_ROLES
    remarks = NO_REMARKS

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pieces: list[_RowPiece] = []
        try:
            status = path.stat()
            with path.open("rb") as file:
                self.head = read_head(file, path.suffix.lower())
            facts = [ColumnFacts() for _ in self.head.names]
            for piece in self.pieces():
                self._add(piece, facts)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(path, error) from error
        self.identity = (status.st_size, status.st_mtime_ns, status.st_ino)
        types = [one.data_type for one in facts]
        self.schema = pa.schema(list(zip(self.head.names, types, strict=True)))
        self.num_rows = sum(piece.num_rows for piece in self._pieces)
        self.columns = schema_columns(self.schema, self.num_rows)
        for name, one in zip(self.head.names, facts, strict=True):
            info = self.columns[name]
            if info.unusable != TWO_COLUMNS:
                reason = one.unusable(self.head.delimiter.decode())
                self.columns[name] = replace(info, type_name=one.told_type, unusable=reason)

    def _add(self, piece: RecordPiece, facts: Sequence[ColumnFacts]) -> None:
        cells = self._parse(piece, range(len(facts)))
        first_row = self._pieces[-1].first_row + self._pieces[-1].num_rows if self._pieces else 0
        self._pieces.append(_RowPiece(piece.start, piece.stop, first_row, cells.num_rows))
        for one, column in zip(facts, cells.columns, strict=True):
            row = first_row
            for chunk in column.chunks:
                one.add(chunk, row)
                row += len(chunk)

    def _parse(self, piece: RecordPiece, indices: Sequence[int]) -> pa.Table:
        """The cells of some columns as texts; missing ones are null."""
        names = [str(index) for index in range(len(self.head.names))]
        wanted = [names[index] for index in indices]
        if len(names) == 1:
            _refuse_blank(piece)
        bad: list[tuple[int, int]] = []

        def note(row: Any) -> str:
            bad.append((row.number, row.actual_columns))
            return "error"

        try:
            return pcsv.read_csv(
                io.BytesIO(piece.content),
                pcsv.ReadOptions(use_threads=False, column_names=names, block_size=len(piece.content) + 1),
                pcsv.ParseOptions(
                    delimiter=self.head.delimiter.decode(), newlines_in_values=True, invalid_row_handler=note
                ),
                pcsv.ConvertOptions(
                    include_columns=wanted,
                    column_types=dict.fromkeys(wanted, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid as error:
            if not bad:
                raise
            raise self._ragged(piece, *bad[0]) from error

    def _ragged(self, piece: RecordPiece, row: int, num_cells: int) -> BadRecordError:
        line = line_of_row(piece, row - 1)
        cells, expected = "cell" if num_cells == 1 else "cells", len(self.head.names)
        return BadRecordError(
            f"line {line:,} has {num_cells:,} {cells}, and the header names {expected:,} columns",
            "every row has a cell for every column, and a cell with a delimiter in it stands in quotes"
            if self.head.delimiter in self.head.header
            else "the cells are told apart by commas, tabs, semicolons or bars",
        )

    def pieces(self) -> Iterator[RecordPiece]:
        """All records behind the header."""
        with self.path.open("rb") as file:
            file.seek(self.head.stop)
            yield from record_pieces(file, self.head.delimiter, self.head.line)

    def digests(self, names: Sequence[str]) -> dict[str, str]:
        """Of the cells of these columns as they are written."""
        places = {name: self.head.names.index(name) for name in names if name in self.head.names}
        found = {name: hashlib.sha256() for name in places}
        for body in self._bodies() if places else ():
            cells = raw_cells(body, self.head.delimiter)
            for name, place in places.items():
                found[name].update(cells[place] + b"\n")
        return {name: digest.hexdigest() for name, digest in found.items()}

    def digest_without(self, own_columns: frozenset[str]) -> str:
        head = self.head
        removed = {index for index, name in enumerate(head.names) if name in own_columns}
        digest = hashlib.sha256(head.before + without(head.header, removed, head.delimiter))
        try:
            for piece in self.pieces():
                if not removed:
                    digest.update(piece.content)
                    continue
                for record in piece.records():
                    digest.update(without(record, removed, head.delimiter))
        except (OSError, ValueError) as error:
            raise _unreadable(self.path, error) from error
        return digest.hexdigest()

    def _bodies(self) -> Iterator[bytes]:
        """The rows as they are written."""
        try:
            for piece in self.pieces():
                for record in piece.records():
                    body = body_of(record)
                    if body:
                        yield body
        except (OSError, ValueError) as error:
            raise _unreadable(self.path, error) from error

    def units(self, rows_per_block: int, like: str) -> Sequence[Unit]:
        return [
            Unit(piece.first_row, piece.first_row + piece.num_rows, (index,))
            for index, piece in enumerate(self._pieces)
            if piece.num_rows
        ]

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        row = unit.start
        for part in unit.parts:
            table = self.table(part, names)
            for start in range(0, table.num_rows, rows_per_block):
                rows = table.slice(start, rows_per_block)
                yield row, row + rows.num_rows, {name: pick(rows, name, self.path) for name in names}
                row += rows.num_rows

    def tables(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """Piece by piece."""
        for part in range(len(self._pieces)):
            yield self.table(part, names).select(list(names))

    def table(self, part: int, names: Sequence[str]) -> pa.Table:
        """These columns of one piece."""
        place = self._pieces[part]
        indices = sorted({self.head.names.index(name) for name in names})
        fields = [self.schema.field(index) for index in indices]
        if not indices:
            return pa.table({"": pa.nulls(place.num_rows)}).select([])
        try:
            with self.path.open("rb") as file:
                file.seek(place.start)
                content = file.read(place.stop - place.start)
            cells = self._parse(RecordPiece(place.start, content, _NO_ENDS, 1), indices)
            if cells.num_rows != place.num_rows:
                raise FileError(f"`{self.path}` was changed while it was read")
            columns = [
                pa.chunked_array([typed(chunk, field.type) for chunk in column.chunks], field.type)
                for field, column in zip(fields, cells.columns, strict=True)
            ]
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(self.path, error) from error
        return pa.table(columns, schema=pa.schema(fields))

    def has_single_items(self, name: str) -> bool:
        return False

    def read_whole(self, name: str) -> Column:
        raise DataError(f"`{name}` of `{self.path}` is a cell of every row, not a number for the whole file")

    def planned_method(
        self, own_columns: Sequence[str], drop_columns: Sequence[str], *, adds: bool = True
    ) -> str:
        return CsvOutput.method

    def writer(self, temporary: Path, plan: WritePlan) -> CsvOutput:
        return CsvOutput(self, temporary, plan)


def _refuse_blank(piece: RecordPiece) -> None:
    """In a file of one column a blank line may be a missing cell, or nothing at all."""
    content = piece.content
    line = piece.line
    blank = None
    if b"\n\n" not in content and b"\n\r\n" not in content and not content.startswith((b"\n", b"\r\n")):
        return
    for record in piece.records():
        if body_of(record):
            if blank is not None:
                raise BadRecordError(
                    f"line {blank:,} is blank, in a file of one column",
                    'delete the line if it is no row; a missing cell is written `NA` or `""`',
                )
        elif blank is None:
            blank = line
        line += record.count(b"\n")


def _unreadable(path: Path, error: Exception) -> FileError:
    usual = "the file may have been changed while it was read"
    return unreadable(path, error, "CSV", error.hint if isinstance(error, BadRecordError) else usual)
