"""Running means: what each score of a group is compared with is made of those that came before it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from gaecli.array_types import Array, FloatArray, IndexArray
from gaecli.errors import DataError
from gaecli.estimators.normalization import NormRule
from gaecli.estimators.stages import Statistic
from gaecli.moments import GroupedMoments
from gaecli.pipeline.label_tables import KnownGroups, LabelTable, MomentTable, plain


def running_means(statistic: Statistic, table: MomentTable, rule: NormRule) -> KnownGroups:
    """`table` has the score of every trajectory, by its group and its place in the order.

    bₖ₊₁ = α bₖ + (1 - α) sₖ        b₀ = 0; sₖ is compared with bₖ
    """
    labels, moments = plain(table.labels.labels), table.moments
    width = statistic.ordered_by
    if (moments.sizes > 1).any():
        index = int(np.argmax(moments.sizes > 1))
        raise _no_order(labels[index], int(moments.sizes[index]), statistic)
    parts = list(zip(*labels, strict=True)) if labels else [()] * len(statistic.scope.columns)
    places = [
        _places(cells, name)
        for cells, name in zip(parts[-width:], statistic.scope.columns[-width:], strict=True)
    ]
    distinct: dict[Hashable, int] = {}
    roles = zip(*parts[:-width], strict=True)
    codes = np.array([distinct.setdefault(role, len(distinct)) for role in roles], np.int64)
    baselines = _before(codes, places, moments.means, statistic.decay)
    constants = replace(rule.of_groups(moments), centres=baselines)
    found = KnownGroups.all(table.labels, constants)
    padded = replace(constants.padded(), centres=np.append(baselines, np.nan))
    return replace(found, told=_told(list(distinct), codes, moments, rule), _padded=padded)


def check_found(numbers: FloatArray, statistic: Statistic) -> None:
    """`numbers`: of steps that have one, if the place of each is that of its trajectory."""
    if np.isnan(numbers).any():
        names = ", ".join(f"`{name}`" for name in statistic.scope.columns)
        raise DataError(
            f"{names} {'changes' if len(statistic.scope.columns) == 1 else 'change'} within one trajectory; "
            f"{int(np.isnan(numbers).sum()):,} steps are not where it ends",
            hint="a trajectory has one role and one place in the order: name other columns with `--group-column` and "
            "`--order-column`",
        )


def _before(codes: IndexArray, places: Sequence[Array], scores: FloatArray, decay: float) -> FloatArray:
    """[n] b of each; `codes` tell the groups, and earlier ones of `places` count before later ones."""
    order = np.lexsort((*reversed(places), codes))
    found = np.zeros(len(scores))
    running, group = 0.0, -1
    baselines = []
    for code, score in zip(codes[order].tolist(), scores[order].tolist(), strict=True):
        if code != group:
            running, group = 0.0, code
        baselines.append(running)
        running = decay * running + (1.0 - decay) * score
    found[order] = baselines
    return found


def _told(
    groups: Sequence[Hashable], codes: IndexArray, moments: GroupedMoments, rule: NormRule
) -> KnownGroups:
    """The groups themselves; that one has no spread says nothing here."""
    labels = LabelTable()
    labels.add(groups)
    constants = rule.of_groups(GroupedMoments.of(moments.means, codes, len(groups)))
    return KnownGroups.all(labels, replace(constants, are_degenerate=np.zeros(len(groups), np.bool_)))


def _places(cells: Sequence[Hashable], name: str) -> Array:
    found = np.array(cells)
    if found.dtype.kind in "iub" or (found.dtype.kind == "f" and not np.isnan(found).any()):
        return found
    odd = next((cell for cell in cells if not _is_place(cell)), None)
    if all(map(_is_place, cells)):  # whole numbers beyond 64 bits
        return np.array(cells, np.float64)
    what = "null or NaN" if odd is None or isinstance(odd, float) else f"{odd!r}, which is no number"
    raise DataError(
        f"`{name}` orders the trajectories of a role, and holds {what}",
        hint="name a column of numbers with `--order-column`, such as the training step and the number of "
        "the response in it",
    )


def _is_place(cell: Hashable) -> bool:
    return isinstance(cell, int | float) and not (isinstance(cell, float) and math.isnan(cell))


def _no_order(label: Hashable, count: int, statistic: Statistic) -> DataError:
    assert isinstance(label, tuple)
    where = ", ".join(f"{name} {value!r}" for name, value in zip(statistic.scope.columns, label, strict=True))
    return DataError(
        f"{count:,} trajectories of one role have one place in the order ({where}): which of them comes first "
        "decides their numbers",
        hint="name a second column that orders those with `--order-column`, given once more",
    )
