"""A part of a stream to search on: whole trajectories, as every step depends on those after it in its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gaecli.rollouts import Block, IndexArray
from gaecli.studies.candidates import CandidateReading

#: γ and λ are searched for on about so many steps; what is found is held against all of them.
SEARCH_STEPS = 1 << 15
_BY_LENGTH = ("lam_alpha", "lam_retain", "lam_value_alpha", "lam_value_retain")
_PER_STEP = (
    "rewards",
    "values",
    "terminated",
    "truncated",
    "cuts",
    "next_values",
    "is_step",
    "dropped",
    "masked",
    "filled",
)


def part_of(reading: CandidateReading) -> CandidateReading:
    """The reading with about `SEARCH_STEPS` of its steps, of trajectories from all over the stream."""
    if reading.block.num_steps <= SEARCH_STEPS:
        return reading
    settings = reading.candidate.settings
    if settings.stream:
        return reading  # one of them may never end
    # Where λ depends on the length of a trajectory, or a unit may be cut in two, the end of one is not as it was.
    may_cut = not settings.is_over_units and all(getattr(settings, name) is None for name in _BY_LENGTH)
    steps = _spread(reading.block, may_cut=may_cut)
    estimated = reading.estimated
    return replace(
        reading,
        block=_taken(reading.block, steps),
        estimated=None if estimated is None else estimated[steps],
        measured=None if reading.measured is None else reading.measured[steps],
        column=reading.column[steps],
        missing=np.flatnonzero(np.isin(steps, reading.missing)),
        rows=reading.rows[steps],
        given=reading.given[steps],
    )


def _spread(block: Block, *, may_cut: bool) -> IndexArray:
    """Trajectories at equal distances; of long ones the end, which depends on nothing before it."""
    stops = np.unique(np.append(np.flatnonzero(block.cuts) + 1, block.num_steps))
    starts = np.concatenate(([0], stops[:-1]))
    if may_cut:
        starts = np.maximum(starts, stops - SEARCH_STEPS // 4)
    lengths = stops - starts
    stride = max(int(lengths.sum()) // SEARCH_STEPS, 1)
    # From the middle of each stretch: the first and the last trajectories are the likeliest to be odd.
    chosen = np.arange(stride // 2, len(stops), stride)
    return np.concatenate([np.arange(starts[one], stops[one]) for one in chosen])


def _taken(block: Block, steps: IndexArray) -> Block:
    columns = {name: getattr(block, name) for name in _PER_STEP}
    taken: dict[str, Any] = {name: None if cells is None else cells[steps] for name, cells in columns.items()}
    extras = {name: cells[steps] for name, cells in block.extras.items()}
    units = None if block.units is None else replace(block.units, numbers=block.units.numbers[steps])
    return replace(block, **taken, extras=extras, units=units)
