"""Of one row per response nothing is said of steps, episodes, ends and bootstraps, which it has not."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

import gaecli
from gaecli.commands.inspect import InspectOptions, inspect
from gaecli.report.inspection import render_inspection
from gaecli.report.table import render_summary
from gaecli.settings import Settings

#: What would be said of steps that follow one another.
CLAIMS = ("step", "episode", "terminat", "truncat", "open", "bootstrap", "return", "length", "expl. var")
GROUPED = {"estimator": "grpo", "group_column": "prompt"}


def shown(render: object, found: object) -> str:
    """Without the folders of the run, whose names are anything."""
    console = Console(record=True, width=400, file=io.StringIO())
    render(found, console)  # type: ignore[operator]
    return re.sub(r"\S*popen-gw\d\S*", "", console.export_text())


@pytest.fixture
def responses(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.parquet" for number in range(5)]
    for path in paths:
        pq.write_table(pa.table({"prompt": ["a", "a", "b", "b"], "reward": [1.0, 0.0, 0.5, 0.0]}), path)
    return paths


@pytest.mark.parametrize("number", [1, 2])
def test_compute_counts_responses(responses: list[Path], number: int) -> None:
    text = shown(render_summary, gaecli.compute(responses[:number], dry_run=True, **GROUPED))
    assert "4 responses" in text if number == 1 else "responses  status" in text
    assert not [claim for claim in CLAIMS if claim in text.replace("steps on", "")]


@pytest.mark.parametrize("number", [1, 5])
def test_inspect_counts_responses(responses: list[Path], number: int) -> None:
    found = inspect(
        responses[:number], Settings.from_preset("exact", **GROUPED), InspectOptions(episodes=True)
    )
    text = shown(render_inspection, found)
    assert f"{4 * number} responses" in text
    without_reason = text.replace("nothing tells steps apart", "")
    assert not [claim for claim in CLAIMS if claim in without_reason]


def test_trajectories_whose_scores_are_compared_have_steps_and_no_ends(tmp_path: Path) -> None:
    path = tmp_path / "tokens.parquet"
    pq.write_table(pa.table({"prompt": ["a", "a"], "reward": [[0.0, 1.0], [0.5]]}), path)
    text = shown(render_summary, gaecli.compute(path, dry_run=True, **GROUPED))
    assert "  3 steps · 2 trajectories" in [line.rstrip() for line in text.splitlines()]
    assert "bootstrapped" not in text


def test_the_reward_is_the_sum_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "sum.parquet"
    pq.write_table(pa.table({"prompt": ["a", "a"], "right": [1.0, 0.0], "form": [0.0, 1.0]}), path)
    summary = gaecli.compute(
        path, dry_run=True, estimator="grpo", group_column="prompt", reward=["right", "form=0.5"]
    )
    text = shown(render_summary, summary)
    assert "reward = right + 0.5 form" in text
    assert "--reward-column" not in text
    assert summary.files[0].columns == {}


def test_what_made_a_column_is_told_with_its_rewards_groups_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "sum.parquet"
    pq.write_table(
        pa.table({"at": [1, 1], "prompt": ["a", "a"], "right": [1.0, 0.0], "form": [0.0, 1.0]}), path
    )
    asked = {"estimator": "grpo", "group_column": ["at", "prompt"], "reward": ["right", "form=0.5"]}
    gaecli.compute(path, **asked, label_quantile=0.5, label_side="top")
    found = inspect([path], Settings.from_preset("exact"), InspectOptions())
    text = " ".join(shown(render_inspection, found).split())
    for flags in ("--group-column at --group-column prompt", "--reward right=1 --reward form=0.5"):
        assert flags in text
    assert "--label-quantile 0.5" in text
