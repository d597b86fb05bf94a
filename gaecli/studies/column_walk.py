"""The steps of a stream, block after block, with the column beside them that is to be explained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gaecli.errors import DataError
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.settle import Settled
from gaecli.studies.asked import Asked
from gaecli.studies.column import ColumnCells
from gaecli.studies.parts import Part, PartForm, Parts
from gaecli.studies.reading import SettledStream

#: Products of four numbers have to be less than the largest of float64, in sums of millions.
LARGEST = 1e70


class ColumnWalk:
    """Goes over the blocks of a stream, with the column beside it."""

    def __init__(self, asked: Asked, reading: SettledStream, form: PartForm) -> None:
        self._asked, self._path = asked, str(asked.plan.paths[0])
        self._parts = Parts(reading, form)
        self._cells = ColumnCells(asked.against)
        self._num_cells = 0

    def part(self, file: int, start: int, settled: Settled, carry: Carry) -> Part:
        num_before = self._parts.num_slots
        part = self._parts.of(file, start, settled, carry)
        numbers = self._cells.take(self._parts.num_slots - num_before)
        self._num_cells += len(numbers)
        missing = self._parts.num_slots - num_before - len(numbers)
        if missing:
            numbers = np.append(numbers, np.full(missing, np.nan))
        found = replace(part, column=numbers[part.slots - num_before])
        self._check_range(found)
        return found

    def check_end(self) -> None:
        """`DataError` where the column is of other rows."""
        against, num_slots = self._asked.against, self._parts.num_slots
        if not num_slots:
            raise DataError(f"`{self._path}` has no steps: there is nothing to verify")
        num_cells = self._num_cells + self._cells.num_left()
        if num_cells != num_slots:
            raise DataError(
                f"`{against.column}` of `{against.path}` has {num_cells:,} numbers, and "
                f"`{self._path}` has {num_slots:,} steps",
                hint="the column must have one number per step, in the order of the rows",
            )

    def _check_range(self, part: Part) -> None:
        """γ and λ are found by least squares: nothing can be said of numbers whose products are beyond float64."""
        against = self._asked.against
        numbers = {
            f"the rewards of `{self._path}`": part.block.rewards,
            f"the values of `{self._path}`": part.block.values,
            f"`{against.column}` of `{against.path}`": part.column[np.isfinite(part.column)],
        }
        for name, found in numbers.items():
            if len(found) and max(float(found.max()), -float(found.min())) > LARGEST:
                raise DataError(
                    f"{name} go beyond {LARGEST:g} in size: there are no sums of squares to compare conventions by",
                    hint="`gae check` shows where; a filler value is left out by `--mask-column`",
                )
