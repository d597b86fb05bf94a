"""What a file format has to offer, and the columns it hands over.

A format turns a file into a schema (`ColumnInfo`) and, on demand, blocks of rows (`Column`), and it
writes a copy of the file with new columns. It knows nothing of rewards or advantages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeGuard, runtime_checkable

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.errors import FileError, first_line
from gaecli.records import dataclass

#: "id" is anything that can be compared but not computed with: strings, binary. "time" is a moment or a span:
#: it says what comes first, and counts nothing.
ColumnKind = Literal["float", "int", "bool", "time", "id", "null", "other"]


#: Columns with a cell per row; arrays, each of a shape of its own; groups of arrays, each of them an episode.
Structure = Literal["table", "arrays", "episodes"]


@dataclass(frozen=True)
class ColumnInfo:
    """One column (or array) of a file, without its content.

    `shape` is that of the whole array for NPZ, (rows,) for table columns. `is_list` marks columns
    whose rows are lists; `kind` is then that of the items.
    """

    name: str
    kind: ColumnKind
    type_name: str
    shape: tuple[int, ...]
    is_list: bool = False
    #: Its lists hold lists, whose levels of one item are left out when it is read.
    is_deep: bool = False
    #: Its rows are lists of one item, taken as scalars.
    is_unpacked: bool = False
    #: Why this column cannot be used in any role, e.g. "object array: needs pickle".
    unusable: str | None = None
    #: It can be used nowhere, and its cells can be told apart all the same.
    has_whole_cells: bool = False
    #: What is wrong with the file itself where this column stands; it is `unusable` then, too.
    damage: str | None = None
    #: What it takes in memory and in the file, for arrays whose header can claim any size; 0 elsewhere.
    whole_bytes: int = 0
    stored_bytes: int = 0


def damaged(path: Path, info: ColumnInfo) -> FileError:
    """What is told of a column that is needed and that the file has lost."""
    return FileError(
        f"`{info.name}` of `{path}` cannot be read: {info.damage}",
        hint="this part of the file is damaged, or in a form that is not supported: write or copy it anew",
    )


@dataclass(frozen=True, eq=False)
class Column:
    """Rows of one column. Nulls are counted apart: to NumPy they would look like NaN.

    `values` is [n] for scalars, [n, ...] for dense arrays, the flattened items for lists (then
    `offsets` is [n + 1]). Ids that are not numbers come as codes into `categories`; times as whole numbers.
    """

    values: Array
    is_null: BoolArray | None = None
    offsets: IndexArray | None = None
    null_lists: BoolArray | None = None
    categories: Sequence[Any] | None = None
    #: The cells as codes into categories, where `values` are numbers that only stand for them: float64 has not
    #: all digits of a decimal.
    coded: Callable[[], Column] | None = None

    def as_ids(self) -> Column:
        """Cells that are equal where those of the file are; NaN, which is not equal to itself, is null."""
        if self.coded is not None:
            return self.coded()
        if self.values.dtype.kind != "f" or not np.isnan(self.values).any():
            return self
        is_null = np.isnan(self.values)
        values = np.where(is_null, self.values.dtype.type(0), self.values)
        return Column(values, is_null if self.is_null is None else is_null | self.is_null)

    @property
    def missing(self) -> BoolArray | None:
        """The cells that are null or NaN; None where none is."""
        missing = self.is_null
        if self.values.dtype.kind == "f":
            missing = np.isnan(self.values) if missing is None else missing | np.isnan(self.values)
        return missing if missing is not None and missing.any() else None

    def label(self, index: int) -> Any:
        """The value at one row as a plain Python value."""
        if self.coded is not None:
            return self.coded().label(index)
        if self.is_null is not None and self.is_null[index]:
            return None
        item = self.values[index]
        return self.categories[int(item)] if self.categories is not None else item.item()

    def rows(self, which: IndexArray | slice) -> Column:
        """These rows, in this order; any may come again. Those of a slice are not copied where each has one cell."""
        if self.offsets is None:
            return self._cells(which)
        if isinstance(which, slice):
            which = np.arange(len(self.offsets) - 1)[which]
        lengths = np.diff(self.offsets)[which]
        offsets = np.zeros(len(which) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        items = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][which] - offsets[:-1], lengths)
        null_lists = None if self.null_lists is None else self.null_lists[which]
        return replace(self._cells(items), offsets=offsets, null_lists=null_lists)

    def _cells(self, which: IndexArray | slice) -> Column:
        is_null = None if self.is_null is None else self.is_null[which]
        coded = self.coded
        again = None if coded is None else cache(lambda: coded()._cells(which))
        return Column(self.values[which], is_null, categories=self.categories, coded=again)


@dataclass(frozen=True, eq=False)
class OutputColumn:
    """New values for one column and a run of rows; lists where `offsets` is given."""

    values: Array
    is_null: BoolArray | None = None
    offsets: IndexArray | None = None
    null_lists: BoolArray | None = None

    def rows(self, which: slice) -> OutputColumn:
        """Some of the rows, where each has one cell."""
        return OutputColumn(self.values[which], None if self.is_null is None else self.is_null[which])

    def without_nulls(self) -> Array:
        """For formats that know no null: NaN, of flags -1 beside 1 and 0, and of texts the empty one."""
        if self.is_null is None:
            return self.values.astype(array_dtype(self.values.dtype), copy=False)
        absent = {"b": np.int8(-1), "U": np.str_("")}.get(self.values.dtype.kind)
        return np.where(
            self.is_null, self.values.dtype.type(np.nan) if absent is None else absent, self.values
        )


def array_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Of a new column in a format of arrays, where a flag that may be absent is no bool."""
    return np.dtype(np.int8) if dtype == np.bool_ else dtype


