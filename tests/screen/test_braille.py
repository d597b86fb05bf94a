"""The drawing of curves: by hand, and by a loop over plain numbers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from gaecli.array_types import BoolArray
from gaecli.screen.braille import cells, curve_dots, thinned


def drawn(dots: BoolArray) -> list[str]:
    return ["".join("#" if dot else "." for dot in row) for row in dots]


def curve(numbers: list[float], scale: tuple[float, float], width: int, height: int = 1) -> BoolArray:
    return curve_dots(np.linspace(0, 1, len(numbers)), np.array(numbers, float), scale, width, height)


def test_a_rising_line_is_a_diagonal() -> None:
    dots = curve([0, 1, 2, 3], (0, 3), 2)
    assert drawn(dots) == ["...#", "..#.", ".#..", "#..."]
    # Dots 7 and 3 make ⡠, 2 and 4 make ⠊.
    assert [chr(point) for point in cells(dots)[0]] == ["⡠", "⠊"]


def test_a_spike_among_many_numbers_reaches_its_height() -> None:
    numbers = [0.0] * 1001
    numbers[400] = 3.0
    assert drawn(curve(numbers, (0, 3), 3)) == ["..#...", "..#...", "..#...", "######"]


def test_a_gap_is_not_bridged() -> None:
    assert drawn(curve([0, np.nan, np.inf, 3], (0, 3), 2)) == ["...#", "....", "....", "#..."]


def test_the_largest_floats_have_a_height() -> None:
    assert drawn(curve([-1e308, 1e308], (-1e308, 1e308), 1)) == [".#", ".#", "#.", "#."]


@pytest.mark.parametrize("count", [1, 5, 60, 3000])
def test_every_number_has_its_dot_and_columns_touch(count: int) -> None:
    numbers = np.random.default_rng(count).normal(size=count)
    low, high = float(numbers.min()) - 1, float(numbers.max()) + 1
    width, height = 20, 5
    dots = curve_dots(np.linspace(0, 1, count), numbers, (low, high), width, height)
    for index, number in enumerate(numbers):
        column = round(index / max(count - 1, 1) * (2 * width - 1))
        row = (high - number) / (high - low) * (4 * height - 1)
        assert dots[int(row) : int(row) + 2, column].any()
    if count > 1:
        runs = [np.flatnonzero(column) for column in dots.T]
        for one, other in pairwise(runs):
            assert other[0] <= one[-1] + 1
            assert one[0] <= other[-1] + 1


def test_a_second_curve_is_dotted_and_keeps_its_spikes() -> None:
    numbers = [0.0] * 1001
    numbers[400] = 3.0
    assert drawn(thinned(curve(numbers, (0, 3), 3))) == ["..#...", "......", "..#...", ".###.#"]
