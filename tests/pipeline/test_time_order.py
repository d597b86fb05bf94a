"""Rules that read the next row in time, whatever trajectory it is of: by a plain loop, in blocks of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from covers import turns
from hypothesis import given
from hypothesis import strategies as st
from pipeline.rollout_tables import a_table
from pipeline.running import STORE_BYTES, columns_of, small_blocks
from profiles import examples

import gaecli

GAMMA, LAM = 0.9, 0.8
Columns = dict[str, np.ndarray]
#: (the rows of one environment in time, step, what the bootstrap rule gives) -> (δ, whether the trace goes on)
Rule = Callable[[Columns, int, str], tuple[float, bool]]


def exactly(rows: Columns, t: int, bootstrap: str) -> tuple[float, bool]:
    is_last = t + 1 == len(rows["reward"])
    is_cut = rows["terminated"][t] or rows["truncated"][t] or is_last or rows["id"][t] != rows["id"][t + 1]
    if rows["terminated"][t]:
        following = 0.0
    elif not np.isnan(rows["next_value"][t]):
        following = rows["next_value"][t]
    elif is_cut:
        following = rows["value"][t] if bootstrap == "current" else 0.0
    else:
        following = rows["value"][t + 1]
    return rows["reward"][t] + GAMMA * following - rows["value"][t], not is_cut


def leaking(rows: Columns, t: int, bootstrap: str) -> tuple[float, bool]:
    if t + 1 == len(rows["reward"]) or not rows["truncated"][t]:
        return exactly(rows, t, bootstrap)
    return rows["reward"][t] + GAMMA * rows["value"][t + 1] - rows["value"][t], True


def reset(rows: Columns, t: int, bootstrap: str) -> tuple[float, bool]:
    delta, goes_on = leaking(rows, t, bootstrap)
    return delta, goes_on and not rows["truncated"][t]


def early(rows: Columns, t: int, bootstrap: str) -> tuple[float, bool]:
    """AgileRL: `next_non_terminal` is of the flag in the next row."""
    ended = rows["terminated"] | rows["truncated"]
    if t + 1 < len(ended) and (ended[t] or rows["id"][t] == rows["id"][t + 1]):
        goes_on = not ended[t + 1]
        return rows["reward"][t] + GAMMA * rows["value"][t + 1] * goes_on - rows["value"][t], goes_on
    # Nothing but the id ends it, or the rows.
    alone = {**{name: column[t : t + 1] for name, column in rows.items()}, "truncated": np.array([False])}
    return exactly(alone, 0, bootstrap)


def arriving(rows: Columns, t: int, bootstrap: str) -> tuple[float, bool]:
    """PufferLib: reward and terminal flag of an action stand in the next row; the last one has no transition."""
    if t + 1 == len(rows["reward"]):
        return 0.0, False
    goes_on = not rows["terminated"][t + 1]
    following = rows["value"][t + 1] * goes_on
    return rows["reward"][t + 1] + GAMMA * following - rows["value"][t], goes_on


RULES: dict[str, tuple[Rule, dict[str, Any]]] = {
    "leak": (leaking, {"truncation": "leak"}),
    "reset": (reset, {"truncation": "reset"}),
    "early": (early, {"preset": "agilerl"}),
    "arrival": (arriving, {"preset": "pufferlib"}),
}
#: What else is computed under such a rule, beside GAE: sums over windows and trajectories, traces, several rewards.
OTHERS: dict[str, dict[str, Any]] = {
    "mc, leak": {"estimator": "mc", "truncation": "leak"},
    "mc, arrival": {"estimator": "mc", "preset": "pufferlib"},
    "n-step, early": {"estimator": "n-step", "n_steps": 3, "preset": "agilerl"},
    "by length, leak": {"lam_alpha": 0.2, "truncation": "leak"},
    "brax, reset": {"preset": "brax", "truncation": "reset"},
    "vtrace, early": {"estimator": "vtrace", "preset": "agilerl"},
    "upgo, arrival": {"estimator": "upgo", "preset": "pufferlib"},
    "streams, early": {
        "preset": "agilerl",
        "stream": ["ext=reward,value", "int=curiosity,curiosity_value,gamma=0.8,cut=never"],
    },
}
KEYS = ("env", "ids", "env and ids", "flags", "starts")


def by_loop(columns: Columns, rule: Rule, bootstrap: str) -> np.ndarray:
    found = np.full(len(columns["reward"]), np.nan)
    for env in np.unique(columns["env"]):
        at = np.flatnonzero(columns["env"] == env)
        rows, later = {name: column[at] for name, column in columns.items()}, 0.0
        for t in range(len(at) - 1, -1, -1):
            delta, goes_on = rule(rows, t, bootstrap)
            later = delta + (GAMMA * LAM * later if goes_on else 0.0)
            found[at[t]] = later
    return found


def rollout(seed: int, keys: str, *, arrives: bool = False, count: int = 40) -> Columns:
    """Rows in the order of time. Of ids some end where no flag does. `arrives`: flags stand in the row after."""
    random = np.random.default_rng(seed)
    columns = a_table(seed, count, 3 if "env" in keys else 1, end_share=0.2)
    columns["env"], columns["id"] = columns.pop("env_id"), np.zeros(count, np.int64)
    if "ids" in keys:
        for env in np.unique(columns["env"]):
            at = np.flatnonzero(columns["env"] == env)
            ended = (columns["terminated"] | columns["truncated"] | (random.random(count) < 0.1))[at]
            columns["id"][at] = 100 * env + np.append(0, np.cumsum(ended)[:-1])
    if keys == "starts":  # they tell of no limit
        columns["terminated"] |= columns["truncated"]
        columns["truncated"][:] = False
        columns["terminated"][-1] = False
    if arrives:
        for env in np.unique(columns["env"]):
            at = np.flatnonzero(columns["env"] == env)
            columns["terminated"][at] = np.append(False, columns["terminated"][at[:-1]])
        columns["truncated"][:] = False
    extras = {name: random.normal(size=count) for name in ("curiosity", "curiosity_value")}
    return {**columns, **extras, "ratio": random.exponential(size=count)}


def as_table(columns: Columns, keys: str, *, arrives: bool = False) -> pa.Table:
    named = {name: column for name, column in columns.items() if name not in ("env", "id")}
    if "env" in keys:
        named["env_id"] = columns["env"]
    if "ids" in keys:
        named["episode_id"] = columns["id"]
    if keys == "starts":
        ended = named.pop("terminated") | named.pop("truncated")
        named["episode_start"] = ended if arrives else np.append(True, ended[:-1])
    return pa.table(named)


def computed(tables: Sequence[pa.Table], folder: Path, **settings: Any) -> Columns:
    """Of files that follow one another."""
    paths = [folder / f"r{number}.parquet" for number, _ in enumerate(tables)]
    for path, table in zip(paths, tables, strict=True):
        pq.write_table(table, path)
    summary = gaecli.compute(paths, gamma=GAMMA, join=True if len(paths) > 1 else None, **settings)
    assert not summary.failures
    found = [columns_of(path) for path in paths]
    return {
        name: np.concatenate([part[name] for part in found])
        for name in ("advantage", "return")
        if name in found[0]
    }


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("name", "keys", "bootstrap", "block_rows", "store_bytes"),
    turns(RULES, KEYS, ["zero", "current"], [None, 1, 2, 7], STORE_BYTES),
)
@examples(1)
@given(seed=st.integers(0, 99))
def test_what_the_next_row_says_is_read_in_whichever_block_it_is(
    name: str, keys: str, bootstrap: str, block_rows: int | None, store_bytes: int | None, seed: int
) -> None:
    rule, settings = RULES[name]
    columns = rollout(seed, keys, arrives=name == "arrival")
    table = as_table(columns, keys, arrives=name == "arrival")
    with small_blocks(block_rows, store_bytes=store_bytes, dtype=np.float64) as folder:
        found = computed([table], folder, lam=LAM, bootstrap=bootstrap, **settings)
    expected = by_loop(columns, rule, bootstrap)
    np.testing.assert_allclose(found["advantage"], expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found["return"] - found["advantage"], columns["value"], rtol=1e-12, atol=1e-12)


@pytest.mark.few(2)
@pytest.mark.parametrize("name", RULES)
def test_the_next_row_may_be_that_of_the_next_file(name: str) -> None:
    rule, settings = RULES[name]
    columns = rollout(3, "env and ids", arrives=name == "arrival")
    table = as_table(columns, "env and ids", arrives=name == "arrival")
    parts = [table.slice(0, 17), table.slice(17, 1), table.slice(18)]
    with small_blocks(7, dtype=np.float64) as folder:
        found = computed(parts, folder, lam=LAM, **settings)
    np.testing.assert_allclose(found["advantage"], by_loop(columns, rule, "zero"), rtol=1e-12, atol=1e-12)


@pytest.mark.few(5)
@pytest.mark.parametrize(
    ("name", "keys", "block_rows", "store_bytes"), turns(OTHERS, KEYS, [1, 2, 7], STORE_BYTES)
)
@examples(1)
@given(seed=st.integers(0, 99))
def test_rows_cut_anywhere_are_the_rows_of_one_block(
    name: str, keys: str, block_rows: int, store_bytes: int | None, seed: int
) -> None:
    arrives = "arrival" in name
    table = as_table(rollout(seed, keys, arrives=arrives), keys, arrives=arrives)
    with small_blocks(dtype=np.float64) as folder:
        expected = computed([table], folder, **OTHERS[name])
    with small_blocks(block_rows, store_bytes=store_bytes, dtype=np.float64) as folder:
        found = computed([table], folder, **OTHERS[name])
    for column, numbers in found.items():
        np.testing.assert_allclose(numbers, expected[column], rtol=1e-12, atol=1e-12)


@pytest.mark.few(2)
@pytest.mark.parametrize(("name", "row"), [("leak", 20), ("early", 30), ("arrival", None)])
def test_an_end_that_lacks_a_value_is_one_under_the_rule(name: str, row: int | None) -> None:
    """A limit that leaks needs none, nor does a row without a transition: the end by an id, or that of all does."""
    columns = rollout(0, "ids", arrives=name == "arrival", count=31)
    columns["terminated"][:], columns["next_value"][:] = False, np.nan
    columns["truncated"] = np.isin(np.arange(31), [4, 12]) & (name != "arrival")
    columns["id"] = np.searchsorted([4, 12, 20] if name == "leak" else [4, 12], np.arange(31))
    pq_table = as_table(columns, "ids")
    for block_rows in (None, 1, 7):
        with small_blocks(block_rows) as folder:
            pq.write_table(pq_table, folder / "r.parquet")
            if row is None:
                gaecli.compute(folder / "r.parquet", bootstrap="error", **RULES[name][1])
                continue
            with pytest.raises(gaecli.DataError, match=f"ends at row {row} of"):
                gaecli.compute(folder / "r.parquet", bootstrap="error", **RULES[name][1])
