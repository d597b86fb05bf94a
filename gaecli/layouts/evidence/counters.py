"""Counters that begin anew where an episode does: the flags by which such a column says where that is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gaecli.array_types import Array, BoolArray
from gaecli.shell_words import word


def flag_of_counter(name: str, begins: Sequence[float], stops: Sequence[float]) -> tuple[str, float] | None:
    """(flags, number) of a counter of which every episode begins at one number, or else stops at one.

    `begins`: the numbers at which it begins anew; `stops`: those before. None where each is another.
    """
    if begins and min(begins) == max(begins):
        return f"--done-column {word(f'{name}={written(begins[0])}')} --done-at start", begins[0]
    if stops and min(stops) == max(stops):
        return f"--done-column {word(f'{name}={written(stops[0])}')} --done-at end", stops[0]
    return None


def use_of_counter(name: str, flag: tuple[str, float]) -> str:
    flags, number = flag
    what = "begins" if flags.endswith("start") else "ends"
    return f"pass `{flags}` if an episode {what} wherever `{name}` is {written(number)}"


def flag_in(name: str, numbers: Array, follows: BoolArray) -> tuple[str, float] | None:
    """The same of the numbers of all steps; `follows`: [N - 1] the next one may be of the same trajectory."""
    steps = np.diff(numbers.astype(np.float64))
    forward = -1 if np.count_nonzero(steps[follows] < 0) > np.count_nonzero(steps[follows] > 0) else 1
    anew = np.flatnonzero(follows & (steps * forward < 0))
    if not len(anew) or (follows & (steps == 0)).any():
        return None
    return flag_of_counter(name, numbers[anew + 1].tolist(), numbers[anew].tolist())


def written(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else repr(float(number))
