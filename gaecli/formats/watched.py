"""A file that tells how much of it was gone over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gaecli.formats.base import Column, RolloutFile, Unit
from gaecli.formats.wrapped import WrappedFile
from gaecli.progress import Progress


class WatchedFile(WrappedFile):
    """A block counts once the next one is asked for."""

    def __init__(self, file: RolloutFile, progress: Progress) -> None:
        super().__init__(file)
        self._progress = progress
        self._rows_gone_over = self.num_rows
        progress.know(file.path, file.identity[0])

    def units(self, rows_per_block: int, like: str) -> Sequence[Unit]:
        """Arrays that nobody reads may have more rows than those of the units."""
        units = self._file.units(rows_per_block, like)
        self._rows_gone_over = sum(unit.num_rows for unit in units)
        return units

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        for start, stop, columns in self._file.blocks(unit, names, rows_per_block):
            yield start, stop, columns
            self.count(stop - start)

    def count(self, num_rows: float) -> None:
        if self._rows_gone_over:
            self._progress.advance(self.path, num_rows / self._rows_gone_over)


def count_kept(file: RolloutFile, num_rows: float) -> None:
    """So many rows are gone over once more without being read."""
    while isinstance(file, WrappedFile):
        if isinstance(file, WatchedFile):
            file.count(num_rows)
            return
        file = file.behind
