"""HDF5 with a group per episode (Minari `episode_0`, robomimic `data/demo_0`), behind the extra `hdf5`.

A group is a row and its one-dimensional datasets are lists. New datasets are added to each group of a
copy, so that everything else in the file stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gaecli.array_types import Array
from gaecli.errors import DataError, FileError
from gaecli.formats.base import (
    NO_REMARKS,
    Column,
    ColumnInfo,
    OutputColumn,
    Structure,
    Unit,
    WritePlan,
)
from gaecli.formats.hdf5.chunks import check_chunks
from gaecli.formats.hdf5.file import Hdf5Copy, Hdf5File
from gaecli.formats.hdf5.objects import (
    info_of,
    is_dataset,
    items,
    member,
    reading,
    storable,
    stored_provenance,
    told_of,
    why_unusable,
)
from gaecli.names import ALIASES

_EPISODE = re.compile(r"(?P<name>episode|demo|traj|trajectory)_?(?P<number>\d+)")
#: So are groups of other names called, of which each has to hold rewards.
_OTHERS = re.compile(
    r"(?P<name>(?:episodes?|epi|eps?|demos?|demonstrations?|traj(?:ectory)?|rollouts?|trials?|seq(?:uence)?s?|paths?|"
    r"games?|match)?)[ _-]?(?P<number>\d+)",
    re.IGNORECASE,
)
_REWARDS = frozenset(ALIASES["reward"])


class Hdf5Input(Hdf5File):
    """One HDF5 file, opened by the names and shapes of what is in its episodes."""

    structure: Structure = "episodes"
    remarks = NO_REMARKS

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path) as file:
            status = path.stat()
            self.groups = episode_groups(file, path)
            self.stored = stored_provenance(file)
            found = [(name, item) for name, item in items(file[self.groups[0]]) if is_dataset(item)]
            #: Where each stands in an episode: a dot may be of a path, or of the name itself.
            self._places = {name.replace("/", "."): name for name, _ in found}
            self.columns: Mapping[str, ColumnInfo] = _columns(dict(found), len(self.groups))
        self.identity = (status.st_size, status.st_mtime_ns, status.st_ino)
        self.num_rows = len(self.groups)

    def units(self, rows_per_block: int, like: str) -> Sequence[Unit]:
        """Episodes of at most so many steps together; a longer one alone."""
        units: list[Unit] = []
        start = steps = 0
        for row, length in enumerate(self._lengths_of(like)):
            if row > start and steps + length > rows_per_block:
                units.append(Unit(start, row))
                start, steps = row, 0
            steps += length
        return [*units, Unit(start, self.num_rows)]

    def _lengths_of(self, name: str) -> list[int]:
        with reading(self.path) as file:
            return [len(self._dataset(file, group, name)) for group in self.groups]

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        groups = self.groups[unit.start : unit.stop]
        with reading(self.path) as file:
            columns = {name: self._column(file, groups, name) for name in names}
        yield unit.start, unit.stop, columns

    def _column(self, file: Any, groups: Sequence[str], name: str) -> Column:
        info = self.columns[name]
        if info.unusable is not None:
            raise DataError(f"`{name}` of `{self.path}` cannot be used: {info.unusable}")
        arrays = [_read(self._dataset(file, group, name), name, self.path) for group in groups]
        if not info.is_list:
            return Column(np.array([array.reshape(-1)[0] for array in arrays]))
        offsets = np.concatenate(([0], np.cumsum([len(array) for array in arrays]))).astype(np.int64)
        return Column(np.concatenate(arrays), offsets=offsets)

    def _dataset(self, file: Any, group: str, name: str) -> Any:
        dataset = member(file, f"{group}/{self._places[name]}")
        if not is_dataset(dataset):
            raise DataError(
                f"`{name}` is not in `{group}` of `{self.path}`, though other episodes have it",
                hint="every episode needs the same datasets; name another one with its `--…-column`",
            )
        return dataset

    def read_whole(self, name: str) -> Column:
        return next(self.blocks(Unit(0, self.num_rows), [name], self.num_rows))[2][name]

    def writer(self, temporary: Path, plan: WritePlan) -> Hdf5Output:
        return Hdf5Output(self, temporary, plan)


class Hdf5Output(Hdf5Copy[Hdf5Input]):
    """New datasets in each episode."""

    def write(self, columns: Mapping[str, OutputColumn]) -> None:
        with told_of(self._source.path):
            file = self._copy()
            episodes = [_episodes(columns[name]) for name in self._plan.new_columns]
            for arrays in zip(*episodes, strict=True):
                group = file[self._source.groups[self._row]]
                for name in self._replaced & set(group):
                    del group[name]
                for name, array in zip(self._plan.new_columns, arrays, strict=True):
                    group.create_dataset(name, data=array)
                self._row += 1

    def _strip(self, file: Any) -> None:
        for name in self._source.groups:
            for own in self._replaced & set(file[name]):
                del file[name][own]


def _episodes(column: OutputColumn) -> list[Array]:
    assert column.offsets is not None
    return np.split(storable(column.without_nulls()), column.offsets[1:-1])


def episode_groups(file: Any, path: Path) -> list[str]:
    """Names of the groups that are episodes, in natural order; none in a file of another shape."""
    import h5py

    for container in ("", "data"):
        if found := _episodes_in(file, container, path):
            return found
    if _holds_rewards(file):
        return []
    holders = [name for name in sorted(file) if isinstance(member(file, name), h5py.Group)]
    return [group for name in holders for group in _episodes_in(file, name, path)]


def _episodes_in(file: Any, container: str, path: Path) -> list[str]:
    """Of the well-known names; else of the others, if any of them holds rewards."""
    import h5py

    holder = member(file, container)
    if not isinstance(holder, h5py.Group):
        return []
    found: dict[re.Pattern[str], list[tuple[str, int, str]]] = {_EPISODE: [], _OTHERS: []}
    links: dict[re.Pattern[str], list[str]] = {_EPISODE: [], _OTHERS: []}
    for name in holder:
        match = _EPISODE.fullmatch(name) or _OTHERS.fullmatch(name)
        if match is None:
            _check_there(holder, name, path)
        elif isinstance(member(holder, name), h5py.Group):
            place = match["name"].lower(), int(match["number"]), f"{container}/{name}".strip("/")
            found[match.re].append(place)
        else:
            links[match.re].append(name)
    is_other = not found[_EPISODE] and any(_holds_rewards(file[name]) for _, _, name in found[_OTHERS])
    kind = _OTHERS if is_other else _EPISODE
    for name in links[kind]:
        _check_own(holder, name, path)
    return [name for _, _, name in sorted(found[kind])]


def _holds_rewards(group: Any) -> bool:
    return any(name.lower() in _REWARDS and is_dataset(member(group, name)) for name in group)


def _check_there(holder: Any, name: str, path: Path) -> Any:
    """The link that a name stands for. Of a damaged list a name may lead nowhere, and an episode be missing."""
    link = holder.get(name, getlink=True)
    if link is None:
        raise FileError(
            f"`{path}` is damaged: it lists `{name}`, and nothing is found under that name",
            hint="write or download the file again",
        )
    return link


def _check_own(holder: Any, name: str, path: Path) -> None:
    """An episode that is not there, but by a link."""
    import h5py

    link = _check_there(holder, name, path)
    if isinstance(link, h5py.ExternalLink):
        raise FileError(
            f"`{path}` keeps episode `{name}` in another file, which cannot be written along with it",
            hint="copy the episodes into one file, for example with `minari combine`",
        )
    if isinstance(link, h5py.SoftLink):
        raise FileError(
            f"`{path}` has a soft link in place of episode `{name}`: it would be written twice, or not at all",
            hint="copy the episodes into one file, without links",
        )


def _columns(datasets: Mapping[str, Any], num_rows: int) -> dict[str, ColumnInfo]:
    columns = {}
    for name, item in datasets.items():
        dotted = name.replace("/", ".")
        columns[dotted] = info_of(dotted, item, num_rows, is_list=bool(item.shape))
    return columns


def _read(dataset: Any, name: str, path: Path) -> Array:
    reason = why_unusable(dataset)
    if reason is not None:
        raise DataError(f"`{name}` of `{dataset.name}` in `{path}` cannot be used: {reason}")
    check_chunks(dataset)
    values: Array = dataset[()]
    return np.asarray(values).reshape(-1)
