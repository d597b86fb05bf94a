"""Every role in every shape that arrays come in: read as it is meant, or refused with shapes and flag.

The oracle is a plain loop over the steps of each trajectory.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from covers import pairs
from pipeline.running import small_blocks

import gaecli
from gaecli.studies import locate

GAMMA, LAM = 0.9, 0.8
#: Results pass through float32 arrays.
CLOSE: Mapping[str, float] = {"rtol": 1e-5, "atol": 1e-5}
_RANDOM = np.random.default_rng(11)
T, N = 6, 3
REWARDS, VALUES = _RANDOM.normal(size=(T, N)), _RANDOM.normal(size=(T, N))
LAST = _RANDOM.normal(size=N)
#: The step ends its trajectory; [T, N].
ENDS = np.zeros((T, N), bool)
ENDS[1, 0] = ENDS[3, 1] = ENDS[4, 1] = ENDS[T - 1, 2] = True


def looped(
    rewards: np.ndarray, values: np.ndarray, cut: np.ndarray, beyond: np.ndarray | None = None
) -> np.ndarray:
    """One lane. `beyond`: V behind each step that is cut or the last; None: 0."""
    found = np.zeros(len(rewards))
    following = 0.0
    for t in reversed(range(len(rewards))):
        if cut[t] or t == len(rewards) - 1:
            following, next_value = 0.0, 0.0 if beyond is None else beyond[t]
        else:
            next_value = values[t + 1]
        following = rewards[t] + GAMMA * next_value - values[t] + GAMMA * LAM * following
        found[t] = following
    return found


def by_lane(cuts: np.ndarray, *, bootstrapped: bool, ends: np.ndarray | None = None) -> np.ndarray:
    """[T, N]. `ends`: cuts behind which V is 0; behind the last step it is LAST, if it is bootstrapped."""
    beyond = np.zeros((T, N))
    if bootstrapped:
        beyond[-1] = np.where(cuts[-1] if ends is None else ends[-1], 0, LAST)
    return np.stack([looped(REWARDS[:, n], VALUES[:, n], cuts[:, n], beyond[:, n]) for n in range(N)], 1)


def advantages(path: Path, arrays: Mapping[str, Any], **options: Any) -> np.ndarray:
    np.savez(path, **arrays)
    gaecli.compute(path, gamma=GAMMA, lam=LAM, **options)
    with np.load(path) as found:
        assert found["advantage"].shape == np.shape(arrays["rewards"])
        return found["advantage"]


def refused(path: Path, arrays: Mapping[str, Any], **options: Any) -> tuple[int, str]:
    np.savez(path, **arrays)
    before = path.read_bytes()
    with pytest.raises(gaecli.GaeError) as raised:
        gaecli.compute(path, **options)
    assert path.read_bytes() == before
    return raised.value.exit_code, f"{raised.value.message}\n{raised.value.hint}"


VECTORS: Mapping[str, Any] = {
    "[N]": lambda array: np.reshape(array, -1),
    "[N, 1]": lambda array: np.reshape(array, (-1, 1)),
    "[1, N]": lambda array: np.reshape(array, (1, -1)),
    "[N, 1, 1]": lambda array: np.reshape(array, (-1, 1, 1)),
    "[1, N, 1]": lambda array: np.reshape(array, (1, -1, 1)),
}
FLAT = {"rewards": REWARDS[:, 0], "values": VALUES[:, 0], "done": ENDS[:, 0]}
_EPISODES = np.concatenate(([0], np.cumsum(ENDS[:-1, 0])))
_STEPS = np.array([0, 1, 0, 1, 2, 3])
#: What stands beside the rewards, and the cuts that it makes.
FLAT_ROLES: Mapping[str, dict[str, np.ndarray]] = {
    "value": {"values": VALUES[:, 0]},
    "done": {"done": ENDS[:, 0]},
    "terminated and truncated": {"terminated": ENDS[:, 0], "truncated": ENDS[:, 0] & False},
    "start flags": {"is_first": np.concatenate(([True], ENDS[:-1, 0]))},
    "episode": {"episode_id": _EPISODES},
    "text ids": {"episode_id": np.array(["a", "b"])[_EPISODES]},
    "step": {"episode_id": _EPISODES, "step": _STEPS},
    "env": {"env_id": np.zeros(T, int)},
    "agent": {"agent_id": np.zeros(T, int)},
    "next value": {"next_value": np.append(VALUES[1:, 0], 0)},
    "mask": {"mask": np.ones(T)},
}


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


@pytest.mark.pairs
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


def dense(**arrays: Any) -> dict[str, Any]:
    return {"rewards": REWARDS, "values": VALUES, "last_values": LAST, "terminated": ENDS, **arrays}


_TURNS = np.arange(T)[:, None] % 2 + np.zeros(N, int)
REFUSED: Mapping[str, tuple[dict[str, Any], dict[str, Any], int, tuple[str, ...]]] = {
    "steps that begin again": (
        dense(terminated=ENDS & False, step=_STEPS[:, None] + np.zeros(N, int)),
        {},
        3,
        ("`step` ", "from 1 to 0 at ", "--step-column none"),
    ),
    "steps of times that begin again": (
        dense(terminated=ENDS & False, step=_STEPS),
        {},
        3,
        ("`step` ", "from 1 to 0 at ", "--step-column none"),
    ),
    "steps that are missing": (
        dense(step=np.array([0, 1, 2, 4, 5, 6])[:, None] + np.zeros(N, int)),
        {},
        3,
        ("`step` ", "steps are missing", "--step-column none"),
    ),
    "agents that take turns": (
        dense(terminated=ENDS & False, agent_id=_TURNS),
        {},
        3,
        ("comes back", "--episode-column none"),
    ),
    "episodes that come back": (
        dense(terminated=ENDS & False, episode_id=_TURNS),
        {},
        3,
        ("comes back", "--episode-column none"),
    ),
    "environments that take turns": (
        dense(env_id=_TURNS),
        {},
        3,
        ("`env_id`", "within a lane", "--env-column"),
    ),
    "an end within an episode": (
        dense(episode_id=np.zeros((T, N), int)),
        {},
        3,
        ("ends an episode", "same episode id", "--episode-column none"),
    ),
    "one step for all, named": (
        dense(steps=9),
        {"step_column": "steps"},
        2,
        ("`steps`", "()", "--step-column"),
    ),
    "ids of another shape": (
        dense(episode_id=np.zeros((T, N + 1))),
        {},
        3,
        ("`episode_id`", "(6, 4)", "(6, 3)", "--episode-column none"),
    ),
    "a last value too many": (
        dense(last_values=np.zeros(N + 1), terminated=np.vstack((ENDS, ENDS[:1]))),
        {},
        3,
        ("`last_values`", "(4,)", "(6, 3)", "3 numbers", "--bootstrap-value-column"),
    ),
    "lengths for a mask": (
        dense(mask=np.array([4, 5, 6])),
        {},
        3,
        ("`mask`", "(3,)", "(6, 3)", "--mask-column none"),
    ),
    "a final flag against the flags": (
        dense(last_dones=np.array([False, True, True])),
        {},
        2,
        ("`last_dones`", "[5, 1]", "1 such", "--done-at start", "--final-done-column none"),
    ),
    "flags of states that speak of their own step": (
        {**dense(done=np.vstack((ENDS, ENDS[:1]))), "terminated": ENDS},
        {"done_at": "end"},
        2,
        ("`done`", "one entry more", "--done-at end"),
    ),
    "only a mask": (
        {"rewards": REWARDS, "values": VALUES, "terminated": ENDS, "loss_mask": np.ones((T, N))},
        {},
        2,
        ("6 by 3", "--layout time-major", "--layout batch-major"),
    ),
    "agents, and nothing says time": (
        {"rewards": np.zeros((4, 3, 2, 1)), "values": np.zeros((4, 3, 2, 1))},
        {},
        2,
        ("4 by 3 by 2", "--layout time-major"),
    ),
    "agents, batch-major": (
        {"rewards": np.zeros((4, 3, 2)), "values": np.zeros((4, 3, 2))},
        {"layout": "batch-major"},
        2,
        ("(4, 3, 2)", "time-major"),
    ),
    "one column, and nothing says where it ends": (
        {"rewards": REWARDS[:, :1], "values": VALUES[:, :1]},
        {},
        2,
        ("where a trajectory ends", "--layout time-major"),
    ),
    "flat values of another shape": (
        {"rewards": np.zeros(8), "values": np.zeros((2, 4)), "done": np.zeros(8)},
        {},
        3,
        ("`values`", "(2, 4)", "(8,)", "--value-column"),
    ),
    "flat values two longer": (
        {"rewards": np.zeros(8), "values": np.zeros(10), "done": np.zeros(8)},
        {},
        3,
        ("`values`", "(10,)", "(8,)", "(9,)"),
    ),
    "last values of more than one lane": (
        {"rewards": np.zeros(8), "values": np.zeros(8), "done": np.zeros(8), "last_value": np.zeros(2)},
        {},
        3,
        ("`last_value`", "(2,)", "(8,)", "--bootstrap-value-column"),
    ),
    "one last value for environments that take turns": (
        {
            "rewards": np.zeros(8),
            "values": np.zeros(8),
            "done": np.zeros(8),
            "env_id": np.arange(8) % 2,
            "last_value": 1.0,
        },
        {},
        3,
        ("`last_value`", "2 environments", "--bootstrap-value-column none"),
    ),
    "a last value behind rows that are out of order": (
        {
            "rewards": np.zeros(4),
            "values": np.zeros(4),
            "episode_id": np.array([0, 0, 1, 1]),
            "step": np.array([1, 0, 1, 0]),
            "last_value": 1.0,
        },
        {},
        3,
        ("`last_value`", "row 3", "--bootstrap-value-column none"),
    ),
    "an infinite last value": (dense(last_values=np.full(N, np.inf)), {}, 3, ("`last_values` is infinite",)),
    "no shape at all": ({"rewards": 1.0, "values": 1.0}, {}, 3, ("`rewards`", "()")),
}


@pytest.mark.turns
@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("rows", [None, 6])
def test_what_does_not_fit_is_refused(case: str, rows: int | None, tmp_path: Path) -> None:
    arrays, options, exit_code, texts = REFUSED[case]
    with small_blocks(rows, store_bytes=0):
        found, message = refused(tmp_path / "r.npz", arrays, **options)
    assert found == exit_code, message
    for text in texts:
        assert text in message


@pytest.mark.parametrize("name", ["agent_id", "episode_id", "env_id"])
def test_ids_that_take_turns_are_refused_where_every_block_has_one_of_them(name: str, tmp_path: Path) -> None:
    with small_blocks(N, store_bytes=0):
        found, message = refused(tmp_path / "r.npz", dense(terminated=ENDS & False, **{name: _TURNS}))
    assert found == 3
    assert ("within a lane" if name == "env_id" else "comes back") in message


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
    rewards, values = _RANDOM.normal(size=(T + 1, N)), _RANDOM.normal(size=(T + 1, N))
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
    rewards, values = _RANDOM.normal(size=shape), _RANDOM.normal(size=(5, *shape[1:]))
    done = _RANDOM.random(size=shape) < 0.3
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
    ids = {"episode_id": _EPISODES, "step": _STEPS}
    if is_longer:
        ids["step"] = np.append(_STEPS, 4)
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


@pytest.mark.turns
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
