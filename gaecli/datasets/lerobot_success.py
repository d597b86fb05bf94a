"""The data files of a LeRobot set, seen with what is told of their episodes elsewhere: whether they succeeded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gaecli.array_types import BoolArray
from gaecli.datasets.lerobot_episodes import (
    EPISODE,
    OF_DATA,
    OF_EPISODES,
    SuccessPlaces,
    Told,
    disagreement,
    success_columns,
    told,
)
from gaecli.errors import DataError, UsageError
from gaecli.formats.base import Column, ColumnInfo, RolloutFile, Unit
from gaecli.formats.wrapped import WrappedFile
from gaecli.shell_words import word

_FRAME = "frame_index"
_LOOK_ROWS = 1 << 20


def with_success(file: RolloutFile, root: Path, column: str, at: str | None) -> RolloutFile:
    """The file, with the flag of success that other files of the data set hold; as it is where none of them does.

    Args:
        root: of the data set.
        column: of success, as the user names it.
        at: `--success-at`.
    """
    stored = file.find(column)
    if stored is not None and column.startswith((OF_DATA, OF_EPISODES)):
        return file
    places = told(root, column)
    if stored is None and not places.found:
        if column.startswith(OF_DATA) and file.find(column.removeprefix(OF_DATA)) is not None:
            return _Renamed(file, column, column.removeprefix(OF_DATA))
        if (there := success_columns(root)) and not column.startswith(OF_DATA):
            raise UsageError(
                f"column `{column}` stands neither in `{file.path}` nor in the episodes of `{root / 'meta'}`",
                hint=f"pass `--success-column {word(there[0])}`, which `{root / 'meta'}` holds for each episode",
            )
        return file
    if not places.found:
        return file
    if file.find(EPISODE) is None:
        raise UsageError(
            f"`{file.path}` has no column `{EPISODE}`: nothing tells which of its rows are of the episodes of "
            f"{places.found[0].title}",
            hint="write the number of its episode on every row",
        )
    return _WithEpisodes(file, column, places, at)


class _Renamed(WrappedFile):
    """One column of the file by another name as well."""

    def __init__(self, file: RolloutFile, name: str, stored: str) -> None:
        super().__init__(file)
        self._name, self._stored = name, stored

    def find(self, name: str) -> ColumnInfo | None:
        info = self._file.find(self._stored if name == self._name else name)
        return info if info is None or name != self._name else replace(info, name=name)

    def may_hold_flags(self, name: str) -> bool:
        return self._file.may_hold_flags(self._stored if name == self._name else name)

    def has_single_items(self, name: str) -> bool:
        return self._file.has_single_items(self._stored if name == self._name else name)

    def read_whole(self, name: str) -> Column:
        return self._file.read_whole(self._stored if name == self._name else name)

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        stored = [self._stored if name == self._name else name for name in names]
        for start, stop, columns in self._file.blocks(unit, list(dict.fromkeys(stored)), rows_per_block):
            also = {self._name: columns[self._stored]} if self._name in names else {}
            yield start, stop, {**columns, **also}


class _WithEpisodes(WrappedFile):
    """A data file with the flag of its episodes on each of their rows; or with its own flag, which has to agree."""

    def __init__(self, file: RolloutFile, column: str, places: SuccessPlaces, at: str | None) -> None:
        super().__init__(file)
        self._column, self._places, self._at = column, places.found, at
        self._digest = places.digest
        self._is_stored = file.find(column) is not None
        where = " and ".join(dict.fromkeys(one.where for one in places.found))
        self._info = ColumnInfo(column, "bool", f"bool, in {where}", (self.num_rows,))

    @property
    def told_beside(self) -> str | None:
        return None if self._is_stored else self._digest

    def find(self, name: str) -> ColumnInfo | None:
        return self._info if name == self._column and not self._is_stored else self._file.find(name)

    def may_hold_flags(self, name: str) -> bool:
        return (self._is_stored or name != self._column) and self._file.may_hold_flags(name)

    def has_single_items(self, name: str) -> bool:
        return (self._is_stored or name != self._column) and self._file.has_single_items(name)

    def read_whole(self, name: str) -> Column:
        if name != self._column or self._is_stored:
            return self._file.read_whole(name)
        return self._of_episodes(self._file.read_whole(EPISODE), 0)

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        if self._is_stored or self._column not in names:
            yield from self._file.blocks(unit, names, rows_per_block)
            return
        stored = dict.fromkeys([*(name for name in names if name != self._column), EPISODE])
        for start, stop, columns in self._file.blocks(unit, list(stored), rows_per_block):
            flags = self._of_episodes(columns[EPISODE], start)
            found = {name: column for name, column in columns.items() if name in names}
            yield start, stop, {**found, self._column: flags}

    def _of_episodes(self, episodes: Column, start: int) -> Column:
        distinct, where = np.unique(episodes.values, return_inverse=True)
        flags = [self._flag_of(number) for number in distinct.tolist()]
        silent = np.array([flag is None for flag in flags], np.bool_)[where]
        if silent.any() or episodes.is_null is not None:
            unknown = silent if episodes.is_null is None else silent | episodes.is_null
            row = int(np.argmax(unknown))
            of_it = "no episode" if not silent[row] else f"episode {episodes.label(row)}"
            raise DataError(
                f"{self._places[0].title} says nothing of {of_it}, of which row {start + row} of `{self.path}` is; "
                f"{int(np.count_nonzero(silent)):,} such rows in this part of the file",
                hint="write the flag for every episode, or leave out those that it is not known of",
            )
        return Column(np.array(flags, np.bool_)[where])

    def _flag_of(self, episode: Any) -> bool | None:
        found = [one.flags.get(episode) for one in self._places]
        return next((flag for flag in found if flag is not None), None)

    def to_compare(self) -> tuple[str, Sequence[Told], str | None] | None:
        """(column, other places of it, where it counts), where the file itself has the flag as well."""
        return (self._column, self._places, self._at) if self._is_stored else None


def check_agreement(files: Sequence[RolloutFile]) -> None:
    """`DataError` where flags of the rows say another thing of an episode than the metadata of the data set.

    An episode may go on from one of these files into the next. What is set within one and not at its end, where
    nothing says which counts, is left to whoever asks.
    """
    found = [file.to_compare() for file in files if isinstance(file, _WithEpisodes)]
    compared = next((one for one in found if one is not None), None)
    if compared is None:
        return
    column, places, at = compared
    anywhere, at_end = _reduced(files, column)
    for one in places:
        by_rows = at_end if at == "last" and not one.is_any_step else anywhere
        is_open = at is None and not one.is_any_step
        differing = [
            episode
            for episode, flag in one.flags.items()
            if flag is not None
            and by_rows.get(episode, flag) != flag
            and not (is_open and anywhere[episode] != at_end[episode])
        ]
        if differing:
            raise disagreement(f"`{column}` of the data files of `{one.root}`", one.title, differing, column)


def _reduced(files: Sequence[RolloutFile], column: str) -> tuple[dict[int, bool], dict[int, bool]]:
    """By episode: whether a flag is set at any of its steps, and at the last one."""
    anywhere: dict[int, bool] = {}
    at_end: dict[int, bool] = {}
    last: dict[int, Any] = {}
    for file in files:
        names = [column, EPISODE, *([_FRAME] if file.find(_FRAME) is not None else [])]
        for unit in file.units(_LOOK_ROWS, column):
            for start, stop, columns in file.blocks(unit, names, _LOOK_ROWS):
                flags: BoolArray = columns[column].values == 1
                episodes = columns[EPISODE].values
                frames = columns[_FRAME].values if _FRAME in columns else np.arange(start, stop)
                order = np.lexsort((frames, episodes))
                numbers, starts, counts = np.unique(episodes[order], return_index=True, return_counts=True)
                set_at_all = np.logical_or.reduceat(flags[order], starts) if len(starts) else flags
                ends = order[starts + counts - 1]
                for episode, is_set, row in zip(
                    numbers.tolist(), set_at_all.tolist(), ends.tolist(), strict=True
                ):
                    anywhere[episode] = anywhere.get(episode, False) or is_set
                    if frames[row] >= last.get(episode, -np.inf):
                        last[episode], at_end[episode] = frames[row], bool(flags[row])
    return anywhere, at_end
