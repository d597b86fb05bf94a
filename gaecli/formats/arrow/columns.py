"""Arrow arrays to `Column`s and back; shared by every format that pyarrow reads."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from gaecli.array_types import BoolArray, IndexArray
from gaecli.errors import DataError
from gaecli.formats.arrow.buffers import CellError, nulls_of, primitive_array, validity_buffer, values_of
from gaecli.formats.base import TWO_COLUMNS, Column, ColumnInfo, ColumnKind, OutputColumn, Unit
from gaecli.names import STEP_LISTS, is_alias

#: What an item of a list has that is a step of a trajectory.
_OF_STEPS = ("done", "done_start", "terminated", "truncated", "not_done", "step")


def column_info(name: str, data_type: pa.DataType, num_rows: int, unusable: str | None = None) -> ColumnInfo:
    """Describe a table column."""
    item_type, depth = _item_type(data_type)
    kind = _kind(item_type)
    has_whole_cells = unusable is None and is_struct(item_type)
    if kind == "other" and unusable is None:
        unusable = f"type {data_type} holds no numbers"
    return ColumnInfo(
        name,
        kind,
        str(data_type),
        (num_rows,),
        depth > 0,
        depth > 1,
        unusable=unusable,
        has_whole_cells=has_whole_cells,
    )


def schema_columns(schema: pa.Schema, num_rows: int) -> dict[str, ColumnInfo]:
    """Every top-level column, and the fields of lists of structs that are the steps of a trajectory."""
    columns: dict[str, ColumnInfo] = {}
    for field in schema:
        reason = TWO_COLUMNS if field.name in columns else None
        columns[field.name] = column_info(field.name, field.type, num_rows, reason)
    for field in schema:
        if columns[field.name].is_list and columns[field.name].has_whole_cells and _holds_steps(field):
            for child in field.type.value_type:
                name = f"{field.name}.{child.name}"
                columns.setdefault(name, column_info(name, output_type(child.type, field.type), num_rows))
    return columns


def _holds_steps(field: pa.Field) -> bool:
    """`steps` of RLDS whatever is in it; another list of structs that holds a number called as rewards are, if the
    list is called as steps are, or something ends or counts its items: else these may be responses to one prompt.
    """
    item = field.type.value_type
    if not pa.types.is_struct(item) or field.name == "steps":
        return bool(pa.types.is_struct(item))
    rewards = [child for child in item if is_alias(child.name, "reward")]
    if not any(_kind(child.type) in ("float", "int") for child in rewards):
        return False
    return field.name.lower() in STEP_LISTS or any(is_alias(child.name, *_OF_STEPS) for child in item)


class SharedSchema(NamedTuple):
    """The schema of a file, and its columns: the very objects of the file before, where they are equal.

    Of thousands of files most are alike, and what they share takes no room of its own.
    """

    schema: pa.Schema
    columns: Mapping[str, ColumnInfo]
    num_rows: int

    @classmethod
    def of(cls, schema: pa.Schema, num_rows: int) -> SharedSchema:
        global _last_schema
        last = _last_schema
        if last is not None and last.schema.equals(schema, check_metadata=True):
            if last.num_rows == num_rows:
                return last
            schema = last.schema
        found = _last_schema = cls(schema, schema_columns(schema, num_rows), num_rows)
        return found


_last_schema: SharedSchema | None = None


def struct_fields(schema: pa.Schema, *, in_lists: bool = False) -> list[str]:
    """Dotted paths of all that stands in structs with one value per row, or in lists of structs as well."""
    found: list[str] = []
    columns = set(schema.names)
    waiting = deque((field.name, field.type) for field in schema)
    while waiting:
        path, data_type = waiting.popleft()
        if in_lists and is_list(data_type):
            waiting.append((path, data_type.value_type))
        elif pa.types.is_struct(data_type):
            waiting += [(f"{path}.{child.name}", child.type) for child in data_type]
        elif path not in columns:
            found.append(path)
    return found


class SchemaColumns:
    """The columns of a file with an Arrow schema, by their names."""

    schema: pa.Schema
    columns: Mapping[str, ColumnInfo]
    num_rows: int

    def struct_fields(self) -> Sequence[str]:
        return struct_fields(self.schema)

    def inner_fields(self) -> Sequence[str]:
        return struct_fields(self.schema, in_lists=True)

    def find(self, name: str) -> ColumnInfo | None:
        """A literal column name first (`next.reward` in LeRobot), then a struct path (`infos.value`)."""
        if name in self.columns:
            return self.columns[name]
        return nested_info(name, self.schema, self.num_rows)

    def may_hold_flags(self, name: str) -> bool:
        """Where the header has no statistics."""
        return self.find(name) is not None

    def units_with(self, units: Sequence[Unit], labels: Mapping[str, str]) -> Sequence[Unit]:
        """The same."""
        return units


def nested_info(name: str, schema: pa.Schema, num_rows: int) -> ColumnInfo | None:
    """A child of structs by its dotted path, or None; structs may stand in a list."""
    data_type = type_of(name, schema)
    return None if data_type is None else column_info(name, data_type, num_rows)


def type_of(name: str, schema: pa.Schema) -> pa.DataType | None:
    """The type of a column by its literal name, else by its path; in a list of structs, a list of the child."""
    path = path_of(name, schema)
    return None if path is None else _type_at(schema.field(path[0]).type, path[1:])


def path_of(name: str, schema: pa.Schema) -> tuple[str, ...] | None:
    """The fields that lead to a column; their own names may have dots in them, and the longest is meant."""
    if schema.get_field_index(name) >= 0:
        return (name,)
    heads = accumulate(name.split(".")[:-1], "{}.{}".format)
    if all(schema.get_field_index(head) < 0 for head in heads):
        return None
    return _path_in(pa.struct(list(schema)), name)


def _path_in(data_type: pa.DataType, name: str) -> tuple[str, ...] | None:
    data_type = _storage(data_type)
    if is_list(data_type):
        return _path_in(data_type.value_type, name)
    if not pa.types.is_struct(data_type):
        return None
    if data_type.get_field_index(name) >= 0:
        return (name,)
    head, dot, tail = name.rpartition(".")
    while dot:
        index = data_type.get_field_index(head)
        inner = None if index < 0 else _path_in(data_type.field(index).type, tail)
        if inner is not None:
            return (head, *inner)
        head, dot, more = head.rpartition(".")
        tail = f"{more}.{tail}"
    return None


def _type_at(data_type: pa.DataType, path: Sequence[str]) -> pa.DataType:
    data_type = _storage(data_type) if path else data_type
    if path and is_list(data_type):
        return output_type(_type_at(data_type.value_type, path), data_type)
    return _type_at(data_type.field(path[0]).type, path[1:]) if path else data_type


def pick(batch: pa.Table | pa.RecordBatch, name: str, source: Path) -> Column:
    """A column of `batch` by its literal name, else by its path. `source`: the file, for messages."""
    head, *path = path_of(name, batch.schema) or (name,)
    array = batch.column(batch.schema.get_field_index(head))
    try:
        return to_column(array, path)
    except _TooDeepError as error:
        raise DataError(
            f"`{name}` of `{source}` holds lists of lists ({array.type}), and more than one item in both",
            hint="there is one number per step; name another column with its `--…-column`",
        ) from error
    except CellError as error:
        raise DataError(
            f"cells of `{name}` of `{source}` ({array.type}) cannot be compared: {error}",
            hint="name a field of it, or a column beside it",
        ) from error
    except _TooManyError as error:
        raise DataError(
            f"`{name}` of `{source}` ({array.type}) repeats what is in the file to {error} items in one batch",
            hint="write the file again with smaller batches, or with plain lists",
        ) from error


class _TooDeepError(Exception):
    """Lists of lists, neither of which has one item only."""


class _TooManyError(Exception):
    """Lists that share their items, and would take memory out of all proportion to the file."""


#: 2 GiB of float64.
_MOST_SHARED_ITEMS = 1 << 28


def are_single(columns: Iterable[Column]) -> bool:
    """No list among these blocks of a column has more than one item."""
    return all(column.offsets is None or (np.diff(column.offsets) <= 1).all() for column in columns)


def to_column(array: pa.Array, path: Sequence[str] = ()) -> Column:
    """Values, nulls and list offsets of an Arrow array, or of what stands at `path` within its structs."""
    if isinstance(array, pa.ChunkedArray):
        # Putting one chunk together with nothing would copy it.
        array = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if isinstance(array, pa.RunEndEncodedArray):
        return _run_by_run(array, path)
    if path and pa.types.is_struct(array.type):
        # Not `.field(part)`: it ignores the nulls and the slice of the struct itself.
        return to_column(array.flatten()[array.type.get_field_index(path[0])], path[1:])
    if path:
        return _list_column(array, path)
    if is_struct(_item_type(array.type)[0]):
        from gaecli.formats.arrow.whole_cells import whole_cells

        return whole_cells(array)
    if is_list(array.type):
        return _list_column(array)
    return _scalar_column(array)


def output_type(item: pa.DataType, like: pa.DataType | None) -> pa.DataType:
    """Type of a new column: `item`, or a list of it in the manner of the column that it stands beside."""
    like = _storage(like)
    if like is None:
        return item
    if pa.types.is_large_list(like) or pa.types.is_large_list_view(like):
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


def _scalar_column(array: pa.Array) -> Column:
    data_type = array.type
    if pa.types.is_null(data_type):
        return Column(np.zeros(len(array)), is_null=np.ones(len(array), np.bool_))
    if pa.types.is_dictionary(data_type):
        return _scalar_column(array.dictionary_decode()) if _kind(data_type) != "id" else _coded(array)
    if pa.types.is_decimal(data_type):
        return _decimals(array)
    if _kind(data_type) == "time":
        numbers = array.view(pa.int32() if data_type.bit_width == 32 else pa.int64())
        coded = functools.cache(lambda: _coded(array.dictionary_encode()))
        return Column(values_of(numbers).astype(np.int64), nulls_of(array), coded=coded)
    if _kind(data_type) == "id":
        return _coded(array.dictionary_encode())
    return Column(values_of(array), nulls_of(array))


def _decimals(array: pa.Array) -> Column:
    """Whole ones as int64 if they all fit; else float64, and codes for who needs every digit."""
    if array.type.bit_width < 128:  # pyarrow has no functions for those
        array = array.cast(pa.decimal128(38, array.type.scale))
    if array.type.scale == 0:
        try:
            whole = array.cast(pa.int64())
        except pa.ArrowInvalid:
            pass
        else:
            return Column(values_of(whole), nulls_of(whole))
    numbers = array.cast(pa.float64())
    coded = functools.cache(lambda: _coded(array.dictionary_encode()))
    return Column(values_of(numbers), nulls_of(numbers), coded=coded)


def _coded(array: pa.DictionaryArray) -> Column:
    is_null = nulls_of(array.indices)
    codes = values_of(array.indices).astype(np.int64)
    if is_null is not None:
        codes = np.where(is_null, -1, codes)
    return Column(codes, is_null, categories=_labels(array.dictionary))


def _labels(distinct: pa.Array) -> list[Any]:
    """The same of a cell whatever stands beside it: by them ids of one block are found again in the next."""
    if pa.types.is_time(distinct.type):  # Python has no nanoseconds of a day, and goes round at its end
        distinct = distinct.cast(pa.string())
    elif pa.types.is_timestamp(distinct.type) and distinct.type.tz is not None:
        # An hour that comes twice has two times that Python takes for equal; and not every zone is known here.
        distinct = distinct.view(pa.timestamp(distinct.type.unit, "UTC"))
    try:
        labels: list[Any] = distinct.to_pylist()
    except (ValueError, OverflowError):
        return list(map(_label, distinct))
    if not pa.types.is_decimal(distinct.type):
        return labels
    # Equal to the int64 that the same ids are in a block where all of them fit; texts go into JSON as they are.
    return [_plain(label) if label is not None else None for label in labels]


def _label(cell: pa.Scalar) -> Any:
    try:
        return cell.as_py()
    except (ValueError, OverflowError):  # nanoseconds, which only pandas can hold, or beyond the year 9999
        return cell.cast(pa.string()).as_py()


def _plain(number: Decimal) -> int | str:
    return int(number) if number == number.to_integral_value() else str(number)


def _run_by_run(array: pa.RunEndEncodedArray, path: Sequence[str]) -> Column:
    """Every value as often as its run is long."""
    # The children know nothing of the slice.
    ends = np.clip(values_of(array.run_ends).astype(np.int64) - array.offset, 0, len(array))
    runs = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    column = to_column(array.values, path)
    if column.offsets is not None:
        _refuse_many(int(np.diff(column.offsets)[runs].sum()), len(column.values))
    return column.rows(runs)


def _refuse_many(num_items: int, num_stored: int) -> None:
    if num_items > max(_MOST_SHARED_ITEMS, num_stored):
        raise _TooManyError(f"{num_items:,}")


def _list_column(array: pa.Array, path: Sequence[str] = ()) -> Column:
    null_lists = nulls_of(array)
    if pa.types.is_fixed_size_list(array.type):
        lengths = np.full(len(array), array.type.list_size)
    elif _is_view(array.type):
        lengths = values_of(array.sizes)
    else:
        lengths = np.diff(values_of(array.offsets))
    if null_lists is not None:
        lengths = np.where(null_lists, 0, lengths)
    offsets = np.zeros(len(array) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    if _is_view(array.type):
        _refuse_many(offsets[-1], len(array.values))
    # `flatten` honours slices and leaves out the items of null lists, as the lengths above do.
    items = to_column(array.flatten(), path)
    if items.offsets is not None:
        return _flattened(items, offsets, null_lists)
    return Column(items.values, items.is_null, offsets, null_lists, items.categories, items.coded)


def _flattened(inner: Column, offsets: IndexArray, null_lists: BoolArray | None) -> Column:
    """Lists of lists, of which one level holds one item at most, as lists: [T, 1] and [1, T] are [T]."""
    assert inner.offsets is not None
    has_item = np.diff(inner.offsets) == 1
    if has_item.all():
        return replace(inner, offsets=offsets, null_lists=null_lists)
    if (np.diff(offsets) <= 1).all():
        return replace(inner, offsets=inner.offsets[offsets], null_lists=null_lists)
    raise _TooDeepError


def is_list(data_type: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(data_type)
        or pa.types.is_large_list(data_type)
        or pa.types.is_fixed_size_list(data_type)
        or _is_view(data_type)
    )


def _is_view(data_type: pa.DataType) -> bool:
    return bool(pa.types.is_list_view(data_type) or pa.types.is_large_list_view(data_type))


def _storage(data_type: pa.DataType | None) -> pa.DataType | None:
    """What a tensor and other types of an extension are made of, and what runs are runs of."""
    while True:
        if isinstance(data_type, pa.BaseExtensionType):
            data_type = data_type.storage_type
        elif isinstance(data_type, pa.RunEndEncodedType):
            data_type = data_type.value_type
        else:
            return data_type


def is_struct(data_type: pa.DataType) -> bool:
    """Maps are structs whose names are data."""
    return bool(pa.types.is_struct(data_type) or pa.types.is_map(data_type))


def _item_type(data_type: pa.DataType) -> tuple[pa.DataType, int]:
    """(the type of the items, levels of lists)."""
    data_type = _storage(data_type)
    if not is_list(data_type):
        return data_type, 0
    item_type, depth = _item_type(data_type.value_type)
    return item_type, depth + 1


def _kind(data_type: pa.DataType) -> ColumnKind:
    if pa.types.is_dictionary(data_type):
        return _kind(data_type.value_type)
    if pa.types.is_boolean(data_type):
        return "bool"
    if pa.types.is_integer(data_type):
        return "int"
    if pa.types.is_decimal(data_type):
        return "int" if data_type.scale == 0 else "float"
    if pa.types.is_floating(data_type):
        return "float"
    if pa.types.is_null(data_type):
        return "null"
    if pa.types.is_nested(data_type) or pa.types.is_interval(data_type):
        return "other"
    return "time" if pa.types.is_temporal(data_type) else "id"