@dataclass(frozen=True)
class Unit:
    """Rows that are read one after the other: whole row groups, or all of an array file."""

    start: int
    stop: int
    parts: tuple[int, ...] = ()
    #: Numbers in a row of a dense array.
    cells_per_row: int = 1

    @property
    def num_rows(self) -> int:
        return self.stop - self.start

    @property
    def num_cells(self) -> int:
        return self.num_rows * self.cells_per_row


#: Why a column whose name another one has too cannot be used: nothing tells which one is meant.
TWO_COLUMNS = "two columns have this name"

#: For formats whose files know of no roles.
NO_ROLES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Remark:
    """What a file says of itself that whoever reads its rows has to know."""

    code: str
    message: str
    count: int


NO_REMARKS: tuple[Remark, ...] = ()


class RolloutFile(Protocol):
    """An opened input. Opening reads headers or footers only."""

    path: Path
    format_name: str
    structure: Structure
    num_rows: int
    #: (size, mtime in ns, inode) when opened; compared before anything is committed.
    identity: tuple[int, int, int]

    @property
    def columns(self) -> Mapping[str, ColumnInfo]: ...

    @property
    def known_roles(self) -> Mapping[str, str]:
        """Role -> column, where the data set that the file belongs to decides it and not a name."""

    @property
    def remarks(self) -> Sequence[Remark]: ...

    @property
    def provenance(self) -> dict[str, Any] | None:
        """What an earlier `gae compute` stored in this file, if it did."""

    @property
    def row_group_rows(self) -> Sequence[int] | None:
        """The rows of each row group; None for formats without them."""

    def fingerprint(self, own_columns: Sequence[str]) -> str:
        """Changes whenever anything but `own_columns` changed since they were written."""

    def struct_fields(self) -> Sequence[str]:
        """Paths of what stands in structs, one value per row; `find` knows them, `columns` does not list them."""

    def inner_fields(self) -> Sequence[str]:
        """Paths of what stands in structs, those in lists of structs included."""

    def may_hold_flags(self, name: str) -> bool:
        """False where headers tell that a column holds other numbers than 0 and 1, or one of them throughout."""

    def find(self, name: str) -> ColumnInfo | None:
        """A column by its literal name, else by a path into structs (`infos.value`, `steps.reward`)."""

    def units(self, rows_per_block: int, like: str) -> Sequence[Unit]:
        """How the rows of column `like` are best read, in order."""

    def units_with(self, units: Sequence[Unit], labels: Mapping[str, str]) -> Sequence[Unit]:
        """Of `units`, those that may have a row that reads as `labels` (column -> text), as far as headers tell."""

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        """(start, stop, columns) of consecutive blocks of at most `rows_per_block` rows.

        Of dense arrays every cell counts as a row, but no row of theirs is divided.
        Of an array that has one row more than the unit, every block brings the row behind it as well; one
        of any other length comes whole with every block.
        """

    def has_single_items(self, name: str) -> bool:
        """No row of this list column holds more than one item, whatever the levels of its lists."""

    def read_whole(self, name: str) -> Column:
        """One column in full: companions such as `last_values`."""

    def planned_method(
        self, own_columns: Sequence[str], drop_columns: Sequence[str], *, adds: bool = True
    ) -> str:
        """`FileWriter.method` of a writer that takes these columns out, told without writing.

        `adds`: and puts new ones there.
        """

    def writer(self, temporary: Path, plan: WritePlan) -> FileWriter: ...


class HoldsShortArrays(Protocol):
    """A file that may hold arrays of several lengths, or say numbers beside its columns."""

    @property
    def may_hold_short_arrays(self) -> bool: ...

    def short_arrays(self, num_rows: int) -> Mapping[str, Array]:
        """Whole numbers along one axis: of arrays that have two entries or more and fewer than `num_rows` and one.

        Or of what is told in attributes, in metadata or in JSON, of any number of entries.
        """


def holds_short_arrays(file: object) -> TypeGuard[HoldsShortArrays]:
    """Asked of every file: `isinstance` would go through all that a file could have."""
    return bool(getattr(file, "may_hold_short_arrays", False))


