"""File systems that had no room for a new file: none of thousands of others is tried there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from gaecli.errors import NotBegunError
from gaecli.storage.new_file import nearest_folder


class FullDisks:
    """Of one process. What it has not heard of may be full all the same."""

    def __init__(self) -> None:
        #: File system -> the first input whose result had no room there.
        self._first: dict[int, Path] = {}

    def add(self, path: Path, target: Path) -> None:
        """The result of `path`, meant for `target`, had no room."""
        with contextlib.suppress(OSError):
            self._first.setdefault(_file_system(target), path)

    def check(self, targets: Iterable[Path]) -> None:
        """Raises NotBegunError where one of them belongs on a full one."""
        if not self._first:
            return
        for target in targets:
            with contextlib.suppress(OSError):
                first = self._first.get(_file_system(target))
                if first is not None:
                    raise NotBegunError(
                        f"not begun: there was no space left for that of `{first}`", str(first)
                    )


def _file_system(target: Path) -> int:
    return nearest_folder(Path(os.path.realpath(target))).stat().st_dev
