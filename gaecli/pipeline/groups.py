"""Groups for normalisation: which group each step is of, their moments, and the numbers after it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from enum import Enum
from typing import Literal

import numpy as np

from gaecli.estimators.normalization import NormConstants, NormRule, normalize, normalize_groups
from gaecli.moments import GroupedMoments, Moments
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.rollouts import FloatArray, IndexArray
from gaecli.settings import Settings


class Sharing(Enum):
    """Keys of groups that are no labels. A member stays itself where it is pickled; None is the label of a null."""

    LOCAL = "local"


#: Key of groups that are whole within one block.
LOCAL: Literal[Sharing.LOCAL] = Sharing.LOCAL


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
        indices, _ = block.trajectories()
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
        return {(): Moments.of(settled.measured(settled.advantages))}
    grouped = _grouped(settled, groups)
    return {key: grouped.group(index) for index, key in enumerate(groups.keys) if key is not LOCAL}


def _grouped(settled: Settled, groups: GroupKeys) -> GroupedMoments:
    return GroupedMoments.of(
        settled.measured(settled.advantages), settled.measured(groups.indices), len(groups.keys)
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
    local = [index for index, key in enumerate(groups.keys) if key is LOCAL]
    measured = rule.per_group(_grouped(settled, groups)) if local else []
    found = [measured[index] if key is LOCAL else constants[key] for index, key in enumerate(groups.keys)]
    whole = [found[index] for index in local if found[index].count]
    degenerate = sum(group.is_degenerate for group in whole)
    if settled.block.slots is not None:
        zeros[:-1] = normalize_groups(zeros[:-1], groups.indices, found)
    advantages = normalize_groups(settled.advantages, groups.indices, found)
    return Normalized(advantages, zeros, len(whole), degenerate)
