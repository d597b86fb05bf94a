"""Tables of a lakehouse: Delta, Iceberg, DuckLake. A log or a catalog says which of the files are the table.

A data file of one of them must not change: the log tells its size, and readers look for the footer where it
should end. Files that are no longer part of the table lie beside those that are. So the log is asked, by its
own library, and nothing is ever put into the folder but by a commit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from gaecli.datasets.base import DataSet
from gaecli.errors import FileError, GaeError, UsageError
from gaecli.formats.base import RolloutFile
from gaecli.formats.registry import open_file
from gaecli.records import dataclass

#: So far above a file the root of its table is looked for: a folder per partition column stands in between.
_LEVELS = 12
#: More files than this are no table of rollouts, or a log that was made to hurt.
MAX_FILES = 200_000
#: What may be read of a log or of its manifests before it is handed to a library that has no bounds.
MAX_LOG_BYTES = 1 << 30
_DUCKLAKE = re.compile(r"ducklake-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?P<rest>.*)", re.DOTALL)
_DELTA = re.compile(r".*\.json|.*\.checkpoint.*|_last_checkpoint", re.DOTALL)
_ICEBERG = re.compile(
    r"(?:v\d+|\d+-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\.gz)?\.metadata\.json(?:\.gz)?"
)
_PART_NUMBER = re.compile(r"(?:part-)?(\d{1,9})(?=-)(?:-(\d{1,6})(?=-))?")
_PARTITION = re.compile(r"[^=]+=.*", re.DOTALL)


@dataclass(frozen=True)
class LakeTable(DataSet):
    """The live files of one version of a table, as one stream."""

    is_indivisible = True

    #: "delta", "iceberg" or "ducklake".
    kind: str = ""
    #: File -> partition columns, which stand in the log and need not stand in the file.
    partitions: Mapping[Path, Mapping[str, int | str | None]] = field(default_factory=dict)
    #: Why its files cannot be opened: what reads the log is not installed, or refuses it.
    failure: GaeError | None = field(default=None, compare=False)

    def open(self, path: Path) -> RolloutFile:
        if self.failure is not None:
            raise self.failure
        file = open_file(path)
        partition = self.partitions.get(path)
        if not partition:
            return file
        from gaecli.datasets.virtual import VirtualColumns

        return VirtualColumns(file, partition)

    def of_one(self, path: Path) -> LakeTable:
        partitions = {path: self.partitions[path]} if path in self.partitions else {}
        return replace(self, streams=((path,),), partitions=partitions)

    @cached_property
    def _by_place(self) -> Mapping[str, Path]:
        return {os.path.realpath(path): path for path in self.paths}

    @cached_property
    def numbers(self) -> Mapping[Path, int]:
        return {path: number for number, path in enumerate(self.paths)}

    def own(self, path: Path) -> Path:
        """One of its files, by whatever name it was given. `UsageError` for another file in its folder."""
        found = self._by_place.get(os.path.realpath(path))
        if found is None:
            raise UsageError(
                f"`{path}` lies in the folder of the {self.title} `{self.root}`, but is not a part of it",
                hint=f"name the root, `{self.root}`, which stands for the files that are; "
                "to read this one by itself, copy it elsewhere",
            )
        return found

    def below(self, directory: Path) -> list[Path]:
        """Its files in a folder of its own."""
        place = os.path.relpath(os.path.realpath(directory), os.path.realpath(self.root))
        parts = () if place == "." else Path(place).parts
        return [path for path in self.paths if path.relative_to(self.root).parts[: len(parts)] == parts]


def enclosing(path: Path, *, looks_up: bool = False) -> tuple[str, Path] | None:
    """(kind, root) of the table that a file or folder belongs to, or is. Links are followed: so does writing.

    The root as the user would name it where the path leads there without a link. Files of DuckLake are known by
    their names; `looks_up`: also whatever else would lie beside or below them.
    """
    real = Path(os.path.realpath(path))
    for folder in [real, *real.parents][: _LEVELS + 1]:
        if (kind := _with_log(folder)) is not None:
            return kind, _as_named(path, real, folder)
    if _DUCKLAKE.fullmatch(real.name):
        return "ducklake", _as_named(path, real, _above_partitions(real.parent))
    for folder in map(_above_partitions, [real, *real.parents][: _LEVELS + 1 if looks_up else 1]):
        if _is_ducklake(folder):
            return "ducklake", _as_named(path, real, folder)
    return None


def is_part_by_name(name: str) -> bool:
    """Whether a file of this name is one of a table, whatever lies beside it."""
    return _DUCKLAKE.fullmatch(name) is not None


def kind_at(folder: Path) -> str | None:
    """The kind of the table whose root this is."""
    return _with_log(folder) or ("ducklake" if _is_ducklake(folder) else None)


def _with_log(folder: Path) -> str | None:
    # As text: each folder above each input is asked.
    if _holds(f"{folder}/_delta_log", _DELTA):
        return "delta"
    return "iceberg" if _holds(f"{folder}/metadata", _ICEBERG) else None


def _holds(folder: str, names: re.Pattern[str]) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(names.fullmatch(entry.name) for entry in entries)
    except OSError:
        return False


def _is_ducklake(folder: Path) -> bool:
    """The files of a table stand in its folder, or below folders `key=value`."""
    if _PARTITION.fullmatch(folder.name):
        return False
    while True:
        try:
            with os.scandir(folder) as entries:
                names = [entry.name for entry in entries]
        except OSError:
            return False
        if any(_DUCKLAKE.fullmatch(name) for name in names):
            return True
        inner = next((name for name in names if _PARTITION.fullmatch(name)), None)
        if inner is None:
            return False
        folder = folder / inner


def refuse_targets(targets: Sequence[Path]) -> None:
    """Nothing is put into the folder of a table that is not a part of it. `UsageError` if it would be."""
    for folder in {target.parent: target for target in targets}:
        found = enclosing(folder, looks_up=True)
        if found is not None:
            kind, root = found
            raise UsageError(
                f"`{folder}` belongs to the {TITLES[kind]} `{root}`: no place for files that its log does not know",
                hint="name a file or directory outside of it with `--output`",
            )


def kind_of_names(names: Iterable[str]) -> str | None:
    """The kind of a table that is among these files, by their paths, or that they are of."""
    for name in names:
        *folders, last = name.split("/")
        if _DUCKLAKE.fullmatch(last):
            return "ducklake"
        if folders and folders[-1] == "_delta_log" and _DELTA.fullmatch(last):
            return "delta"
        if folders and folders[-1] == "metadata" and _ICEBERG.fullmatch(last):
            return "iceberg"
    return None


def folders_above(name: str) -> list[str]:
    """Where the root of the table of a file would be: above its partitions, and above `data/` there."""
    parts = name.split("/")[:-1]
    while parts and _PARTITION.fullmatch(parts[-1]):
        parts.pop()
    return ["/".join(parts), *(["/".join(parts[:-1])] if parts[-1:] == ["data"] else [])]


TITLES = {"delta": "Delta table", "iceberg": "Iceberg table", "ducklake": "DuckLake table"}


def own_path(root: Path, name: str, what: str) -> Path:
    """The file that a log names, below the root; `FileError` where the name leads out of it."""
    parts = PurePosixPath(name).parts
    path = root.joinpath(*parts)
    leads_out = not parts or ".." in parts or name.startswith("/") or "\0" in name
    if leads_out or not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise FileError(
            f"the {what} `{root}` names a file outside of its folder: `{_short(name)}`",
            hint="gaecli reads tables whose files lie below their root; export it, and read the export",
        )
    return path


def part_number(path: Path) -> tuple[int, ...]:
    """Writers count the files of a commit: `part-00003-<uuid>.parquet` and the like, `00000-3-<uuid>.parquet`."""
    match = _PART_NUMBER.match(path.name)
    return tuple(int(number) for number in match.groups() if number) if match else ()


def check_files(title: str, root: Path, files: Sequence[Path]) -> None:
    if not files:
        raise FileError(f"the {title} `{root}` is empty")
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise FileError(
            f"`{missing[0]}` is gone, a file of the {title} `{root}`; {len(missing):,} such in all",
            hint="restore it, or repair the table with its own library",
        )


def too_large(title: str, root: Path) -> FileError:
    return FileError(
        f"the log of the {title} `{root}` is too large to be read here",
        hint="let its own library make a checkpoint or compact it; or export the table, and read the export",
    )


def _short(name: str) -> str:
    return name if len(name) <= 200 else f"{name[:200]}…"


def _above_partitions(folder: Path) -> Path:
    while _PARTITION.fullmatch(folder.name):
        folder = folder.parent
    return folder


def _as_named(path: Path, real: Path, folder: Path) -> Path:
    """`folder`, which is above the real path, by the name that leads to it from what the user wrote."""
    if path.absolute() != real or ".." in path.parts:
        return folder
    ups = len(real.parts) - len(folder.parts)
    named = [path, *path.parents]
    return named[ups] if ups < len(named) else folder
