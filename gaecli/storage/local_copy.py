"""An object of a store as a sparse file, of which only the bytes that were fetched are there."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path

from gaecli.errors import FileError
from gaecli.records import dataclass
from gaecli.storage.extents import Chunks, Range, merged, missing
from gaecli.storage.objects import ObjectInfo, ObjectStore


@dataclass(eq=False)
class LocalCopy:
    """An object and what is there of it."""

    info: ObjectInfo
    path: Path
    present: list[Range] = field(default_factory=list)
    #: Where its columns are, once that was asked for.
    chunks: Chunks | None = None

    @classmethod
    def empty(cls, info: ObjectInfo, path: Path) -> LocalCopy:
        """Of the size of the object, with nothing of it."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.truncate(info.size)
        except OSError as error:
            raise FileError(
                f"`{info.uri}` has no name that can be copied to a local file: {error.strerror}"
            ) from error
        copy = cls(info, path)
        copy.stamp()
        return copy

    @property
    def is_whole(self) -> bool:
        return not missing([(0, self.info.size)], self.present)

    def fetch(self, store: ObjectStore, wanted: Sequence[Range]) -> None:
        """What is not there yet of these bytes."""
        extents = missing(wanted, self.present)
        if not extents:
            return
        try:
            with self.path.open("r+b", buffering=0) as file:
                store.read(self.info, extents, file)
        except OSError as error:
            raise self._no_room(error) from error
        self.present = merged([*self.present, *extents])
        self.stamp()

    def stamp(self) -> None:
        """The time of the object: more of it coming in is no change of the file."""
        os.utime(self.path, ns=(self.info.modified_ns, self.info.modified_ns))

    def _no_room(self, error: OSError) -> FileError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return FileError(
                f"no space left in the temporary directory for a copy of `{self.info.uri}`",
                hint=f"set TMPDIR to a place with {self.info.size * 2 / 1e6:,.0f} MB",
            )
        return FileError(f"a copy of `{self.info.uri}` cannot be written: {error.strerror or error}")
