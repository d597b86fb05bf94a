"""What `gae report` says of the page that it wrote. Plain, as `gaecli.summary` is."""

from __future__ import annotations

from gaecli.records import dataclass


@dataclass(frozen=True)
class WrittenReport:
    """A page that was written."""

    #: `-`: stdout.
    output: str
    num_bytes: int
    num_shown: int
    num_episodes: int
    num_steps: int
    num_errors: int
    num_warnings: int
    num_notes: int
    remark: str | None = None
