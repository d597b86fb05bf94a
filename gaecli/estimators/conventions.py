"""A block as a convention reads it: what libraries differ in, put into the terms of one recursion.

Flags and values are replaced on a copy; the block itself keeps what the file says. Where the rules are
those of `exact` the block comes back as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from gaecli.array_types import BoolArray
from gaecli.errors import UsageError
from gaecli.rollouts import Block
from gaecli.settings import Settings


def read_as(block: Block, settings: Settings) -> Block:
    """The block under the rules of the preset and of `--truncation`.

    Where one of them reaches beyond trajectories, its lanes are those of time, and all that ends in them is final.
    """
    if crosses_trajectories(settings):
        from gaecli.estimators.time_order import in_time

        block = in_time(block)
    if ends_early(settings):
        block = _ended_early(block)
    if settings.end_rule == "ask" and block.truncated.any():
        raise _unsaid(block, settings)
    if settings.arrives:
        block = ends_as_terminal(block) if settings.open_ends == "terminal" else block
        block = _arrived_in_time(block, settings) if settings.resets_itself else _arrived(block)
    if block.truncated.any():
        block = _TRUNCATION_RULES[settings.end_rule](block)
    if settings.open_ends == "terminal":
        block = ends_as_terminal(block)
    if crosses_trajectories(settings) and block.lanes.count:
        goes_on = ~block.cuts[block.lanes.stops - 1]
        block = replace(block, lanes=replace(block.lanes, open_ends=goes_on))
    return block


def reads_as_written(settings: Settings) -> bool:
    """Every block comes back from `read_as` as it is."""
    is_exact = settings.end_rule == "exact" and settings.open_ends == "bootstrap"
    return is_exact and not settings.arrives and not ends_early(settings)


def ends_early(settings: Settings) -> bool:
    """Flags of ends are read with the step before; what has no V' to read beside them takes each with its own."""
    return settings.convention.early_ends and settings.uses("early_ends")


def crosses_trajectories(settings: Settings) -> bool:
    """A rule reads the row after a step, whatever trajectory that belongs to; it may be in another block."""
    if not settings.uses("truncation"):
        return False
    return settings.arrives or ends_early(settings) or settings.end_rule in ("leak", "reset")


def _unsaid(block: Block, settings: Settings) -> UsageError:
    count, convention = int(np.count_nonzero(block.truncated)), settings.convention
    options = convention.truncation_options
    return UsageError(
        f"{count:,} {'end was' if count == 1 else 'ends were'} cut by a limit, and {convention.library} does one of "
        "two things there, by an option that the file does not keep",
        hint="; ".join(f"pass `--truncation {rule}` for {what}" for rule, what in options.items()),
    )


def _as_terminal(block: Block) -> Block:
    """δ = r - V(s) at a truncated end."""
    return replace(block, terminated=block.terminated | block.truncated)


def _as_same_state(block: Block) -> Block:
    """V(sₜ₊₁) := V(sₜ) at a truncated end: δ = r + (γ - 1) V(s)."""
    absent = np.full(block.num_steps, np.nan) if block.next_values is None else block.next_values
    next_values = np.where(block.truncated, block.values, absent)
    return replace(block, next_values=next_values, filled=block.truncated)


def _undiscounted(block: Block) -> Block:
    """V(sₜ) is added to the reward of a truncated end, which is terminal then: δ = r."""
    with np.errstate(
        over="ignore"
    ):  # rewards and values near the largest number give inf, as any sum of them
        rewards = block.rewards.astype(np.float64) + np.where(block.truncated, block.values, 0.0)
    return replace(block, rewards=rewards, terminated=block.terminated | block.truncated)


def _after_reset(block: Block) -> Block:
    """V(sₜ₊₁) := V of the next row, with which another trajectory begins; A of that row does not enter."""
    from gaecli.estimators.time_order import follows

    resets = block.truncated & follows(block)
    return replace(block, next_values=_next_rows(block, resets))


