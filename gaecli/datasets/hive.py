"""Hive-partitioned folders: `env_id=0/part-0.parquet`. The keys are columns of every file, but not in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import field
from pathlib import Path
from urllib.parse import unquote

from gaecli.datasets.base import WHOLE_NUMBER, DataSet
from gaecli.datasets.folders import is_hidden, rollout_files
from gaecli.datasets.virtual import VirtualColumns
from gaecli.errors import FileError
from gaecli.formats.base import RolloutFile
from gaecli.formats.registry import open_file
from gaecli.records import dataclass

_PART = re.compile(r"(?P<key>[^=./][^=]*)=(?P<value>.*)", re.DOTALL)
_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class HivePartitions(DataSet):
    """One stream of files in the order of their paths."""

    #: Keys whose values are whole numbers in every path.
    numbers: frozenset[str] = field(default_factory=frozenset)

    def open(self, path: Path) -> RolloutFile:
        return VirtualColumns(open_file(path), values_of(path, self.numbers))


def recognise(directory: Path) -> HivePartitions | None:
    """The folder above the first `key=value`, or one of those folders itself."""
    is_part = _PART.fullmatch(directory.absolute().name) is not None
    if not is_part and not any(
        _PART.fullmatch(entry.name) and not is_hidden(entry.name) and entry.is_dir()
        for entry in directory.iterdir()
    ):
        return None
    try:
        files = rollout_files(directory)
    except PermissionError as error:
        raise FileError(f"no permission to look into `{error.filename}`, a part of `{directory}`") from error
    if not files or not all(list(_keys(path)) for path in files):
        return None
    return HivePartitions(directory, "hive-partitioned directory", (tuple(files),), numbers_of(files))


def root_of(path: Path) -> Path | None:
    """The folder above the topmost of the `key=value` folders that `path` stands in."""
    folder = path.absolute().parent
    if not _PART.fullmatch(folder.name):
        return None
    while _PART.fullmatch(folder.name):
        folder = folder.parent
    return folder


def values_of(path: Path, numbers: frozenset[str]) -> dict[str, int | str | None]:
    """The keys of the folders that a file stands in; `numbers` are those that are whole numbers."""
    return {key: int(value) if key in numbers and value is not None else value for key, value in _keys(path)}


def _keys(path: Path) -> Iterator[tuple[str, str | None]]:
    """Of the folders right above the file, the lowest first."""
    for folder in path.absolute().parents:
        match = _PART.fullmatch(folder.name)
        if match is None:
            return
        value = unquote(match["value"])
        yield unquote(match["key"]), None if value == _NULL else value


def numbers_of(files: Sequence[Path]) -> frozenset[str]:
    """A key is a number if it is one everywhere; `007` is a name."""
    found: dict[str, bool] = {}
    for path in files:
        for key, value in _keys(path):
            is_number = value is None or WHOLE_NUMBER.fullmatch(value) is not None
            found[key] = found.get(key, True) and is_number
    return frozenset(key for key, is_number in found.items() if is_number)
