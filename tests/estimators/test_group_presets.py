"""The numbers that the libraries' own functions gave, each one `--preset` away: docs/parity.md has the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline.running import small_blocks

import gaecli
from gaecli.estimator_kinds import ESTIMATORS
from gaecli.presets.groups import SCORE_PRESETS, SCORE_RULES
from gaecli.settings import Settings

#: Scores by prompt, and the lengths of the responses.
PROMPTS = ["a"] * 4 + ["b"] * 4 + ["c"] + ["d"] * 3
SCORES = [1.0, 0.0, 0.0, 1.0] + [0.5] * 4 + [0.7] + [0.0, 0.0, 3.0]
LENGTHS = [3, 2, 1, 3] + [2] * 4 + [1] + [2, 2, 2]

#: (preset, estimator, what is passed beside it) -> the advantages of a, b (all alike), c and d.
GOLDEN: list[tuple[str, str, dict[str, Any], list[float], float, list[float]]] = [
    ("verl", "grpo", {}, [0.866, -0.866, -0.866, 0.866], 0.7, [-0.577, -0.577, 1.155]),
    ("verl", "dr-grpo", {}, [0.5, -0.5, -0.5, 0.5], 0.7, [-1, -1, 2]),
    ("verl", "rloo", {}, [0.667, -0.667, -0.667, 0.667], 0.7, [-1.5, -1.5, 3]),
    # rloo_vectorized
    ("verl", "rloo", {"singleton": "zero"}, [0.667, -0.667, -0.667, 0.667], 0, [-1.5, -1.5, 3]),
    ("verl", "opo", {"length_column": "length"}, [0.333, -0.667, -0.667, 0.333], 0.7, [-1, -1, 2]),
    ("verl", "gpg", {}, [0.75, -0.75, -0.75, 0.75], 1.05, [-1.5, -1.5, 3]),
    ("skyrl", "grpo", {}, [0.866, -0.866, -0.866, 0.866], 0.7, [-0.577, -0.577, 1.155]),
    ("skyrl", "rloo", {}, [0.667, -0.667, -0.667, 0.667], 0, [-1.5, -1.5, 3]),
    ("skyrl", "max-rl", {}, [1, -1, -1, 1], 0.7, [-1, -1, 2]),
    ("ms-swift", "grpo", {}, [0.866, -0.866, -0.866, 0.866], 0, [-0.577, -0.577, 1.155]),
    ("ms-swift", "grpo-batch", {}, [0.603, -0.603, -0.603, 0.603], 0, [-1.207, -1.207, 2.414]),
    ("ms-swift", "grpo", {"scale_rewards": "none"}, [0.5, -0.5, -0.5, 0.5], 0, [-1, -1, 2]),
    ("ms-swift", "rloo", {}, [1.155, -1.155, -1.155, 1.155], 0, [-0.866, -0.866, 1.732]),
    ("ms-swift", "rloo", {"scale_rewards": "none"}, [0.667, -0.667, -0.667, 0.667], 0, [-1.5, -1.5, 3]),
    ("ms-swift", "rf++-baseline", {}, [0.627, -0.627, -0.627, 0.627], 0, [-1.253, -1.253, 2.507]),
    # TRL has the rules of ms-swift, and the same names for what is divided by
    ("trl", "grpo", {}, [0.866, -0.866, -0.866, 0.866], 0, [-0.577, -0.577, 1.155]),
    ("trl", "grpo", {"scale_rewards": "batch"}, [0.603, -0.603, -0.603, 0.603], 0, [-1.207, -1.207, 2.414]),
    ("trl", "dr-grpo", {}, [0.5, -0.5, -0.5, 0.5], 0, [-1, -1, 2]),
    # prime-rl's formula
    ("prime-rl", "max-rl", {}, [1, -1, -1, 1], 0, [-1, -1, 2]),
    # NumPy's std has n under the root
    ("open-instruct", "grpo", {}, [1, -1, -1, 1], 0, [-0.707, -0.707, 1.414]),
]


def run(path: Path, **settings: Any) -> np.ndarray:
    with small_blocks(5, dtype=np.float64):
        gaecli.compute(path, **{"group_column": "prompt", **settings})
    return pq.read_table(path)["advantage"].to_numpy()


@pytest.mark.few(10)
@pytest.mark.parametrize(("preset", "estimator", "settings", "a", "c", "d"), GOLDEN)
def test_presets_give_the_numbers_of_their_libraries(
    tmp_path: Path,
    preset: str,
    estimator: str,
    settings: dict[str, Any],
    a: list[float],
    c: float,
    d: list[float],
) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"prompt": PROMPTS, "reward": SCORES, "length": LENGTHS}), path, row_group_size=3)
    found = run(path, preset=preset, estimator=estimator, **settings)
    np.testing.assert_allclose(found, [*a, 0, 0, 0, 0, c, *d], atol=6e-4)  # the numbers have three places


#: ms-swift 4.6.0 on the rewards (1, 0) (0, 1) (0, 0) (1, 2) of one prompt.
TWO_REWARDS = {"accuracy": [1.0, 0.0, 0.0, 1.0], "style": [0.0, 1.0, 0.0, 2.0]}


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [("gdpo", [0.0512, -0.3749, -1.0223, 1.3460]), ("grpo", [-0.1987, -0.1987, -0.9933, 1.3906])],
)
def test_several_rewards_as_ms_swift_has_them(tmp_path: Path, estimator: str, expected: list[float]) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"prompt": ["a"] * 4, **TWO_REWARDS}), path)
    found = run(path, preset="ms-swift", estimator=estimator, rewards=["accuracy", "style"])
    np.testing.assert_allclose(found, expected, atol=6e-5)  # four places


def test_the_log_of_completions_that_comes_along_has_the_advantages_of_trl(copy_sample: Any) -> None:
    """Its `advantage` is by Python's `statistics`: `sample_data/make_completions.py`."""
    path = copy_sample("completions/completions_00020.parquet")
    with small_blocks(5, dtype=np.float64):
        gaecli.compute(
            path,
            preset="trl",
            estimator="grpo",
            group_column=["step", "prompt"],
            rewards={"accuracy_reward": 1.0, "format_reward": 0.5},
            advantage_column="grpo",
        )
    table = pq.read_table(path)
    np.testing.assert_allclose(table["grpo"], table["advantage"], rtol=1e-12, atol=1e-15)


