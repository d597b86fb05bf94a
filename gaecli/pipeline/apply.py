"""Apply: the final numbers of a block, in the order of its rows."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from gaecli.estimators.bootstrap import needs_bootstrap
from gaecli.estimators.gae import Gae
from gaecli.estimators.normalization import Constants, Rule, normalize, normalize_groups
from gaecli.formats.base import OutputColumn
from gaecli.moments import GroupedMoments, Moments
from gaecli.pipeline.blocks import Scanned
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.statistics import Tally
from gaecli.rollouts import Array, Block, BoolArray, FloatArray, IndexArray
from gaecli.settings import Settings
from gaecli.summary import BootstrapCounts, EpisodeCounts

#: Key of groups that are whole within one block. Not None: that is the label of a null.
LOCAL: Hashable = object()

#: What is written, unless a format has another idea.
OUTPUT_DTYPE = np.dtype(np.float32)


@dataclass(frozen=True, eq=False)
class Settled:
    """A block whose surroundings are known: its ends are final, its advantages exact."""

    block: Block
    advantages: FloatArray
    #: [N] steps that count: real ones of trajectories that are kept. None: all.
    counts: BoolArray | None

    def counted(self, numbers: Array) -> Array:
        return numbers if self.counts is None else numbers[self.counts]


def settle(scanned: Scanned, carry: Carry, estimator: Gae, threads: int = 1) -> Settled:
    block = scanned.block
    advantages = estimator.settle(block, scanned.advantages, carry.inflow, threads)
    if carry.ends.any():
        last = block.lanes.stops[carry.ends] - 1
        cuts = block.cuts.copy()
        cuts[last] = True
        terminated = block.terminated.copy()
        terminated[last] |= carry.ends_terminated[carry.ends]
        block = replace(block, cuts=cuts, terminated=terminated)
    if carry.head_dropped.any() or carry.tail_dropped.any():
        block = replace(block, dropped=_dropped_at_borders(block, carry))
    left_out = [~block.is_step if block.is_step is not None else None, block.dropped, block.masked]
    present = [part for part in left_out if part is not None]
    counts = ~np.logical_or.reduce(present) if present else None
    return Settled(block, advantages, counts)


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


def normalized(
    settled: Settled, groups: GroupKeys | None, constants: Mapping[Hashable, Constants], rule: Rule
) -> tuple[FloatArray, int, int]:
    """(normalised advantages, groups that are whole in this block, those of them without variance)."""
    if groups is None:
        return normalize(settled.advantages, constants[()]), 0, 0
    local = [index for index, key in enumerate(groups.keys) if _is_local(key)]
    measured = rule.per_group(_grouped(settled, groups)) if local else []
    found = [measured[index] if _is_local(key) else constants[key] for index, key in enumerate(groups.keys)]
    whole = [found[index] for index in local if found[index].count]
    degenerate = sum(group.is_degenerate for group in whole)
    return normalize_groups(settled.advantages, groups.indices, found), len(whole), degenerate


@dataclass(eq=False)
class Report:
    """What applying the blocks of a file adds up to; merged in the order of the blocks."""

    counts: EpisodeCounts = field(default_factory=EpisodeCounts)
    bootstrapped: BootstrapCounts = field(default_factory=BootstrapCounts)
    tallies: dict[str, Tally] = field(default_factory=dict)
    raw_advantages: Moments = field(default_factory=Moments)
    returns: Moments = field(default_factory=Moments)
    dropped_episodes: int = 0
    dropped_steps: int = 0
    local_groups: int = 0
    degenerate_groups: int = 0

    def merge(self, other: Report) -> None:
        self.counts += other.counts
        self.bootstrapped += other.bootstrapped
        for name, tally in other.tallies.items():
            self.tallies[name] = self.tallies[name].merge(tally) if name in self.tallies else tally
        self.raw_advantages = self.raw_advantages.merge(other.raw_advantages)
        self.returns = self.returns.merge(other.returns)
        self.dropped_episodes += other.dropped_episodes
        self.dropped_steps += other.dropped_steps
        self.local_groups += other.local_groups
        self.degenerate_groups += other.degenerate_groups


def finish_block(
    settled: Settled, written: FloatArray | None, settings: Settings
) -> tuple[dict[str, OutputColumn], Report]:
    """Output columns in row order, and the block's share of the summary. `written`: normalised, if so."""
    block = settled.block
    returns = settled.advantages + block.values
    advantages = settled.advantages if written is None else written
    numbers = {settings.advantage_column: advantages, settings.return_column: returns}
    if settings.raw_column is not None:
        numbers[settings.raw_column] = settled.advantages
    columns = {name: _output(column, block) for name, column in numbers.items()}
    report = _report(settled, advantages, returns, settings)
    return columns, report


