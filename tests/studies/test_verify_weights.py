"""`gae verify` finds the weights of several rewards, and which groups they were compared in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from studies.baseline_loops import Baseline, less_mean, names_of, std, trl_grpo, verl_grpo

import gaecli


def several_rewards(
    folder: Path,
    weights: tuple[float, float],
    of_groups: Callable[..., list[float]],
    *,
    each_alone: bool = False,
    by_step: bool = True,
    missing: int = 0,
) -> Path:
    """Two reward functions, a length that is none, and prompts that come again at another step of training.

    The first says nothing of the first `missing` responses.
    """
    random = np.random.default_rng(2)
    keys = [(step, prompt) for step in (1, 2) for prompt in "abcd" for _ in range(6)]
    first, second = random.choice([0.0, 1.0], len(keys)), random.choice([0.0, 0.5, 1.0], len(keys))
    first[:missing] = 0.0
    advantages = np.zeros(len(keys))
    groups = keys if by_step else [(0, prompt) for _, prompt in keys]
    for key in dict.fromkeys(groups):
        rows = [row for row, other in enumerate(groups) if other == key]
        parts = [first[rows].tolist(), second[rows].tolist()]
        if each_alone:
            made = [of_groups(part) for part in parts]
            advantages[rows] = [weights[0] * a + weights[1] * b for a, b in zip(*made, strict=True)]
        else:
            advantages[rows] = of_groups(
                [weights[0] * a + weights[1] * b for a, b in zip(*parts, strict=True)]
            )
    if each_alone:
        advantages = np.array(less_mean(advantages.tolist(), std(advantages.tolist(), 1) + 1e-4))
    path = folder / "several.parquet"
    table = {
        "step": [step for step, _ in keys],
        "prompt": [prompt for _, prompt in keys],
        "accuracy_reward": [None] * missing + first[missing:].tolist(),
        "format_reward": second,
        "completion_length": random.integers(10, 99, len(keys)),
        "advantage": advantages.astype(np.float32),
    }
    pq.write_table(pa.table(table), path)
    return path


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("weights", "baseline", "name", "said"),
    [
        ((1.0, 1.0), trl_grpo, "trl grpo", "accuracy_reward + format_reward"),
        pytest.param(
            *((1.0, 0.5), trl_grpo, "trl grpo", "accuracy_reward + 0.5 format_reward"), marks=pytest.mark.slow
        ),
        pytest.param(
            *((0.2, 0.8), trl_grpo, "trl grpo", "0.2 accuracy_reward + 0.8 format_reward"),
            marks=pytest.mark.slow,
        ),
        ((0.3, 0.7), less_mean, "trl dr-grpo", "0.3 accuracy_reward + 0.7 format_reward"),
        ((0.0, 1.0), verl_grpo, "verl grpo", "format_reward"),
    ],
)
def test_the_weights_of_several_rewards_are_found(
    tmp_path: Path, weights: tuple[float, float], baseline: Baseline, name: str, said: str
) -> None:
    found = gaecli.verify(several_rewards(tmp_path, weights, baseline))
    assert found.is_reproduced
    assert names_of(found)[0] == name
    assert found.best.columns == {"group": "step, prompt", "reward": said}


def test_rewards_that_are_scaled_one_by_one_are_gdpo(tmp_path: Path) -> None:
    found = gaecli.verify(several_rewards(tmp_path, (1.0, 1.0), trl_grpo, each_alone=True))
    assert (found.is_reproduced, found.best.estimator) == (True, "gdpo")


def test_no_weights_make_what_is_no_sum(tmp_path: Path) -> None:
    found = gaecli.verify(
        several_rewards(tmp_path, (1.0, 1.0), lambda scores: [score**3 for score in scores])
    )
    assert found.exit_code == 3


def test_a_reward_that_is_missing_has_no_part_of_the_sum(tmp_path: Path) -> None:
    found = gaecli.verify(several_rewards(tmp_path, (1.0, 0.5), trl_grpo, missing=3))
    assert found.is_reproduced
    assert found.best.columns["reward"] == "accuracy_reward + 0.5 format_reward"


def test_groups_of_which_others_are_parts_are_tried_with_every_size_of_weights(tmp_path: Path) -> None:
    """Of a step of training the responses are on one line too, whose slope and middle are those of all steps."""
    found = gaecli.verify(several_rewards(tmp_path, (1.0, 0.5), trl_grpo, by_step=False))
    assert found.is_reproduced
    assert found.best.columns == {"group": "prompt", "reward": "accuracy_reward + 0.5 format_reward"}


def test_several_group_columns_are_tried_together(tmp_path: Path, run_gae) -> None:
    path = several_rewards(tmp_path, (1.0, 0.0), trl_grpo)
    renamed = tmp_path / "renamed.parquet"
    pq.write_table(pq.read_table(path).rename_columns({"step": "iteration", "prompt": "q"}), renamed)
    flags = ("--group-column", "q", "--group-column", "iteration")
    result = run_gae("verify", renamed, *flags, "--json")
    assert result.returncode == 0
    assert json.loads(result.stdout)["attempts"][0]["columns"]["group"] == "q, iteration"


def test_what_gae_compute_wrote_is_no_reward(tmp_path: Path) -> None:
    """A normalised advantage is a straight line of the raw one, whatever both were made of."""
    path = several_rewards(tmp_path, (1.0, 0.5), trl_grpo)
    pq.write_table(pq.read_table(path).drop_columns("completion_length"), path)
    made = tmp_path / "made.parquet"
    gaecli.compute(
        path,
        made,
        estimator="gdpo",
        group_column=["step", "prompt"],
        rewards=["accuracy_reward", "format_reward=0.3"],
        advantage_column="adv",
        normalize="file",
        keep_raw=True,
    )
    found = gaecli.verify(made, "adv", group_column=["step", "prompt"], estimator="grpo")
    assert not [one for one in found.attempts if "adv" in one.columns.get("reward", "")]
