"""Rows of another format as JSON lines. NaN is null there, and moments are texts as ISO 8601 has them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from gaecli.formats.arrow.columns import is_list
from gaecli.formats.printed import is_text, plain_type, printed, unprintable
from gaecli.formats.rows import Rows, UnfitRowsError

_ROWS_PER_WRITE = 1 << 14


def unfit(data_type: pa.DataType) -> str | None:
    data_type = plain_type(data_type)
    if is_list(data_type):
        return unfit(data_type.value_type)
    if pa.types.is_map(data_type):
        return f"is a map, which JSON has not ({data_type})"
    if pa.types.is_struct(data_type):
        return next(filter(None, (unfit(field.type) for field in data_type)), None)
    return unprintable(data_type)


def write_rows(rows: Rows, path: Path) -> None:
    keys = [json.dumps(name, ensure_ascii=False) for name in rows.schema.names]
    with path.open("wb") as file:
        for table in rows.tables(rows.schema.names):
            for start in range(0, table.num_rows, _ROWS_PER_WRITE):
                part = table.slice(start, _ROWS_PER_WRITE).combine_chunks()
                cells = [
                    _texts(_whole(part.column(index)), rows.schema.names[index]) for index in range(len(keys))
                ]
                lines = [
                    "{" + ", ".join(f"{key}: {cell}" for key, cell in zip(keys, row, strict=True)) + "}\n"
                    for row in zip(*cells, strict=True)
                ]
                file.write("".join(lines).encode())


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.array([], column.type)


def _texts(array: pa.Array, name: str) -> list[str]:
    """The cells as JSON."""
    data_type = plain_type(array.type)
    if is_list(data_type) or pa.types.is_struct(data_type):
        array = array.cast(data_type)
    if is_list(data_type):
        return _lists(array, name)
    if pa.types.is_struct(data_type):
        return _objects(array, name)
    texts = printed(array)
    if is_text(data_type) or pa.types.is_temporal(data_type):
        return ["null" if text is None else json.dumps(text, ensure_ascii=False) for text in texts]
    if pa.types.is_floating(data_type):
        if "inf" in texts or "-inf" in texts:
            raise UnfitRowsError(name, "holds infinity, which JSON has not")
        return ["null" if text is None or text == "nan" else text for text in texts]
    return ["null" if text is None else text for text in texts]


def _lists(array: pa.Array, name: str) -> list[str]:
    items = _texts(array.flatten(), name)
    lengths = array.value_lengths().to_pylist()
    found, start = [], 0
    for length in lengths:
        if length is None:
            found.append("null")
            continue
        found.append(f"[{', '.join(items[start : start + length])}]")
        start += length
    return found


def _objects(array: pa.StructArray, name: str) -> list[str]:
    keys = [json.dumps(field.name, ensure_ascii=False) for field in array.type]
    fields = [_texts(child, name) for child in array.flatten()]
    return [
        "{" + ", ".join(f"{key}: {cells[row]}" for key, cells in zip(keys, fields, strict=True)) + "}"
        if is_there
        else "null"
        for row, is_there in enumerate(array.is_valid().to_pylist())
    ]
