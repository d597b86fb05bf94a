"""Statistics of one column over all blocks: merged exactly, but for median and histogram, which sample."""

from __future__ import annotations

from dataclasses import field

import numpy as np

from gaecli.array_types import Array, FloatArray
from gaecli.moments import Moments
from gaecli.records import dataclass
from gaecli.summary import ColumnStatistics, Spread

#: Median and histogram are exact up to this many rows, and taken from every 2ᵏ-th row beyond.
MAX_SAMPLE = 1 << 17
_MOST_PIECES = 64
HISTOGRAM_BINS = 24


@dataclass(frozen=True, eq=False)
class Tally:
    """What is known of the numbers seen so far. Merging in a fixed order gives fixed results."""

    moments: Moments = field(default_factory=Moments)
    minimum: float = np.inf
    maximum: float = -np.inf
    #: Every `stride`-th number, in pieces: to join them for each of a thousand files would copy most of them a
    #: thousand times.
    pieces: tuple[FloatArray, ...] = ()
    stride: int = 1
    #: What an earlier run made of numbers that are not here; `pieces` then stands for them roughly.
    kept: ColumnStatistics | None = None

    @classmethod
    def of(cls, numbers: Array) -> Tally:
        if not len(numbers):
            return cls()
        stride = 1
        while len(numbers) > MAX_SAMPLE * stride:
            stride *= 2
        return cls(
            Moments.of(numbers),
            float(numbers.min()),
            float(numbers.max()),
            (numbers[::stride].astype(np.float64),),
            stride,
        )

    @property
    def sample(self) -> FloatArray:
        return self.pieces[0] if len(self.pieces) == 1 else np.concatenate([np.zeros(0), *self.pieces])

    def merge(self, other: Tally) -> Tally:
        if not self.moments.count or not other.moments.count:
            return self if self.moments.count else other
        stride = max(self.stride, other.stride)
        pieces = (*self._thinned(stride), *other._thinned(stride))
        while sum(map(len, pieces)) > MAX_SAMPLE:
            pieces, stride = (np.concatenate(pieces)[::2].copy(),), stride * 2
        if len(pieces) > _MOST_PIECES:
            pieces = (np.concatenate(pieces),)
        return Tally(
            self.moments.merge(other.moments),
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            pieces,
            stride,
        )

    def _thinned(self, stride: int) -> tuple[FloatArray, ...]:
        """Copied: a view of a few numbers keeps all of them."""
        return self.pieces if stride == self.stride else (self.sample[:: stride // self.stride].copy(),)

    def statistics(self) -> ColumnStatistics:
        """Plain numbers; the standard deviation with ddof 1, as torch and pandas have it."""
        if self.kept is not None:
            return self.kept
        count = self.moments.count
        if not count:
            return ColumnStatistics(0, None, None, None, None)
        sample = self.sample
        low, high = self.minimum, self.maximum
        if self.stride > 1 or not np.isfinite(self.moments.mean):  # those of what is left, NaN among it
            low, high = float(sample.min()), float(sample.max())
        counts = np.array([len(sample)])  # a constant column is one bar
        if high > low and np.isfinite(low) and np.isfinite(high):
            counts = _binned(sample, low, high)
        return ColumnStatistics(
            count=count,
            mean=_finite(self.moments.mean),
            std=_finite(self.moments.std(1)),
            min=_finite(self.minimum),
            max=_finite(self.maximum),
            median=_finite(_median(sample)),
            sample_count=len(sample),
            histogram=tuple(counts.tolist()),
            histogram_range=(low, high),
        )


def _median(numbers: FloatArray) -> float:
    """Not np.median: it imports masked arrays, which takes as long as a small file."""
    if np.isnan(numbers).any():
        return float("nan")
    middle = len(numbers) // 2
    other = len(numbers) - 1 - middle
    ordered = np.partition(numbers, (other, middle))
    return float(ordered[middle] / 2 + ordered[other] / 2)


def _binned(numbers: FloatArray, low: float, high: float) -> Array:
    """How many fall into each of equal bins. Not np.histogram: it fails where a bin is narrower than float64."""
    if not np.isfinite(high - low):
        numbers, low, high = numbers / 2, low / 2, high / 2
    shares = (numbers - low) / (high - low)
    bins = np.minimum((shares * HISTOGRAM_BINS).astype(np.int64), HISTOGRAM_BINS - 1)
    return np.bincount(bins, minlength=HISTOGRAM_BINS)


@dataclass(eq=False)
class Explained:
    """Explained variance of the returns by the values within each stream, and over all of them.

        1 - Σₖ nₖ Varₖ(R - V) / Σₖ nₖ Varₖ(R)

    Deviations are those from the mean of the stream k itself: that the returns of one run are higher than those
    of another is no merit of their values, and over two files it can be all that there is to see.
    """

    errors: float = 0.0
    spreads: float = 0.0
    #: Of each stream by itself, where its returns vary.
    figures: list[float] = field(default_factory=list)
    num_streams: int = 0

    def add(self, errors: Moments, returns: Moments) -> None:
        """A stream, by R - V and R of all its steps."""
        if not returns.count or not errors.count:
            return
        self.num_streams += 1
        self.errors += errors.m2
        self.spreads += returns.m2
        figure = _explained(errors.m2, returns.m2)
        if figure is not None:
            self.figures.append(figure)

    @property
    def within(self) -> float | None:
        """None where the returns do not vary."""
        return _explained(self.errors, self.spreads)

    @property
    def over_streams(self) -> Spread | None:
        """None for a single stream, whose figure is `within`."""
        if self.num_streams < 2 or not self.figures:
            return None
        figures = np.array(self.figures)
        return Spread(len(figures), float(figures.min()), _median(figures), float(figures.max()))


def explained_variance(errors: Moments, returns: Moments) -> float | None:
    """1 - Var(R - V) / Var(R) of one stream; None where the returns do not vary, or there are no values."""
    return None if not errors.count else _explained(errors.m2, returns.m2)


def _explained(errors: float, spread: float) -> float | None:
    return _finite(1 - errors / spread) if spread else None


def _finite(number: float | None) -> float | None:
    return number if number is not None and np.isfinite(number) else None
