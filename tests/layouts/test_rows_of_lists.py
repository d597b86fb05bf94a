"""A row of lists is a trajectory, unless the file's own ids and steps say that it is a time step: that is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from layouts.rows_in_files import TABLES, advantages, computed, write

import gaecli
from gaecli.commands.check import check
from gaecli.errors import UsageError

RNG = np.random.default_rng(7)
#: 6 time steps of 3 environments.
REWARDS = np.round(RNG.normal(size=(6, 3)), 2)
VALUES = np.round(RNG.normal(size=(6, 3)), 2)


def lists(array: Any, kind: str = "list") -> pa.Array:
    item = pa.array(np.ravel(array)).type
    types = {
        "list": pa.list_(item),
        "large": pa.large_list(item),
        "fixed": pa.list_(item, np.shape(array)[1]),
    }
    return pa.array(np.asarray(array).tolist(), types[kind])


def log(kind: str = "list", **others: Any) -> dict[str, Any]:
    return {"rewards": lists(REWARDS, kind), "values": lists(VALUES, kind), **others}


#: What says that a row is a time step of several environments.
TIME_STEPS: dict[str, dict[str, Any]] = {
    "step": {"step": [0, 1, 2, 3, 4, 5]},
    "a stride": {"step": [0, 3, 6, 9, 12, 15]},
    "another name": {"timestep": [5, 6, 7, 8, 9, 10]},
    "a double": {"t": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]},
    "a step in a list of one": {"step": [[0], [1], [2], [3], [4], [5]]},
    "a step with resets": {"frame_index": [0, 1, 2, 0, 1, 2]},
    "dones that are all False": {"step": [0, 1, 2, 3, 4, 5], "dones": [[False] * 3] * 6},
    "an id that repeats": {"episode_id": [4, 4, 4, 5, 5, 5]},
    "an id that comes back": {"episode_id": ["a", "b", "a", "b", "a", "b"]},
    "an id of every digit that repeats": {"episode_id": [2**53, 2**53, 2**53 + 1, 2**53 + 2, 1, 2]},
    "flags of rows": {"done": [False, False, True, False, False, True]},
}


@pytest.mark.few(5)
@pytest.mark.parametrize("kind", ["list", "large", "fixed"])
@pytest.mark.parametrize("case", TIME_STEPS)
def test_rows_that_are_time_steps_are_asked_about(case: str, kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "log.parquet", log(kind, **TIME_STEPS[case]))
    with pytest.raises(UsageError) as raised:
        gaecli.compute(path)
    assert "--layout nested" in str(raised.value.hint)
    assert {finding.rule.code for finding in check([path]).findings} >= {"GAE900"}
    assert gaecli.inspect(path).problem == raised.value.message


@pytest.mark.parametrize("suffix", TABLES)
@pytest.mark.parametrize("case", ["step", "an id that repeats", "flags of rows"])
def test_so_they_are_in_every_format(case: str, suffix: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`step`|`episode_id`|`done`"):
        gaecli.compute(write(tmp_path / f"log{suffix}", log(**TIME_STEPS[case])))


@pytest.mark.few(5)
@pytest.mark.parametrize("case", TIME_STEPS)
def test_layout_nested_says_that_they_are_trajectories(case: str, tmp_path: Path) -> None:
    columns = log(**TIME_STEPS[case])
    found, _ = computed(tmp_path / "log.parquet", columns, layout="nested")
    ends = columns.get("done", [False] * 6)
    wanted = [
        advantages(rewards, values, is_terminal=end)
        for rewards, values, end in zip(REWARDS.tolist(), VALUES.tolist(), ends, strict=True)
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


#: What rows of trajectories may say of themselves.
TRAJECTORIES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a training step": {"step": [7] * 6},
    "training steps of two rows each": {"step": [1, 1, 2, 2, 3, 3]},
    "ids": {"episode_id": [3, 1, 4, 5, 9, 2]},
    "null ids": {"episode_id": pa.array([None, None, 1, 2, 3, 4], pa.int64())},
    "every row ends": {"done": [True] * 6},
    "some are terminated, the others have a value": {
        "terminated": [True, False] * 3,
        "bootstrap_value": [None, 1.0] * 3,
    },
    "flags at the ends of lists": {"done": [[False, False, True]] * 6},
    "numbers of envs": {"env_id": [0, 1, 2, 0, 1, 2]},
}


@pytest.mark.parametrize("case", TRAJECTORIES)
def test_rows_that_are_trajectories_are_not_asked_about(case: str, tmp_path: Path) -> None:
    found, summary = computed(tmp_path / "rows.parquet", log(**TRAJECTORIES[case]), bootstrap="zero")
    assert summary.files[0].layout == "nested"
    ends = [True] * 6 if case in ("every row ends", "flags at the ends of lists") else [False] * 6
    given = [0.0] * 6
    if case.startswith("some"):
        ends, given = [True, False] * 3, [0.0, 1.0] * 3
    wanted = [
        advantages(rewards, values, is_terminal=end, beyond=beyond)
        for rewards, values, end, beyond in zip(REWARDS.tolist(), VALUES.tolist(), ends, given, strict=True)
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_ragged_rows_may_be_numbered(tmp_path: Path) -> None:
    columns = {"rewards": [[1.0, 2.0], [3.0], [4.0]], "values": [[0.0, 0.0], [0.0], [0.0]], "step": [0, 1, 2]}
    found, _ = computed(tmp_path / "rows.parquet", columns, gamma=1.0, lam=1.0)
    assert found == [[3.0, 2.0], [3.0], [4.0]]


@pytest.mark.parametrize("kind", ["list", "fixed"])
@pytest.mark.parametrize("others", [{}, {"done": [False] * 7 + [True]}, {"done": [True] * 4 + [False] * 4}])
def test_two_objectives_of_a_step_are_asked_about(kind: str, others: dict[str, Any], tmp_path: Path) -> None:
    pairs = RNG.normal(size=(8, 2))
    path = write(
        tmp_path / "rows.parquet", {"reward": lists(pairs, kind), "value": lists(pairs, kind), **others}
    )
    with pytest.raises(UsageError, match="objectives") as raised:
        gaecli.compute(path)
    assert "--layout nested" in str(raised.value.hint)


def test_two_critics_of_a_step_are_refused(tmp_path: Path) -> None:
    columns = {"reward": [1.0] * 8, "value": lists(RNG.normal(size=(8, 2))), "done": [True] * 8}
    with pytest.raises(gaecli.GaeError, match="`value`") as raised:
        gaecli.compute(write(tmp_path / "rows.parquet", columns))
    assert raised.value.exit_code in (2, 3)


def test_ids_may_repeat_in_files_that_follow_one_another(tmp_path: Path) -> None:
    """Each of a writer's shards counts from 0."""
    for number in (0, 1):
        write(tmp_path / f"part-0000{number}-of-00002.parquet", log(episode_id=[0, 1, 2, 3, 4, 5]))
    assert gaecli.compute(tmp_path).totals.episodes == 12


