"""Every role in every shape that arrays come in, read as it is meant; others are refused: `test_array_refusals.py`.

The oracle is a plain loop over the steps of each trajectory.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from covers import pairs
from layouts.lane_arrays import (
    CLOSE,
    ENDS,
    EPISODES,
    FLAT,
    GAMMA,
    LAM,
    LAST,
    RANDOM,
    REWARDS,
    STEPS,
    VALUES,
    VECTORS,
    N,
    T,
    advantages,
    by_lane,
    looped,
)
from pipeline.running import small_blocks

import gaecli
from gaecli.studies import locate

#: What stands beside the rewards, and the cuts that it makes.
FLAT_ROLES: Mapping[str, dict[str, np.ndarray]] = {
    "value": {"values": VALUES[:, 0]},
    "done": {"done": ENDS[:, 0]},
    "terminated and truncated": {"terminated": ENDS[:, 0], "truncated": ENDS[:, 0] & False},
    "start flags": {"is_first": np.concatenate(([True], ENDS[:-1, 0]))},
    "episode": {"episode_id": EPISODES},
    "text ids": {"episode_id": np.array(["a", "b"])[EPISODES]},
    "step": {"episode_id": EPISODES, "step": STEPS},
    "env": {"env_id": np.zeros(T, int)},
    "agent": {"agent_id": np.zeros(T, int)},
    "next value": {"next_value": np.append(VALUES[1:, 0], 0)},
    "mask": {"mask": np.ones(T)},
}


@pytest.mark.few(16)
@pytest.mark.parametrize(
    ("role", "shape", "reward_shape", "rows"),
    pairs(FLAT_ROLES, VECTORS, ["[N]", "[N, 1]", "[1, N]"], [None, 2]),
)
def test_arrays_of_one_trajectory_after_the_other(
    role: str, shape: str, reward_shape: str, rows: int | None, tmp_path: Path
) -> None:
    own = FLAT_ROLES[role]
    arrays = {name: array for name, array in FLAT.items() if name != "done" or "env" in role}
    if role in ("value", "env", "agent", "next value", "mask"):
        arrays["done"] = FLAT["done"]
    arrays = {name: VECTORS[reward_shape](array) for name, array in arrays.items()}
    arrays.update({name: VECTORS[shape](array) for name, array in own.items()})
    with small_blocks(rows, store_bytes=0):
        found = advantages(tmp_path / "r.npz", arrays)
    wanted = looped(REWARDS[:, 0], VALUES[:, 0], ENDS[:, 0])
    np.testing.assert_allclose(found.reshape(-1), wanted, **CLOSE)


BEHIND: Mapping[str, dict[str, Any]] = {
    "0-d": {"last_value": np.float64(2.0)},
    "(1,)": {"last_values": np.array([2.0])},
    "(1, 1)": {"bootstrap_value": np.array([[2.0]])},
    "next value 0-d": {"next_value": np.float64(2.0)},
    "values of states": {"values": np.append(VALUES[:, 0], 2.0)},
    "values of states, [N + 1, 1]": {"values": np.append(VALUES[:, 0], 2.0).reshape(-1, 1)},
    "values of states, [1, N + 1]": {"values": np.append(VALUES[:, 0], 2.0).reshape(1, -1)},
}


@pytest.mark.few(10)
@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("shape", ["[N]", "[N, 1]", "[1, N]"])
@pytest.mark.parametrize("ends", ["a flag", "no flag", "start flags", "start flags of states"])
@pytest.mark.parametrize("rows", [None, 2])
def test_the_value_behind_the_last_step_of_one_lane(
    behind: str, shape: str, ends: str, rows: int | None, tmp_path: Path
) -> None:
    flags = {
        "a flag": {"done": ENDS[:, 0]},
        "no flag": {},
        "start flags": {"is_first": np.append(True, ENDS[:-1, 0]), "last_dones": np.array([False])},
        "start flags of states": {"is_first": np.append(True, ENDS[:, 0])},
    }[ends]
    arrays = {"rewards": REWARDS[:, 0], "values": VALUES[:, 0], **flags}
    arrays = {name: array if len(array) == 1 else VECTORS[shape](array) for name, array in arrays.items()}
    arrays.update(BEHIND[behind])
    cuts = ENDS[:, 0] if flags else ENDS[:, 0] & False
    wanted = looped(REWARDS[:, 0], VALUES[:, 0], cuts, np.where(np.arange(T) == T - 1, 2.0, 0.0))
    with small_blocks(rows, store_bytes=0):
        found = advantages(tmp_path / "r.npz", arrays)
    np.testing.assert_allclose(found.reshape(-1), wanted, **CLOSE)


@pytest.mark.parametrize("shape", ["[N]", "[N, 1]", "[1, N]"])
def test_a_flag_behind_start_flags_ends_the_last_step(shape: str, tmp_path: Path) -> None:
    starts = VECTORS[shape](np.append(True, ENDS[:-1, 0]))
    arrays = {"rewards": VECTORS[shape](REWARDS[:, 0]), "values": VECTORS[shape](VALUES[:, 0])}
    arrays |= {"is_first": starts, "last_dones": np.array([True]), "last_values": np.array([2.0])}
    found = advantages(tmp_path / "r.npz", arrays)
    wanted = looped(REWARDS[:, 0], VALUES[:, 0], ENDS[:, 0])
    np.testing.assert_allclose(found.reshape(-1), wanted, **CLOSE)


#: Arrays beside [T, N] rewards, time-major, and the cuts that they make where V behind is 0; None: no end.
_EPISODES_OF_LANES = np.vstack((np.zeros((1, N), int), np.cumsum(ENDS[:-1], 0)))
DENSE_ROLES: Mapping[str, tuple[dict[str, Any], np.ndarray | None]] = {
    "flags": ({"terminated": ENDS}, ENDS),
    "episodes": ({"episode_id": _EPISODES_OF_LANES}, None),
    "text episodes": ({"episode_id": np.array(["a", "b", "c"])[_EPISODES_OF_LANES]}, None),
    "unrolls": ({"unroll_id": _EPISODES_OF_LANES}, None),
    "episodes of states": ({"episode_id": np.vstack((_EPISODES_OF_LANES, _EPISODES_OF_LANES[-1:]))}, None),
    "flags that say nothing beside episodes": (
        {"terminated": ENDS & False, "truncated": ENDS & False, "episode_id": _EPISODES_OF_LANES},
        None,
    ),
    "labels of lanes": ({"terminated": ENDS, "env_id": np.arange(N), "agent_id": np.zeros(N)}, ENDS),
    "environments that stay": ({"terminated": ENDS, "env_id": np.arange(N) + np.zeros((T, 1))}, ENDS),
    "a label of all": ({"terminated": ENDS, "env": "CartPole-v1", "step": 100_000}, ENDS),
    "steps": ({"terminated": ENDS & False, "step": np.arange(T)[:, None] + np.zeros(N, int)}, ENDS & False),
    "steps of times": ({"terminated": ENDS & False, "step": 4 * np.arange(T)}, ENDS & False),
    "steps that stand still": ({"terminated": ENDS, "step": np.full((T, N), 7)}, ENDS),
}


@pytest.mark.few(14)
@pytest.mark.parametrize(
    ("role", "layout", "rows"),
    pairs(DENSE_ROLES, ["time-major", "batch-major", "time-major, [T, N, 1]"], [None, 2, 7]),
)
def test_roles_of_dense_arrays(role: str, layout: str, rows: int | None, tmp_path: Path) -> None:
    own, flags = DENSE_ROLES[role]
    arrays: dict[str, Any] = {"rewards": REWARDS, "values": VALUES, "last_values": LAST, **own}
    if layout == "batch-major":
        arrays = {name: np.transpose(array) for name, array in arrays.items()}
    if layout.endswith("1]"):
        arrays = {name: array[..., None] if np.ndim(array) == 2 else array for name, array in arrays.items()}
    with small_blocks(rows, store_bytes=0):
        found = advantages(tmp_path / "r.npz", arrays)
    found = found.T if layout == "batch-major" else found.reshape(T, N)
    # Where ids change, the trajectory is cut and open: V behind is not in the file.
    cuts, ends = (ENDS, np.zeros((T, N), bool)) if flags is None else (flags, flags)
    wanted = by_lane(cuts, bootstrapped=True, ends=ends)
    np.testing.assert_allclose(found, wanted, **CLOSE)


def test_lanes_of_one_block_are_environments_of_their_own(tmp_path: Path) -> None:
    """A case that the few above leave out: there each lane is a block."""
    test_roles_of_dense_arrays("environments that stay", "time-major", None, tmp_path)


@pytest.mark.turns
@pytest.mark.parametrize("layout", ["time-major", "batch-major"])
@pytest.mark.parametrize("is_longer", [False, True])
@pytest.mark.parametrize("rows", [None, 2])
def test_the_last_state_of_an_episode_in_dense_arrays(
    layout: str, is_longer: bool, rows: int | None, tmp_path: Path
) -> None:
    """RLDS: a row with `is_last` is no step; its value is the bootstrap, unless it is terminal."""
    is_last = np.array([0, 0, 1, 0, 0, 0, 1], bool)[:, None] & np.ones(N, bool)
    is_first = np.array([1, 0, 0, 1, 0, 0, 0], bool)[:, None] & np.ones(N, bool)
    is_terminal = is_last & (np.arange(T + 1) == T)[:, None]
    rewards, values = RANDOM.normal(size=(T + 1, N)), RANDOM.normal(size=(T + 1, N))
    arrays = {"rewards": rewards, "values": values, "is_first": is_first, "is_last": is_last}
    arrays["is_terminal"] = is_terminal
    if is_longer:
        arrays["rewards"] = rewards[:-1]
    turned = {name: array.T if layout == "batch-major" else array for name, array in arrays.items()}
    with small_blocks(rows, store_bytes=0):
        found = advantages(tmp_path / "r.npz", turned, layout=layout)
    found = found.T if layout == "batch-major" else found
    for n in range(N):
        first = looped(rewards[:2, n], values[:2, n], np.zeros(2, bool), values[1:3, n])
        second = looped(rewards[3:6, n], values[3:6, n], np.zeros(3, bool))
        np.testing.assert_allclose(found[:2, n], first, **CLOSE)
        assert np.isnan(found[2, n])
        np.testing.assert_allclose(found[3:6, n], second, **CLOSE)


def test_agents_are_lanes_of_their_own(tmp_path: Path) -> None:
    """MAPPO: [T, N, agents, 1] beside values of T + 1 states."""
    shape = 4, 3, 2, 1
    rewards, values = RANDOM.normal(size=shape), RANDOM.normal(size=(5, *shape[1:]))
    done = RANDOM.random(size=shape) < 0.3
    found = advantages(tmp_path / "r.npz", {"rewards": rewards, "values": values, "terminated": done})
    for lane in np.ndindex(3, 2):
        r, v, d = (array[(slice(None), *lane, 0)] for array in (rewards, values, done))
        beyond = np.where(d, 0, v[1:])
        np.testing.assert_allclose(found[(slice(None), *lane, 0)], looped(r, v[:-1], d, beyond), **CLOSE)


@pytest.mark.parametrize("ids", ["steps", "labels"])
def test_a_lane_goes_on_in_the_next_file_where_its_id_does(ids: str, tmp_path: Path) -> None:
    """Lane 0 has one id in both files, the others another one in each."""
    names = [np.array([0, 1, 2]), np.array([0, 3, 4])]
    for number, half in enumerate((slice(0, 2), slice(2, T))):
        episode = names[number] if ids == "labels" else np.tile(names[number], (len(REWARDS[half]), 1))
        arrays = {"rewards": REWARDS[half], "values": VALUES[half], "episode_id": episode}
        np.savez(tmp_path / f"r-0000{number}-of-00002.npz", **arrays, terminated=ENDS[half] & False)
    gaecli.compute(tmp_path, gamma=GAMMA, lam=LAM, layout="time-major")
    found = np.vstack([np.load(path)["advantage"] for path in sorted(tmp_path.iterdir())])
    cuts = np.zeros((T, N), bool)
    cuts[1, 1:] = True
    np.testing.assert_allclose(found, by_lane(cuts, bootstrapped=False), **CLOSE)


@pytest.mark.parametrize("is_flat", [False, True])
def test_a_key_of_the_folder_is_one_for_all_arrays_of_its_file(is_flat: bool, tmp_path: Path) -> None:
    """`env_id=0/`: the files are one stream, and its trajectories end with the file."""
    lanes = slice(0, 1) if is_flat else slice(0, N)
    for number, half in enumerate((slice(0, 2), slice(2, T))):
        folder = tmp_path / f"env_id={number}"
        folder.mkdir()
        arrays = {"rewards": REWARDS[half, lanes], "values": VALUES[half, lanes]}
        arrays["terminated"] = ENDS[half, lanes] & (number > 1)
        np.savez(folder / "r.npz", **{name: np.squeeze(array) for name, array in arrays.items()})
    gaecli.compute(tmp_path, gamma=GAMMA, lam=LAM, layout="long" if is_flat else "time-major")
    paths = sorted(tmp_path.glob("*/r.npz"))
    found = np.vstack([np.load(path)["advantage"].reshape(-1, 1 if is_flat else N) for path in paths])
    cuts = (np.arange(T) == 1)[:, None] & np.ones(N, bool)
    np.testing.assert_allclose(found, by_lane(cuts, bootstrapped=False)[:, lanes], **CLOSE)


@pytest.mark.turns
@pytest.mark.parametrize("shape", ["[N]", "[N, 1]", "[1, N]"])
@pytest.mark.parametrize("is_longer", [False, True])
def test_steps_are_found_by_the_ids_of_arrays(
    shape: str, is_longer: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many rows are looked at in one go; the state behind the last step is of no step."""
    monkeypatch.setattr(locate, "ROWS_AT_A_TIME", 2)
    path = tmp_path / "r.npz"
    ids = {"episode_id": EPISODES, "step": STEPS}
    if is_longer:
        ids["step"] = np.append(STEPS, 4)
    arrays = {"rewards": REWARDS[:, 0], "values": VALUES[:, 0], **ids}
    np.savez(path, **{name: VECTORS[shape](array) for name, array in arrays.items()}, env="CartPole-v1")
    for query in ({"episode": 1, "step": 2}, {"env": "CartPole-v1", "episode": 1, "step": 2}):
        assert gaecli.explain(path, **query, gamma=GAMMA, lam=LAM, layout="long").row == 4
    keys = [episode.key["episode"] for episode in gaecli.inspect(path, episodes=True, layout="long").episodes]
    assert keys == [0, 1]


