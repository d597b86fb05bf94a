"""What RLlib records: `<root>/<environment>/run-000000-00001/<name>.parquet`.

An episode is spread over many small files, so that all of them, in the order of their paths, are one stream.
"""

from __future__ import annotations

import re
from pathlib import Path

from gaecli.datasets.base import DataSet
from gaecli.datasets.folders import rollout_files
from gaecli.records import dataclass

_RUN = re.compile(r"run-\d{6}-\d{5,}")


@dataclass(frozen=True)
class RLlib(DataSet):
    """One stream of files."""


def recognise(directory: Path) -> RLlib | None:
    """The output below `directory`: every rollout file there stands in the folder of a run."""
    if not _has_runs(directory):
        return None
    files = rollout_files(directory)
    if not files or not all(_RUN.fullmatch(path.absolute().parent.name) for path in files):
        return None
    return RLlib(directory, "RLlib output", (tuple(files),))


def root_of(path: Path) -> Path | None:
    run = path.absolute().parent
    return run.parent if _RUN.fullmatch(run.name) else None


def _has_runs(directory: Path) -> bool:
    """A look at two levels, before all files are listed."""
    if _RUN.fullmatch(directory.absolute().name):
        return True
    folders = [entry for entry in directory.iterdir() if entry.is_dir()]
    return any(
        _RUN.fullmatch(folder.name) or any(_RUN.fullmatch(name) for name in _names_in(folder))
        for folder in folders
    )


def _names_in(folder: Path) -> list[str]:
    """None of one that may not be listed: whoever lists all files says so."""
    try:
        return [entry.name for entry in folder.iterdir()]
    except PermissionError:
        return []
