"""Apply: the final numbers of a block, in the order of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray
from gaecli.estimators.bootstrap import needs_bootstrap
from gaecli.formats.base import OutputColumn
from gaecli.moments import Moments
from gaecli.pipeline.block_stages import Staged
from gaecli.pipeline.column_builder import ColumnBuilder
from gaecli.pipeline.column_statistics import Tally
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.settle import Settled, is_real
from gaecli.records import dataclass
from gaecli.rollouts import Block, num_runs
from gaecli.settings import Settings
from gaecli.summary import BootstrapCounts, EpisodeCounts

if TYPE_CHECKING:
    from gaecli.pipeline.labels import LabelConstants


#: Two numbers so close, of the size of the values, are of one V.
_SAME_VALUE = 0.02


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
    #: Units of several steps, by ids and by flags at their last steps.
    units_by_id: int = 0
    units_by_end: int = 0
    #: Ends of other streams of rewards than the first for which 0 was taken as V.
    bare_ends: int = 0
    #: Next values inside trajectories that are not V of the next row, to an estimator that knows one V of each state.
    second_values: int = 0
    #: Rewards that are not 0 and, where they are those of the row before, of no step; of a block it may be below 0,
    #: if another one has them.
    unearned_rewards: int = 0
    local_groups: int = 0
    degenerate_groups: int = 0
    #: Trajectories that no reward function scored.
    unscored: int = 0
    #: The same, where they count as 0.
    scored_as_zero: int = 0
    #: Rows with a label, with a positive one, and with one whatever their advantage.
    labelled: int = 0
    positive: int = 0
    forced: int = 0
    #: Where success makes the rewards: episodes that succeeded, and the steps of the longest one of all inputs.
    successes: int = 0
    longest_episode: int = 0

    def merge(self, other: Totals) -> None:
        self.counts += other.counts
        self.bootstrapped += other.bootstrapped
        for name, tally in other.tallies.items():
            self.tallies[name] = self.tallies[name].merge(tally) if name in self.tallies else tally
        self.value_errors = self.value_errors.merge(other.value_errors)
        self.returns = self.returns.merge(other.returns)
        longest = max(self.longest_episode, other.longest_episode)
        for name in COUNTERS:
            if more := getattr(other, name):
                setattr(self, name, getattr(self, name) + more)
        self.longest_episode = longest


#: The fields of `Totals` that are plain numbers; all of them add up, but for `longest_episode`.
COUNTERS = tuple(name for name, kind in Totals.__annotations__.items() if kind == "int")


def finish_block(
    settled: Settled,
    written: Staged | None,
    settings: Settings,
    carry: Carry,
    constants: LabelConstants | None,
) -> tuple[dict[str, OutputColumn], Totals]:
    """Output columns in row order, and the block's share of the summary. `written`: normalised, if so."""
    has_advantages = "advantage" in settled.kind.outputs
    builder = ColumnBuilder(
        settled.block,
        settled.prepared.values if has_advantages else None,
        settings.mask_fill,
        settings.convention.masked_returns,
    )
    advantages = settled.advantages if written is None else written.advantages
    zeros = None if written is None else written.zeros
    names, columns = settings.output_items, {}
    if has_advantages:
        columns[settings.advantage_column] = builder.advantages(advantages, zeros)
    if "return" in names:
        columns[names["return"]] = builder.returns(settled.returns)
    for name, one in settled.streams.items():
        own = replace(builder, block=one.block, values=one.prepared.values if has_advantages else None)
        columns[names[f"return {name}"]] = own.returns(one.returns)
    if settings.raw_column is not None:
        raw = settled.advantages if written is None else written.raw
        columns[settings.raw_column] = builder.advantages(raw, None)
    totals = block_totals(settled, advantages, settings)
    if constants is not None:
        columns |= _labels_and_weights(builder, settled, advantages, carry, settings, constants, totals)
    if "terminal" in names:
        columns[names["terminal"]] = builder.cells(settled.block.cuts, settled.counts)
    return columns, totals


