"""Labels in `gae sweep`: thresholds by NumPy over a plain loop, and the labels of `gae compute`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import gaecli
from gaecli.cli.main import app
from gaecli.errors import UsageError
from gaecli.report.sweep_table import sweep_lines
from gaecli.report.text import Canvas
from gaecli.studies import sweep_labels

TOP = {"label_quantile": 0.3, "label_side": "top"}
GAMMAS, LAMS = [0.9, 0.99], [0.5, 0.95]


def rollout(seed: int, count: int = 400) -> dict[str, np.ndarray]:
    """Every end is terminal."""
    random = np.random.default_rng(seed)
    ends = random.random(count) < 0.05
    ends[-1] = True
    return {
        "reward": random.normal(size=count) + seed,
        "value": random.normal(size=count),
        "terminated": ends,
        "human": random.random(count) < 0.1,
        "task": np.array(["a", "b", "c"])[random.integers(0, 3, count)],
    }


def loop(columns: dict[str, np.ndarray], gamma: float, lam: float) -> np.ndarray:
    """float32, as it is written."""
    rewards, values, ends = (columns[name] for name in ("reward", "value", "terminated"))
    found, running = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        beyond = 0.0 if ends[t] else values[t + 1]
        running = rewards[t] + gamma * beyond - values[t] + (0.0 if ends[t] else gamma * lam * running)
        found[t] = running
    return found.astype(np.float32)


def labels_of(
    columns: dict[str, np.ndarray], gamma: float, lam: float, how: str
) -> tuple[list[float], np.ndarray]:
    """Thresholds by group, and labels."""
    advantages = loop(columns, gamma, lam).astype(np.float64)
    if how == "by task":
        thresholds = {task: np.quantile(advantages[columns["task"] == task], 0.7) for task in "abc"}
        cuts = np.array([thresholds[task] for task in columns["task"].tolist()])
        return list(thresholds.values()), advantages >= cuts
    if how == "forced":
        threshold = np.quantile(advantages[~columns["human"]], 0.3)
        return [threshold], (advantages > threshold) | columns["human"]
    threshold = np.quantile(advantages, 0.7)
    return [threshold], advantages >= threshold


HOW: dict[str, dict[str, Any]] = {
    "top": TOP,
    "by task": {**TOP, "label_by": "task"},
    "forced": {"label_rule": "lerobot-3764", "force_positive": "human"},
}


@pytest.mark.few(2)
@pytest.mark.parametrize("memory", [1 << 30, 1 << 20])
@pytest.mark.parametrize("how", HOW)
def test_thresholds_and_labels_of_a_grid_are_those_of_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, memory: int
) -> None:
    """Of two files together; the reference is γ 0.99 and λ 0.95, and shares are of each file as well."""
    monkeypatch.setattr(sweep_labels, "_BYTES_PER_SEARCH", 1)
    files = [rollout(0), rollout(1, 300)]
    paths = [tmp_path / f"{number}.parquet" for number in range(2)]
    for path, columns in zip(paths, files, strict=True):
        pq.write_table(pa.table(columns), path, row_group_size=90)
    both = {name: np.concatenate([one[name] for one in files]) for name in files[0]}
    found = gaecli.sweep(paths, GAMMAS, LAMS, join=False, memory_bytes=memory, **HOW[how])
    _, reference = labels_of(both, 0.99, 0.95, how)
    for index, point in enumerate(found.points):
        thresholds, labels = labels_of(both, point.gamma, point.lam, how)
        told = {group.label: group.threshold for group in point.label_groups}
        assert [told[name] for name in (["a", "b", "c"] if how == "by task" else [""])] == pytest.approx(
            thresholds, rel=1e-6
        )
        assert (point.threshold is None) == (how == "by task")
        assert (point.positive_share, point.label_agreement) == (labels.mean(), (labels == reference).mean())
        for one, rows in zip(found.inputs, (slice(0, 400), slice(400, 700)), strict=True):
            assert one.points[index].positive_share == labels[rows].mean()
            assert one.points[index].label_agreement == (labels == reference)[rows].mean()
    assert found.points[-1].label_agreement == 1.0


def test_the_share_and_threshold_are_those_of_compute(tmp_path: Path) -> None:
    path = tmp_path / "rollout.parquet"
    pq.write_table(pa.table(rollout(3)), path)
    (point,) = gaecli.sweep(path, [0.95], [0.8], **TOP).points
    told = gaecli.compute(path, tmp_path / "out.parquet", gamma=0.95, lam=0.8, **TOP).labels
    assert told is not None
    assert point.threshold == told.groups[0].threshold
    assert point.positive_share == told.positive / told.labelled


def test_rules_side_by_side_label_what_each_of_them_writes(tmp_path: Path) -> None:
    """s - mean, n / (n - 1) times that, and s - mean over the std: the last one labels another row."""
    scores, prompts = [10.0, 0.0, 0.0, 0.5, 0.125, 0.0], list("aaabbb")
    path = tmp_path / "responses.parquet"
    pq.write_table(pa.table({"prompt": prompts, "reward": scores, "completion": ["x"] * 6}), path)
    settings = {"estimator": ["dr-grpo", "rloo", "grpo"], "group_column": "prompt", "label_quantile": 0.25}
    found = gaecli.sweep(path, label_side="above", **settings)
    groups = np.array(scores).reshape(2, 3)
    centred = groups - groups.mean(axis=1, keepdims=True)
    made = [centred, centred * 1.5, centred / (groups.std(axis=1, ddof=1, keepdims=True) + 1e-8)]
    labels = []
    for point, numbers in zip(found.points, made, strict=True):
        flat = numbers.reshape(-1).astype(np.float32).astype(np.float64)
        threshold = np.quantile(flat, 0.25)
        labels.append(flat > threshold)
        assert point.threshold == pytest.approx(threshold, rel=1e-6)
        assert point.positive_share == labels[-1].mean()
        assert point.label_agreement == (labels[-1] == labels[0]).mean()
    assert found.points[2].label_agreement == 5 / 6


def test_a_fixed_threshold_needs_no_search(tmp_path: Path) -> None:
    path = tmp_path / "rollout.parquet"
    pq.write_table(pa.table(rollout(4)), path)
    for point in gaecli.sweep(path, [0.9], LAMS, label_rule="crr").points:
        assert point.threshold == 0.0
        assert point.positive_share == (loop(rollout(4), 0.9, point.lam) > 0).mean()


def test_too_many_settings_for_the_memory_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rollout.parquet"
    pq.write_table(pa.table(rollout(5)), path)
    with pytest.raises(UsageError, match="labels under 22 settings take more than `--memory`"):
        gaecli.sweep(path, [0.9], np.linspace(0, 1, 21).tolist(), memory_bytes=16 << 20, **TOP)


def test_the_page_has_the_threshold_and_the_map_of_labels(run_gae: Any, tmp_path: Path) -> None:
    path = tmp_path / "rollout.parquet"
    pq.write_table(pa.table(rollout(6)), path)
    flags = ("sweep", path, "--lam", "0.5,0.95", "--label-quantile", "0.3", "--label-side", "top")
    page = run_gae(*flags, "--metric", "label_agreement").stdout
    assert "labels top 30 %" in page
    assert "same label: share of rows with the label that they have at the reference" in page
    document = json.loads(run_gae(*flags, "--json").stdout)
    assert document["labels"] == "top 30 %"
    assert document["points"][1]["label_agreement"] == 1.0
    refused = run_gae("sweep", path, "--metric", "threshold")
    assert (refused.returncode, "is of labels" in refused.stderr) == (2, True)


@pytest.mark.few(2)
@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_table_fits_and_says_what_there_was_no_room_for(tmp_path: Path, width: int) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table(rollout(1)), path)
    found = gaecli.sweep(path, gamma=GAMMAS, lam=LAMS, label_by="task", **TOP)
    lines = [line.plain for line in sweep_lines(found, Canvas(width), "label_agreement")]
    if width > 40:
        assert max(map(len, lines)) <= width
    heading, page = next(line for line in lines if "same label" in line), "\n".join(lines)
    for name in ("expl. var.", "bias", "same sign"):
        assert (f"{name}: " in page) == (name in heading)
    missing = page.replace("\n", " ").partition("no room for ")[2].partition("; ")[0].split(", ")
    assert ("bias" in missing) == ("bias" not in heading)


def test_a_file_without_steps_is_said_to_have_none(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table(rollout(1)).slice(0, 0), path)
    result = CliRunner().invoke(app, ["sweep", str(path)])
    assert (result.exit_code, "there are no steps" in result.stdout) == (0, True)


def test_the_last_line_counts_files_that_failed(tmp_path: Path) -> None:
    pq.write_table(pa.table(rollout(1)), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": [1.0]}), tmp_path / "b.parquet")
    result = CliRunner().invoke(app, ["sweep", str(tmp_path), "--lam", "0.9"])
    assert (result.exit_code, "1 of 2 files failed" in result.stdout) == (2, True)
