"""A row with a list of structs: the steps of a trajectory whatever the list is called, or something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts.rows_in_files import TABLES, column, write

import gaecli
from gaecli.errors import DataError, UsageError

GAMMA, LAM = 0.99, 0.95
LENGTHS = (3, 1, 5)


def step(random: np.random.Generator, **more: Any) -> dict[str, Any]:
    return {"obs": [0.5, 1.5], "reward": float(random.normal()), "value": float(random.normal()), **more}


def episodes(**flags: bool) -> list[list[dict[str, Any]]]:
    """`flags`: what the last step says; the others say the contrary."""
    random = np.random.default_rng(5)
    return [
        [
            step(random, **{name: at_end == (number == length - 1) for name, at_end in flags.items()})
            for number in range(length)
        ]
        for length in LENGTHS
    ]


def loops(steps: list[list[dict[str, Any]]]) -> list[list[float]]:
    """By hand, each list a trajectory whose end is worth nothing."""
    found = []
    for row in steps:
        running, next_value, advantages = 0.0, 0.0, []
        for one in reversed(row):
            running = one["reward"] + GAMMA * next_value - one["value"] + GAMMA * LAM * running
            next_value = one["value"]
            advantages.insert(0, running)
        found.append(advantages)
    return found


def assert_computed(path: Path, steps: list[list[dict[str, Any]]], **options: Any) -> gaecli.Summary:
    summary = gaecli.compute(path, **options)
    found = column(path, "advantage")
    assert [len(row) for row in found] == [len(row) for row in steps]
    np.testing.assert_allclose(np.concatenate(found), np.concatenate(loops(steps)), rtol=1e-6, atol=1e-6)
    return summary


@pytest.mark.few(6)
@pytest.mark.parametrize("suffix", TABLES)
@pytest.mark.parametrize("name", ["transitions", "Trajectory", "episode", "rollout", "turns"])
def test_lists_that_are_called_as_steps_are_steps(tmp_path: Path, name: str, suffix: str) -> None:
    steps = episodes()
    path = write(tmp_path / f"log{suffix}", {"run": [0, 0, 1], name: steps})
    assert_computed(path, steps)


@pytest.mark.few(6)
@pytest.mark.parametrize("suffix", TABLES)
@pytest.mark.parametrize("flag", ["done", "terminated", "truncated", "not_done"])
def test_so_are_lists_of_any_name_whose_items_have_flags(tmp_path: Path, flag: str, suffix: str) -> None:
    steps = episodes(**{flag: flag != "not_done"})
    path = write(tmp_path / f"log{suffix}", {"data": steps})
    summary = assert_computed(path, steps, bootstrap="zero")
    totals = summary.totals
    assert (totals.terminated, totals.truncated) == ((0, 3) if flag == "truncated" else (3, 0))
    assert [note.code for note in summary.warnings if note.code != "bootstrap-zero"] == []


def test_and_lists_whose_items_are_counted(tmp_path: Path) -> None:
    steps = episodes()
    for row in steps:
        for number, one in enumerate(row):
            one["t"] = number
    assert_computed(write(tmp_path / "log.jsonl", {"items": steps}), steps)


@pytest.mark.parametrize("suffix", TABLES)
def test_what_may_be_the_responses_to_one_prompt_is_asked_about(tmp_path: Path, suffix: str) -> None:
    steps = episodes()
    path = write(tmp_path / f"log{suffix}", {"prompt": ["a", "b", "c"], "candidates": steps})
    with pytest.raises(UsageError, match="no reward column") as raised:
        gaecli.compute(path)
    assert raised.value.hint == "if it is `candidates.reward`: pass `--reward-column candidates.reward`"
    # Whoever names the reward means the items of its list, and what stands beside it there.
    assert_computed(path, steps, reward_column="candidates.reward")


@pytest.mark.parametrize("suffix", TABLES)
def test_lists_within_structs_are_named(tmp_path: Path, suffix: str) -> None:
    steps = episodes(terminated=True)
    path = write(tmp_path / f"log{suffix}", {"data": [{"seed": 3, "transitions": row} for row in steps]})
    with pytest.raises(UsageError) as raised:
        gaecli.compute(path)
    assert "--reward-column data.transitions.reward" in str(raised.value.hint)
    summary = assert_computed(path, steps, reward_column="data.transitions.reward")
    assert summary.totals.terminated == len(steps)


@pytest.mark.parametrize("suffix", TABLES)
def test_of_two_lists_of_steps_one_is_named(tmp_path: Path, suffix: str) -> None:
    mine, others = episodes(done=True), episodes(done=True)[::-1]
    path = write(tmp_path / f"log{suffix}", {"student": mine, "teacher": others})
    with pytest.raises(UsageError) as raised:
        gaecli.compute(path)
    assert "--reward-column student.reward" in str(raised.value.hint)
    assert_computed(path, others, reward_column="teacher.reward")


def _dotted(one: dict[str, Any]) -> dict[str, Any]:
    return {"reward.env": one["reward"], "value": one["value"], "done": one["done"]}


def _within(one: dict[str, Any]) -> dict[str, Any]:
    return {"r": {"env": one["reward"]}, "value": one["value"], "done": one["done"]}


def _alone(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "reward": [one["reward"]]}


@pytest.mark.parametrize("suffix", TABLES)
@pytest.mark.parametrize(
    ("change", "head", "reward"),
    [(_dotted, "a.steps", "reward.env"), (_within, "ticks", "r.env"), (_alone, "steps", "reward")],
)
def test_the_fields_beside_a_reward_are_those_of_its_list(
    tmp_path: Path, suffix: str, change: Any, head: str, reward: str
) -> None:
    """Names with dots, structs in the items, lists of one number."""
    steps = episodes(done=True)
    others = [[{"value": 9.0, "done": False}]] * len(steps)
    changed = [[change(one) for one in row] for row in steps]
    path = write(tmp_path / f"log{suffix}", {head: changed, "others": others})
    summary = assert_computed(path, steps, reward_column=f"{head}.{reward}")
    assert summary.files[0].counts.terminated == len(LENGTHS)
    assert summary.files[0].columns["value"] == f"{head}.value"


@pytest.mark.parametrize("suffix", TABLES)
def test_so_are_those_of_the_only_list_in_a_list(tmp_path: Path, suffix: str) -> None:
    steps = episodes(done=True)
    path = write(tmp_path / f"log{suffix}", {"episode": [[{"steps": row}] for row in steps]})
    summary = assert_computed(path, steps, reward_column="episode.steps.reward")
    assert summary.files[0].counts.terminated == len(LENGTHS)


def test_the_reward_of_steps_is_named_where_their_sum_stands_beside(tmp_path: Path) -> None:
    """As rllm logs trajectories."""
    steps = episodes(done=True)
    rows = [
        {"uid": f"t{at}", "reward": sum(one["reward"] for one in row), "steps": row}
        for at, row in enumerate(steps)
    ]
    path = tmp_path / "trajectories.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="holds lists") as caught:
        gaecli.compute(path)
    assert caught.value.hint.startswith(
        "pass `--reward-column steps.reward` if that is the reward of each step; "
    )
    gaecli.compute(path, reward_column="steps.reward")
    found = [json.loads(line)["advantage"] for line in path.read_text().splitlines()]
    for got, wanted in zip(found, loops(steps), strict=True):
        # float32 columns of float64 numbers
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
