"""Rows of another format as CSV. Moments are written as ISO 8601 has them, nulls as nothing, NaN as `NaN`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from gaecli.formats.arrow.columns import is_list, is_struct
from gaecli.formats.csv.header import MOST_COLUMNS
from gaecli.formats.csv.records import as_cell
from gaecli.formats.rows import Rows, UnfitRowsError

_ROWS_PER_WRITE = 1 << 14


def unfit(data_type: pa.DataType) -> str | None:
    if is_list(plain_type(data_type)) or is_struct(plain_type(data_type)):
        return f"holds more than one value per cell ({data_type})"
    return unprintable(data_type)


def unprintable(data_type: pa.DataType) -> str | None:
    """Why single values of a type have no text."""
    data_type = plain_type(data_type)
    is_binary = pa.types.is_binary(data_type) or pa.types.is_large_binary(data_type)
    if is_binary or pa.types.is_fixed_size_binary(data_type) or pa.types.is_union(data_type):
        return f"holds no text ({data_type})"
    if pa.types.is_null(data_type) or pa.types.is_float16(data_type):
        return None
    try:
        pa.array([], data_type).cast(pa.string())
    except (pa.ArrowException, NotImplementedError, ValueError):
        return f"holds no text ({data_type})"
    return None


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


def plain_type(data_type: pa.DataType) -> pa.DataType:
    """That of the cells, however they are stored or called."""
    if pa.types.is_dictionary(data_type):
        return plain_type(data_type.value_type)
    return plain_type(data_type.storage_type) if isinstance(data_type, pa.BaseExtensionType) else data_type


def is_text(data_type: pa.DataType) -> bool:
    data_type = plain_type(data_type)
    return bool(
        pa.types.is_string(data_type)
        or pa.types.is_large_string(data_type)
        or pa.types.is_string_view(data_type)
    )


def printed(column: pa.ChunkedArray | pa.Array) -> list[str | None]:
    """Single values as texts, numbers with the fewest digits that give the same number again."""
    if plain_type(column.type) != column.type:
        column = column.cast(plain_type(column.type))
    if pa.types.is_null(column.type):
        return [None] * len(column)
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    if pa.types.is_timestamp(column.type):
        column = pc.replace_substring(column.cast(pa.string()), " ", "T", max_replacements=1)
    cells = column.cast(pa.string())
    if pa.types.is_floating(column.type):  # 1.0, and not 1: whoever reads it is to see what the column is
        cells = pc.replace_substring_regex(cells, r"^(-?[0-9]+)$", r"\1.0")
    texts: list[str | None] = cells.to_pylist()
    return texts