def test_an_id_of_the_state_behind_the_last_step_says_whose_value_that_is(tmp_path: Path) -> None:
    """Of another trajectory it is no bootstrap."""
    arrays = {"rewards": REWARDS[:, 0], "values": np.append(VALUES[:, 0], 5.0)}
    for last, beyond in ((0, 5.0), (1, 0.0)):
        found = advantages(tmp_path / "r.npz", {**arrays, "episode_id": np.append(np.zeros(T, int), last)})
        wanted = looped(REWARDS[:, 0], VALUES[:, 0], np.zeros(T, bool), np.full(T, beyond))
        np.testing.assert_allclose(found, wanted, **CLOSE)


@pytest.mark.few(5)
@pytest.mark.parametrize("role", FLAT_ROLES)
@pytest.mark.parametrize("shape", VECTORS)
def test_the_other_commands_read_the_same_shapes(role: str, shape: str, tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    arrays = {**FLAT, **{name: VECTORS[shape](array) for name, array in FLAT_ROLES[role].items()}}
    np.savez(path, **arrays, last_value=2.0)
    info = gaecli.inspect(path, head=3)
    assert info.problem is None
    assert info.counts.episodes == 2
    rollouts = gaecli.read(path)
    np.testing.assert_array_equal(rollouts.rewards, REWARDS[:, 0])
    beyond = 0.0 if role == "next value" else 2.0  # that of the row counts first
    wanted = looped(REWARDS[:, 0], VALUES[:, 0], ENDS[:, 0], np.where(np.arange(T) == T - 1, beyond, 0.0))
    explanation = gaecli.explain(path, row=2, gamma=GAMMA, lam=LAM)
    assert explanation.recursion == pytest.approx(wanted[2], rel=1e-9)
