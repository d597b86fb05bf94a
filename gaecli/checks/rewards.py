"""Rules about rewards: on the wrong row, on rows that are no steps, or with something added."""

from __future__ import annotations

from dataclasses import field, replace

import numpy as np

from gaecli.array_types import BoolArray, FloatArray
from gaecli.checks.base import CheckRule, Hits, Window
from gaecli.moments import PIECE, Moments
from gaecli.records import dataclass

_FEWEST_ENDS = 3
#: Where more of the other rewards are 0 than this, a 0 after an end says nothing.
_MOST_ZEROS = 0.5
#: Truncated steps looked at for added values; more would tell no more.
_MOST_CANDIDATES = 1 << 16
_SHARE_ADDED = 0.8
#: Steps needed for a comparison of variances, and what it must leave of the unexplained part.
_FEWEST_STEPS = 200
_LEFT_UNEXPLAINED = 0.7


@dataclass(frozen=True)
class _Fillers:
    """Steps right after an end: how many there are, and how many have reward 0; the same of all others."""

    after: int
    zero_after: int
    others: int
    zero_others: int
    first: Hits | None

    def merge(self, later: _Fillers) -> _Fillers:
        return _Fillers(
            self.after + later.after,
            self.zero_after + later.zero_after,
            self.others + later.others,
            self.zero_others + later.zero_others,
            self.first or later.first,
        )

    def weigh(self) -> Hits | None:
        is_rule = self.after >= _FEWEST_ENDS and self.zero_after == self.after
        is_rare = self.after <= self.others // 3 and self.zero_others < _MOST_ZEROS * self.others
        if self.first is None or not (is_rule and is_rare):
            return None
        return replace(self.first, count=self.zero_after)


def filler_rows(window: Window) -> _Fillers:
    """Every end is followed by a step with reward 0, which other steps seldom have."""
    counted = window.is_new if window.is_masked is None else window.is_new & ~window.is_masked
    after = np.concatenate(([False], window.ended[:-1])) & window.in_lane & counted
    others = counted & ~after
    zero = window.rewards == 0
    message = "the row after every end has reward 0: no step, but the reset"
    return _Fillers(
        int(np.count_nonzero(after)),
        int(np.count_nonzero(after & zero & ~window.ended)),
        int(np.count_nonzero(others)),
        int(np.count_nonzero(others & zero)),
        window.hits(after & zero, lambda step: message),
    )


@dataclass(frozen=True, eq=False)
class _Added:
    """Rewards of truncated steps, with what may have been added to them, and the range of all others."""

    rewards: FloatArray
    added: FloatArray
    is_given: bool
    low: float
    high: float
    first: Hits | None

    def merge(self, later: _Added) -> _Added:
        return _Added(
            np.concatenate((self.rewards, later.rewards))[:_MOST_CANDIDATES],
            np.concatenate((self.added, later.added))[:_MOST_CANDIDATES],
            self.is_given or later.is_given,
            min(self.low, later.low),
            max(self.high, later.high),
            self.first or later.first,
        )

    def weigh(self) -> Hits | None:
        if self.first is None or not self.low <= self.high:
            return None
        # V of the last observation is seldom in the file; V(sₜ) is near it.
        slack = 0.05 if self.is_given else 0.3
        margin = 0.02 * (self.high - self.low) + slack * np.abs(self.added)
        outside = (self.rewards < self.low - margin) | (self.rewards > self.high + margin)
        bare = self.rewards - self.added
        inside = (bare >= self.low - margin) & (bare <= self.high + margin)
        count = int(np.count_nonzero(outside & inside))
        if not count or count < _SHARE_ADDED * len(self.rewards):
            return None
        message = (
            f"rewards of {count:,} of {len(self.rewards):,} truncated steps lie outside those of all others, and "
            "within them once γ V is taken off"
        )
        return replace(self.first, count=count, message=message)


def augmented_rewards(window: Window) -> _Added | None:
    """At truncated steps the reward holds γ V(last observation) already."""
    if window.context.settings.gamma_column is not None:
        return None  # of one γ for all steps
    at = window.truncated & window.usable
    inner = window.usable & ~window.ended
    given = window.next_values[at]
    beyond = np.where(np.isnan(given), window.values[at], given)
    ordinary = window.rewards[inner]
    return _Added(
        window.rewards[at],
        window.context.settings.gamma * beyond,
        bool(np.isfinite(given).any()),
        float(ordinary.min(initial=np.inf)),
        float(ordinary.max(initial=-np.inf)),
        window.hits(at, lambda step: ""),
    )


