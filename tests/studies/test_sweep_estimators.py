"""`gae sweep` of other estimators than GAE against plain loops: grids of γ and n, rules of groups side by side."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.errors import UsageError

NUM_STEPS = 6000
LAST = [7, 1999, 2000, 4100, NUM_STEPS - 1]
TRUNCATED = [2000]


@pytest.fixture(scope="module")
def rollout(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """Episodes that reach over row groups and blocks."""
    random = np.random.default_rng(7)
    rewards, values, beyond = random.normal(size=(3, NUM_STEPS))
    ends, truncated = np.zeros((2, NUM_STEPS), bool)
    ends[LAST] = truncated[TRUNCATED] = True
    beyond[:-1] = np.where(ends[:-1], beyond[:-1], values[1:])
    columns = {
        "reward": rewards,
        "value": values,
        "next_value": beyond,
        "terminated": ends & ~truncated,
        "truncated": truncated,
    }
    path = tmp_path_factory.mktemp("sweep") / "rollout.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=1000)
    return path, columns


def to_go(given: dict[str, np.ndarray], gamma: float) -> np.ndarray:
    found, later = np.zeros(NUM_STEPS), 0.0
    for t in reversed(range(NUM_STEPS)):
        if t in LAST:
            later = float(given["next_value"][t]) if t in TRUNCATED else 0.0
        found[t] = later = float(given["reward"][t]) + gamma * later
    return found


def errors(given: dict[str, np.ndarray], gamma: float) -> np.ndarray:
    beyond = np.where(given["terminated"], 0.0, given["next_value"])
    return np.asarray(given["reward"] + gamma * beyond - given["value"])


def n_step(given: dict[str, np.ndarray], gamma: float, n: int) -> np.ndarray:
    deltas, found = errors(given, gamma), np.zeros(NUM_STEPS)
    for t in range(NUM_STEPS):
        for k in range(n):
            found[t] += gamma**k * deltas[t + k]
            if t + k in LAST:
                break
    return found


@pytest.mark.parametrize("memory", [1 << 30, 1 << 18], ids=["one block", "many blocks"])
def test_a_grid_of_discounts_is_that_of_the_loop(rollout, tmp_path: Path, memory: int) -> None:
    path, given = rollout
    out = tmp_path / "out.parquet"
    found = gaecli.sweep(path, [0.9, 0.99], output=out, estimator="mc", memory_bytes=memory)
    written = pq.read_table(out)
    for point in found.points:
        returns = to_go(given, point.gamma)
        assert (point.mean, point.std) == pytest.approx((returns.mean(), returns.std(ddof=1)))
        left = 1 - (returns - given["value"]).var() / returns.var()
        assert point.explained_variance == pytest.approx(left)
        assert point.effective_horizon == pytest.approx(1 / (1 - point.gamma))
        assert (point.lam, point.bias) == (None, None)
        np.testing.assert_allclose(written[point.column].to_numpy(), returns, rtol=1e-5, atol=1e-5)
    assert [point.column for point in found.points] == ["return_g0.9", "return_g0.99"]
    assert found.points[1].sign_agreement == 1.0  # under the γ of the settings


def test_a_grid_of_windows_is_that_of_the_loop(rollout, tmp_path: Path) -> None:
    path, given = rollout
    out = tmp_path / "out.parquet"
    found = gaecli.sweep(path, [0.9, 0.99], n_steps=[1, 4, 32], output=out, estimator="n-step")
    written = pq.read_table(out)
    assert [(point.gamma, point.n_steps) for point in found.points] == [
        (g, n) for g in (0.9, 0.99) for n in (1, 4, 32)
    ]
    reference = np.sign(n_step(given, 0.99, 1))
    for point in found.points:
        advantages = n_step(given, point.gamma, point.n_steps)
        assert point.std == pytest.approx(advantages.std(ddof=1))
        assert point.sign_agreement == pytest.approx((np.sign(advantages) == reference).mean())
        np.testing.assert_allclose(written[point.column].to_numpy(), advantages, rtol=1e-5, atol=1e-5)


def test_td_errors_and_mixtures_are_the_ends_of_gae(rollout) -> None:
    path, given = rollout
    (td0,) = gaecli.sweep(path, [0.99], estimator="td0").points
    assert td0.std == pytest.approx(errors(given, 0.99).std(ddof=1))
    mixed = gaecli.sweep(path, [0.99], [0.3, 1.0], estimator="td-lambda").points
    gae = gaecli.sweep(path, [0.99], [0.3, 1.0]).points
    assert [(one.std, one.bias) for one in mixed] == [(one.std, one.bias) for one in gae]


SCORES = {"a": [1.0, 0.0, 0.0, 1.0], "b": [0.5] * 4, "c": [0.7], "d": [0.0, 0.0, 3.0]}


def by_hand(rule: str, scores: list[float]) -> list[float]:
    n, mean = len(scores), sum(scores) / len(scores)
    if n == 1:
        return scores if rule.startswith("verl") else [0.0]
    spread = (sum((score - mean) ** 2 for score in scores) / (n - 1)) ** 0.5
    divisor = {
        "trl grpo": spread + 1e-4,
        "verl grpo": spread + 1e-6,
        "trl rloo": (n - 1) / n,
        "verl rloo": (n - 1) / n,
    }
    return [(score - mean) / divisor[rule] for score in scores]


@pytest.mark.parametrize("num_files", [1, 3])
def test_rules_of_groups_stand_side_by_side(tmp_path: Path, num_files: int) -> None:
    """Groups reach over all files of the command."""
    rows = [(prompt, index) for prompt, scores in SCORES.items() for index in range(len(scores))]
    rows = [rows[index] for index in np.random.default_rng(1).permutation(len(rows))]
    for number in range(num_files):
        some = rows[number::num_files]
        table = {
            "prompt": [prompt for prompt, _ in some],
            "reward": [SCORES[prompt][index] for prompt, index in some],
        }
        pq.write_table(pa.table({**table, "completion": ["x"] * len(some)}), tmp_path / f"{number}.parquet")
    paths = sorted(tmp_path.glob("*.parquet"))
    found = gaecli.sweep(
        paths, estimator=["grpo", "rloo"], preset=["trl", "verl"], group_column="prompt", join=False
    )
    rules = ["trl grpo", "verl grpo", "trl rloo", "verl rloo"]
    assert [f"{point.preset} {point.estimator}" for point in found.points] == rules
    made = {rule: [by_hand(rule, SCORES[prompt])[index] for prompt, index in rows] for rule in rules}
    for point, rule in zip(found.points, rules, strict=True):
        advantages = np.array(made[rule])
        assert point.std == pytest.approx(advantages.std(ddof=1), rel=1e-6)
        assert point.zero_share == pytest.approx((advantages == 0).mean())
        assert point.sign_agreement == pytest.approx(
            (np.sign(advantages) == np.sign(made["trl grpo"])).mean()
        )
        assert (point.gamma, point.explained_variance) == (None, None)


def test_presets_of_gae_stand_side_by_side_as_they_compute(rollout, tmp_path: Path) -> None:
    path, _ = rollout
    found = gaecli.sweep(path, preset=["sb3", "finite-horizon"])
    for point in found.points:
        out = tmp_path / f"{point.preset}.parquet"
        gaecli.compute(path, out, preset=point.preset, normalize="none")
        assert point.std == pytest.approx(pq.read_table(out)["advantage"].to_numpy().std(ddof=1), rel=1e-5)
    assert found.points[0].sign_agreement == 1.0


def test_a_file_that_fails_is_left_out_of_all_rules(tmp_path: Path) -> None:
    for name, scores in {"good": [1.0, 0.0], "bad": [float("nan"), 1.0]}.items():
        table = {"prompt": ["a", "a"], "reward": scores, "completion": ["x", "x"]}
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
    paths = [tmp_path / "bad.parquet", tmp_path / "good.parquet"]
    found = gaecli.sweep(paths, estimator=["dr-grpo", "rloo"], group_column="prompt", join=False)
    assert [(Path(file.input).name, file.error is None) for file in found.files] == [
        ("bad.parquet", False),
        ("good.parquet", True),
    ]
    assert [point.std for point in found.points] == pytest.approx([0.5**0.5, 2**0.5])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"estimator": "mc", "lam": [0.9], "gamma": [0.9]}, "`--lam` says nothing to `--estimator mc`"),
        ({"estimator": "n-step", "gamma": [0.9]}, "needs the number of steps"),
        ({"estimator": ["mc", "td0"]}, "advantages and returns are not compared"),
        ({"preset": ["sb3", "a2c"], "gamma": [0.9]}, "of one estimator under one preset"),
        ({"estimator": "grpo"}, "no group is named"),
    ],
)
def test_what_makes_no_sweep_is_refused(rollout, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        gaecli.sweep(rollout[0], **settings)


def test_the_command_says_what_the_library_does(run_gae, tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    rows = [(prompt, score) for prompt, scores in SCORES.items() for score in scores]
    table = {"prompt": [prompt for prompt, _ in rows], "reward": [score for _, score in rows]}
    pq.write_table(pa.table({**table, "completion": ["x"] * len(rows)}), path)
    args = ("sweep", path, "--estimator", "grpo,rloo", "--preset", "trl,verl", "--group-column", "prompt")
    document = json.loads(run_gae(*args, "--json").stdout)
    assert document["reference"] == {"estimator": "grpo", "preset": "trl"}
    assert [point["preset"] for point in document["points"]] == ["trl", "verl"] * 2
    page = run_gae(*args).stdout
    assert all(words in page for words in ("verl rloo", "zeros", "same sign", f"{len(rows)} responses"))
    assert "step" not in page.replace(str(path), "")
    refused = run_gae(*args, "--gamma", "0.9")
    assert (refused.returncode, "`--gamma` makes a grid" in refused.stderr) == (2, True)
