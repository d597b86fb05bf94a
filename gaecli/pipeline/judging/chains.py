"""Next values that are not V of the next row: told, with what they are instead."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gaecli.layouts.evidence.chains import FEWEST_CHAINED, ChainFacts
from gaecli.pipeline.notes import counted
from gaecli.settings import Settings
from gaecli.summary import WarningNote

#: Fewer pairs may be anything.
_FEWEST = 8
#: So many that are V of other rows say which rows those are.
_MOST_ELSEWHERE = 0.5
#: Where so many are V of the next row to the last digit, the others are no V of another critic.
_MOSTLY_EXACT = 0.9
#: For correlations so many are needed; with its own row a next value goes so well, and with the next one half as well
#: at most, chance included.
_FEWEST_COMPARED, _WITH_OWN = 32, 0.3

_TAKE_NEXT = "`--next-value-column none` goes by V of the next row, and leaves ends without a value"

_HIDDEN_ENDS = (
    "nearly all others are, to the last digit, so that a trajectory may end there, or the rows of another critic "
    "begin, and nothing tells of it",
    "name the flag that says so with `--truncated-column` or `--terminated-column`, or what tells trajectories apart "
    "with `--episode-column` or `--env-column`",
)


def unchained_values(path: str, facts: Sequence[ChainFacts], settings: Settings) -> list[WarningNote]:
    pairs, chained, exact = (
        sum(getattr(one, name) for one in facts) for name in ("pairs", "chained", "exact")
    )
    if settings.gamma == 0 or settings.kind.is_scored or pairs < _FEWEST or chained == pairs:
        return []
    if chained <= FEWEST_CHAINED * pairs:
        told = _level(facts) or _elsewhere(facts, pairs, settings) or _apart(facts, pairs, settings)
    else:
        told = _HIDDEN_ENDS if exact >= _MOSTLY_EXACT * pairs and not _needs_no_order(settings) else None
    if told is None:
        return []
    what, hint = told
    return [counted("unchained-values", (pairs - chained, pairs), path, names=(what,), hint=hint)]


def _level(facts: Sequence[ChainFacts]) -> tuple[str, str] | None:
    """A column that is filled at ends alone."""
    levels = {one.level for one in facts if one.pairs > one.chained}
    level = levels.pop() if len(levels) == 1 else None
    if level is None:
        return None
    return (
        f"they are {level:g}, whatever V is",
        "make them null inside of trajectories if they are given at ends alone, and V of the next row is used there; "
        f"{_TAKE_NEXT}",
    )


def _elsewhere(facts: Sequence[ChainFacts], pairs: int, settings: Settings) -> tuple[str, str] | None:
    if sum(one.elsewhere for one in facts) < _MOST_ELSEWHERE * pairs:
        return None
    distances = {one.distance for one in facts if one.elsewhere}
    distance = distances.pop() if len(distances) == 1 else None
    if distance == 0:
        return "they are V of their own row", _TAKE_NEXT
    if _needs_no_order(settings):
        return None
    if distance is None:
        return _shuffled("they are V of rows elsewhere")
    if distance == -1:
        return (
            "they are V of the row before, as where rows stand in reverse order",
            "turn the rows round, or name the column that orders them with `--step-column`",
        )
    if distance < 0:
        return _shuffled(f"they are V of the row {-distance} before")
    return (
        f"they are V of the row {distance} behind, as where the rows of {distance} environments take turns, or "
        f"rewards are those of {distance} steps",
        f"name the column that tells environments apart with `--env-column`, or add one (row number modulo "
        f"{distance})",
    )


def _apart(facts: Sequence[ChainFacts], pairs: int, settings: Settings) -> tuple[str, str] | None:
    """Next values that are V of no row, as those of a target network, and go with V of their own row alone."""
    if pairs < _FEWEST_COMPARED or _needs_no_order(settings):
        return None
    with_own, with_next = (
        sum(one.pairs * getattr(one, name) for one in facts) / pairs for name in ("with_own", "with_next")
    )
    if with_own < _WITH_OWN or with_next + 2 / math.sqrt(pairs) > with_own / 2:
        return None
    return _shuffled(
        f"they go with V of their own row (rank correlation {with_own:.2f}), and not with that of the next one "
        f"({with_next:.2f})"
    )


def _shuffled(what: str) -> tuple[str, str]:
    return (
        f"{what}, as where rows were shuffled or drawn",
        "write the rows in the order in which they were recorded, or name what tells it with `--episode-column`, "
        "`--env-column` and `--step-column`; `--estimator td0` needs no order",
    )


def _needs_no_order(settings: Settings) -> bool:
    """TD errors go by the next values of their own rows."""
    is_one_step = settings.estimator == "td0" or (settings.uses("lam") and settings.lam == 0)
    return is_one_step and settings.lam_column is None
