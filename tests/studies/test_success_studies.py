"""`gae verify` and `gae sweep` where success makes the rewards. Columns are made by the plain loops of `recorded`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from labels.recorded import TASKS, Recording, random_recording, write_lerobot

import gaecli
from gaecli.errors import UsageError

RECORDING = random_recording(3, 20)
SUCCESS = {"success_column": "next.success"}


def with_returns(root: Path, rule: str, cost: float, gamma: float, recording: Recording = RECORDING) -> Path:
    returns = recording.returns(recording.rewards(rule, cost), gamma)
    columns = recording.columns(mc_return=np.array(returns, np.float32))
    return write_lerobot(root, columns, [50] if len(recording.frames) > 50 else [])


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("rule", "cost", "gamma"),
    [
        ("recap", 12.5, 0.97),
        ("steps", 7, 0.97),
        pytest.param("recap", 50, 1.0, marks=pytest.mark.slow),
        pytest.param("sparse", None, 0.9, marks=pytest.mark.slow),
    ],
)
def test_the_rule_its_cost_and_gamma_are_told_by_the_returns(
    tmp_path: Path, rule: str, cost: float | None, gamma: float
) -> None:
    found = gaecli.verify(with_returns(tmp_path / "set", rule, cost or 0, gamma), "mc_return", **SUCCESS)
    assert (found.is_reproduced, found.best.estimator) == (True, "mc")
    assert found.best.gamma == pytest.approx(gamma, abs=1e-9)
    told = found.success
    assert told is not None
    assert (told.reward, told.failure_cost, told.longest_episode) == (rule, cost, max(RECORDING.lengths))
    assert told.scale == (max(RECORDING.lengths) - 1 + cost if rule == "recap" else None)
    assert (told.episodes, told.successes) == (20, sum(RECORDING.succeeded))


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("given", "is_it"),
    [
        ({"failure_cost": 12.5}, True),
        ({"success_reward": "recap"}, True),
        ({"failure_cost": 12}, False),
        ({"success_reward": "steps"}, False),
    ],
    ids=str,
)
def test_what_is_given_is_all_that_is_tried(tmp_path: Path, given: dict[str, Any], is_it: bool) -> None:
    root = with_returns(tmp_path / "set", "recap", 12.5, 1.0)
    assert gaecli.verify(root, "mc_return", **SUCCESS, **given).is_reproduced == is_it


def test_without_a_failure_the_steps_tell_what_one_would_cost(tmp_path: Path) -> None:
    recording = replace(TASKS, succeeded=[True] * len(TASKS.lengths))
    found = gaecli.verify(with_returns(tmp_path / "set", "recap", 9, 0.9, recording), "mc_return", **SUCCESS)
    assert (found.is_reproduced, found.success.failure_cost) == (True, 9)
    assert "no episode failed" in found.remarks[-1]


def by_loop(rewards: list[float], values: list[float], gamma: float, lam: float) -> list[float]:
    """GAE, nothing beyond the last step of an episode."""
    found = [0.0] * len(rewards)
    for step in range(len(rewards) - 1, -1, -1):
        is_end = RECORDING.ends[step]
        following, later = (0.0, 0.0) if is_end else (values[step + 1], found[step + 1])
        found[step] = rewards[step] + gamma * following - values[step] + gamma * lam * later
    return found


def test_the_cost_is_told_by_advantages_beside_values(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=len(RECORDING.frames)).astype(np.float32)
    column = by_loop(RECORDING.rewards("recap", 20), values.tolist(), 0.98, 0.9)
    columns = RECORDING.columns(value=values, advantage=np.array(column, np.float32))
    pq.write_table(pa.table(columns), tmp_path / "steps.parquet")
    found = gaecli.verify(tmp_path / "steps.parquet", episode_column="episode_index", **SUCCESS)
    assert (found.is_reproduced, found.success.failure_cost) == (True, 20)
    assert (found.best.gamma, found.best.lam) == pytest.approx((0.98, 0.9), abs=1e-5)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"success_reward": "steps"}, "needs `--success-column`"),
        (
            {**SUCCESS, "success_reward": "sparse", "failure_cost": 3},
            "says nothing to `--success-reward sparse`",
        ),
        ({**SUCCESS, "failure_cost": -1}, "must be finite and not negative"),
        ({"success_column": "next.succes"}, "not found"),
    ],
    ids=str,
)
def test_what_compute_refuses_is_refused(tmp_path: Path, given: dict[str, Any], says: str) -> None:
    root = with_returns(tmp_path / "set", "recap", 9, 1.0, TASKS)
    with pytest.raises(UsageError, match=says):
        gaecli.verify(root, "mc_return", **given)


def test_the_command_that_it_names_makes_the_column_again(tmp_path: Path, run_gae: Any) -> None:
    root = with_returns(tmp_path / "set", "recap", 9, 1.0, TASKS)
    result = run_gae("verify", root, "--against", "mc_return", "--success-column", "next.success", "--json")
    assert result.returncode == 0
    words = [word for flag in json.loads(result.stdout)["flags"] for word in flag.split(" ", 1)]
    assert run_gae("compute", root, *words, "--return-column", "again").returncode == 0
    table = pq.read_table(next(root.glob("data/**/*.parquet")))
    np.testing.assert_allclose(table["again"].to_numpy(), table["mc_return"].to_numpy(), atol=1e-6)


class TestSweep:
    def means(self, rule: str, cost: float, longest: int, *recordings: Recording) -> list[float]:
        found = []
        for gamma in (0.9, 1.0):
            returns = [one.returns(one.rewards(rule, cost, longest), gamma) for one in recordings]
            found.append(float(np.concatenate(returns).mean()))
        return found

    def test_the_longest_episode_of_all_inputs_counts(self, tmp_path: Path) -> None:
        other = Recording([12, 2], [False, True])
        roots = [
            write_lerobot(tmp_path / name, one.columns(), []) for name, one in (("a", TASKS), ("b", other))
        ]
        given = {**SUCCESS, "failure_cost": 5, "estimator": "mc"}
        found = gaecli.sweep(roots, gamma=[0.9, 1.0], **given)
        wanted = self.means("recap", 5, 12, TASKS, other)
        assert [point.mean for point in found.points] == pytest.approx(wanted)
        assert found.success is not None
        assert (found.success.scale, found.success.longest_episode, found.success.successes) == (16, 12, 4)

    def test_the_page_tells_the_rewards(self, tmp_path: Path, run_gae: Any) -> None:
        root = write_lerobot(tmp_path / "set", TASKS.columns(), [])
        flags = ("--success-column", "next.success", "--success-reward", "steps", "--failure-cost", "3")
        result = run_gae("sweep", root, *flags, "--estimator", "mc", "--gamma", "0.9")
        assert result.returncode == 0
        assert "steps: " in result.stdout
        assert "3 of 5 episodes succeeded" in result.stdout
