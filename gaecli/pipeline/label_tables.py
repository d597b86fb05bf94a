"""Moments and constants of groups by label: columns with a row for each group, of which there may be a million."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import field

import numpy as np

from gaecli.array_types import IndexArray, Names
from gaecli.estimators.normalization import GroupConstants, NormConstants, NormRule
from gaecli.estimators.stages import Scaling
from gaecli.moments import GroupedMoments
from gaecli.records import dataclass

#: Integers whose range is no more than so many times as large as there are of them are looked up by place.
_CLOSE = 4


class LabelTable:
    """A number for every label, in the order in which they come; integers as they are, without an object for each."""

    def __init__(self) -> None:
        self._known: dict[Hashable, int] = {}
        self._sorted = np.zeros(0, np.int64)
        self._rows = np.zeros(0, np.int64)
        #: By label less the first of them, where integers lie close enough together.
        self._slots: IndexArray | None = None
        self.count = 0
        #: The first few as they are, to be told.
        self.shown: list[Hashable] = []

    @property
    def labels(self) -> Names:
        """All of them, in order."""
        return list(self._known) if self._known else self._sorted[np.argsort(self._rows)]

    def add(self, labels: Names) -> IndexArray:
        """The number of each, which are distinct; new ones get theirs."""
        before = self.count
        if isinstance(labels, np.ndarray) and not self._known:
            found = self._find(labels)
            new = found < 0
            found[new] = np.arange(before, before + int(np.count_nonzero(new)))
            self._enter(labels[new], found[new])
        else:
            self._give_up_integers()
            known, wanted = self._known, plain(labels)
            fresh = [label for label in wanted if label not in known]
            known.update(zip(fresh, range(before, before + len(fresh)), strict=True))
            found = np.fromiter(map(known.__getitem__, wanted), np.int64, len(wanted))
            self.count = len(known)
        if len(self.shown) < MOST_SHOWN:
            self._show(labels, np.flatnonzero(found >= before))
        return found

    def _show(self, labels: Names, new: IndexArray) -> None:
        for index in new[: MOST_SHOWN - len(self.shown)].tolist():
            self.shown += plain(labels[index : index + 1])

    def find(self, labels: Names) -> IndexArray:
        """The number of each; -1 of those that are not there."""
        if isinstance(labels, np.ndarray) and not self._known:
            return self._find(labels)
        self._give_up_integers()
        wanted = plain(labels)
        try:
            return np.fromiter(map(self._known.__getitem__, wanted), np.int64, len(wanted))
        except KeyError:
            return np.fromiter((self._known.get(label, -1) for label in wanted), np.int64, len(wanted))

    def _find(self, labels: IndexArray) -> IndexArray:
        if not len(self._sorted):
            return np.full(len(labels), -1, np.int64)
        if self._slots is not None:
            places = labels - self._sorted[0]
            is_within = (places >= 0) & (places < len(self._slots))
            found: IndexArray = self._slots[np.where(is_within, places, 0)]
            return found if is_within.all() else np.where(is_within, found, -1)
        places = np.minimum(np.searchsorted(self._sorted, labels), len(self._sorted) - 1)
        return np.where(self._sorted[places] == labels, self._rows[places], -1)

    def _enter(self, labels: IndexArray, rows: IndexArray) -> None:
        if not len(labels):
            return
        goes_on = not len(self._sorted) or labels[0] > self._sorted[-1]
        self._sorted, self._rows = np.append(self._sorted, labels), np.append(self._rows, rows)
        if not (goes_on and bool((labels[1:] > labels[:-1]).all())):
            order = np.argsort(self._sorted, kind="stable")
            self._sorted, self._rows, self._slots = self._sorted[order], self._rows[order], None
        self.count += len(labels)
        low, high = int(self._sorted[0]), int(self._sorted[-1])
        if high - low >= _CLOSE * self.count:
            self._slots = None
        elif self._slots is None:
            self._slots = np.full(high - low + 1, -1, np.int64)
            self._slots[self._sorted - low] = self._rows
        else:
            self._slots = np.append(self._slots, np.full(high - low + 1 - len(self._slots), -1, np.int64))
            self._slots[labels - low] = rows

    def _give_up_integers(self) -> None:
        """Some block has a label that is none, such as null."""
        if len(self._sorted):
            self._known = {
                label: row for row, label in enumerate(self._sorted[np.argsort(self._rows)].tolist())
            }
            self._sorted, self._rows = np.zeros(0, np.int64), np.zeros(0, np.int64)


#: As many as any summary or provenance names.
MOST_SHOWN = 64


def plain(labels: Names) -> Sequence[Hashable]:
    found: Sequence[Hashable] = labels.tolist() if isinstance(labels, np.ndarray) else labels
    return found


@dataclass(eq=False)
class MomentTable:
    """Moments of groups, merged in the order of the blocks."""

    labels: LabelTable = field(default_factory=LabelTable)
    _room: GroupedMoments = field(default_factory=lambda: GroupedMoments.nothing(0))

    def merge(self, labels: Names, found: GroupedMoments) -> None:
        """Of distinct labels."""
        rows = self.labels.add(labels)
        have, want = len(self._room.counts), self.labels.count
        if want > have:
            self._room = self._room.padded(max(want, 2 * have))
        if found.members is not None:
            self._room = self._room.weighted()
        if found.largest is not None:
            self._room = self._room.ranked()
        self._room.put(rows, self._room.take(rows).merge(found))

    def merge_table(self, other: MomentTable) -> None:
        self.merge(other.labels.labels, other.moments)

    @property
    def moments(self) -> GroupedMoments:
        return self._room.take(slice(self.labels.count))


@dataclass(frozen=True, eq=False)
class KnownGroups:
    """What becomes of scores by the label of their group."""

    labels: LabelTable
    constants: GroupConstants
    #: With a group of none at the end, where an index of -1 finds it: nothing was measured of some.
    _padded: GroupConstants
    #: Those of several members that weigh nothing, so that they have no mean.
    num_weightless: int = 0
    #: The groups that people are told of, where those are others.
    told: KnownGroups | None = None

    @classmethod
    def all(cls, labels: LabelTable, constants: GroupConstants, num_weightless: int = 0) -> KnownGroups:
        return cls(labels, constants, constants.padded(), num_weightless)

    def group(self, label: Hashable) -> NormConstants:
        """All that is known of one; of a group that nothing was measured of, a group of none."""
        return self._padded.group(int(self.labels.find([label])[0]))

    def of(self, labels: Names, rule: NormRule) -> GroupConstants:
        """Of each; but for means and scales only what the rule needs."""
        rows = self.labels.find(labels)
        if rule.scale == "std of others":
            return self._padded.take(rows)
        return self._padded.take_maps(rows)


#: Of every stage that was measured, in order.
Constants = Sequence[Mapping[Scaling, KnownGroups]]
