"""Apply: the final numbers of a block, in the order of its rows."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gaecli.estimators.bootstrap import needs_bootstrap
from gaecli.estimators.conventions import ends_as_terminal
from gaecli.estimators.gae import Gae
from gaecli.estimators.normalization import NormConstants, NormRule, normalize, normalize_groups
from gaecli.formats.base import OutputColumn
from gaecli.moments import GroupedMoments, Moments
from gaecli.pipeline.blocks import Scanned
from gaecli.pipeline.column_builder import ColumnBuilder
from gaecli.pipeline.column_statistics import Tally
from gaecli.pipeline.combine import Carry
from gaecli.rollouts import Array, Block, BoolArray, FloatArray, IndexArray
from gaecli.settings import Settings
from gaecli.summary import BootstrapCounts, EpisodeCounts

#: Key of groups that are whole within one block. Not None: that is the label of a null.
LOCAL: Hashable = object()


@dataclass(frozen=True, eq=False)
class Settled:
    """A block whose surroundings are known: its ends are final, its advantages exact."""

    block: Block
    #: The block as the convention reads it.
    prepared: Block
    advantages: FloatArray
    returns: FloatArray
    #: [N] steps that count: real ones of trajectories that are kept. None: all.
    counts: BoolArray | None
    #: [N] those of them that the convention gives an advantage. None: all.
    estimated: BoolArray | None
    #: The returns are not A + V.
    has_own_returns: bool = False

    def counted(self, numbers: Array) -> Array:
        """What enters statistics: of steps that count and have an advantage."""
        return numbers if self.estimated is None else numbers[self.estimated]


def settle(scanned: Scanned, carry: Carry, estimator: Gae, threads: int = 1) -> Settled:
    advantages = estimator.settle(scanned.prepared, scanned.advantages, carry.inflow, threads)
    returns = advantages + scanned.prepared.values if scanned.returns is None else scanned.returns
    block = _with_ends(scanned.block, carry)
    prepared = block if scanned.prepared is scanned.block else _with_ends(scanned.prepared, carry)
    if estimator.settings.convention.open_ends == "terminal":
        prepared = ends_as_terminal(prepared)  # those at its borders are known only now
    counts = _all_of(_is_real(block), _not(block.masked))
    estimated = counts if prepared is block else _all_of(counts, prepared.is_step)
    return Settled(block, prepared, advantages, returns, counts, estimated, scanned.returns is not None)


def reread(settled: Settled, estimator: Gae) -> Settled:
    """The same block as another estimator reads it; the numbers are not computed anew."""
    prepared = estimator.prepare(settled.block)
    estimated = _all_of(settled.counts, None if prepared is settled.block else prepared.is_step)
    return replace(settled, prepared=prepared, estimated=estimated)


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
    return block


def _is_real(block: Block) -> BoolArray | None:
    """[N] steps of trajectories that are kept, masked or not."""
    return _all_of(block.is_step, _not(block.dropped))


def _not(flags: BoolArray | None) -> BoolArray | None:
    return None if flags is None else ~flags


def _all_of(*flags: BoolArray | None) -> BoolArray | None:
    present = [part for part in flags if part is not None]
    return np.logical_and.reduce(present) if present else None


def trajectory_numbers(block: Block) -> IndexArray:
    """[N] 0, 1, … by cuts and by lanes."""
    is_last = block.cuts.copy()
    is_last[block.lanes.stops - 1] = True
    return np.concatenate(([0], np.cumsum(is_last[:-1]))).astype(np.int64)


@dataclass(frozen=True, eq=False)
class GroupKeys:
    """Groups of one block for normalisation: index per step, and a key per index that other blocks know.

    The key `LOCAL` is a group that no other block shares.
    """

    indices: IndexArray
    keys: list[Hashable]


def group_keys(settled: Settled, carry: Carry, settings: Settings) -> GroupKeys | None:
    """None where one group holds every step."""
    block = settled.block
    if settings.normalize == "episode":
        indices = trajectory_numbers(block)
        keys: list[Hashable] = [LOCAL] * (int(indices[-1]) + 1 if len(indices) else 0)
        for lane in range(block.lanes.count):
            if carry.head_chains[lane] >= 0:
                keys[indices[block.lanes.starts[lane]]] = ("chain", int(carry.head_chains[lane]))
            if carry.tail_chains[lane] >= 0:
                keys[indices[block.lanes.stops[lane] - 1]] = ("chain", int(carry.tail_chains[lane]))
        return GroupKeys(indices, keys)
    if block.groups is not None:
        return GroupKeys(block.groups, list(block.group_labels))
    return None


def measure(settled: Settled, groups: GroupKeys | None) -> dict[Hashable, Moments]:
    """Moments of the raw advantages by group key; local groups, which no other block needs, are left out."""
    if groups is None:
        return {(): Moments.of(settled.counted(settled.advantages))}
    grouped = _grouped(settled, groups)
    return {key: grouped.group(index) for index, key in enumerate(groups.keys) if not _is_local(key)}


def _is_local(key: Hashable) -> bool:
    return key is LOCAL


def _grouped(settled: Settled, groups: GroupKeys) -> GroupedMoments:
    return GroupedMoments.of(
        settled.counted(settled.advantages), settled.counted(groups.indices), len(groups.keys)
    )


@dataclass(frozen=True, eq=False)
class Normalized:
    """Advantages after normalisation."""

    advantages: FloatArray
    #: [N + 1] what becomes of 0 in the group of each step; at the end, in a trajectory without steps.
    #: Empty where every row is a step.
    zeros: FloatArray
    #: Groups that are whole in this block, and those of them without variance.
    num_local: int = 0
    num_degenerate: int = 0


def normalized(
    settled: Settled, groups: GroupKeys | None, constants: Mapping[Hashable, NormConstants], rule: NormRule
) -> Normalized:
    zeros = np.zeros(0 if settled.block.slots is None else len(settled.advantages) + 1)
    if groups is None:
        return Normalized(normalize(settled.advantages, constants[()]), normalize(zeros, constants[()]))
    local = [index for index, key in enumerate(groups.keys) if _is_local(key)]
    measured = rule.per_group(_grouped(settled, groups)) if local else []
    found = [measured[index] if _is_local(key) else constants[key] for index, key in enumerate(groups.keys)]
    whole = [found[index] for index in local if found[index].count]
    degenerate = sum(group.is_degenerate for group in whole)
    if settled.block.slots is not None:
        zeros[:-1] = normalize_groups(zeros[:-1], groups.indices, found)
    advantages = normalize_groups(settled.advantages, groups.indices, found)
    return Normalized(advantages, zeros, len(whole), degenerate)


@dataclass(eq=False)
class Totals:
    """What applying the blocks of a file adds up to; merged in the order of the blocks."""

    counts: EpisodeCounts = field(default_factory=EpisodeCounts)
    bootstrapped: BootstrapCounts = field(default_factory=BootstrapCounts)
    tallies: dict[str, Tally] = field(default_factory=dict)
    value_errors: Moments = field(default_factory=Moments)
    returns: Moments = field(default_factory=Moments)
    dropped_episodes: int = 0
    dropped_steps: int = 0
    #: Steps that the convention gives no advantage.
    unestimated_steps: int = 0
    local_groups: int = 0
    degenerate_groups: int = 0
    #: Of one block, where pictures are to be drawn; not merged, as blocks of a stream share episodes.
    sketch: Any = None

    def merge(self, other: Totals) -> None:
        self.counts += other.counts
        self.bootstrapped += other.bootstrapped
        for name, tally in other.tallies.items():
            self.tallies[name] = self.tallies[name].merge(tally) if name in self.tallies else tally
        self.value_errors = self.value_errors.merge(other.value_errors)
        self.returns = self.returns.merge(other.returns)
        self.dropped_episodes += other.dropped_episodes
        self.dropped_steps += other.dropped_steps
        self.unestimated_steps += other.unestimated_steps
        self.local_groups += other.local_groups
        self.degenerate_groups += other.degenerate_groups


def finish_block(
    settled: Settled, written: Normalized | None, settings: Settings
) -> tuple[dict[str, OutputColumn], Totals]:
    """Output columns in row order, and the block's share of the summary. `written`: normalised, if so."""
    builder = ColumnBuilder(settled.block, settled.prepared.values, settings.mask_fill)
    advantages = settled.advantages if written is None else written.advantages
    zeros = None if written is None else written.zeros
    columns = {
        settings.advantage_column: builder.advantages(advantages, zeros),
        settings.return_column: builder.returns(settled.returns),
    }
    if settings.raw_column is not None:
        columns[settings.raw_column] = builder.advantages(settled.advantages, None)
    return columns, _report(settled, advantages, settings)