def test_evidence_in_different_blocks_is_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gaecli.pipeline.opening as opening

    monkeypatch.setattr(opening, "rows_per_block", lambda memory_bytes: 4)
    path = write(tmp_path / "rows.parquet", log(episode_id=[0, 1, 2, 3, 4, 0]))
    with pytest.raises(UsageError, match=r"`episode_id`.*is 0 in several rows"):
        gaecli.compute(path)


#: Named columns that a layout has no use for: (columns, role, name).
UNUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "an episode of nested rows": (log(which=[1, 2, 3, 4, 5, 6]), "episode", "which"),
    "an env of nested rows": (log(which=[1, 2, 3, 4, 5, 6]), "env", "which"),
    "a step of nested rows": (log(which=[7] * 6), "step", "which"),
    "final flags of nested rows": (log(which=[True] * 6), "final_done", "which"),
    "final flags of a long table": (
        {"reward": [1.0, 2.0], "value": [0.0, 0.0], "done": [True, True], "which": [True, True]},
        "final_done",
        "which",
    ),
}


@pytest.mark.parametrize("layout", ["auto", "named"])
@pytest.mark.parametrize("case", UNUSED)
def test_a_named_column_that_is_not_used_is_an_error(case: str, layout: str, tmp_path: Path) -> None:
    columns, role, name = UNUSED[case]
    path = write(tmp_path / "rows.parquet", columns)
    options = {"layout": "long" if "long" in case else "nested"} if layout == "named" else {}
    with pytest.raises(UsageError, match=f"`{name}`") as raised:
        gaecli.compute(path, **{f"{role}_column": name}, **options)
    assert f"--{role.replace('_', '-')}-column" in str(raised.value.hint)
