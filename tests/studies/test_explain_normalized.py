"""`gae explain --normalize`: from the raw number to the one that stands in the file, by the numbers that it shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline.running import columns_of

import gaecli

GAMMA, LAM = 0.9, 0.8
EPISODES = np.repeat([7, 8, 9, 10], [4, 1, 6, 5])
TASKS = np.array(["fold"] * 5 + ["pour"] * 6 + ["fold"] * 5)
NUM_ROWS = len(EPISODES)


def table(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    ends = np.append(EPISODES[1:] != EPISODES[:-1], True)
    return {
        "episode_id": EPISODES,
        "task": TASKS,
        "reward": random.normal(size=NUM_ROWS),
        "value": random.normal(size=NUM_ROWS),
        "terminated": ends,
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Row groups of five rows: episodes lie across them."""
    path = tmp_path / "rollout.parquet"
    pq.write_table(pa.table(table()), path, row_group_size=5)
    return path


def loop(columns: dict[str, np.ndarray], lam: float = LAM) -> np.ndarray:
    """GAE by its definition; every end is terminal."""
    rewards, values, ends = (columns[name] for name in ("reward", "value", "terminated"))
    found, following = np.zeros(NUM_ROWS), 0.0
    for t in reversed(range(NUM_ROWS)):
        beyond = 0.0 if ends[t] else values[t + 1]
        following = rewards[t] + GAMMA * beyond - values[t] + (0.0 if ends[t] else GAMMA * lam * following)
        found[t] = following
    return found


SCOPES: dict[str, tuple[dict[str, Any], np.ndarray]] = {
    "all": ({"normalize": "all"}, np.zeros(NUM_ROWS)),
    "file": ({"normalize": "file"}, np.zeros(NUM_ROWS)),
    "episode": ({"normalize": "episode"}, EPISODES),
    "column": ({"normalize_by": "task"}, TASKS),
}
DIVISORS = {
    "add": lambda std, eps: std + eps,
    "clamp": lambda std, eps: max(std, eps),
    "rsqrt": lambda std, eps: (std**2 + eps) ** 0.5,
}


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("scope", "floor", "ddof", "eps"),
    [
        ("all", "add", 1, 0.25),
        ("file", "clamp", 0, 2.0),
        ("episode", "rsqrt", 0, 0.5),
        ("column", "add", 1, 1e-8),
    ],
)
def test_the_last_step_makes_what_stands_in_the_file(
    path: Path, scope: str, floor: str, ddof: int, eps: float
) -> None:
    how, groups = SCOPES[scope]
    rules = {"norm_floor": floor, "norm_ddof": ddof, "norm_eps": eps, "gamma": GAMMA, "lam": LAM}
    raw, row = loop(table()), 6
    others = raw[groups == groups[row]]
    mean, std = others.mean(), others.std(ddof=ddof)
    found = gaecli.explain(path, row, **how, **rules)
    step = found.normalized
    assert step is not None
    assert (step.scope, step.count, step.unit) == (scope, len(others), "steps")
    assert (step.ddof, step.eps, step.floor) == (ddof, eps, floor)
    assert [step.raw, step.mean, step.std] == pytest.approx([raw[row], mean, std], rel=1e-12)
    exact = (raw[row] - mean) / DIVISORS[floor](std, eps)
    assert (found.written, (step.raw - step.mean) * step.scale) == (pytest.approx(exact, rel=1e-12),) * 2
    assert found.recursion == pytest.approx(raw[row], rel=1e-12)
    gaecli.compute(path, **how, **rules)
    assert columns_of(path)["advantage"][row] == pytest.approx(exact, rel=1e-6)  # float32
    stored = gaecli.explain(path, row, **how, **rules).stored
    assert stored is not None
    assert stored.difference == pytest.approx(0.0, abs=1e-6)


def test_the_label_of_a_column_is_told(path: Path) -> None:
    step = gaecli.explain(path, 6, normalize_by="task").normalized
    assert step is not None
    assert (step.column, step.label, step.count) == ("task", "pour", 6)


