"""Minari data sets: a folder per episode (Parquet, Arrow), or one HDF5 file with a group per episode.

`data/metadata.json` says which. Tables have T + 1 rows for T steps: the last one holds the last
observation, so its value is V(s_T) and bootstraps a truncation. The name of the folder is the id of the
episode, and is no column.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gaecli.datasets.base import WHOLE_NUMBER, DataSet, member, natural_key, read_document
from gaecli.datasets.virtual import IS_LAST_ROW, ROW_NUMBER, VirtualColumns
from gaecli.errors import FileError
from gaecli.formats.base import RolloutFile
from gaecli.formats.registry import open_file
from gaecli.names import ALIASES
from gaecli.records import dataclass

METADATA = Path("data", "metadata.json")
_TABLES = {"parquet": "part-*.parquet", "arrow": "part-*.arrow"}
#: Something of this name that has none of them is not Minari's.
_KEYS = {"data_format", "total_episodes", "total_steps", "dataset_id", "minari_version"}
_PADDING = "(padding row)"


@dataclass(frozen=True)
class _MinariSet(DataSet):
    is_indivisible = True
    is_copied_whole = True

    @property
    def marks(self) -> tuple[Path, ...]:
        return (METADATA,)

    def sidecar(self, stream: Sequence[Path], tag: str) -> Path:
        return self.root / f"advantages_{tag}.parquet"


@dataclass(frozen=True)
class MinariTables(_MinariSet):
    """One stream of episodes; each has an id of its own, so that none runs on into the next."""

    def open(self, path: Path) -> RolloutFile:
        file = open_file(path)
        known = {"padding": _PADDING}
        for role in ("episode", "step"):
            if not any(alias in file.columns for alias in ALIASES[role]):
                known[role] = role
        episode = path.parent.name
        identifier = int(episode) if WHOLE_NUMBER.fullmatch(episode) else episode
        return VirtualColumns(
            file, {"episode": identifier}, {"step": ROW_NUMBER, _PADDING: IS_LAST_ROW}, known
        )

    @property
    def sidecar_keys(self) -> tuple[str, ...]:
        return ("episode", "step")


@dataclass(frozen=True)
class MinariHdf5(_MinariSet):
    """All episodes are groups of one file."""


def recognise(directory: Path) -> DataSet | None:
    """The data set whose root `directory` is, if it is one."""
    metadata = read_document(directory / METADATA)
    if metadata is None or not metadata.keys() & _KEYS:
        return None  # nothing, or something else of this name
    data_format = member(directory / METADATA, metadata, "data_format", str)
    title = f"Minari data set ({data_format})"
    data = directory / "data"
    if data_format == "hdf5":
        file = data / "main_data.hdf5"
        if not file.is_file():
            raise FileError(f"Minari data set `{directory}` has no `data/main_data.hdf5`")
        return MinariHdf5(directory, title, ((file,),))
    if data_format not in _TABLES:
        raise FileError(
            f"Minari data set `{directory}` has the unknown format `{data_format}`",
            hint=f"known: hdf5, {', '.join(_TABLES)}",
        )
    files = [path for path in data.glob(f"*/{_TABLES[data_format]}") if not path.parent.name.startswith(".")]
    if not files:
        raise FileError(
            f"Minari data set `{directory}` holds no episodes: no `data/*/{_TABLES[data_format]}`"
        )
    _check_one_file_each(files)
    return MinariTables(directory, title, (tuple(sorted(files, key=natural_key)),))


def is_marked(folder: Path) -> bool:
    return os.path.lexists(folder / METADATA)


def root_of(path: Path) -> Path | None:
    """The data set that `path` is a data file of."""
    for root in path.absolute().parents[1:3]:
        if is_marked(root):
            return root
    return None


def _check_one_file_each(files: Sequence[Path]) -> None:
    """Only the last row of an episode is padding: a second part would need to know of the first."""
    folders = [path.parent for path in files]
    if len(set(folders)) < len(folders):
        several = next(folder for folder in folders if folders.count(folder) > 1)
        raise FileError(
            f"episode folder `{several}` holds more than one part",
            hint="write the data set again with a current Minari: it makes one part per episode",
        )
