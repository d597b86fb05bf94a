"""Columns of which the values take turns row by row, or stand still for as many rows each: rows of several at once.
A time that falls all along: rows in reverse order.

A log of vector environments has a row for each of them and each time, one after the other. Without the column that
tells them apart their steps are taken for one trajectory, whatever its name is.
"""

from __future__ import annotations

import numpy as np

from gaecli.array_types import Array
from gaecli.names import word_set, words_of
from gaecli.records import dataclass

#: So many take turns at most, and so often in the first rows of a block, for it to be no chance.
_MOST_AT_ONCE, _FEWEST_ROUNDS = 64, 6
_FIRST_ROWS = 1 << 10
#: Of the cells of all rounds, so many have to be there: agents die. Of two, chance would fill two thirds.
_FILLED, _FILLED_OF_TWO = 0.75, 0.95
#: Or so many rounds of two values at least hold but what the one before held, or all: agents die, and are back.
_FEWEST_SHRINKING, _FEWEST_ROWS = 5, 24
#: What goes round by itself, and what counts.
_CYCLES = word_set(
    "hour hours minute minutes min second seconds day days weekday weekdays dow month months week quarter year "
    "season slot session phase progress remaining left turn count counter substep micro minibatch index idx"
)
_TIMES = word_set(
    "time timestamp timestamps clock elapsed step steps timestep timesteps frame frames tick ticks t"
)
_COUNTDOWN = word_set("left remaining remain to until till countdown budget expiry expiration go")
_SECOND = 1_000_000
#: Rows to a date, an hour, a minute and a second, and how long that is in µs: of one after the other, not of so many.
_ROUNDED = {
    *((width, 86_400 * _SECOND) for width in (24, 48)),
    *((60, size * _SECOND) for size in (60, 3_600)),
    *((width, _SECOND) for width in (10, 20, 25, 30, 50, 60)),
}
#: What stands still while an update of the policy gathers its steps.
_UPDATES = word_set("update updates iteration iterations epoch epochs rollout rollouts policy train training")


@dataclass(frozen=True)
class TurnFacts:
    """What one block says of one column."""

    rows: int
    #: Two numbers by turns may be anything; two names are not.
    is_text: bool = False
    #: Of values that take turns: how many there are, and how often they go round.
    num_values: int = 0
    num_rounds: int = 0
    #: Rounds of two values at least, none of which the round before is without, or of all. None: some are others.
    num_shrinking: int | None = None
    #: Of a time that stands still: for how many rows each time, and how many times there are. A short block has none.
    width: int = 0
    num_times: int = 0
    #: Of a time: it falls from row to row.
    falls: bool = False


def turns_in(name: str, cells: Array, *, is_text: bool) -> TurnFacts | None:
    """None where the cells are neither."""
    words = set(words_of(name))
    is_time = bool(words & _TIMES)
    if is_time:
        return None if is_text or words & _UPDATES else _falling(name, cells) or _standing(cells)
    if words & _CYCLES:
        return None
    first = _rounds(cells[:_FIRST_ROWS], is_text)
    if len(cells) <= _FIRST_ROWS or first is None:
        return first
    return _rounds(cells, is_text) if takes_turns(first) else None


def times_in(name: str, cells: Array, *, is_text: bool) -> TurnFacts | None:
    """The same of dates and times, in µs."""
    if falling := _falling(name, cells, is_text):
        return falling
    standing = _standing(cells)
    return None if standing is not None and _is_rounded(cells, standing.width) else standing


def _is_rounded(moments: Array, width: int) -> bool:
    """Whether it goes up as the date, the hour, the minute or the second of rows does that are evenly apart."""
    head = moments[:_FIRST_ROWS]
    steps = np.diff(head[np.append(True, head[1:] != head[:-1])])
    return bool(len(steps)) and (width, int(steps[0])) in _ROUNDED and bool((steps == steps[0]).all())


def takes_turns(facts: TurnFacts) -> bool:
    if facts.num_values < (2 if facts.is_text else 3):
        return False
    shrinks = (facts.num_shrinking or 0) >= _FEWEST_SHRINKING
    if shrinks and facts.num_values > 2 and facts.rows >= _FEWEST_ROWS:
        return True
    filled = _FILLED_OF_TWO if facts.num_values == 2 else _FILLED
    return facts.num_rounds >= _FEWEST_ROUNDS and facts.rows >= filled * facts.num_rounds * facts.num_values


def _rounds(cells: Array, is_text: bool) -> TurnFacts | None:
    """A round is a run of rows in the order in which the values are there first."""
    if cells.ndim != 1:
        return None
    distinct, first, codes = np.unique(cells, return_index=True, return_inverse=True)
    if len(distinct) > _MOST_AT_ONCE:
        return None
    order = np.argsort(np.argsort(first))[codes]
    starts = np.flatnonzero(np.append(True, order[1:] <= order[:-1]))
    return TurnFacts(len(cells), is_text, len(distinct), len(starts), _num_shrinking(order, starts))


def _num_shrinking(order: Array, starts: Array) -> int | None:
    """The first round may have begun in another block, so that another value begins each; the last one may go on."""
    sets = np.bitwise_or.reduceat(np.uint64(1) << order.astype(np.uint64), starts)
    is_whole = sets == np.bitwise_or.reduce(sets)
    is_whole[-1] = True
    is_part = (sets[1:] & ~sets[:-1]) == 0
    # Before all are back, such a round holds the last of those that were left, and the first of all.
    are_back = is_whole[1:] | np.append(is_whole[2:], True)[: len(is_part)]
    if not (is_part | are_back)[1:].all():
        return None
    sizes = np.diff(np.append(starts, len(order)))
    return int(np.count_nonzero(sizes[1:] > 1))


def _falling(name: str, cells: Array, is_text: bool = False) -> TurnFacts | None:
    """All along, over ends as well: rows that stand in reverse order. What is left of a time falls by itself."""
    if (
        cells.ndim != 1
        or len(cells) < 2
        or cells.dtype.kind not in "iuf"
        or not _COUNTDOWN.isdisjoint(words_of(name))
    ):
        return None
    falls = all(bool((part[1:] < part[:-1]).all()) for part in (cells[:_FIRST_ROWS], cells))
    return TurnFacts(len(cells), is_text, falls=True) if falls else None


def _standing(cells: Array) -> TurnFacts | None:
    """It goes up after as many rows each time, but for the first and the last, which may stand in other blocks."""
    if cells.ndim != 1 or cells.dtype.kind not in "iuf":
        return None
    head = cells[:_FIRST_ROWS]
    for part in (head, cells):
        places = np.flatnonzero(part[1:] != part[:-1]) + 1
        if (part[places] < part[places - 1]).any():
            return None
        widths = np.diff(places)
        if not len(widths):
            return TurnFacts(len(cells)) if len(cells) <= 2 * _MOST_AT_ONCE else None
        if not 2 <= widths[0] <= _MOST_AT_ONCE or (widths != widths[0]).any():
            return None
        if max(places[0], len(part) - places[-1]) > widths[0]:
            return None
    return TurnFacts(len(cells), width=int(widths[0]), num_times=len(widths))
