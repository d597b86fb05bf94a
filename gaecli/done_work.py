"""What `gae status` tells: which results are there, and which are left to do. Plain data, for `gaecli.report`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from gaecli.records import dataclass

#: `stale`: the result is there, and the same command would make it anew.
ResultState = Literal["done", "stale", "left", "failed"]
#: Exit code where something is left to do.
EXIT_LEFT = 3


@dataclass(frozen=True)
class ResultStatus:
    """One input, and its result."""

    input: str
    #: Where the result is, or would be.
    output: str
    state: ResultState
    #: Why it is stale, or what went wrong.
    why: str | None = None
    #: Number of the settings among `WorkStatus.settings`; None where there is no result.
    settings: int | None = None
    #: When the file with the result was last written, in UTC.
    modified: str | None = None
    exit_code: int = 0


@dataclass(frozen=True)
class UsedSettings:
    """One way in which results were computed."""

    version: str
    settings: Mapping[str, Any]
    columns: Sequence[str]
    num_files: int
    #: The first and the last time that a file of them was written.
    first: str | None
    last: str | None


@dataclass(frozen=True)
class Leftover:
    """A file under a temporary name where results go."""

    path: str
    #: A process has it open: it is of a run at work, and not of one that was killed.
    in_use: bool
    num_bytes: int
    modified: str


@dataclass(frozen=True)
class WorkStatus:
    results: Sequence[ResultStatus]
    settings: Sequence[UsedSettings]
    leftovers: Sequence[Leftover] = ()

    @property
    def counts(self) -> dict[str, int]:
        counted = Counter(result.state for result in self.results)
        return {state: counted[state] for state in ("done", "stale", "left", "failed")}

    @property
    def exit_code(self) -> int:
        """0 where all is done; that of the worst failure; else 3 where something is left."""
        failed = max((result.exit_code for result in self.results), default=0)
        return failed or (0 if self.counts["done"] == len(self.results) else EXIT_LEFT)
