"""What a glob matches: as the shell has it, without going in circles, and without passing over what is closed.

Not `glob.glob`: its `**` follows links for as long as a name may be, and folders that may not be read are
nothing to it, so that a mean over all inputs would be one over some of them.
"""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from gaecli.datasets.folders import is_folder
from gaecli.records import dataclass

_ALL_BELOW = "**"


@dataclass(frozen=True)
class Matches:
    """The paths that a pattern matches, and the folders that may hold more of them and cannot be read."""

    paths: list[Path]
    closed: list[Path]


def is_pattern(text: str) -> bool:
    return glob.has_magic(text)


def fixed_part(pattern: str) -> Path:
    """The folder of a glob before its first wildcard."""
    fixed = []
    for part in Path(pattern).parts[:-1]:
        if is_pattern(part):
            break
        fixed.append(part)
    return Path(*fixed) if fixed else Path()


def matches_of(pattern: str) -> Matches:
    """Everything that is there, each path once, in no order."""
    parts = [part for part, same in groupby(Path(pattern).parts) for part in _once(part, same)]
    if parts[-1] == _ALL_BELOW:
        parts.append("*")
    search = _Search()
    found = dict.fromkeys(search.below(Path(), parts))
    only_folders = pattern.endswith("/")
    return Matches([path for path in found if not only_folders or path.is_dir()], list(search.closed))


def _once(part: str, same: Iterator[str]) -> list[str]:
    """`**/**` means `**`; other parts mean what they say as often as they are there."""
    return [part] if part == _ALL_BELOW else list(same)


class _Search:
    def __init__(self) -> None:
        self.closed: dict[Path, None] = {}

    def below(self, folder: Path, parts: Sequence[str]) -> Iterator[Path]:
        """What matches the parts, from a folder on."""
        part, *rest = parts
        if part == _ALL_BELOW:
            for inner in self._folders(folder):
                yield from self.below(inner, rest)
            return
        for path in self._named(folder, part) if is_pattern(part) else self._if_there(folder / part):
            if rest:
                yield from self.below(path, rest)
            else:
                yield path

    def _folders(self, folder: Path) -> Iterator[Path]:
        """A folder and those below it, each once: by its own name rather than by a link that leads to it."""
        seen: set[tuple[int, int]] = set()
        folders, links = [folder], list[Path]()
        while folders or links:
            place = folders.pop() if folders else links.pop()
            identity = _identity(place)
            if identity is None or identity in seen:
                continue
            seen.add(identity)
            yield place
            for name, is_link in self._listed(place, only_folders=True):
                if not name.startswith("."):
                    (links if is_link else folders).append(place / name)

    def _named(self, folder: Path, part: str) -> Iterator[Path]:
        for name, _ in self._listed(folder):
            if fnmatch.fnmatch(name, part) and (part.startswith(".") or not name.startswith(".")):
                yield folder / name

    def _if_there(self, path: Path) -> Iterator[Path]:
        try:
            path.lstat()
        except PermissionError:
            self.closed[path.parent] = None
        except OSError:
            pass
        else:
            yield path

    def _listed(self, folder: Path, *, only_folders: bool = False) -> list[tuple[str, bool]]:
        """(name, whether it is a link) of what is in a folder."""
        try:
            with os.scandir(folder) as entries:
                return [
                    (entry.name, entry.is_symlink())
                    for entry in entries
                    if not only_folders or is_folder(entry)
                ]
        except PermissionError:
            self.closed[folder] = None
        except OSError:  # no folder
            pass
        return []


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
