"""The verdict on one column: whoever may know what made it is heard, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from gaecli.columns import find_roles
from gaecli.errors import GaeError
from gaecli.response_logs import ResponseLogError
from gaecli.studies.asked import Asked, GroupsUntold, Untried
from gaecli.studies.baseline_candidates import group_columns
from gaecli.studies.baseline_court import BaselineCourt, Verdict
from gaecli.studies.column import Holds, what_it_holds
from gaecli.studies.estimator_court import EstimatorCourt
from gaecli.studies.success_rules import OfSuccess, success_readings

_Hearing = Callable[[], Verdict]


def verdict(asked: Asked, success: OfSuccess | None = None) -> Verdict:
    """As what the name says that the column holds; where it does not say, as whatever can be reproduced.

    `success`: what makes the rewards, if it is that.
    """
    found: list[Verdict] = []
    errors: list[GaeError] = []
    hearings = _hearings(asked) if success is None else _hearings_of_success(asked, success)
    for hear in hearings:
        try:
            found.append(hear())
        except GaeError as error:
            errors.append(error)
            continue
        if found[-1].verification.is_reproduced:
            return found[-1]
    late = _of_arrival(asked) if success is None and found else None
    if late is not None:
        return late
    if not found and not errors:
        raise asked.untried("return")
    if not found:
        raise errors[0] if success is not None else _likeliest(asked, errors)
    return _nearest(found)


def _of_arrival(asked: Asked) -> Verdict | None:
    """With rewards in the row after their step, which few files have: asked where nothing else makes the column."""
    only, settings = asked.only, asked.settings
    may_be = only.preset in (None, "exact") and only.tries_presets and not only.is_scored
    if not may_be or settings.arrives or settings.is_over_units or not _has_values(asked):
        return None
    from gaecli.studies.arrival import verification_of_arrival

    made = verification_of_arrival(asked)
    return None if made is None else Verdict(made)


def _likeliest(asked: Asked, errors: Sequence[GaeError]) -> GaeError:
    """What `gae compute` says; without values what is said of scores, where they have groups or lack nothing else."""
    first, last = errors[0], errors[-1]
    if isinstance(last, Untried) or _has_values(asked):
        return first
    asks = isinstance(last, (GroupsUntold, ResponseLogError))
    return last if asks or group_columns(asked.file, asked.only.group_column) else first


def _nearest(found: Sequence[Verdict]) -> Verdict:
    return min(found, key=lambda verdict: verdict.verification.share_deviating)


def _has_values(asked: Asked) -> bool:
    """What compares no scores is meant, or may be."""
    return not asked.only.is_scored and "value" in find_roles(asked.file, asked.settings).names


def _hearings(asked: Asked) -> Iterator[_Hearing]:
    """One after the other, until one finds what reproduces the column."""
    holds, only = what_it_holds(asked.against.column), asked.only
    if not only.is_scored:
        for one in holds:
            yield partial(_of_steps, asked, one)
    if "advantage" not in holds or (only.estimator is not None and not only.is_scored):
        return
    if only.tested or asked.settings.is_over_units:
        return  # which say nothing to scores
    baselines = BaselineCourt(asked)
    if baselines.groups or not _has_values(asked):
        yield baselines.verdict


def _hearings_of_success(asked: Asked, success: OfSuccess) -> Iterator[_Hearing]:
    for holds in what_it_holds(asked.against.column):
        if not asked.only.is_scored:
            yield partial(_of_success, asked, success, holds)
        elif holds == "advantage":
            reward = success.reward or ("sparse" if success.failure_cost is None else "recap")
            settings = success.settings(asked.settings, reward, success.failure_cost)
            yield BaselineCourt(replace(asked, settings=settings)).verdict


def _of_steps(asked: Asked, holds: Holds) -> Verdict:
    return Verdict(EstimatorCourt(asked, holds).verdict())


def _of_success(asked: Asked, success: OfSuccess, holds: Holds) -> Verdict:
    """The first of the rules that reproduces the column, or the nearest."""
    found: list[Verdict] = []
    for reading in success_readings(asked, success, holds):
        made = EstimatorCourt(reading.asked, holds).verdict()
        told = replace(made, success=reading.told, remarks=[*made.remarks, *reading.remarks])
        found.append(Verdict(told))
        if made.is_reproduced:
            break
    return _nearest(found)
