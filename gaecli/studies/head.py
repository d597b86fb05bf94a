"""The first rows of a stream as if they were all: enough to see that a rule is not that of a column.

A rule that is off at rows which do not depend on where the rows were cut off is off in the whole stream, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from gaecli.formats.base import Column, RolloutFile, Unit
from gaecli.formats.wrapped import WrappedFile
from gaecli.sources.inputs import StreamPlan


def head_of(plan: StreamPlan, most_rows: int) -> StreamPlan:
    """The first rows of its first file, or all of that."""
    path = plan.paths[0]
    opened: dict[Path, RolloutFile] = {path: _FirstRowsFile(plan.open(path), most_rows)}
    return plan._replace(paths=(path,), opened=opened)


class _FirstRowsFile(WrappedFile):
    """One unit, which is one block; of a table of long lists there may be fewer rows in it than the unit has."""

    def __init__(self, file: RolloutFile, most_rows: int) -> None:
        super().__init__(file)
        self._most_rows = most_rows

    def units(self, rows_per_block: int, like: str) -> Sequence[Unit]:
        return [self._cut(unit) for unit in self._file.units(self._most_rows, like)[:1]]

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        for whole in self._file.units(self._most_rows, names[0])[:1]:
            for block in self._file.blocks(whole, names, self._most_rows):
                yield block
                return

    def _cut(self, unit: Unit) -> Unit:
        num_rows = max(self._most_rows // unit.cells_per_row, 1)
        return replace(unit, stop=min(unit.stop, unit.start + num_rows))
