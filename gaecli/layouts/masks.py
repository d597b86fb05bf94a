"""Masks of token rollouts: which steps take part, and what is written where none does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.block_facts import MaskFacts
from gaecli.choices import MaskMode
from gaecli.columns import Roles
from gaecli.errors import UsageError
from gaecli.formats.base import Column
from gaecli.layouts.cells import Cells
from gaecli.layouts.evidence.lost_rewards import with_moved_rewards
from gaecli.records import dataclass
from gaecli.rollouts import Block, Labels, MaskedSlots, Placement
from gaecli.settings import Settings
from gaecli.shell_words import word


@dataclass(frozen=True)
class MaskRule:
    """`skip`: masked steps do not exist. `cut`: nor do they, and trajectories end before them.

    `zero`, `gated`: their reward and value are 0. `keep`: they count.

    The recursion may use a slot more than the mask says (`reach`, after the last kept one of a row), or
    the mask of the slot after each (`shift`).
    """

    mode: MaskMode
    reach: bool
    shift: bool
    #: Masked rows hold numbers.
    fills: bool
    #: A reward on a masked step is that of the kept step before it.
    moves_rewards: bool
    #: The reward of a masked step is 0, whatever else of it counts.
    drops_rewards: bool
    #: A masked step may stay where it is, so that trajectories can go on over the borders of blocks.
    is_in_place: bool = False

    @classmethod
    def of(cls, settings: Settings) -> MaskRule:
        convention = settings.convention
        return cls(
            settings.mask_mode or "skip",
            convention.mask_reach,
            convention.mask_shift,
            settings.mask_fill != "null",
            settings.masked_reward == "move",
            convention.masks_rewards,
        )

    def in_place(self, settings: Settings) -> MaskRule:
        """The rule where trajectories may lie in several blocks: units need no step taken out that counts in none."""
        if self.reach or self.shift or self.moves_any:
            return self
        is_zero = settings.mask_fill == "zero" and settings.convention.masked_returns == "zero"
        if settings.is_over_units and self.mode == "skip" and (not self.fills or is_zero):
            return replace(self, mode="zero", is_in_place=True)
        if (
            self.mode == "cut"
            and not self.fills
            and settings.on_nan == "error"
            and not settings.is_over_units
        ):
            return replace(self, is_in_place=True)
        is_gated = self.mode == "gated" and settings.estimator != "mc" and not settings.is_over_units
        return replace(self, is_in_place=is_gated or self.mode in ("zero", "keep"))

    @property
    def moves_any(self) -> bool:
        """Under `keep` a reward counts where it is, unless the preset drops it."""
        return self.moves_rewards and (self.mode != "keep" or self.drops_rewards)

    @property
    def ways_to_stay(self) -> str:
        """What to pass so that masked steps may stay where they are; no mode does so under some presets."""
        if self.reach or self.shift:
            return "give each trajectory as a row of lists, "
        return (
            "pass `--mask-mode zero` to count them as 0, `cut` to end trajectories before them (with "
            "`--mask-fill null`, `--on-nan error` and no `--unit`), "
        )

    @property
    def keeps_time(self) -> bool:
        """A masked step passes, so that its γ and λ count."""
        return self.mode not in ("skip", "cut")

    def shifted(self, mask: BoolArray, offsets: IndexArray) -> BoolArray:
        """The mask as the recursion and the statistics mean it; row i of the file is offsets[i:i+1]."""
        return _shift(mask, offsets) if self.shift else mask

    def used(self, mask: BoolArray, offsets: IndexArray) -> BoolArray:
        """[N] cells whose reward and value enter, so that they must be numbers."""
        if self.mode == "keep":
            return np.ones_like(mask)
        return _reach(mask, offsets) if self.reach else mask

    def zeroed(self, block: Block, mask: BoolArray) -> Block:
        """A block with steps of trajectories that may go on elsewhere."""
        return masked_steps(block, mask, np.ones_like(mask) if self.mode == "keep" else mask, self)


#: In a buffer of steps it says that no episode ended; beside token ids, which tokens count.
_TWO_MEANINGS = "masks"


def is_doubtful(roles: Roles) -> bool:
    """The column found for `not_done` may be the mask of a token rollout, and the user named neither."""
    name = roles.get("not_done")
    is_called_so = name is not None and name.rpartition(".")[2].lower() == _TWO_MEANINGS
    return is_called_so and "not_done" not in roles.explicit | roles.by_preset


def which_mask(name: str, path: Path) -> UsageError:
    return UsageError(
        f"`{name}` of `{path}` has two meanings in use: 0 where an episode ended (pytorch-a2c-ppo-acktr, MAPPO), "
        "or 0 for tokens that do not count",
        hint=f"pass `--not-done-column {word(name)}` or `--mask-column {word(name)}`; "
        "`--not-done-column none` if it is neither",
    )


def mask_facts(
    mask: BoolArray, offsets: IndexArray, ended: BoolArray | None, *, holds_many: bool
) -> MaskFacts:
    """`mask`: as the file has it; row i is offsets[i:i+1], and may hold several trajectories (`holds_many`).

    `ended`: what the flags of the file say, if it has any.
    """
    is_last = np.zeros(len(mask), np.bool_)
    is_last[offsets[1:][np.diff(offsets) > 0] - 1] = True
    followed = ~mask & ~is_last
    others = followed & ~np.append(mask[1:], True) if holds_many else followed
    if ended is not None:
        others |= ~mask & ~ended
    alone = ~mask if holds_many else ~mask & is_last
    return MaskFacts(*(int(np.count_nonzero(where)) for where in (alone, others, mask)))


def looks_like_ends(facts: Sequence[MaskFacts], roles: Roles, settings: Settings) -> bool:
    """A `mask` that nobody called one of tokens is 0 where a flag of episodes that go on would be."""
    name = roles.get("mask")
    is_said = "mask" in roles.explicit | roles.by_preset or settings.mask_mode is not None
    if name is None or name.rpartition(".")[2].lower() != "mask" or is_said:
        return False
    return sum(fact.at_ends for fact in facts) > 1 and not any(fact.others for fact in facts)


def masked_rows(
    columns: Mapping[str, Column], roles: Roles, rule: MaskRule, cells: Cells, *, keyed: Sequence[str] | None
) -> BoolArray | None:
    """The mask of a long table, in the order of its rows; None where it says nothing.

    `UsageError` for what needs to see trajectories whole: long tables are read in blocks. `keyed`: rows are items of
    lists, which have these columns, steps or ids of their own, that order and cut them.
    """
    name = roles.get("mask")
    if name is None:
        return None
    mask = cells.mask(columns[name], name)
    if mask.all():
        if rule.shift and roles.get("unit") is None:
            raise _leaves_out_the_last(name, cells.path)
        if rule.mode == "cut" and rule.is_in_place:  # the next block may begin with a gap
            return mask
        return None
    if rule.moves_any:
        raise UsageError(
            f"`--masked-reward move` needs trajectories as rows of lists or of arrays, and `{cells.path}` has a row "
            "per step",
            hint="move the rewards when the file is written, or pass `--masked-reward drop`",
        )
    if not rule.is_in_place:
        rows, where = (
            ("rows", "in a table with a row per step") if keyed is None else ("items", _among(keyed))
        )
        lead = ""
        if keyed is not None and list(keyed) == [roles.get("step")]:
            lead = f"pass `--step-column none` if `{keyed[0]}` only counts the items of each list, and "
            lead += "each list is one trajectory; else "
        raise UsageError(
            f"`{name}` of `{cells.path}` masks {int(np.count_nonzero(~mask)):,} {rows}, the first at "
            f"{cells.locate(int(np.argmin(mask)))}, and {where} they cannot be skipped",
            hint=f"{lead}{rule.ways_to_stay}leave the {rows} out of the file, or pass `--mask-column none` if they "
            f"are steps like all others; if 0 says that an episode ended, `--not-done-column {word(name)}`",
        )
    return mask


def _among(keyed: Sequence[str]) -> str:
    return f"in lists whose items {' and '.join(f'`{name}`' for name in keyed)} may order or cut"


def _leaves_out_the_last(name: str, path: Path) -> UsageError:
    return UsageError(
        f"`{name}` of `{path}` is that of the token after each row under this preset, so that the last row of each "
        "trajectory is no step, and in a table with a row per step it cannot be skipped",
        hint="give each trajectory as a row of lists, or pass `--mask-column none` if all rows are steps",
    )


def masked_steps(block: Block, mask: BoolArray, used: BoolArray, rule: MaskRule) -> Block:
    """The block under a mask of its steps; `used` as from `MaskRule.used`."""
    rewarded = mask if rule.drops_rewards else used
    if rule.moves_rewards:
        block = with_moved_rewards(block, mask, rewarded)
    if rule.mode == "cut" and rule.is_in_place:
        return _left_out(block, mask)
    if rule.mode == "cut":
        block = _ended_at_gaps(block, mask)
    if not rule.keeps_time:
        return _compressed(block, mask, rule)
    return replace(
        block,
        rewards=_zeroed_where_not(rewarded, block.rewards),
        values=_zeroed_where_not(used, block.values),
        masked=~mask,
    )


def _zeroed_where_not(used: BoolArray, numbers: Array) -> Array:
    return numbers if used.all() else np.where(used, numbers, numbers.dtype.type(0))


def _ended_at_gaps(block: Block, mask: BoolArray) -> Block:
    """A step that is kept and whose next one is not is the last of a trajectory, terminally."""
    from gaecli.layouts.units import ended_at_cuts

    before_gap = np.append(mask[:-1] & ~mask[1:], False)[: len(mask)] & ~block.cuts
    block = replace(
        block,
        cuts=block.cuts | before_gap,
        terminated=block.terminated | before_gap,
        truncated=block.truncated & ~before_gap,
    )
    return ended_at_cuts(block)


def _left_out(block: Block, mask: BoolArray) -> Block:
    """The same without a step taken out: those of gaps are no steps, and each of them ends what is before it."""
    lanes = block.lanes
    before_gap = np.append(mask[:-1] & ~mask[1:], False)[: len(mask)] & ~block.cuts
    before_gap[lanes.stops - 1] = False  # what is behind them is in other blocks
    # The next block may begin with a gap, which makes nothing of what stands here.
    last = lanes.stops - 1
    block = block.with_next_values_beside(lanes.open_ends & ~block.cuts[last] & mask[last])
    return replace(
        block,
        rewards=_zeroed_where_not(mask, block.rewards),
        values=_zeroed_where_not(mask, block.values),
        cuts=block.cuts | before_gap | ~mask,
        terminated=block.terminated | before_gap | ~mask,
        truncated=block.truncated & ~before_gap & mask,
        is_step=mask if block.is_step is None else block.is_step & mask,
        lanes=replace(
            block.lanes,
            first_padding=np.where(mask[lanes.starts], lanes.first_padding, 2).astype(np.int8),
            last_left_out=~mask[lanes.stops - 1],
        ),
    )


def _shift(mask: BoolArray, offsets: IndexArray) -> BoolArray:
    shifted = np.zeros_like(mask)
    shifted[:-1] = mask[1:]
    shifted[offsets[1:][np.diff(offsets) > 0] - 1] = False
    return shifted


def _reach(mask: BoolArray, offsets: IndexArray) -> BoolArray:
    """The mask and, in each row, the slot after the last one kept."""
    kept = np.flatnonzero(mask)
    rows = np.searchsorted(offsets, kept, side="right")
    last = kept[np.append(rows[1:] != rows[:-1], True)[: len(kept)]]
    following = last + 1
    reached = mask.copy()
    reached[following[following < offsets[np.searchsorted(offsets, last, side="right")]]] = True
    return reached


def _compressed(block: Block, mask: BoolArray, rule: MaskRule) -> Block:
    """Only the steps with mask 1; an end that is masked out moves to the kept step before it."""
    kept = np.flatnonzero(mask)
    trajectory = np.concatenate(([0], np.cumsum(block.cuts[:-1]))).astype(np.int64)[: block.num_steps]
    last_kept = np.concatenate((trajectory[kept][1:] != trajectory[kept][:-1], [True]))[: len(kept)]
    ends_terminated = _any_per_trajectory(block.terminated, trajectory)
    ends_truncated = _any_per_trajectory(block.truncated, trajectory)
    next_values, facts = None, block.facts
    if rule.mode == "cut" and not rule.shift:  # where a step follows another one, it did so before
        next_values = None if block.next_values is None else block.next_values[kept]
    elif block.next_values is not None or rule.shift:
        from gaecli.layouts.behind_masks import last_next_values, last_own_values

        if rule.shift:
            final = last_own_values(block, trajectory)[trajectory[kept]]
        else:
            final, count = last_next_values(block, trajectory, mask)
            final, facts = final[trajectory[kept]], replace(facts, masked_ends=count)
        own = _own_next_values(block, kept, last_kept, rule)
        next_values = np.where(last_kept & ~np.isnan(final), final, own)
    rows = block.placement.to_steps(np.arange(block.placement.num_rows, dtype=np.int64))
    return replace(
        block,
        rewards=block.rewards[kept],
        values=block.values[kept],
        terminated=last_kept & ends_terminated[trajectory[kept]],
        truncated=last_kept & ends_truncated[trajectory[kept]],
        cuts=last_kept,
        next_values=next_values,
        dropped=None if block.dropped is None else block.dropped[kept],
        labels={name: Labels(one.codes[kept], one.names) for name, one in block.labels.items()},
        extras={name: numbers[kept] for name, numbers in block.extras.items()},
        units=None if block.units is None else replace(block.units, numbers=block.units.numbers[kept]),
        missing_rewards=None if block.missing_rewards is None else block.missing_rewards[kept],
        slots=_slots(block.values, kept, trajectory, rows) if rule.fills else None,
        stream_ends=_compressed_ends(block, kept),
        facts=facts,
        placement=Placement(block.placement.num_rows, order=rows[kept]),
    )


def _own_next_values(block: Block, kept: IndexArray, last_kept: BoolArray, rule: MaskRule) -> FloatArray:
    """V' of kept steps from their own rows where the next kept one does not stand behind a gap; NaN elsewhere."""
    if block.next_values is None or rule.shift:
        return np.full(len(kept), np.nan)
    is_before_gap = np.append(np.diff(kept) > 1, False)[: len(kept)] & ~last_kept
    return np.where(is_before_gap, np.nan, block.next_values[kept])


