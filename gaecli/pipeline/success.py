"""The flags of success of a block, and the rewards that are made of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gaecli.array_types import Array, BoolArray
from gaecli.errors import DataError
from gaecli.labels.outcomes import EpisodeOutcomes, Outcomes, rewards_of
from gaecli.layouts.base import Layout
from gaecli.rollouts import Block
from gaecli.settings import Settings


def success_flags(block: Block, layout: Layout, settings: Settings, start: int, path: object) -> BoolArray:
    """[N] by the cells of the column, which are 0 or 1; False in episodes that are left out."""
    name = settings.success_column
    assert name is not None
    cells = block.rewards if layout.roles.names["reward"] == name else block.extras[name]
    if settings.masked_reward == "move":  # a step may have got several
        cells = np.minimum(cells, 1)
    flags = checked_flags(block, cells, f"`{name}`", "--success-column", start, path)
    _check_last_states(block, flags, name, start, path)
    return flags


def checked_flags(block: Block, cells: Array, name: str, flag: str, start: int, path: object) -> BoolArray:
    """[N] cells that are 1, and not of an episode that is left out; `DataError` where one is neither 0 nor 1."""
    used = np.ones(block.num_steps, np.bool_) if block.dropped is None else ~block.dropped
    odd = used & (cells != 0) & (cells != 1)
    if block.is_step is not None:
        odd &= block.is_step
    if odd.any():
        step = int(np.argmax(odd))
        row = start + int(block.file_rows(np.array([step]))[0])
        cell = "empty" if np.isnan(cells[step]) else f"{cells[step]:g}"
        raise DataError(
            f"{name} is {cell} at row {row} of `{path}`, which is no flag (0 or 1); "
            f"{int(np.count_nonzero(odd)):,} such in all",
            hint=f"name another column with `{flag}`, or write 0 or 1",
        )
    return np.asarray(used & (cells == 1), np.bool_)


def _check_last_states(block: Block, succeeded: BoolArray, name: str, start: int, path: object) -> None:
    """A flag on a row that holds the last state, and not on the step before it, would be lost."""
    if block.is_step is None:
        return
    before = np.concatenate(([False], succeeded[:-1]))
    lost = ~block.is_step & succeeded & ~before
    if lost.any():
        row = start + int(block.file_rows(np.flatnonzero(lost)[:1])[0])
        raise DataError(
            f"`{name}` is set at row {row} of `{path}`, which holds the last state of an episode and is no step, and "
            f"not on the step before it; {int(np.count_nonzero(lost)):,} such in all",
            hint="set it on the last step, where the action stands that succeeded",
        )


def rewarded(block: Block, succeeded: BoolArray, told: EpisodeOutcomes, outcomes: Outcomes) -> Block:
    """The block with rewards by the outcomes of its episodes."""
    return replace(block, rewards=rewards_of(block, succeeded, told, outcomes))
