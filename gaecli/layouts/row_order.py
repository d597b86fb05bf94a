"""How the rows of a stream are taken, and what a block raises that cannot be taken as it came."""

from __future__ import annotations

from gaecli.records import dataclass


@dataclass(frozen=True)
class RowOrder:
    """How the rows of a stream are taken: as they come, key by key, or all of them at once and sorted."""

    is_whole: bool = False
    by_key: bool = False


class NeedsWholeStream(Exception):
    """Rows are out of order, so that no block can be looked at alone."""


class NeedsKeys(Exception):
    """Ids come back after others, so that every block has to be taken key by key."""
