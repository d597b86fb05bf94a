"""Hidden files or objects beside a result, of which one writer makes it: written elsewhere, gone with the run."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from gaecli.errors import FileError
from gaecli.storage.new_file import is_temporary_name, sync_file, temporary_beside
from gaecli.unfinished import forget, remember

if TYPE_CHECKING:  # local files need none
    from gaecli.storage.mirror import Mirror


class PartFiles:
    """Names for them. Those in a folder are swept by later runs as other temporary files are.

    A store has no locks by which a run is known to be at work: what a killed run left there is removed by the next
    one that writes the same result in parts.

    Args:
        whole: the name under which the whole is written.
    """

    def __init__(self, target: Path, count: int, whole: Path, mirror: Mirror | None) -> None:
        self._mirror = mirror
        if mirror is not None:
            _sweep(mirror, target)
        self.paths = [temporary_beside(target) for _ in range(count)]
        self._whole = whole
        remember(self.discard)

    def discard(self) -> None:
        """None of them is there any more, nor what workers left that were lost: it may be as large as the result."""
        for path in self.paths:
            if self._mirror is not None:
                self._mirror.remove(path)
            else:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        if self.paths and self._mirror is None:
            _remove_tries([*self.paths, self._whole])
        self.paths = []
        forget(self.discard)


def _remove_tries(paths: list[Path]) -> None:
    """What `temporary_beside` has made of these."""
    beginnings = tuple(f".{path.name}." for path in paths)
    with contextlib.suppress(OSError), os.scandir(paths[0].parent) as entries:
        for entry in entries:
            if entry.name.startswith(beginnings) and is_temporary_name(entry.name):
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink(missing_ok=True)


def _sweep(mirror: Mirror, target: Path) -> None:
    with contextlib.suppress(FileError):  # who may not list has nothing removed
        for path in mirror.beside(target, f".{target.name}."):
            if is_temporary_name(path.name):
                mirror.remove(path)


def hand_over_part(own: Path, path: Path, mirror: Mirror | None) -> None:
    """A whole part of one try, under the name that the run knows."""
    if mirror is None:
        sync_file(own)
        own.replace(path)
        return
    try:
        mirror.put(path, own)
    finally:
        own.unlink(missing_ok=True)
