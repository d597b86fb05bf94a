"""TD errors, λ-returns and n-step returns: against loops, and against each other where they must meet."""

from __future__ import annotations

import math
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


def computed(
    tmp_path: Path, columns: dict[str, np.ndarray], rows: int | None = None, **settings: Any
) -> dict[str, np.ndarray]:
    """`rows`: of a row group, and of a block."""
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    with small_blocks(rows, dtype=np.float64):
        gaecli.compute(path, gamma=GAMMA, **settings)
    table = pq.read_table(path)
    return {name: table[name].to_numpy() for name in ("advantage", "return")}


def along(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The next value of a step is the value of the next row, but at ends: there it is another state's."""
    next_value = columns["next_value"].copy()
    is_inside = ~columns["truncated"][:-1]
    next_value[:-1][is_inside] = columns["value"][1:][is_inside]
    return {**columns, "next_value": next_value}


def as_they_are(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The next value of a step is another one than V of the next row, as that of a target network is."""
    return columns


#: Of next values inside trajectories, and the rows of a block.
NEXT_VALUES = [(along, None), (as_they_are, None), (as_they_are, 7)]


@pytest.mark.few(6)
@pytest.mark.parametrize(("given", "rows"), NEXT_VALUES)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 1000])
def test_n_step_returns_are_those_of_the_definition(tmp_path: Path, n: int, given: Any, rows: Any) -> None:
    columns = given(rollout())
    found = computed(tmp_path, columns, rows, estimator="n-step", n_steps=n)
    returns = [n_step_return(columns, t, n) for t in range(len(columns["reward"]))]
    np.testing.assert_allclose(found["return"], returns, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found["advantage"], returns - columns["value"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("given", "rows"), NEXT_VALUES)
def test_td0_is_the_error_of_one_step(tmp_path: Path, given: Any, rows: Any) -> None:
    columns = given(rollout())
    targets = [n_step_return(columns, t, 1) for t in range(len(columns["reward"]))]
    found = computed(tmp_path, columns, rows, estimator="td0")
    np.testing.assert_allclose(found["return"], targets, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(found["advantage"], targets - columns["value"], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("given", "rows"), NEXT_VALUES)
def test_td_lambda_is_the_mixture_of_the_n_step_returns(tmp_path: Path, given: Any, rows: Any) -> None:
    """(1 - λ) Σ λⁿ⁻¹ G⁽ⁿ⁾, and what is left of the weights on the last of them."""
    lam, columns = 0.7, given(rollout())
    found = computed(tmp_path, columns, rows, estimator="td-lambda", lam=lam)
    for t in range(len(columns["reward"])):
        length = stop_of(columns, t) - t
        steps = [n_step_return(columns, t, n) for n in range(1, length + 1)]
        weights = [(1 - lam) * lam ** (n - 1) for n in range(1, length)] + [lam ** (length - 1)]
        expected = sum(weight * step for weight, step in zip(weights, steps, strict=True))
        assert found["return"][t] == pytest.approx(expected, rel=1e-12, abs=1e-12)


def lambda_returns(columns: dict[str, np.ndarray], lams: np.ndarray) -> list[float]:
    """G = r + γ ((1 - λ) V' + λ G'), V' whole where no step follows, row by row from the last one."""
    values, count = columns["value"], len(columns["reward"])
    found = [0.0] * count
    for t in reversed(range(count)):
        is_last = t == count - 1 or bool(columns["truncated"][t])
        beyond = following(columns, t)
        if math.isnan(beyond):
            beyond = 0.0 if is_last else float(values[t + 1])
        if not is_last:
            beyond = (1 - lams[t]) * beyond + lams[t] * found[t + 1]
        found[t] = float(columns["reward"][t]) + GAMMA * beyond
    return found


def with_gaps(seed: int) -> dict[str, np.ndarray]:
    """A next value is null now and then, inside trajectories and at their ends."""
    columns = rollout(seed)
    gone = np.random.default_rng(seed).random(90) < 0.4
    return {**columns, "next_value": np.where(gone, np.nan, columns["next_value"])}


@pytest.mark.few(3)
@pytest.mark.parametrize("rows", [None, 7, 1])
@pytest.mark.parametrize("how", ["one", "by row", "by length"])
def test_lambda_returns_have_the_next_values_of_their_own_rows(
    tmp_path: Path, how: str, rows: int | None
) -> None:
    columns = with_gaps(4)
    lengths = [sum(stop_of(columns, k) == stop_of(columns, t) for k in range(90)) for t in range(90)]
    lams = {
        "one": np.full(90, 0.6),
        "by row": np.random.default_rng(1).random(90),
        "by length": 1 - 1 / np.maximum(0.5 * np.array(lengths), 1.0),
    }[how]
    settings = {"one": {"lam": 0.6}, "by row": {"lam_column": "l"}, "by length": {"lam_alpha": 0.5}}[how]
    found = computed(tmp_path, {**columns, "l": lams}, rows, estimator="td-lambda", **settings)
    expected = lambda_returns(columns, lams)
    np.testing.assert_allclose(found["return"], expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found["advantage"], expected - columns["value"], rtol=1e-12, atol=1e-12)


@pytest.mark.few(2)
@pytest.mark.parametrize("rows", [None, 7, 1])
def test_a_step_without_an_advantage_takes_no_part_in_the_return_before_it(
    tmp_path: Path, rows: int | None
) -> None:
    """Under `drop` the step before a truncated one is the last: its next value counts whole."""
    columns = with_gaps(5)
    dropped = columns["truncated"] & ~columns["terminated"]
    before = np.append(dropped[1:], False) & ~columns["truncated"]
    next_value = np.where(np.isnan(columns["next_value"]), np.append(columns["value"][1:], np.nan), np.nan)
    next_value = np.where(before & ~np.isnan(next_value), next_value, columns["next_value"])
    expected = lambda_returns(
        {**columns, "truncated": columns["truncated"] | before, "next_value": next_value}, np.full(90, 0.6)
    )
    found = computed(tmp_path, columns, rows, estimator="td-lambda", lam=0.6, truncation="drop")
    kept = ~dropped
    assert before.sum() > 3
    np.testing.assert_allclose(found["return"][kept], np.array(expected)[kept], rtol=1e-12, atol=1e-12)


@pytest.mark.few(1)
@pytest.mark.parametrize("rows", [None, 7])
def test_environments_that_take_turns_have_returns_of_their_own(tmp_path: Path, rows: int | None) -> None:
    first, second = with_gaps(6), with_gaps(7)
    mixed = {name: np.stack([first[name], second[name]], axis=1).reshape(-1) for name in first}
    found = computed(tmp_path, {**mixed, "env": np.tile([3, 8], 90)}, rows, estimator="td-lambda", lam=0.6)
    for env, columns in enumerate((first, second)):
        expected = lambda_returns(columns, np.full(90, 0.6))
        np.testing.assert_allclose(found["return"][env::2], expected, rtol=1e-12, atol=1e-12)


def test_rows_of_lists_and_arrays_have_the_same_lambda_returns(tmp_path: Path) -> None:
    columns = [with_gaps(seed) for seed in (8, 9)]
    expected = [lambda_returns(one, np.full(90, 0.6)) for one in columns]
    stops = np.flatnonzero(columns[0]["truncated"][:-1]) + 1
    lists = {name: np.split(numbers, stops) for name, numbers in columns[0].items()}
    given = computed(tmp_path, lists, 3, estimator="td-lambda", lam=0.6)["return"]
    np.testing.assert_allclose(np.concatenate(list(given)), expected[0], rtol=1e-12, atol=1e-12)
    path = tmp_path / "r.npz"
    np.savez(path, **{name: np.stack([one[name] for one in columns], axis=1) for name in columns[0]})
    with small_blocks(dtype=np.float64):
        gaecli.compute(path, gamma=GAMMA, estimator="td-lambda", lam=0.6, layout="time-major")
    np.testing.assert_allclose(np.load(path)["return"].T, expected, rtol=1e-12, atol=1e-12)


def test_each_stream_of_rewards_has_the_next_values_that_it_names(tmp_path: Path) -> None:
    columns, other = with_gaps(10), with_gaps(11)
    both = {**columns, "r2": other["reward"], "v2": other["value"], "n2": other["next_value"]}
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table(both), path, row_group_size=7)
    streams = ["a=reward,value,next=next_value", "b=r2,v2,next=n2"]
    with small_blocks(7, dtype=np.float64):
        gaecli.compute(path, gamma=GAMMA, lam=0.6, estimator="td-lambda", stream=streams)
    table = pq.read_table(path)
    ends = {name: columns[name] for name in ("terminated", "truncated")}
    for name, one in {"a": columns, "b": {**other, **ends}}.items():
        expected = lambda_returns(one, np.full(90, 0.6))
        np.testing.assert_allclose(table[f"return_{name}"].to_numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [None, 7])
def test_a_sweep_has_the_returns_of_each_setting(tmp_path: Path, rows: int | None) -> None:
    columns, path, out = with_gaps(12), tmp_path / "r.parquet", tmp_path / "s.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    with small_blocks(rows):
        gaecli.sweep(path, [GAMMA], [0.0, 0.6, 1.0], output=out, estimator="td-lambda")
    swept = pq.read_table(out)
    names = [name for name in swept.column_names if name not in columns]
    assert len(names) == 3
    for name, lam in zip(names, [0.0, 0.6, 1.0], strict=True):
        expected = lambda_returns(columns, np.full(90, lam)) - columns["value"]
        np.testing.assert_allclose(swept[name].to_numpy(), expected, rtol=2e-6, atol=2e-6)


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
