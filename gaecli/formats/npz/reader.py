"""NPZ: a zip of `.npy` arrays. Headers tell shape and type; nothing is ever unpickled, nothing extracted."""

from __future__ import annotations

import contextlib
import copy
import json
import lzma
import math
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from gaecli.errors import DataError, FileError
from gaecli.formats.base import (
    NO_REMARKS,
    NO_ROLES,
    Column,
    ColumnInfo,
    ColumnKind,
    ListedColumns,
    OutputColumn,
    Structure,
    Unit,
    WritePlan,
    array_dtype,
    damaged,
)
from gaecli.formats.npz.arrays import NotAnArray, check_content, open_rows, read_header, rows_first
from gaecli.formats.npz.members import open_member
from gaecli.formats.own_columns import fingerprint, signature
from gaecli.formats.stored import parse_document
from gaecli.rollouts import Array

COPY_BYTES = 1 << 20
#: New arrays larger than this wait on disk.
SPOOL_BYTES = 8 << 20
#: So much is read of what does not look like an array, to tell damage from what was never one.
CHECKED_BYTES = 16 << 20
#: The zip format holds the archive comment, and so the provenance, in 16 bits of length.
MAX_COMMENT_BYTES = 65_535
_SUFFIX = ".npy"
_UTF8_NAME = 0x800  # flag of a member whose name is in UTF-8
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature; lengths of name and extra field
#: What zipfile, its decompressors and NumPy raise for bytes that are not what they should be.
_MALFORMED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    struct.error,
    NotImplementedError,
    RuntimeError,  # encrypted
)
_DAMAGE = (*_MALFORMED, OSError)


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
                self._members = {_array_name(info.filename): info for info in self._infos}
                self._comment = archive.comment
                self.columns: Mapping[str, ColumnInfo] = _read_infos(archive)
        except _DAMAGE as error:
            raise _unreadable(path, error) from error
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
        return {name: _checksum(self._members[name]) for name in names if name in self._members}

    def payload(self, own_columns: Sequence[str]) -> str:
        """Names, sizes and checksums of all other members: the zip directory keeps them."""
        lines = sorted(
            f"{info.filename}:{_checksum(info)}"
            for info in self._infos
            if _array_name(info.filename) not in own_columns
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
                    readers[name] = open_rows(archive, self._members[name], self.path, handles, ahead)
            for start in range(unit.start, unit.stop, rows):
                stop = min(start + rows, unit.stop)
                columns = dict(whole)
                for name, reader in readers.items():
                    with self._told(name):
                        values = reader.read(stop + num_rows[name] - unit.stop)
                    columns[name] = self._column(name, values)
                yield start * unit.cells_per_row, stop * unit.cells_per_row, columns

    def read_whole(self, name: str) -> Column:
        info = self._usable(name)
        with contextlib.ExitStack() as handles, self._told(name):
            archive = handles.enter_context(zipfile.ZipFile(self.path))
            reader = open_rows(archive, self._members[name], self.path, handles)
            return self._column(name, reader.read((*rows_first(info.shape), 1)[0]).reshape(info.shape))
        raise AssertionError

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
            raise _unreadable(self.path, error, member) from error

    def planned_method(
        self, own_columns: Sequence[str], drop_columns: Sequence[str], *, adds: bool = True
    ) -> str:
        return NpzOutput.method

    def writer(self, temporary: Path, plan: WritePlan) -> NpzOutput:
        return NpzOutput(self, temporary, plan)


class NpzOutput:
    """A copy of an archive with new arrays; every other member keeps its bytes and its compression."""

    method = "archive"

    def __init__(self, source: NpzInput, temporary: Path, plan: WritePlan) -> None:
        self._source = source
        self._temporary = temporary
        self._plan = plan
        # The arrays grow side by side, but members of an archive stand one after the other.
        self._spools = {
            name: tempfile.SpooledTemporaryFile(SPOOL_BYTES, dir=str(temporary.parent))  # noqa: SIM115
            for name in plan.new_columns
        }

    def write(self, columns: Mapping[str, OutputColumn]) -> None:
        for name, spool in self._spools.items():
            dtype = array_dtype(self._plan.new_columns[name])
            spool.write(np.ascontiguousarray(columns[name].without_nulls(), dtype).data)

    def finish(self, provenance: dict[str, Any] | None) -> None:
        replaced = {*self._plan.own_columns, *self._plan.drop_columns, *self._plan.new_columns}
        path = self._source.path
        try:
            with path.open("rb") as file, zipfile.ZipFile(file) as archive:
                infos = archive.infolist()
                with zipfile.ZipFile(self._temporary, "w") as target:
                    _copy_members(file, archive, target, replaced)
                    for name, spool in self._spools.items():
                        info = _new_member(name, _usual_compression(infos))
                        shape, dtype = self._shape, array_dtype(self._plan.new_columns[name])
                        _write_array(target, info, shape, dtype, spool)
                    written = {name: _checksum(target.getinfo(name + _SUFFIX)) for name in self._spools}
                    document = provenance and {**provenance, **signature(self._source, self._plan, written)}
                    target.comment = _comment(document, self._source.comment_document)
        except _MALFORMED as error:
            raise _unreadable(path, error) from error

        self._close()

    @property
    def _shape(self) -> tuple[int, ...]:
        """That of the array beside which the new one stands."""
        assert self._plan.like_column is not None
        return self._source.columns[self._plan.like_column].shape

    def abort(self) -> None:
        self._close()
        self._temporary.unlink(missing_ok=True)

    def _close(self) -> None:
        for spool in self._spools.values():
            spool.close()


def _array_name(filename: str) -> str:
    return filename.removesuffix(_SUFFIX)


def _checksum(info: zipfile.ZipInfo) -> str:
    """Of the content of a member, as the zip directory keeps it."""
    return f"{info.file_size}:{info.CRC:08x}"


def _read_infos(archive: zipfile.ZipFile) -> dict[str, ColumnInfo]:
    infos = archive.infolist()
    counts = Counter(_array_name(info.filename) for info in infos)
    found = {}
    for info in infos:
        name = _array_name(info.filename)
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


def _copy_members(
    file: BinaryIO, archive: zipfile.ZipFile, target: zipfile.ZipFile, replaced: set[str]
) -> None:
    """All members but those replaced, as the bytes that they are: not inflated, not compressed again."""
    in_file_order = sorted(archive.infolist(), key=lambda info: info.header_offset)
    ends = [info.header_offset for info in in_file_order[1:]] + [archive.start_dir]
    end_of = {id(info): end for info, end in zip(in_file_order, ends, strict=True)}
    for info in archive.infolist():
        if _array_name(info.filename) in replaced:
            continue
        if info.flag_bits & _UTF8_NAME or info.filename.isascii():
            _copy_raw(file, info, end_of[id(info)], target)
        else:  # zipfile would write the name in two encodings
            _copy_content(archive, info, target)


def _copy_raw(file: BinaryIO, info: zipfile.ZipInfo, end: int, target: zipfile.ZipFile) -> None:
    """Local header, data and what follows up to the next member, and an entry in the new directory."""
    file.seek(info.header_offset)
    signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    needed = _LOCAL_HEADER.size + name_bytes + extra_bytes + info.compress_size
    if signature != b"PK\x03\x04" or info.header_offset + needed > end:
        raise zipfile.BadZipFile(f"`{info.filename}` overlaps with another member, or has no header")
    output = target.fp
    assert output is not None
    output.seek(target.start_dir)
    twin = copy.copy(info)
    twin.header_offset = target.start_dir
    file.seek(info.header_offset)
    left = end - info.header_offset
    while left:
        piece = file.read(min(left, COPY_BYTES))
        if not piece:
            raise EOFError("it ends too early")
        output.write(piece)
        left -= len(piece)
    target.start_dir = output.tell()
    target.filelist.append(twin)
    target.NameToInfo[twin.filename] = twin


def _copy_content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: zipfile.ZipFile) -> None:
    twin = zipfile.ZipInfo(info.filename, info.date_time)
    twin.compress_type = info.compress_type
    twin.external_attr = info.external_attr
    twin.comment = info.comment
    twin.file_size = info.file_size
    with open_member(archive, info) as source, target.open(twin, "w") as member:
        while piece := source.read(COPY_BYTES):
            member.write(piece)


