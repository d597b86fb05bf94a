"""A part of a grid in which what could matter still meets: the default run tries it, `-m slow` the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, product
from typing import Any

import pytest


def pairs(*axes: Iterable[Any]) -> list[Any]:
    """The grid of the axes for `parametrize`; what no pair of values needs any more is marked `slow`.

    A fault shows where one value is, or where two meet, and hardly ever takes a third.
    """
    grid = list(product(*_numbered(axes)))
    unmet = {pair for point in grid for pair in combinations(point, 2)}
    kept = set()
    while unmet:
        best = max(grid, key=lambda point: len(unmet.intersection(combinations(point, 2))))
        kept.add(best)
        unmet.difference_update(combinations(best, 2))
    return _marked(axes, grid, kept)


def turns(*axes: Iterable[Any]) -> list[Any]:
    """The same of what does not depend on one another: each value is there, by turns with those of the others."""
    values = _numbered(axes)
    longest = max(map(len, values))
    kept = {tuple(one[turn % len(one)] for one in values) for turn in range(longest)}
    return _marked(axes, list(product(*values)), kept)


def others(*axes: Iterable[Any]) -> list[Any]:
    """The grid, all of it `slow`: of values that lie between those that the default run tries."""
    values = _numbered(axes)
    return _marked(axes, list(product(*values)), set())


def _numbered(axes: Sequence[Iterable[Any]]) -> list[list[tuple[int, int]]]:
    """Values need not be hashable; the same one on two axes is not the same, even if the axes are."""
    return [[(number, index) for index, _ in enumerate(axis)] for number, axis in enumerate(axes)]


def _marked(axes: Sequence[Iterable[Any]], grid: list[Any], kept: set[Any]) -> list[Any]:
    values = [list(axis) for axis in axes]
    return [
        pytest.param(
            *(values[axis][index] for axis, (_, index) in enumerate(point)),
            marks=() if point in kept else pytest.mark.slow,
        )
        for point in grid
    ]
