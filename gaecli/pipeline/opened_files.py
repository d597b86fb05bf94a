"""The files that a process has open, and the bytes of them that came from stores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gaecli.layouts.row_order import RowOrder
from gaecli.pipeline.opening import FileSource, OpenFile, OpenStream
from gaecli.storage.local_inputs import LocalInputs
from gaecli.storage.stage import Stage

#: Files that a process opened itself and keeps open, as a file has many units.
_MOST_OPEN = 16

_FileKey = tuple[int, int, int, RowOrder]


class OpenedFiles:
    """`stage`: where this process has what lies in stores, if it is not the one that began the run."""

    def __init__(self, stage: Stage | None) -> None:
        self._inputs = None if stage is None else LocalInputs(stage, is_written_back=False)
        #: Of every stream that this process has open itself.
        self._known: dict[int, dict[_FileKey, OpenFile]] = {}
        self._opened: dict[_FileKey, OpenFile] = {}

    def open(self, source: FileSource) -> OpenFile:
        """The file that a descriptor stands for."""
        known = self.known(source)
        if known is not None:
            return known
        key = _key_of(source)
        found = self._opened.pop(key, None) or self._read(source)
        while len(self._opened) >= _MOST_OPEN:
            self._close(next(iter(self._opened)))
        self._opened[key] = found
        return found

    def known(self, source: FileSource) -> OpenFile | None:
        """The same, if it is of a stream that this process has open itself."""
        return self._known.get(source.stream, {}).get(_key_of(source))

    def fill_unit(self, source: FileSource, unit: int) -> None:
        """See that the rows of a unit can be read; whoever looks at none needs nothing."""
        if self._inputs is None:
            return
        opened = self.open(source)
        self._inputs.fill(opened.file.path, opened.columns, opened.units[unit].parts)
        if opened.unused:  # it is by the first rows that they are known for flags
            self._inputs.fill(opened.file.path, set(opened.unused), opened.units[0].parts)

    def fill_columns(self, source: FileSource) -> None:
        """See that the columns of a file that are used can be read."""
        if self._inputs is not None:
            opened = self.open(source)
            self._inputs.fill(opened.file.path, opened.columns)

    def fill(self, source: FileSource) -> None:
        """See that all bytes of a file can be read."""
        if self._inputs is not None:
            self._inputs.fill(self.open(source).file.path)

    def release(self, source: FileSource, parts: Sequence[Path] = ()) -> None:
        """A file is done, and so are the parts of its result: no task of this run comes back to it."""
        if self._inputs is not None:
            self._inputs.release(parts)
        for key in [key for key in self._opened if key[:2] == (source.stream, source.index)]:
            self._close(key)

    def know(self, stream: OpenStream) -> None:
        """The files of a stream are open: tasks of this process need not open them again."""
        self._known[stream.number] = {
            (stream.number, index, stream.rows_per_block, stream.row_order): opened
            for index, opened in enumerate(stream.files)
        }

    def forget(self, number: int) -> None:
        """A stream is over, has failed, or will be cut into other blocks."""
        self._known.pop(number, None)

    def _read(self, source: FileSource) -> OpenFile:
        if self._inputs is not None:
            self._inputs.attach([source.path])
        return source.open()

    def _close(self, key: _FileKey) -> None:
        path = self._opened.pop(key).file.path
        if self._inputs is not None and all(opened.file.path != path for opened in self._opened.values()):
            self._inputs.release([path])


def _key_of(source: FileSource) -> _FileKey:
    return source.stream, source.index, source.rows_per_block, source.row_order
