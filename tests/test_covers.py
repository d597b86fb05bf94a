"""What the default run takes of a grid: less than all of it, and in it each value, or each two."""

from __future__ import annotations

from itertools import combinations, product

import covers
import pytest

AXES = ["abc", "defg", "hi"]
GRID = [tuple(enumerate(values)) for values in product(*AXES)]


def test_in_pairs_each_two_values_of_two_axes_meet() -> None:
    found = {parameters.values for parameters in covers.pairs(*AXES) if not parameters.marks}
    for one, other in combinations(AXES, 2):
        for two in product(one, other):
            assert any({*two} <= {*point} for point in found), two
    assert len(found) < len(GRID)


def test_by_turns_each_value_of_each_axis_is_there() -> None:
    found = covers._cover(GRID, 1)
    assert {value for point in found for _, value in point} == set("abcdefghi")
    assert len(found) == max(map(len, AXES))


def test_of_cases_of_one_kind_there_are_so_many_from_end_to_end_or_those_that_are_named() -> None:
    points, ids = [((0, number),) for number in range(9)], list("abcdefghi")
    assert covers._few(points, ids, [1]) == {points[0]}
    assert covers._few(points, ids, [3]) == {points[0], points[4], points[8]}
    assert covers._few(points, ids, [20]) == set(points)
    assert covers._few(points, ids, ["b", "c"]) == {points[1], points[2]}
    with pytest.raises(ValueError, match=r"no case of \['z'\]"):
        covers._few(points, ids, ["b", "z"])


def test_a_few_of_a_grid_are_of_different_values() -> None:
    found = covers._few(GRID, [str(point) for point in GRID], [3])
    assert len(found) == 3
    assert len({value for point in found for _, value in point}) == 3 + 3 + 2


def test_of_a_grid_with_holes_what_meets_in_it_meets() -> None:
    grid = [point for point in GRID if (0, "a") not in point or (2, "h") in point]
    found = covers._cover(grid, 2)
    wanted = {two for point in grid for two in combinations(point, 2)}
    assert {two for point in found for two in combinations(point, 2)} == wanted


def test_what_is_slow_is_made_where_it_may_be_run_and_what_is_not_is_made_always(monkeypatch) -> None:
    monkeypatch.setattr(covers, "keeps_slow", True)
    whole = covers.pairs(*AXES)
    monkeypatch.setattr(covers, "keeps_slow", False)
    assert [one.values for one in whole] == list(product(*AXES))
    assert covers.pairs(*AXES) == [one for one in whole if not one.marks]


def test_a_parametrize_is_made_without_what_is_slow_unless_that_is_all_of_it() -> None:
    slow = [pytest.param(number, marks=pytest.mark.slow) for number in (2, 3)]

    def values(mark: pytest.MarkDecorator) -> object:
        return covers.without_slow(mark.mark).args[1]

    assert values(pytest.mark.parametrize("n", [1, *slow])) == [1]
    assert values(pytest.mark.parametrize("n", slow)) == slow
    assert values(pytest.mark.parametrize("n", [1, slow[0]], ids=["one", "two"])) == [1, slow[0]]
    assert covers.without_slow(pytest.mark.slow.mark).name == "slow"
