"""`gae verify` with rewards that the user names, and what it says of weights that no one told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.errors import UsageError

NUM_GROUPS, SIZE = 7, 4


def std(scores: Sequence[float], ddof: int = 1) -> float:
    mean = sum(scores) / len(scores)
    return float((sum((score - mean) ** 2 for score in scores) / (len(scores) - ddof)) ** 0.5)


def whitened(scores: Sequence[float], eps: float) -> list[float]:
    mean, divisor = sum(scores) / len(scores), std(scores) + eps
    return [(score - mean) / divisor for score in scores]


class Log:
    """Two reward functions that differ within the groups of a step of training, and one that does not."""

    def __init__(self, step: int = 3, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.step = step
        self.accuracy: list[float] = random.integers(0, 2, NUM_GROUPS * SIZE).astype(float).tolist()
        self.format: list[float] = (random.integers(0, 5, NUM_GROUPS * SIZE) / 4).tolist()
        self.style: list[float] = np.repeat(random.random(NUM_GROUPS), SIZE).tolist()

    def by_group(self, scores: Sequence[float], eps: float) -> list[float]:
        groups = [scores[first : first + SIZE] for first in range(0, len(scores), SIZE)]
        return [number for group in groups for number in whitened(group, eps)]

    def grpo(self, of_accuracy: float, of_format: float) -> list[float]:
        pairs = zip(self.accuracy, self.format, strict=True)
        return self.by_group([of_accuracy * one + of_format * other for one, other in pairs], 1e-4)

    def gdpo(self, of_accuracy: float, of_format: float, eps: float) -> list[float]:
        parts = self.by_group(self.accuracy, eps), self.by_group(self.format, eps)
        pairs = zip(*parts, strict=True)
        return whitened([of_accuracy * one + of_format * other for one, other in pairs], eps)

    def write(self, path: Path, advantages: Sequence[float], **more: Any) -> Path:
        """As TRL does."""
        prompts = [f"prompt {group}" for group in range(NUM_GROUPS) for _ in range(SIZE)]
        columns = {
            "step": [self.step] * len(prompts),
            "prompt": prompts,
            "completion": ["…"] * len(prompts),
            "accuracy": self.accuracy,
            "format": self.format,
            "advantage": np.array(advantages, np.float32),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({**columns, **more}), path)
        return path


class TestWeightsThatNoOneTold:
    @pytest.mark.few(1)
    @pytest.mark.parametrize(
        ("eps", "weights", "reward", "says"),
        [
            (1e-4, (1, 2), "accuracy + 2 format", "fitted to the column"),
            (1e-8, (1, -0.5), "accuracy - 0.5 format", "it shows their ratios, not their size"),
            pytest.param(
                *(1e-8, (1, 0.3), "accuracy + 0.3 format", "it shows their ratios, not their size"),
                marks=pytest.mark.slow,
            ),
        ],
    )
    def test_of_gdpo_they_are_fitted(
        self, tmp_path: Path, eps: float, weights: tuple[float, float], reward: str, says: str
    ) -> None:
        log = Log()
        found = gaecli.verify(log.write(tmp_path / "log.parquet", log.gdpo(*weights, eps)))
        assert (found.is_reproduced, found.best.estimator) == (True, "gdpo")
        assert found.best.columns["reward"] == reward
        assert any(says in remark for remark in found.remarks)

    def test_of_a_sum_they_are_told_to_be_fitted_as_well(self, tmp_path: Path) -> None:
        log = Log()
        found = gaecli.verify(log.write(tmp_path / "log.parquet", log.grpo(1, 0.25)))
        assert found.best.columns["reward"] == "accuracy + 0.25 format"
        assert found.remarks == ["the weights are fitted to the column"]

    def test_weights_of_1_are_no_fit(self, tmp_path: Path) -> None:
        log = Log()
        found = gaecli.verify(log.write(tmp_path / "log.parquet", log.grpo(1, 1)))
        assert (found.is_reproduced, list(found.remarks)) == (True, [])

    @pytest.mark.parametrize("weight", [pytest.param(1, marks=pytest.mark.slow), 0.25])
    def test_a_reward_that_is_the_same_within_groups_is_named(self, tmp_path: Path, weight: float) -> None:
        log = Log()
        path = log.write(tmp_path / "log.parquet", log.grpo(1, weight), style=log.style)
        found = gaecli.verify(path, estimator="grpo")
        assert found.is_reproduced
        assert "`style`: equal within every group" in found.remarks[-1]

    def test_rewards_that_say_the_same_may_have_any_weights(self, tmp_path: Path) -> None:
        log = Log()
        log.format = [2 * one for one in log.accuracy]
        found = gaecli.verify(log.write(tmp_path / "log.parquet", log.grpo(1, 1)))
        assert found.is_reproduced
        assert "other weights give the same column" in found.remarks[-1]


@pytest.mark.parametrize("estimator", ["grpo", "rloo"])
def test_a_log_of_groups_without_variance_follows_any_rule(tmp_path: Path, estimator: str) -> None:
    """What the log says of groups and rewards is all that there is to go by."""
    log = Log()
    log.accuracy, log.format = [0.0] * (NUM_GROUPS * SIZE), [1.0] * (NUM_GROUPS * SIZE)
    found = gaecli.verify(
        log.write(tmp_path / "log.parquet", [0.0] * (NUM_GROUPS * SIZE)), estimator=estimator
    )
    assert (found.is_reproduced, found.best.estimator) == (True, estimator)
    assert found.best.columns == {"group": "step, prompt", "reward": "accuracy + format"}


class TestRewardsThatAreNamed:
    @pytest.mark.few(3)
    @pytest.mark.parametrize(
        ("rewards", "is_it"),
        [
            (["accuracy", "format=0.5"], True),
            ({"accuracy": 2, "format": 1}, True),
            (["accuracy", "format"], True),  # no weight at all: those that fit
            (["accuracy=1", "format"], False),
            (["accuracy", "format=2"], False),
            (["format"], False),
        ],
        ids=str,
    )
    def test_no_others_are_tried(self, tmp_path: Path, rewards: Any, is_it: bool) -> None:
        log = Log()
        path = log.write(tmp_path / "log.parquet", log.grpo(1, 0.5))
        assert gaecli.verify(path, reward=rewards, estimator="grpo").is_reproduced == is_it

    def test_groups_are_looked_for_where_the_file_is_no_known_log(self, tmp_path: Path) -> None:
        log = Log()
        path = tmp_path / "own.parquet"
        table = pq.read_table(log.write(path, log.gdpo(1, 0.5, 1e-4))).drop_columns(["completion"])
        pq.write_table(table, path)
        found = gaecli.verify(path, reward=["accuracy=1", "format=0.5"], estimator="gdpo")
        assert (found.is_reproduced, found.best.columns["group"]) == (True, "prompt")

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({"reward": ["acuracy"]}, "column `acuracy` not found"),
            ({"reward": ["format", "format=2"]}, "names a column twice"),
            ({"reward": ["format"], "reward_column": "accuracy"}, "`--reward` several"),
            ({"reward": ["format"], "estimator": "gae"}, "`--reward` says nothing to `--estimator gae`"),
            ({"sample_of": "step", "estimator": "mc"}, "`--sample-of` says nothing to `--estimator mc`"),
            ({"sample_of": "rollout"}, "column `rollout` not found"),
        ],
        ids=str,
    )
    def test_what_cannot_be_is_told(self, tmp_path: Path, given: dict[str, Any], says: str) -> None:
        log = Log()
        path = log.write(tmp_path / "log.parquet", log.grpo(1, 1))
        with pytest.raises(UsageError, match=says):
            gaecli.verify(path, **given)

    def test_the_command_that_it_names_makes_the_column_again(self, tmp_path: Path, run_gae: Any) -> None:
        log = Log()
        path = log.write(tmp_path / "log.parquet", log.gdpo(1, 0.5, 1e-4))
        flags = ("--estimator", "gdpo", "--reward", "accuracy", "--reward", "format=0.5")
        result = run_gae("verify", path, *flags, "--json")
        assert result.returncode == 0
        document = json.loads(result.stdout)
        words = [word for flag in document["flags"] for word in flag.split(" ", 1)]
        again = tmp_path / "again.parquet"
        assert run_gae("compute", path, "-o", again, *words, "--overwrite").returncode == 0
        made = pq.read_table(again)["advantage"].to_numpy()
        np.testing.assert_allclose(made, log.gdpo(1, 0.5, 1e-4), atol=1e-6)


def split_rollouts(path: Path) -> Path:
    """Rollouts of 1 to 3 rows, each with the score of the whole: mean and std are over rollouts."""
    scores = {"a": [1.0, 0.0, 0.0, 1.0], "b": [0.5, 2.0, 0.25], "c": [3.0]}
    rows = []
    for prompt, group in scores.items():
        divisor = std(group) + 1e-4 if len(group) > 1 else 1.0
        for number, score in enumerate(group):
            advantage = (score - sum(group) / len(group)) / divisor
            rows += [(prompt, f"{prompt}{number}", score, advantage)] * (1 + number % 3)
    names = ("prompt", "rollout", "reward", "advantage")
    pq.write_table(pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))), path)
    return path


def test_a_rollout_that_was_split_into_samples_counts_once(tmp_path: Path) -> None:
    path = split_rollouts(tmp_path / "split.parquet")
    assert not gaecli.verify(path, layout="responses").is_reproduced
    found = gaecli.verify(path, sample_of="rollout")
    assert (found.is_reproduced, found.best.presets[0], found.best.estimator) == (True, "trl", "grpo")
    assert "--sample-of rollout" in found.flags


def test_the_fit_of_epsilon_counts_a_rollout_once(tmp_path: Path) -> None:
    path = split_rollouts(tmp_path / "split.parquet")
    table = pq.read_table(path)
    scores = {"a": std([1.0, 0.0, 0.0, 1.0]), "b": std([0.5, 2.0, 0.25]), "c": 1.0}
    factors = [(scores[name] + 1e-4) / (scores[name] + 0.03) for name in table["prompt"].to_pylist()]
    column = pa.array(table["advantage"].to_numpy() * factors)
    pq.write_table(table.set_column(3, "advantage", column), path)
    found = gaecli.verify(path, sample_of="rollout")
    assert found.is_reproduced
    assert found.best.flags["norm_eps"] == pytest.approx(0.03)


def test_a_response_that_no_function_scored_is_compared_with_none(tmp_path: Path) -> None:
    """As TRL does: it gets 0, and the mean is of the others."""
    log = Log()
    column = log.grpo(1, 1)
    column[0] = 0.0
    totals = [one + other for one, other in zip(log.accuracy, log.format, strict=True)]
    column[1:SIZE] = whitened(totals[1:SIZE], 1e-4)
    accuracy, format_ = ([None, *rewards[1:]] for rewards in (log.accuracy, log.format))
    path = log.write(tmp_path / "log.parquet", column, accuracy=accuracy, format=format_)
    found = gaecli.verify(path)
    assert (found.is_reproduced, found.best.presets[0], found.best.estimator) == (True, "trl", "grpo")
