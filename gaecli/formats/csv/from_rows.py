"""Rows of another format as CSV. Moments are written as ISO 8601 has them, nulls as nothing, NaN as `NaN`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from gaecli.formats.arrow.columns import is_list, is_struct
from gaecli.formats.csv.header import MOST_COLUMNS
from gaecli.formats.csv.records import as_cell
from gaecli.formats.printed import is_text, plain_type, printed, unprintable
from gaecli.formats.rows import Rows, UnfitRowsError

_ROWS_PER_WRITE = 1 << 14


def unfit(data_type: pa.DataType) -> str | None:
    if is_list(plain_type(data_type)) or is_struct(plain_type(data_type)):
        return f"holds more than one value per cell ({data_type})"
    return unprintable(data_type)


def write_rows(rows: Rows, path: Path) -> None:
    names = rows.schema.names
    if not 0 < len(names) <= MOST_COLUMNS:
        raise UnfitRowsError(f"{len(names):,} columns", f"are not from 1 to {MOST_COLUMNS:,}")
    _refuse_nul(names, names)
    with path.open("wb") as file:
        file.write((",".join(as_cell(name, ",") for name in names) + "\n").encode())
        for table in rows.tables(names):
            for start in range(0, table.num_rows, _ROWS_PER_WRITE):
                part = table.slice(start, _ROWS_PER_WRITE)
                cells = [_cells(column) for column in part.columns]
                _refuse_nul(names, ["".join(texts) for texts in cells])
                lines = [",".join(row) for row in zip(*cells, strict=True)]
                # A row of one empty cell would be a blank line, which is no row.
                shown = [line or '""' for line in lines] if len(names) == 1 else lines
                file.write("".join(f"{line}\n" for line in shown).encode("utf-8"))


def _refuse_nul(names: Sequence[str], texts: Sequence[str]) -> None:
    """Neither this reader nor most others take one."""
    for name, text in zip(names, texts, strict=True):
        if "\0" in text:
            raise UnfitRowsError(name.replace("\0", "\\0"), "holds a NUL character, which CSV has not")


def _cells(column: pa.ChunkedArray) -> list[str]:
    texts, data_type = printed(column), plain_type(column.type)
    if is_text(data_type):
        return ["" if text is None else as_cell(text, ",") for text in texts]
    if pa.types.is_floating(data_type):
        return ["" if text is None else "NaN" if text == "nan" else text for text in texts]
    return ["" if text is None else text for text in texts]
