"""Damage to HDF5: numbers of the superblock, of object headers, of B-trees, heaps and symbol tables."""

from __future__ import annotations

import re
from random import Random

from faults.fuzzing.drawing import raw, with_number

#: What begins with four letters of its own, and how many bytes behind them mean something.
_BLOCKS = {
    b"\x89HDF": 96,
    b"TREE": 160,
    b"SNOD": 120,
    b"HEAP": 64,
    b"GCOL": 64,
    b"OHDR": 160,
    b"OCHK": 120,
    b"FRHP": 140,
    b"FHDB": 80,
    b"BTHD": 40,
    b"BTLF": 80,
    b"FAHD": 32,
    b"FADB": 40,
    b"EAHD": 72,
    b"EAIB": 60,
}
#: A version 1 object header has no signature: version 1, reserved 0, number of messages, one reference, its size.
_OLD_HEADER = re.compile(rb"\x01\x00[\x01-\x20]\x00\x01\x00\x00\x00..\x00\x00", re.DOTALL)


def damage(draw: Random, data: bytes) -> tuple[bytes, str]:
    places = [(at, letters, size) for letters, size in _BLOCKS.items() for at in _all(letters, data)]
    places += [(found.start(), b"header", 272) for found in _OLD_HEADER.finditer(data)]
    changed = bytearray(data)
    if draw.random() < 0.05:
        return raw(draw, data, 8), "bytes anywhere"
    told = []
    for _ in range(draw.choice((1, 1, 2))):
        letters = draw.choice(sorted({place[1] for place in places}))
        start, _, length = draw.choice([place for place in places if place[1] == letters])
        size = draw.choice((1, 2, 4, 8))
        offset = draw.randrange(4, length)
        offset -= offset % size
        at = min(start + offset, len(data) - size)
        told.append(f"{letters!r} at {start}, {with_number(draw, changed, at, size)}")
    return bytes(changed), ", ".join(told)


def _all(letters: bytes, data: bytes) -> list[int]:
    return [found.start() for found in re.finditer(re.escape(letters), data)]
