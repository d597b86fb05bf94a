"""Groups: which one each step is of, their moments, and what the stages make of the scores of a block.

A plain normalisation is such a stage, with the advantages for scores: of one group, by a column, or by episodes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray, Names
from gaecli.estimators.normalization import GroupConstants, NormConstants
from gaecli.estimators.stages import BEFORE, Component, Scaling, ScoreStage, Statistic, stages_of
from gaecli.moments import GroupedMoments
from gaecli.pipeline.blocks import Measured
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.label_tables import Constants, KnownGroups, MomentTable, plain
from gaecli.pipeline.opening import FilePlace
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.settings import Settings


@dataclass(frozen=True, eq=False)
class GroupKeys:
    """Groups of one block: index per step, and a label per index that other blocks know."""

    #: None: all steps are in the one group that there is.
    indices: IndexArray | None
    labels: Names
    #: Of each label, that no other block shares the group. None: any may.
    are_local: BoolArray | None = None

    def of_steps(self, numbers: Array) -> Array:
        """[N] from a number per label; one number where there is one group."""
        return numbers[0] if self.indices is None else numbers[self.indices]


@dataclass(frozen=True, eq=False)
class Staged:
    """The numbers of a block after stages."""

    advantages: FloatArray
    #: Before the last of them.
    raw: FloatArray
    #: [N + 1] what becomes of 0 in the group of each step; at the end, in a trajectory without steps.
    #: Empty where every row is a step.
    zeros: FloatArray
    #: Groups that are whole in this block, and those of them without variance.
    num_local: int = 0
    num_degenerate: int = 0


class StageTerm(NamedTuple):
    """What one component of a stage makes of the score of one step: weight · (score - mean) · scale."""

    stage: int
    score_name: str
    #: What is compared: rows with equal values in these columns, or all of a file, of an episode, or of the run.
    scope: str
    #: Of the rows that this one is compared with, and what they have in common.
    label: Hashable
    group: NormConstants
    score: float
    scale: float
    weight: float
    contribution: float


class BlockStages:
    """The stages of the settings, over the scores of one block."""

    def __init__(self, settled: Settled, carry: Carry, settings: Settings, place: FilePlace) -> None:
        self.settled = settled
        self.stages = stages_of(settings)
        self._carry, self._place = carry, place
        self._keys: dict[object, GroupKeys] = {}
        num_zeros = 0 if settled.block.slots is None else len(settled.advantages) + 1
        self._now = Staged(settled.advantages, settled.advantages, np.zeros(num_zeros))

    def measured(self, constants: Constants) -> dict[Statistic, Measured]:
        """Moments of what the next stage compares, once those before it have done their work."""
        self.applied(constants)
        stage = self.stages[len(constants)]
        statistics = dict.fromkeys(scaling.statistic for scaling in stage.scalings)
        return {statistic: self._measure(statistic) for statistic in statistics}

    def applied(self, constants: Constants) -> Staged:
        """What the stages give whose constants are known."""
        for stage, known in zip(self.stages, constants, strict=False):
            self._now = self._after(stage, known)
        if self.settled.unscored is None or len(constants) < len(self.stages):
            return self._now
        advantages = np.where(self.settled.unscored, 0.0, self._now.advantages)
        return replace(self._now, advantages=advantages)

    def terms(self, constants: Constants, step: int) -> list[StageTerm]:
        """What all stages add up to at one step, component by component."""
        found = []
        for number, (stage, known) in enumerate(zip(self.stages, constants, strict=True)):
            for component in stage.components:
                scope = component.centre.statistic.scope
                label, group = self._group_at(component.centre, known[component.centre], step)
                score = float(self._score(component.score)[step])
                made = float(self._made_of(component, known)[step])
                found.append(
                    StageTerm(
                        number,
                        component.score,
                        ", ".join(scope.columns) or scope.within,
                        label,
                        group,
                        score,
                        made / component.weight / (score - group.centre) if made else 0.0,
                        component.weight,
                        made,
                    )
                )
            self._now = self._after(stage, known)
        return found

    def _group_at(self, scaling: Scaling, known: KnownGroups, step: int) -> tuple[Hashable, NormConstants]:
        """The group of one step, by its label and with all that is known of it."""
        statistic = scaling.statistic
        keys = self._keys_of(statistic.scope.columns, statistic.scope.within)
        index = 0 if keys.indices is None else int(keys.indices[step])
        (label,) = plain(keys.labels[index : index + 1])
        if keys.are_local is None or not keys.are_local[index]:
            return label, known.group(label)
        return label, scaling.rule.constants(self._moments(statistic, keys).group(index))

    def _made_of(self, component: Component, known: Mapping[Scaling, KnownGroups]) -> FloatArray:
        return self._after(ScoreStage([component]), known).advantages

    def _after(self, stage: ScoreStage, known: Mapping[Scaling, KnownGroups]) -> Staged:
        now = self._now
        num_local, num_degenerate = 0, 0
        total: FloatArray | None = None
        zeros = now.zeros
        for component in stage.components:
            rule = component.centre.rule
            keys, groups, local = self._groups_of(component.centre, known)
            means, scales = keys.of_steps(groups.centres), keys.of_steps(groups.scales)
            if component.spread is not None:
                spread, others, _ = self._groups_of(component.spread, known)
                scales = scales * spread.of_steps(others.scales)
            with np.errstate(over="ignore", invalid="ignore"):
                moved = (self._score(component.score) - means) * scales
                if rule.scale == "std of others":
                    theirs = (keys.of_steps(column) for column in (groups.counts, groups.means, groups.m2s))
                    moved = rule.beside_others(moved, *theirs)
                elif rule.scale == "running":
                    from gaecli.pipeline.running_means import check_found

                    check_found(self.settled.counted(moved), component.centre.statistic)
                elif rule.scale == "second":
                    moved = np.maximum(moved, 0.0)
            if component.weight != 1.0:
                moved *= component.weight
            if len(stage.components) > 1 and _has_gaps(moved, self.settled):
                moved = np.where(
                    np.isnan(moved), 0.0, moved
                )  # a score that a row has not takes no part in its sum
            total = moved if total is None else total + moved
            if local is not None:
                num_local += int(np.count_nonzero(local.counts))
                num_degenerate += int(np.count_nonzero(local.are_degenerate & (local.counts > 0)))
            if not stage.is_baseline and len(zeros):
                at_zero = np.broadcast_to(-means * scales, len(zeros) - 1)
                # A single group is also that of trajectories without steps.
                zeros = np.append(at_zero, -means * scales if np.ndim(means) == 0 else 0.0)
        assert total is not None
        return Staged(
            total, now.advantages, zeros, now.num_local + num_local, now.num_degenerate + num_degenerate
        )

    def _groups_of(
        self, scaling: Scaling, known: Mapping[Scaling, KnownGroups]
    ) -> tuple[GroupKeys, GroupConstants, GroupConstants | None]:
        """(the groups of the steps, what is known of each, and of those that are whole in the block)."""
        statistic = scaling.statistic
        keys = self._keys_of(statistic.scope.columns, statistic.scope.within)
        if keys.are_local is None or not keys.are_local.any():
            return keys, known[scaling].of(keys.labels, scaling.rule), None
        local = scaling.rule.of_groups(self._moments(statistic, keys).only(keys.are_local))
        shared = np.flatnonzero(~keys.are_local)
        if not len(shared):
            return keys, local, local
        theirs = known[scaling].of([keys.labels[index] for index in shared.tolist()], scaling.rule)
        return keys, local.with_others(shared, theirs), local

    def _measure(self, statistic: Statistic) -> Measured:
        scope = statistic.scope
        keys = self._keys_of(tuple(dict.fromkeys((*scope.columns, *statistic.one_by))), scope.within)
        if statistic.one_by and scope.within == "file":
            keys = replace(keys, labels=[(tuple(self._place), *label) for label in plain(keys.labels)])  # type: ignore[misc]
        moments = self._moments(statistic, keys)
        kept = moments.sizes > 0  # a group of no weight is one all the same
        if keys.are_local is not None:
            kept &= ~keys.are_local
        if kept.all():
            return Measured(keys.labels, moments)
        rows = np.flatnonzero(kept)
        labels = keys.labels
        chosen = labels[rows] if isinstance(labels, np.ndarray) else [labels[row] for row in rows.tolist()]
        return Measured(chosen, moments.take(rows))

    def _moments(self, statistic: Statistic, keys: GroupKeys) -> GroupedMoments:
        score, entering = self._score(statistic.score), self._entering(statistic)
        weights = None if statistic.weight is None else self._score(statistic.weight)

        def chosen(numbers: Array) -> Array:
            return numbers if entering is None else numbers[entering]

        weighing = None if weights is None else chosen(weights)
        if keys.indices is None:
            return GroupedMoments.of_all(chosen(score), weighing, with_largest=statistic.with_largest)
        return GroupedMoments.of(
            chosen(score),
            chosen(keys.indices),
            len(keys.labels),
            weighing,
            with_largest=statistic.with_largest,
        )

    def _entering(self, statistic: Statistic) -> BoolArray | None:
        """The steps that are looked at; None: all."""
        entering = self.settled.entering(statistic.unit)
        if entering is not None and entering.all():
            entering = None  # every row is a response: nothing has to be copied
        score = self._score(statistic.score)
        if not _has_gaps(score, self.settled):
            return entering
        has: BoolArray = ~np.isnan(score)
        return has if entering is None else entering & has

    def _score(self, name: str) -> FloatArray:
        return self._now.advantages if name == BEFORE else self.settled.scores[name]

    def _keys_of(self, columns: tuple[str, ...], within: str) -> GroupKeys:
        found = self._keys.get((columns, within))
        if found is None:
            block = self.settled.block
            if columns:
                found = by_columns(block, columns)
            elif within == "episode":
                found = _by_episode(block, self._carry, self._place.stream)
            else:
                label: Hashable = tuple(self._place) if within == "file" else ()
                found = GroupKeys(None, [label])
            self._keys[columns, within] = found
        return found


def _has_gaps(score: FloatArray, settled: Settled) -> bool:
    """A row may have no score; that other numbers are none is an error."""
    with np.errstate(over="ignore", invalid="ignore"):
        return settled.kind.is_scored and bool(np.isnan(score.sum()))


def by_columns(block: Block, columns: tuple[str, ...]) -> GroupKeys:
    first, *others = (block.labels[name] for name in columns)
    codes, labels = first.codes, first.names
    if not others:
        return GroupKeys(codes, labels)
    parts = [np.arange(len(labels))]
    for other in others:
        together, found = np.unique(codes * max(len(other.names), 1) + other.codes, return_inverse=True)
        mine, theirs = np.divmod(together, max(len(other.names), 1))
        parts = [*(part[mine] for part in parts), theirs]
        codes = found.reshape(-1).astype(np.int64)
    named = [
        [names[index] for index in part.tolist()]
        for names, part in zip(
            (plain(first.names), *(plain(other.names) for other in others)), parts, strict=True
        )
    ]
    return GroupKeys(codes, list(zip(*named, strict=True)))


def _by_episode(block: Block, carry: Carry, stream: int) -> GroupKeys:
    indices, last = block.trajectories()
    labels: list[Hashable] = [None] * len(last)
    for chains, steps in (
        (carry.head_chains, block.lanes.starts),
        (carry.tail_chains, block.lanes.stops - 1),
    ):
        for lane in np.flatnonzero(chains >= 0).tolist():
            labels[indices[steps[lane]]] = (stream, int(chains[lane]))
    return GroupKeys(indices, labels, np.array([label is None for label in labels], np.bool_))


class StageTables:
    """Moments of one stage, merged in the order of the blocks, and then of the streams."""

    def __init__(self, stage: ScoreStage) -> None:
        self.stage = stage
        self.tables: dict[Statistic, MomentTable] = {}
        #: Every block that came by was measured.
        self.is_complete = True

    def add_or_give_up(self, found: Mapping[Statistic, Measured] | None) -> None:
        if found is None:
            self.is_complete = False
            self.tables.clear()
        else:
            self.add(found)

    def add(self, found: Mapping[Statistic, Measured]) -> None:
        for statistic, measured in found.items():
            table = self.tables.setdefault(statistic, MomentTable())
            table.merge(measured.labels, measured.moments)

    def merge(self, other: StageTables) -> None:
        for statistic, table in other.tables.items():
            self.tables.setdefault(statistic, MomentTable()).merge_table(table)

    def constants(self) -> dict[Scaling, KnownGroups]:
        by_statistic = {
            statistic: _reduced(statistic, self.tables.get(statistic, MomentTable()))
            for statistic in dict.fromkeys(scaling.statistic for scaling in self.stage.scalings)
        }
        return {scaling: _known(by_statistic[scaling.statistic], scaling) for scaling in self.stage.scalings}


def _known(table: MomentTable, scaling: Scaling) -> KnownGroups:
    rule = scaling.rule
    if scaling.statistic.ordered_by:
        from gaecli.pipeline.running_means import running_means

        return running_means(scaling.statistic, table, rule)
    moments = table.moments
    num_weightless = int(np.count_nonzero((moments.counts == 0) & (moments.sizes > 1)))
    return KnownGroups.all(table.labels, rule.of_groups(moments), num_weightless)


def _reduced(statistic: Statistic, table: MomentTable) -> MomentTable:
    """Moments over rows that are one by some columns, from those of each such row."""
    if not statistic.one_by:
        return table
    from gaecli.pipeline.samples import whole_rollouts

    return whole_rollouts(statistic, table)


def merged_tables(stage: ScoreStage, parts: Iterable[StageTables]) -> StageTables:
    total = StageTables(stage)
    for part in parts:
        total.merge(part)
    return total
