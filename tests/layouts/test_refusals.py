"""What is refused rather than guessed: exit code, message, the flag that decides, and a file left as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.errors import GaeError

NAN = float("nan")
BASE: dict[str, Any] = {
    "reward": [1.0, 2.0, 3.0, 4.0],
    "value": [0.5, 0.5, 0.5, 0.5],
    "done": [False, True, False, True],
}


def but(**columns: Any) -> dict[str, Any]:
    """The base file with other columns; None takes one out."""
    return {name: cells for name, cells in {**BASE, **columns}.items() if cells is not None}


def write(path: Path, columns: Any) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **columns)
    else:
        pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path)
    return path


TWO_NAMES = pa.Table.from_arrays(
    [pa.array(BASE["reward"])] * 2 + [pa.array(BASE["value"]), pa.array(BASE["done"])],
    names=["reward", "reward", "value", "done"],
)
IDS = {"episode_id": [0, 0, 1, 1]}
LISTS: dict[str, Any] = {"rewards": [[1.0, 2.0], [3.0]], "values": [[0.5, 0.5], [0.5]]}
DENSE: dict[str, Any] = {
    "rewards": np.ones((4, 3)),
    "values": np.zeros((4, 3)),
    "last_values": np.zeros(3),
    "terminated": np.zeros((4, 3), bool),
}

#: name -> (columns, options, exit code, what the message and its hint must hold)
CASES: dict[str, tuple[Any, dict[str, Any], int, tuple[str, ...]]] = {
    "no reward": (but(reward=None), {}, 2, ("no reward column", "value, done", "--reward-column")),
    "no value": (but(value=None), {}, 2, ("no value column", "reward, done", "--value-column")),
    "no value, but one like it": (but(value=None, vf_pred=[0.0] * 4), {}, 2, ("--value-column vf_pred",)),
    "scalar score": ({"step": [1], "prompt": ["a"], "score": [0.5]}, {}, 2, ("no reward column", "score")),
    "aliases differ": (
        but(rewards=[1.0, 2.0, 3.5, 5.0]),
        {},
        2,
        ("`reward` and `rewards`", "row 2", "2 such", "--reward-column"),
    ),
    "named column missing": (BASE, {"value_column": "valu"}, 2, ("`valu` not found", "--value-column value")),
    "two columns of one name": (TWO_NAMES, {}, 3, ("`reward`", "two columns have this name")),
    "two id columns of one name": (
        pa.Table.from_arrays(
            [pa.array(BASE["reward"]), pa.array(BASE["value"]), *[pa.array([0, 0, 1, 1])] * 2],
            names=["reward", "value", "episode_id", "episode_id"],
        ),
        {},
        3,
        ("`episode_id`", "two columns have this name", "--episode-column"),
    ),
    "start flags read as end flags": (
        but(done=[True, False, True, False], **IDS),
        {},
        2,
        ("first row of every episode", "--done-at start"),
    ),
    "start flags without ids": (but(done=[True, False, False, True]), {}, 2, ("`done`", "--done-at start")),
    "end flags read as start flags": (
        but(done=[False, True, False, True], **IDS),
        {"done_at": "start"},
        3,
        ("row 0", "same episode id", "--done-at end"),
    ),
    "start and end flags disagree": (
        but(episode_start=[True, False, False, True]),
        {},
        2,
        ("`done`", "`episode_start`", "row 1", "--done-column"),
    ),
    "end inside an id": (
        but(done=[True, False, False, True], **IDS),
        {},
        3,
        ("row 0", "1 such", "--episode-column none"),
    ),
    "three flags": (
        but(terminated=[False, True, False, False], truncated=[False, False, False, False]),
        {},
        3,
        ("`done` of", "row 3", "1 such", "--done-column none"),
    ),
    "nothing tells where it ends": (
        but(done=None),
        {},
        2,
        ("where a trajectory ends", "--done-column", "--layout long"),
    ),
    "NaN reward": (
        but(reward=[1.0, NAN, NAN, 1.0]),
        {},
        3,
        ("`reward` is NaN", "row 1", "2 such", "--on-nan"),
    ),
    "null value": (but(value=[0.5, None, 0.5, 0.5]), {}, 3, ("`value` is null", "row 1", "1 such")),
    "infinite value": (but(value=[0.5, 0.5, 0.5, float("inf")]), {}, 3, ("`value` is infinite", "row 3")),
    "infinite next value in use": (
        but(done=None, truncated=BASE["done"], next_value=[0.0, float("inf"), 0.0, 0.0]),
        {},
        3,
        ("`next_value` is infinite", "row 1"),
    ),
    "null flag": (but(done=[False, None, False, True]), {}, 3, ("`done` is null", "row 1", "--on-nan")),
    "NaN flag": (but(done=[0.0, NAN, 0.0, 1.0]), {}, 3, ("`done` is null or NaN", "row 1")),
    "a flag of 2": (but(done=[0, 2, 0, 1]), {}, 3, ("`done` is 2", "row 1", "0 or 1")),
    "a flag of 0.5": (but(done=[0.0, 1.0, 0.5, 1.0]), {}, 3, ("`done` is 0.5", "row 2")),
    "reward of text": (but(reward=["1", "2", "3", "4"]), {}, 3, ("`reward`", "string", "--reward-column")),
    "reward of nulls": (but(reward=pa.nulls(4)), {}, 3, ("`reward` is null", "row 0", "4 such")),
    "a step twice": (
        but(done=[False] * 3 + [True], step=[0, 1, 1, 2]),
        {},
        3,
        ("`step` is 1 twice", "row 2", "--env-column"),
    ),
    "a step missing": (but(step=[0, 1, 0, 2]), {}, 3, ("`step`", "gap")),
    "environments mixed without a key": (
        but(done=[False, False, True, True], step=[0, 0, 1, 1]),
        {},
        3,
        ("`step` is 0 twice", "--env-column"),
    ),
    "a null step": (but(step=[0, None, 0, 1]), {}, 3, ("`step` is null", "row 1", "--step-column none")),
    "moments that fall without an end": (
        but(done=[False, False, False, True], time=[0.0, 0.5, 0.0, 0.5]),
        {"step_column": "time"},
        3,
        ("`time` falls from 0.5 to 0.0", "row 2", "--step-column none"),
    ),
    "an id comes back": (
        but(done=None, episode_id=[0, 1, 0, 1]),
        {},
        3,
        ("0", "comes back after other episodes", "--step-column"),
    ),
    "an id comes back after its end": (
        but(done=[True, True, True, True], episode_id=[0, 1, 0, 1]),
        {},
        3,
        ("ends an episode", "same episode id"),
    ),
    "no value at a cut": (
        but(done=None, truncated=BASE["done"]),
        {"bootstrap": "error"},
        3,
        ("row 1", "--next-value-column"),
    ),
    "no value at an open end": (
        but(done=[False] * 4),
        {"bootstrap": "error"},
        3,
        ("row 3", "--bootstrap zero"),
    ),
    "reward in lists, value not": (
        {"rewards": LISTS["rewards"], "value": [0.5, 0.5]},
        {},
        3,
        ("`value`", "one number per row"),
    ),
    "value in lists, reward not": (
        {"reward": [1.0, 2.0], "value": LISTS["values"], "done": [False, True]},
        {},
        3,
        ("`value`", "holds lists"),
    ),
    "lists of different lengths": (
        {**LISTS, "values": [[0.5, 0.5], [0.5, 0.5, 0.5]]},
        {},
        3,
        ("`values` has 3 items at row 1", "1 such"),
    ),
    "a mask of another length": (
        {**LISTS, "response_mask": [[1], [1]]},
        {},
        3,
        ("`response_mask` has 1 items at row 0",),
    ),
    "a mask of the prompt": (
        {**LISTS, "attention_mask": [[1, 1], [1]]},
        {},
        2,
        ("`attention_mask`", "--mask-column none"),
    ),
    "a mask of the prompt, named": (
        {**LISTS, "attention_mask": [[1, 1], [1]]},
        {"mask_column": "attention_mask"},
        2,
        ("`attention_mask`", "prompt"),
    ),
    "an end inside a list": (
        {**LISTS, "dones": [[True, False], [True]]},
        {},
        3,
        ("row 0, item 0", "--done-column none"),
    ),
    "a mask in a long table": (
        but(loss_mask=[1, 0, 1, 1]),
        {},
        2,
        ("`loss_mask`", "row 1", "--mask-mode zero"),
    ),
    "RLDS terminal that is not last": (
        but(done=None, is_first=[True, False] * 2, is_last=[False, True] * 2, is_terminal=[True, False] * 2),
        {},
        3,
        ("`is_terminal`", "row 0", "2 such", "--done-column is_last"),
    ),
    "result in place of an input": (
        BASE,
        {"advantage_column": "reward"},
        2,
        ("`reward`", "--advantage-column"),
    ),
    "a column of somebody else": (but(advantage=[0.0] * 4), {}, 2, ("`advantage`", "--overwrite")),
    "a group column that is not there": (
        BASE,
        {"normalize_by": "task"},
        2,
        ("`task` not found", "--normalize-by"),
    ),
    "a group column of lists": (
        but(task=[[1], [2, 3], [], [4]]),
        {"normalize_by": "task"},
        2,
        ("`task`", "lists", "`reward` one number per row", "--normalize-by"),
    ),
    "a group column of lists of one length": (
        but(task=pa.array([[1, 2], [2, 3], [1, 2], [4, 5]], pa.list_(pa.int64(), 2))),
        {"normalize_by": "task"},
        2,
        ("`task`", "lists", "--normalize-by"),
    ),
    "a group column of structs": (
        but(task=[{"id": 1}] * 4),
        {"normalize_by": "task"},
        2,
        ("`task`", "struct", "--normalize-by"),
    ),
    "a group column with other lengths than the steps": (
        {**LISTS, "task": [[1], [1, 2]]},
        {"normalize_by": "task"},
        3,
        ("`task` has 1 items at row 0", "`rewards` has 2"),
    ),
    "a group array of another length": (
        {name: np.array(cells) for name, cells in but(task=[1, 2]).items()},
        {"normalize_by": "task"},
        3,
        ("`task`", "(2,)", "--normalize-by"),
    ),
    "another layout": (BASE, {"layout": "time-major"}, 2, ("not `time-major`", "--layout")),
    # Arrays
    "dones of a buffer": (
        {**{name: DENSE[name] for name in ("rewards", "values", "last_values")}, "dones": np.zeros((4, 3))},
        {},
        2,
        ("`dones`", "--done-at end", "--done-at start"),
    ),
    "square arrays": (
        {"rewards": np.ones((3, 3)), "values": np.ones((3, 3)), "last_values": np.zeros(3)},
        {},
        2,
        ("3 by 3", "--layout time-major", "--layout batch-major"),
    ),
    "no companion": (
        {"rewards": np.ones((4, 3)), "values": np.ones((4, 3))},
        {},
        2,
        ("--layout time-major",),
    ),
    "shapes differ": ({**DENSE, "values": np.zeros((4, 2))}, {}, 3, ("`values`", "(4, 2)", "(4, 3)")),
    "a mask of another shape": (
        {"rewards": np.ones((4, 3)), "values": np.ones((4, 3)), "mask": np.ones((4, 2))},
        {},
        3,
        ("`mask`", "(4, 2)"),
    ),
    "a flat mask of another length": (
        {"rewards": np.ones(4), "values": np.ones(4), "dones": np.ones(4), "mask": np.ones(3)},
        {},
        3,
        ("`mask`", "(3,)"),
    ),
    "an object array": (
        {**DENSE, "rewards": np.array([[{}] * 3] * 4, dtype=object)},
        {},
        3,
        ("`rewards`", "unpickling"),
    ),
    "starts and ends of a buffer disagree": (
        {**DENSE, "episode_starts": np.array([[1.0, 1, 1], [0, 0, 0], [0, 1, 0], [0, 0, 0]])},
        {},
        2,
        ("`terminated`", "`episode_starts`", "[1, 1]", "1 such"),
    ),
    "all starts of a buffer flagged as ends": (
        {
            **{name: DENSE[name] for name in ("rewards", "values", "last_values")},
            "done": np.eye(4, 3)[:, :1].repeat(3, 1),
        },
        {},
        2,
        ("`done`", "--done-at start"),
    ),
}


def is_arrays(columns: Any) -> bool:
    return isinstance(columns, dict) and isinstance(next(iter(columns.values())), np.ndarray)


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_and_the_file_is_left_alone(case: str, tmp_path: Path) -> None:
    columns, options, exit_code, texts = CASES[case]
    path = write(tmp_path / ("rollouts.npz" if is_arrays(columns) else "rollouts.parquet"), columns)
    before = path.read_bytes()
    with pytest.raises(GaeError) as raised:
        gaecli.compute(path, **options)
    message = f"{raised.value.message}\n{raised.value.hint}"
    assert raised.value.exit_code == exit_code, message
    for text in (*texts, str(path)):
        assert text in message
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


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
    "null ids are an id": (but(done=None, episode_id=[None, None, 1, 1]), {}, [3, 2, 7, 4]),
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
