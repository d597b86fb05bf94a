"""Arrays of an NPZ archive read in ranges of rows, so that none of them need fit into memory.

An array in C order is inflated as it is read, from its first row to its last; the zip format has its
checksum, which is compared behind the last byte. One in Fortran order has its rows spread over all of it:
it is checked in one pass, and unpacked into a file without a name if it is compressed; then each range is
gathered from there.
"""

from __future__ import annotations

import io
import math
import shutil
import struct
import sys
import tempfile
import warnings
import zipfile
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.lib import format as npy

from gaecli.array_types import Array
from gaecli.formats.npz.members import open_member
from gaecli.records import dataclass

#: Longer headers are not read: that of an array of a thousand named fields is shorter.
MAX_HEADER_BYTES = 1 << 16
#: What is inflated at a time.
_PIECE_BYTES = 1 << 20
_LOCAL_HEADER = struct.Struct("<26xHH")  # lengths of name and extra field


@dataclass(frozen=True)
class Header:
    """What stands before the numbers of a `.npy`."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]
    #: Its own length.
    num_bytes: int

    @property
    def is_by_rows(self) -> bool:
        return not self.is_fortran or len(self.shape) <= 1


def rows_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    """As an array is read: [1, N], [N, 1] and the like are N rows of one number."""
    return (math.prod(shape),) if sum(axis != 1 for axis in shape) == 1 else shape


class NotAnArray(ValueError):
    """The bytes are there, and are not those of a `.npy`."""


def read_header(member: IO[bytes]) -> Header:
    """The header of a `.npy`, which anybody may have written."""
    magic = member.read(npy.MAGIC_LEN)
    if len(magic) < npy.MAGIC_LEN or magic[:-2] != npy.MAGIC_PREFIX:
        raise NotAnArray("the magic string is not that of a NumPy array")
    version = magic[-2], magic[-1]
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise NotAnArray(f".npy version {version} is unknown")
    size = member.read(2 if version == (1, 0) else 4)
    length = int.from_bytes(size, "little")
    if length > MAX_HEADER_BYTES:  # NumPy reads it before it looks at its length
        raise NotAnArray(f"its header claims {length:,} bytes")
    text = size + member.read(length)
    shape, is_fortran, dtype = _parsed(text, version)
    return Header(shape, is_fortran, dtype, len(magic) + len(text))


@lru_cache(maxsize=64)  # an archive of many arrays has few headers, and each is compiled as Python
def _parsed(text: bytes, version: tuple[int, int]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a header that Python 2 wrote
        try:
            shape, is_fortran, dtype = read(io.BytesIO(text), max_header_size=MAX_HEADER_BYTES)
        except Exception as error:  # whatever: it is evaluated
            raise NotAnArray(str(error)) from error
    return tuple(int(axis) for axis in shape), is_fortran, dtype


class RowReader(Protocol):
    """One array, in ranges of rows that follow one another."""

    def read(self, stop: int) -> Array:
        """The rows from where the last call ended up to `stop`."""


def open_rows(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, handles: ExitStack, num_ahead: int = 0
) -> RowReader:
    """The rows of a member of the archive at `path`; `handles` closes what is opened for it.

    `num_ahead`: so many rows at the end of each range are those that the next one begins with.
    """
    return overlapping(_open_rows(archive, info, path, handles), num_ahead)


def overlapping(reader: RowReader, num_ahead: int) -> RowReader:
    """The same ranges, each of them beginning with the last rows of the one before."""
    return _Overlapping(reader, num_ahead) if num_ahead else reader


def _open_rows(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, handles: ExitStack) -> RowReader:
    member = handles.enter_context(open_member(archive, info))
    header = read_header(member)
    header = replace(header, shape=rows_first(header.shape))
    if header.is_by_rows:
        return _InflatedArray(member, header)
    if info.compress_type == zipfile.ZIP_STORED:
        check_content(member)
        file = handles.enter_context(path.open("rb"))
        return _Gathered(file, _content_offset(file, info) + header.num_bytes, header)
    unpacked = handles.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (that is one)
    shutil.copyfileobj(member, unpacked, _PIECE_BYTES)
    return _Gathered(unpacked, 0, header)


class _InflatedArray:
    """Rows in the order in which they are stored."""

    def __init__(self, member: IO[bytes], header: Header) -> None:
        self._member = member
        self._header = header
        self._row = 0

    def read(self, stop: int) -> Array:
        header = self._header
        values = np.empty((stop - self._row, *header.shape[1:]), header.dtype)
        fill(self._member, values.reshape(-1))  # checksums are compared with the last byte
        self._row = stop
        return values


class _Gathered:
    """Rows of an array in Fortran order: a column lies in one piece, a row does not."""

    def __init__(self, file: IO[bytes], offset: int, header: Header) -> None:
        self._file = file
        self._offset = offset
        self._header = header
        self._row = 0

    def read(self, stop: int) -> Array:
        header = self._header
        num_rows, *rest = header.shape
        columns = np.empty((math.prod(rest), stop - self._row), header.dtype)
        for index, column in enumerate(columns):
            self._file.seek(self._offset + (index * num_rows + self._row) * header.dtype.itemsize)
            fill(self._file, column)
        self._row = stop
        return columns.T.reshape((columns.shape[1], *rest), order="F")


class _Overlapping:
    """Ranges that have a few rows in common with the one before."""

    def __init__(self, reader: RowReader, num_ahead: int) -> None:
        self._reader = reader
        self._num_ahead = num_ahead
        self._shared: Array | None = None

    def read(self, stop: int) -> Array:
        values = self._reader.read(stop)
        if self._shared is not None:
            values = np.concatenate((self._shared, values))
        self._shared = values[-self._num_ahead :]
        return values


def check_content(member: IO[bytes], num_bytes: int = sys.maxsize) -> None:
    """Read on to the end, where the checksum is compared, if that is no further away than this."""
    while num_bytes > 0 and (piece := member.read(_PIECE_BYTES)):
        num_bytes -= len(piece)


def _content_offset(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Where the bytes of a member begin: behind a header of its own, whose length only that header tells."""
    file.seek(info.header_offset)
    name_bytes, extra_bytes = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    return info.header_offset + _LOCAL_HEADER.size + int(name_bytes) + int(extra_bytes)


def fill(source: IO[bytes], values: Array) -> None:
    target = values.view(np.uint8).data
    position = 0
    while position < len(target):
        num_bytes = source.readinto(target[position : position + _PIECE_BYTES])  # type: ignore[attr-defined]
        if not num_bytes:
            raise EOFError("it ends too early")
        position += num_bytes
