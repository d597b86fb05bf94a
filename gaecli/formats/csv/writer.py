"""A copy of a CSV file whose rows have further cells, with every byte of the others left as it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gaecli.errors import FileError, UsageError
from gaecli.formats.base import OutputColumn, WritePlan
from gaecli.formats.csv.header import CsvHead
from gaecli.formats.csv.records import RecordPiece, as_cell, body_of, without
from gaecli.formats.own_columns import SelfKnowing, signature

#: Texts of cells take ten times as much as numbers.
_ROWS_AT_ONCE = 1 << 14


class CsvRows(SelfKnowing, Protocol):
    """The file that is copied."""

    path: Path
    head: CsvHead

    def pieces(self) -> Iterator[RecordPiece]: ...


class CsvOutput:
    """The copy, and what is to be known of its columns for the file beside it."""

    method = "append: cells of each row"

    def __init__(self, source: CsvRows, temporary: Path, plan: WritePlan) -> None:
        if plan.like_column is not None:
            raise UsageError(
                f"a cell of `{source.path}` holds no list, and the new columns are lists",
                hint="write them beside it, with `--sidecar`",
            )
        head = source.head
        gone = {*plan.own_columns, *plan.drop_columns, *plan.new_columns}
        self._source = source
        self._temporary = temporary
        self._plan = plan
        self._delimiter = head.delimiter
        self._removed = {index for index, name in enumerate(head.names) if name in gone}
        self._records = self._all_records()
        self._digests = {name: hashlib.sha256() for name in plan.new_columns}
        self._file = temporary.open("wb")
        names = [as_cell(name, head.delimiter.decode()).encode() for name in plan.new_columns]
        self._file.write(head.before + self._row(head.header, names))
        #: Ready when the file is.
        self.record = b""

    def write(self, columns: Mapping[str, OutputColumn]) -> None:
        num_rows = max((len(column.values) for column in columns.values()), default=0)
        for start in range(0, num_rows, _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            self._write({name: column.rows(rows) for name, column in columns.items()})

    def _write(self, columns: Mapping[str, OutputColumn]) -> None:
        texts = {name: cell_texts(columns[name], self._delimiter.decode()) for name in self._plan.new_columns}
        for name, cells in texts.items():
            self._digests[name].update("".join(f"{cell}\n" for cell in cells).encode())
        delimiter = self._delimiter.decode()
        added = [delimiter.join(row).encode() for row in zip(*texts.values(), strict=True)]
        self._file.write(b"".join(self._row(self._next_row(), [cells]) for cells in added))

    def finish(self, provenance: dict[str, Any] | None) -> None:
        for record in self._records:
            self._file.write(self._row(record, []) if body_of(record) else record)
        self._file.close()
        if provenance is None:
            return
        written = {name: digest.hexdigest() for name, digest in self._digests.items()}
        document = {**provenance, **signature(self._source, self._plan, written)}
        self.record = json.dumps(document, allow_nan=False, separators=(",", ":")).encode() + b"\n"

    def abort(self) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _all_records(self) -> Iterator[bytes]:
        for piece in self._source.pieces():
            yield from piece.records()

    def _next_row(self) -> bytes:
        """The next record that holds a row; blank ones before it are copied."""
        for record in self._records:
            if body_of(record):
                return record
            self._file.write(record)
        raise FileError(f"`{self._source.path}` was changed while it was read")

    def _row(self, record: bytes, added: list[bytes]) -> bytes:
        """With other cells behind those that stay."""
        if self._removed:
            record = without(record, self._removed, self._delimiter)
        if not added:
            return record
        body = body_of(record)
        return self._delimiter.join([body, *added]) + record[len(body) :]


def cell_texts(column: OutputColumn, delimiter: str) -> list[str]:
    """The cells as they are written, numbers with as many digits as their type has."""
    kind = column.values.dtype.kind
    if kind == "U":
        texts = [as_cell(text, delimiter) for text in column.values.tolist()]
    elif kind == "b":
        texts = ["true" if cell else "false" for cell in column.values.tolist()]
    else:
        texts = column.values.astype(str).tolist()
        if kind == "f":
            for index in np.flatnonzero(np.isnan(column.values)).tolist():
                texts[index] = "NaN"
    if column.is_null is not None:
        for index in np.flatnonzero(column.is_null).tolist():
            texts[index] = ""
    return texts
