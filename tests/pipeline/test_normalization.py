"""Normalised advantages against the plain formula over all of them at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pipeline.rollout_tables import Rollout, rollouts, write
from pipeline.running import STORES, columns_of, computed, small_blocks
from profiles import examples

import gaecli

DDOFS = st.sampled_from([0, 1])
FLOORS = st.sampled_from(["add", "clamp", "rsqrt"])
EPSILONS = st.sampled_from([1e-8, 1e-3, 2.0])


def plain(advantages: np.ndarray, ddof: int, eps: float, floor: str) -> np.ndarray:
    """(A - mean) / divisor over one group; 0 where nothing varies."""
    if len(advantages) <= ddof or np.ptp(advantages) <= 1e-12 * np.abs(advantages).max():
        return np.zeros(len(advantages))
    std = np.std(advantages, ddof=ddof)
    divisor = {"add": std + eps, "clamp": max(std, eps), "rsqrt": math.sqrt(std**2 + eps)}[floor]
    return (advantages - np.mean(advantages)) / divisor


def by_group(advantages: np.ndarray, labels: list[Hashable], formula: Callable) -> np.ndarray:
    found = np.empty(len(advantages))
    for label in set(labels):
        where = np.array([other == label for other in labels])
        found[where] = formula(advantages[where])
    return found


def assert_normalized(found: np.ndarray, wanted: np.ndarray, raw: np.ndarray) -> None:
    """To 1e-9 of a standard deviation, as long as the advantages vary by more than rounding."""
    spread = np.ptp(raw)
    assume(len(raw) < 2 or spread == 0 or spread > 1e-6 * np.abs(raw).max())
    assert found == pytest.approx(wanted, abs=1e-9 * max(1.0, np.abs(wanted).max(initial=0.0)))


@examples(30)
@given(
    rollout=rollouts(),
    rows_per_block=st.integers(1, 20),
    store_bytes=STORES,
    ddof=DDOFS,
    eps=EPSILONS,
    floor=FLOORS,
    scope=st.sampled_from(["all", "file"]),
)
def test_over_one_file_it_is_the_plain_formula(
    rollout: Rollout,
    rows_per_block: int,
    store_bytes: int | None,
    ddof: int,
    eps: float,
    floor: str,
    scope: str,
) -> None:
    with small_blocks(rows_per_block, store_bytes=store_bytes, dtype=np.float64) as folder:
        path = write(rollout, folder / "r.parquet", 5)
        _, columns = computed(
            path, normalize=scope, norm_ddof=ddof, norm_eps=eps, norm_floor=floor, keep_raw=True
        )
    raw = rollout.advantages(0.99, 0.95)
    assert columns["advantage_raw"] == pytest.approx(raw, abs=1e-12 * rollout.scale)
    assert columns["return"] == pytest.approx(raw + rollout.values, abs=1e-12 * rollout.scale)
    assert_normalized(columns["advantage"], plain(raw, ddof, eps, floor), raw)


@examples(30)
@given(
    rollout=rollouts(),
    rows_per_block=st.integers(1, 20),
    store_bytes=STORES,
    ddof=DDOFS,
    floor=FLOORS,
)
def test_per_episode_it_is_the_plain_formula_of_every_episode(
    rollout: Rollout, rows_per_block: int, store_bytes: int | None, ddof: int, floor: str
) -> None:
    with small_blocks(rows_per_block, store_bytes=store_bytes, dtype=np.float64) as folder:
        path = write(rollout, folder / "r.parquet", 5)
        summary, columns = computed(path, normalize="episode", norm_ddof=ddof, norm_floor=floor)
    raw = rollout.advantages(0.99, 0.95)
    wanted = np.empty(len(raw))
    for rows in rollout.rows:
        spread = np.ptp(raw[rows])
        assume(len(rows) < 2 or spread > 1e-6 * np.abs(raw[rows]).max())
        wanted[rows] = plain(raw[rows], ddof, 1e-8, floor)
    assert columns["advantage"] == pytest.approx(wanted, abs=1e-8)
    assert summary.normalization.num_groups == len(rollout.trajectories)


@examples(30)
@given(
    rollout=rollouts(),
    rows_per_block=st.integers(1, 20),
    store_bytes=STORES,
    data=st.data(),
    labels=st.sampled_from([["a", "b", None], [1, 2, 3], [0.5, None, -1.0], [True, False]]),
)
def test_by_a_column_it_is_the_plain_formula_of_every_value(
    rollout: Rollout, rows_per_block: int, store_bytes: int | None, data: st.DataObject, labels: list
) -> None:
    rows = rollout.num_rows
    drawn = data.draw(st.lists(st.sampled_from(labels), min_size=rows, max_size=rows))
    with small_blocks(rows_per_block, store_bytes=store_bytes, dtype=np.float64) as folder:
        path = folder / "r.parquet"
        pq.write_table(rollout.table.append_column("task", pa.array(drawn)), path, row_group_size=5)
        summary, columns = computed(path, normalize_by="task")
    raw = rollout.advantages(0.99, 0.95)
    for label in set(drawn):
        group = raw[[other == label for other in drawn]]
        assume(len(group) < 2 or np.ptp(group) > 1e-6 * np.abs(group).max())
    wanted = by_group(raw, drawn, lambda group: plain(group, 1, 1e-8, "add"))
    assert columns["advantage"] == pytest.approx(wanted, abs=1e-8)
    assert summary.normalization.num_groups == len(set(drawn))


@examples(30)
@given(several=st.lists(rollouts(), min_size=2, max_size=4), rows_per_block=st.integers(1, 20))
def test_over_all_files_it_is_the_plain_formula_of_their_union(
    several: list[Rollout], rows_per_block: int
) -> None:
    with small_blocks(rows_per_block, dtype=np.float64) as folder:
        paths = [write(rollout, folder / f"{i}.parquet", 5) for i, rollout in enumerate(several)]
        summary = gaecli.compute(paths, normalize="all", memory_bytes=1 << 20)
        assert {file.status for file in summary.files} == {"written"}
        found = [columns_of(path)["advantage"] for path in paths]
        # One after the other, the second time: nothing is done twice, and nothing changes.
        again = gaecli.compute(paths, normalize="all", memory_bytes=1 << 20)
        assert {file.status for file in again.files} == {"up to date"}
    raw = np.concatenate([rollout.advantages(0.99, 0.95) for rollout in several])
    assert_normalized(np.concatenate(found), plain(raw, 1, 1e-8, "add"), raw)
    if np.ptp(raw) > 1e-6:
        assert summary.normalization.mean == pytest.approx(raw.mean(), abs=1e-9)
        assert summary.normalization.std == pytest.approx(raw.std(ddof=1), abs=1e-9)


def test_per_file_each_file_has_its_own_constants(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.parquet" for number in range(3)]
    for number, path in enumerate(paths):
        pq.write_table(noise(20, seed=number, scale=10.0**number), path)
    for join in (None, True):
        summary = gaecli.compute(paths, normalize="file", keep_raw=True, join=join, overwrite=True)
        for path in paths:
            columns = columns_of(path)
            wanted = plain(columns["advantage_raw"], 1, 1e-8, "add")
            assert columns["advantage"] == pytest.approx(wanted, abs=1e-5)
        assert summary.normalization.scope == "file"
        assert summary.normalization.num_groups == 3
        assert summary.normalization.mean is None
        assert summary.normalization.std is None


def test_groups_that_lie_in_several_files_of_a_stream_are_counted_once(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.parquet" for number in range(3)]
    for number, path in enumerate(paths):
        table = noise(20, seed=number).append_column("task", pa.array(["a", "b", "b", "b"] * 5))
        pq.write_table(table, path)
    summary = gaecli.compute(paths, normalize="all", normalize_by="task", join=True)
    assert summary.normalization.num_groups == 2
    assert [(group.label, group.count) for group in summary.normalization.groups] == [("a", 15), ("b", 45)]


def noise(rows: int, seed: int = 0, scale: float = 1.0) -> pa.Table:
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "reward": random.normal(size=rows) * scale,
            "value": random.normal(size=rows) * scale,
            "terminated": np.arange(rows) % 7 == 6,
        }
    )


@pytest.mark.pairs
@pytest.mark.parametrize("scope", ["all", "file", "episode"])
@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("floor", ["add", "clamp", "rsqrt"])
@pytest.mark.parametrize("eps", [0.0, 1e-8])
def test_one_step_is_normalized_to_zero_and_says_so(
    scope: str, ddof: int, floor: str, eps: float, tmp_path: Path
) -> None:
    path = tmp_path / "one.parquet"
    pq.write_table(pa.table({"reward": [3.0], "value": [1.0], "terminated": [True]}), path)
    summary, columns = computed(path, normalize=scope, norm_ddof=ddof, norm_floor=floor, norm_eps=eps)
    assert columns["advantage"].tolist() == [0.0]
    assert columns["return"].tolist() == [3.0]
    assert "zero-variance" in [note.code for note in summary.warnings]


@pytest.mark.pairs
@pytest.mark.parametrize("scope", ["all", "file", "episode"])
@pytest.mark.parametrize("reward", [0.1, 0.7, 1e8 + 0.1])
@pytest.mark.parametrize("count", [3, 7, 50])
def test_equal_advantages_are_normalized_to_zero_and_say_so(
    scope: str, reward: float, count: int, tmp_path: Path
) -> None:
    path = tmp_path / "equal.parquet"
    # Every step ends its episode. The mean of so many 0.1 is not 0.1, by the last place of float64.
    table = pa.table({"reward": [reward] * count, "value": [0.0] * count, "terminated": [True] * count})
    pq.write_table(table, path)
    summary, columns = computed(path, normalize=scope)
    assert columns["advantage"].tolist() == [0.0] * count
    assert "zero-variance" in [note.code for note in summary.warnings]
    (note,) = [note for note in summary.warnings if note.code == "zero-variance"]
    assert note.count == (count if scope == "episode" else 1)


def test_a_large_offset_of_all_advantages_costs_no_digits(tmp_path: Path) -> None:
    rows = 3000
    random = np.random.default_rng(0)
    noise_ = np.round(random.normal(size=rows), 3)
    rewards = noise_ + 2.0**27  # exact to 1e-3 by far
    table = pa.table({"reward": rewards, "value": np.zeros(rows), "terminated": [True] * rows})
    with small_blocks(64, store_bytes=0, dtype=np.float64) as folder:
        path = folder / "r.parquet"
        pq.write_table(table, path, row_group_size=100)
        _, columns = computed(path, normalize="all")
    exact = rewards - 2.0**27
    assert columns["advantage"] == pytest.approx(plain(exact, 1, 1e-8, "add"), abs=1e-7)


def test_keep_raw_without_normalization_writes_no_third_column(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(noise(20), path)
    computed(path, keep_raw=True)
    assert "advantage_raw" not in pq.read_schema(path).names
