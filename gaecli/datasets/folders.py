"""The rollout files of a folder: what is picked up without having been named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from gaecli.datasets.base import natural_key
from gaecli.formats.registry import SECONDARY_SUFFIXES, SUFFIXES

#: Files beside the data that are never data themselves.
IGNORED_ENDINGS = (".gae.parquet",)


def rollout_files(directory: Path) -> list[Path]:
    """All rollout files below a folder, in natural order. `PermissionError` where some cannot be looked for.

    Formats that are as often something else (JSON lines are logs, too) count only where no other is there.
    """
    folders = walk(directory, cannot_list=_raise)
    found = [path for folder, names in folders for path in candidates(folder, names)]
    return sorted(primary_only(found), key=natural_key)


def walk(
    directory: Path,
    is_left_out: Callable[[Path], bool] = lambda folder: False,
    cannot_list: Callable[[OSError], None] | None = None,
) -> Iterator[tuple[Path, list[str]]]:
    """Folders with the names of their files; neither hidden ones nor what is below one that is left out."""
    for parent, folders, names in os.walk(directory, onerror=cannot_list):
        folders[:] = [name for name in folders if not is_hidden(name) and not is_left_out(Path(parent, name))]
        yield Path(parent), names


def candidates(folder: Path, names: list[str]) -> list[Path]:
    endings = (*SUFFIXES, *SECONDARY_SUFFIXES)
    return [
        folder / name
        for name in names
        if name.lower().endswith(endings) and not name.endswith(IGNORED_ENDINGS) and not is_hidden(name)
    ]


def primary_only(files: list[Path]) -> list[Path]:
    primary = [path for path in files if path.name.lower().endswith(SUFFIXES)]
    return primary or files


def is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def _raise(error: OSError) -> NoReturn:
    raise error
