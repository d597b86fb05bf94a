"""A line of numbers for each trajectory of a stream, however long it is, and which of them are worth a look.

Blocks come by in order; what is known of a trajectory that goes on in a later one waits for it. Once there are too
many lines, those are kept that no choice at the end could do without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum

import numpy as np

from gaecli.array_types import BoolArray, FloatArray, IndexArray
from gaecli.pipeline.column_statistics import Tally
from gaecli.records import dataclass

#: Lines that are kept before they are gone through.
MOST_LINES = 1 << 18
#: Of trajectories spread evenly: what is usual is told by them.
MOST_USUAL = 20_000
#: Normal numbers have their quartiles at 0.6745 standard deviations from the mean.
_DEVIATION_OF_QUARTILES = 1.349
_GOLDEN = 0.6180339887498949


class Of(IntEnum):
    """The columns of a line. Of two parts of a trajectory: the first one's, sums, largest, the last one's."""

    NUMBER = 0
    FILE = 1
    #: Counted over all files.
    ROW = 2
    POSITIONS = 3
    STEPS = 4
    REWARD = 5
    VALUE = 6
    SQUARED_ERROR = 7
    ADVANTAGE = 8
    DELTA = 9
    END = 10
    SOURCE = 11
    BOOTSTRAP = 12
    GROUP = 13


_SUMS = slice(Of.POSITIONS, Of.ADVANTAGE)
_LARGEST = slice(Of.ADVANTAGE, Of.END)
_LAST = slice(Of.END, len(Of))


def joined_lines(first: FloatArray, second: FloatArray) -> FloatArray:
    """Of one trajectory."""
    line = first.copy()
    line[_SUMS] += second[_SUMS]
    line[_LARGEST] = np.fmax(first[_LARGEST], second[_LARGEST])
    line[_LAST] = second[_LAST]
    return line


#: What makes a trajectory stand out, as a number of its line. NaN where there is nothing of the kind.
MEASURES: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "steps": lambda lines: lines[:, Of.STEPS],
    "sum of rewards": lambda lines: lines[:, Of.REWARD],
    "largest |advantage|": lambda lines: lines[:, Of.ADVANTAGE],
    "value error": lambda lines: value_errors(lines),
    "largest |δ|": lambda lines: lines[:, Of.DELTA],
}

#: Of all trajectories that are shown about so many of hundred, in this order: (name, measure, the most or the least).
_CHOICES: Sequence[tuple[str, str, int]] = (
    ("lowest sum of rewards", "sum of rewards", -1),
    ("highest sum of rewards", "sum of rewards", 1),
    ("longest", "steps", 1),
    ("largest |advantage|", "largest |advantage|", 1),
    ("largest value error", "value error", 1),
)
_SHARE, _SHARE_OF_STRANGE = 0.1, 0.3
_STRANGEST, _OF_GROUPS, _EVENLY = "strangest", "of groups that are shown", "spread evenly"


def value_errors(lines: FloatArray) -> FloatArray:
    """Root mean square of R - V."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: FloatArray = np.sqrt(lines[:, Of.SQUARED_ERROR] / lines[:, Of.STEPS])
    return found


@dataclass(frozen=True, eq=False)
class Chosen:
    """Lines of the trajectories to look at, the strangest first; [E] each."""

    lines: FloatArray
    strangeness: FloatArray
    #: Which measure that is, as an index into `MEASURES`, and the median of each measure.
    strangest: IndexArray
    medians: FloatArray
    #: What they were chosen as.
    reasons: Sequence[Sequence[str]]
    #: The same of all of them, for people.
    how: str