def _labels_and_weights(
    builder: ColumnBuilder,
    settled: Settled,
    advantages: FloatArray,
    carry: Carry,
    settings: Settings,
    constants: LabelConstants,
    totals: Totals,
) -> dict[str, OutputColumn]:
    """What is made of advantages as they are written; it is counted in `totals`."""
    from gaecli.pipeline.labels import label_column, weights_of

    names, columns = settings.output_items, {}
    labelling = settings.labelling
    if labelling is not None:
        columns[names["label"]], counts = label_column(
            builder, settled, advantages, labelling, constants, settings
        )
        totals.labelled, totals.positive, totals.forced = counts.labelled, counts.positive, counts.forced
    if "weight" in names:
        weights, present = weights_of(settled, advantages, carry, constants, settings)
        totals.tallies["weight"] = Tally.of(weights[present])
        columns[names["weight"]] = builder.numbers(weights, present)
    return columns


def block_totals(settled: Settled, advantages: FloatArray, settings: Settings) -> Totals:
    """What there is to tell of a block and of its numbers; `advantages` as they are written."""
    if settled.streams:
        return _totals_of_streams(settled, advantages, settings)
    block, counted = settled.block, settled.counted
    tallies = {"reward": Tally.of(counted(_earned(settled, settings)))}
    if block.has_values:
        tallies["value"] = Tally.of(counted(block.values))
    if "advantage" in settled.kind.outputs:
        tallies["advantage"] = Tally.of(counted(advantages))
    returns = Moments()
    if "return" in settled.kind.outputs:
        tallies["return"] = Tally.of(counted(settled.returns))
        returns = tallies["return"].moments
    return replace(
        reading_totals(settled, settings),
        tallies=tallies,
        value_errors=_value_errors(settled, advantages, tallies),
        returns=returns,
    )


def _totals_of_streams(settled: Settled, advantages: FloatArray, settings: Settings) -> Totals:
    """Numbers of each; what a value explains of the returns of one stream says nothing of another."""
    tallies = {}
    for what in ("reward", "value"):
        for name, one in settled.streams.items():
            if what == "reward" or one.block.has_values:
                numbers = _earned(one, settings) if what == "reward" else one.block.values
                tallies[f"{what} {name}"] = Tally.of(one.counted(numbers))
    if "advantage" in settled.kind.outputs:
        tallies["advantage"] = Tally.of(settled.counted(advantages))
    else:
        tallies["return"] = Tally.of(settled.counted(settled.returns))
    for name, one in settled.streams.items():
        tallies[f"return {name}"] = Tally.of(one.counted(one.returns))
    others = list(settled.streams.values())[1:]
    return replace(
        reading_totals(settled, settings),
        tallies=tallies,
        bare_ends=sum(bootstrap_counts(one.prepared, settings).zero for one in others),
    )


def _earned(settled: Settled, settings: Settings) -> Array:
    """[N] the rewards of the steps, as the file has them, but where it has them in the rows after."""
    return settled.prepared.rewards if settings.arrives else settled.block.rewards


def _value_errors(settled: Settled, advantages: FloatArray, tallies: Mapping[str, Tally]) -> Moments:
    """Of what the values leave unexplained of the returns; that is A where the return is A + V."""
    if not settled.block.has_values or "return" not in settled.kind.outputs:
        return Moments()
    if settled.has_own_returns:
        return Moments.of(settled.counted(settled.returns - settled.prepared.values))
    if advantages is settled.advantages:
        return tallies["advantage"].moments
    return Moments.of(settled.counted(settled.advantages))


