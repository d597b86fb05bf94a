"""Files of an Iceberg table by the locations that its metadata spell, and no others.

Metadata name every file by its full location, wherever that is. Here those count that lie below the location of
the table, as files below the folder where it is found now, and those that do lie below that folder.
"""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path
from typing import Any

from pyiceberg.io import FileIO, InputFile, OutputFile

from gaecli.datasets.tables import MAX_LOG_BYTES, own_path, too_large

TITLE = "Iceberg table"
#: Of manifests in codecs whose content cannot be counted in advance.
_MAX_PACKED_BYTES = 8 << 20
_SYNC_BYTES = 16


class TableFiles(FileIO):
    """Reads and writes below the root of one table."""

    def __init__(self, root: Path, location: str) -> None:
        super().__init__({})
        self._root = root
        self._location = _path(location).rstrip("/")
        #: What was written, for the case that it has to go again.
        self.created: list[Path] = []

    def local(self, location: str | InputFile | OutputFile) -> Path:
        """`FileError` where it leads out of the table."""
        text = location if isinstance(location, str) else location.location
        path = _path(text)
        for start in (self._location, str(self._root.absolute()), os.path.realpath(self._root)):
            if start and path.startswith(f"{start}/"):
                return own_path(self._root, path[len(start) + 1 :], TITLE)
        return own_path(self._root, f"/{text}", TITLE)  # which says so

    def new_input(self, location: str) -> InputFile:
        return _Input(location, self.local(location), self._root)

    def new_output(self, location: str) -> OutputFile:
        path = self.local(location)
        self.created.append(path)
        return _NewTableFile(location, path, self._root)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        self.local(location).unlink()


class _Placed:
    """What both kinds of files know of where they are; before them among the bases, as they ask for it."""

    def __init__(self, location: str, path: Path, root: Path) -> None:
        super().__init__(location)  # type: ignore[call-arg] # of the other base
        self._path, self._root = path, root

    def __len__(self) -> int:
        return self._path.stat().st_size

    def exists(self) -> bool:
        return self._path.exists()


class _Input(_Placed, InputFile):
    def open(self, seekable: bool = True) -> Any:
        if self._path.suffix == ".avro":
            return io.BytesIO(read_bounded(self._path, self._root))
        return self._path.open("rb")


class _NewTableFile(_Placed, OutputFile):
    def to_input_file(self) -> InputFile:
        return _Input(self.location, self._path, self._root)

    def create(self, overwrite: bool = False) -> Any:
        return self._path.open("wb" if overwrite else "xb")


def read_bounded(path: Path, root: Path) -> bytes:
    """An Avro file; `FileError` where its blocks would unpack to more than a table may take."""
    if path.stat().st_size > MAX_LOG_BYTES // 8:
        raise too_large(TITLE, root)
    data = path.read_bytes()
    try:
        total = _unpacked_bytes(data)
    except (IndexError, zlib.error):
        return data  # damaged: whoever reads it says so
    if total > MAX_LOG_BYTES:
        raise too_large(TITLE, root)
    return data


def _unpacked_bytes(data: bytes) -> int:
    """https://avro.apache.org/docs/1.11.1/specification/#object-container-files"""
    codec, position = _codec(data)
    if codec == b"null":
        return len(data)
    if codec != b"deflate":
        return len(data) if len(data) <= _MAX_PACKED_BYTES else MAX_LOG_BYTES + 1
    total = 0
    position += _SYNC_BYTES
    while position < len(data) and total <= MAX_LOG_BYTES:
        _, position = _long(data, position)
        size, position = _long(data, position)
        total += _inflated(data[position : position + max(size, 0)], MAX_LOG_BYTES - total)
        position += max(size, 0) + _SYNC_BYTES
    return total


def _inflated(block: bytes, most: int) -> int:
    unpacker = zlib.decompressobj(-15)
    size = 0
    rest = block
    while rest and size <= most:
        size += len(unpacker.decompress(rest, 1 << 20))
        rest = unpacker.unconsumed_tail
    return size


def _codec(data: bytes) -> tuple[bytes, int]:
    """The codec of a container, and where its header's map ends."""
    codec, position = b"null", 4
    while True:
        count, position = _long(data, position)
        if count == 0:
            return codec, position
        if count < 0:
            _, position = _long(data, position)
        for _ in range(abs(count)):
            key, position = _bytes(data, position)
            value, position = _bytes(data, position)
            if key == b"avro.codec":
                codec = value


def _bytes(data: bytes, position: int) -> tuple[bytes, int]:
    size, position = _long(data, position)
    if not 0 <= size <= len(data) - position:
        raise IndexError(size)
    return data[position : position + size], position + size


def _long(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), position
        shift += 7
        if shift > 63:
            raise IndexError(position)


def _path(location: str) -> str:
    """Locations are not encoded as URIs are: what stands there is the name."""
    for start in ("file://localhost/", "file:///", "file:/"):
        if location.startswith(start):
            return f"/{location[len(start) :]}"
    return location
