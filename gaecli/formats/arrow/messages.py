"""The messages of an Arrow IPC file or stream, by their headers alone: rows, compression, metadata.

pyarrow tells neither how many rows a batch has nor how it was compressed without reading it. Headers are
flatbuffers (https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc);
the few fields needed are taken out here, every offset checked against the bytes that are there.

A file is followed from its footer, as the format has it: what stands before the first batch is nobody's
business. Polars writes a schema there with neither mark nor length before it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gaecli.records import dataclass

FILE_MAGIC = b"ARROW1"
#: Behind the footer: its length, and the magic bytes again.
_TRAILER = struct.Struct("<i6s")
#: Of the footer: offset, bytes of the header with what stands before it, bytes of the body.
_BLOCK = struct.Struct("<qi4xq")
_CONTINUATION = 0xFFFFFFFF
_MAX_METADATA_BYTES = 256 << 20
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3
_CODECS = {0: "lz4", 1: "zstd"}
_VERSION_5 = 4
#: More than any codec makes of equal cells; batches of run-ends and nulls alone can claim any number of rows.
_MAX_ROWS_PER_BYTE = 100_000


class MalformedMessage(ValueError):
    """The bytes are not those of Arrow IPC messages."""


@dataclass(frozen=True)
class Batches:
    """The record batches of a file, in order."""

    num_rows: tuple[int, ...]
    #: Of the first compressed batch; None: the bodies are plain.
    codec: str | None
    #: Metadata as before Arrow 1.0.
    is_version_4: bool
    #: Keys and values beside those of the schema; no stream has a place for them.
    has_footer_metadata: bool


def read_batches(path: Path, *, is_file: bool) -> Batches:
    """Go over the message headers; bodies are skipped.

    Raises:
        MalformedMessage: if they lead nowhere.
    """
    rows: list[int] = []
    codec: str | None = None
    is_version_4 = has_footer_metadata = False
    size = path.stat().st_size
    with path.open("rb") as file:
        if is_file:
            footer = _ArrowFooter(file, size)
            has_footer_metadata = footer.has_metadata
            messages = _messages_of_file(file, footer)
        else:
            messages = _messages_of_stream(file, size)
        for message in messages:
            is_version_4 = is_version_4 or message.version < _VERSION_5
            if message.header_type != _RECORD_BATCH:
                continue
            if message.num_rows > _MAX_ROWS_PER_BYTE * size:
                raise MalformedMessage(f"a batch of {message.num_rows:,} rows in {size:,} bytes")
            rows.append(message.num_rows)
            codec = codec or message.codec
    return Batches(tuple(rows), codec, is_version_4, has_footer_metadata)


@dataclass(frozen=True)
class _Message:
    version: int
    header_type: int
    num_rows: int
    codec: str | None
    body_bytes: int


@dataclass(frozen=True)
class _MessagePlace:
    """Where a message of a file stands."""

    header_type: int
    offset: int
    header_bytes: int
    body_bytes: int

    @property
    def stop(self) -> int:
        return self.offset + self.header_bytes + self.body_bytes


class _ArrowFooter:
    """What stands at the end of a file and says where all else stands."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        end = size - _TRAILER.size
        if end < len(FILE_MAGIC):
            raise MalformedMessage("it ends before its footer")
        file.seek(end)
        length, magic = _TRAILER.unpack(file.read(_TRAILER.size))
        if magic != FILE_MAGIC:
            raise MalformedMessage("it does not end with a footer")
        self._start = end - length
        if not 0 < length <= _MAX_METADATA_BYTES or self._start < len(FILE_MAGIC):
            raise MalformedMessage(f"a footer of {length:,} bytes")
        file.seek(self._start)
        self._data = file.read(length)
        self._root = _Table.root(self._data)

    @property
    def has_metadata(self) -> bool:
        return len(self._root.vector(4, 4)) > 0

    def blocks(self) -> list[_MessagePlace]:
        """Dictionaries, then record batches in the order of their rows."""
        blocks = [
            _MessagePlace(header_type, *_BLOCK.unpack_from(self._data, position))
            for field, header_type in ((2, _DICTIONARY_BATCH), (3, _RECORD_BATCH))
            for position in self._root.vector(field, _BLOCK.size)
        ]
        stop = len(FILE_MAGIC)
        for block in sorted(blocks, key=lambda block: block.offset):
            where = f"a block at {block.offset:,} of {block.header_bytes:,} and {block.body_bytes:,} bytes"
            if block.body_bytes < 0 or not 8 <= block.header_bytes <= _MAX_METADATA_BYTES:
                raise MalformedMessage(f"its footer lists {where}")
            if any(length % 8 for length in (block.offset, block.header_bytes, block.body_bytes)):
                raise MalformedMessage(f"its footer lists {where}, not all multiples of 8")
            if block.offset < stop or block.stop > self._start:
                raise MalformedMessage(f"its footer lists {where}, where no block can be")
            stop = block.stop
        return blocks


