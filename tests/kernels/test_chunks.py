"""Many scans over rows that are laid out once, against a plain loop over each."""

from __future__ import annotations

import numpy as np
import pytest

from gaecli.kernels import chunks
from gaecli.kernels.chunks import ChunkedRows, EnteringTerms


def plain(x, a, cuts):
    y, following = np.empty(len(x)), 0.0
    for row in range(len(x) - 1, -1, -1):
        following = x[row] if cuts[row] else x[row] + a[row] * following
        y[row] = following
    return y


def scanned(x, a, cuts, module=np, make=np.asarray, width=7, entering=None):
    """[K, N] in the order of the rows; `entering`: (rows, [K, E] what is added to x there)."""
    rows = ChunkedRows(cuts, width)
    order = rows.order
    assert sorted(order.tolist()) == list(range(len(cuts)))
    terms = None
    if entering is not None:
        columns = rows.columns_of_last(entering[0])
        ascending = np.argsort(columns)
        terms = EnteringTerms(columns[ascending], make(entering[1][:, ascending].copy()))
    found = np.full((len(a), len(cuts)), np.nan)
    a = make(a if a.shape[1] == 1 else a[:, order].copy())
    for places, tile in rows.scan(make(x[..., order].copy()), a, terms, module):
        assert tile.shape[1] <= max(width, 1)
        found[:, order[places]] = np.asarray(tile)
    return found


CUTS = {
    "one row": [0],
    "every row": range(40),
    "one trajectory": [39],
    "of all lengths": [0, 4, 5, 12, 20, 38],  # the last row is the end of one, told or not
}


@pytest.mark.pairs
@pytest.mark.parametrize("width", [1, 3, 1000])
@pytest.mark.parametrize("chunk_rows", [1, 4, 256])
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("per_row", [False, True])
def test_every_scan_is_a_plain_loop(monkeypatch, width, chunk_rows, cut, per_row):
    monkeypatch.setattr(chunks, "CHUNK_ROWS", chunk_rows)
    generator = np.random.default_rng(3)
    ends = list(CUTS[cut])
    cuts = np.zeros(1 if cut == "one row" else 40, np.bool_)
    cuts[ends] = True
    x = generator.standard_normal(len(cuts))
    a = generator.random((3, len(cuts) if per_row else 1))
    last = np.flatnonzero(cuts)[::-2]
    more = generator.standard_normal((3, len(last)))
    expected = []
    for one, added in zip(a, more, strict=True):
        with_more = x.copy()
        with_more[last] += added
        expected.append(plain(with_more, np.broadcast_to(one, len(x)), cuts))
    found = scanned(x, a, cuts, width=width, entering=(last, more))
    # Sums of at most 40 terms below 10, each rounded a few times.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("per_row", [False, True])
def test_several_x_have_each_their_own_scans(monkeypatch, per_row):
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 4)
    generator = np.random.default_rng(5)
    x, cuts = generator.standard_normal((2, 60)), generator.random(60) < 0.1
    cuts[-1] = True
    a = generator.random((6, 60 if per_row else 1))
    last = np.flatnonzero(cuts)
    more = generator.standard_normal((6, len(last)))
    expected = []
    for scan, (one, added) in enumerate(zip(a, more, strict=True)):
        with_more = x[scan // 3].copy()
        with_more[last] += added
        expected.append(plain(with_more, np.broadcast_to(one, 60), cuts))
    np.testing.assert_allclose(scanned(x, a, cuts, entering=(last, more)), expected, rtol=0, atol=1e-13)


def test_nothing_passes_a_cut_not_even_a_nan():
    cuts = np.array([False, True, False, True])
    with np.errstate(invalid="ignore"):
        y = scanned(np.array([1.0, 2.0, np.nan, np.inf]), np.array([[0.5], [0.0]]), cuts)
    assert y[:, :2].tolist() == [[2.0, 2.0], [1.0, 2.0]]


def test_torch_scans_the_same(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 4)
    generator = np.random.default_rng(4)
    x, a, cuts = generator.standard_normal(60), generator.random((2, 1)), generator.random(60) < 0.1
    for given in (x, np.stack((x, -2 * x))):
        found = scanned(given, a, cuts, torch, lambda array: torch.from_numpy(np.ascontiguousarray(array)))
        np.testing.assert_allclose(found, scanned(given, a, cuts), rtol=0, atol=1e-13)
