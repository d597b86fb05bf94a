"""NPZ: a zip of `.npy` arrays. Headers tell shape and type; nothing is ever unpickled, nothing extracted."""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from gaecli.array_types import Array
from gaecli.errors import DataError, FileError
from gaecli.formats.base import (
    NO_REMARKS,
    NO_ROLES,
    Column,
    ColumnInfo,
    ColumnKind,
    ListedColumns,
    Structure,
    Unit,
    WritePlan,
    damaged,
)
from gaecli.formats.npz.arrays import (
    NotAnArray,
    RowReader,
    check_content,
    open_rows,
    read_header,
    rows_first,
)
from gaecli.formats.npz.members import MALFORMED, array_name, checksum, npz_error, open_member
from gaecli.formats.npz.writer import NpzOutput, usual_compression
from gaecli.formats.own_columns import fingerprint
from gaecli.formats.stored import parse_document

#: From this size on arrays are worth a thread each.
_LARGE_BYTES = 16 << 20
#: So much is read of what does not look like an array, to tell damage from what was never one.
CHECKED_BYTES = 16 << 20
#: What is raised for bytes that are not what they should be, and for those that cannot be had.
_DAMAGE = (*MALFORMED, OSError)


#: The name of an array and a row up to which it is read -> what gives the rows.
_Read = Callable[[str, int], Callable[[], Array]]


