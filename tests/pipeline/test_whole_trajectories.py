"""Estimators that need trajectories whole: the same numbers, however rows are cut, ordered and spread over files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from covers import others, turns
from estimators.kind_loops import n_step
from hypothesis import given
from hypothesis import strategies as st
from matrix.rollout import Rollout
from pipeline.rollout_tables import a_table
from pipeline.running import STORE_BYTES, columns_of, small_blocks
from profiles import examples

import gaecli

GAMMA = 0.9
#: Each of the recursions that reach over the border of a block with more than one number.
SETTINGS: dict[str, dict[str, Any]] = {
    "n-step": {"estimator": "n-step", "n_steps": 4},
    "n-step, longer than all": {"estimator": "n-step", "n_steps": 10_000},
    "by length": {"lam_alpha": 0.2},
    "td-lambda by length": {"estimator": "td-lambda", "lam_alpha": 0.2},
    "vtrace by length": {"estimator": "vtrace", "lam_alpha": 0.2},
    "returns of another lambda": {"lam_value": 1.0},
    "finite-horizon": {"preset": "finite-horizon"},
    "brax": {"preset": "brax"},
    "spinup": {"preset": "spinup"},
    "vapo": {"preset": "vapo", "normalize": "episode"},
}


def rollout(seed: int, count: int = 60, num_envs: int = 3) -> dict[str, np.ndarray]:
    ratios = np.random.default_rng(seed + 1000).exponential(size=count)
    return {**a_table(seed, count, num_envs), "ratio": ratios}


def written(path: Path, columns: dict[str, np.ndarray], **settings: Any) -> dict[str, np.ndarray]:
    pq.write_table(pa.table(columns), path)
    gaecli.compute(path, gamma=GAMMA, **settings)
    return columns_of(path)


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    for name in ("advantage", "return"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-12)


@pytest.mark.few(5)
@pytest.mark.parametrize(
    ("name", "bootstrap", "block_rows", "store_bytes"),
    [
        *turns(SETTINGS, ["zero", "current"], [1, 7], STORE_BYTES),
        *others(SETTINGS, ["zero", "current"], [2, 25], STORE_BYTES),
    ],
)
@examples(2)
@given(seed=st.integers(0, 99))
def test_rows_cut_anywhere_are_the_rows_of_one_block(
    name: str, bootstrap: str, block_rows: int, store_bytes: int | None, seed: int
) -> None:
    columns, settings = rollout(seed, count=40), {**SETTINGS[name], "bootstrap": bootstrap}
    with small_blocks(dtype=np.float64) as folder:
        expected = written(folder / "r.parquet", columns, **settings)
    with small_blocks(block_rows, store_bytes=store_bytes, dtype=np.float64) as folder:
        same(written(folder / "r.parquet", columns, **settings), expected)


@pytest.mark.few(4)
@pytest.mark.parametrize("name", SETTINGS)
def test_trajectories_go_on_in_the_next_file(name: str) -> None:
    """Three times, one of them through a file of one row."""
    columns = rollout(5, num_envs=1)
    with small_blocks(dtype=np.float64) as folder:
        expected = written(folder / "r.parquet", columns, **SETTINGS[name])
    with small_blocks(9, dtype=np.float64) as folder:
        for number, rows in enumerate(np.split(np.arange(60), [17, 18, 50])):
            part = pa.table({key: column[rows] for key, column in columns.items()})
            pq.write_table(part, folder / f"train-{number:05d}-of-00004.parquet")
        gaecli.compute(folder, gamma=GAMMA, **SETTINGS[name])
        tables = [pq.read_table(path) for path in sorted(folder.iterdir())]
    joined = pa.concat_tables(tables)
    same({key: joined[key].to_numpy() for key in ("advantage", "return")}, expected)


@pytest.mark.few(2)
@pytest.mark.parametrize("name", ["n-step", "by length", "finite-horizon"])
def test_start_flags_end_the_last_step_of_the_block_before(name: str) -> None:
    columns = rollout(6, count=30, num_envs=1)
    ended = columns.pop("terminated") | columns.pop("truncated")
    columns["next_value"] = np.append(columns["value"][1:], 0.5)
    columns["episode_start"] = np.append(True, ended[:-1])
    with small_blocks(dtype=np.float64) as folder:
        expected = written(folder / "r.parquet", columns, **SETTINGS[name])
    for block_rows in (1, 2, 7):
        with small_blocks(block_rows, dtype=np.float64) as folder:
            same(written(folder / "r.parquet", columns, **SETTINGS[name]), expected)


def test_arrays_of_times_are_cut_between_times() -> None:
    columns = rollout(7, count=80, num_envs=4)
    arrays = {name: column.reshape(20, 4) for name, column in columns.items() if name != "env_id"}
    found = []
    for rows in (None, 12):
        with small_blocks(rows, dtype=np.float64) as folder:
            np.savez(folder / "r.npz", **arrays)
            gaecli.compute(folder / "r.npz", layout="time-major", estimator="n-step", n_steps=6, gamma=GAMMA)
            found.append(dict(np.load(folder / "r.npz")))
    same(*found)


def test_one_lane_of_a_row_group_may_go_on_alone(tmp_path: Path) -> None:
    """Environments take turns; that of the second alone ends with the first row group, and none with the last."""
    rewards, values = np.random.default_rng(1).normal(size=(2, 2, 8))
    terminated = np.zeros((2, 8), bool)
    terminated[:, -1] = terminated[0, 5] = terminated[1, 3] = True
    following = np.append(values[:, 1:], np.zeros((2, 1)), axis=1)
    columns = {"reward": rewards, "value": values, "terminated": terminated, "env_id": np.indices((2, 8))[0]}
    path = tmp_path / "r.parquet"
    table = pa.table({name: array.T.reshape(-1) for name, array in columns.items()})
    pq.write_table(table, path, row_group_size=8)
    with small_blocks(8, dtype=np.float64):
        gaecli.compute(path, gamma=GAMMA, estimator="n-step", n_steps=3)
    wanted = n_step(Rollout(rewards, values, following, terminated, np.zeros((2, 8), bool)), 3)
    found = columns_of(path)["advantage"].reshape(8, 2).T
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_only_what_lies_in_several_blocks_has_to_fit(tmp_path: Path) -> None:
    """100,000 rows under a limit that ten thousand of them would break."""
    count = 100_000
    columns = {
        "reward": np.ones(count, np.float32),
        "value": np.zeros(count, np.float32),
        "terminated": np.arange(count) % 50 == 49,
    }
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=25_000)
    gaecli.compute(path, estimator="n-step", n_steps=3, gamma=1.0, memory_bytes=1 << 20)
    np.testing.assert_array_equal(columns_of(path)["return"], np.tile([*[3.0] * 48, 2.0, 1.0], count // 50))


def test_a_trajectory_longer_than_the_memory_is_refused(tmp_path: Path) -> None:
    count = 40_000
    columns = {"reward": np.ones(count), "value": np.zeros(count), "done": np.zeros(count, bool)}
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table(columns), path)
    before = path.read_bytes()
    with pytest.raises(gaecli.UsageError, match="that lie in several blocks take more than `--memory`"):
        gaecli.compute(path, estimator="n-step", n_steps=3, memory_bytes=1 << 20)
    assert path.read_bytes() == before
