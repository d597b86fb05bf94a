"""Damage to an Arrow file or stream: blocks of its footer, lengths before messages, fields of their flatbuffers,
nodes and buffers of batches, lengths before compressed buffers, the buffers themselves."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from faults.fuzzing.drawing import raw, with_number


class _Place(NamedTuple):
    """A number in the file: where, of how many bytes, and what it means."""

    at: int
    size: int
    name: str


def damage(draw: Random, data: bytes) -> tuple[bytes, str]:
    by_name: dict[str, list[_Place]] = {}
    for place in _places(data):
        by_name.setdefault(place.name, []).append(place)
    changed = bytearray(data)
    if draw.random() < 0.08 or not by_name:
        return raw(draw, data, 8), "bytes anywhere"
    told = []
    for _ in range(draw.choice((1, 1, 2))):
        place = draw.choice(by_name[draw.choice(sorted(by_name))])
        told.append(f"{place.name}, {with_number(draw, changed, place.at, place.size)}")
    return bytes(changed), ", ".join(told)


def _places(data: bytes) -> Iterator[_Place]:
    if data[:6] != b"ARROW1":
        yield from _stream(data, 0, len(data))
        return
    end = len(data) - 10
    length = _int(data, end, 4)
    start = end - length
    yield _Place(end, 4, "footer length")
    yield from _words(start, end, "footer")
    root = start + _int(data, start, 4)
    for field in (2, 3):
        for block in _structs(data, root, field, 24):
            yield _Place(block, 8, "block offset")
            yield _Place(block + 8, 4, "block metadata length")
            yield _Place(block + 16, 8, "block body length")
            yield from _message(data, _int(data, block, 8), _int(data, block + 8, 4))
            at = _int(data, block, 8) + _int(data, block + 8, 4)
            yield from _body(at, at + _int(data, block + 16, 8))
    yield from _stream(data, 8, start)


def _stream(data: bytes, at: int, end: int) -> Iterator[_Place]:
    """Messages one behind the other, up to one that is not there."""
    while at + 8 <= end and data[at : at + 4] == b"\xff\xff\xff\xff":
        length = _int(data, at + 4, 4)
        if not length:
            yield _Place(at + 4, 4, "end of stream")
            return
        yield from _message(data, at, length + 8)
        root = at + 8 + _int(data, at + 8, 4)
        body = _field(data, root, 3)
        size = _int(data, body, 8) if body else 0
        yield from _body(at + 8 + length, at + 8 + length + size)
        at += 8 + length + size


def _message(data: bytes, at: int, length: int) -> Iterator[_Place]:
    start = at + (8 if data[at : at + 4] == b"\xff\xff\xff\xff" else 4)
    yield _Place(start - 4, 4, "message length")
    yield from _words(start, at + length, "message")
    root = start + _int(data, start, 4)
    for field, size, name in ((0, 2, "version"), (1, 1, "header type"), (3, 8, "body length")):
        if found := _field(data, root, field):
            yield _Place(found, size, name)
    header = _field(data, root, 2)
    kind = _field(data, root, 1)
    if not header or not kind or data[kind] not in (2, 3):
        return
    batch = header + _int(data, header, 4)
    if data[kind] == 2:  # a batch of a dictionary holds one
        for field, size, name in ((0, 8, "dictionary id"), (2, 1, "delta")):
            if found := _field(data, batch, field):
                yield _Place(found, size, name)
        inner = _field(data, batch, 1)
        batch = inner + _int(data, inner, 4)
    if found := _field(data, batch, 0):
        yield _Place(found, 8, "rows of a batch")
    for field, name in ((1, "node"), (2, "buffer")):
        for place in _structs(data, batch, field, 16):
            yield _Place(place, 8, f"{name}, first number")
            yield _Place(place + 8, 8, f"{name}, second number")


def _body(start: int, end: int) -> Iterator[_Place]:
    """The lengths before compressed buffers stand at multiples of eight, as all the others do."""
    for at in range(start, end - 7, 8):
        yield _Place(at, 8, "body")


def _words(start: int, end: int, name: str) -> Iterator[_Place]:
    for at in range(start, end - 3, 2):
        yield _Place(at, 2, f"{name}, two bytes")
        yield _Place(at, 4, f"{name}, four bytes")


def _structs(data: bytes, table: int, field: int, size: int) -> Iterator[int]:
    found = _field(data, table, field)
    if found:
        vector = found + _int(data, found, 4)
        for index in range(_int(data, vector, 4)):
            yield vector + 4 + index * size


def _field(data: bytes, table: int, field: int) -> int:
    """Where a field of a flatbuffer table stands; 0 if it is not there."""
    vtable = table - _int(data, table, 4)
    at = vtable + 4 + 2 * field
    if at >= vtable + _int(data, vtable, 2):
        return 0
    offset = _int(data, at, 2)
    return table + offset if offset else 0


def _int(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little", signed=size > 2)