@dataclass(frozen=True)
class _Shifts:
    """δ with the reward of the row itself, of the row after and of the row before; and the one-step return."""

    own: Moments = field(default_factory=Moments)
    after: Moments = field(default_factory=Moments)
    before: Moments = field(default_factory=Moments)
    target: Moments = field(default_factory=Moments)
    file: str = ""

    def merge(self, later: _Shifts) -> _Shifts:
        return _Shifts(
            self.own.merge(later.own),
            self.after.merge(later.after),
            self.before.merge(later.before),
            self.target.merge(later.target),
            self.file,
        )

    def weigh(self) -> Hits | None:
        errors = [moments.variance() for moments in (self.own, self.after, self.before)]
        total = self.target.variance()
        if self.own.count < _FEWEST_STEPS or not total or None in errors:
            return None
        own, after, before = (error or 0.0 for error in errors)
        best = min(after, before)
        if best > _LEFT_UNEXPLAINED * own:
            return None
        row = "after" if after <= before else "before"
        message = (
            f"the values explain {_percent(1 - own / total)} of the one-step returns with the reward of their own "
            f"row, and {_percent(1 - best / total)} with that of the row {row}"
        )
        return Hits(0, message, file=self.file)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}%"


def shifted_rewards(window: Window) -> _Shifts | None:
    """Var(δ) is far smaller with the reward of a neighbouring row: δₜ = rₜ₊ₖ + γ V(sₜ₊₁) - V(sₜ)."""
    settings = window.context.settings
    if settings.gamma_column is not None or settings.arrives:
        return None
    # Steps with a neighbour on either side in the same trajectory, for all three alike.
    came_on = window.past.came_on & ~window.is_bad
    middle = came_on[:-1] & came_on[1:] & window.is_new[1:]
    found = _Shifts(file=str(window.context.path))
    for start in range(0, len(middle), PIECE):
        found = found.merge(_shifts(window, start, middle[start : start + PIECE]))
    return found


# What overflows is infinite, and no variance compares with it.
@np.errstate(over="ignore", invalid="ignore")
def _shifts(window: Window, start: int, middle: BoolArray) -> _Shifts:
    """Of the steps from `start` on that `middle` has."""
    if not middle.any():
        return _Shifts()
    own, after = (slice(first, first + len(middle)) for first in (start, start + 1))
    rewards, values = window.rewards, window.values
    discounted = window.context.settings.gamma * values[after]
    rest = discounted - values[own]

    def of(numbers: FloatArray) -> Moments:
        return Moments.of(numbers[middle])

    return _Shifts(
        of(rest + rewards[own]),
        of(rest + rewards[after]),
        of(rest + window.past.earlier_rewards(np.arange(own.start, own.stop))),
        of(discounted + rewards[own]),
    )


RULES = (
    CheckRule(
        "GAE101",
        "filler-rows",
        "warning",
        "steps",
        filler_rows,
        summary="every end of an episode is followed by a row with reward 0, as the reset of a vector environment is",
        why="with next-step autoreset, Gymnasium's default, the row after an end holds no action: it enters the "
        "batch as a step that earned nothing, and shifts the start of every episode by one",
        fix="leave such rows out when recording (`autoreset_mode=SAME_STEP`), or filter them",
        bugs=("Denys88/rl_games#362", "Denys88/rl_games#365"),
        unless=("GAE105",),
    ),
    CheckRule(
        "GAE102",
        "augmented-rewards",
        "warning",
        "steps",
        augmented_rewards,
        summary="rewards of truncated steps hold γ V of the last observation already",
        why="Stable-Baselines3 adds it where a time limit ends an episode; bootstrapping such a step once more "
        "counts that value twice",
        fix="pass `--truncated-column none` so that such ends count as terminal, or store the plain rewards",
        bugs=("DLR-RM/stable-baselines3#633", "DLR-RM/stable-baselines3#1276"),
    ),
    CheckRule(
        "GAE103",
        "shifted-rewards",
        "warning",
        "steps",
        shifted_rewards,
        summary="values explain the rewards of a neighbouring row far better than those of their own",
        why="a reward stored with the observation it arrived with belongs to the action of the row before: every "
        "advantage then judges the wrong action",
        fix="pass `--reward-at arrival` if it is the row after; else move the reward column by one row within each "
        "episode before computing",
        bugs=("openai/spinningup#50",),
    ),
)
