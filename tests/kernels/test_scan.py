"""The scan of a tile against the plain loop, against exact fractions, and on NumPy and torch alike."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gaecli.kernels import scan
from gaecli.kernels.reference import affine_scan_reference
from gaecli.kernels.scan import TileScan

#: A tree and a loop round differently: some units in the last place per level, relative to the largest term.
TOLERANCE = 1e-12

# torch is imported where it is used: it takes a second and a half, in every worker that collects.
LENGTHS = [1, 2, 7, 8, 9, 63, 64, 65, 255, 256, 257, 2047, 2048, 2049, 5003]


@pytest.fixture(autouse=True, params=[scan.ROOT_SIZE, 8], ids=["few levels", "many levels"])
def root_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "ROOT_SIZE", request.param)


def example(num_rows: int, *, seed: int = 0, cut_rate: float = 0.02):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=num_rows)
    a = np.where(rng.random(num_rows) < cut_rate, 0.0, rng.uniform(0.5, 1.0, num_rows))
    return x, a


def even_example(num_rows: int, cut_rate: float, *, seed: int = 0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=num_rows), rng.random(num_rows) < cut_rate


def scanned(x: Any, a: Any, carry: float = 0.0, decay: float | None = None) -> np.ndarray:
    """By one tile. x and a are left as they are."""
    is_numpy = isinstance(x, np.ndarray)
    x, a = x.copy() if is_numpy else x.clone(), a.copy() if hasattr(a, "copy") else a.clone()
    tile = TileScan(len(x), like=x, decay=decay)
    assert tile.fold(x, a)
    tile.solve(carry)
    y = np.empty(len(x), x.dtype) if is_numpy else x
    tile.unfold(y)
    return np.asarray(y)


def assert_close(actual, expected, scale: float = 1.0) -> None:
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=TOLERANCE, atol=TOLERANCE * scale)


def test_reference_gives_a_hand_worked_example():
    # y₃ = 4 + 0.5·10, cut before it: y₂ = 3, y₁ = 2 + 0.5·3, y₀ = 1 + 0.5·3.5
    y = affine_scan_reference([1.0, 2.0, 3.0, 4.0], [0.5, 0.5, 0.0, 0.5], 10.0)
    assert y.tolist() == [2.75, 3.5, 3.0, 9.0]


def test_scan_gives_the_hand_worked_example():
    y = scanned(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.5, 0.5, 0.0, 0.5]), 10.0)
    assert y.tolist() == [2.75, 3.5, 3.0, 9.0]


@pytest.mark.few(30)
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("num_rows", LENGTHS)
def test_scan_equals_the_plain_loop_for_every_length(num_rows, library):
    x, a = example(num_rows)
    expected = affine_scan_reference(x, a, 0.75)
    if library == "torch":
        import torch

        x, a = torch.from_numpy(x), torch.from_numpy(a)
    assert_close(scanned(x, a, 0.75), expected, scale=10)


@pytest.mark.turns
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("cut_rate", [0.0, 0.01, 0.1, 1.0])
@pytest.mark.parametrize("num_rows", LENGTHS)
def test_one_decay_equals_the_plain_loop_for_every_length(num_rows, cut_rate, library):
    x, cuts = even_example(num_rows, cut_rate)
    expected = affine_scan_reference(x, np.where(cuts, 0.0, 0.9405), 0.75)
    if library == "torch":
        import torch

        x = torch.from_numpy(x)
    assert_close(scanned(x, cuts, 0.75, decay=0.9405), expected, scale=10)


@given(
    st.lists(
        st.tuples(st.integers(-8, 8), st.sampled_from([0, 1, 2, 3, 4])),  # x = n, a = m/4: all exact
        min_size=1,
        max_size=40,
    ),
    st.integers(-8, 8),
)
@examples(150)
def test_deep_trees_equal_exact_fractions(rows, carry):
    y, exact = Fraction(carry), []
    for x_t, a_t in reversed(rows):
        y = x_t + Fraction(a_t, 4) * y
        exact.insert(0, y)
    x = np.array([x_t for x_t, _ in rows], np.float64)
    a = np.array([a_t / 4 for _, a_t in rows], np.float64)
    scale = 1 + max((abs(float(number)) for number in exact), default=0)
    assert_close(scanned(x, a, float(carry)), np.array([float(number) for number in exact]), scale)


@given(
    st.lists(st.tuples(st.integers(-8, 8), st.booleans()), min_size=1, max_size=200),
    st.sampled_from([Fraction(0), Fraction(1, 4), Fraction(3, 4), Fraction(1)]),
    st.integers(-8, 8),
)
@examples(150)
def test_one_decay_with_cuts_anywhere_equals_exact_fractions(rows, decay, carry):
    y, exact = Fraction(carry), []
    for x_t, is_cut in reversed(rows):
        y = x_t + (0 if is_cut else decay * y)
        exact.insert(0, y)
    x, cuts = np.array([x_t for x_t, _ in rows], np.float64), np.array([is_cut for _, is_cut in rows])
    scale = 1 + max(abs(float(number)) for number in exact)
    assert_close(scanned(x, cuts, float(carry), float(decay)), np.array([float(y) for y in exact]), scale)


@pytest.mark.parametrize("gamma_lam", [0.0, 0.5, 0.9405, 1.0])
def test_constant_decay_equals_the_explicit_sum(gamma_lam):
    x, _ = example(3000)
    weights = gamma_lam ** np.arange(3000.0)
    expected = np.array([weights[: 3000 - t] @ x[t:] for t in range(3000)])
    assert_close(scanned(x, np.full(3000, gamma_lam)), expected, scale=100)
    assert_close(scanned(x, np.zeros(3000, np.bool_), decay=gamma_lam), expected, scale=100)


def test_torch_and_numpy_agree_to_the_last_places():
    import torch

    x, a = example(20_000)
    theirs = scanned(torch.from_numpy(x), torch.from_numpy(a))
    np.testing.assert_allclose(theirs, scanned(x, a), rtol=2e-15, atol=2e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(dtype):
    x, a = (array.astype(dtype) for array in example(3000))
    y = scanned(x, a)
    assert y.dtype == dtype
    few = 40 * np.finfo(dtype).eps  # roundings of sums that stay below 6
    np.testing.assert_allclose(y, affine_scan_reference(x, a), rtol=few, atol=few)


@given(st.integers(2, 2500), st.integers(1, 2500))
@examples(30)
def test_splitting_anywhere_changes_rounding_only(num_rows, at):
    x, a = example(num_rows)
    at = min(at, num_rows - 1)
    whole = scanned(x, a, 3.0)
    later = scanned(x[at:], a[at:], 3.0)
    earlier = scanned(x[:at], a[:at], later[0])
    assert_close(np.concatenate([earlier, later]), whole, scale=10)


def test_a_long_sum_of_ones_is_exact():
    ones, none = np.ones(300_001), np.zeros(300_001, np.bool_)  # every partial sum is a whole number
    np.testing.assert_array_equal(scanned(ones, ones), np.arange(300_001, 0, -1.0))
    np.testing.assert_array_equal(scanned(ones, none, decay=1.0), np.arange(300_001, 0, -1.0))


def test_small_weights_are_never_truncated():
    x, a, none = np.zeros(1001), np.full(1001, 0.5), np.zeros(1001, np.bool_)
    x[-1] = 1.0
    for y in (scanned(x, a), scanned(x, none, decay=0.5)):
        np.testing.assert_array_equal(y, 0.5 ** np.arange(1000, -1, -1.0))  # down to 9e-302
    x[-1] = 2.0**1000
    assert scanned(x, a)[0] == scanned(x, none, decay=0.5)[0] == 1.0


def test_sums_beyond_the_range_are_no_sign_of_rows_that_are():
    x, cuts = np.zeros(100), np.zeros(100, np.bool_)
    x[:4] = 1e308, 1e308, -1e308, 1.0
    cuts[1] = True
    tile = TileScan(100, like=x, decay=1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        if not tile.fold(x, cuts):
            assert tile.fold(x, cuts, is_finite=True)
        tile.solve(0.0)
        tile.unfold(y := np.empty(100))
    assert y.tolist() == [np.inf, 1e308, -1e308, 1.0, *[0.0] * 96]


@pytest.mark.parametrize("decay", [None, 0.9])
@pytest.mark.parametrize("cut_rate", [0.0, 0.01, 0.5])
def test_what_is_not_finite_is_told_of_and_left_as_it_is(cut_rate, decay):
    x, cuts = even_example(700, cut_rate)
    a = cuts if decay is not None else np.where(cuts, 0.0, 0.9)
    for number in (np.nan, np.inf):
        for at in (0, 350, 699):
            bad, given_a = x.copy(), a.copy()
            bad[at] = number
            with np.errstate(invalid="ignore"):
                assert not TileScan(700, like=bad, decay=decay).fold(bad, given_a)
            np.testing.assert_array_equal(np.delete(bad, at), np.delete(x, at))
            np.testing.assert_array_equal(given_a, a)


@pytest.mark.few(2)
@pytest.mark.parametrize("decay", [None, 0.9])
def test_one_tile_scan_serves_tiles_of_other_sizes(decay):
    tile = TileScan(3000, like=np.empty(0), decay=decay)
    for num_rows in (3000, 5, 2999, 1, 257):
        x, a = example(num_rows, seed=num_rows)
        if decay is not None:
            a = a == 0.0
        expected = affine_scan_reference(x, a if decay is None else np.where(a, 0.0, decay), 1.5)
        assert tile.fold(x, a)
        head = tile.solve(1.5)
        tile.unfold(x_out := np.empty(num_rows, np.float32))
        np.testing.assert_allclose(x_out, expected, rtol=1e-6, atol=1e-6)
        assert_close(head, expected[0], scale=10)
