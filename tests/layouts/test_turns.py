"""Environments that take turns, in whatever order: the numbers of each are those of its own rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.array_types import Array
from gaecli.formats.base import Column
from gaecli.layouts.arrange import arrange

GAMMA, LAM = 0.97, 0.9
RANDOM = np.random.default_rng(7)


def in_turn(num_envs: int, num_rows: int) -> Array:
    return np.arange(num_rows) % num_envs


def in_any_order(num_envs: int, num_rows: int) -> Array:
    """Each time has all environments; what is left over at the end is of a last one."""
    times = [RANDOM.permutation(num_envs) for _ in range(-(-num_rows // num_envs))]
    return np.concatenate(times)[:num_rows]


#: Environment of each row: name -> number of rows -> numbers.
TURNS: dict[str, Callable[[int], Array]] = {
    "in turn": lambda count: in_turn(5, count),
    "in turn, from the middle": lambda count: in_turn(5, count + 3)[3:],
    "more environments than times": lambda count: in_turn(23, count),
    "one of them twice as often": lambda count: np.resize([0, 1, 1], count),
    "numbers with gaps, downwards": lambda count: 90 - 30 * in_turn(3, count),
    "in any order": lambda count: in_any_order(4, count),
    "in any order, many": lambda count: in_any_order(19, count),
    "in any order, one of them missing once": lambda count: np.delete(in_any_order(4, count + 1), 9),
    "in any order, one of them twice": lambda count: (in_any_order(4, count) + (np.arange(count) == 9)) % 4,
    "at random": lambda count: RANDOM.integers(3, size=count),
}


def advantages(envs: Array, rewards: Array, values: Array, done: Array) -> Array:
    """A loop over the rows of each environment; what is open at its end counts as 0."""
    found = np.zeros(len(envs))
    for env in set(envs.tolist()):
        following = advantage = 0.0
        for row in np.flatnonzero(envs == env)[::-1]:
            if done[row]:
                following = advantage = 0.0
            advantage = rewards[row] + GAMMA * following - values[row] + GAMMA * LAM * advantage
            following, found[row] = values[row], advantage
    return found


@pytest.mark.few(12)
@pytest.mark.parametrize("num_rows", [60, 57, 76])
@pytest.mark.parametrize("turns", TURNS)
def test_each_environment_has_the_numbers_of_its_own_rows(tmp_path: Path, turns: str, num_rows: int) -> None:
    envs = TURNS[turns](num_rows)
    rewards, values = RANDOM.standard_normal((2, num_rows))
    done = RANDOM.random(num_rows) < 0.1
    table = pa.table({"env_id": envs, "reward": rewards, "value": values, "done": done})
    pq.write_table(table, tmp_path / "rows.parquet")

    gaecli.compute(tmp_path / "rows.parquet", gamma=GAMMA, lam=LAM)

    found = pq.read_table(tmp_path / "rows.parquet").column("advantage").to_numpy()
    np.testing.assert_allclose(found, advantages(envs, rewards, values, done), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("num_rows", [60, 57, 76])
@pytest.mark.parametrize("turns", TURNS)
def test_steps_and_rows_lead_to_each_other(turns: str, num_rows: int) -> None:
    """By whole columns, by some steps, and by many."""
    envs = TURNS[turns](num_rows)
    arrangement = arrange(Column(envs), (), num_rows)
    placement, rows = arrangement.placement, np.arange(num_rows)

    order = placement.to_steps(rows)

    bounds = zip(arrangement.starts, arrangement.stops, strict=True)
    lanes = [order[start:stop].tolist() for start, stop in bounds]
    by_env = [np.flatnonzero(envs == env).tolist() for env in set(envs.tolist())]
    assert sorted(lanes) == sorted(by_env)
    assert placement.to_rows(order).tolist() == rows.tolist()
    assert placement.rows_of_steps(rows).tolist() == order.tolist()
    assert [placement.row_of_step(step) for step in rows] == order.tolist()


def test_environments_that_step_together_are_not_sorted() -> None:
    """The first are turned as a table, the second put into their places within each time; the last have no times."""
    placements = {name: arrange(Column(turns(60)), (), 60).placement for name, turns in TURNS.items()}

    assert placements["in turn, from the middle"].dense_shape == (12, 5)
    assert placements["in any order"].dense_shape == (15, 4)
    assert placements["in any order"].cells is not None
    assert placements["one of them twice as often"].order is not None
    assert placements["in any order, one of them twice"].order is not None
