"""TD errors, λ-returns and n-step returns: against loops, and against each other where they must meet."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline.running import small_blocks

import gaecli
from gaecli.estimators.n_step import window_sums

GAMMA = 0.9


def rollout(seed: int = 0, count: int = 90) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    ended = random.random(count) < 0.15
    return {
        "reward": random.normal(size=count),
        "value": random.normal(size=count),
        "terminated": ended & (random.random(count) < 0.5),
        "truncated": ended,
        "next_value": random.normal(size=count),
    }


def following(columns: dict[str, np.ndarray], t: int) -> float:
    return 0.0 if columns["terminated"][t] else float(columns["next_value"][t])


def stop_of(columns: dict[str, np.ndarray], t: int) -> int:
    """Where the trajectory of t stops."""
    while not columns["truncated"][t] and t < len(columns["reward"]) - 1:
        t += 1
    return t + 1


def n_step_return(columns: dict[str, np.ndarray], t: int, n: int) -> float:
    """The definition: so many rewards, and V of the state after the last of them."""
    stop = min(t + n, stop_of(columns, t))
    total = sum(GAMMA ** (k - t) * float(columns["reward"][k]) for k in range(t, stop))
    return total + GAMMA ** (stop - t) * following(columns, stop - 1)


def computed(tmp_path: Path, columns: dict[str, np.ndarray], **settings: Any) -> dict[str, np.ndarray]:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table(columns), path)
    with small_blocks(dtype=np.float64):
        gaecli.compute(path, gamma=GAMMA, **settings)
    table = pq.read_table(path)
    return {name: table[name].to_numpy() for name in ("advantage", "return")}


def along(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The next value of a step is the value of the next row, but at ends: there it is another state's."""
    next_value = columns["next_value"].copy()
    is_inside = ~columns["truncated"][:-1]
    next_value[:-1][is_inside] = columns["value"][1:][is_inside]
    return {**columns, "next_value": next_value}


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 1000])
def test_n_step_returns_are_those_of_the_definition(tmp_path: Path, n: int) -> None:
    columns = along(rollout())
    found = computed(tmp_path, columns, estimator="n-step", n_steps=n)
    returns = [n_step_return(columns, t, n) for t in range(len(columns["reward"]))]
    np.testing.assert_allclose(found["return"], returns, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found["advantage"], returns - columns["value"], rtol=1e-12, atol=1e-12)


def test_td0_is_the_error_of_one_step(tmp_path: Path) -> None:
    columns = along(rollout())
    targets = [n_step_return(columns, t, 1) for t in range(len(columns["reward"]))]
    found = computed(tmp_path, columns, estimator="td0")
    np.testing.assert_allclose(found["return"], targets, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(found["advantage"], targets - columns["value"], rtol=1e-13, atol=1e-13)


def test_td_lambda_is_the_mixture_of_the_n_step_returns(tmp_path: Path) -> None:
    """(1 - λ) Σ λⁿ⁻¹ G⁽ⁿ⁾, and what is left of the weights on the last of them."""
    lam, columns = 0.7, along(rollout())
    found = computed(tmp_path, columns, estimator="td-lambda", lam=lam)
    for t in range(len(columns["reward"])):
        length = stop_of(columns, t) - t
        steps = [n_step_return(columns, t, n) for n in range(1, length + 1)]
        weights = [(1 - lam) * lam ** (n - 1) for n in range(1, length)] + [lam ** (length - 1)]
        expected = sum(weight * step for weight, step in zip(weights, steps, strict=True))
        assert found["return"][t] == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_a_window_longer_than_every_trajectory_is_the_monte_carlo_return(tmp_path: Path) -> None:
    columns = along(rollout())
    long = computed(tmp_path, columns, estimator="n-step", n_steps=500)["return"]
    path = tmp_path / "mc.parquet"
    pq.write_table(pa.table(columns), path)
    with small_blocks(dtype=np.float64):
        gaecli.compute(path, gamma=GAMMA, estimator="mc")
    np.testing.assert_allclose(pq.read_table(path)["return"].to_numpy(), long, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("preset", ["brax", "finite-horizon", "spinup"])
def test_recursions_of_presets_say_nothing_to_them(tmp_path: Path, preset: str) -> None:
    columns = along(rollout())
    shared = {"truncation": "exact", "normalize": "none", "done_at": "end"}
    plain = computed(tmp_path, columns, estimator="td-lambda", lam=0.5, **shared)
    found = computed(tmp_path, columns, estimator="td-lambda", lam=0.5, preset=preset, **shared)
    np.testing.assert_allclose(found["advantage"], plain["advantage"], rtol=1e-12, atol=1e-12)


@given(
    st.lists(st.integers(-1000, 1000), max_size=40),
    st.sets(st.integers(0, 39)),
    st.integers(1, 60),
    st.sampled_from([Fraction(1), Fraction(3, 4), Fraction(0)]),
)
def test_windows_equal_exact_fractions(terms: list[int], cuts: set[int], n: int, gamma: Fraction) -> None:
    """Numbers that float64 holds without rounding, so that any other order of sums would give them as well."""
    count = len(terms)
    stops = sorted({cut + 1 for cut in cuts if cut < count} | {count})
    ends = np.array([next(stop for stop in stops if stop > t) for t in range(count)], np.int64)
    expected = [
        float(sum(gamma ** (k - t) * terms[k] for k in range(t, min(t + n, int(ends[t])))))
        for t in range(count)
    ]
    found = window_sums(np.array(terms, np.float64), ends, float(gamma), n)
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-10)


def test_a_window_has_its_digits_after_large_numbers() -> None:
    """Differences of long sums would have none left."""
    terms = np.concatenate(([1e16, -1e16], np.full(100, 1e-3)))
    sums = window_sums(terms, np.full(len(terms), len(terms)), 1.0, 4)
    np.testing.assert_allclose(sums[2:-3], 4e-3, rtol=1e-14)


@pytest.mark.parametrize("n", [0, -1, 1.5, True])
def test_a_window_has_a_whole_number_of_steps(n: Any) -> None:
    with pytest.raises(gaecli.UsageError, match="--n-steps"):
        gaecli.Settings(estimator="n-step", n_steps=n)


def test_the_number_of_steps_has_no_default() -> None:
    with pytest.raises(gaecli.UsageError, match="needs the number of steps"):
        gaecli.Settings(estimator="n-step")


def test_steps_are_refused_where_they_say_nothing() -> None:
    with pytest.raises(gaecli.UsageError, match="says nothing to `--estimator gae`"):
        gaecli.Settings.from_preset("exact", n_steps=3)
