"""What a task finds where it is carried out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from pathlib import Path

from gaecli.engines.base import go_on
from gaecli.estimators.base import Estimator
from gaecli.estimators.registry import make_estimator
from gaecli.formats.base import FileWriter
from gaecli.kernels.devices import choose_device
from gaecli.layouts.row_order import RowOrder
from gaecli.pipeline.blocks import BlockStore
from gaecli.pipeline.clock import Stopwatch
from gaecli.pipeline.opening import FileSource, OpenFile, OpenStream
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.storage.local_inputs import LocalInputs
from gaecli.storage.stage import Stage

#: Files that a worker opened itself and keeps open, as a file has many units.
_MOST_OPEN = 16

_FileKey = tuple[int, int, RowOrder]


@dataclass(eq=False)
class Worker:
    """The estimator, and what earlier tasks left that saves work: never anything that a result depends on."""

    estimator: Estimator
    store: BlockStore
    clock: Stopwatch = field(default_factory=Stopwatch)
    #: Called between blocks; raises once the run is to end.
    check_stop: Callable[[], None] = go_on
    #: New file -> its writer, where that was begun before the task came that writes it.
    writers: dict[Path, FileWriter] = field(default_factory=dict)
    #: In the process that began the run. Elsewhere a task may be carried out twice at a time.
    is_here: bool = True
    #: Where this process has what lies in stores, if it is not the one that began the run.
    stage: Stage | None = None
    #: Of every stream that this process has open itself.
    _known: dict[int, dict[_FileKey, OpenFile]] = field(default_factory=dict)
    _opened: dict[tuple[int, _FileKey], OpenFile] = field(default_factory=dict)
    #: Files whose columns came from a store.
    _filled: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.inputs = None if self.stage is None else LocalInputs(self.stage, is_written_back=False)

    def close(self) -> None:
        """What was brought here is gone."""
        if self.stage is not None:
            self.stage.close()

    def open(self, source: FileSource) -> OpenFile:
        """The file that a descriptor stands for."""
        key = source.index, source.rows_per_block, source.row_order
        known = self._known.get(source.stream, {}).get(key)
        if known is not None:
            return known
        found = self._opened.pop((source.stream, key), None) or self._read(source)
        while len(self._opened) >= _MOST_OPEN:
            self._close(next(iter(self._opened)))
        self._opened[source.stream, key] = found
        return found

    def fill_columns(self, source: FileSource) -> None:
        """See that the columns of a file that are used can be read; whoever looks at no row needs none."""
        path = self.open(source).file.path
        if self.inputs is not None and path not in self._filled:
            self.inputs.fill(path, self.open(source).columns)
            self._filled.add(path)

    def fill(self, source: FileSource) -> None:
        """See that all bytes of a file can be read."""
        if self.inputs is not None:
            self.inputs.fill(self.open(source).file.path)

    def release(self, source: FileSource, parts: Sequence[Path] = ()) -> None:
        """A file is done, and so are the parts of its result: no task of this run comes back to it."""
        if self.inputs is not None:
            self.inputs.release(parts)
        for key in [key for key in self._opened if key[0] == source.stream and key[1][0] == source.index]:
            self._close(key)

    def _read(self, source: FileSource) -> OpenFile:
        if self.inputs is None:
            return source.open()
        self.inputs.attach([source.path])
        return source.open()

    def _close(self, key: tuple[int, _FileKey]) -> None:
        path = self._opened.pop(key).file.path
        if self.inputs is not None and all(opened.file.path != path for opened in self._opened.values()):
            self.inputs.release([path])
            self._filled.discard(path)

    def know(self, stream: OpenStream) -> None:
        """The files of a stream are open: tasks of this process need not open them again."""
        self._known[stream.number] = {
            (index, stream.rows_per_block, stream.row_order): opened
            for index, opened in enumerate(stream.files)
        }

    def forget(self, number: int) -> None:
        """A stream is over, has failed, or will be cut into other blocks."""
        self._known.pop(number, None)
        self.store.forget(number)


@dataclass(frozen=True)
class WorkerRecipe:
    """Makes the worker of another process."""

    settings: Settings
    device: str
    store_bytes: int = 0

    def __call__(self) -> Worker:
        estimator = make_estimator(self.settings, choose_device(self.device, 0))
        return Worker(estimator, BlockStore(self.store_bytes), is_here=False, stage=Stage())
