"""The scan against the plain loop, against exact fractions, and on NumPy and torch alike."""

from __future__ import annotations

from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gaecli.kernels import scan
from gaecli.kernels.reference import affine_scan_reference
from gaecli.kernels.scan import TileScan, affine_scan, affine_scanned

#: A tree and a loop round differently: some units in the last place per level, relative to the largest term.
TOLERANCE = 1e-12

# torch is imported where it is used: it takes a second and a half, in every worker that collects.
LENGTHS = [0, 1, 2, 7, 8, 9, 63, 64, 65, 255, 256, 257, 2047, 2048, 2049, 5003]


def example(num_rows: int, *, seed: int = 0, cut_rate: float = 0.02, batch: tuple[int, ...] = ()):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(*batch, num_rows))
    a = np.where(rng.random((*batch, num_rows)) < cut_rate, 0.0, rng.uniform(0.5, 1.0, (*batch, num_rows)))
    return x, a


def assert_close(actual, expected, scale: float = 1.0) -> None:
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=TOLERANCE, atol=TOLERANCE * scale)


def test_reference_gives_a_hand_worked_example():
    # y₃ = 4 + 0.5·10, cut before it: y₂ = 3, y₁ = 2 + 0.5·3, y₀ = 1 + 0.5·3.5
    y = affine_scan_reference([1.0, 2.0, 3.0, 4.0], [0.5, 0.5, 0.0, 0.5], 10.0)
    assert y.tolist() == [2.75, 3.5, 3.0, 9.0]


def test_scan_gives_the_hand_worked_example():
    y = affine_scanned(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.5, 0.5, 0.0, 0.5]), 10.0)
    assert y.tolist() == [2.75, 3.5, 3.0, 9.0]


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("num_rows", LENGTHS)
def test_scan_equals_the_plain_loop_for_every_length(num_rows, library):
    x, a = example(num_rows)
    expected = affine_scan_reference(x, a, 0.75)
    if library == "torch":
        import torch

        x, a = torch.from_numpy(x), torch.from_numpy(a)
    assert_close(affine_scanned(x, a, 0.75), expected, scale=10)
    assert_close(affine_scanned(x, a, 0.75, tile_rows=700), expected, scale=10)


@given(
    st.lists(
        st.tuples(st.integers(-8, 8), st.sampled_from([0, 1, 2, 3, 4])),  # x = n, a = m/4: all exact
        max_size=40,
    ),
    st.integers(-8, 8),
    st.integers(1, 12),
    st.integers(1, 50),
)
@examples(150)
def test_deep_trees_equal_exact_fractions(rows, carry, root_size, tile_rows):
    y, exact = Fraction(carry), []
    for x_t, a_t in reversed(rows):
        y = x_t + Fraction(a_t, 4) * y
        exact.insert(0, y)
    x = np.array([x_t for x_t, _ in rows], np.float64)
    a = np.array([a_t / 4 for _, a_t in rows], np.float64)
    with mock.patch.object(scan, "ROOT_SIZE", root_size):
        actual = affine_scan(x, a, float(carry), tile_rows=tile_rows)
    scale = 1 + max((abs(float(number)) for number in exact), default=0)
    assert_close(actual, np.array([float(number) for number in exact]), scale)


@pytest.mark.parametrize("gamma_lam", [0.0, 0.5, 0.9405, 1.0])
def test_constant_decay_equals_the_explicit_sum(gamma_lam):
    x, _ = example(3000)
    weights = gamma_lam ** np.arange(3000.0)
    expected = np.array([weights[: 3000 - t] @ x[t:] for t in range(3000)])
    assert_close(affine_scanned(x, np.full(3000, gamma_lam)), expected, scale=100)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("num_rows", [0, 1, 100, 2049])
def test_a_batch_of_settings_equals_its_rows_one_by_one(num_rows, library):
    x, a = example(num_rows, batch=(3,))
    carries = [0.0, -2.0, 0.5]
    expected = [affine_scanned(x[k], a[k], carries[k], tile_rows=600) for k in range(3)]
    given_carries = np.array(carries)
    if library == "torch":
        import torch

        x, a, given_carries = torch.from_numpy(x), torch.from_numpy(a), torch.tensor(carries)
    actual = affine_scanned(x, a, given_carries, tile_rows=600)
    np.testing.assert_array_equal(np.asarray(actual), np.array(expected).reshape(3, num_rows))


def test_torch_and_numpy_agree_to_the_last_places():
    import torch

    x, a = example(20_000)
    ours = affine_scanned(x, a)
    theirs = affine_scanned(torch.from_numpy(x), torch.from_numpy(a)).numpy()
    np.testing.assert_allclose(theirs, ours, rtol=2e-15, atol=2e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(dtype):
    x, a = (array.astype(dtype) for array in example(3000))
    y = affine_scanned(x, a)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, affine_scan_reference(x, a), rtol=1e-4, atol=1e-4)


def test_scan_is_in_place_and_reads_only_a():
    x, a = example(3000)
    x_before, a_before = x.copy(), a.copy()
    a.setflags(write=False)
    y = affine_scan(x, a)
    assert y is x
    assert not np.array_equal(x, x_before)
    np.testing.assert_array_equal(a, a_before)
    affine_scanned(x_before, a)
    assert not np.array_equal(x_before, y)


def test_strided_views_are_scanned_in_place():
    x, a = example(6000)
    expected = affine_scan_reference(x[::2], a[::-2])
    untouched = x[1::2].copy()
    affine_scan(x[::2], a[::-2])
    assert_close(x[::2], expected, scale=10)
    np.testing.assert_array_equal(x[1::2], untouched)


@given(st.integers(0, 2500), st.integers(0, 2500))
@examples(30)
def test_splitting_anywhere_changes_rounding_only(num_rows, at):
    x, a = example(num_rows)
    at = min(at, num_rows)
    whole = affine_scanned(x, a, 3.0)
    later = affine_scanned(x[at:], a[at:], 3.0)
    earlier = affine_scanned(x[:at], a[:at], later[0] if len(later) else 3.0)
    assert_close(np.concatenate([earlier, later]), whole, scale=10)


def test_a_long_sum_of_ones_is_exact():
    ones = np.ones(300_001)  # beyond one tile; every partial sum is a whole number
    np.testing.assert_array_equal(affine_scanned(ones, ones), np.arange(300_001, 0, -1.0))


def test_small_weights_are_never_truncated():
    x, a = np.zeros(1001), np.full(1001, 0.5)
    x[-1] = 1.0
    np.testing.assert_array_equal(affine_scanned(x, a), 0.5 ** np.arange(1000, -1, -1.0))  # down to 9e-302
    x[-1] = 2.0**1000
    assert affine_scanned(x, a)[0] == 1.0


def test_one_tile_scan_serves_tiles_of_other_sizes():
    tile = TileScan(3000, like=np.empty(0))
    for num_rows in (3000, 5, 0, 2999, 257):
        x, a = example(num_rows, seed=num_rows)
        tile.fold(x, a)
        (head,) = tile.solve([1.5])
        tile.unfold(x_out := np.empty(num_rows, np.float32))
        expected = affine_scan_reference(example(num_rows, seed=num_rows)[0], a, 1.5)
        np.testing.assert_allclose(x_out, expected, rtol=1e-6, atol=1e-6)
        assert_close(head, expected[0] if num_rows else 1.5, scale=10)
