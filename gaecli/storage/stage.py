"""What a run has here of what lies elsewhere: a spool for pipes, and the stores' mirror in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gaecli.formats.record_beside import record_path
from gaecli.formats.registry import suffix_format

if TYPE_CHECKING:
    from gaecli.storage.mirror import Mirror
    from gaecli.storage.spool import Spool


class Stage:
    """Made when something is first put there; gone with `close`."""

    def __init__(self) -> None:
        self._spool: Spool | None = None
        #: None until something is put there.
        self.path: Path | None = None
        #: None until a store is asked for anything.
        self.mirror: Mirror | None = None

    def stores(self) -> Mirror:
        if self.mirror is None:
            from gaecli.storage.mirror import Mirror  # which local files and pipes do not need

            self.mirror = Mirror(self._root())
        return self.mirror

    def directory(self, name: str) -> Path:
        directory = self._root() / name
        directory.mkdir(exist_ok=True)
        return directory

    def is_remote(self, path: Path) -> bool:
        return self.mirror is not None and self.mirror.holds(path)

    def look_up_record(self, path: Path) -> None:
        """Where a file of this format has it beside itself, and something can be written."""
        known, place = suffix_format(path), record_path(path)
        if known is None or not known.has_record_beside or place is None or not self.stores().can_write(path):
            return
        if self.stores().look_up(place):
            self.stores().fill(place)

    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _root(self) -> Path:
        if self._spool is None:
            from gaecli.storage.spool import Spool

            self._spool = Spool()
            self.path = self._spool.path
        return self._spool.path