class ListedColumns:
    """The columns of a file whose headers name all that there is: no structs, and no lists but episodes."""

    columns: Mapping[str, ColumnInfo]

    def find(self, name: str) -> ColumnInfo | None:
        return self.columns.get(name)

    def struct_fields(self) -> Sequence[str]:
        return ()

    def inner_fields(self) -> Sequence[str]:
        return ()

    def may_hold_flags(self, name: str) -> bool:
        """The header has no statistics."""
        return name in self.columns

    def units_with(self, units: Sequence[Unit], labels: Mapping[str, str]) -> Sequence[Unit]:
        return units

    def has_single_items(self, name: str) -> bool:
        """An episode is one of whatever length."""
        return False


def item_types(columns: Mapping[str, np.dtype[Any]]) -> dict[str, str]:
    """What the items of new columns are called: `float32`, `bool`, `string`."""
    return {name: "string" if dtype.kind == "U" else dtype.name for name, dtype in columns.items()}


#: `FileWriter.method` where the bytes of the source begin the new file.
SPLICE = "splice"


@dataclass(frozen=True)
class WritePlan:
    """What will be added to a copy of a file; nothing where `own_columns` are only taken out.

    A writer without new columns is given no rows, and `finish(None)`: what it writes has nothing of gaecli's.
    """

    #: Column name -> NumPy type of its items, numbers, flags or texts; in the order in which they are appended.
    new_columns: Mapping[str, np.dtype[Any]]
    #: List columns take the type of this column ("list", "large_list"); None for scalars.
    like_column: str | None = None
    #: Columns of earlier runs that are replaced.
    own_columns: Sequence[str] = ()
    #: Columns of somebody else that are replaced (`--overwrite`).
    drop_columns: Sequence[str] = ()
    #: Columns of earlier runs that stay: as little part of the payload as the new ones.
    kept_own_columns: Sequence[str] = ()
    #: New column -> its id in the schema of a table, and that of its items; none in a file that stands alone.
    field_ids: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    #: The labels are rows of LeRobot's `language_persistent`, beside those of other styles that stand there.
    is_language: bool = False
    #: Rows of their style may be of somebody else.
    replaces_labels: bool = False
    #: Whoever sends the file on has the bytes that begin it as they begin the source: a writer leaves a hole there.
    leaves_head: bool = False
    #: The new file takes the place of the source, of which nobody reads what stands before the rows that come.
    replaces_source: bool = False
    #: Only the new columns of these row groups, in a file that `PartsWriter.place` takes.
    row_groups: Sequence[int] = ()
    #: The new columns come in such files.
    has_parts: bool = False


class FileWriter(Protocol):
    """Writes one copy under a temporary name; the pipeline renames it."""

    method: str

    def write(self, columns: Mapping[str, OutputColumn]) -> None:
        """Rows in file order, in pieces of any size."""

    def finish(self, provenance: dict[str, Any] | None) -> None:
        """Complete the file. None: nothing of gaecli's is to be in it, as there are no new columns."""

    def abort(self) -> None: ...


def record_of(writer: FileWriter) -> bytes | None:
    """What goes into a file beside the new one: `record`, after `finish`, where a format has no room for it."""
    record: bytes | None = getattr(writer, "record", None)
    return record


@dataclass(frozen=True)
class LeftOut:
    """Bytes that a new file has from another one and that were not written: there is a hole."""

    source: Path
    start: int
    length: int
    #: Where the hole begins.
    target: int


def left_out_by(writer: FileWriter) -> Sequence[LeftOut]:
    """What was not written, in the order of the file: `left_out`, after `finish`, where there are such holes."""
    left_out: Sequence[LeftOut] = getattr(writer, "left_out", ())
    return left_out


@runtime_checkable
class PartWriter(FileWriter, Protocol):
    """Writes the new columns of some row groups alone."""

    #: What whoever puts the parts together has to know besides; given before `finish`.
    numbers: FloatArray


@runtime_checkable
class PartsWriter(FileWriter, Protocol):
    """Of a format whose new columns can be encoded in parts, each by a writer of its own."""

    def place(self, part: Path, *, leaves_pages: bool) -> None:
        """The rows of a part follow; its pages may be left out."""


@runtime_checkable
class SidecarWriter(FileWriter, Protocol):
    """Writes the rows of several files into one."""

    def go_on(self, source: RolloutFile, units: Sequence[Unit]) -> None:
        """The rows of one more file follow."""


def unreadable(
    path: Path,
    error: Exception,
    title: str,
    hint: str | None,
    *,
    member: str | None = None,
    what: str | None = None,
) -> FileError:
    """The error to raise from `error`.

    Args:
        title: of the format.
        member: what part of the file it is about, if one.
        what: is wrong, where `error` does not say it itself.
    """
    if isinstance(error, FileNotFoundError):
        return FileError(f"`{path}` does not exist")
    if isinstance(error, PermissionError):
        return FileError(f"no permission to read `{path}`")
    where = f"{member} of `{path}`" if member is not None else f"`{path}`"
    return FileError(f"{where} cannot be read as {title}: {what or first_line(error)}", hint=hint)
