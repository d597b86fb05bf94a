"""A row without the id that other rows have belongs to no trajectory, and nobody guesses which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts.small_inputs import BASE, NAN, but, write

import gaecli
from gaecli.errors import DataError

IDS = pa.int64()
#: name -> (columns, the row that is named)
HOLES: dict[str, tuple[Any, int]] = {
    "inside an episode": (but(episode_id=[0, None, 1, 1]), 1),
    "the first of an episode": (but(episode_id=[0, 0, None, 1]), 2),
    "an id on the first row alone": (but(episode_id=[0, None, 1, None]), 1),
    "a whole episode, and nothing else that ends it": (but(done=None, episode_id=[None, None, 1, 1]), 0),
    "text": (but(episode_id=["a", "a", None, "b"]), 2),
    "a dictionary": (but(episode_id=pa.array(["a", "a", None, "b"]).dictionary_encode()), 2),
    "a NaN": (but(episode_id=[0.0, 0.0, NAN, 1.0]), 2),
    "environments": (but(env_id=[0, 0, None, 1]), 2),
}


@pytest.mark.parametrize("case", HOLES)
@pytest.mark.parametrize("rows_per_group", [4, 2, 1])
def test_it_is_refused_wherever_blocks_are_cut(case: str, rows_per_group: int, tmp_path: Path) -> None:
    columns, row = HOLES[case]
    path = tmp_path / "rollouts.parquet"
    pq.write_table(
        pa.table({k: v for k, v in columns.items() if v is not None}), path, row_group_size=rows_per_group
    )
    before = path.read_bytes()
    name = "env_id" if "env_id" in columns else "episode_id"
    with pytest.raises(DataError, match=rf"`{name}` is missing at row {row}\b.*other rows have one"):
        gaecli.compute(path)
    assert path.read_bytes() == before


def test_flags_alone_do_without(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.parquet"
    write(path, but(episode_id=[0, None, 1, 1]))
    gaecli.compute(path, episode_column="none", gamma=1.0, lam=1.0)
    assert pq.read_table(path)["return"].to_pylist() == [3, 2, 7, 4]


def test_rows_that_a_mask_leaves_out_need_none(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.parquet"
    write(path, but(episode_id=[0, 0, 1, None], done=None, loss_mask=[1, 1, 1, 0]))
    gaecli.compute(path, mask_mode="cut", gamma=1.0, lam=1.0)
    assert pq.read_table(path)["return"].to_pylist() == [3, 2, 3, None]


def test_parts_of_a_key_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.parquet"
    write(path, but(done=None, episode_id=[0, 0, 1, 1], agent_id=[None, None, "a", "a"]))
    gaecli.compute(path, gamma=1.0, lam=1.0)
    assert pq.read_table(path)["return"].to_pylist() == [3, 2, 7, 4]


def test_a_nan_among_ids_of_arrays(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.npz"
    np.savez(path, **{k: np.array(v) for k, v in BASE.items()}, episode_id=[0.0, 0.0, np.nan, 1.0])
    with pytest.raises(DataError, match=r"`episode_id` is missing at row 2\b"):
        gaecli.compute(path)
