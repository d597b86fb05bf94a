"""What the user named, as ordered streams of files.

A stream is one sequence of rows: trajectories may run on from one of its files into the next. Files
given in a list, by a glob or by a plain directory are independent streams; the files of a data set
(`gaecli.datasets`) are as its kind has it, mostly one stream.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gaecli.datasets.base import DataSet, natural_key
from gaecli.datasets.folders import candidates, primary_only, rollout_files, walk
from gaecli.datasets.registry import (
    data_set_of,
    is_part_by_name,
    may_be_within_one,
    recognise,
    stands_alone,
    table_around,
)
from gaecli.datasets.shards import group_shards
from gaecli.datasets.tables import LakeTable
from gaecli.errors import FileError, GaeError, MissingExtraError, UsageError
from gaecli.formats.base import RolloutFile, holds_short_arrays
from gaecli.formats.registry import SECONDARY_SUFFIXES, SUFFIXES, open_file
from gaecli.formats.wrapped import innermost
from gaecli.layouts.singles import as_scalars
from gaecli.names import VALUE_FLAG_ROLES
from gaecli.progress import Progress
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.sources.patterns import fixed_part, is_pattern, matches_of

if TYPE_CHECKING:
    from gaecli.formats.kept import Room

__all__ = ["StreamPlan", "describe_streams", "natural_key", "plan_streams", "watched"]


_NONE: Mapping[Path, Any] = {}


class StreamPlan(NamedTuple):
    """Files that follow one another. `root` is what output paths are relative to.

    A tuple: of many small files there are thousands, and each process of the run has all of them.
    """

    paths: tuple[Path, ...]
    root: Path
    #: The data set that they are, or are a part of.
    data_set: DataSet | None = None
    #: Only some of the data set's files were named: it would be of two minds if they were written in place.
    is_part: bool = False
    #: The user named the root, so that `--output` means a copy of all that is there.
    is_root: bool = False
    #: All files of the data set that are written all or none with these ones.
    together: tuple[Path, ...] = ()
    #: Its files were found by looking through the root, and so would others be that come to lie there.
    is_searched: bool = False
    #: File -> the data set that knows how to open it, where its place tells more than its content.
    openers: Mapping[Path, DataSet] = _NONE
    #: File -> why it cannot be opened, where that was found out when it was looked for.
    failures: Mapping[Path, GaeError] = _NONE
    #: File -> what is open of it, where it is read again and again.
    opened: Mapping[Path, RolloutFile] = _NONE
    #: What is told of the rows that are gone over, where somebody watches.
    progress: Progress | None = None

    def kept_open(self, room: Room) -> StreamPlan:
        """The same files with their headers read once, and columns kept as far as there is room."""
        from gaecli.formats.kept import KeptFile

        if self.opened:
            return self
        return self._replace(opened={path: KeptFile(self._open(path), room) for path in self.paths})

    def open(self, path: Path) -> RolloutFile:
        file = self.opened[path] if path in self.opened else self._open(path)
        if self.progress is None:
            return file
        from gaecli.formats.watched import WatchedFile

        return WatchedFile(file, self.progress)

    def _open(self, path: Path) -> RolloutFile:
        if path in self.failures:
            raise self.failures[path]
        opener = self.openers.get(path)
        return open_file(path) if opener is None else opener.open(path)

    def open_all(self, settings: Settings) -> list[RolloutFile]:
        """All files, as the stream that they are together is to be read."""
        files = as_scalars([self.open(path) for path in self.paths], settings)
        return [completed(file, self.openers.get(file.path), settings) for file in files]


def watched(
    plans: Sequence[StreamPlan],
    progress: Progress | None,
    doing: str,
    *,
    looks: int | None = 1,
    is_in_step: bool | None = None,
) -> list[StreamPlan]:
    """The streams as they are, their rows told to whoever watches; `looks` and the like as of `Progress.begin`.

    By default streams go through their looks one after the other, so that only one alone is in step with itself.
    """
    if progress is None:
        return list(plans)
    sizes = {path: size_of(path) for plan in plans for path in plan.paths}
    progress.begin(
        doing,
        sizes,
        looks=looks,
        is_in_step=len(plans) == 1 if is_in_step is None else is_in_step,
        input=str(next(iter(sizes))) if len(sizes) == 1 else None,
    )
    return [plan._replace(progress=progress) for plan in plans]


def size_of(path: Path) -> int:
    """Bytes; 0 where they are not here yet, or never will be."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def completed(file: RolloutFile, opener: DataSet | None, settings: Settings) -> RolloutFile:
    """A file with the columns that do not stand in it as such.

    Where success is asked for, its flag as the data set has it; ids of the rows, where an array has an entry per
    trajectory; flags that are set where a column has one value (`status=finished`).
    """
    if any("=" in settings.columns.get(role, "") for role in VALUE_FLAG_ROLES):
        from gaecli.layouts.value_flags import WithValueFlags, value_flags

        flags = value_flags(file, settings)
        file = WithValueFlags(file, flags) if flags else file
    if "episode" in settings.columns and holds_short_arrays(innermost(file)):
        from gaecli.layouts.runs import with_named_runs

        file = with_named_runs(file, settings)
    if opener is None or settings.success_column is None:
        return file
    return opener.with_success(file, settings.success_column, settings.success_at)


