"""The step column: it orders the rows of a trajectory, and shows what is missing or doubled."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gaecli.errors import DataError
from gaecli.layouts.cells import Locate
from gaecli.rollouts import Array, BoolArray, IndexArray


def as_integers(steps: Array) -> IndexArray:
    """Signed, so that differences of unsigned steps do not wrap around."""
    return steps.astype(np.int64)


def falls(steps: IndexArray, same: BoolArray) -> bool:
    """Whether the step decreases somewhere between neighbours of one trajectory."""
    return bool((same & (steps[1:] < steps[:-1])).any())


def agree_on_order(steps: IndexArray, others: IndexArray, same: BoolArray) -> bool:
    """Two step columns agree if they order the rows of every trajectory alike; their values may differ."""
    return not bool((same & (np.sign(np.diff(steps)) != np.sign(np.diff(others)))).any())


def stride_of(steps: IndexArray, same: BoolArray, name: str, path: Path, locate: Locate) -> int | None:
    """The constant distance between neighbours of a trajectory; `DataError` on doubled or missing steps.

    It is 1 in most files, and the frame skip or the number of environments in some.
    """
    distances = np.diff(steps)
    seen = distances[same]
    if not len(seen):
        return None
    stride = int(seen.min())
    if stride <= 0:
        _refuse(same & (distances <= 0), steps, name, path, locate)
    odd = same & (distances != stride)
    if odd.any():
        step = int(np.argmax(odd))
        raise DataError(
            f"`{name}` goes from {steps[step]} to {steps[step + 1]} at {locate(step + 1)} of `{path}`, "
            f"{stride} apart elsewhere; {int(odd.sum()):,} such gaps in all",
            hint="steps are missing; restore them, or pass `--step-column none` if it does not count steps",
        )
    return stride


def _refuse(doubled: BoolArray, steps: IndexArray, name: str, path: Path, locate: Locate) -> None:
    step = int(np.argmax(doubled))
    if steps[step] == steps[step + 1]:
        raise DataError(
            f"`{name}` is {steps[step]} twice in one trajectory, the second time at "
            f"{locate(step + 1)} of `{path}`; {int(doubled.sum()):,} such in all",
            hint="rows are repeated, or several environments stand in one file: name what tells them apart "
            "with `--env-column` or `--episode-column`",
        )
    raise DataError(
        f"`{name}` falls from {steps[step]} to {steps[step + 1]} at {locate(step + 1)} of `{path}` without an "
        f"end of the episode before it; {int(doubled.sum()):,} such in all",
        hint="name the end flag with `--done-column`, what tells trajectories apart with `--env-column` or "
        "`--episode-column`, or pass `--step-column none` if it does not count steps",
    )
