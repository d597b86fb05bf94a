"""The rows of a file as Arrow tables, for a file of another format to be made of them.

A format that hands them over keeps `TableFile`; one that takes them is a module with `unfit` and `write_rows`,
named in its row of `registry.FORMATS`. So each of them is written once, whatever the others are. Arrays [T, N]
become rows of one cell, with the indices of its axes as columns.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from gaecli.array_types import Array
from gaecli.errors import UsageError
from gaecli.formats.base import Column, ColumnInfo, RolloutFile
from gaecli.names import ALIASES
from gaecli.records import dataclass

#: Of arrays, in one table.
_CELLS_PER_TABLE = 1 << 16


@dataclass(frozen=True, eq=False)
class Rows:
    """Columns that can be read again and again, some at a time, in tables of whatever size."""

    schema: pa.Schema
    num_rows: int
    #: Of names, tables with these columns in their order.
    tables: Callable[[Sequence[str]], Iterator[pa.Table]]


@runtime_checkable
class TableFile(Protocol):
    """A file whose columns are those of an Arrow schema."""

    schema: pa.Schema
    columns: Mapping[str, ColumnInfo]
    num_rows: int

    def tables(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """All rows with these columns, in pieces that fit in memory."""


class RowTarget(Protocol):
    """A module that makes a file of rows."""

    def unfit(self, data_type: pa.DataType) -> str | None:
        """Why cells of this type have no place in such a file; None where they have."""

    def write_rows(self, rows: Rows, path: Any) -> None:
        """Raises `UnfitRowsError` at cells that have none, which only a look at them tells."""


class UnfitRowsError(Exception):
    """A column whose cells have no place in the file: `name`, and why."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"`{name}` {why}")


def table_rows(file: TableFile, left_out: Collection[str]) -> Rows:
    """The rows of a table without some columns. `UsageError` where two columns have one name."""
    kept = [
        index for index, name in enumerate(file.schema.names) if name in file.columns and name not in left_out
    ]
    schema = pa.schema([file.schema.field(index) for index in kept], metadata=file.schema.metadata)
    twice = next((name for name, count in Counter(schema.names).items() if count > 1), None)
    if twice is not None:
        raise UsageError(
            f"two columns have the name `{twice}`, and a conversion finds columns by their names",
            hint="rename one of them",
        )
    return Rows(schema, file.num_rows, file.tables)


def array_rows(file: RolloutFile, like: str, axes: Sequence[str], left_out: Collection[str]) -> Rows:
    """The cells of arrays as rows, the last axis first.

    Args:
        file: of arrays.
        like: one whose shape is that of the steps.
        axes: roles of the indices that become columns, "step" and "env"; none for arrays [N].
        left_out: arrays that are not wanted.

    Raises:
        UsageError: at an array that has no number for each step, each environment, or all of them.
    """
    steps = _steps_of(file.columns[like], axes)
    infos = {name: info for name, info in file.columns.items() if name not in left_out}
    readers = {name: _reader(file, info, steps, axes) for name, info in infos.items()}
    inner = {name: _inner(infos[name], steps) if readers[name] == "step" else () for name in infos}
    indices = {_free_name(role, infos): axis for axis, role in enumerate(axes)}
    fields = [pa.field(name, pa.int64()) for name in indices]
    fields += [pa.field(name, _type_of(infos[name], inner[name])) for name in infos]
    schema = pa.schema(fields)

    def tables(names: Sequence[str]) -> Iterator[pa.Table]:
        wanted = [name for name in names if name in readers and readers[name] == "step"]
        whole = {name: file.read_whole(name) for name in names if name in readers and name not in wanted}
        for unit in file.units(_CELLS_PER_TABLE, like):
            for start, stop, columns in file.blocks(unit, wanted or [like], _CELLS_PER_TABLE):
                cells = np.arange(start, stop)
                places = np.unravel_index(cells, steps)
                arrays = []
                for name in names:
                    if name in indices:
                        arrays.append(pa.array(places[indices[name]].astype(np.int64)))
                    elif name in whole:
                        arrays.append(_spread(whole[name], infos[name], places, readers[name], axes))
                    else:
                        arrays.append(_arrow(columns[name], infos[name], inner[name]))
                yield pa.table(arrays, schema=pa.schema([schema.field(name) for name in names]))

    return Rows(schema, math.prod(steps), tables)