def _report(settled: Settled, advantages: FloatArray, settings: Settings) -> Totals:
    block, counted = settled.block, settled.counted
    tallies = {
        "reward": Tally.of(counted(block.rewards)),
        "value": Tally.of(counted(block.values)),
        "advantage": Tally.of(counted(advantages)),
        "return": Tally.of(counted(settled.returns)),
    }
    # What the values leave unexplained; A where the return is A + V.
    errors = settled.returns - settled.prepared.values if settled.has_own_returns else settled.advantages
    errors_moments = tallies["advantage"].moments if advantages is errors else Moments.of(counted(errors))
    return replace(
        reading_totals(settled, settings),
        tallies=tallies,
        value_errors=errors_moments,
        returns=tallies["return"].moments,
    )


def reading_totals(settled: Settled, settings: Settings) -> Totals:
    """What there is to tell of a block before any number of it."""
    block = settled.block
    dropped = block.dropped
    return Totals(
        counts=episode_counts(settled),
        bootstrapped=bootstrap_counts(settled.prepared, settings),
        dropped_episodes=0 if dropped is None else int(np.count_nonzero(dropped & block.cuts)),
        dropped_steps=0 if dropped is None else int(np.count_nonzero(dropped)),
        unestimated_steps=_num_true(settled.counts, block) - _num_true(settled.estimated, block),
    )


