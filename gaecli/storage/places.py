"""Where inputs come from and results go: local files, pipes and object stores, all seen as local paths.

A run works on paths. What is not a local file gets one below a temporary directory (`Stage`), the bytes come
when they are needed (`LocalInputs`), and a new file there (`PendingFile`) goes on to where it belongs when it is
committed (`ResultPlaces`). Messages and summaries show the names that the user knows (`ShownTexts`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from gaecli.errors import GaeError
from gaecli.settings import RunOptions
from gaecli.storage.local_inputs import LocalInputs
from gaecli.storage.result_places import ResultPlaces
from gaecli.storage.shown_texts import ShownTexts
from gaecli.storage.stage import Stage

T = TypeVar("T")


class Places:
    """The places of one run. What was spooled is gone when the block ends."""

    inputs: LocalInputs
    results: ResultPlaces

    def __init__(self, options: RunOptions) -> None:
        #: Those of the run; within the block, with a local path for the output.
        self.options = options
        self.stage = Stage()

    def __enter__(self) -> Self:
        try:
            is_written_back = self.options.output is None and not self.options.dry_run
            self.inputs = LocalInputs(self.stage, is_written_back=is_written_back)
            self.results = ResultPlaces(self.stage, self.options)
            self.options = replace(self.options, output=self.results.output)
        except BaseException as error:  # a block that is not entered is not left either
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, GaeError):
            self._texts.put_right(error)
        self.stage.close()

    def is_local(self, path: Path) -> bool:
        return not self.stage.is_remote(path)

    def is_of_a_pipe(self, path: Path) -> bool:
        """What came from stdin or is to go to stdout: no other process knows of it."""
        root = self.stage.path
        return root is not None and path.is_relative_to(root) and not self.stage.is_remote(path)

    def interrupt(self) -> None:
        """Wait for no answer any more."""
        if self.stage.mirror is not None:
            self.stage.mirror.interrupt()

    def shown(self, text: str) -> str:
        """A text with the names that the user knows in place of spooled copies."""
        return self._texts.shown(text)

    def shown_in(self, result: T) -> T:
        """The same for all texts of a summary."""
        return self._texts.shown_in(result)

    @property
    def _texts(self) -> ShownTexts:
        return ShownTexts(self.stage.path)
