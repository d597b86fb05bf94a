"""Where the trajectories of a block are cut, and what stands at the ends of its lanes."""

from __future__ import annotations

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray
from gaecli.layouts.arrange import Arrangement
from gaecli.layouts.keys import as_labels
from gaecli.layouts.padding import Padding
from gaecli.rollouts import Lanes


def cuts_of(
    ended: BoolArray, same: BoolArray, arrangement: Arrangement, padding: Padding | None
) -> BoolArray:
    """Flags and changes of id cut. The last step of a lane that may go on is cut by its flag only."""
    cuts = ended.copy()
    cuts[:-1] |= ~same
    last = arrangement.stops - 1
    cuts[last] = ended[last] | ~arrangement.open_ends
    if padding is None:
        return cuts
    cuts[padding.before_end] = True
    return cuts | padding.rows


def lanes_of(
    arrangement: Arrangement,
    starts: BoolArray | None,
    padding: Padding | None,
    first_and_last: tuple[Array, Array] | None,
    beyond: FloatArray | None,
    undecided: FloatArray | None,
) -> Lanes:
    first, last = arrangement.starts, arrangement.stops - 1
    first_ids = arrangement.ids_at(first)
    if padding is not None and padding.starts is not None:
        # What begins an episode is not what the block before goes on with, ids or not.
        begins = padding.starts[first].tolist()
        first_ids = [
            ("begins", name) if is_first else name
            for name, is_first in zip(as_labels(first_ids), begins, strict=True)
        ]
    return Lanes(
        arrangement.starts,
        arrangement.stops,
        arrangement.keys,
        first_ids,
        arrangement.ids_at(last),
        arrangement.open_ends,
        np.zeros(len(first), np.bool_) if starts is None else starts[first],
        np.full(len(first), -1, np.int8) if padding is None else padding.of_first(first),
        beyond,
        undecided,
        None if first_and_last is None else first_and_last[0],
        None if first_and_last is None else first_and_last[1],
    )


def undecided_values(
    next_values: Array | None, cuts: BoolArray, arrangement: Arrangement
) -> tuple[Array | None, FloatArray | None]:
    """(the next values without those of last steps, [lanes] those): the next block may begin with a start flag.

    Such a flag, or a padding row, ends the step before it terminally, whatever value stands there.
    """
    if next_values is None:
        return None, None
    last = arrangement.stops - 1
    is_open = arrangement.open_ends & ~cuts[last]
    values = np.where(is_open, next_values[last], np.nan).astype(np.float64)
    if np.isnan(values).all():
        return next_values, None
    next_values = next_values.copy()
    next_values[last[is_open]] = np.nan
    return next_values, values