def _report(settled: Settled, advantages: FloatArray, returns: FloatArray, settings: Settings) -> Report:
    block, counted = settled.block, settled.counted
    tallies = {
        "reward": Tally.of(counted(block.rewards)),
        "value": Tally.of(counted(block.values)),
        "advantage": Tally.of(counted(advantages)),
        "return": Tally.of(counted(returns)),
    }
    is_normalized = advantages is not settled.advantages
    raw = Moments.of(counted(settled.advantages)) if is_normalized else tallies["advantage"].moments
    dropped = block.dropped
    return Report(
        counts=_episode_counts(settled),
        bootstrapped=_bootstrap_counts(block, settings),
        tallies=tallies,
        raw_advantages=raw,
        returns=tallies["return"].moments,
        dropped_episodes=0 if dropped is None else int(np.count_nonzero(dropped & block.cuts)),
        dropped_steps=0 if dropped is None else int(np.count_nonzero(dropped)),
    )


def _episode_counts(settled: Settled) -> EpisodeCounts:
    block = settled.block
    ends = np.flatnonzero(block.cuts if settled.counts is None else block.cuts & settled.counts)
    terminated = int(np.count_nonzero(block.terminated[ends]))
    truncated = int(np.count_nonzero(block.truncated[ends]))
    steps = block.num_steps if settled.counts is None else int(np.count_nonzero(settled.counts))
    return EpisodeCounts(steps, len(ends), terminated, truncated, len(ends) - terminated - truncated)


def _bootstrap_counts(block: Block, settings: Settings) -> BootstrapCounts:
    """By source: what the file gave, and what the policy put in its place."""
    bare = int(np.count_nonzero(needs_bootstrap(block)))
    ends = np.flatnonzero(block.cuts & ~block.terminated)
    if block.dropped is not None:
        ends = ends[~block.dropped[ends]]
    given = len(ends) - bare
    filled = int(np.count_nonzero(block.filled[ends])) if block.filled is not None else 0
    if settings.bootstrap == "current":
        return BootstrapCounts(next_value=given - filled, current=bare + filled)
    return BootstrapCounts(next_value=given, zero=bare)


def _dropped_at_borders(block: Block, carry: Carry) -> BoolArray:
    trajectory = trajectory_numbers(block)
    dropped = np.zeros(block.num_steps, np.bool_) if block.dropped is None else block.dropped.copy()
    heads = trajectory[block.lanes.starts[carry.head_dropped]]
    tails = trajectory[block.lanes.stops[carry.tail_dropped] - 1]
    dropped |= np.isin(trajectory, np.concatenate((heads, tails)))
    return dropped


def _output(steps: FloatArray, block: Block) -> OutputColumn:
    """float32 in row order; null where there is no step, or where its trajectory is left out."""
    placement = block.placement
    absent: BoolArray | None = block.dropped
    if block.is_step is not None:
        absent = ~block.is_step if absent is None else absent | ~block.is_step
    is_null = None
    if absent is not None or placement.order is not None:
        present = np.ones(block.num_steps, np.bool_) if absent is None else ~absent
        is_null = ~placement.to_rows(present, fill=False)
        is_null = is_null if is_null.any() else None
    with np.errstate(over="ignore"):
        values = placement.to_rows(steps.astype(OUTPUT_DTYPE, copy=False))
    return OutputColumn(values, is_null, block.list_offsets, block.null_lists)