@dataclass(frozen=True)
class _FoundFile:
    path: Path
    root: Path
    data_set: DataSet | None = None
    is_root: bool = False
    is_searched: bool = False
    #: It is named, and cannot be read or stands for nothing.
    failure: GaeError | None = None


class _Known:
    """What was found out about files and folders before, for the next of thousands."""

    def __init__(self) -> None:
        self.data_sets: list[DataSet] = []
        #: Folder -> its files are of no data set, but for those whose names say so.
        self._is_plain: dict[Path, bool] = {}
        #: Folder -> what it is without links.
        self._real: dict[Path, str] = {}

    def is_plain(self, path: Path) -> bool:
        """Whether a file that is no link is of no data set."""
        if is_part_by_name(path):
            return False
        folder = path.parent
        if folder not in self._is_plain:
            self._is_plain[folder] = stands_alone(path)
        return self._is_plain[folder]

    def place(self, path: Path, *, is_link: bool) -> str:
        """The same for all names of a file."""
        if is_link:
            return os.path.realpath(path)  # not `resolve`, which raises for links in a circle
        folder = path.parent
        if folder not in self._real:
            self._real[folder] = os.path.realpath(folder)
        return os.path.join(self._real[folder], path.name)  # noqa: PTH118 - a key, once for every file


def plan_streams(sources: Sequence[str | Path], join: bool | None) -> list[StreamPlan]:
    """Expand sources into streams. Raises where the only source matches nothing.

    Of several, one that matches nothing becomes a stream that fails, and the others are done; so does a folder
    among others that cannot be looked into. A file that is named twice, or by a link as well, is one file.
    """
    found = _distinct(sources)
    failures = {file.path: file.failure for file in found if file.failure is not None}
    if failures and (join or len(found) == 1):
        raise next(iter(failures.values()))
    plans = _plans(found, join)
    return [plan._replace(failures=failures) for plan in plans] if failures else plans


def _plans(found: Sequence[_FoundFile], join: bool | None) -> list[StreamPlan]:
    openers = {file.path: file.data_set for file in found if file.data_set is not None}
    fixed = {path for path, data_set in openers.items() if data_set.is_indivisible}
    free = [file for file in found if file.path not in fixed]
    if join and free:
        plans = [_plan([file.path for file in free], free, openers)]
        return plans + _by_data_set([file for file in found if file.path in fixed], openers)
    if join is False:
        alone = {file.path: _plan([file.path], [file], openers) for file in free}
        together = _by_data_set([file for file in found if file.path in fixed], openers)
        return _in_order([*alone.values(), *together], found)
    return _in_order(_by_data_set(found, openers), found)


def describe_streams(streams: Sequence[StreamPlan]) -> str:
    """How the inputs relate, in a few words."""
    num_files = sum(len(stream.paths) for stream in streams)
    files = "one file" if num_files == 1 else f"{num_files:,} files"
    title = _common_title(streams)
    if title is not None and len(streams) == 1:
        return f"{title}, {files}" + (" as one stream" if num_files > 1 else "")
    if title is not None and len(streams) < num_files:
        return f"{title}, {files} as {len(streams):,} streams"
    if num_files <= 1:
        return "one file"
    if len(streams) == 1:
        return f"one stream of {files}"
    if len(streams) == num_files:
        return f"{num_files:,} independent files"
    return f"{files} in {len(streams):,} independent streams"


