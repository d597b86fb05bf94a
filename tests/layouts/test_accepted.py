"""What looks odd and is read as it is meant: the numbers say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts.small_inputs import BASE, DENSE, IDS, LISTS, NAN, but, write

import gaecli


def result(path: Path, columns: Any, **options: Any) -> Any:
    write(path, columns)
    summary = gaecli.compute(path, gamma=1.0, lam=1.0, **options)
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return arrays["return"].tolist(), summary
    return pq.read_table(path).column("return").to_pylist(), summary


#: name -> (columns, options, the returns that are expected with γ = λ = 1)
ACCEPTED: dict[str, tuple[Any, dict[str, Any], list[Any]]] = {
    "float flags": (but(done=[0.0, 1.0, 0.0, 1.0]), {}, [3, 2, 7, 4]),
    "uint8 flags": (but(done=pa.array([0, 1, 0, 1], pa.uint8())), {}, [3, 2, 7, 4]),
    "equal aliases": (but(rewards=BASE["reward"], dones=[0, 1, 0, 1]), {}, [3, 2, 7, 4]),
    "alias in another case": (but(reward=None, Reward=BASE["reward"]), {}, [3, 2, 7, 4]),
    "an alias of the wrong kind beside a good one": (but(rewards=["a", "b", "c", "d"]), {}, [3, 2, 7, 4]),
    "a literal dot before a struct": (
        but(reward=None, **{"next.reward": BASE["reward"], "next": [{"reward": 9.0}] * 4}),
        {},
        [3, 2, 7, 4],
    ),
    "a struct by its path": (
        but(
            reward=None,
            done=None,
            next=[{"reward": r, "done": d} for r, d in zip(BASE["reward"], BASE["done"], strict=True)],
        ),
        {},
        [3, 2, 7, 4],
    ),
    "done at start": (but(done=[True, False, True, False]), {"done_at": "start"}, [3, 2, 7, 4]),
    "flag names that say start": (but(done=None, is_first=[1, 0, 1, 0]), {}, [3, 2, 7, 4]),
    "start flags beside end flags that agree": (but(episode_starts=[1, 0, 1, 0]), {}, [3, 2, 7, 4]),
    "truncated alone, no value": (but(done=None, truncated=BASE["done"]), {}, [3, 2, 7, 4]),
    "truncated with a value": (
        but(done=None, truncated=BASE["done"], next_value=[None, 10.0, NAN, 20.0]),
        {},
        [13, 12, 27, 24],
    ),
    "truncated and done: done alone is terminal": (
        but(truncated=[False, False, False, True], next_value=[None, 50.0, None, 10.0]),
        {},
        [3, 2, 17, 14],
    ),
    "terminated wins over truncated": (
        but(terminated=BASE["done"], truncated=BASE["done"], next_value=[None, 50.0, None, 50.0]),
        {},
        [3, 2, 7, 4],
    ),
    "garbage where it is not read": (
        but(terminated=BASE["done"], done=None, next_value=[None, float("inf"), NAN, NAN]),
        {},
        [3, 2, 7, 4],
    ),
    "bootstrap from the last state": (
        but(done=None, truncated=BASE["done"]),
        {"bootstrap": "current"},
        [3.5, 2.5, 7.5, 4.5],
    ),
    "ids without flags are open": (but(done=None, **IDS), {}, [3, 2, 7, 4]),
    "null ids in every row are one id": (but(env_id=pa.array([None] * 4, pa.int64())), {}, [3, 2, 7, 4]),
    "a null-typed id says nothing": (but(episode_id=pa.nulls(4), agent_id=pa.nulls(4)), {}, [3, 2, 7, 4]),
    "agents are part of the key": (
        but(done=None, eps_id=["a"] * 4, agent_id=[0, 1, 0, 1], t=[0, 0, 1, 1]),
        {},
        [4, 6, 3, 4],
    ),
    "agents interleaved in an environment": (
        but(done=[False, False, True, True], env_id=[0] * 4, episode_id=[5] * 4, agent_id=[0, 1, 0, 1]),
        {},
        [4, 6, 3, 4],
    ),
    "moments as steps": (but(time=[0.0, 0.5, 0.0, 0.5]), {"step_column": "time"}, [3, 2, 7, 4]),
    "a step that stands still is no step": (but(step=[7, 7, 7, 7]), {}, [3, 2, 7, 4]),
    "t and step": (but(t=[0, 1, 2, 3], step=[0, 1, 0, 1]), {}, [3, 2, 7, 4]),
    "steps of a frame skip": (but(step=[0, 4, 0, 4]), {}, [3, 2, 7, 4]),
    "out of order": (but(done=[True, False, True, False], step=[1, 0, 1, 0], **IDS), {}, [1, 3, 3, 7]),
    "RLDS": (
        but(
            done=None, is_first=[True, False] * 2, is_last=[False, True] * 2, is_terminal=[False] * 3 + [True]
        ),
        {},
        [1.5, None, 3, None],
    ),
    "RLDS rows that are steps": (
        but(done=None, is_first=[True, False] * 2, is_last=[False, True] * 2, is_terminal=[False, True] * 2),
        {"done_column": "is_last"},
        [3, 2, 7, 4],
    ),
    "a mask that leaves nothing out": (but(loss_mask=[1, 1, 1, 1]), {}, [3, 2, 7, 4]),
    "a mask of a long table": (but(loss_mask=[0, 1, 1, 1]), {"mask_mode": "zero"}, [None, 2, 7, 4]),
    "masks of actions are no masks of steps": (but(action_mask=[[1, 0]] * 4), {}, [3, 2, 7, 4]),
    "lists of one": (
        but(reward=pa.array([[r] for r in BASE["reward"]], pa.list_(pa.float32(), 1))),
        {},
        [3, 2, 7, 4],
    ),
    "null rows and empty lists": (
        {"rewards": [[1.0, 2.0], [], None], "values": [[0.5, 0.5], [], None], "done": [True, None, None]},
        {},
        [[3, 2], [], None],
    ),
    "one value more than rewards": (
        {
            "rewards": [[1.0, 2.0], [3.0]],
            "values": [[0.5, 0.5, 10.0], [0.5, 20.0]],
            "terminated": [False, True],
        },
        {},
        [[13, 12], [3]],
    ),
    "a step in nested rows is a training step": (
        {**LISTS, "step": [7, 7], "terminated": [True, True]},
        {},
        [[3, 2], [3]],
    ),
    "one end flag per list": ({**LISTS, "terminal": [True, True]}, {}, [[3, 2], [3]]),
    "RLDS in lists": (
        {
            "steps": [
                [
                    {"reward": 1.0, "value": 0.0, "is_first": True, "is_last": False, "is_terminal": False},
                    {"reward": 9.0, "value": 5.0, "is_first": False, "is_last": True, "is_terminal": False},
                ]
            ]
        },
        {},
        [[6, None]],
    ),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_it_is_read_as_it_is_meant(case: str, tmp_path: Path) -> None:
    columns, options, wanted = ACCEPTED[case]
    found, _ = result(tmp_path / "rollouts.parquet", columns, **options)
    assert found == wanted


def test_a_buffer_whose_rewards_hold_the_bootstrap_is_not_bootstrapped_again(tmp_path: Path) -> None:
    """Stable-Baselines3 adds γ·V at time limits; its start flags alone tell where they were."""
    arrays = {
        "rewards": np.array([[1.0], [2.0], [3.0]]),
        "values": np.zeros((3, 1)),
        "episode_starts": np.array([[1.0], [0.0], [1.0]]),
        "last_values": np.array([10.0]),
        "last_dones": np.array([0.0]),
    }
    found, summary = result(tmp_path / "buffer.npz", arrays)
    assert found == [[3.0], [2.0], [13.0]]
    assert (summary.totals.terminated, summary.totals.open) == (1, 1)


def test_flags_that_are_all_there_decide_what_dones_of_a_buffer_means(tmp_path: Path) -> None:
    dones = np.array([[0, 1, 0], [1, 0, 0]]).T.reshape(3, 2)
    arrays = {
        "rewards": np.ones((3, 2)),
        "values": np.zeros((3, 2)),
        "last_values": np.zeros(2),
        "terminated": dones,
        "truncated": np.zeros((3, 2)),
        "dones": dones,
    }
    assert result(tmp_path / "buffer.npz", arrays)[1].totals.terminated == 2


@pytest.mark.parametrize("groups", [np.array([7, 7, 9]), np.array([[7, 7, 9]] * 4)])
def test_arrays_are_normalised_by_labels_of_lanes_or_of_steps(tmp_path: Path, groups: Any) -> None:
    rewards = np.arange(12.0).reshape(4, 3)
    path = write(tmp_path / "buffer.npz", {**DENSE, "rewards": rewards, "task": groups})
    summary = gaecli.compute(path, gamma=0.0, lam=0.0, normalize_by="task")
    assert [group.label for group in summary.normalization.groups] == ["7", "9"]
    with np.load(path) as arrays:
        found = arrays["advantage"]
    for lanes in (slice(0, 2), slice(2, 3)):
        part = rewards[:, lanes]
        np.testing.assert_allclose(found[:, lanes], (part - part.mean()) / part.std(ddof=1), rtol=1e-5)


def test_nested_steps_are_normalised_by_the_labels_of_a_list(tmp_path: Path) -> None:
    columns = {**LISTS, "rewards": [[1.0, 2.0], [4.0, 7.0]], "values": [[0.0] * 2] * 2, "task": [[1, 2]] * 2}
    path = write(tmp_path / "n.parquet", columns)
    gaecli.compute(path, gamma=0.0, lam=0.0, normalize_by="task")
    found = np.array(pq.read_table(path)["advantage"].to_pylist())
    for step, part in enumerate(np.array(columns["rewards"]).T):
        np.testing.assert_allclose(found[:, step], (part - part.mean()) / part.std(ddof=1), rtol=1e-5)


def test_a_flag_that_cannot_be_read_leaves_its_episode_out(tmp_path: Path) -> None:
    flags = np.zeros((4, 3))
    flags[1, 0] = NAN
    path = write(tmp_path / "buffer.npz", {**DENSE, "terminated": flags})
    gaecli.compute(path, on_nan="drop-episode")
    with np.load(path) as arrays:
        assert np.isnan(arrays["advantage"][:, 0]).all()
        assert np.isfinite(arrays["advantage"][:, 1:]).all()
    long = write(tmp_path / "rows.parquet", but(done=[0.0, 1.0, NAN, 1.0], **IDS))
    gaecli.compute(long, on_nan="drop-episode")
    assert pq.read_table(long).column("advantage").is_null().to_pylist() == [False, False, True, True]
    lists = write(tmp_path / "lists.parquet", {**LISTS, "done": [True, None]})
    gaecli.compute(lists, on_nan="drop-episode")
    assert pq.read_table(lists).column("advantage").to_pylist()[1] == [None]
