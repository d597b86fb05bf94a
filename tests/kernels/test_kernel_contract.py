"""What every kernel of the registry does, held against the sum that the recurrence stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gaecli.kernels import scan
from gaecli.kernels.devices import choose_device
from gaecli.kernels.registry import KERNELS, Kernel, kernel_for


class GivenTerms:
    """x and a as arrays, with 0 put in at cuts, as the protocol asks."""

    def __init__(self, x: np.ndarray, a: np.ndarray, cuts: np.ndarray, decay: float | None = None) -> None:
        self.num_rows = len(x)
        self.x, self.a, self.cuts = x, np.where(cuts, 0.0, a), cuts
        self.decay = decay

    def fill(self, x: Any, a: Any, rows: slice, arrays: Any) -> None:
        x[...] = arrays.numbers(self.x[rows])
        if a is not None:
            a[...] = arrays.numbers(self.a[rows])


def explicit_sums(terms: GivenTerms) -> np.ndarray:
    """y_t = Σ_l (Π_{k<l} a_{t+k}) x_{t+l}, to the next cut: no recursion."""
    sums, xs, weights = [], terms.x.tolist(), terms.a.tolist()
    for t in range(terms.num_rows):
        total, weight = 0.0, 1.0
        for x, a in zip(xs[t:], weights[t:], strict=True):
            total += weight * x
            weight *= a
            if weight == 0.0:
                break
        sums.append(total)
    return np.array(sums)


def made_terms(
    num_rows: int, cut_rate: float = 0.05, seed: int = 3, decay: float | None = None
) -> GivenTerms:
    rng = np.random.default_rng(seed)
    cuts = rng.random(num_rows) < cut_rate
    cuts[-1:] = True
    a = rng.uniform(0.5, 1.0, num_rows) if decay is None else np.full(num_rows, decay)
    return GivenTerms(rng.normal(size=num_rows), a, cuts, decay)


def scanned(kernel: Kernel, terms: GivenTerms, **how: Any) -> np.ndarray:
    out = np.full(terms.num_rows, 77.0, how.pop("dtype", np.float64))
    usual = {"device": None, "precision": "double", "threads": 1}
    kernel.scan_terms(terms, out, **(usual | how))
    return out


@pytest.fixture(autouse=True)
def several_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the tree, for the few rows that these tests have."""
    monkeypatch.setattr(scan, "ROOT_SIZE", 20)


@pytest.fixture(params=KERNELS, ids=lambda kernel: kernel.name)
def kernel(request: pytest.FixtureRequest) -> Kernel:
    return request.param


@pytest.fixture(params=[None, "cpu"], ids=["numpy", "torch"])
def device(request: pytest.FixtureRequest) -> Any:
    return None if request.param is None else choose_device(request.param, 0)


@pytest.fixture(params=[None, 0.9], ids=["a decay for each row", "one decay"])
def decay(request: pytest.FixtureRequest) -> float | None:
    return request.param


@pytest.mark.few(10)
@pytest.mark.parametrize("num_rows", [0, 1, 2, 257, 1000])
@pytest.mark.parametrize("cut_rate", [0.0, 0.01, 0.05, 1.0])
def test_it_gives_the_explicit_sums(
    kernel: Kernel, device: Any, num_rows: int, cut_rate: float, decay: float | None
) -> None:
    terms = made_terms(num_rows, cut_rate, decay=decay)
    actual = scanned(kernel, terms, device=device, tile_rows=300)
    np.testing.assert_allclose(actual, explicit_sums(terms), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("one", [0.0, 1e-60, 1.0])
def test_any_decay_that_all_rows_have_gives_the_explicit_sums(kernel: Kernel, one: float) -> None:
    terms = made_terms(1000, 0.01, decay=one)
    actual = scanned(kernel, terms, tile_rows=300)
    np.testing.assert_allclose(actual, explicit_sums(terms), rtol=1e-12, atol=1e-11)


def test_numbers_behind_a_cut_leave_no_trace_however_large(kernel: Kernel, decay: float | None) -> None:
    terms = made_terms(1000, 0.01, decay=decay)
    cut = int(np.flatnonzero(terms.cuts)[4])
    alone = scanned(kernel, terms, tile_rows=400)
    terms.x[cut + 1 :] *= 1e200
    np.testing.assert_array_equal(scanned(kernel, terms, tile_rows=400)[: cut + 1], alone[: cut + 1])


@pytest.mark.pairs
@pytest.mark.parametrize("tile_rows", [128, 300])
def test_what_is_not_finite_spoils_the_rows_before_it_up_to_the_cut(
    kernel: Kernel, device: Any, tile_rows: int, decay: float | None
) -> None:
    terms = made_terms(900, cut_rate=0.0, decay=decay)
    for cut in (99, 499, 899):
        terms.cuts[cut], terms.a[cut] = True, 0.0
    terms.x[[50, 300, 400]] = [np.nan, np.inf, -np.inf]
    actual = scanned(kernel, terms, device=device, tile_rows=tile_rows)
    assert np.flatnonzero(np.isnan(actual)).tolist() == [*range(51), *range(100, 401)]


def test_a_cut_at_the_end_of_a_tile_keeps_out_what_is_not_finite(kernel: Kernel, device: Any) -> None:
    terms = made_terms(300, cut_rate=0.0)
    terms.cuts[199], terms.a[199] = True, 0.0
    terms.x[200] = np.nan
    actual = scanned(kernel, terms, device=device, tile_rows=100)
    assert np.flatnonzero(np.isnan(actual)).tolist() == [200]


def test_a_step_without_weight_passes_what_is_not_finite_on_all_the_same(kernel: Kernel, device: Any) -> None:
    terms = made_terms(10, cut_rate=0.0)
    terms.a[4] = 0.0  # λ = 0, or a row that is no step: no cut
    terms.x[7] = np.nan
    assert np.isnan(scanned(kernel, terms, device=device)).tolist() == [True] * 8 + [False] * 2


@pytest.mark.few(12)
@pytest.mark.parametrize("cut_rate", [0.01, 0.05])
def test_it_writes_to_views_of_any_float_type(
    kernel: Kernel, device: Any, decay: float | None, cut_rate: float
) -> None:
    terms = made_terms(600, cut_rate, decay=decay)
    expected = scanned(kernel, terms, device=device).astype(np.float32)
    for order in ("C", "F"):  # a column of the second one is whole
        columns = np.zeros((600, 3), np.float32, order)
        kernel.scan_terms(terms, columns[:, 1], device=device, precision="double", threads=2)
        np.testing.assert_array_equal(columns[:, 1], expected)
        assert not columns[:, [0, 2]].any()


@pytest.mark.few(3)
def test_threads_change_no_bit(kernel: Kernel, device: Any, decay: float | None) -> None:
    terms = made_terms(5000, cut_rate=0.001, decay=decay)
    alone = scanned(kernel, terms, device=device, tile_rows=512)
    np.testing.assert_array_equal(scanned(kernel, terms, device=device, tile_rows=512, threads=5), alone)


def test_the_law_is_never_taken_by_itself() -> None:
    devices = [None, choose_device("auto", 0), choose_device("cpu", 0)]
    assert {kernel_for(device).name for device in devices} == {"tiles"}


def test_names_are_unique() -> None:
    names = [kernel.name for kernel in KERNELS]
    assert len(set(names)) == len(names)
