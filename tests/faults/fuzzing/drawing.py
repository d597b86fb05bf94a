"""Damaged numbers and runs of bytes: near the old ones, at the edges of their types, or anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from re import Pattern

#: Where a token of a text stands: from, up to.
Span = tuple[int, int]
#: The text with a change to one of its tokens, and what was done.
Change = Callable[[Random, bytes, Sequence[Span]], tuple[bytes, str]]


def number(draw: Random, value: int, bits: int = 64) -> int:
    """Another number in place of `value`, of so many bits and with a sign."""
    edge = 1 << (bits - 1)
    found = draw.choice(
        [
            value + 1,
            value - 1,
            2 * value,
            -value,
            value ^ 1 << draw.randrange(bits),
            0,
            1,
            -1,
            edge - 1,
            -edge,
            1 << draw.randrange(bits - 1),
            draw.randrange(256),
            draw.randrange(-edge, edge),
        ]
    )
    return max(-edge, min(edge - 1, found))


def raw(draw: Random, content: bytes, start: int = 0) -> bytes:
    """The content with a few bytes replaced, put in, taken out or said again, from `start` on."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        # The first bytes of most things say what the others are.
        span = min(len(changed) - start, draw.choice((4, 16, 64, 1 << 30)))
        at = start + draw.randrange(max(1, span))
        match draw.randrange(7):
            case 0 | 1 if at < len(changed):
                changed[at] ^= draw.randrange(1, 256)
            case 2 if at < len(changed):
                changed[at] = draw.choice((0, 1, 127, 128, 255))
            case 3:
                size = draw.choice((2, 4, 8))
                old = int.from_bytes(changed[at : at + size], "little", signed=True)
                changed[at : at + size] = little(number(draw, old, 8 * size), size)
            case 4:
                del changed[at : at + draw.randrange(1, 9)]
            case 5:
                changed[at:at] = draw.randbytes(draw.randrange(1, 9))
            case _:
                changed[at:at] = changed[at : at + draw.randrange(1, 65)]
    return bytes(changed)


def little(value: int, size: int) -> bytes:
    """`value` in so many bytes, low ones first; what does not fit is cut off."""
    return (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")


def with_number(draw: Random, content: bytearray, at: int, size: int) -> str:
    """Replace the little-endian number at `at`; says what was done."""
    old = int.from_bytes(content[at : at + size], "little", signed=True)
    new = little(number(draw, old, 8 * size), size)
    content[at : at + size] = new
    return f"{size} bytes at {at}: {old} -> {int.from_bytes(new, 'little', signed=True)}"


def changed_tokens(draw: Random, data: bytes, pattern: Pattern[bytes], change: Change) -> tuple[bytes, str]:
    """Up to three changes, each of what the one before left; says what was done."""
    told = []
    for _ in range(draw.choice((1, 1, 2, 3))):
        tokens = [match.span() for match in pattern.finditer(data)]
        if not tokens:
            break
        data, what = change(draw, data, tokens)
        told.append(what)
    return data, ", ".join(told)


def slipped(draw: Random, token: bytes, kind: int, behind: Sequence[bytes]) -> tuple[bytes, str]:
    """What may become of any token, by a number from 0 to 3: gone, twice, with something behind it, other bytes."""
    match kind:
        case 0:
            return b"", "gone"
        case 1:
            return token * 2, "twice"
        case 2:
            return token + draw.choice(behind), "followed"
        case _:
            return raw(draw, token), "bytes"
