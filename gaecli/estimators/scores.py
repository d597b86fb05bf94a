"""Scores of trajectories: sums over all of their steps, which may stand in several blocks.

A block sums what it has of each trajectory. Where one goes on in other blocks, `gaecli.pipeline.combine` adds up
what all of them have, and `whole` puts it in its place.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from gaecli.array_types import FloatArray, IndexArray
from gaecli.errors import DataError
from gaecli.estimators.base import LaneSums, Scores
from gaecli.estimators.stages import scores_of
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.settings import Settings

#: Names of scores. That of the sum of all rewards, the number of steps, and whether the sum is not 0, as 0 or 1.
SCORE, LENGTH, NON_ZERO = "score", "length", "non-zero"
#: How many rewards of a trajectory were there at all.
GIVEN = "given"
#: How many rows of a trajectory tell its length; no reward function can be called so that it has this name.
_TOLD = f"{GIVEN}: {LENGTH}"


def reward_score(name: str) -> str:
    """Of one of several reward functions."""
    return f"reward {name}"


@dataclass(frozen=True, eq=False)
class Sums:
    """[N] of each step: the sum over its trajectory, as far as the block has it."""

    by_name: Mapping[str, FloatArray]
    #: The estimator has no other estimates.
    are_estimates: bool = False
    #: Whether scores are 0 matters.
    counts_zeros: bool = False
    #: Trajectories without a reward have the score 0.
    counts_unscored: bool = False

    def at_borders(self, block: Block) -> LaneSums:
        """What the pieces at both ends of each lane add to the trajectories that they are of."""
        lanes = block.lanes
        return LaneSums(*(self._matrix(steps) for steps in (lanes.starts, lanes.stops - 1)))

    def _matrix(self, steps: IndexArray) -> FloatArray:
        return np.stack([numbers[steps] for numbers in self.by_name.values()], axis=1)

    def scores(self, block: Block, totals: LaneSums) -> Scores:
        sums = self._whole(block, totals)
        found: dict[str, FloatArray] = {}
        for name, numbers in sums.items():
            if not name.startswith(GIVEN):
                given = sums.get(name.replace("reward", GIVEN, 1)) if name.startswith("reward ") else None
                # A reward function that gave nothing has no score.
                found[name] = (
                    numbers if given is None or given.all() else np.where(given > 0, numbers, np.nan)
                )
        if _TOLD in sums:
            found[LENGTH] = sums[LENGTH] / np.maximum(sums[_TOLD], 1.0)
        given = sums.get(GIVEN)
        missing = None if given is None or given.all() else given == 0
        unscored, as_zero = (None, missing) if self.counts_unscored else (missing, None)
        if unscored is not None:
            found[SCORE] = np.where(unscored, np.nan, found[SCORE])
        if self.counts_zeros:
            found[NON_ZERO] = np.where(np.isnan(found[SCORE]), np.nan, found[SCORE] != 0)
        return Scores(found, unscored, as_zero, found[SCORE] if self.are_estimates else None)

    def _whole(self, block: Block, totals: LaneSums) -> Mapping[str, FloatArray]:
        if np.isnan(totals.heads).all() and np.isnan(totals.tails).all():
            return self.by_name
        found = {}
        lanes, lasts = block.lanes, _lasts(block)
        pieces = np.repeat(np.arange(len(lasts)), np.diff(lasts, prepend=-1))
        for column, (name, numbers) in enumerate(self.by_name.items()):
            per_piece = numbers[lasts]
            for steps, matrix in ((lanes.starts, totals.heads), (lanes.stops - 1, totals.tails)):
                goes_on = ~np.isnan(matrix[:, column])
                per_piece[pieces[steps[goes_on]]] = matrix[goes_on, column]
            found[name] = per_piece[pieces]
        return found


_NONE = np.zeros(0, np.int64)


def sums_of(block: Block, settings: Settings, *, are_estimates: bool = False) -> Sums:
    is_each = bool(block.cuts.all())  # every step is a trajectory
    lasts = _NONE if is_each else _lasts(block)
    lengths = np.diff(lasts, prepend=-1)
    starts = lasts + 1 - lengths

    def summed(terms: FloatArray) -> FloatArray:
        if block.is_step is not None:
            terms = np.where(block.is_step, terms, 0.0)
        if is_each:
            return terms.astype(np.float64, copy=False)
        return np.repeat(np.add.reduceat(terms, starts), lengths)

    asked = scores_of(settings)
    found = {name: summed(terms) for name, terms in _terms(block, settings, asked).items()}
    return Sums(
        found,
        are_estimates,
        counts_zeros=NON_ZERO in asked,
        counts_unscored=settings.unscored == "counted",
    )


def _lasts(block: Block) -> IndexArray:
    """The last step of each piece of a trajectory that the block has."""
    is_last = block.piece_ends()
    is_last[-1:] = True
    return np.flatnonzero(is_last)


def _terms(block: Block, settings: Settings, asked: Collection[str]) -> dict[str, FloatArray]:
    """[N] what each step adds to the scores that are asked for."""
    terms = {SCORE: block.rewards.astype(np.float64, copy=False)}
    if LENGTH in asked:
        terms[LENGTH] = np.ones(block.num_steps)
        if settings.length_column is not None:
            terms[LENGTH] = _lengths(block, settings)
            terms[_TOLD] = np.isfinite(block.extras[settings.length_column]).astype(np.float64)
    if block.missing_rewards is not None:
        terms[GIVEN] = (~block.missing_rewards).astype(np.float64)
    for name in settings.rewards:
        if reward_score(name) in asked:
            numbers = block.extras[name].astype(np.float64, copy=False)
            is_missing = np.isnan(numbers)
            terms[reward_score(name)] = np.where(is_missing, 0.0, numbers)
            terms[f"{GIVEN} {name}"] = (~is_missing).astype(np.float64)
    return terms


def _lengths(block: Block, settings: Settings) -> FloatArray:
    """Of whole responses, which each of their rows has."""
    assert settings.length_column is not None
    lengths = given_numbers(block, settings.length_column, "--length-column", settings)
    if (lengths < 0).any():
        raise DataError(
            f"`{settings.length_column}` holds negative numbers, which are no lengths",
            hint="name the column with the number of tokens of each response with `--length-column`",
        )
    return lengths


def given_numbers(block: Block, name: str, flag: str, settings: Settings) -> FloatArray:
    """[N] numbers of a column that has to have one at each step that takes part, else 0."""
    numbers = block.extras[name].astype(np.float64, copy=False)
    is_there = np.isfinite(numbers)
    if is_there.all():
        return numbers
    lacking = ~is_there
    if block.is_step is not None:
        lacking &= block.is_step
    if block.missing_rewards is not None and settings.unscored != "counted":
        lacking &= ~block.missing_rewards
    if lacking.any():
        count = int(np.count_nonzero(lacking))
        raise DataError(
            f"`{name}` is null, NaN or infinite in {count:,} of the rows in which it has to be a number",
            hint=f"repair the file, leave such responses out of it, or name another column with `{flag}`",
        )
    return np.where(is_there, numbers, 0.0)