@pytest.mark.few(2)
@pytest.mark.parametrize("estimator", ["td-lambda", "n-step", "grpo", "rf++"])
def test_every_estimator_ends_in_what_is_written(path: Path, estimator: str) -> None:
    settings: dict[str, Any] = {"estimator": estimator, "normalize": "all", "norm_ddof": 0}
    settings |= {"n-step": {"n_steps": 2}, "grpo": {"group_column": "task"}}.get(estimator, {})
    found = gaecli.explain(path, 1, **settings)
    raws = dict(settings, normalize="none")
    gaecli.compute(path, path.with_name("raw.parquet"), **raws)
    gaecli.compute(path, **settings)
    raw = columns_of(path.with_name("raw.parquet"))["advantage"].astype(np.float64)
    counted = raw[table()["terminated"]] if estimator == "grpo" else raw  # a trajectory has one score
    exact = (raw[1] - counted.mean()) / (counted.std() + 1e-8)
    assert found.normalized is not None
    assert found.normalized.count == len(counted)
    assert found.written == pytest.approx(exact, rel=1e-5)  # the raw ones are float32
    assert found.written == pytest.approx(columns_of(path)["advantage"][1], rel=1e-6)


def test_one_step_has_no_variance(path: Path) -> None:
    """The episode of row 4 is that step alone."""
    found = gaecli.explain(path, 4, normalize="episode")
    assert found.normalized is not None
    assert (found.normalized.count, found.normalized.scale, found.written) == (1, 0.0, 0.0)


def test_a_preset_that_normalises_shows_it(path: Path) -> None:
    raw = loop(table(), lam=0.95)
    found = gaecli.explain(path, 0, preset="rsl-rl", gamma=GAMMA)
    assert found.recursion == pytest.approx(raw[0], rel=1e-12)
    assert found.written == pytest.approx((raw[0] - raw.mean()) / (raw.std(ddof=1) + 1e-8), rel=1e-12)


def test_a_file_of_several_is_normalised_by_itself_or_with_all(tmp_path: Path) -> None:
    tables = [table(1), table(2)]
    for number, columns in enumerate(tables):
        columns["episode_id"] = columns["episode_id"] + 10 * number
        pq.write_table(pa.table(columns), tmp_path / f"part-{number:05d}-of-00002.parquet")
    raws = [loop(columns) for columns in tables]
    settings = {"gamma": GAMMA, "lam": LAM, "join": True}
    for scope, others, files in (("file", raws[1], 2), ("all", np.concatenate(raws), 2)):
        found = gaecli.explain(tmp_path, NUM_ROWS + 3, normalize=scope, **settings)
        step = found.normalized
        assert step is not None
        assert (step.num_files, step.num_rows, step.count) == (files, 2 * NUM_ROWS, len(others))
        exact = (raws[1][3] - others.mean()) / (others.std(ddof=1) + 1e-8)
        assert found.written == pytest.approx(exact, rel=1e-12)


def test_a_group_of_a_run_over_more_files_is_compared_with_its_own_numbers(tmp_path: Path) -> None:
    """The column of the first file was made with the rows of the second one too."""
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for number, path in enumerate(paths):
        pq.write_table(pa.table(table(number)), path)
    gaecli.compute(paths, normalize_by="task")
    found = gaecli.explain(paths[0], 6, normalize_by="task")
    assert found.stored is not None
    assert found.stored.difference == pytest.approx(0.0, abs=1e-6)
    assert abs(found.written - float(found.stored.value or 0.0)) > 1e-3


def test_the_page_ends_in_the_number_of_the_file(run_gae, path: Path) -> None:
    flags = ("explain", path, "--row", "6", "--normalize", "episode")
    document = json.loads(run_gae(*flags, "--json").stdout)
    last = run_gae(*flags).stdout.splitlines()[-1]
    gaecli.compute(path, normalize="episode")
    assert document["written"] == document["normalized"]["written"]
    assert last.endswith(f"written {document['written']:.12g}")
    assert float(last.split()[-1]) == pytest.approx(columns_of(path)["advantage"][6], rel=1e-6)
    raw, mean, std = (float(document["normalized"][name]) for name in ("raw", "mean", "std"))
    assert eval(last.split(" =")[0]) == pytest.approx((raw - mean) / (std + 1e-8), rel=1e-9)