def _steps_of(info: ColumnInfo, axes: Sequence[str]) -> tuple[int, ...]:
    return info.shape[:2] if axes else (math.prod(info.shape),)


def _reader(file: RolloutFile, info: ColumnInfo, steps: tuple[int, ...], axes: Sequence[str]) -> str:
    """What an array has a number for: "step", "env", or "all"."""
    why = info.unusable or _untyped(info)
    if why is not None:
        raise UsageError(f"array `{info.name}` of `{file.path}` cannot be converted: {why}")
    is_step = info.shape[: len(steps)] == steps or (not axes and _without_ones(info.shape) == steps)
    if is_step and 0 not in _inner(info, steps):
        return "step"
    if axes and info.shape == (steps[axes.index("env")],) and steps[0] != steps[1]:
        return "env"
    if math.prod(info.shape) == 1:
        return "all"
    shown = ", ".join(map(str, info.shape))
    raise UsageError(
        f"array `{info.name}` [{shown}] of `{file.path}` has no place in rows, of which there is one for each of "
        f"[{', '.join(map(str, steps))}]",
        hint="keep the format of the input, or leave the array out of the file",
    )


def _free_name(role: str, taken: Collection[str]) -> str:
    names = ("env_id", "env_index", "env_idx") if role == "env" else ("step", "timestep", "step_index")
    free = [name for name in (*names, *ALIASES[role]) if name not in taken]
    return free[0] if free else f"{role}_of_array"


def _inner(info: ColumnInfo, steps: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one cell; in arrays [N, 1] and [1, N] it is one number, as it is beside them in [N]."""
    is_flat = len(steps) == 1 and math.prod(info.shape) == steps[0]
    return () if is_flat else info.shape[len(steps) :]


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axis for axis in shape if axis != 1)


def _untyped(info: ColumnInfo) -> str | None:
    """Why Arrow has no numbers like these."""
    try:
        if _dtype_of(info).kind not in "US":
            _numbers(_dtype_of(info))
    except pa.ArrowNotImplementedError:
        return f"Arrow has no type for {info.type_name}"
    return None


def _type_of(info: ColumnInfo, inner: tuple[int, ...]) -> pa.DataType:
    dtype = _dtype_of(info)
    item = pa.string() if dtype.kind == "U" else pa.binary() if dtype.kind == "S" else _numbers(dtype)
    for axis in reversed(inner):
        item = pa.list_(item, axis)
    return item


def _dtype_of(info: ColumnInfo) -> np.dtype[Any]:
    """NumPy has no bfloat16, which is read as float32."""
    return np.dtype(np.float32 if info.type_name == "bfloat16" else info.type_name)


def _numbers(dtype: np.dtype[Any]) -> pa.DataType:
    return pa.from_numpy_dtype(dtype.newbyteorder("="))


def _arrow(column: Column, info: ColumnInfo, inner: tuple[int, ...]) -> pa.Array:
    """Cells of a dense column, of which each is a number, a text, or an array of them."""
    cells = pa.array(np.ascontiguousarray(_plain(column, info).reshape(-1)))
    for axis in reversed(inner):
        cells = pa.FixedSizeListArray.from_arrays(cells, axis)
    return cells


def _plain(column: Column, info: ColumnInfo) -> Array:
    if column.categories is not None:
        return np.asarray(column.categories)[column.values]
    dtype = _dtype_of(info).newbyteorder("=")
    if dtype.kind in "mM":
        found = column.values.astype(np.int64).view(dtype)
        return found if column.is_null is None else np.where(column.is_null, dtype.type("NaT"), found)
    return column.values.astype(dtype, copy=False)


def _spread(
    column: Column, info: ColumnInfo, places: tuple[Array, ...], reader: str, axes: Sequence[str]
) -> pa.Array:
    """A number of an environment, or of all, at each of its steps."""
    values = _plain(column, info).reshape(-1)
    index = places[axes.index("env")] if reader == "env" else np.zeros(len(places[0]), np.int64)
    return pa.array(values[index])