def reading_totals(settled: Settled, settings: Settings) -> Totals:
    """What there is to tell of a block before any number of it."""
    block = settled.block
    dropped = block.dropped
    totals = Totals(
        counts=episode_counts(settled),
        bootstrapped=bootstrap_counts(settled.prepared, settings, settled.left_out),
        dropped_episodes=0 if dropped is None else int(np.count_nonzero(dropped & block.cuts)),
        dropped_steps=0 if dropped is None else int(np.count_nonzero(dropped)),
        unestimated_steps=_num_true(settled.counts, block) - _num_true(settled.estimated, block),
        unscored=_num_ends(settled.unscored, settled),
        scored_as_zero=_num_ends(settled.scored_as_zero, settled),
    )
    if settings.arrives:
        totals.unearned_rewards = _num_rewards(block) - _num_rewards(settled.prepared)
    _count_units(settled, totals)
    if settled.kind.has_one_value and block.units is None:
        totals.second_values = sum(
            _num_second_values(one.prepared) for one in settled.streams.values() or [settled]
        )
    return totals


@np.errstate(over="ignore", invalid="ignore")
def _num_second_values(prepared: Block) -> int:
    """But for what one critic, asked twice in half precision, says of the same state."""
    if prepared.next_values is None or prepared.num_steps < 2:
        return 0
    here, following = prepared.next_values[:-1].astype(np.float64), prepared.values[1:].astype(np.float64)
    inside = ~(prepared.cuts | prepared.terminated)
    if prepared.is_step is not None:
        inside[:-1] &= prepared.is_step[:-1] & prepared.is_step[1:]
    inside[prepared.lanes.stops - 1] = False
    scale = np.maximum(np.abs(following), np.sqrt(np.square(following).mean()))
    return int(np.count_nonzero(inside[:-1] & (np.abs(here - following) > _SAME_VALUE * scale)))


def _num_rewards(block: Block) -> int:
    """That are not 0, of episodes that are kept."""
    counted = block.rewards != 0
    return int(np.count_nonzero(counted if block.dropped is None else counted & ~block.dropped))


def _num_ends(flags: BoolArray | None, settled: Settled) -> int:
    """Of trajectories whose steps are flagged."""
    return 0 if flags is None else int(np.count_nonzero(flags & settled.prepared.cuts))


def _count_units(settled: Settled, totals: Totals) -> None:
    block = settled.block
    if block.units is None:
        return
    units = settled.counted(block.units.numbers)
    count = num_runs(units)
    if settled.open_units is not None:
        count -= int(np.count_nonzero(np.isin(settled.open_units, units)))
    if block.units.reading == "end":
        totals.units_by_end = count
    else:
        totals.units_by_id = count


def _num_true(flags: BoolArray | None, block: Block) -> int:
    return block.num_steps if flags is None else int(np.count_nonzero(flags))


def episode_counts(settled: Settled) -> EpisodeCounts:
    block = settled.block
    real = is_real(block)
    is_end = block.cuts if real is None else block.cuts & real
    ends = np.flatnonzero(is_end if settled.left_out is None else is_end & ~settled.left_out)
    terminated = int(np.count_nonzero(block.terminated[ends]))
    truncated = int(np.count_nonzero(block.truncated[ends]))
    steps = _num_true(settled.counts, block)
    return EpisodeCounts(steps, len(ends), terminated, truncated, len(ends) - terminated - truncated)


def bootstrap_counts(
    prepared: Block, settings: Settings, left_out: BoolArray | None = None
) -> BootstrapCounts:
    """Ends that needed a value, by source: what the file gave, and what a rule put in its place.

    `left_out`: of steps of trajectories that do not count.
    """
    needs_value, needs_any = needs_bootstrap(prepared), prepared.cuts & ~prepared.terminated
    real = is_real(prepared)
    if real is not None:
        needs_any &= real
    if left_out is not None:
        needs_value, needs_any = needs_value & ~left_out, needs_any & ~left_out
    bare, ends = int(np.count_nonzero(needs_value)), np.flatnonzero(needs_any)
    filled = int(np.count_nonzero(prepared.filled[ends])) if prepared.filled is not None else 0
    given = len(ends) - bare - filled
    if settings.bootstrap == "current":
        return BootstrapCounts(next_value=given, current=bare + filled)
    return BootstrapCounts(next_value=given, current=filled, zero=bare)