def _slots(values: Array, kept: IndexArray, trajectory: IndexArray, rows: IndexArray) -> MaskedSlots:
    """What each row carries, as verl, NeMo-RL and AReaL do: the accumulator passes a masked slot unchanged."""
    following = np.searchsorted(kept, np.arange(len(values)))
    sources = _within(following, kept, trajectory)
    owners = np.where(sources < 0, _within(following - 1, kept, trajectory), -1)
    slots = MaskedSlots(np.empty_like(sources), np.empty_like(owners), np.empty_like(values))
    slots.sources[rows], slots.owners[rows], slots.values[rows] = sources, owners, values
    return slots


def _within(candidates: IndexArray, kept: IndexArray, trajectory: IndexArray) -> IndexArray:
    """[N] the candidate among the kept steps if it belongs to the same trajectory, else -1."""
    if not len(kept):
        return np.full(len(candidates), -1, np.int64)
    exists = (candidates >= 0) & (candidates < len(kept))
    steps = kept[np.where(exists, candidates, 0)]
    return np.where(exists & (trajectory[steps] == trajectory), candidates, -1)


def _compressed_ends(block: Block, kept: IndexArray) -> IndexArray | None:
    if block.stream_ends is None:
        return None
    stream = np.searchsorted(block.stream_ends, kept)
    return np.flatnonzero(stream[1:] != stream[:-1])


def _any_per_trajectory(flags: BoolArray, trajectory: Array) -> BoolArray:
    found = np.zeros(int(trajectory[-1]) + 1 if len(trajectory) else 0, np.bool_)
    found[trajectory[flags]] = True
    return found
