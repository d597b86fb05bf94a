"""Which data set a folder is, or a file belongs to. One line here registers a kind."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from gaecli.datasets import shards, tables
from gaecli.datasets.base import DamagedMarkError, DataSet
from gaecli.datasets.folders import rollout_files
from gaecli.datasets.tables import TITLES, LakeTable
from gaecli.errors import GaeError, MissingExtraError
from gaecli.records import dataclass

#: So far above a folder the root of its data set is looked for.
_LEVELS = 6


@dataclass(frozen=True)
class DataSetKind:
    """How a data set is told from its root, and its root from one of its files.

    The module has `recognise(root)` and `root_of(file)`, and `is_marked(folder)` where there are marks: it is not
    imported, and not asked, where there is nothing that it could go by.
    """

    name: str
    module: str
    #: Names at the root, one of which has to be there: it says which files are of it, so that a folder of some of
    #: them is found, too.
    marks: tuple[str, ...] = ()
    #: What has to be in the path of one of its files, where there is no such mark.
    sign: str = ""
    #: Something at the root says so, so that it is also found below a plain folder.
    has_mark: bool = True

    def recognise(self, directory: Path) -> DataSet | None:
        if self.marks and not self._may_be_marked(directory):
            return None
        found: DataSet | None = import_module(self.module).recognise(directory)
        return found

    def root_of(self, path: Path) -> Path | None:
        absolute = path.absolute()
        if not self.may_hold(str(absolute), _above(absolute)):
            return None
        found: Path | None = import_module(self.module).root_of(path)
        return found

    def may_hold(self, path: str, above: Sequence[str]) -> bool:
        """Whether there is anything that it could go by, in the path of a file or in the folders above it."""
        return any(map(self._may_be_marked, above)) if self.marks else self.sign in path

    def is_marked(self, folder: Path) -> bool:
        return self._may_be_marked(folder) and bool(import_module(self.module).is_marked(folder))

    def _may_be_marked(self, folder: Path | str) -> bool:
        return any(os.path.lexists(f"{folder}/{mark}") for mark in self.marks)


#: In this order: what says what it is comes before what only looks like it.
KINDS = (
    DataSetKind("lerobot", "gaecli.datasets.lerobot", marks=("meta/info.json",)),
    DataSetKind("minari", "gaecli.datasets.minari", marks=("data/metadata.json",)),
    DataSetKind("saved", "gaecli.datasets.hub.saved", marks=("state.json", "dataset_dict.json")),
    DataSetKind("hub", "gaecli.datasets.hub.folder", marks=("README.md", "dataset_infos.json")),
    DataSetKind("rllib", "gaecli.datasets.rllib", sign="run-"),
    DataSetKind("hive", "gaecli.datasets.hive", sign="="),
    DataSetKind("shards", "gaecli.datasets.shards", sign="-of-", has_mark=False),
)

#: Tables of a lakehouse, by their kind: whatever lies in the folder of one belongs to it, or is nothing. Modules with
#: `read(root)`, imported for the first table of the kind.
_TABLES: Mapping[str, str] = {
    "delta": "gaecli.datasets.delta.table",
    "iceberg": "gaecli.datasets.iceberg.table",
    "ducklake": "gaecli.datasets.ducklake",
}


def recognise(directory: Path, *, by_mark: bool = False) -> DataSet | None:
    """The data set whose root `directory` is; None for a plain folder."""
    table = tables.kind_at(directory)
    if table is not None:
        return _read_table(table, directory)
    for kind in KINDS:
        found = kind.recognise(directory) if kind.has_mark or not by_mark else None
        if found is not None and (kind.is_marked(directory) or not _holds_another(found)):
            return found
    return None


def _read_table(kind: str, root: Path) -> LakeTable:
    table: LakeTable = import_module(_TABLES[kind]).read(root)
    return table


def _holds_another(found: DataSet) -> bool:
    """What only looks like one data set by the names of its files may be several, each in a folder of its own."""
    root = found.root.absolute()
    folders = {folder for path in found.paths for folder in path.absolute().parents}
    return any(
        tables.kind_at(folder) is not None or any(kind.is_marked(folder) for kind in KINDS)
        for folder in folders
        if folder != root and folder.is_relative_to(root)
    )


def may_be_within_one(directory: Path) -> bool:
    """Whether the files of a folder may belong to a data set whose root is a folder above it."""
    return _is_marked_above(_above(directory.absolute()), KINDS)


def _above(absolute: Path) -> list[str]:
    """As text: each is asked for by the marks of all kinds."""
    return [str(folder) for folder in absolute.parents[:_LEVELS]]


def _is_marked_above(above: Sequence[str], kinds: Sequence[DataSetKind]) -> bool:
    return any(kind.is_marked(Path(folder)) for folder in above for kind in kinds)


def data_set_of(path: Path) -> DataSet | None:
    """The data set that a file belongs to, with all of its files."""
    for kind in KINDS:
        found = _around(path, kind)
        if found is not None and path.absolute() in {file.absolute() for file in found.paths}:
            return found
    return None


def stands_alone(path: Path) -> bool:
    """Whether a file is of no data set, and neither is any other in its folder, but by a name of its own."""
    try:
        if tables.enclosing(path) is not None:
            return False
        absolute = path.absolute()
        above = _above(absolute)
        kinds = [kind for kind in KINDS if kind.may_hold(str(absolute), above)]
        return not _is_marked_above(above, kinds) and all(kind.root_of(path) is None for kind in kinds)
    except (GaeError, PermissionError):
        return False  # whoever asks for its data set is told


def is_part_by_name(path: Path) -> bool:
    """Whether the name of a file says that it is a part of something."""
    return tables.is_part_by_name(path.name) or shards.is_shard(path)


def table_around(path: Path, known: Sequence[DataSet] = ()) -> LakeTable | None:
    """The table that a file or a folder is of, or is. Of `known` ones the log is not read again."""
    found = tables.enclosing(path)
    if found is None:
        return None
    kind, root = found
    for table in known:
        if isinstance(table, LakeTable) and table.root == root:
            return table
    try:
        return _read_table(kind, root)
    except MissingExtraError as error:
        if root == path:
            raise
        # What may be written where can be told without: the files that are there stand for those that are live.
        files = tuple(rollout_files(root))
        return LakeTable(root, TITLES[kind], (files,), kind, failure=error)


def _around(path: Path, kind: DataSetKind) -> DataSet | None:
    """What is wrong elsewhere in a data set is no matter of one of its files, unless nothing tells its files."""
    try:
        root = kind.root_of(path)
        return kind.recognise(root) if root is not None else None
    except DamagedMarkError:
        raise
    except (GaeError, PermissionError):
        return None