def _common_title(streams: Sequence[StreamPlan]) -> str | None:
    """What all streams are, if they are whole and of one data set."""
    first = streams[0].data_set if streams else None
    if first is None or any(stream.is_part or stream.data_set != first for stream in streams):
        return None
    return first.title


def _distinct(sources: Sequence[str | Path]) -> list[_FoundFile]:
    found: dict[str, _FoundFile] = {}
    known = _Known()
    for source in sources:
        for file in _expanded(source, known):
            is_link = file.path.is_symlink()
            place = known.place(file.path, is_link=is_link)
            if found.setdefault(place, file) is not file and not is_link and found[place].path.is_symlink():
                found[place] = file
    return list(found.values())


def _expanded(source: str | Path, known: _Known) -> Iterable[_FoundFile]:
    """The files that a source stands for; itself, with the reason, if it stands for none."""
    try:
        return _expand(source, known)
    except PermissionError as error:
        return [_closed(Path(error.filename or source), Path(source).parent)]
    except (FileError, MissingExtraError) as error:
        return [_FoundFile(Path(source), Path(source).parent, failure=error)]


def _by_data_set(found: Sequence[_FoundFile], openers: Mapping[Path, DataSet]) -> list[StreamPlan]:
    """A data set's own streams, as far as its files were named; shards and other files as they stand."""
    plans: list[StreamPlan] = []
    done: set[tuple[Path, str]] = set()
    plain: dict[Path, _FoundFile] = {file.path: file for file in found if file.data_set is None}
    for file in found:
        data_set = file.data_set
        if data_set is None or (data_set.root, data_set.title) in done:
            continue
        done.add((data_set.root, data_set.title))
        plans += _streams_of(data_set, [other for other in found if other.data_set == data_set], openers)
    for stream in group_shards(list(plain)):
        plans.append(_plan(stream, [plain[path] for path in stream], openers))
    return plans


def _streams_of(
    data_set: DataSet, named: Sequence[_FoundFile], openers: Mapping[Path, DataSet]
) -> Iterator[StreamPlan]:
    by_place = {file.path.absolute(): file for file in named}
    for stream in data_set.streams:
        files = [by_place[path.absolute()] for path in stream if path.absolute() in by_place]
        if not files:
            continue
        # A split of shards may stand alone.
        together = data_set.together(stream)
        is_part = any(path.absolute() not in by_place for path in together)
        if is_part and not data_set.is_indivisible:
            group_shards([file.path for file in files])  # none may be missing in the middle
        yield StreamPlan(
            tuple(file.path for file in files),
            files[0].root,
            data_set,
            is_part=is_part,
            is_root=all(file.is_root for file in files),
            together=together,
            is_searched=any(file.is_searched for file in files),
            openers=openers,
        )


def _plan(paths: Sequence[Path], found: Sequence[_FoundFile], openers: Mapping[Path, DataSet]) -> StreamPlan:
    is_searched = any(file.is_searched for file in found)
    return StreamPlan(tuple(paths), found[0].root, is_searched=is_searched, openers=openers)


def _in_order(plans: Sequence[StreamPlan], found: Sequence[_FoundFile]) -> list[StreamPlan]:
    """In the order in which the user named their first files."""
    place = {file.path: index for index, file in enumerate(found)}
    return sorted(plans, key=lambda plan: min(place[path] for path in plan.paths))


def _expand(source: str | Path, known: _Known) -> Iterable[_FoundFile]:
    path = Path(source)
    if path.is_dir():
        files = _expand_directory(path, known)
        if not files:
            from gaecli.formats.ways_on import unread_folder

            raise unread_folder(path, ", ".join((*SUFFIXES, *SECONDARY_SUFFIXES)))
        return files
    if path.exists() or path.is_symlink():
        return [_named(path, path.parent, known)]
    if is_pattern(str(source)):
        return _expand_pattern(str(source), known)
    raise _not_there(path)