def _messages_of_file(file: BinaryIO, footer: _ArrowFooter) -> Iterator[_Message]:
    for block in footer.blocks():
        file.seek(block.offset)
        message = _parse(_without_prefix(file.read(block.header_bytes)))
        if message.header_type != block.header_type:
            raise MalformedMessage(f"at {block.offset:,} stands a message of another kind")
        if not 0 <= message.body_bytes <= block.body_bytes:
            raise MalformedMessage(f"the batch at {block.offset:,} is longer than its footer says")
        yield message


def _without_prefix(header: bytes) -> bytes:
    """A header without the mark and the length before it; before Arrow 0.15 there was no mark."""
    mark, length = struct.unpack_from("<Ii", header)
    start = 8
    if mark != _CONTINUATION:
        start, length = 4, mark
    if not 0 < length <= len(header) - start:
        raise MalformedMessage(f"a header of {length:,} bytes in a block of {len(header):,}")
    return header[start : start + length]


def _messages_of_stream(file: BinaryIO, size: int) -> Iterator[_Message]:
    while True:
        prefix = file.read(8)
        if len(prefix) < 8:
            return  # a stream may end without its mark
        mark, length = struct.unpack("<Ii", prefix)
        if mark != _CONTINUATION:
            raise MalformedMessage("a message begins without its mark")
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
    version = table.scalar(0, "<h", 0)
    header_type = table.scalar(1, "<B", 0)
    body_bytes = table.scalar(3, "<q", 0)
    if header_type != _RECORD_BATCH:
        return _Message(version, header_type, 0, None, body_bytes)
    batch = table.table(2)
    if batch is None:
        raise MalformedMessage("a batch without a header")
    num_rows = batch.scalar(0, "<q", 0)
    if num_rows < 0:
        raise MalformedMessage(f"a batch of {num_rows} rows")
    compression = batch.table(3)
    if compression is not None and version < _VERSION_5:
        raise MalformedMessage(
            "it is compressed as since Arrow 1.0 and says that it is older, which pyarrow misreads"
        )
    codec = None if compression is None else _CODECS.get(compression.scalar(0, "<b", 0))
    return _Message(version, header_type, num_rows, codec, body_bytes)


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

    def vector(self, field: int, size: int) -> range:
        """Positions of the entries of a vector, each of so many bytes."""
        offset = self._offset(field)
        if not offset:
            return range(0)
        at = self._position + offset
        vector = at + _unpack("<I", self._data, at)
        start = vector + 4
        stop = start + size * _unpack("<I", self._data, vector)
        if stop > len(self._data):
            raise MalformedMessage("a list of the footer leads out of it")
        return range(start, stop, size)

    def _offset(self, field: int) -> int:
        return self._fields[field] if field < len(self._fields) else 0


def _unpack(form: str, data: bytes, position: int) -> int:
    if position < 0 or position + struct.calcsize(form) > len(data):
        raise MalformedMessage("an offset leads out of a header")
    number: int = struct.unpack_from(form, data, position)[0]
    return number
