"""The blocks in which a stream was read as one, every trajectory in one place."""

from __future__ import annotations

import numpy as np

from gaecli.flat_rollouts import Rollouts
from gaecli.studies.parts import Part, PartForm, Parts, joined, nothing
from gaecli.studies.reading import SettledStream, settled_blocks


def rollouts_of(reading: SettledStream) -> Rollouts:
    """The steps of a stream as its files have them: no padding, nothing masked, no episode that is left out."""
    whole = assembled(reading, "written")
    block = whole.block
    kept = np.ones(block.num_steps, np.bool_)
    if block.is_step is not None:
        kept &= block.is_step
    if block.dropped is not None:
        kept &= ~block.dropped
    ends = np.flatnonzero(block.cuts[kept]) + 1
    return Rollouts(
        rewards=block.rewards[kept].astype(np.float64),
        values=block.values[kept].astype(np.float64),
        terminated=block.terminated[kept].astype(np.bool_),
        truncated=block.truncated[kept].astype(np.bool_),
        next_values=whole.given[kept],
        offsets=np.concatenate(([0], ends)).astype(np.int64),
        rows=whole.slots[kept].astype(np.int64),
    )


def assembled(reading: SettledStream, form: PartForm, number: int | None = None) -> Part:
    """Visit every block once; `number`: with that stream of rewards."""
    parts = Parts(reading, form, number)
    found = [parts.of(*block) for block in settled_blocks(reading)]
    return joined(found) if found else nothing()
