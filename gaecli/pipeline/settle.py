"""Settle: a block with what its surroundings say, so that its ends are final and its estimates exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.choices import MeasuredOver
from gaecli.estimator_kinds import EstimatorKind
from gaecli.estimators.base import Beyond, Estimator, FinalEstimates, LaneSums
from gaecli.estimators.conventions import ends_as_terminal
from gaecli.pipeline.blocks import Scanned, estimates_of
from gaecli.pipeline.combine import Carry
from gaecli.records import dataclass
from gaecli.rollouts import Block

if TYPE_CHECKING:
    from gaecli.reward_streams import RewardStream


@dataclass(frozen=True, eq=False)
class Settled:
    """A block whose surroundings are known: its ends are final, its advantages exact."""

    block: Block
    #: The block as the convention reads it.
    prepared: Block
    #: The same without what its surroundings say of its ends; that enters by its carry.
    scanned: Block
    advantages: FloatArray
    returns: FloatArray
    #: [N] steps that count: real ones of trajectories that are kept. None: all.
    counts: BoolArray | None
    #: [N] those of them that the convention gives an advantage. None: all.
    estimated: BoolArray | None
    #: [N] those that enter mean and standard deviation. None: all.
    measured_steps: BoolArray | None
    #: What the estimator writes.
    kind: EstimatorKind
    #: The returns are not A + V.
    has_own_returns: bool = False
    #: A unit of several steps enters mean and standard deviation once.
    measures_units: bool = False
    #: Numbers of the units that go on in another block, which has their last step. None: none does.
    open_units: IndexArray | None = None
    #: What a baseline compares, by name, where that is more than the advantages; NaN where a row has no such score.
    scores: Mapping[str, FloatArray] = field(default_factory=dict)
    #: [N] steps of trajectories that have no score at all. None: every score is there.
    unscored: BoolArray | None = None
    #: [N] those that have none and count as 0. None: there are none such.
    scored_as_zero: BoolArray | None = None
    #: By name, the block with the rewards of each stream (`--stream`); `advantages` are their weighted sum.
    streams: Mapping[str, Settled] = field(default_factory=dict)
    #: [N] steps of trajectories of which a mask keeps none: they are no episodes. None: there are none such.
    left_out: BoolArray | None = None

    def counted(self, numbers: Array) -> Array:
        """What enters statistics: of steps that count and have an advantage."""
        return numbers if self.estimated is None else numbers[self.estimated]

    def entering(self, unit: MeasuredOver) -> BoolArray | None:
        """[N] what enters mean and standard deviation: all of these, or the last step of each trajectory."""
        if unit == "steps" and self.measures_units and self.block.units is not None:
            return self._last_of_units(self.block.units.numbers)
        if unit == "steps":
            return self.measured_steps
        # Whether or not a mask leaves out that very step, the trajectory has its score.
        real = is_real(self.block)
        return self.prepared.cuts if real is None else self.prepared.cuts & real

    def _last_of_units(self, units: IndexArray) -> BoolArray:
        counted = np.ones(len(units), np.bool_) if self.measured_steps is None else self.measured_steps
        at = np.flatnonzero(counted)
        last = np.zeros(len(units), np.bool_)
        last[at[np.append(units[at][1:] != units[at][:-1], True)[: len(at)]]] = True
        return last if self.open_units is None else last & ~np.isin(units, self.open_units)


NO_SCORES: Mapping[str, FloatArray] = {}


def read_on(scanned: Scanned, carry: Carry, estimator: Estimator) -> Scanned:
    """A block that waited for what follows its lanes is read, and estimated as far as it can be alone."""
    if not scanned.waits:
        return scanned
    block = _with_ends(scanned.block, carry)
    prepared = estimator.prepare(block)
    return replace(
        scanned, block=block, prepared=prepared, waits=False, **estimates_of(prepared, estimator)._asdict()
    )


def settle(scanned: Scanned, carry: Carry, estimator: Estimator, *, is_last: bool = False) -> Settled:
    """`is_last`: nobody reads the block again, so that its estimates may be written to."""
    first = _settled(scanned, carry, estimator, is_last)
    if not estimator.settings.stream:
        return first
    from gaecli.estimators.streams import others_of

    found = [first]
    for other, its_carry, one in zip(scanned.others, carry.others, others_of(estimator), strict=True):
        found.append(_settled(other, its_carry, one, is_last))
    return _added_up(found, estimator.settings.stream)


def _added_up(found: Sequence[Settled], streams: Sequence[RewardStream]) -> Settled:
    """A trajectory that one stream leaves out is left out of all."""
    first = found[0]
    dropped = [one.block.dropped for one in found if one.block.dropped is not None]
    if dropped:
        together = np.logical_or.reduce(dropped)
        found = [_without(one, together) for one in found]
        first = found[0]
    with np.errstate(over="ignore", invalid="ignore"):
        terms = [stream.weight * one.advantages for stream, one in zip(streams, found, strict=True)]
        advantages = np.sum(terms, axis=0)
    by_name = {stream.name: one for stream, one in zip(streams, found, strict=True)}
    returns = first.returns if "advantage" in first.kind.outputs else advantages
    return replace(first, advantages=advantages, returns=returns, streams=by_name)


def _without(settled: Settled, dropped: BoolArray) -> Settled:
    keeps = ~dropped
    return replace(
        settled,
        block=replace(settled.block, dropped=dropped),
        prepared=replace(settled.prepared, dropped=dropped),
        counts=_all_of(settled.counts, keeps),
        estimated=_all_of(settled.estimated, keeps),
        measured_steps=_all_of(settled.measured_steps, keeps),
    )


def _settled(scanned: Scanned, carry: Carry, estimator: Estimator, is_last: bool) -> Settled:
    scanned = read_on(scanned, carry, estimator)
    block = _with_ends(scanned.block, carry)
    prepared = block if scanned.prepared is scanned.block else _with_ends(scanned.prepared, carry.as_read)
    if estimator.settings.open_ends == "terminal":
        prepared = ends_as_terminal(prepared)  # those at its borders are known only now
    advantages, returns = _estimates(scanned, prepared, carry, estimator, is_last)
    has_own_returns = returns is not None or "advantage" not in estimator.settings.kind.outputs
    if returns is None:
        values = scanned.prepared.values
        returns = values.astype(np.result_type(values, advantages))  # NumPy casts slowly as it adds
        returns += advantages
    counts = _all_of(is_real(block), _not(block.masked))
    estimated = counts if prepared is block else _all_of(counts, prepared.is_step)
    kind = estimator.settings.kind
    if kind.is_scored:
        prepared = replace(prepared, terminated=prepared.cuts)
    scores, unscored, as_zero = NO_SCORES, None, None
    if scanned.sums is not None:
        totals = LaneSums(carry.head_sums, carry.tail_sums)
        scores, unscored, as_zero, whole = scanned.sums.scores(prepared, totals)
        advantages = advantages if whole is None else whole
    if unscored is not None:
        estimated = _all_of(estimated, ~unscored)
    measured = _measured(counts, estimated, estimator)
    measures_units = estimator.settings.convention.normalizes_units
    left_out = None if block.masked is None else _left_out(block, carry)
    return Settled(
        block,
        prepared,
        scanned.prepared,
        advantages,
        returns,
        counts,
        estimated,
        measured,
        kind,
        has_own_returns,
        measures_units,
        _open_units(prepared, carry),
        scores,
        unscored,
        as_zero,
        left_out=left_out,
    )


def _open_units(prepared: Block, carry: Carry) -> IndexArray | None:
    if carry.whole is None or carry.whole.goes_on is None:
        return None
    from gaecli.estimators.units import units_that_go_on

    return units_that_go_on(prepared, carry.whole)


def _measured(
    counts: BoolArray | None, estimated: BoolArray | None, estimator: Estimator
) -> BoolArray | None:
    """[N] what enters mean and standard deviation: steps without an advantage count as 0 in some libraries."""
    settings = estimator.settings
    return counts if settings.convention.counts_dropped and not settings.kind.is_scored else estimated


@np.errstate(over="ignore", invalid="ignore")  # the numbers that are written tell of it
def _estimates(
    scanned: Scanned, prepared: Block, carry: Carry, estimator: Estimator, is_last: bool
) -> FinalEstimates:
    """Of all steps, with what enters the block. `prepared`: with its final ends."""
    if not estimator.needs_trajectories:
        inflow, beyond = carry.as_read.inflow, Beyond(carry.as_read.values, carry.as_read.estimates)
        advantages = estimator.settle(scanned.prepared, scanned.advantages, inflow, in_place=is_last)
        if scanned.returns is not None:
            return FinalEstimates(advantages, scanned.returns)
        return estimator.outputs(scanned.prepared, advantages, beyond)
    return estimator.whole(prepared, carry.whole)


def final_block(scanned: Scanned, carry: Carry, estimator: Estimator) -> Block:
    """The block as the convention reads it, with what its surroundings say of its ends."""
    return _with_ends(read_on(scanned, carry, estimator).prepared, carry.as_read)


def reread(settled: Settled, estimator: Estimator) -> Settled:
    """The same block as another estimator reads it; the numbers are not computed anew."""
    prepared = estimator.prepare(settled.block)
    estimated = _all_of(settled.counts, None if prepared is settled.block else prepared.is_step)
    measured = _measured(settled.counts, estimated, estimator)
    return replace(settled, prepared=prepared, estimated=estimated, measured_steps=measured)


def _with_ends(block: Block, carry: Carry) -> Block:
    """The block with what its surroundings say about the trajectories at its borders."""
    if carry.ends.any():
        last = block.lanes.stops[carry.ends] - 1
        cuts = block.cuts.copy()
        cuts[last] = True
        terminated = block.terminated.copy()
        terminated[last] |= carry.ends_terminated[carry.ends]
        block = replace(block, cuts=cuts, terminated=terminated)
    given = ~np.isnan(carry.next_values)
    if given.any():
        absent = np.full(block.num_steps, np.nan) if block.next_values is None else block.next_values
        next_values = absent.astype(np.float64)
        next_values[block.lanes.stops[given] - 1] = carry.next_values[given]
        block = replace(block, next_values=next_values)
    if carry.head_dropped.any() or carry.tail_dropped.any():
        block = replace(block, dropped=_dropped_at_borders(block, carry))
    if carry.units is not None and carry.units.ahead is not None:
        from gaecli.layouts.units import with_units_ahead

        block = with_units_ahead(block, carry.units.ahead.exist, carry.units.ahead.same)
    return block if carry.next_rows is None else replace(block, next_rows=carry.next_rows)


def _left_out(block: Block, carry: Carry) -> BoolArray | None:
    """`block` has what is known of its ends."""
    numbers, _ = block.trajectories()
    kept = block.kept_trajectories(numbers)
    kept[numbers[block.lanes.starts[carry.head_kept]]] = True
    kept[numbers[block.lanes.stops[carry.tail_kept] - 1]] = True
    return None if kept.all() else ~kept[numbers]


def is_real(block: Block) -> BoolArray | None:
    """[N] steps of trajectories that are kept, masked or not."""
    return _all_of(block.is_step, _not(block.dropped))


def _not(flags: BoolArray | None) -> BoolArray | None:
    return None if flags is None else ~flags


def _all_of(*flags: BoolArray | None) -> BoolArray | None:
    present = [part for part in flags if part is not None]
    return np.logical_and.reduce(present) if present else None


def _dropped_at_borders(block: Block, carry: Carry) -> BoolArray:
    trajectory, _ = block.trajectories()
    dropped = np.zeros(block.num_steps, np.bool_) if block.dropped is None else block.dropped.copy()
    heads = trajectory[block.lanes.starts[carry.head_dropped]]
    tails = trajectory[block.lanes.stops[carry.tail_dropped] - 1]
    dropped |= np.isin(trajectory, np.concatenate((heads, tails)))
    return dropped
