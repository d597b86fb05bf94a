"""The steps of chosen trajectories, collected as blocks come by, and thinned to what is drawn of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.records import dataclass
from gaecli.studies.episode_steps import BlockSteps
from gaecli.studies.parts import NumberedTrajectories
from gaecli.studies.thinning import kept_steps

#: What a curve is thinned by: R is near V + A.
_THINNED_BY = ("reward", "value", "advantage", "stored")
_MOST_MASKED_RUNS = 500


@dataclass(frozen=True, eq=False)
class CurvePiece:
    """Steps of one trajectory: [P] each."""

    positions: IndexArray
    rows: IndexArray
    items: IndexArray | None
    series: Mapping[str, FloatArray]

    def take(self, which: Array) -> CurvePiece:
        items = None if self.items is None else self.items[which]
        series = {name: numbers[which] for name, numbers in self.series.items()}
        return CurvePiece(self.positions[which], self.rows[which], items, series)


@dataclass(eq=False)
class CurveCollector:
    """Of these trajectories, by their number: (positions, how many points each may have)."""

    wanted: Mapping[int, tuple[int, int]]
    pieces: dict[int, list[CurvePiece]] = field(default_factory=dict)
    masked: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    _seen: dict[int, int] = field(default_factory=dict)

    def add(
        self, first_row: int, steps: BlockSteps, stored: FloatArray | None, found: NumberedTrajectories
    ) -> None:
        """`first_row` of the block, counted over all files; `stored`: [N] the column that is there already."""
        series = dict(steps.series) if stored is None else {**steps.series, "stored": stored}
        firsts = np.concatenate(([0], found.lasts[:-1] + 1)).astype(np.int64)
        numbers = np.array(list(self.wanted), np.int64)
        for index in np.flatnonzero(np.isin(found.numbers, numbers)).tolist():
            number = int(found.numbers[index])
            where = int(firsts[index]) + np.flatnonzero(steps.real[firsts[index] : found.lasts[index] + 1])
            begin = self._seen.get(number, 0)
            self._seen[number] = begin + len(where)
            positions = begin + np.arange(len(where), dtype=np.int64)
            self._note_masked(number, positions, steps.counts[where])
            piece = CurvePiece(
                positions,
                first_row + steps.rows[where],
                None if steps.items is None else steps.items[where],
                {name: column[where] for name, column in series.items()},
            )
            self.pieces.setdefault(number, []).append(_thinned(piece, *self.wanted[number]))

    def curve(self, number: int) -> CurvePiece:
        return _thinned(_joined(self.pieces[number]), *self.wanted[number])

    def _note_masked(self, number: int, positions: IndexArray, counts: BoolArray) -> None:
        runs = self.masked.setdefault(number, [])
        edges = np.flatnonzero(np.diff(np.concatenate(([True], counts, [True])).astype(np.int8)))
        for first, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            begin, end = int(positions[first]), int(positions[stop - 1])
            if runs and runs[-1][1] == begin - 1:
                runs[-1] = (runs[-1][0], end)
            elif len(runs) < _MOST_MASKED_RUNS:
                runs.append((begin, end))


def _thinned(piece: CurvePiece, length: int, points: int) -> CurvePiece:
    curves = [numbers for name, numbers in piece.series.items() if name in _THINNED_BY]
    keep = kept_steps(piece.positions, curves, length, points)
    return piece if keep.all() else piece.take(keep)


def _joined(pieces: list[CurvePiece]) -> CurvePiece:
    if len(pieces) == 1:
        return pieces[0]
    items = [piece.items for piece in pieces if piece.items is not None]
    return CurvePiece(
        np.concatenate([piece.positions for piece in pieces]),
        np.concatenate([piece.rows for piece in pieces]),
        np.concatenate(items) if items else None,
        {name: np.concatenate([piece.series[name] for piece in pieces]) for name in pieces[0].series},
    )