def test_leave_one_out_moments_as_nemo_has_them(tmp_path: Path) -> None:
    """Mean and std of the other two of each; a pair has one other, whose std nothing is divided by."""
    path = tmp_path / "r.parquet"
    pq.write_table(
        pa.table({"prompt": ["a"] * 3 + ["b"] * 2 + ["c"], "reward": [0.0, 1.0, 5.0, 2.0, 3.0, 9.0]}), path
    )
    found = run(path, preset="nemo", estimator="grpo-loo")
    stds = [abs(x - y) / 2**0.5 + 1e-6 for x, y in ((1, 5), (0, 5), (0, 1))]
    expected = [(0 - 3) / stds[0], (1 - 2.5) / stds[1], (5 - 0.5) / stds[2], -1.0, 1.0, 0.0]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_openrlhf_and_verl_whiten_tokens_by_other_rules(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    rewards = [[0.0, 0.0, 1.0], [0.5], [0.25, 0.0]]
    pq.write_table(pa.table({"prompt": ["a"] * 3, "reward": rewards}), path)
    flat = np.array([1.0, 1.0, 1.0, 0.5, 0.25, 0.0])
    for preset, scale in (
        ("openrlhf", 1 / max(flat.std(), 1e-4)),
        ("verl", 1 / (flat.var(ddof=1) + 1e-8) ** 0.5),
    ):
        with small_blocks(2, dtype=np.float64):
            gaecli.compute(path, preset=preset, estimator="rf++", overwrite=True)
        found = np.concatenate(pq.read_table(path)["advantage"].to_pylist())
        np.testing.assert_allclose(found, (flat - flat.mean()) * scale, rtol=1e-12)


@pytest.mark.parametrize("preset", SCORE_PRESETS)
def test_a_library_without_values_refuses_what_it_does_not_have(preset: str) -> None:
    with pytest.raises(gaecli.UsageError, match=f"preset `{preset}` has no `gae`") as caught:
        Settings.from_preset(preset)
    assert all(name in str(caught.value.hint) for name in SCORE_RULES[preset])


def test_the_list_of_presets_says_who_has_which_estimator_and_each_its_rules(run_gae: Any) -> None:
    lines = run_gae("presets").stdout.splitlines()
    assert any(line.split() == ["prime-rl", "dr-grpo,", "max-rl,", "rae"] for line in lines)
    shown = " ".join(run_gae("presets", "ms-swift").stdout.split())
    assert "`rloo`: `--norm-eps 0.0001` `--scale-rewards group`" in shown


@pytest.mark.parametrize("preset", SCORE_RULES)
def test_rules_of_a_preset_are_settings_of_its_estimators(preset: str) -> None:
    needed = {"group_column": "g", "baseline_column": "b", "order_column": "t", "rewards": {"r": 1.0}}
    for estimator, rule in SCORE_RULES[preset].items():
        takes = ESTIMATORS[estimator].takes
        given = {name: value for name, value in needed.items() if name in takes}
        settings = Settings.from_preset(preset, estimator=estimator, **given)
        assert {name: getattr(settings, name) for name in rule} == dict(rule)
        assert settings.overrides == {}