class NpzInput(ListedColumns):
    """One NPZ archive, opened by its directory and the headers of its arrays."""

    format_name = "npz"
    structure: Structure = "arrays"
    row_group_rows = None
    known_roles = NO_ROLES
    remarks = NO_REMARKS

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            status = path.stat()
            with zipfile.ZipFile(path) as archive:
                self._infos = archive.infolist()
                self._members = {array_name(info.filename): info for info in self._infos}
                self._comment = archive.comment
                self.columns: Mapping[str, ColumnInfo] = _read_infos(archive)
        except _DAMAGE as error:
            raise npz_error(path, error) from error
        self.identity = (status.st_size, status.st_mtime_ns, status.st_ino)
        self.num_rows = max((info.shape[0] for info in self.columns.values() if info.shape), default=0)

    @cached_property
    def provenance(self) -> dict[str, Any] | None:
        stored = self.comment_document.get("gaecli")
        return stored if isinstance(stored, dict) else None

    @property
    def comment_document(self) -> dict[str, Any]:
        """The comment of the archive; one of somebody else stands under `comment`."""
        document = parse_document(self._comment)
        if document is not None:
            return document
        return {"comment": self._comment.decode("utf-8", "replace")} if self._comment else {}

    def fingerprint(self, own_columns: Sequence[str]) -> str:
        return fingerprint(self, own_columns)

    def digests(self, names: Sequence[str]) -> dict[str, str]:
        return {name: checksum(self._members[name]) for name in names if name in self._members}

    def payload(self, own_columns: Sequence[str]) -> str:
        """Names, sizes and checksums of all other members: the zip directory keeps them."""
        lines = sorted(
            f"{info.filename}:{checksum(info)}"
            for info in self._infos
            if array_name(info.filename) not in own_columns
        )
        import hashlib

        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def units(self, rows_per_block: int, like: str) -> Sequence[Unit]:
        shape = rows_first(self.columns[like].shape)
        return [Unit(0, shape[0], cells_per_row=math.prod(shape[1:]))] if shape and 0 not in shape else []

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        rows = max(1, rows_per_block // unit.cells_per_row)
        num_rows = {name: (*rows_first(self._usable(name).shape), 0)[0] for name in names}
        whole = {name: self.read_whole(name) for name in names if num_rows[name] - unit.stop not in (0, 1)}
        with contextlib.ExitStack() as handles:
            with self._told():
                archive = handles.enter_context(zipfile.ZipFile(self.path))
            readers = {}
            for name in num_rows.keys() - whole.keys():
                with self._told(name):
                    ahead = num_rows[name] - unit.stop
                    readers[name] = self._rows(archive, name, handles, ahead)
            read = handles.enter_context(self._reading(readers))
            for start in range(unit.start, unit.stop, rows):
                stop = min(start + rows, unit.stop)
                columns = dict(whole)
                found = {name: read(name, stop + num_rows[name] - unit.stop) for name in readers}
                for name, values in found.items():
                    with self._told(name):
                        columns[name] = self._column(name, values())
                yield start * unit.cells_per_row, stop * unit.cells_per_row, columns

    def _rows(
        self, archive: zipfile.ZipFile, name: str, handles: contextlib.ExitStack, num_ahead: int = 0
    ) -> RowReader:
        return open_rows(archive, self._members[name], self.path, handles, num_ahead)

    @contextlib.contextmanager
    def _reading(self, readers: Mapping[str, RowReader]) -> Iterator[_Read]:
        """Of a name, the rows up to one, there once they are asked for: large arrays are inflated side by side."""
        large = [
            name
            for name in readers
            if self.columns[name].whole_bytes >= _LARGE_BYTES
            and self._members[name].compress_type != zipfile.ZIP_STORED
        ]
        if len(large) < 2:
            yield lambda name, stop: partial(readers[name].read, stop)
            return
        with ThreadPoolExecutor(len(large), "npz-inflate") as pool:
            yield lambda name, stop: pool.submit(readers[name].read, stop).result

    def read_whole(self, name: str) -> Column:
        info = self._usable(name)
        with contextlib.ExitStack() as handles, self._told(name):
            archive = handles.enter_context(zipfile.ZipFile(self.path))
            reader = self._rows(archive, name, handles)
            return self._column(name, reader.read((*rows_first(info.shape), 1)[0]).reshape(info.shape))
        raise AssertionError

    may_hold_short_arrays = True

    def short_arrays(self, num_rows: int) -> Mapping[str, Array]:
        from gaecli.formats.told_entries import entries_in, entries_of

        found: dict[str, Array | None] = {}
        for name, info in self.columns.items():
            if info.unusable is not None:
                continue
            if info.kind == "int" and len(info.shape) in (1, 2) and info.shape[1:] in ((), (2,)):
                if 2 <= info.shape[0] <= num_rows + 1 and info.shape[0] != num_rows:
                    found[name] = entries_of(self.read_whole(name).values)
            elif info.kind == "id" and info.shape == ():
                column = self.read_whole(name)
                found.update(entries_in(name, str(replace(column, values=column.values.reshape(1)).label(0))))
        return {name: entries for name, entries in found.items() if entries is not None}

    def _usable(self, name: str) -> ColumnInfo:
        info = self.columns[name]
        if info.damage is not None:
            raise damaged(self.path, info)
        if info.unusable is not None:
            raise DataError(f"array `{name}` of `{self.path}` cannot be used: {info.unusable}")
        return info

    def _column(self, name: str, values: Array) -> Column:
        kind = self.columns[name].kind
        if kind == "time":
            is_null = np.isnat(values)
            numbers = np.where(is_null, 0, values.view(np.int64))
            return Column(numbers, is_null if is_null.any() else None, coded=lambda: _coded(values))
        return _coded(values) if kind == "id" else Column(values)

    @contextlib.contextmanager
    def _told(self, member: str | None = None) -> Iterator[None]:
        """Damage is told as an error of the file, and of the array."""
        try:
            yield
        except _DAMAGE as error:
            raise self._unreadable(error, member) from error

    def _unreadable(self, error: Exception, member: str | None) -> FileError:
        return npz_error(self.path, error, member)

    def planned_method(
        self, own_columns: Sequence[str], drop_columns: Sequence[str], *, adds: bool = True
    ) -> str:
        return NpzOutput.method

    def writer(self, temporary: Path, plan: WritePlan) -> NpzOutput:
        return NpzOutput(self, usual_compression(self._infos), temporary, plan)


def _read_infos(archive: zipfile.ZipFile) -> dict[str, ColumnInfo]:
    infos = archive.infolist()
    counts = Counter(array_name(info.filename) for info in infos)
    found = {}
    for info in infos:
        name = array_name(info.filename)
        if counts[name] > 1:
            found[name] = ColumnInfo(name, "other", "?", (), unusable="two arrays have this name")
        else:
            found[name] = _read_info(archive, name, info)
    return found


def _read_info(archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> ColumnInfo:
    """Shape and type from the header; the size in the zip directory must agree with it.

    What is no array, or claims to be another one, may be a damaged one: its checksum tells.
    """
    try:
        with open_member(archive, info) as member:
            try:
                header = read_header(member)
            except NotAnArray as error:
                check_content(member, CHECKED_BYTES)
                reason = f"not a NumPy array ({error})"
                return ColumnInfo(name, "other", "not an array", (), unusable=reason)
            shape, dtype = header.shape, header.dtype
            num_bytes = math.prod(shape) * dtype.itemsize
            is_whole = header.num_bytes + num_bytes == info.file_size and all(axis >= 0 for axis in shape)
            if not is_whole and not dtype.hasobject:
                check_content(member, CHECKED_BYTES)
    except _DAMAGE as error:
        reason = str(error).strip() or "it ends too early"
        return ColumnInfo(name, "other", "damaged", (), unusable=reason, damage=reason)
    if dtype.hasobject:
        reason = "object array: reading it would mean unpickling, which can run code"
        return ColumnInfo(name, "other", "object", shape, unusable=reason)
    if not is_whole:
        reason = "its header and its size disagree"
        return ColumnInfo(name, "other", str(dtype), shape, unusable=reason)
    kind = _kind(dtype)
    unusable = f"type {dtype} holds no numbers" if kind == "other" else None
    return ColumnInfo(
        name,
        kind,
        str(dtype),
        shape,
        unusable=unusable,
        whole_bytes=num_bytes,
        stored_bytes=info.compress_size,
    )


def _kind(dtype: np.dtype[Any]) -> ColumnKind:
    if dtype.kind == "b":
        return "bool"
    if dtype.kind in "iu":
        return "int"
    if dtype.kind == "f":
        return "float"
    if dtype.kind in "mM":
        return "time"
    return "id" if dtype.kind in "US" else "other"


def _coded(values: Array) -> Column:
    labels, codes = np.unique(values, return_inverse=True)
    return Column(codes.astype(np.int64).reshape(values.shape), categories=labels.tolist())
