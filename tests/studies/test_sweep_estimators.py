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


def responses(path: Path, prompts: str, scores: list[float]) -> Path:
    table = {"prompt": list(prompts), "reward": scores, "completion": ["x"] * len(scores)}
    pq.write_table(pa.table(table), path, row_group_size=2)
    return path


@pytest.fixture
def two_logs(tmp_path: Path) -> list[Path]:
    """Prompt b is in both."""
    return [
        responses(tmp_path / "a.parquet", "aabb", [1.0, 0.0, 0.5, 0.0]),
        responses(tmp_path / "b.parquet", "bccc", [1.0, 0.0, 2.0, 0.25]),
    ]


RULES = {
    "estimator": ["grpo", "rloo", "rf++-baseline"],
    "preset": ["trl", "verl"],
    "group_column": "prompt",
    "join": False,
}


def test_columns_side_by_side_are_those_of_compute(two_logs: list[Path], tmp_path: Path) -> None:
    """Groups over both files, and the normalisation of `rf++-baseline`; one column for each rule."""
    found = gaecli.sweep(two_logs, output=tmp_path / "out", **RULES)
    assert [file.output for file in found.files] == [str(tmp_path / "out" / path.name) for path in two_logs]
    for point in found.points:
        rule = {"preset": point.preset, "estimator": point.estimator, "group_column": "prompt"}
        gaecli.compute(two_logs, tmp_path / point.column, join=False, **rule)
        for path in two_logs:
            swept = pq.read_table(tmp_path / "out" / path.name)
            assert [name for name in swept.column_names if name.startswith("advantage")] == [
                one.column for one in found.points
            ]
            single = pq.read_table(tmp_path / point.column / path.name)["advantage"].to_numpy()
            np.testing.assert_array_equal(swept[point.column].to_numpy(), single)
            assert swept.drop_columns([one.column for one in found.points]).equals(pq.read_table(path))


@pytest.mark.few(1)
@pytest.mark.parametrize("memory", [1 << 30, 1 << 20])
def test_columns_of_presets_are_those_of_compute_in_blocks_of_any_size(
    rollout, tmp_path: Path, memory: int
) -> None:
    out, presets = tmp_path / "out.parquet", ["brax", "skrl-2.1", "exact"]
    gaecli.sweep(rollout[0], preset=presets, output=out, memory_bytes=memory)
    for preset in presets:
        single = tmp_path / f"{preset}.parquet"
        gaecli.compute(rollout[0], single, preset=preset, normalize="none")
        column = "advantage_gae" if preset == "exact" else f"advantage_{preset}_gae"
        np.testing.assert_array_equal(
            pq.read_table(out)[column].to_numpy(), pq.read_table(single)["advantage"].to_numpy()
        )


def test_masked_items_of_lists_have_what_compute_gives_them(tmp_path: Path) -> None:
    """verl whitens and then fills what a mask leaves out with the number of the next token, others with null."""
    path, out = tmp_path / "tokens.parquet", tmp_path / "out.parquet"
    lists = {"rewards": [[0.0, 0.0, 1.0], [0.5, 0.0]], "values": [[0.1, 0.2, 0.3], [0.4, 0.5]]}
    pq.write_table(pa.table({**lists, "response_mask": [[1, 0, 1], [0, 1]]}), path)
    gaecli.sweep(path, preset=["exact", "nemo", "verl"], output=out)
    for preset in ("verl", "nemo", "exact"):
        single = tmp_path / f"{preset}.parquet"
        gaecli.compute(path, single, preset=preset, normalize="none")
        column = "advantage_gae" if preset == "exact" else f"advantage_{preset}_gae"
        assert pq.read_table(out)[column].to_pylist() == pq.read_table(single)["advantage"].to_pylist()


def test_every_input_has_points_of_its_own(two_logs: list[Path], rollout, tmp_path: Path) -> None:
    """Of a grid those of the file alone; side by side the groups are those of all files, the figures its own."""
    copy = tmp_path / "half.parquet"
    pq.write_table(pq.read_table(rollout[0]).slice(0, 5_000), copy)
    paths = [rollout[0], copy]
    found = gaecli.sweep(paths, [0.9], [0.5, 1.0], join=False)
    assert [one.input for one in found.inputs] == [str(path) for path in paths]
    for path, one in zip(paths, found.inputs, strict=True):
        alone = gaecli.sweep(path, [0.9], [0.5, 1.0])
        assert not alone.inputs
        assert (one.counts, list(one.points)) == (alone.counts, list(alone.points))
    rules = gaecli.sweep(two_logs, estimator=["dr-grpo", "rloo"], group_column="prompt", join=False)
    mean = (0.5 + 0.0 + 1.0) / 3  # of prompt b
    by_file = [[0.5, -0.5, 0.5 - mean, -mean], [1.0 - mean, -0.75, 1.25, -0.5]]
    for one, advantages in zip(rules.inputs, by_file, strict=True):
        assert one.points[0].std == pytest.approx(np.std(advantages, ddof=1))
        assert one.points[0].zero_share == pytest.approx(np.mean(np.array(advantages) == 0))


