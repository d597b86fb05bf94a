"""Single values of Arrow columns as texts, for formats that have nothing but texts."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


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