def _without_step(block: Block) -> Block:
    """δ = 0 and A = 0 at a truncated end. The step before it bootstraps from its value as usual."""
    is_step = ~block.truncated if block.is_step is None else block.is_step & ~block.truncated
    return replace(block, is_step=is_step, terminated=block.terminated | block.truncated)


def _uncut(block: Block) -> Block:
    """A truncated step is followed by the next step of its stream, whatever trajectory that belongs to."""
    from gaecli.estimators.time_order import follows

    leaks = block.truncated & follows(block)
    return replace(block, cuts=block.cuts & ~leaks, next_values=_forgotten(block, leaks))


def _next_rows(block: Block, where: BoolArray) -> np.ndarray:
    """[N] next values; those of the rows after them at `where`."""
    from gaecli.estimators.time_order import of_next_row

    absent = np.full(block.num_steps, np.nan) if block.next_values is None else block.next_values
    return np.where(where, of_next_row(block, "values"), absent)


def _forgotten(block: Block, where: BoolArray) -> np.ndarray | None:
    if block.next_values is None:
        return None
    return np.where(where, block.next_values.dtype.type(np.nan), block.next_values)


_TRUNCATION_RULES: Mapping[str, Callable[[Block], Block]] = {
    "exact": lambda block: block,
    "current": _as_same_state,
    "undiscounted": _undiscounted,
    "reset": _after_reset,
    "zero": _as_terminal,
    "drop": _without_step,
    "leak": _uncut,
}


def ends_as_terminal(block: Block) -> Block:
    """A trajectory that merely stops has no value beyond its end."""
    open_ends = block.cuts & ~block.truncated & ~block.terminated
    return replace(block, terminated=block.terminated | open_ends) if open_ends.any() else block


def _ended_early(block: Block) -> Block:
    """The flag of an end counts for the step before it, that of the last row only where it is terminal.

    Where nothing but ids ends a trajectory, that is where it ends here too.
    """
    from gaecli.estimators.time_order import follows, of_next_row

    ended = block.terminated | block.truncated
    goes_on = follows(block) & (ended | ~block.cuts)
    earlier = {name: of_next_row(block, name) & goes_on for name in ("terminated", "truncated")}
    return replace(
        block,
        terminated=earlier["terminated"] | (block.terminated & ~goes_on),
        truncated=earlier["truncated"],
        cuts=earlier["terminated"] | earlier["truncated"] | ~goes_on,
        next_values=_next_rows(block, goes_on),
    )


def _arrived(block: Block) -> Block:
    """rₜ is the reward of row t + 1 of the same trajectory, whose last row is no step: it holds the last state.

    What flags there say, they say of that state.
    """
    from gaecli.estimators.time_order import follows, idle_rows, of_next_row

    inside, idle = follows(block) & ~block.cuts, idle_rows(block)
    before = inside & of_next_row(block, "idle", idle)
    rewards = of_next_row(block, "rewards")
    is_step = ~idle if block.is_step is None else block.is_step & ~idle
    return replace(
        block,
        rewards=np.where(inside | (block.cuts & is_step), rewards, rewards.dtype.type(0)),
        is_step=is_step,
        terminated=np.where(before, of_next_row(block, "terminated"), block.terminated | idle),
        truncated=np.where(before, of_next_row(block, "truncated"), block.truncated & ~idle),
    )


def _arrived_in_time(block: Block, settings: Settings) -> Block:
    """rₜ is the reward of the next row, which may begin another trajectory; the last row of a stream has none.

    The flags are start flags, so that layouts have them at the end of their step already. Where time limits leak,
    terminal ends are all that there are, and values are those of the rows.
    """
    from gaecli.estimators.time_order import follows, of_next_row

    arrives = follows(block)
    rewards = of_next_row(block, "rewards")
    is_step = arrives if block.is_step is None else block.is_step & arrives
    leaks = settings.end_rule == "leak"
    return replace(
        block,
        rewards=np.where(arrives, rewards, rewards.dtype.type(0)),
        next_values=None if leaks else block.next_values,
        is_step=is_step,
        cuts=block.cuts & (block.terminated | ~arrives) if leaks else block.cuts,
        terminated=block.terminated | ~arrives,
    )
