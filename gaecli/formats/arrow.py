"""Arrow arrays to `Column`s and back; shared by every format that pyarrow reads."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from gaecli.formats.arrow_buffers import nulls_of, primitive_array, validity_buffer, values_of
from gaecli.formats.base import Column, ColumnInfo, Kind, OutputColumn


def column_info(name: str, data_type: pa.DataType, num_rows: int, unusable: str | None = None) -> ColumnInfo:
    """Describe a table column. A fixed_size_list of one item counts as a scalar, as real writers mean it."""
    item_type, is_list = _item_type(data_type)
    kind = _kind(item_type)
    if kind == "other" and unusable is None:
        unusable = f"type {data_type} holds no numbers"
    return ColumnInfo(name, kind, str(data_type), (num_rows,), is_list, unusable)


def nested_info(name: str, schema: pa.Schema, num_rows: int) -> ColumnInfo | None:
    """A struct child by its dotted path, or None."""
    head, *rest = name.split(".")
    if not rest or schema.get_field_index(head) < 0:
        return None
    data_type = schema.field(head).type
    for part in rest:
        if not pa.types.is_struct(data_type) or data_type.get_field_index(part) < 0:
            return None
        data_type = data_type.field(part).type
    return column_info(name, data_type, num_rows)


def to_column(array: pa.Array) -> Column:
    """Values, nulls and list offsets of an Arrow array as NumPy arrays."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_fixed_size_list(array.type) and array.type.list_size == 1:
        return _single_items(array)
    if _is_list(array.type):
        return _list_column(array)
    return _scalar_column(array)


def output_type(item: pa.DataType, like: pa.DataType | None) -> pa.DataType:
    """Type of a new column: `item`, or a list of it in the manner of the column that it stands beside."""
    if like is None:
        return item
    if pa.types.is_large_list(like):
        return pa.large_list(item)
    if pa.types.is_fixed_size_list(like):
        return pa.list_(item, like.list_size)
    return pa.list_(item)


def output_array(column: OutputColumn, data_type: pa.DataType) -> pa.Array:
    """A new column as an Arrow array; lists where it has offsets."""
    if column.offsets is None:
        return primitive_array(column.values, data_type, column.is_null)
    items = primitive_array(column.values, data_type.value_type, column.is_null)
    validity = validity_buffer(column.null_lists)
    num_lists = len(column.offsets) - 1
    if pa.types.is_fixed_size_list(data_type):
        return pa.Array.from_buffers(data_type, num_lists, [validity], children=[items])
    large = pa.types.is_large_list(data_type)
    offsets = np.ascontiguousarray(column.offsets, np.int64 if large else np.int32)
    buffers = [validity, pa.py_buffer(offsets)]
    return pa.Array.from_buffers(data_type, num_lists, buffers, children=[items])


def _single_items(array: pa.FixedSizeListArray) -> Column:
    """Lists of one item as scalars; a null list is a null."""
    items = to_column(array.values.slice(array.offset, len(array)))
    null_lists = nulls_of(array)
    if null_lists is None:
        return items
    is_null = null_lists if items.is_null is None else items.is_null | null_lists
    return Column(items.values, is_null, categories=items.categories)


def _scalar_column(array: pa.Array) -> Column:
    data_type = array.type
    if pa.types.is_null(data_type):
        return Column(np.zeros(len(array)), is_null=np.ones(len(array), np.bool_))
    if pa.types.is_dictionary(data_type):
        return _scalar_column(array.dictionary_decode()) if _kind(data_type) != "id" else _coded(array)
    if _kind(data_type) == "id":
        return _coded(array.dictionary_encode())
    if pa.types.is_decimal(data_type):
        array = array.cast(pa.float64())
    return Column(values_of(array), nulls_of(array))


def _coded(array: pa.DictionaryArray) -> Column:
    is_null = nulls_of(array.indices)
    codes = values_of(array.indices).astype(np.int64)
    if is_null is not None:
        codes = np.where(is_null, -1, codes)
    return Column(codes, is_null, categories=array.dictionary.to_pylist())


def _list_column(array: pa.Array) -> Column:
    null_lists = nulls_of(array)
    if pa.types.is_fixed_size_list(array.type):
        lengths = np.full(len(array), array.type.list_size)
    else:
        lengths = np.diff(values_of(array.offsets))
    if null_lists is not None:
        lengths = np.where(null_lists, 0, lengths)
    offsets = np.zeros(len(array) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    # `flatten` honours slices and leaves out the items of null lists, as the lengths above do.
    items = to_column(array.flatten())
    return Column(items.values, items.is_null, offsets, null_lists, items.categories)


def _is_list(data_type: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(data_type)
        or pa.types.is_large_list(data_type)
        or pa.types.is_fixed_size_list(data_type)
    )


def _item_type(data_type: pa.DataType) -> tuple[pa.DataType, bool]:
    if isinstance(data_type, pa.BaseExtensionType):
        data_type = data_type.storage_type
    if pa.types.is_fixed_size_list(data_type) and data_type.list_size == 1:
        return _item_type(data_type.value_type)[0], False
    if _is_list(data_type):
        return data_type.value_type, True
    return data_type, False


def _kind(data_type: pa.DataType) -> Kind:
    if pa.types.is_dictionary(data_type):
        return _kind(data_type.value_type)
    if pa.types.is_boolean(data_type):
        return "bool"
    if pa.types.is_integer(data_type):
        return "int"
    if pa.types.is_floating(data_type) or pa.types.is_decimal(data_type):
        return "float"
    if pa.types.is_null(data_type):
        return "null"
    if pa.types.is_nested(data_type):
        return "other"
    return "id"
