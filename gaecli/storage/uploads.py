"""How a new object gets into a store: sent in full first, by any process, then made visible by one request.

Until that request nobody sees anything of it, whoever sent it and whatever became of that process; and it carries
the condition that the object in its place is the one that was looked at, where the store takes one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from gaecli.records import dataclass

PART_BYTES = 16 << 20
MAX_PARTS = 10_000
#: In the place of a new object there is none.
NOTHING = ""


class ReplacedMeanwhileError(Exception):
    """What is in the place of a new object is not what was there."""


@dataclass(frozen=True)
class StoredBytes:
    """Bytes of an object that a new one has as well."""

    bucket: str
    key: str
    #: Of the object: another one must not have taken its place.
    tag: str
    start: int
    length: int
    #: Where they are in the new one.
    target: int


@dataclass(frozen=True)
class NewObject:
    """What is to be sent."""

    #: As the driver of the store has it.
    path: str
    source: Path
    #: The version of the object in its place, NOTHING, or None where that is not known.
    replaces: str | None = None
    #: What the store itself has of it, and `source` has not.
    stored: Sequence[StoredBytes] = ()
    #: Where it was begun already, by a process that takes it back if need be.
    begun: SentObject | None = None


@dataclass(frozen=True)
class SentObject:
    """All bytes of an object that is not there yet, or as many as were sent so far."""

    bucket: str
    key: str
    #: By which the store knows the upload. On Google's whoever has it can write: it is for no message.
    upload_id: str = ""
    #: As the store wants to be told of them, in order.
    parts: Sequence[Any] = ()
    size: int = 0
    #: The last bytes, where the store takes them with the completion only.
    tail: bytes = b""
    replaces: str | None = None
    #: What the store is told of the object at the end.
    headers: Mapping[str, Any] | None = None


class ObjectSender(Protocol):
    """What one kind of store does; each is made of the driver of one store."""

    def send(self, new: NewObject, begun: Callable[[SentObject], None]) -> SentObject:
        """`begun` is told what to take back, as soon as there is anything."""

    def complete(self, sent: SentObject) -> None:
        """The object is there, in the place of what was. Raises `ReplacedMeanwhileError`."""

    def take_back(self, sent: SentObject) -> None: ...


def part_bytes(size: int) -> int:
    """Whole MiB, and few enough parts for every store."""
    needed = math.ceil(size / MAX_PARTS / (1 << 20)) << 20
    return max(PART_BYTES, needed)


def pieces_of(size: int, most: int) -> Iterator[tuple[int, int]]:
    """Beginning and end of each."""
    for start in range(0, size, most):
        yield start, min(start + most, size)