def _usual_compression(infos: Sequence[zipfile.ZipInfo]) -> int:
    kinds = [info.compress_type for info in infos]
    return max(set(kinds), key=kinds.count) if kinds else zipfile.ZIP_STORED


def _new_member(name: str, compression: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name + _SUFFIX)
    info.compress_type = compression
    info.external_attr = 0o600 << 16
    return info


def _write_array(
    target: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    content: IO[bytes],
) -> None:
    num_bytes = math.prod(shape) * dtype.itemsize
    if content.tell() != num_bytes:
        raise AssertionError(f"{content.tell():,} bytes written for {info.filename}, not {num_bytes:,}")
    content.seek(0)
    header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    # The size is known only after writing: let the entry grow beyond 2 GiB.
    with target.open(info, "w", force_zip64=num_bytes > (1 << 30)) as member:
        npy.write_array_header_1_0(member, header)
        shutil.copyfileobj(content, member, COPY_BYTES)


def _comment(provenance: dict[str, Any] | None, other: Mapping[str, Any]) -> bytes:
    """The new comment; what else stood there stays if there is room for both."""
    if provenance is None:
        left = {key: value for key, value in other.items() if key != "gaecli"}
        if left.keys() == {"comment"} and isinstance(left["comment"], str):  # as `comment_document` put it
            return left["comment"].encode()
        return json.dumps(left, allow_nan=False, separators=(",", ":")).encode() if left else b""
    for document in ({**other, "gaecli": provenance}, {"gaecli": provenance}):
        comment = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
        if len(comment) <= MAX_COMMENT_BYTES:
            return comment
    return b""


def _unreadable(path: Path, error: Exception, member: str | None = None) -> FileError:
    if isinstance(error, FileNotFoundError):
        return FileError(f"`{path}` does not exist")
    if isinstance(error, PermissionError):
        return FileError(f"no permission to read `{path}`")
    where = f"array `{member}` of `{path}`" if member is not None else f"`{path}`"
    reason = str(error).strip() or "it ends too early"
    return FileError(
        f"{where} cannot be read as NPZ: {reason}",
        hint="the file may be truncated, or a single .npy array under the wrong name",
    )
