"""`--success-column`: rewards of episodes that succeed or fail, in every way in which files say so."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from labels.recorded import TASKS, Recording, random_recording, read_all, write_lerobot
from pipeline.pickling_engine import pickling
from pipeline.running import small_blocks

import gaecli
from gaecli.errors import DataError, UsageError

__all__ = ["pickling"]

MC = {"estimator": "mc", "gamma": 63 / 64, "success_column": "next.success"}
#: float32 columns.
CLOSE = {"rtol": 2e-6, "atol": 1e-6}


def test_a_set_of_lerobot_gets_returns_of_success(tmp_path: Path) -> None:
    """Z = 7 - 1 + 50 = 56: the first episode has G = -3/56 at its first step when γ = 1."""
    root = write_lerobot(tmp_path / "set", TASKS.columns(), [])
    summary = gaecli.compute(root, **{**MC, "gamma": 1.0}, failure_cost=50)
    found = read_all(root)["return"]
    assert found[:4] == pytest.approx([-3 / 56, -2 / 56, -1 / 56, 0])
    assert found[4] == pytest.approx(-1)  # six steps and the failure: (6 + 50) / 56
    told = summary.success
    assert told is not None
    assert (told.longest_episode, told.scale, told.successes, told.episodes) == (7, 56, 3, 5)


@pytest.mark.few(2)
@pytest.mark.parametrize("rule", ["recap", "steps", "sparse"])
@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_rules_are_those_of_a_loop(tmp_path: Path, rule: str, version: str) -> None:
    root = write_lerobot(tmp_path / "set", TASKS.columns(), [4, 11, 12, 15], version)
    cost = {} if rule == "sparse" else {"failure_cost": 2.5}
    gaecli.compute(root, **MC, success_reward=rule, **cost)
    wanted = TASKS.returns(TASKS.rewards(rule, 2.5), 63 / 64)
    np.testing.assert_allclose(read_all(root)["return"], wanted, **CLOSE)


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("rows", "store", "has_done"), [(3, 0, True), (3, None, False), (8, 0, False), (1000, None, True)]
)
def test_blocks_and_files_may_be_cut_anywhere(rows: int, store: int | None, has_done: bool) -> None:
    """The longest episode is in the last file, and goes over its blocks."""
    recording = random_recording(3, 12)
    recording = Recording([*recording.lengths, 61], [*recording.succeeded, False])
    more = {"next.done": recording.ends} if has_done else {}
    with small_blocks(rows, store_bytes=store) as folder:
        root = write_lerobot(folder / "set", recording.columns(**more), [5, 77, 150])
        summary = gaecli.compute(root, **MC, failure_cost=7)
        found = read_all(root)["return"]
    np.testing.assert_allclose(found, recording.returns(recording.rewards("recap", 7), 63 / 64), **CLOSE)
    told = summary.success
    assert told is not None
    assert (told.longest_episode, told.successes, told.episodes) == (61, sum(recording.succeeded), 13)


def test_every_engine_gives_the_same(tmp_path: Path, pickling: Any) -> None:
    recording, found = random_recording(4, 6), []
    for engine in ("local", "pickling"):
        with small_blocks(7) as folder:
            columns = recording.columns(progress=np.linspace(0, 1, len(recording.frames)))
            root = write_lerobot(folder / "set", columns, [50])
            options = {"label_rule": "lerobot-3764", "weight": "rabc", "progress_column": "progress"}
            gaecli.compute(root, **MC, failure_cost=7, **options, engine=engine)
            found.append(read_all(root))
    assert found[0] == found[1]


def test_the_longest_episode_of_all_inputs_counts(tmp_path: Path) -> None:
    other = Recording([12, 2], [False, True])
    for name, recording in (("a", TASKS), ("b", other)):
        pq.write_table(pa.table(recording.columns()), tmp_path / f"{name}.parquet")
    gaecli.compute([tmp_path / "a.parquet", tmp_path / "b.parquet"], **MC, failure_cost=3)
    found = pq.read_table(tmp_path / "a.parquet")["return"].to_numpy()
    np.testing.assert_allclose(found, TASKS.returns(TASKS.rewards("recap", 3, longest=12), 63 / 64), **CLOSE)


def flags_per_episode(recording: Recording) -> list[bool]:
    return [recording.succeeded[episode] for episode in recording.episodes]


FORMS: dict[str, Callable[[Recording], Any]] = {
    "last step": lambda recording: recording.flags,
    "whole episode": flags_per_episode,
    "int": lambda recording: [int(flag) for flag in recording.flags],
    "float": lambda recording: [float(flag) for flag in recording.flags],
    "list of one": lambda recording: [[flag] for flag in recording.flags],
}


@pytest.mark.parametrize("form", FORMS)
def test_the_flag_may_stand_in_every_form(tmp_path: Path, form: str) -> None:
    path = tmp_path / "rollouts.parquet"
    pq.write_table(pa.table({**TASKS.columns(), "next.success": FORMS[form](TASKS)}), path)
    gaecli.compute(path, **MC, failure_cost=5)
    wanted = TASKS.returns(TASKS.rewards("recap", 5), 63 / 64)
    np.testing.assert_allclose(pq.read_table(path)["return"].to_numpy(), wanted, **CLOSE)


def per_episode(recording: Recording, numbers: Any) -> list[list[Any]]:
    bounds = np.cumsum([0, *recording.lengths])
    return [list(numbers[start:stop]) for start, stop in pairwise(bounds)]


@pytest.mark.parametrize("once", [True, False])
def test_lists_may_have_success_once(tmp_path: Path, once: bool) -> None:
    """One flag per row says of all of its steps what became of them; the values say how many they are."""
    path, values = tmp_path / "rollouts.parquet", per_episode(TASKS, np.zeros(20))
    flags = list(TASKS.succeeded) if once else per_episode(TASKS, TASKS.flags)
    pq.write_table(pa.table({"values": values, "success": flags}), path)
    gaecli.compute(path, **{**MC, "success_column": "success"}, failure_cost=5)
    found = [number for row in pq.read_table(path)["return"].to_pylist() for number in row]
    np.testing.assert_allclose(found, TASKS.returns(TASKS.rewards("recap", 5), 63 / 64), **CLOSE)


def test_arrays_of_environments_have_success_at_their_ends(tmp_path: Path) -> None:
    """[T, N]: two episodes of the first environment, one of the second."""
    dones = np.array([[0, 0], [1, 0], [0, 0], [1, 1]], np.bool_)
    success = np.array([[0, 0], [1, 0], [0, 0], [0, 1]], np.bool_)
    path = tmp_path / "rollouts.npz"
    np.savez(path, dones=dones, success=success)
    settings = {"estimator": "mc", "gamma": 1.0, "success_column": "success", "success_reward": "steps"}
    gaecli.compute(path, **settings, failure_cost=9, layout="time-major", done_at="end")
    expected = [[-1, -3], [0, -2], [-10, -1], [-9, 0]]
    np.testing.assert_array_equal(np.load(path)["return"], expected)


def test_lines_of_json_and_episodes_of_hdf5(tmp_path: Path) -> None:
    wanted = TASKS.returns(TASKS.rewards("recap", 5), 63 / 64)
    lines = tmp_path / "rollouts.jsonl"
    rows = pa.table(TASKS.columns()).to_pylist()
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    gaecli.compute(lines, **MC, failure_cost=5)
    found = [json.loads(line)["return"] for line in lines.read_text().splitlines()]
    np.testing.assert_allclose(found, wanted, **CLOSE)

    path = tmp_path / "rollouts.hdf5"
    with h5py.File(path, "w") as file:
        for number, (flags, ends) in enumerate(
            zip(per_episode(TASKS, TASKS.flags), per_episode(TASKS, TASKS.ends), strict=True)
        ):
            file[f"episode_{number}/success"] = np.array(flags)
            file[f"episode_{number}/terminations"] = np.array(ends)
    gaecli.compute(path, **{**MC, "success_column": "success"}, failure_cost=5)
    with h5py.File(path) as file:
        parts = [file[f"episode_{number}/return"][()] for number in range(5)]
    np.testing.assert_allclose(np.concatenate(parts), wanted, **CLOSE)


@pytest.mark.parametrize(("where", "succeeds"), [("any", True), ("last", False)])
def test_a_success_that_is_lost_again_is_asked_about(tmp_path: Path, where: str, succeeds: bool) -> None:
    with small_blocks(2) as folder:  # the flag is two blocks before the end
        path = folder / "rollouts.parquet"
        flags = [False, True, False, False, False, False]
        pq.write_table(pa.table({"episode_index": [0] * 6, "success": flags}), path)
        settings = {**MC, "success_column": "success", "gamma": 1.0, "success_reward": "sparse"}
        with pytest.raises(UsageError, match="within 1 episode and not at the last step") as raised:
            gaecli.compute(path, **settings)
        assert "--success-at any" in str(raised.value.hint)
        summary = gaecli.compute(path, **settings, success_at=where)
        assert pq.read_table(path)["return"].to_pylist() == [float(succeeds)] * 6
        assert summary.success is not None
        assert summary.success.successes == succeeds


def test_an_end_is_an_end_whatever_cut_it(tmp_path: Path) -> None:
    """A limit, or the last row of an episode: nothing lies beyond it, and no value is asked for."""
    path = tmp_path / "rollouts.parquet"
    values = np.linspace(-0.5, 0.5, 20)
    pq.write_table(pa.table(TASKS.columns(value=values, truncated=TASKS.ends)), path)
    summary = gaecli.compute(
        path, estimator="gae", lam=1.0, gamma=1.0, success_column="next.success", failure_cost=4
    )
    wanted = TASKS.returns(TASKS.rewards("recap", 4), 1.0)
    table = pq.read_table(path)
    np.testing.assert_allclose(table["advantage"].to_numpy(), np.array(wanted) - values, **CLOSE)
    assert summary.bootstrapped.zero == 0
    assert [note.code for note in summary.warnings] == []


def test_an_episode_that_no_flag_ends_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.parquet"
    pq.write_table(pa.table({"success": [0, 1, 0, 0], "done": [0, 1, 0, 0]}), path)
    summary = gaecli.compute(path, estimator="mc", success_column="success", failure_cost=4)
    (note,) = [note for note in summary.warnings if note.code == "unfinished-episodes"]
    assert "1 episode is not ended by a flag" in note.message


@pytest.mark.parametrize(
    ("cells", "words"),
    [([0, 0.5, 1, 0], "`success` is 0.5 at row 1"), ([0, None, 1, 0], "`success` is null at row 1")],
)
def test_other_cells_are_no_flags(tmp_path: Path, cells: list[Any], words: str) -> None:
    path = tmp_path / "rollouts.parquet"
    pq.write_table(pa.table({"success": cells, "episode_index": [0, 0, 1, 1]}), path)
    with pytest.raises(DataError, match=words):
        gaecli.compute(path, estimator="mc", success_column="success", failure_cost=4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "needs what a failure costs"),
        ({"success_reward": "sparse", "failure_cost": 1.0}, "says nothing to `--success-reward sparse`"),
        ({"failure_cost": 1.0, "reward_column": "index"}, "both say rewards"),
        ({"failure_cost": 1.0, "bootstrap": "error"}, "both say what lies beyond"),
        ({"failure_cost": -1.0}, "must be finite and not negative"),
        ({"success_column": "none_such", "failure_cost": 1.0}, "`none_such` not found"),
    ],
)
def test_half_a_rule_is_refused(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    path = tmp_path / "rollouts.parquet"
    pq.write_table(pa.table(TASKS.columns()), path)
    with pytest.raises(UsageError, match=words):
        gaecli.compute(path, **{**MC, **settings})


def test_a_file_without_rewards_names_the_flag_of_success(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.parquet"
    pq.write_table(pa.table(TASKS.columns()), path)
    with pytest.raises(UsageError) as raised:
        gaecli.compute(path, estimator="mc")
    assert "--success-column next.success" in str(raised.value.hint)


@pytest.mark.parametrize("is_shuffled", [False, True])
def test_environments_that_take_turns_and_rows_in_any_order(tmp_path: Path, is_shuffled: bool) -> None:
    rows = [
        {"env_id": env, "step": step, "success": step == 3 and env == 1, "terminated": step == 3}
        for step in range(4)
        for env in range(2)
    ]
    if is_shuffled:
        rows = [rows[index] for index in np.random.default_rng(1).permutation(8)]
    path = tmp_path / "rollouts.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    settings = {"estimator": "mc", "gamma": 1.0, "success_column": "success", "success_reward": "steps"}
    gaecli.compute(path, **settings, failure_cost=2)
    found = {(row["env_id"], row["step"]): row["return"] for row in pq.read_table(path).to_pylist()}
    assert [found[0, step] for step in range(4)] == [-5, -4, -3, -2]
    assert [found[1, step] for step in range(4)] == [-3, -2, -1, 0]


def test_success_is_the_score_of_a_response(tmp_path: Path) -> None:
    path = tmp_path / "responses.parquet"
    pq.write_table(pa.table({"prompt": [1, 1, 1, 1], "success": [True, False, False, True]}), path)
    settings = {"success_column": "success", "success_reward": "sparse"}
    gaecli.compute(path, estimator="dr-grpo", group_column="prompt", **settings)
    assert pq.read_table(path)["advantage"].to_pylist() == [0.5, -0.5, -0.5, 0.5]


def test_an_episode_that_is_left_out_is_not_the_longest(tmp_path: Path) -> None:
    """Z = 2 - 1 + 2. The null is two blocks before the end of its episode."""
    with small_blocks(1) as folder:
        path = folder / "rollouts.parquet"
        table = {"episode_index": [0, 0, 0, 1, 1], "success": [None, False, False, False, True]}
        pq.write_table(pa.table(table), path)
        settings = {"estimator": "mc", "gamma": 1.0, "success_column": "success", "failure_cost": 2}
        summary = gaecli.compute(path, **settings, on_nan="drop-episode")
        assert pq.read_table(path)["return"].to_pylist() == [None, None, None, pytest.approx(-1 / 3), 0]
    assert summary.success is not None
    assert (summary.success.longest_episode, summary.success.episodes) == (2, 1)


def test_success_of_environments_may_stand_once_for_all_times(tmp_path: Path) -> None:
    """[N] beside [T, N]: the flags of ends say which steps there are."""
    path = tmp_path / "rollouts.npz"
    ends = np.zeros((4, 2), np.bool_)
    ends[-1] = True
    np.savez(path, terminated=ends, success=np.array([1, 0]))
    settings = {"estimator": "mc", "gamma": 1.0, "success_column": "success", "success_reward": "sparse"}
    gaecli.compute(path, **settings, layout="time-major")
    np.testing.assert_array_equal(np.load(path)["return"], [[1, 0]] * 4)


def test_every_command_reads_the_same_rewards(tmp_path: Path, run_gae: Callable[..., Any]) -> None:
    root = write_lerobot(tmp_path / "set", TASKS.columns(), [4])
    rewards = TASKS.rewards("recap", 5)
    flags = ("--success-column", "next.success", "--failure-cost", "5", "--estimator", "mc")
    read = gaecli.read(root, estimator="mc", success_column="next.success", failure_cost=5)
    np.testing.assert_allclose(read.rewards, rewards)
    told = json.loads(run_gae("inspect", root, *flags, "--json").stdout)["files"][0]
    assert told["statistics"]["reward"]["mean"] == pytest.approx(sum(rewards) / len(rewards))
    assert told["role_reasons"]["reward"] == "flag"
    terms = json.loads(run_gae("explain", root, *flags, "--row", "2", "--json").stdout)
    assert terms["computed"] == pytest.approx(rewards[2] + 0.99 * rewards[3])
    assert run_gae("check", root, *flags, "--strict").returncode == 0


def test_a_flag_on_a_masked_token_is_told_and_moved_where_asked(tmp_path: Path) -> None:
    path = tmp_path / "tokens.parquet"
    table = {"success": [[0, 0, 1, 0], [0, 1, 1, 1]], "mask": [[1, 1, 0, 0]] * 2, "done": [[0, 0, 0, 1]] * 2}
    pq.write_table(pa.table(table), path)
    settings = {"estimator": "mc", "gamma": 1.0, "success_column": "success", "success_reward": "sparse"}
    summary = gaecli.compute(path, **settings)
    (note,) = [note for note in summary.warnings if note.code == "masked-rewards"]
    assert note.message.startswith("3 flags of success stand where `mask` keeps no step")
    assert pq.read_table(path)["return"].to_pylist() == [[0, 0, None, None], [1, 1, None, None]]
    gaecli.compute(path, **settings, masked_reward="move")
    assert pq.read_table(path)["return"].to_pylist() == [[1, 1, None, None]] * 2


@pytest.mark.parametrize("on_step", [True, False])
def test_the_row_of_the_last_state_is_no_step(tmp_path: Path, on_step: bool) -> None:
    """RLDS: three rows, two steps. A flag of the last state alone would be lost, and is refused."""
    path = tmp_path / "rollouts.parquet"
    table = {
        "episode_id": [0, 0, 0],
        "is_first": [True, False, False],
        "is_last": [False, False, True],
        "is_terminal": [False, False, True],
        "success": [False, on_step, True],
    }
    pq.write_table(pa.table(table), path)
    settings = {"estimator": "mc", "gamma": 1.0, "success_column": "success", "failure_cost": 3}
    if not on_step:
        with pytest.raises(DataError, match=r"at row 2 .* holds the last state of an episode and is no step"):
            gaecli.compute(path, **settings)
        return
    summary = gaecli.compute(path, **settings)
    assert pq.read_table(path)["return"].to_pylist() == [-1 / 4, 0, None]
    assert summary.success is not None
    assert (summary.success.longest_episode, summary.success.successes) == (2, 1)
