from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaecli.report.charts import (
    align_decimals,
    format_count,
    format_number,
    format_rate,
    format_seconds,
    format_setting,
    gauge_bar,
    histogram_bar,
)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (None, "-"),
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1.000"),
        (-3.12, "-3.120"),
        (45.1249, "45.12"),
        (9.99996, "10.00"),
        (0.00099996, "0.001000"),
        (0.0012344, "0.001234"),
        (0.00012, "1.200e-4"),
        (12_345.6, "12,346"),
        (999_949.4, "999,949"),
        (999_999.4, "1.000e6"),
        (1e12, "1.000e12"),
        (-1.23456e-9, "-1.235e-9"),
        (5e-324, "4.941e-324"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
    ],
)
def test_numbers_have_four_digits(number: float | None, shown: str) -> None:
    assert format_number(number) == shown


@given(st.floats(-1e300, 1e300))
def test_a_shown_number_is_within_half_a_unit_of_its_fourth_digit(number: float) -> None:
    shown = float(format_number(number).replace(",", ""))
    # 5e-4 relative is half a unit of the fourth digit; subnormals have fewer bits than four digits.
    assert shown == pytest.approx(number, rel=5.01e-4, abs=1e-320)


def test_a_mean_that_is_rounding_noise_is_zero_but_no_other_small_mean_is() -> None:
    assert format_number(-3e-17, scale=1.0) == "0.000"
    assert format_number(1e-6, scale=1.0) == "1.000e-6"
    assert format_number(1e-9, scale=1e-9) == "1.000e-9"
    assert format_number(1e-9, scale=None) == "1.000e-9"


def test_counts_keep_all_digits() -> None:
    assert format_count(10_000_000_001) == "10,000,000,001"
    assert format_count(None, missing="–") == "–"


@pytest.mark.parametrize(
    ("number", "shown"), [(0.99, "0.99"), (1, "1"), (1e-8, "1e-8"), (0.9999999, "0.9999999")]
)
def test_settings_keep_all_digits(number: float, shown: str) -> None:
    assert format_setting(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0 s"),
        (0.0001, "<1 ms"),
        (0.0123, "12 ms"),
        (0.9996, "1.00 s"),
        (4.123, "4.12 s"),
        (9.996, "10.0 s"),
        (59.96, "1 min 00 s"),
        (200.4, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (7260, "2 h 01 min"),
        (None, "-"),
    ],
)
def test_durations_are_in_the_unit_one_would_say(seconds: float | None, shown: str) -> None:
    assert format_seconds(seconds) == shown


@pytest.mark.parametrize(
    ("rate", "shown"),
    [
        (8.123, "8.12 steps/s"),
        (999.9, "1.00 k steps/s"),
        (24_123, "24.1 k steps/s"),
        (1.08e8, "108 M steps/s"),
        (5e12, "5,000 G steps/s"),
        (None, "-"),
    ],
)
def test_rates_have_three_digits(rate: float | None, shown: str) -> None:
    assert format_rate(rate) == shown


def test_decimal_points_stand_below_each_other() -> None:
    numbers = ["0", "-3.120", "45.12", "0.001234", "12,346", "1.000e-9", "-"]
    aligned = align_decimals(numbers)
    assert [number.strip() for number in aligned] == numbers
    assert len({len(number) for number in aligned}) == 1
    points = {number.index(".") for number in aligned if "." in number}
    ends_of_whole_numbers = {len(number.rstrip()) for number in aligned if "." not in number}
    assert len(points) == 1
    assert ends_of_whole_numbers == points


def test_a_histogram_shows_one_outlier_among_millions_and_leaves_empty_bins_empty() -> None:
    assert histogram_bar([1, 0, 5_000_000, 10_000_000], 4) == "▁ ▅█"


def test_a_histogram_without_counts_is_blank() -> None:
    assert histogram_bar([], 5) == "     "
    assert histogram_bar([0, 0, 0], 5) == "     "


def test_fewer_characters_than_bins_add_neighbours_and_more_repeat_them() -> None:
    assert histogram_bar([1, 1, 3, 5], 2, "12345678") == histogram_bar([2, 8], 2, "12345678") == "38"
    assert histogram_bar([0, 7], 4, "12345678") == "  88"


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=80), st.integers(1, 40))
def test_a_histogram_has_its_width_and_a_full_bar_wherever_there_is_a_count(
    counts: list[int], width: int
) -> None:
    bar = histogram_bar(counts, width, "12345678")
    assert len(bar) == width
    assert ("8" in bar) == any(counts)


@pytest.mark.parametrize(
    ("fraction", "bar"), [(-2.0, "...."), (float("nan"), "...."), (0.5, "##.."), (1.0, "####"), (7.0, "####")]
)
def test_a_gauge_is_clipped(fraction: float, bar: str) -> None:
    assert gauge_bar(fraction, 4, "#.") == bar
