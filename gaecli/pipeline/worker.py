"""What a task finds where it is carried out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, replace
from pathlib import Path

from gaecli.engines.base import go_on
from gaecli.estimators.base import Estimator
from gaecli.estimators.registry import make_estimator
from gaecli.formats.base import FileWriter
from gaecli.kernels.devices import choose_device
from gaecli.pipeline.blocks import BlockStore
from gaecli.pipeline.clock import Stopwatch
from gaecli.pipeline.opened_files import OpenedFiles
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.storage.stage import Stage


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
    #: For the blocks that one task keeps from one look to the next.
    store_bytes: int = 0

    def __post_init__(self) -> None:
        self.files = OpenedFiles(self.stage)

    def close(self) -> None:
        """What was brought here is gone."""
        if self.stage is not None:
            self.stage.close()

    def of_one_task(self) -> Worker:
        """The same for a task that goes over a stream several times: no other one finds what it keeps meanwhile."""
        return replace(self, store=BlockStore(self.store_bytes))

    def forget(self, number: int) -> None:
        """A stream is over, has failed, or will be cut into other blocks."""
        self.files.forget(number)
        self.store.forget(number)


@dataclass(frozen=True)
class WorkerRecipe:
    """Makes the worker of another process."""

    settings: Settings
    device: str
    store_bytes: int = 0

    def __call__(self) -> Worker:
        estimator = make_estimator(self.settings, choose_device(self.device, 0))
        return Worker(estimator, BlockStore(0), is_here=False, stage=Stage(), store_bytes=self.store_bytes)