def _expand_pattern(pattern: str, known: _Known) -> list[_FoundFile]:
    """The files that match, or else the folders, as where the shell expands the pattern."""
    matches = matches_of(pattern)
    root = fixed_part(pattern)
    paths = sorted(matches.paths, key=natural_key)
    folders = [path for path in paths if path.is_dir()]
    # A link that leads nowhere is somebody's file that is missing.
    files = [path for path in paths if path not in folders and (path.is_file() or path.is_symlink())]
    found = [_named(path, root, known) for path in files]
    if not files:
        inner = [file for folder in folders for file in _expanded(folder, known)]
        found = [file if file.is_root else replace(file, root=root) for file in inner]
    found += [_closed(folder, root) for folder in matches.closed]
    if not found:
        raise FileError(f"`{pattern}` matches no file")
    return found


def _expand_directory(directory: Path, known: _Known) -> list[_FoundFile]:
    """A data set or a table, or some files of one; or a plain folder, with the data sets below it."""
    table = table_around(directory)
    if table is not None:
        return _of_table(directory, table)
    if may_be_within_one(directory):
        of_one = [_named(path, directory, known) for path in rollout_files(directory)]
        if any(file.data_set is not None and file.data_set.root != directory for file in of_one):
            return of_one
    try:
        data_set = recognise(directory)
    except PermissionError:
        data_set = None  # the walk below finds out which folder it is, and what there is beside it
    if data_set is not None:
        return [_FoundFile(path, directory, data_set, is_root=True) for path in data_set.paths]
    inner: list[_FoundFile] = []
    closed: list[_FoundFile] = []

    def is_left_out(folder: Path) -> bool:
        try:
            below = recognise(folder, by_mark=True)
        except PermissionError:
            closed.append(_closed(folder, directory))
            return True
        except GaeError as error:
            closed.append(_FoundFile(folder, directory, failure=error))
            return True
        if below is not None:
            inner.extend(_FoundFile(path, directory, below, is_searched=True) for path in below.paths)
        return below is not None

    def cannot_list(error: OSError) -> None:
        closed.append(_closed(Path(error.filename), directory))

    files = [
        path
        for folder, names in walk(directory, is_left_out, cannot_list)
        for path in candidates(folder, names)
    ]
    found = files if inner else primary_only(files)
    plain = [_FoundFile(path, directory, is_searched=True) for path in found]
    return sorted([*plain, *inner, *closed], key=lambda file: natural_key(file.path))


def _of_table(directory: Path, table: LakeTable) -> list[_FoundFile]:
    files = table.below(directory)
    if not files:
        raise FileError(f"directory `{directory}` holds no file of the {table.title} `{table.root}`")
    is_root = len(files) == len(table.paths)
    return [_FoundFile(path, table.root, table, is_root=is_root) for path in files]


def _named(path: Path, root: Path, known: _Known) -> _FoundFile:
    """A file that was named, or matched, with the data set that it belongs to."""
    if not path.is_symlink() and known.is_plain(path):
        return _FoundFile(path, root)
    table = table_around(path, known.data_sets)
    if table is None:
        return _FoundFile(path, root, _data_set_of(path, known))
    if table not in known.data_sets:
        known.data_sets.append(table)
    return _FoundFile(table.own(path), root, table)


def _closed(folder: Path, root: Path) -> _FoundFile:
    return _FoundFile(folder, root, failure=FileError(f"no permission to look into `{folder}`"))


def _data_set_of(path: Path, known: _Known) -> DataSet | None:
    """The data set of a file; `known` ones are looked through before the disk is."""
    place = path.absolute()
    for data_set in known.data_sets:
        if place.is_relative_to(data_set.root.absolute()) and place in {
            file.absolute() for file in data_set.paths
        }:
            return data_set
    found = data_set_of(path)
    if found is not None:
        known.data_sets.append(found)
    return found


def _not_there(path: Path) -> FileError | UsageError:
    from gaecli.sources.nearest import nearest

    near = nearest(path, SUFFIXES)
    return FileError(f"`{path}` does not exist", hint=None if near is None else f"did you mean `{near}`?")
