"""The messages of an Arrow IPC file or stream, by their headers alone: rows, compression, dictionaries.

pyarrow tells neither how many rows a batch has nor how it was compressed without reading it. Headers are
flatbuffers (https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc);
the few fields needed are taken out here, every offset checked against the bytes that are there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

FILE_MAGIC = b"ARROW1"
_CONTINUATION = 0xFFFFFFFF
_MAX_METADATA_BYTES = 256 << 20
_RECORD_BATCH = 3
_CODECS = {0: "lz4", 1: "zstd"}


class MalformedMessage(ValueError):
    """The bytes are not those of Arrow IPC messages."""


@dataclass(frozen=True)
class Batches:
    """The record batches of a file, in order."""

    num_rows: tuple[int, ...]
    #: Of the first compressed batch; None: the bodies are plain.
    codec: str | None


def read_batches(path: Path, *, is_file: bool) -> Batches:
    """Walk over the message headers; bodies are skipped."""
    rows: list[int] = []
    codec: str | None = None
    with path.open("rb") as file:
        file.seek(8 if is_file else 0)
        for message in _messages(file, path.stat().st_size):
            if message.header_type == _RECORD_BATCH:
                rows.append(message.num_rows)
                codec = codec or message.codec
    return Batches(tuple(rows), codec)


@dataclass(frozen=True)
class _Message:
    header_type: int
    num_rows: int
    codec: str | None
    body_bytes: int


def _messages(file: BinaryIO, size: int) -> Iterator[_Message]:
    while True:
        prefix = file.read(8)
        if len(prefix) < 8:
            return  # a stream may end without its mark
        mark, length = struct.unpack("<Ii", prefix)
        if mark != _CONTINUATION:
            raise MalformedMessage("written before Arrow 0.15, without continuation marks")
        if length == 0:
            return
        if not 0 < length <= _MAX_METADATA_BYTES:
            raise MalformedMessage(f"a header of {length:,} bytes")
        header = file.read(length)
        if len(header) < length:
            raise MalformedMessage("it ends within a header")
        message = _parse(header)
        if message.body_bytes < 0 or file.tell() + message.body_bytes > size:
            raise MalformedMessage("it ends within a batch")
        file.seek(message.body_bytes, 1)
        yield message


def _parse(header: bytes) -> _Message:
    table = _Table.root(header)
    header_type = table.scalar(1, "<B", 0)
    body_bytes = table.scalar(3, "<q", 0)
    if header_type != _RECORD_BATCH:
        return _Message(header_type, 0, None, body_bytes)
    batch = table.table(2)
    if batch is None:
        raise MalformedMessage("a batch without a header")
    num_rows = batch.scalar(0, "<q", 0)
    if num_rows < 0:
        raise MalformedMessage(f"a batch of {num_rows} rows")
    compression = batch.table(3)
    codec = None if compression is None else _CODECS.get(compression.scalar(0, "<b", 0))
    return _Message(header_type, num_rows, codec, body_bytes)


class _Table:
    """A flatbuffer table: fields by their number."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position
        vtable = position - _unpack("<i", data, position)
        size = _unpack("<H", data, vtable)
        self._fields = [_unpack("<H", data, vtable + at) for at in range(4, size - 1, 2)]

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, _unpack("<I", data, 0))

    def scalar(self, field: int, form: str, default: int) -> int:
        offset = self._offset(field)
        return _unpack(form, self._data, self._position + offset) if offset else default

    def table(self, field: int) -> _Table | None:
        offset = self._offset(field)
        if not offset:
            return None
        at = self._position + offset
        return _Table(self._data, at + _unpack("<I", self._data, at))

    def _offset(self, field: int) -> int:
        return self._fields[field] if field < len(self._fields) else 0


def _unpack(form: str, data: bytes, position: int) -> int:
    if position < 0 or position + struct.calcsize(form) > len(data):
        raise MalformedMessage("an offset leads out of a header")
    number: int = struct.unpack_from(form, data, position)[0]
    return number
