"""Rows of several environments at once that nothing tells apart: told by the column whose values take turns."""

from __future__ import annotations

from collections.abc import Sequence

from gaecli.layouts.evidence.interleaved import TurnFacts, takes_turns
from gaecli.layouts.evidence.scattered import in_order_of
from gaecli.shell_words import word
from gaecli.summary import WarningNote

#: Fewer rows may fall for any reason.
_FEWEST_FALLING = 20
#: So many times at least, each for as many rows.
_FEWEST_TIMES = 8


def interleaved(name: str, path: str, blocks: Sequence[TurnFacts | None]) -> WarningNote | None:
    """Of one column of a stream without ids of episodes and environments."""
    found = [block for block in blocks if block is not None]
    if not found or len(found) < len(blocks):
        return None
    if any(block.falls for block in found):
        falls_in_all = all(block.falls or block.rows < 2 for block in found)
        num_rows = sum(block.rows for block in found)
        return _reversed(name, path, num_rows, found[0].is_text) if falls_in_all else None
    widths = {block.width for block in found if block.width}
    if widths:
        return _of_times(name, path, found, widths.pop()) if len(widths) == 1 else None
    together = TurnFacts(
        sum(block.rows for block in found),
        found[0].is_text,
        max(block.num_values for block in found),
        sum(block.num_rounds for block in found),
        _sum_of([block.num_shrinking for block in found]),
    )
    if not takes_turns(together):
        return None
    return WarningNote(
        "unused-id",
        f"`{name}`, which no role uses, has {together.num_values} values that take turns row by row, as in a log of "
        f"so many environments or agents: {together.num_rounds:,} rounds in `{path}`",
        path,
        together.num_rounds,
        hint=f"pass `--env-column {word(name)}` if it tells trajectories apart; `--episode-column none` if it does "
        "not",
    )


def _sum_of(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _reversed(name: str, path: str, num_rows: int, is_text: bool) -> WarningNote | None:
    if num_rows < _FEWEST_FALLING:
        return None
    return WarningNote(
        "unused-id",
        f"`{name}`, which no role uses, falls from row to row in all {num_rows:,} rows of `{path}`, as if they stood "
        "in reverse order",
        path,
        num_rows,
        hint=f"{in_order_of(name, is_text=is_text)}; `--episode-column none` to leave them",
    )


def _of_times(name: str, path: str, found: Sequence[TurnFacts], width: int) -> WarningNote | None:
    num_times = sum(block.num_times for block in found)
    if num_times < _FEWEST_TIMES:
        return None
    return WarningNote(
        "unused-id",
        f"`{name}`, which no role uses, stands still for {width} rows each time, as in a log of {width} environments "
        f"whose rows take turns: {num_times:,} times in `{path}`",
        path,
        num_times,
        hint=f"if so, add a column that numbers them (row number modulo {width}) and name it with `--env-column`; "
        "`--episode-column none` if all rows are of one",
    )
