"""Rewards out of success that a column may be made of, and what a failure costs, where the column tells it.

Whatever the estimator, nothing lies beyond the last step of an episode: its return R, or A + V, is the reward there.

    steps    R = -C at the end of a failure
    recap    R = -C / Z,  Z = H - 1 + C,  so that C = y (H - 1) / (1 - y) with y = -R

Where no episode fails, the step before the last of a success has r = -1/Z, which is its Monte-Carlo return.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import numpy as np

from gaecli.array_types import BoolArray, FloatArray
from gaecli.choices import SuccessAt, SuccessReward
from gaecli.errors import UsageError
from gaecli.label_summary import SuccessSummary
from gaecli.pipeline.outcomes import success_summary
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.studies.asked import Asked
from gaecli.studies.candidates import Candidate
from gaecli.studies.column import Holds
from gaecli.studies.reading import settled_blocks
from gaecli.studies.readings import Readings, stream_of
from gaecli.studies.row_equations import ROUNDINGS

#: Any number but 1 and 0 tells a failure from the other steps.
_MARK = 7.0
#: More digits than a column in float32 has say nothing.
_MOST_DIGITS = 9


@dataclass(frozen=True)
class OfSuccess:
    """What the user says of success; None: it is looked for."""

    column: str
    reward: SuccessReward | None = None
    failure_cost: float | None = None
    at: SuccessAt | None = None

    def settings(self, base: Settings, reward: SuccessReward, failure_cost: float | None) -> Settings:
        return base.replace(
            success_column=self.column,
            success_reward=reward,
            success_at=self.at,
            failure_cost=None if reward == "sparse" else failure_cost,
        )


@dataclass(frozen=True)
class SuccessReading:
    """One rule, and what it makes of the episodes of the file."""

    asked: Asked
    told: SuccessSummary
    remarks: tuple[str, ...] = ()


def success_readings(asked: Asked, success: OfSuccess, holds: Holds) -> Iterator[SuccessReading]:
    """Every rule, or the one that is asked for, with the cost that is given or that the column tells.

    `UsageError` where it tells none.
    """
    ends = _ColumnAtEnds.of(asked, success, holds)
    rewards = get_args(SuccessReward) if success.reward is None else (success.reward,)
    if success.failure_cost is not None and success.reward is None:
        rewards = tuple(name for name in rewards if name != "sparse")
    found = 0
    for reward in rewards:
        cost, remarks = success.failure_cost, []
        if cost is None and reward != "sparse":
            cost = ends.cost(reward, holds)
            if cost is None:
                continue
            remarks = [_FITTED if ends.num_failures else _NO_FAILURE[reward]]
        found += 1
        settings = success.settings(asked.settings, reward, cost)
        told = success_summary(
            settings, ends.longest, ends.num_episodes, ends.num_episodes - ends.num_failures
        )
        assert told is not None
        yield SuccessReading(replace(asked, settings=settings), told, tuple(remarks))
    if not found:
        raise UsageError(
            f"`{asked.against.column}` does not tell what a failure costs by `--success-reward {success.reward}`",
            hint="pass `--failure-cost C`",
        )


_FITTED = "what a failure costs is taken from the column, at the last steps of episodes that failed"
_NO_FAILURE = {
    "recap": "no episode failed: what a failure would cost is taken from the steps of those that succeeded",
    "steps": "no episode failed: what a failure would cost does not show",
}


@dataclass(frozen=True, eq=False)
class _ColumnAtEnds:
    """The column at the ends of episodes."""

    longest: int
    num_episodes: int
    num_failures: int
    #: R at the last step of every failure, and at the last but one of every success.
    at_failures: FloatArray
    before_successes: FloatArray
    #: By how much of itself one of these numbers may be off.
    rounding: float

    @classmethod
    def of(cls, asked: Asked, success: OfSuccess, holds: Holds) -> _ColumnAtEnds:
        settings = _settings(asked, success, holds)
        reading = Readings(asked, holds).of(Candidate(("exact",), settings))
        counts = _EpisodeFacts.of(asked, settings)
        block = reading.block
        is_step = np.ones(block.num_steps, np.bool_) if block.is_step is None else block.is_step
        rewards, returns = block.rewards[is_step], (reading.column + block.values)[is_step]
        sizes = (np.abs(reading.column) + np.abs(block.values))[is_step]
        ends: BoolArray = rewards != -1
        failed: BoolArray = rewards == -_MARK
        lengths = np.diff(np.flatnonzero(ends), prepend=-1)
        before = np.flatnonzero(ends & ~failed)[lengths[~failed[ends]] > 1] - 1
        numbers = returns[failed] if failed.any() else returns[before]
        size = sizes[failed] if failed.any() else sizes[before]
        relative = size / np.maximum(np.abs(numbers), np.finfo(np.float32).tiny)
        return cls(
            counts.longest,
            counts.episodes,
            counts.failures,
            at_failures=returns[failed & np.isfinite(returns)],
            before_successes=returns[before][np.isfinite(returns[before])],
            rounding=ROUNDINGS * asked.against.rounding * float(np.median(relative))
            if len(relative)
            else 0.0,
        )

    def cost(self, reward: SuccessReward, holds: Holds) -> float | None:
        """C by the middle one of the numbers that say it; None where they say nothing, or no cost."""
        if len(self.at_failures):
            share = -float(np.median(self.at_failures))
            if reward == "steps":
                return _short(share, self.rounding * share) if share >= 0 else None
            if not 0 <= share < 1:
                return None
            found = share * (self.longest - 1) / (1 - share)
            return _short(found, self.rounding * found / (1 - share))
        if reward == "steps":
            return 0.0  # nothing costs it
        step = -float(np.median(self.before_successes)) if len(self.before_successes) else 0.0
        if holds == "advantage" or step <= 0:
            return None
        found = 1 / step - self.longest + 1
        return _short(max(found, 0.0), self.rounding / step)


@dataclass(frozen=True)
class _EpisodeFacts:
    """Of all episodes, whatever part of them the column is looked at."""

    longest: int
    episodes: int
    failures: int

    @classmethod
    def of(cls, asked: Asked, settings: Settings) -> _EpisodeFacts:
        reading = stream_of(asked, settings)
        episodes = failures = 0
        for _, _, block, _ in settled_blocks(reading):
            rewards = block.counted(block.block.rewards)
            episodes += int(np.count_nonzero(rewards != -1))
            failures += int(np.count_nonzero(rewards == -_MARK))
        return cls(reading.stream.opened.longest_episode, episodes, failures)


def _settings(asked: Asked, success: OfSuccess, holds: Holds) -> Settings:
    """Rewards that tell the last steps of failures and successes from all others."""
    estimator = "mc" if holds == "return" else "gae"
    base = asked.settings.replace(estimator=estimator, preset="exact", bootstrap="zero")
    return success.settings(base, "steps", _MARK)


def _short(number: float, tolerance: float) -> float:
    """As people write it, if that is as good."""
    for digits in range(1, _MOST_DIGITS):
        short = float(f"{number:.{digits}g}")
        if abs(short - number) <= tolerance:
            return short
    return float(f"{number:.{_MOST_DIGITS}g}")
