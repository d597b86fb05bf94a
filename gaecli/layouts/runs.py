"""Arrays that say where the trajectories of flat rows begin, end, or how long they are, as ids of the rows.

`episode_ends` of diffusion policies, `lengths`, `traj_starts`, `cu_seqlens`: they have an entry per trajectory, not
per step. Their numbers tell which they are; the name decides where the numbers alone do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gaecli.array_types import Array, IndexArray
from gaecli.columns import find_roles
from gaecli.formats.base import Column, ColumnInfo, RolloutFile, Unit, holds_short_arrays
from gaecli.formats.wrapped import WrappedFile, innermost
from gaecli.layouts.base import Layout
from gaecli.names import word_set, words_of
from gaecli.settings import Settings

_STARTS, _ENDS, _SPLITS = (
    word_set(words)
    for words in (
        "start starts begin begins beginning first firsts offset offsets ptr indptr index indices idx",
        "end ends done dones last lasts final terminal terminals term stop stops idx index indices",
        "split splits boundary boundaries border borders cut cuts indices indexes",
    )
)


def with_named_runs(file: RolloutFile, settings: Settings) -> RolloutFile:
    """The file with ids in the place of such an array, if the user names it for the episodes."""
    # It is no column yet.
    columns = {role: name for role, name in settings.columns.items() if role != "episode"}
    named = settings.columns.get("episode", "")
    reward = find_roles(file, replace(settings, columns=columns)).names.get("reward", "")
    found = {name: starts for name, starts in runs_of(file, reward).items() if name == named}
    return WithRuns(file, reward, found) if found else file


def with_runs(file: RolloutFile, layout: Layout) -> RolloutFile:
    """The file with ids in the place of all such arrays that no role uses, where a row is a step."""
    used = {*layout.row_columns, *layout.roles.names.values()}
    reward = layout.roles.names["reward"]
    found = {name: starts for name, starts in runs_of(file, reward).items() if name not in used}
    return WithRuns(file, reward, found) if found else file


def runs_of(file: RolloutFile, like: str) -> Mapping[str, IndexArray]:
    """The arrays of a file that are such ones -> where the trajectories begin; `like`: the column of rewards."""
    source, reward = innermost(file), file.find(like)
    if not holds_short_arrays(source) or reward is None or reward.unusable is not None:
        return {}
    if not reward.shape or reward.is_list or math.prod(reward.shape) != reward.shape[0]:
        return {}
    arrays = source.short_arrays(reward.shape[0])
    found = {name: starts_of(name, array, reward.shape[0]) for name, array in arrays.items()}
    return {name: starts for name, starts in found.items() if starts is not None}


def starts_of(name: str, array: Array, num_rows: int) -> IndexArray | None:
    """Where the trajectories begin, if they are all of the rows."""
    numbers: IndexArray = array.astype(np.int64)
    words = frozenset(words_of(name))
    first, last = int(numbers[0]), int(numbers[-1])
    if (numbers < 0).any() or (array.dtype.kind == "u" and (array > num_rows).any()):
        return None
    is_rising = bool((numbers[1:] > numbers[:-1]).all())
    if is_rising and last == num_rows:
        return numbers[:-1] if first == 0 else np.concatenate(([0], numbers[:-1]))
    if is_rising and last == num_rows - 1 and words & _ENDS:
        return np.concatenate(([0], numbers[:-1] + 1))
    if is_rising and last < num_rows and first == 0 and words & _STARTS:
        return numbers
    if is_rising and last < num_rows and first > 0 and words & _SPLITS:
        return np.concatenate(([0], numbers))
    if int(numbers.sum()) == num_rows:
        return np.concatenate(([0], np.cumsum(numbers)[:-1]))[numbers > 0]
    return None


class WithRuns(WrappedFile):
    """Beside the columns of a file, the number of the trajectory that each row is of."""

    def __init__(self, file: RolloutFile, like: str, runs: Mapping[str, IndexArray]) -> None:
        super().__init__(file)
        self.runs = runs
        self._like = like
        reward = file.find(like)
        assert reward is not None
        ids = {
            name: ColumnInfo(name, "int", "int64, from one entry per trajectory", reward.shape)
            for name in runs
        }
        self.columns = {**file.columns, **ids}

    def find(self, name: str) -> ColumnInfo | None:
        return self.columns[name] if name in self.runs else self._file.find(name)

    def may_hold_flags(self, name: str) -> bool:
        return name not in self.runs and self._file.may_hold_flags(name)

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        wanted = [name for name in names if name in self.runs]
        others = [name for name in names if name not in self.runs]
        for start, stop, columns in self._file.blocks(unit, others or [self._like], rows_per_block):
            rows = np.arange(start, stop)
            yield start, stop, {**columns, **{name: self._ids(name, rows) for name in wanted}}

    def read_whole(self, name: str) -> Column:
        if name not in self.runs:
            return self._file.read_whole(name)
        return self._ids(name, np.arange(self.columns[name].shape[0]))

    def _ids(self, name: str, rows: IndexArray) -> Column:
        return Column(np.searchsorted(self.runs[name], rows, side="right") - 1)
