"""NPZ: a zip of `.npy` arrays. Headers tell shape and type; nothing is ever unpickled."""

from __future__ import annotations

import json
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from gaecli.errors import DataError, FileError
from gaecli.formats.base import Column, ColumnInfo, Kind, OutputColumn, Unit, WritePlan
from gaecli.rollouts import Array

COPY_BYTES = 1 << 20
#: The zip format holds the archive comment, and so the provenance, in 16 bits of length.
MAX_COMMENT_BYTES = 65_535
_SUFFIX = ".npy"
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, struct.error, NotImplementedError)


class NpzInput:
    """One NPZ archive, opened by its directory and the headers of its arrays."""

    format_name = "npz"

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            status = path.stat()
            with zipfile.ZipFile(path) as archive:
                self._members = {_array_name(info.filename): info for info in archive.infolist()}
                self._comment = archive.comment
                self.columns: Mapping[str, ColumnInfo] = {
                    name: _read_info(archive, name, info) for name, info in self._members.items()
                }
        except _DAMAGE as error:
            raise _unreadable(path, error) from error
        self.identity = (status.st_size, status.st_mtime_ns, status.st_ino)
        self.num_rows = max((info.shape[0] for info in self.columns.values() if info.shape), default=0)

    @property
    def provenance(self) -> dict[str, Any] | None:
        try:
            document = json.loads(self._comment)
        except ValueError:
            return None
        stored = document.get("gaecli") if isinstance(document, dict) else None
        return stored if isinstance(stored, dict) else None

    def fingerprint(self, own_columns: Sequence[str]) -> str:
        """Names, sizes and checksums of all other members: the zip directory keeps them."""
        lines = sorted(
            f"{info.filename}:{info.file_size}:{info.CRC:08x}"
            for name, info in self._members.items()
            if name not in own_columns
        )
        import hashlib

        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def find(self, name: str) -> ColumnInfo | None:
        return self.columns.get(name)

    def units(self, rows_per_block: int, like: str) -> Sequence[Unit]:
        shape = self.columns[like].shape
        return [Unit(0, shape[0])] if shape and 0 not in shape else []

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        yield unit.start, unit.stop, {name: self.read_whole(name) for name in names}

    def read_whole(self, name: str) -> Column:
        info = self.columns[name]
        if info.unusable is not None:
            raise DataError(f"array `{name}` of `{self.path}` cannot be used: {info.unusable}")
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self._members[name]) as member:
                values = npy.read_array(member, allow_pickle=False)
        except _DAMAGE as error:
            raise _unreadable(self.path, error, member=name) from error
        if info.kind == "id":
            labels, codes = np.unique(values, return_inverse=True)
            return Column(codes.astype(np.int64).reshape(values.shape), categories=labels.tolist())
        return Column(values)

    def writer(self, temporary: Path, plan: WritePlan) -> NpzOutput:
        return NpzOutput(self, temporary, plan)


class NpzOutput:
    """A copy of an archive with new arrays; every other member keeps its bytes and its compression."""

    method = "archive"

    def __init__(self, source: NpzInput, temporary: Path, plan: WritePlan) -> None:
        self._source = source
        self._temporary = temporary
        self._plan = plan
        self._pieces: dict[str, list[Array]] = {name: [] for name in plan.new_columns}

    def write(self, columns: Mapping[str, OutputColumn]) -> None:
        for name, pieces in self._pieces.items():
            column = columns[name]
            values = column.values
            if column.is_null is not None:
                values = np.where(column.is_null, np.array(np.nan, values.dtype), values)
            pieces.append(values)

    def finish(self, provenance: dict[str, Any]) -> None:
        replaced = {*self._plan.own_columns, *self._plan.drop_columns, *self._plan.new_columns}
        path = self._source.path
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(self._temporary, "w") as copy:
            for info in archive.infolist():
                if _array_name(info.filename) not in replaced:
                    _copy_member(archive, info, copy)
            compression = _usual_compression(archive.infolist())
            for name, pieces in self._pieces.items():
                _write_array(copy, name, self._shaped(name, pieces), compression)
            copy.comment = _comment({**provenance, "payload": self._source.fingerprint(tuple(replaced))})

    def _shaped(self, name: str, pieces: list[Array]) -> Array:
        """One array in the shape of the array that it stands beside."""
        values = np.concatenate(pieces) if pieces else np.zeros(0, self._plan.new_columns[name])
        like = self._plan.like_column
        shape = self._source.columns[like].shape if like is not None else values.shape
        return values.reshape(shape)

    def abort(self) -> None:
        self._pieces.clear()
        self._temporary.unlink(missing_ok=True)


def _array_name(filename: str) -> str:
    return filename.removesuffix(_SUFFIX)


def _read_info(archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> ColumnInfo:
    """Shape and type from the header; the size in the zip directory must agree with it."""
    try:
        with archive.open(info) as member:
            shape, dtype, header_bytes = _read_header(member)
    except (*_DAMAGE, RuntimeError) as error:
        return ColumnInfo(name, "other", "not an array", (), unusable=f"not a NumPy array ({error})")
    if dtype.hasobject:
        reason = "object array: reading it would mean unpickling, which can run code"
        return ColumnInfo(name, "other", "object", shape, unusable=reason)
    if header_bytes + math.prod(shape) * dtype.itemsize != info.file_size:
        reason = "its header and its size disagree"
        return ColumnInfo(name, "other", str(dtype), shape, unusable=reason)
    kind = _kind(dtype)
    unusable = f"type {dtype} holds no numbers" if kind == "other" else None
    return ColumnInfo(name, kind, str(dtype), shape, unusable=unusable)


def _read_header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    version = npy.read_magic(member)
    if version == (1, 0):
        shape, _, dtype = npy.read_array_header_1_0(member)
    elif version in ((2, 0), (3, 0)):
        shape, _, dtype = npy.read_array_header_2_0(member)
    else:
        raise ValueError(f".npy version {version} is unknown")
    return tuple(int(length) for length in shape), dtype, member.tell()


def _kind(dtype: np.dtype[Any]) -> Kind:
    if dtype.kind == "b":
        return "bool"
    if dtype.kind in "iu":
        return "int"
    if dtype.kind == "f":
        return "float"
    return "id" if dtype.kind in "USMm" else "other"


def _copy_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, copy: zipfile.ZipFile) -> None:
    twin = zipfile.ZipInfo(info.filename, info.date_time)
    twin.compress_type = info.compress_type
    twin.external_attr = info.external_attr
    twin.comment = info.comment
    twin.file_size = info.file_size
    with archive.open(info) as source, copy.open(twin, "w") as target:
        while piece := source.read(COPY_BYTES):
            target.write(piece)


def _usual_compression(infos: Sequence[zipfile.ZipInfo]) -> int:
    kinds = [info.compress_type for info in infos]
    return max(set(kinds), key=kinds.count) if kinds else zipfile.ZIP_STORED


def _write_array(copy: zipfile.ZipFile, name: str, values: Array, compression: int) -> None:
    info = zipfile.ZipInfo(name + _SUFFIX)
    info.compress_type = compression
    info.external_attr = 0o600 << 16
    # The size is known only after writing: let the entry grow beyond 2 GiB.
    with copy.open(info, "w", force_zip64=values.nbytes > (1 << 30)) as member:
        npy.write_array(member, values, allow_pickle=False)


def _comment(provenance: dict[str, Any]) -> bytes:
    comment = json.dumps({"gaecli": provenance}, allow_nan=False, separators=(",", ":")).encode()
    return comment if len(comment) <= MAX_COMMENT_BYTES else b""


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
