"""Moments that merge: any split in any order gives what one pass over everything gives."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gaecli.moments import GroupedMoments, Moments

NUMBERS = st.lists(st.integers(-(10**6), 10**6).map(lambda number: number / 64), max_size=60)
OFFSETS = st.sampled_from([0.0, 1.0, -1e4, 1e8])


def exact(numbers: np.ndarray) -> tuple[float, float]:
    """Mean and Σ(x - mean)² in rational arithmetic."""
    fractions = [Fraction(float(number)) for number in numbers]
    mean = sum(fractions) / len(fractions)
    return float(mean), float(sum((number - mean) ** 2 for number in fractions))


def assert_exact(moments: Moments, numbers: np.ndarray) -> None:
    assert moments.count == len(numbers)
    if not len(numbers):
        return
    mean, m2 = exact(numbers)
    largest = float(np.abs(numbers).max())
    assert moments.mean == pytest.approx(mean, rel=1e-14, abs=1e-14 * largest)
    # A merge shifts by the difference of two means, each of which is rounded to an ulp of itself.
    ulp = 8 * float(np.spacing(largest))
    noise = len(numbers) * ulp * (float(np.ptp(numbers)) + ulp)
    assert moments.m2 == pytest.approx(m2, rel=1e-11, abs=noise)


@examples(100)
@given(numbers=NUMBERS, offset=OFFSETS, cuts=st.lists(st.integers(0, 60), max_size=6))
def test_any_split_gives_the_exact_moments(numbers: list[float], offset: float, cuts: list[int]) -> None:
    array = np.array(numbers) + offset
    total = Moments()
    for piece in np.split(array, sorted(cut for cut in cuts if cut <= len(array))):
        total = total.merge(Moments.of(piece))
    assert_exact(total, array)


@examples(40)
@given(first=NUMBERS, second=NUMBERS, third=NUMBERS, offset=OFFSETS)
def test_merging_is_associative_and_commutative_to_rounding(
    first: list[float], second: list[float], third: list[float], offset: float
) -> None:
    a, b, c = (Moments.of(np.array(numbers) + offset) for numbers in (first, second, third))
    everything = np.array(first + second + third) + offset
    for merged in (a.merge(b).merge(c), a.merge(b.merge(c)), c.merge(a).merge(b)):
        assert_exact(merged, everything)


def test_nothing_merged_with_anything_is_that() -> None:
    some = Moments.of(np.array([1.0, 2.0, 4.0]))
    assert Moments().merge(some) == some == some.merge(Moments())
    assert Moments().merge(Moments()) == Moments()


@examples(40)
@given(numbers=NUMBERS, offset=OFFSETS, labels=st.lists(st.integers(0, 4), min_size=60, max_size=60))
def test_groups_have_the_moments_of_their_numbers(
    numbers: list[float], offset: float, labels: list[int]
) -> None:
    array, groups = np.array(numbers) + offset, np.array(labels[: len(numbers)], np.int64)
    found = GroupedMoments.of(array, groups, 5)
    for group in range(5):
        assert_exact(found.group(group), array[groups == group])


def assert_weighed(found: GroupedMoments, group: int, numbers: np.ndarray, weights: np.ndarray) -> None:
    top = [*sorted(numbers.tolist(), reverse=True), -math.inf, -math.inf][:2]
    assert (found.counts[group], found.sizes[group]) == (weights.sum(), len(numbers))
    assert found.largest is None or found.largest[group].tolist() == top
    if weights.any():
        mean = np.average(numbers, weights=weights)
        assert found.means[group] == pytest.approx(mean, rel=1e-13)
        assert found.m2s[group] == pytest.approx(weights @ (numbers - mean) ** 2, rel=1e-13)


def test_weights_are_how_often_a_number_counts_and_the_two_largest_are_kept() -> None:
    random = np.random.default_rng(0)
    numbers, weights = random.integers(-50, 50, 40) / 8, random.integers(0, 4, 40) / 2
    groups = random.integers(0, 4, 40)  # and an empty one
    first, second = (
        GroupedMoments.of(numbers[rows], groups[rows], 5, weights[rows], with_largest=True)
        for rows in (slice(0, 9), slice(9, None))
    )
    for group in range(5):
        own = groups == group
        assert_weighed(first.merge(second), group, numbers[own], weights[own])
    ones = np.ones(40)
    assert_weighed(GroupedMoments.of_all(numbers, weights), 0, numbers, weights)
    assert_weighed(GroupedMoments.of_all(numbers, weights, with_largest=True), 0, numbers, weights)
    ranked = GroupedMoments.of_all(numbers, with_largest=True)
    assert ranked.largest is not None
    assert_weighed(ranked, 0, numbers, ones)
    assert_weighed(GroupedMoments.of_all(numbers), 0, numbers, ones)


@pytest.mark.few(16)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
@pytest.mark.parametrize("offset", [0, 3000, 1 << 20])
@pytest.mark.parametrize("count", [1, 8191, 8193, 32_768, 32_769, 50_000])
def test_numbers_of_any_type_length_and_stride_are_summed_in_whole(
    count: int, offset: int, dtype: str
) -> None:
    numbers = np.random.default_rng(count).integers(-1000, 1000, 2 * count) + offset
    whole = [int(number) for number in numbers[::2]]
    total, squares = sum(whole), sum(number * number for number in whole)
    expected = float(Fraction(count * squares - total * total, count))
    for given_numbers in (numbers.astype(dtype)[::2], numbers[::2].astype(dtype)):
        before = given_numbers.copy()
        moments = Moments.of(given_numbers)
        assert (moments.count, moments.mean) == (count, pytest.approx(total / count, rel=1e-14, abs=1e-12))
        assert moments.m2 == pytest.approx(expected, rel=1e-12, abs=1e-12)
        np.testing.assert_array_equal(given_numbers, before)


def test_an_offset_of_1e8_costs_no_digits_of_the_variance() -> None:
    noise = np.random.default_rng(0).integers(-1000, 1000, 300_000) / 1024  # exact with the offset added
    plain, moved = Moments.of(noise), Moments.of(noise + 1e8)
    assert moved.variance(1) == pytest.approx(plain.variance(1), rel=1e-9)
    assert plain.variance(1) == pytest.approx(np.var(noise, ddof=1), rel=1e-12)
    naive = np.mean((noise + 1e8) ** 2) - np.mean(noise + 1e8) ** 2
    assert abs(naive - np.var(noise)) > 1e-3  # what the merge is for


def test_variance_needs_more_numbers_than_ddof() -> None:
    one = Moments.of(np.array([3.0]))
    assert one.variance(1) is one.std(1) is None
    assert one.variance(0) == 0.0
    assert Moments().variance(0) is None
    two = Moments.of(np.array([1.0, 3.0]))
    assert two.std(1) == pytest.approx(math.sqrt(2))
    assert two.std(0) == 1.0
