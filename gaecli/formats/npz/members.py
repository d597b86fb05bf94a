"""Members of a zip archive as streams of bytes that inflate no more than is asked for.

zipfile keeps to that with deflate, but takes its time. What it has read of bzip2 and LZMA it inflates in one go, and
a kilobyte of bzip2 may be a gigabyte: all of them are inflated here, deflate where there is a faster library for it.
"""

from __future__ import annotations

import bz2
import copy
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from gaecli.errors import FileError
from gaecli.formats.base import unreadable
from gaecli.formats.npz import deflate

SUFFIX = ".npy"
#: What zipfile, its decompressors and NumPy raise for bytes that are not what they should be.
MALFORMED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    struct.error,
    NotImplementedError,
    RuntimeError,  # encrypted
)
#: Compressed bytes that are read at a time.
_PACKED_BYTES = 1 << 18
_BUFFER_BYTES = 1 << 14
#: What LZMA may take to remember: `xz -9` takes 65 MiB, a header may ask for 4 GiB.
_LZMA_MEMORY_BYTES = 256 << 20
_LZMA_HEADER = struct.Struct("<2xH")  # version of the packer; length of the properties
_LZMA_PROPERTIES_BYTES = 5
_UNKNOWN_SIZE = b"\xff" * 8


def open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """The content of a member, its checksum compared behind the last byte. Raises what zipfile raises."""
    kind = info.compress_type
    if kind == zipfile.ZIP_STORED or (kind == zipfile.ZIP_DEFLATED and not deflate.is_fast()):
        return archive.open(info)
    if kind not in _INFLATERS:
        raise NotImplementedError(f"compression method {kind} is not supported")
    # As if it were stored: zipfile checks all that stands around the bytes, and hands them over as they are.
    packed = copy.copy(info)
    packed.compress_type = zipfile.ZIP_STORED
    packed.file_size = info.compress_size
    packed.CRC = None  # type: ignore[assignment] # it is that of what comes out of them
    return cast("IO[bytes]", io.BufferedReader(_InflatedMember(archive.open(packed), info), _BUFFER_BYTES))


class _InflatedMember(io.RawIOBase):
    """What a compressed stream holds; `packed` is closed with it."""

    def __init__(self, packed: IO[bytes], info: zipfile.ZipInfo) -> None:
        self._packed = packed
        self._info = info
        self._inflater = _INFLATERS[info.compress_type](packed)
        self._left = info.file_size
        self._checksum = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._next(min(len(buffer), self._left))
        buffer[: len(piece)] = piece
        self._left -= len(piece)
        self._checksum = deflate.crc32(piece, self._checksum)
        if not self._left and self._checksum != self._info.CRC:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {self._info.filename!r}")
        return len(piece)

    def _next(self, most: int) -> bytes:
        piece = b""
        while most and not piece:
            packed = self._packed.read(_PACKED_BYTES) if self._inflater.needs_input else b""
            if self._inflater.eof or (self._inflater.needs_input and not packed):
                raise EOFError("it ends too early")
            piece = self._inflater.decompress(packed, most)
        return piece

    def close(self) -> None:
        self._packed.close()
        super().close()


def _lzma_inflater(packed: IO[bytes]) -> lzma.LZMADecompressor:
    """For the format of `.lzma` files, which has the same properties and then the size, if it is known."""
    header = packed.read(_LZMA_HEADER.size)
    (length,) = _LZMA_HEADER.unpack(header)
    if length != _LZMA_PROPERTIES_BYTES:
        raise lzma.LZMAError(f"LZMA properties of {length} bytes")
    inflater = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_LZMA_MEMORY_BYTES)
    inflater.decompress(packed.read(length) + _UNKNOWN_SIZE, 0)
    return inflater


_INFLATERS: dict[int, Callable[[IO[bytes]], Any]] = {
    zipfile.ZIP_DEFLATED: lambda packed: deflate.Inflater(),
    zipfile.ZIP_BZIP2: lambda packed: bz2.BZ2Decompressor(),
    zipfile.ZIP_LZMA: _lzma_inflater,
}


def array_name(filename: str) -> str:
    return filename.removesuffix(SUFFIX)


def checksum(info: zipfile.ZipInfo) -> str:
    """Of the content of a member, as the zip directory keeps it."""
    return f"{info.file_size}:{info.CRC:08x}"


def npz_error(path: Path, error: Exception, member: str | None = None) -> FileError:
    """What to raise from it."""
    hint = "the file may be truncated, or a single .npy array under the wrong name"
    array = None if member is None else f"array `{member}`"
    return unreadable(path, error, "NPZ", hint, member=array, what=str(error).strip() or "it ends too early")
