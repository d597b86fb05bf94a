"""The numbers of the steps of a block as a person looks at them, and a line for each trajectory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.estimators.bootstrap import fill_bootstrap
from gaecli.estimators.gae_variants import following_values
from gaecli.explanation import BootstrapSource
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.settle import Settled, is_real
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.settings import Settings
from gaecli.studies.episode_table import Of
from gaecli.studies.final_numbers import Finisher
from gaecli.studies.parts import NumberedTrajectories, rows_of_slots
from gaecli.studies.reading import with_lane_ends

#: As lines have them, by their index.
SOURCES: tuple[BootstrapSource, ...] = ("none", "next value", "current", "zero")


@dataclass(frozen=True, eq=False)
class BlockSteps:
    """[N] each, in the order of the block; NaN where a step has no such number."""

    #: "reward", and those of "value", "return", "advantage" and "delta" that there are.
    series: Mapping[str, FloatArray]
    #: V(s') as it enters δ.
    following: FloatArray
    #: Cells of the block, counted from its first one; rows of the file, from the first one of the block.
    slots: IndexArray
    rows: IndexArray
    #: Of lists: the item in its row.
    items: IndexArray | None
    #: Steps of trajectories that are kept; those of them that count; those that have an advantage.
    real: BoolArray
    counts: BoolArray
    estimated: BoolArray


@dataclass(frozen=True, eq=False)
class StepNumbers:
    """Makes them of settled blocks."""

    settings: Settings
    finish: Finisher
    #: The number is a sum of (γλ)ˡ δ with one γ and one λ.
    has_deltas: bool

    def of(self, file: int, start: int, settled: Settled, carry: Carry) -> BlockSteps:
        block, kind = settled.block, settled.kind
        everywhere = np.ones(block.num_steps, np.bool_)
        real = is_real(block)
        estimated = everywhere if settled.estimated is None else settled.estimated
        following = self._following(settled, carry)
        series = {"reward": self._summed(settled, "reward")}
        if block.has_values:
            series["value"] = self._summed(settled, "value")
        if "return" in kind.outputs:
            series["return"] = _where(estimated, self._summed(settled, "return"))
        if "advantage" in kind.outputs:
            series["advantage"] = _where(estimated, self.finish(file, start, settled, carry))
        if self.has_deltas and block.has_values:
            prepared = settled.prepared
            with np.errstate(over="ignore", invalid="ignore"):
                deltas = prepared.rewards + self.settings.gamma * following - prepared.values
            series["delta"] = _where(estimated, deltas)
        slots = block.placement.rows_of_steps(np.arange(block.num_steps, dtype=np.int64))
        rows = rows_of_slots(block, slots)
        items = None if block.list_offsets is None else slots - block.list_offsets[rows]
        return BlockSteps(
            series,
            following,
            slots,
            rows,
            items,
            everywhere if real is None else real,
            everywhere if settled.counts is None else settled.counts,
            estimated,
        )

    def _following(self, settled: Settled, carry: Carry) -> FloatArray:
        """V(s'), that of the next block where a lane goes on in it."""
        block = with_lane_ends(settled.prepared, carry)
        found = following_values(fill_bootstrap(block, self.settings.bootstrap, is_whole_stream=True))
        lasts = block.lanes.stops - 1
        goes_on = ~block.cuts[lasts]
        if goes_on.any() and len(carry.as_read.values) == len(lasts):
            found[lasts[goes_on]] = carry.as_read.values[goes_on]
        return found

    def _summed(self, settled: Settled, name: str) -> FloatArray:
        """Of all streams of rewards, by their weights."""
        found: FloatArray
        if settled.streams:
            weights = [stream.weight for stream in self.settings.stream]
            parts = [
                weight * _numbers(one, name)
                for weight, one in zip(weights, settled.streams.values(), strict=True)
            ]
            found = np.sum(parts, axis=0)
        else:
            found = _numbers(settled, name)
        return found

    def lines(
        self,
        file: int,
        first_row: int,
        settled: Settled,
        carry: Carry,
        steps: BlockSteps,
        trajectories: NumberedTrajectories,
    ) -> FloatArray:
        """[T] a line for each trajectory of the block; `first_row` of the block is counted over all files."""
        lasts = trajectories.lasts
        lines = np.full((len(lasts), len(Of)), np.nan)
        if not len(lasts):
            return lines
        firsts = np.concatenate(([0], lasts[:-1] + 1))

        def summed(numbers: Array, where: BoolArray) -> FloatArray:
            found: FloatArray = np.add.reduceat(np.where(where, numbers, 0), firsts, dtype=np.float64)
            return found

        def largest(name: str) -> FloatArray:
            if name not in steps.series:
                return np.full(len(lasts), np.nan)
            found: FloatArray = np.fmax.reduceat(np.abs(steps.series[name]), firsts)
            return found

        series = steps.series
        lines[:, Of.NUMBER] = trajectories.numbers
        lines[:, Of.FILE] = file
        lines[:, Of.ROW] = first_row + steps.rows[firsts]
        lines[:, Of.POSITIONS] = summed(np.ones(len(steps.real)), steps.real)
        lines[:, Of.STEPS] = summed(np.ones(len(steps.real)), steps.counts)
        lines[:, Of.REWARD] = summed(series["reward"], steps.counts)
        if "value" in series:
            lines[:, Of.VALUE] = summed(series["value"], steps.counts)
        if "value" in series and "return" in series:
            with np.errstate(over="ignore", invalid="ignore"):
                squares = np.square(series["return"] - settled.prepared.values)
            lines[:, Of.SQUARED_ERROR] = summed(squares, steps.estimated)
        lines[:, Of.ADVANTAGE] = largest("advantage")
        lines[:, Of.DELTA] = largest("delta")
        block = settled.block
        ends = np.where(block.truncated[lasts], 2, np.where(block.terminated[lasts], 1, 0))
        lines[:, Of.END] = ends
        lines[:, Of.SOURCE] = _sources(with_lane_ends(settled.prepared, carry), lasts, self.settings)
        lines[:, Of.BOOTSTRAP] = steps.following[lasts]
        return lines


def _where(flags: BoolArray, numbers: FloatArray) -> FloatArray:
    return np.where(flags, numbers, np.nan)


def _numbers(settled: Settled, name: str) -> FloatArray:
    found: Array = settled.returns if name == "return" else getattr(settled.block, f"{name}s")
    return found.astype(np.float64)


def _sources(prepared: Block, lasts: IndexArray, settings: Settings) -> IndexArray:
    """[T] what stands for V behind these steps, as an index into `SOURCES`; as `studies.tail.bootstrap_of`."""
    bare = 2 if settings.bootstrap == "current" else 3
    found = np.full(len(lasts), bare, np.int64)
    if prepared.next_values is not None:
        given = ~np.isnan(prepared.next_values[lasts])
        filled = np.zeros(len(lasts), np.bool_) if prepared.filled is None else prepared.filled[lasts]
        found[given] = np.where(filled, 2, 1)[given]
    found[prepared.terminated[lasts]] = 0
    return found