def _num_true(flags: BoolArray | None, block: Block) -> int:
    return block.num_steps if flags is None else int(np.count_nonzero(flags))


def episode_counts(settled: Settled) -> EpisodeCounts:
    block = settled.block
    is_real = _is_real(block)
    ends = np.flatnonzero(block.cuts if is_real is None else block.cuts & is_real)
    terminated = int(np.count_nonzero(block.terminated[ends]))
    truncated = int(np.count_nonzero(block.truncated[ends]))
    steps = _num_true(settled.counts, block)
    return EpisodeCounts(steps, len(ends), terminated, truncated, len(ends) - terminated - truncated)


def bootstrap_counts(prepared: Block, settings: Settings) -> BootstrapCounts:
    """Ends that needed a value, by source: what the file gave, and what a rule put in its place."""
    bare = int(np.count_nonzero(needs_bootstrap(prepared)))
    needs_any = prepared.cuts & ~prepared.terminated
    is_real = _is_real(prepared)
    ends = np.flatnonzero(needs_any if is_real is None else needs_any & is_real)
    filled = int(np.count_nonzero(prepared.filled[ends])) if prepared.filled is not None else 0
    given = len(ends) - bare - filled
    if settings.bootstrap == "current":
        return BootstrapCounts(next_value=given, current=bare + filled)
    return BootstrapCounts(next_value=given, current=filled, zero=bare)


def _dropped_at_borders(block: Block, carry: Carry) -> BoolArray:
    trajectory = trajectory_numbers(block)
    dropped = np.zeros(block.num_steps, np.bool_) if block.dropped is None else block.dropped.copy()
    heads = trajectory[block.lanes.starts[carry.head_dropped]]
    tails = trajectory[block.lanes.stops[carry.tail_dropped] - 1]
    dropped |= np.isin(trajectory, np.concatenate((heads, tails)))
    return dropped