class EpisodeTable:
    """Takes the trajectories of one block after the other."""

    def __init__(self) -> None:
        self.num_episodes = 0
        #: Numbers of trajectories that are to be chosen, whatever they are like.
        self.wanted: set[int] = set()
        self.lengths, self.total_rewards = Tally(), Tally()
        self._kept = np.zeros((0, len(Of)))
        self._new: list[FloatArray] = []
        self._num_new = 0
        self._open: dict[int, FloatArray] = {}

    def add(self, lines: FloatArray, comes_in: BoolArray, goes_on: BoolArray) -> None:
        """[T] trajectories of a block, or what it has of them."""
        whole = lines[~(comes_in | goes_on)]
        finished = []
        for index in np.flatnonzero(comes_in | goes_on).tolist():
            line = lines[index]
            if comes_in[index]:
                line = joined_lines(self._open.pop(int(line[Of.NUMBER])), line)
            if goes_on[index]:
                self._open[int(line[Of.NUMBER])] = line
            else:
                finished.append(line)
        self._enter(np.stack([*finished]) if finished else whole[:0])
        self._enter(whole)

    def _enter(self, lines: FloatArray) -> None:
        lines = lines[lines[:, Of.STEPS] > 0]
        if not len(lines):
            return
        self.num_episodes += len(lines)
        self.lengths = self.lengths.merge(Tally.of(lines[:, Of.STEPS]))
        self.total_rewards = self.total_rewards.merge(Tally.of(lines[:, Of.REWARD]))
        self._new.append(lines)
        self._num_new += len(lines)
        if self._num_new > MOST_LINES:
            self._thin(_most_of_each())

    def _thin(self, most: int) -> None:
        lines = self.lines()
        keep = np.zeros(len(lines), np.bool_)
        keep[_evenly(lines, MOST_USUAL)] = True
        keep[self._wanted(lines)] = True
        for measure in MEASURES.values():
            numbers = measure(lines)
            for sign in (-1, 1):
                keep[_extreme(numbers, sign, most)] = True
        self._kept, self._new, self._num_new = lines[keep], [], 0

    def lines(self) -> FloatArray:
        """Of all trajectories that may be chosen."""
        return np.concatenate([self._kept, *self._new])

    def _wanted(self, lines: FloatArray) -> IndexArray:
        return np.flatnonzero(np.isin(lines[:, Of.NUMBER], list(self.wanted))).astype(np.int64)

    def chosen(self, count: int, groups: IndexArray | None = None) -> Chosen:
        """`groups`: those that are shown as well."""
        lines = self.lines()
        strangeness, strangest, medians = _strangeness(lines)
        reasons: dict[int, list[str]] = {}
        told: list[str] = []

        def choose(name: str, found: IndexArray, most: int) -> None:
            number = 0
            for index in found.tolist():
                if number >= most or (index not in reasons and len(reasons) >= count):
                    break
                reasons.setdefault(index, []).append(name)
                number += 1
            if number:
                told.append(f"{number:,} {name}")

        choose("with findings", self._wanted(lines), count)
        is_all = len(lines) <= count
        share, of_strange = max(1, int(count * _SHARE)), max(1, int(count * _SHARE_OF_STRANGE))
        choose(_STRANGEST, _extreme(strangeness, 1, of_strange), of_strange)
        for name, measure, sign in _CHOICES:
            choose(name, _extreme(MEASURES[measure](lines), sign, share), share)
        spread = _evenly(lines, len(lines))
        unseen = spread[~np.isin(spread, list(reasons))]
        if groups is not None and not is_all:
            left = (count - len(reasons)) // 2
            choose(_OF_GROUPS, unseen[np.isin(lines[unseen, Of.GROUP], groups)], left)
            unseen = unseen[~np.isin(unseen, list(reasons))]
        choose(_EVENLY, unseen, count)
        indices = np.array(
            sorted(reasons, key=lambda one: (-strangeness[one], lines[one, Of.NUMBER])), np.int64
        )
        how = "all of them" if is_all else ", ".join(told)
        return Chosen(
            lines[indices],
            strangeness[indices],
            strangest[indices],
            medians,
            [reasons[index] for index in indices.tolist()],
            how,
        )


def _most_of_each() -> int:
    return MOST_LINES // (4 * len(MEASURES))


def _evenly(lines: FloatArray, count: int) -> IndexArray:
    """Multiples of the golden ratio fall evenly between 0 and 1; the smallest are the same ones at any time."""
    keys = np.modf(lines[:, Of.NUMBER] * _GOLDEN)[0]
    found: IndexArray = np.argsort(keys, kind="stable")[:count]
    return found


def _extreme(numbers: FloatArray, sign: int, count: int) -> IndexArray:
    """The `count` largest (of sign -1 the smallest), the first one first; none that is no number."""
    known = np.flatnonzero(~np.isnan(numbers))
    order = np.argsort(-sign * numbers[known], kind="stable")[:count]
    found: IndexArray = known[order]
    return found


def _strangeness(lines: FloatArray) -> tuple[FloatArray, IndexArray, FloatArray]:
    """(by how many standard deviations the strangest measure is off, which one that is, [M] medians).

    From the median, and by quartiles: what is far off does not make itself usual.
    """
    usual = _evenly(lines, MOST_USUAL)
    far = np.zeros((len(MEASURES), len(lines)))
    medians = np.full(len(MEASURES), np.nan)
    for index, measure in enumerate(MEASURES.values()):
        numbers = measure(lines)
        known = np.sort(numbers[usual][np.isfinite(numbers[usual])])
        if not len(known):
            continue
        quarter, median, three_quarters = (
            known[int(share * (len(known) - 1))] for share in (0.25, 0.5, 0.75)
        )
        with np.errstate(over="ignore"):
            scale = (three_quarters - quarter) / _DEVIATION_OF_QUARTILES or float(known.std())
        medians[index] = median
        with np.errstate(invalid="ignore", over="ignore"):
            apart = np.abs(numbers - median) / scale if scale > 0 else (numbers != median) * 1.0
        far[index] = np.nan_to_num(apart, nan=0.0, posinf=1e30)
    strangest = far.argmax(axis=0).astype(np.int64)
    return far.max(axis=0), strangest, medians
