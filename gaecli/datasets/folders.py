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
    """Folders with the names of their files; neither hidden ones nor what is below one that is left out.

    Links are followed, to each folder once: by its own name rather than by a link that leads to it.
    """
    seen: set[tuple[int, int]] = set()
    folders, links = [directory], list[Path]()
    while folders or links:
        folder = folders.pop() if folders else links.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            if folder != directory and is_left_out(folder):
                continue
            with os.scandir(folder) as entries:
                found = [(entry.name, is_folder(entry), entry.is_symlink()) for entry in entries]
        except OSError as error:
            if cannot_list is not None:
                cannot_list(error)
            continue
        for name, is_inner, is_link in found:
            if is_inner and not is_hidden(name):
                (links if is_link else folders).append(folder / name)
        yield folder, [name for name, is_inner, _ in found if not is_inner]


def is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


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
