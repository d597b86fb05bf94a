"""What `gae strip` tells: which files are without gaecli's columns now, and how. Plain data, for `gaecli.report`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from gaecli.records import dataclass
from gaecli.shown import Shown, listed
from gaecli.summary import Failure

#: `clean`: there was nothing of gaecli's in it. `would strip`: in a dry run.
StripState = Literal["stripped", "would strip", "clean", "failed"]


@dataclass(frozen=True)
class StrippedFile:
    """One input."""

    input: str
    #: Where it is without the columns, or would be.
    output: str
    state: StripState
    #: Those that gaecli had written.
    columns: Sequence[str] = ()
    #: "restored: byte for byte", or how the file was written without them.
    method: str | None = None
    num_bytes_before: int = 0
    #: None in a dry run.
    num_bytes_after: int | None = None
    failure: Failure | None = None


@dataclass(frozen=True)
class StripResult(Shown):
    files: Sequence[StrippedFile]

    @property
    def counts(self) -> dict[str, int]:
        counted = Counter(file.state for file in self.files)
        return {state: counted[state] for state in ("stripped", "would strip", "clean", "failed")}

    @property
    def exit_code(self) -> int:
        return max((failure.exit_code for failure in self.failures), default=0)

    @property
    def failures(self) -> list[Failure]:
        return [file.failure for file in self.files if file.failure is not None]

    @property
    def brief(self) -> str:
        return listed(*(f"{count:,} {state}" for state, count in self.counts.items() if count))
