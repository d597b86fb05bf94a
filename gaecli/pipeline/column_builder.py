"""What is written: numbers per step as columns in the order of the rows, masked rows included."""

from __future__ import annotations

from typing import Any

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray
from gaecli.choices import MaskedReturns, MaskFill
from gaecli.formats.base import OutputColumn
from gaecli.records import dataclass
from gaecli.rollouts import Block, MaskedSlots
from gaecli.settings import Settings

#: Of numbers that are written, unless a format has another idea.
OUTPUT_DTYPE = np.dtype(np.float32)
#: Labels as texts, for policies that read them: the only ones there are.
TEXTS = np.array(["negative", "positive"])


def output_dtypes(settings: Settings) -> dict[str, np.dtype[Any]]:
    """Name of each new column -> NumPy type of its items."""
    flags = np.dtype(np.bool_)
    others = {"label": flags if settings.label_type == "bool" else TEXTS.dtype, "terminal": flags}
    return {name: others.get(what, OUTPUT_DTYPE) for what, name in settings.output_items.items()}


def as_written(numbers: FloatArray) -> Array:
    with np.errstate(over="ignore"):
        return numbers.astype(OUTPUT_DTYPE, copy=False)


@dataclass(frozen=True, eq=False)
class ColumnBuilder:
    """Writes the columns of one block.

    `values` are those that the convention computes with, where the returns are A + V; None where they are not.
    """

    block: Block
    values: Array | None
    mask_fill: MaskFill
    masked_returns: MaskedReturns = "carry"

    def advantages(self, advantages: FloatArray, zeros: FloatArray | None) -> OutputColumn:
        """`zeros`: as in `Staged`; None: 0 stays 0. A `zero` fill comes after normalisation."""
        slots, masked = self.block.slots, self.block.masked
        if slots is not None:
            if self.mask_fill == "zero":
                return self._rows(np.where(self._is_kept(slots), _carried(advantages, slots, None), 0.0))
            return self._rows(_carried(advantages, slots, zeros))
        if masked is not None and self.mask_fill == "zero":
            advantages = np.where(masked, 0.0, advantages)
        return self._steps(advantages)

    def returns(self, returns: FloatArray) -> OutputColumn:
        """A masked row that is no step has the advantage it carries plus its own V, or the return it carries, unless
        the library has another number there."""
        slots = self.block.slots
        if slots is None:
            return self._steps(returns)
        if self.masked_returns != "carry":
            filled = slots.values if self.masked_returns == "value" else np.zeros(len(slots.values))
        elif self.values is None:
            filled = _carried(returns, slots, None)
        else:
            with np.errstate(invalid="ignore", over="ignore"):
                filled = _carried(returns - self.values, slots, None) + slots.values
        placed = self.block.placement.to_rows(returns)
        return self._rows(np.where(self._is_kept(slots), placed, filled))

    def numbers(self, steps: FloatArray, present: BoolArray) -> OutputColumn:
        """`cells` of numbers, as they are written."""
        return self.cells(as_written(steps), None if present.all() else present)

    def cells(self, steps: Array, present: BoolArray | None) -> OutputColumn:
        """Flags, texts and numbers of steps; null where there is none, masked rows included. None: all have one."""
        placement, is_null = self.block.placement, None
        if present is not None or placement.has_other_rows:
            here = np.ones(self.block.num_steps, np.bool_) if present is None else present
            is_null = ~placement.to_rows(here, fill=False)
        return self._column(placement.to_rows(steps, fill=np.zeros(1, steps.dtype)[0]), is_null)

    def _is_kept(self, slots: MaskedSlots) -> BoolArray:
        kept = np.zeros(len(slots.values), np.bool_)
        kept[self.block.placement.order] = True
        return kept

    def _rows(self, rows: FloatArray) -> OutputColumn:
        """Numbers of all rows; null in dropped trajectories and where a masked V is no number."""
        with np.errstate(over="ignore"):
            values = rows.astype(OUTPUT_DTYPE)
        is_null = ~np.isfinite(rows)
        dropped, slots = self.block.dropped, self.block.slots
        if dropped is not None and slots is not None and len(dropped):
            step = np.maximum(slots.sources, slots.owners)
            is_null |= (step >= 0) & dropped[step]
        return self._column(values, is_null)

    def _steps(self, steps: FloatArray) -> OutputColumn:
        """float32 in row order; null where there is no step, where its trajectory is left out, and where
        a mask leaves it out, unless masked rows are filled."""
        block, placement = self.block, self.block.placement
        absent: BoolArray | None = block.dropped
        if block.is_step is not None:
            absent = ~block.is_step if absent is None else absent | ~block.is_step
        if block.masked is not None and self.mask_fill == "null":
            absent = block.masked if absent is None else absent | block.masked
        is_null = None
        if absent is not None or placement.has_other_rows:
            present = np.ones(block.num_steps, np.bool_) if absent is None else ~absent
            is_null = ~placement.to_rows(present, fill=False)
        with np.errstate(over="ignore"):
            values = placement.to_rows(steps, dtype=OUTPUT_DTYPE)
        return self._column(values, is_null)

    def _column(self, values: Array, is_null: BoolArray | None) -> OutputColumn:
        if is_null is not None and not is_null.any():
            is_null = None
        return OutputColumn(values, is_null, self.block.list_offsets, self.block.null_lists)


def _carried(steps: FloatArray, slots: MaskedSlots, zeros: FloatArray | None) -> FloatArray:
    """[rows] the number of the next step of the trajectory; 0, or what became of it, where none follows."""
    if zeros is None:
        zeros = np.zeros(len(steps) + 1)
    padded = np.append(steps, 0.0)  # -1, no step, is the last one
    result: FloatArray = np.where(slots.sources >= 0, padded[slots.sources], zeros[slots.owners])
    return result
