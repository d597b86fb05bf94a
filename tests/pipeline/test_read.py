"""`gaecli.read`: the steps that there are, as the files have them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from covers import turns

import gaecli
from gaecli.pipeline import opening


@pytest.fixture(params=["one block", "small blocks"], autouse=True)
def block_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read must not depend on where blocks end."""
    if request.param == "small blocks":
        monkeypatch.setattr(opening, "rows_per_block", lambda memory_bytes: 2)


def table(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=3)
    return path


def trajectories(rollouts: gaecli.Rollouts) -> list[list[float]]:
    """The rewards of each."""
    bounds = rollouts.offsets.tolist()
    return [rollouts.rewards[start:stop].tolist() for start, stop in itertools.pairwise(bounds)]


RLDS = {
    "reward": [1.0, 2.0, 99.0, 3.0, 4.0, 5.0, 99.0],
    "value": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
    "is_first": [True, False, False, True, False, False, False],
    "is_last": [False, False, True, False, False, False, True],
    "is_terminal": [False, False, True, False, False, False, False],
}


def test_padding_rows_are_no_steps_and_their_values_are_the_next_ones(tmp_path: Path) -> None:
    found = gaecli.read(table(tmp_path / "r.parquet", **RLDS))
    assert trajectories(found) == [[1.0, 2.0], [3.0, 4.0, 5.0]]
    assert found.rows.tolist() == [0, 1, 3, 4, 5]
    assert found.terminated.tolist() == [False, True, False, False, False]
    assert not found.truncated.any()
    np.testing.assert_array_equal(found.next_values, [np.nan, np.nan, np.nan, np.nan, 0.7])


def test_episodes_that_are_left_out_are_not_there(tmp_path: Path) -> None:
    path = table(
        tmp_path / "r.parquet",
        reward=[1.0, np.nan, 3.0, 4.0, 5.0],
        value=[0.1, 0.2, 0.3, 0.4, 0.5],
        episode=[0, 0, 0, 1, 1],
        terminated=[False, False, True, False, True],
    )
    with pytest.raises(gaecli.DataError, match="`reward` is NaN at row 1"):
        gaecli.read(path)
    found = gaecli.read(path, on_nan="drop-episode")
    assert trajectories(found) == [[4.0, 5.0]]
    assert found.rows.tolist() == [3, 4]


def test_masked_tokens_are_no_steps(tmp_path: Path) -> None:
    path = table(
        tmp_path / "r.parquet",
        reward=[[1.0, 2.0, 3.0], [4.0, 5.0]],
        value=[[0.1, 0.2, 0.3], [0.4, 0.5]],
        response_mask=[[0, 1, 1], [1, 0]],
    )
    found = gaecli.read(path)
    assert trajectories(found) == [[2.0, 3.0], [4.0]]
    assert found.rows.tolist() == [1, 2, 3]


def test_interleaved_environments_come_apart(tmp_path: Path) -> None:
    path = table(
        tmp_path / "r.parquet",
        reward=[1.0, 10.0, 2.0, 20.0, 3.0, 30.0],
        value=[0.0] * 6,
        env_id=[0, 1] * 3,
        terminated=[False, False, True, False, False, True],
    )
    found = gaecli.read(path)
    assert sorted(trajectories(found)) == [[1.0, 2.0], [3.0], [10.0, 20.0, 30.0]]
    np.testing.assert_array_equal(found.rewards, np.array([1.0, 10.0, 2.0, 20.0, 3.0, 30.0])[found.rows])


def test_files_of_one_stream_are_one(tmp_path: Path) -> None:
    """The episode at the end of the first goes on in the second."""
    for number, (rewards, episodes) in enumerate([([1.0, 2.0, 3.0], [0, 0, 1]), ([4.0, 5.0], [1, 2])]):
        table(
            tmp_path / f"r-{number:05d}-of-00002.parquet",
            reward=rewards, value=[0.0] * len(rewards), episode=episodes,
        )  # fmt: skip
    found = gaecli.read(tmp_path)
    assert trajectories(found) == [[1.0, 2.0], [3.0, 4.0], [5.0]]
    assert found.rows.tolist() == [0, 1, 2, 3, 4]


def test_several_independent_files_are_too_many(tmp_path: Path) -> None:
    for name in ("a", "b"):
        table(tmp_path / f"{name}.parquet", reward=[1.0], value=[0.0], terminated=[True])
    with pytest.raises(gaecli.UsageError, match=r"2 independent inputs, and `gaecli\.read` looks at one"):
        gaecli.read(tmp_path)


def test_a_file_without_rows_has_no_steps(tmp_path: Path) -> None:
    empty = pa.array([], pa.float64())
    found = gaecli.read(
        table(tmp_path / "r.parquet", reward=empty, value=empty, episode=empty.cast(pa.int64()))
    )
    assert found.offsets.tolist() == [0]
    assert all(len(getattr(found, name)) == 0 for name in ("rewards", "values", "terminated", "rows"))


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("block_size", "name"),
    turns(["one block", "small blocks"], ["cartpole.parquet", "pendulum.parquet"]),
    indirect=["block_size"],
)
def test_gae_of_what_is_read_is_what_compute_writes(sample_data: Path, tmp_path: Path, name: str) -> None:
    found = gaecli.read(sample_data / name)
    last = found.offsets[1:] - 1
    result = gaecli.gae(
        found.rewards,
        found.values,
        terminated=found.terminated,
        offsets=found.offsets,
        bootstrap=np.nan_to_num(found.next_values[last]),
    )
    gaecli.compute(sample_data / name, tmp_path / name)
    written = pq.read_table(tmp_path / name)["advantage"].to_numpy()
    # Written as float32.
    np.testing.assert_allclose(result.advantages, written[found.rows], rtol=2e-6, atol=1e-6)
