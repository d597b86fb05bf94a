"""A part of a grid in which what could matter still meets: the default run tries it, `-m slow` the rest.

`pairs(...)` and `turns(...)` give the values of one `parametrize`. Of a grid that several of them make, or fixtures,
the marks `@pytest.mark.pairs` and `@pytest.mark.turns` say the same. `@pytest.mark.few(3)` is for cases of one kind,
and `@pytest.mark.few("this", "that")` names those that differ in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations, product
from operator import attrgetter
from typing import Any

import pytest

#: Of the thousands that are `slow` none is made where none will be run: to collect them takes as long as all others.
keeps_slow = True

#: (axis, index of the value on it) for each axis: values need not be hashable.
Point = tuple[tuple[int, int], ...]


def pairs(*axes: Iterable[Any]) -> list[Any]:
    """The grid of the axes for `parametrize`; what no pair of values needs any more is marked `slow`.

    A fault shows where one value is, or where two meet, and hardly ever takes a third.
    """
    grid = list(product(*_numbered(axes)))
    return _marked(axes, grid, set(_cover(grid, 2)))


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


def without_slow(mark: pytest.Mark) -> pytest.Mark:
    """A `parametrize` without what it marks `slow`; as it is where that is all of it, or has ids one by one."""
    if mark.name != "parametrize" or len(mark.args) < 2 or not callable(mark.kwargs.get("ids", str)):
        return mark
    names, values, *rest = mark.args
    values = list(values)
    kept = [value for value in values if not _is_slow(value)]
    return pytest.mark.parametrize(names, kept or values, *rest, **mark.kwargs).mark


def _is_slow(value: Any) -> bool:
    return any(getattr(mark, "name", None) == "slow" for mark in getattr(value, "marks", ()))


def mark_the_rest(metafunc: pytest.Metafunc) -> None:
    """As `slow`, of a test that is marked `pairs`, `turns` or `few`; where that is not run, it is not made."""
    marks = set(map(attrgetter("name"), metafunc.definition.iter_markers()))
    if "slow" in marks or not marks & {"pairs", "turns", "few"}:
        return
    calls = [call for call in metafunc._calls if not _is_slow(call)]
    points = _points(calls)
    if "few" in marks:
        kept = _few(points, [call.id for call in calls], metafunc.definition.get_closest_marker("few").args)
    else:
        kept = set(_cover(points, 2 if "pairs" in marks else 1))
    for call, point in zip(calls, points, strict=True):
        if point not in kept:
            call.marks.append(pytest.mark.slow.mark)
    if kept and not keeps_slow:
        metafunc._calls[:] = [call for call in metafunc._calls if not _is_slow(call)]


def _points(calls: Sequence[Any]) -> list[Point]:
    """Each `parametrize`, or fixture that has parameters, is an axis, and gives an id to each of its values."""
    axes = list(zip(*(call._idlist for call in calls), strict=True))
    numbers = [{name: number for number, name in enumerate(dict.fromkeys(axis))} for axis in axes]
    return [tuple((axis, numbers[axis][name]) for axis, name in enumerate(call._idlist)) for call in calls]


def _few(points: Sequence[Point], ids: Sequence[str], wanted: Sequence[Any]) -> set[Point]:
    """Those of the ids, or so many: of a grid those that have the most values, of a list some from end to end."""
    if isinstance(wanted[0], str):
        if unknown := set(wanted).difference(ids):
            raise ValueError(f"no case of {sorted(unknown)}: there are {list(ids)}")
        return {point for point, name in zip(points, ids, strict=True) if name in wanted}
    (number,) = wanted
    if points and len(points[0]) > 1:
        return set(_cover(points, 1)[:number])
    last = len(points) - 1
    return {points[round(turn * last / max(number - 1, 1))] for turn in range(number)} if points else set()


def _cover(grid: Sequence[Point], number: int) -> list[Point]:
    """Points in which all values meet that meet in the grid, by so many; what was rare so far is preferred."""
    unmet = {meeting for point in grid for meeting in combinations(point, number)}
    kept: list[Point] = []
    used: Counter[tuple[int, int]] = Counter()
    while unmet:
        best = max(
            grid,
            key=lambda point: (
                len(unmet.intersection(combinations(point, number))),
                -sum(used[value] for value in point),
            ),
        )
        kept.append(best)
        used.update(best)
        unmet.difference_update(combinations(best, number))
    return kept


def _numbered(axes: Sequence[Iterable[Any]]) -> list[list[tuple[int, int]]]:
    """The same value on two axes is not the same, even if the axes are."""
    return [[(number, index) for index, _ in enumerate(axis)] for number, axis in enumerate(axes)]


def _marked(axes: Sequence[Iterable[Any]], grid: list[Any], kept: set[Any]) -> list[Any]:
    values = [list(axis) for axis in axes]
    return [
        pytest.param(
            *(values[axis][index] for axis, (_, index) in enumerate(point)),
            marks=() if point in kept else pytest.mark.slow,
        )
        for point in grid
        if keeps_slow or point in kept
    ]
