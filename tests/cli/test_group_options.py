"""`gae compute --estimator grpo` and its kind on a log of responses, as from a shell."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

SCORES = [1.0, 0.0, 0.0, 1.0, 0.5, 0.5, 2.0]
OPTIONS = ("--estimator", "grpo", "--group-column", "prompt", "--reward-column", "accuracy_reward")


@pytest.fixture
def completions(tmp_path: Path) -> Path:
    """As TRL logs them."""
    path = tmp_path / "completions.parquet"
    table = {
        "step": [3] * 7,
        "prompt": ["2+2?"] * 4 + ["3+3?"] * 2 + ["4+4?"],
        "completion": ["..."] * 7,
        "accuracy_reward": SCORES,
    }
    pq.write_table(pa.table(table), path)
    return path


def test_a_log_of_responses_gets_its_advantages(run_gae: Callable[..., Any], completions: Path) -> None:
    result = run_gae("compute", completions, *OPTIONS, "--preset", "trl")
    assert result.returncode == 0, result.stderr
    assert "responses layout" in result.stdout
    assert "(score - mean) / (std + 0.0001)" in result.stdout.replace("−", "-")
    table = pl.read_parquet(completions)
    assert table.columns == ["step", "prompt", "completion", "accuracy_reward", "advantage"]
    half = 0.5 / ((1 / 3) ** 0.5 + 1e-4)  # n - 1 under the root
    assert table["advantage"].to_list() == pytest.approx([half, -half, -half, half, 0, 0, 0], rel=1e-6)


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        ("dr-grpo", "score - mean"),
        ("rloo", "score - mean of the others"),
        ("max-rl", "(score - mean) / mean"),
        ("max-rl --group-eps 1e-6", "(score - mean) / (mean + 1e-6)"),
        ("passk --singleton zero --scale-rewards none", "best score - the next one"),
    ],
)
def test_the_summary_says_by_which_formula(
    run_gae: Callable[..., Any], completions: Path, estimator: str, words: str
) -> None:
    result = run_gae("compute", completions, *OPTIONS, "--estimator", *estimator.split(), "--dry-run")
    line = next(line for line in result.stdout.replace("−", "-").splitlines() if line.startswith("baseline"))
    assert line.split("·")[1].strip() == words
    assert "ddof" not in line


def test_the_document_names_the_baseline_and_its_groups(
    run_gae: Callable[..., Any], completions: Path
) -> None:
    result = run_gae("compute", completions, *OPTIONS, "--json")
    document = json.loads(result.stdout)
    baseline = document["baseline"]
    assert document["normalization"]["scope"] == "none"
    assert (baseline["columns"], baseline["estimator"]) == (["prompt"], "grpo")
    assert (baseline["num_groups"], baseline["num_flat"], baseline["num_alone"]) == (3, 2, 1)
    assert [(group["label"], group["count"], group["mean"]) for group in baseline["groups"]] == [
        ("2+2?", 4, 0.5),
        ("3+3?", 2, 0.5),
        ("4+4?", 1, 2.0),
    ]
    assert document["settings"]["group_column"] == "prompt"


def test_what_a_preset_says_of_steps_is_not_told_as_changed(
    run_gae: Callable[..., Any], completions: Path
) -> None:
    result = run_gae("compute", completions, *OPTIONS, "--preset", "verl", "--dry-run")
    assert "over the preset's" not in result.stdout
    result = run_gae("compute", completions, *OPTIONS, "--preset", "verl", "--norm-eps", "1e-4", "--dry-run")
    assert "--norm-eps 0.0001 over the preset's 1e-6" in result.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--estimator", "grpo"), "no group is named"),
        (("--estimator", "grpo", "--group-column", "promt"), "column `promt` not found"),
        (("--group-column", "prompt"), "`--group-column` says nothing to `--estimator gae`"),
        ((*OPTIONS, "--gamma", "0.9"), "`--gamma` says nothing to `--estimator grpo`"),
        ((*OPTIONS, "--singleton", "none"), "`--singleton` is `none`"),
    ],
)
def test_what_is_not_to_be_had_is_refused(
    run_gae: Callable[..., Any], completions: Path, options: tuple[str, ...], words: str
) -> None:
    before = completions.read_bytes()
    result = run_gae("compute", completions, "--reward-column", "accuracy_reward", *options)
    assert result.returncode == 2
    assert words in result.stderr
    assert completions.read_bytes() == before


def test_what_lacks_a_reward_is_told_of_the_estimator_that_was_asked_for(
    run_gae: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"prompt": ["a", "a"], "right": [1.0, 0.0]}), path)
    result = run_gae("compute", path, "--estimator", "rloo", "--group-column", "prompt")
    assert result.returncode == 2
    assert "`--estimator rloo` needs one reward per response" in result.stderr


@pytest.mark.parametrize("rewards", [("acuracy_reward",), ("accuracy_reward", "acuracy_reward=2")])
def test_a_reward_that_is_not_there_is_named_by_its_own_flag(
    run_gae: Callable[..., Any], completions: Path, rewards: tuple[str, ...]
) -> None:
    flags = [word for name in rewards for word in ("--reward", name)]
    result = run_gae("compute", completions, "--estimator", "grpo", "--group-column", "prompt", *flags)
    assert result.returncode == 2
    assert "hint: pass `--reward accuracy_reward`" in result.stderr
