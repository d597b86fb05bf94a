"""What rows and groups are: steps that would pass for responses, ids of two types, groups that weigh nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import gaecli
from gaecli.errors import DataError, UsageError

T, N = 3, 8
OPTIONS: dict[str, Any] = {"estimator": "grpo", "group_column": "grp", "columns": {"reward": "rew"}}


def write(path: Path, columns: dict[str, Any]) -> Path:
    frame = pl.DataFrame(columns)
    match path.suffix:
        case ".parquet":
            frame.write_parquet(path)
        case ".jsonl":
            frame.write_ndjson(path)
        case ".arrow":
            frame.write_ipc(path)
        case _:
            np.savez(path, **{name: frame[name].to_numpy() for name in frame.columns})
    return path


def steps_of_trajectories() -> dict[str, Any]:
    """N trajectories of T steps, in groups of four."""
    traj = np.repeat(np.arange(N), T)
    return {
        "traj": traj,
        "grp": traj // 4,
        "t": np.tile(np.arange(T), N),
        "rew": (np.arange(N * T) % 5 / 4).astype(np.float64),
    }


@pytest.mark.parametrize("suffix", ["parquet", "npz", "jsonl", "arrow"])
def test_steps_are_not_taken_for_responses(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"long.{suffix}", steps_of_trajectories())
    with pytest.raises(UsageError) as raised:
        gaecli.compute(path, dry_run=True, **OPTIONS)
    assert "`--episode-column traj` and `--step-column t`" in str(raised.value.hint)
    assert "`--layout responses`" in str(raised.value.hint)
    said = gaecli.compute(path, dry_run=True, layout="responses", **OPTIONS)
    assert said.files[0].layout == "responses"
    named = {"reward": "rew", "episode": "traj", "step": "t"}
    summary = gaecli.compute(path, dry_run=True, **{**OPTIONS, "columns": named})
    assert summary.files[0].layout == "long"


def _time_major(columns: dict[str, Any]) -> dict[str, Any]:
    order = np.argsort(columns["t"], kind="stable")
    return {name: cells[order] for name, cells in columns.items()}


DOUBTFUL = {
    "an id of trajectories alone": lambda table: {**table, "t": np.zeros(N * T)},
    "steps alone": lambda table: {name: cells for name, cells in table.items() if name != "traj"},
    "steps one after the other in all trajectories": _time_major,
    "a turn for a step": lambda table: {**table, "t": np.zeros(N * T), "turn": table["t"] + 1},
}
CLEAR = {
    "the step of the training": {"step": np.repeat(np.arange(6), 4)},
    "one step of the training": {"step": np.full(24, 3)},
    "the batch of a rollout": {"rollout_id": np.repeat([0, 1], 12)},
    "a number for each response": {"traj": np.arange(24)},
    "the place of a response in its group": {"sample_index": np.tile(np.arange(4), 6)},
    "lengths": {"num_steps": np.arange(24), "turns": np.arange(24) % 3},
}


@pytest.mark.parametrize("change", DOUBTFUL.values(), ids=DOUBTFUL)
def test_rows_that_may_be_steps_are_asked_about(tmp_path: Path, change: Any) -> None:
    path = write(tmp_path / "long.parquet", change(steps_of_trajectories()))
    with pytest.raises(UsageError, match="may be steps of longer trajectories"):
        gaecli.compute(path, dry_run=True, **OPTIONS)


@pytest.mark.parametrize("more", CLEAR.values(), ids=CLEAR)
def test_logs_of_responses_are_not_asked_about(tmp_path: Path, more: dict[str, Any]) -> None:
    table = {"grp": np.repeat(np.arange(6), 4), "rew": np.arange(24.0), **more}
    path = write(tmp_path / "log.parquet", table)
    assert gaecli.compute(path, dry_run=True, **OPTIONS).files[0].layout == "responses"


@pytest.mark.few(1)
@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "arrow"])
def test_groups_of_two_types_are_refused(tmp_path: Path, suffix: str) -> None:
    scores = {"rew": [1.0, 0.0]}
    numbers = write(tmp_path / "a.parquet", {"grp": [0, 0], **scores})
    texts = write(tmp_path / f"b.{suffix}", {"grp": ["0", "0"], **scores})
    with pytest.raises(DataError, match=re.escape(str(numbers))) as raised:
        gaecli.compute([numbers, texts], dry_run=True, **OPTIONS)
    assert str(texts) in raised.value.message
    joined = gaecli.compute([numbers, texts], dry_run=True, join=True, **OPTIONS)
    assert {failure.exit_code for failure in joined.failures} == {3}
    swept = gaecli.sweep([numbers, texts], **{**OPTIONS, "estimator": ["grpo", "rloo"]})
    assert {file.input: file.exit_code for file in swept.files} == {str(numbers): 0, str(texts): 3}
    floats = write(tmp_path / f"c.{suffix}", {"grp": [0.0, 0.0], **scores})
    gaecli.compute([numbers, floats], dry_run=True, **OPTIONS)


def test_a_group_of_no_length_is_told(tmp_path: Path) -> None:
    table = {"grp": [0, 0, 1, 1, 2, 2], "rew": [1.0, 0, 1, 0, 1, 0], "len": [0, 0, 3, 1, 0, 0]}
    path = write(tmp_path / "log.parquet", table)
    options = {**OPTIONS, "estimator": "opo", "length_column": "len"}
    summary = gaecli.compute(path, **options)
    (note,) = (note for note in summary.warnings if note.code == "no-lengths")
    assert note.count == 2
    assert pl.read_parquet(path)["advantage"].to_list() == [0, 0, 0.25, -0.75, 0, 0]
    again = gaecli.compute(path, **options)
    assert [note.count for note in again.warnings if note.code == "no-lengths"] == [2]


def test_a_file_without_rows_has_groups_and_lengths_of_any_type(tmp_path: Path) -> None:
    empty = write(
        tmp_path / "a.parquet", {"grp": np.zeros(0), "rew": np.zeros(0), "len": pl.Series([], dtype=pl.Null)}
    )
    full = write(tmp_path / "b.parquet", {"grp": ["a", "a"], "rew": [1.0, 0.0], "len": [1, 3]})
    options = {**OPTIONS, "estimator": "opo", "length_column": "len"}
    summary = gaecli.compute([empty, full], join=False, **options)
    assert {file.status for file in summary.files} == {"written"}
    assert pl.read_parquet(full)["advantage"].to_list() == [0.75, -0.25]


@pytest.mark.few(3)
@pytest.mark.parametrize("join", [True, False])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([[5], [6]], [[5], [6, 7]]),
        ([["a"], ["b"]], [["a"], ["b", "c"]]),
        ([[5], []], [[5], [None]]),
        ([5, 6], [[5], [6, 7]]),
    ],
    ids=str,
)
def test_lists_of_one_are_the_same_groups_whatever_stands_in_other_files(
    tmp_path: Path, one: list[Any], other: list[Any], join: bool
) -> None:
    """A prompt of one token is equal to itself, in a file of no longer ones and elsewhere."""
    cells = [*one, *other]
    paths = [
        write(tmp_path / f"{name}.parquet", {"grp": cells, "rew": rewards})
        for name, cells, rewards in (("a", one, [1.0, 2.0]), ("b", other, [3.0, 9.0]))
    ]
    gaecli.compute(paths, join=join, **{**OPTIONS, "estimator": "dr-grpo"})
    found = [pl.read_parquet(path)["advantage"].to_list() for path in paths]
    assert found == [[-1.0, 0.0], [1.0, 0.0]], cells
