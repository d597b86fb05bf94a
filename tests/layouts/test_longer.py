"""T rewards beside T + 1 values or flags: entry t + 1 is of the state that step t leads to.

The oracle is a plain loop over the steps of one lane.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline.running import small_blocks

import gaecli

GAMMA, LAM = 0.9, 0.8
#: Results pass through float32 columns.
CLOSE: Mapping[str, float] = {"rtol": 1e-5, "atol": 1e-5}
NUM_TIMES, NUM_LANES = 7, 2
_RANDOM = np.random.default_rng(5)
REWARDS = _RANDOM.normal(size=(NUM_TIMES, NUM_LANES))
#: One for each state, that behind the last step as well.
VALUES = _RANDOM.normal(size=(NUM_TIMES + 1, NUM_LANES))
#: The state is the first of an episode; the last one of lane 1 is not.
FIRST = np.zeros((NUM_TIMES + 1, NUM_LANES), bool)
FIRST[[0, 3, 7], 0] = True
FIRST[[0, 2], 1] = True


def looped(rewards: Sequence[float], values: Sequence[float], terminated: Sequence[bool]) -> list[float]:
    """`values` holds one more: V of the state behind the last step."""
    found, following = [], 0.0
    for t in reversed(range(len(rewards))):
        beyond = 0.0 if terminated[t] else values[t + 1]
        following = 0.0 if terminated[t] else following
        following = rewards[t] + GAMMA * beyond - values[t] + GAMMA * LAM * following
        found.append(following)
    return found[::-1]


def by_lane(first: np.ndarray = FIRST) -> np.ndarray:
    """[T, N] advantages where every first state begins an episode after a terminal one."""
    lanes = [looped(REWARDS[:, n], VALUES[:, n], first[1:, n]) for n in range(NUM_LANES)]
    return np.array(lanes).T


def advantages(path: Path, **options: Any) -> Any:
    gaecli.compute(path, gamma=GAMMA, lam=LAM, **options)
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return arrays["advantage"]
    return pq.read_table(path)["advantage"].to_pylist()


@pytest.mark.few(6)
@pytest.mark.parametrize("flag", ["terminated", "done", "is_first", "episode_starts"])
@pytest.mark.parametrize("layout", ["time-major", "batch-major"])
@pytest.mark.parametrize("rows", [None, 2, 4])
def test_flags_of_every_state_of_dense_arrays(
    flag: str, layout: str, rows: int | None, tmp_path: Path
) -> None:
    arrays = {"rewards": REWARDS, "values": VALUES, flag: FIRST}
    is_turned = layout == "batch-major"
    path = tmp_path / "r.npz"
    np.savez(path, **{name: array.T if is_turned else array for name, array in arrays.items()})
    with small_blocks(rows, store_bytes=0):
        found = advantages(path)
    np.testing.assert_allclose(found.T if is_turned else found, by_lane(), **CLOSE)


@pytest.mark.parametrize("flag", ["terminated", "done", "is_first", "episode_starts"])
def test_flags_of_every_state_of_lists(flag: str, tmp_path: Path) -> None:
    """A row is one trajectory: only its last state may be behind an end."""
    ends = np.zeros_like(FIRST)
    ends[-1, 0] = ends[0] = True
    rows = [(REWARDS[:, n].tolist(), VALUES[:, n].tolist(), ends[:, n].tolist()) for n in range(NUM_LANES)]
    rows += [(REWARDS[:3, 0].tolist(), VALUES[:4, 0].tolist(), [True, False, False, False]), ([], [], [])]
    path = tmp_path / "r.parquet"
    pq.write_table(
        pa.table(dict(zip(("rewards", "values", flag), zip(*rows, strict=True), strict=True))), path
    )
    wanted = [looped(rewards, values, flags[1:]) for rewards, values, flags in rows]
    for found, row in zip(advantages(path), wanted, strict=True):
        np.testing.assert_allclose(found, row, **CLOSE)


def test_an_end_inside_a_list_of_flags_of_every_state_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    columns = {"rewards": [[1.0, 2.0]], "values": [[0.0, 0.0, 0.0]], "terminated": [[False, True, False]]}
    pq.write_table(pa.table(columns), path)
    with pytest.raises(gaecli.DataError, match="the list goes on"):
        gaecli.compute(path)
