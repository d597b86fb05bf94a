"""Several inputs, each verified by itself: which of them follow one rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from gaecli.errors import GaeError
from gaecli.pipeline.notes import merged
from gaecli.records import dataclass
from gaecli.results import Attempt, Verification, Verifications
from gaecli.studies.asked import Asked
from gaecli.studies.baseline_candidates import Rule
from gaecli.studies.baseline_court import BaselineCourt, Verdict
from gaecli.studies.success_rules import OfSuccess
from gaecli.studies.verdict import verdict
from gaecli.summary import WarningNote

#: Two fits of one number differ by no more.
_SAME = 1e-4
#: So many rules are tried on inputs that came before them.
_MOST_RETRIED = 4


@dataclass(eq=False)
class _Followers:
    """Inputs that one rule reproduces, each with its verification."""

    #: What it cannot be told from in any of them, itself among them.
    names: list[str]
    #: Of a group baseline: all that is still to be told apart.
    rules: Sequence[Rule]
    inputs: dict[int, Verification]

    @property
    def shown(self) -> Verification:
        """By the input that leaves least open, with the errors of all."""
        named = [one for one in self.inputs.values() if one.best.name in self.names]
        told = min(named, key=lambda one: (len(one.equivalent), sum(map(len, one.remarks))))
        equivalent = [name for name in self.names if name != told.best.name]
        best = _of_all([one.best for one in self.inputs.values()], told.best)
        return replace(told, attempts=[best], equivalent=equivalent, warnings=[])

    def takes(self, index: int, found: Verdict) -> bool:
        """Whether it does, and what it still cannot be told from."""
        first, other = next(iter(self.inputs.values())), found.verification
        theirs = _names(other)
        names = [name for name in self.names if name in theirs]
        is_named = any(one.best.name in names for one in (*self.inputs.values(), other))
        if is_named and _agree(first, other):
            self.inputs[index], self.names = other, names
            return True
        return False

    def takes_by_rules(self, index: int, found: Verdict) -> None:
        """One that was held against its rules alone."""
        self.inputs[index] = found.verification
        self.names, self.rules = _names(found.verification), found.rules


class CommonRule:
    """Takes one input after the other."""

    def __init__(self) -> None:
        self._inputs: list[Verification] = []
        self._ways: list[Callable[[], Asked]] = []
        self._following: list[_Followers] = []

    def add(self, ask: Callable[[], Asked], success: OfSuccess | None) -> None:
        """Held against the rules of those before it first, which is quick; else as if it were alone.

        `ask` opens it, so that no more than one is open.
        """
        index, asked = len(self._inputs), ask()
        found = self._by_known_rules(index, asked) or verdict(asked, success)
        made = found.verification
        is_known = any(index in one.inputs for one in self._following)
        if (
            made.is_reproduced
            and not is_known
            and not any(one.takes(index, found) for one in self._following)
        ):
            self._following.append(_Followers(_names(made), found.rules, {index: made}))
        self._inputs.append(made)
        self._ways.append(ask)

    def result(self) -> Verifications:
        if not self._following:
            return Verifications(self._inputs, warnings=_warnings(self._inputs))
        likely = sorted(self._following, key=lambda one: -len(one.inputs))[:_MOST_RETRIED]
        for one in likely:
            self._retry(one)
        most = max(likely, key=lambda one: len(one.inputs))
        inputs = [most.inputs.get(index, one) for index, one in enumerate(self._inputs)]
        return Verifications(inputs, sorted(most.inputs), most.shown, warnings=_warnings(inputs))

    def _retry(self, following: _Followers) -> None:
        """What came before its rules were known may follow them too."""
        for index, ask in enumerate(self._ways):
            if following.rules and index not in following.inputs and self._inputs[index].is_reproduced:
                found = _by_rules(ask(), following)
                if found is not None:
                    following.takes_by_rules(index, found)

    def _by_known_rules(self, index: int, asked: Asked) -> Verdict | None:
        for one in sorted(self._following, key=lambda one: -len(one.inputs)):
            found = _by_rules(asked, one)
            if found is not None:
                one.takes_by_rules(index, found)
                return found
        return None


def _warnings(inputs: Sequence[Verification]) -> list[WarningNote]:
    return merged([note for one in inputs for note in one.warnings])


def _by_rules(asked: Asked, following: _Followers) -> Verdict | None:
    try:
        return BaselineCourt(asked).follows(following.rules) if following.rules else None
    except GaeError:  # it has not their columns
        return None


def _of_all(attempts: Sequence[Attempt], best: Attempt) -> Attempt:
    """The rule with rows and errors of all inputs."""
    errors = [one.max_error for one in attempts if one.max_error is not None]
    squares = [one.rms_error**2 * one.num_rows for one in attempts if one.rms_error is not None]
    num_rows = sum(one.num_rows for one in attempts)
    return replace(
        best,
        num_rows=num_rows,
        max_error=max(errors, default=None),
        rms_error=(sum(squares) / max(num_rows, 1)) ** 0.5 if squares else None,
    )


def _names(verification: Verification) -> list[str]:
    return [verification.best.name, *verification.equivalent]


def _agree(one: Verification, other: Verification) -> bool:
    """In all that the name of a rule does not say."""
    first, second = one.best, other.best
    numbers = [
        (first.gamma, second.gamma, first.is_gamma_determined and second.is_gamma_determined),
        (first.lam, second.lam, first.is_lam_determined and second.is_lam_determined),
    ]
    costs = [None if told is None else told.failure_cost for told in (one.success, other.success)]
    rewards = [None if told is None else told.reward for told in (one.success, other.success)]
    return (
        all(_are_near(left, right) for left, right, counts in numbers if counts)
        and first.n_steps == second.n_steps
        and dict(first.columns) == dict(second.columns)
        and first.is_affine == second.is_affine
        and one.holds == other.holds
        and rewards[0] == rewards[1]
        and _are_near(*costs)
    )


def _are_near(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= _SAME * max(abs(one), abs(other), 1.0)
