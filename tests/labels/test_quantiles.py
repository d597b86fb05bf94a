"""Quantiles in two looks, or in as many as it takes, are those of NumPy, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gaecli.labels import quantiles
from gaecli.labels.quantiles import QuantileSearch, from_ordered_bits, ordered_bits

NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -0.0, 1.0, -1.0])


def searched(numbers: np.ndarray, groups: np.ndarray, quantile: float, cuts: list[int], turn: int) -> dict:
    """In pieces, of which each calls the groups in another order."""
    search = QuantileSearch(quantile)
    while search.ask is not None:
        for number, part in enumerate(np.split(np.arange(len(numbers)), sorted(cuts))):
            order = np.roll(np.arange(3), turn + number)
            labels = [f"group {index}" for index in order]
            search.add(search.ask.of(numbers[part], np.argsort(order)[groups[part]], labels))
        search.next()
    return search.found


@examples(60)
@given(
    st.lists(NUMBERS, max_size=40),
    st.floats(0.001, 0.999),
    st.lists(st.integers(0, 40), max_size=3),
    st.data(),
)
def test_any_quantile_of_any_numbers(
    numbers: list[float], quantile: float, cuts: list[int], data: st.DataObject
) -> None:
    groups = np.array(
        data.draw(st.lists(st.integers(0, 2), min_size=len(numbers), max_size=len(numbers))), np.int64
    )
    array = np.array(numbers, np.float32)
    found = searched(
        array, groups, quantile, [min(cut, len(array)) for cut in cuts], data.draw(st.integers(0, 2))
    )
    assert set(found) == {f"group {group}" for group in groups.tolist()}
    for group in set(groups.tolist()):
        wanted = np.quantile(array[groups == group].astype(np.float64), quantile, method="linear")
        assert found[f"group {group}"] == wanted


@pytest.mark.parametrize("quantile", [0.3, 0.5, 0.7])
def test_infinite_numbers_have_their_places(quantile: float) -> None:
    array = np.array([np.inf, 1, 2, -np.inf, 3, 4], np.float32)
    found = searched(array, np.zeros(6, np.int64), quantile, [2], 0)
    assert found == {"group 0": np.quantile(array.astype(np.float64), quantile)}


def test_bits_are_in_the_order_of_the_numbers() -> None:
    array = np.array([-np.inf, -3e38, -1, -1e-45, 0, 1e-45, 1, 3e38, np.inf], np.float32)
    keys = ordered_bits(array)
    assert (np.diff(keys) > 0).all()
    np.testing.assert_array_equal(from_ordered_bits(keys), array)
    assert ordered_bits(np.array([-0.0], np.float32)) == ordered_bits(np.array([0.0], np.float32))


def test_more_groups_than_a_table_holds_are_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantiles, "_LARGEST_TABLE", 0)
    random = np.random.default_rng(5)
    array, groups = random.normal(size=90).astype(np.float32), random.integers(0, 3, 90)
    found = searched(array, groups, 0.4, [10, 60], 1)
    for group in range(3):
        assert found[f"group {group}"] == np.quantile(array[groups == group].astype(np.float64), 0.4)


def test_of_many_groups_less_is_kept_and_looked_at_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantiles, "_LEAST_KEPT", 0)
    random = np.random.default_rng(6)
    array, groups = random.normal(size=20_000).astype(np.float32), random.integers(0, 50, 20_000)
    array[groups == 7] = -0.25  # nothing tells these apart
    search, kept = QuantileSearch(0.3, most_pending=500), []
    while search.ask is not None:
        for part in np.split(np.arange(20_000), 40):
            search.add(search.ask.of(array[part], groups[part], range(50)))
        kept.append(len(search._counter.all()[0]))
        search.next()
    assert max(kept) <= 16 * 50
    assert len(kept) > 2
    for group in range(50):
        assert search.found[group] == np.quantile(array[groups == group].astype(np.float64), 0.3)