def test_what_a_later_rule_cannot_read_is_left_out_of_all(tmp_path: Path) -> None:
    """A time limit is a question under `ikostrikov`: the file counts under neither preset, and no copy is made."""
    paths = []
    for number, name in enumerate(["limit", "plain", "plainer"]):
        random = np.random.default_rng(number)
        last = np.arange(8) == 7
        columns = {"reward": random.normal(size=8), "value": random.normal(size=8)}
        table = {**columns, "terminated": last & (name != "limit"), "truncated": last & (name == "limit")}
        paths.append(tmp_path / f"{name}.parquet")
        pq.write_table(pa.table(table), paths[-1])
    settings = {"preset": ["exact", "ikostrikov"], "join": False}
    alone = gaecli.sweep(paths[1:], **settings)
    found = gaecli.sweep(paths, output=tmp_path / "out", **settings)
    assert [file.exit_code for file in found.files] == [2, 0, 0]
    assert (list(found.points), found.counts) == (list(alone.points), alone.counts)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["plain.parquet", "plainer.parquet"]


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("estimators", "settings", "not_said_to_the_second"),
    [
        (["grpo", "rf++"], {"group_column": "prompt", "sample_of": "rollout"}, ["group_column", "sample_of"]),
        (["dr-grpo", "rae"], {"group_column": "prompt", "order_column": "at", "ema_decay": 0.5}, []),
        (["rae", "dr-grpo"], {"group_column": "prompt", "order_column": "at"}, ["order_column"]),
        (
            ["grpo", "gae"],
            {"group_column": "prompt", "lam_alpha": 0.1, "done_column": "done"},
            ["group_column"],
        ),
        (["gae", "td0"], {"lam_column": "decay", "gamma_column": "decay"}, ["lam_column"]),
        (["gae", "td-lambda"], {"unit": "turn", "unit_value": "last", "turn_gamma": 0.9}, ["turn_gamma"]),
        (["gae", "grpo"], {"unit": "turn", "unit_is": "id", "group_column": "prompt"}, ["unit", "unit_is"]),
        (["gae", "vtrace"], {"ratio_column": "ratio", "rho_bar": 0.5}, []),
        (["vtrace", "gae"], {"ratio_column": "ratio", "rho_bar": 0.5}, ["ratio_column", "rho_bar"]),
    ],
)
def test_each_of_several_estimators_takes_what_says_something_to_it(
    tmp_path: Path,
    estimators: list[str],
    settings: dict[str, object],
    not_said_to_the_second: list[str],
) -> None:
    """The second one has the numbers that it has alone, without what it would refuse."""
    random, rows = np.random.default_rng(3), 40
    table = {name: random.normal(size=rows) for name in ("reward", "value")}
    table |= {name: random.uniform(0.5, 1, rows) for name in ("decay", "ratio")}
    of = np.arange(rows)
    table |= {"done": of % 8 == 7, "prompt": of // 8 % 3, "rollout": of // 4, "turn": of // 2, "at": of // 8}
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table(table), path)
    found = gaecli.sweep(path, estimator=estimators, **settings).points[1]
    alone = {name: value for name, value in settings.items() if name not in not_said_to_the_second}
    kind, numbers = estimators[1], gaecli.compute(path, estimator=estimators[1], **alone)
    assert (found.estimator, numbers.settings["estimator"]) == (kind, kind)
    written = pq.read_table(path)["advantage"].to_numpy()
    assert found.std == pytest.approx(written.std(ddof=1), rel=1e-5)
    if not_said_to_the_second:
        with pytest.raises(UsageError, match=r"says nothing to|two passes of GAE"):
            gaecli.compute(path, estimator=kind, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"estimator": ["rf++", "remax"], "order_column": "t", "baseline_column": "b"},
            "--order-column.* nothing",
        ),
        ({"estimator": ["td0", "gae"], "group_column": "p"}, "`--group-column` says nothing"),
        ({"estimator": ["gae", "td0"], "reward": ["a=1", "b=2"]}, "`--reward` says nothing"),
        (
            {"estimator": ["grpo", "gae"], "reward": ["a=1", "b=2"], "group_column": "p"},
            "`--reward` says nothing",
        ),
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
