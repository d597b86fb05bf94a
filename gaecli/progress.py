"""How far a run is, in bytes of its inputs: told by whoever goes over rows, asked by whoever shows it.

A look goes over all rows once, be they read or kept from an earlier one. How many looks a run takes may show only
while it is under way. Bytes of a file are those on the disk, in proportion to its rows: a row has its share of
columns that nobody reads, too.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gaecli.records import dataclass

#: Of a look more than was expected: the last block of a file may be gone over twice, and is no look.
_SLACK = 0.25
#: Of the number of looks: what sums of shares are exact to.
_DIGITS = 6


@dataclass(frozen=True)
class Reach:
    """How far a run is at an instant."""

    #: "computing", "verifying".
    doing: str
    #: The only input, else how many there are and are done.
    input: str | None
    files_done: int
    num_files: int
    #: Of the look that is under way; of all looks at a time where inputs go through theirs one by one.
    bytes_done: float
    num_bytes: int
    #: From 1; 0 where looks are not told apart.
    look: int
    #: None: nobody knows.
    looks: int | None
    #: Of all looks together, as far as they are known.
    bytes_gone: float
    bytes_to_go: float


class Progress:
    """Of one run. Any thread may tell it something."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._doing = ""
        self._input: str | None = None
        self._sizes: dict[Path, int] = {}
        #: Bytes of each file that were gone over, in all looks at it.
        self._gone: dict[Path, float] = {}
        self._over: set[Path] = set()
        self._num_bytes = 0
        self._num_gone = 0.0
        self._looks: int | None = 1
        self._is_in_step = True
        self._when_begun: Callable[[], None] | None = None

    def when_begun(self, call: Callable[[], None]) -> None:
        """To be called once it is known what is to be done: at once, where it is."""
        with self._lock:
            self._when_begun = None if self._doing else call
            is_begun = bool(self._doing)
        if is_begun:
            call()

    def begin(
        self,
        doing: str,
        sizes: Mapping[Path, int],
        *,
        looks: int | None = 1,
        is_in_step: bool = True,
        input: str | None = None,
    ) -> None:
        """What is about to be done, to which files.

        `looks`: how many each file takes, at least; None if nobody knows. `is_in_step`: no file has its next look
        before all others had theirs.
        """
        with self._lock:
            self._doing, self._input = doing, input
            self._looks, self._is_in_step = looks, is_in_step
            self._sizes, self._gone, self._over = dict(sizes), {}, set()
            self._num_bytes, self._num_gone = sum(sizes.values()), 0.0
            call, self._when_begun = self._when_begun, None
        if call is not None:
            call()

    def expect(self, looks: int) -> None:
        """Each file takes as many looks as that, or more."""
        with self._lock:
            if self._looks is None or looks <= self._looks:
                return
            before, self._looks = self._looks, looks
            for path in self._over:  # nothing of them is left to do, however many looks the others take
                gone = self._gone.get(path, 0.0) if self._is_in_step else 0.0
                size = self._sizes[path]
                self._num_gone += max(looks * size, gone) - max(before * size, gone)

    def know(self, path: Path, num_bytes: int) -> None:
        """The size of a file, now that it is open."""
        with self._lock:
            if path in self._sizes:
                self._num_bytes += num_bytes - self._sizes[path]
                self._sizes[path] = num_bytes

    def advance(self, path: Path, share: float) -> None:
        """Rows of a file were gone over, that are such a share of all its rows."""
        with self._lock:
            if path not in self._sizes or path in self._over:
                return
            before = self._gone.get(path, 0.0)
            self._gone[path] = after = before + share * self._sizes[path]
            if not self._is_in_step:  # one that takes more looks than the others holds nobody up
                most = (self._looks or 1) * self._sizes[path]
                before, after = min(before, most), min(after, most)
            self._num_gone += after - before

    def end(self, paths: Sequence[Path]) -> None:
        """Files are done, or have failed: nothing more comes of them."""
        with self._lock:
            for path in paths:
                if path in self._sizes and path not in self._over:
                    self._over.add(path)
                    most = float((self._looks or 1) * self._sizes[path])
                    self._num_gone += max(most - self._gone.get(path, 0.0), 0.0)

    def reach(self) -> Reach:
        with self._lock:
            size, looks, most = self._num_bytes, self._looks, self._looks or 1
            gone, look, whole = self._num_gone, 0, size
            if self._is_in_step:
                rounds = round(gone / size, _DIGITS) if size else 0.0
                look = math.floor(rounds) + 1
                if look > most:  # a next one has begun once it goes on
                    look = max(most, math.ceil(rounds - _SLACK))
                looks = None if looks is None else max(looks, look)
                whole = max(most, look) * size
            else:
                gone /= most
            return Reach(
                self._doing,
                self._input,
                len(self._over),
                len(self._sizes),
                min(max(gone - max(look - 1, 0) * size, 0.0), size),
                size,
                look,
                looks,
                gone,
                max(whole - gone, 0.0),
            )


class ToldProgress(Progress):
    """Of a process whose progress is that of another one, which is told the same later."""

    def __init__(self) -> None:
        super().__init__()
        self._told: list[tuple[str, tuple[Any, ...]]] = []

    def expect(self, looks: int) -> None:
        self._told.append(("expect", (looks,)))

    def know(self, path: Path, num_bytes: int) -> None:
        self._told.append(("know", (path, num_bytes)))

    def advance(self, path: Path, share: float) -> None:
        self._told.append(("advance", (path, share)))

    def end(self, paths: Sequence[Path]) -> None:
        self._told.append(("end", (paths,)))

    def taken(self) -> list[tuple[str, tuple[Any, ...]]]:
        """What was told since this was asked last: methods of `Progress`, and what they were called with."""
        told, self._told = self._told, []
        return told
