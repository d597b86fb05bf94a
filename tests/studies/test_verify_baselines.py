"""`gae verify` names the library whose group baseline made a column. The columns are made by plain loops."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from studies.baseline_loops import (
    Baseline,
    less_mean,
    max_rl,
    names_of,
    numpy_grpo,
    std,
    trl_grpo,
    verl_grpo,
    verl_rloo,
)

import gaecli
from gaecli.errors import UsageError

#: Scores of the responses to one prompt each, with one that has no variance and one that is alone.
PROMPTS = {
    "what is 2 + 2": [1.0, 0.0, 0.0, 1.0],
    "name a prime": [0.5, 0.5, 0.5, 0.5],
    "prove it": [0.75],
    "sort a list": [0.0, 0.25, 3.0],
    "count to ten": [1.0, 0.0, 0.5, 0.25, 1.0],
}


def rows_of(prompts: dict[str, list[float]], baseline: Baseline) -> list[tuple[str, float, float]]:
    """(prompt, score, advantage), those of a prompt not beside each other."""
    rows = [
        (prompt, score, advantage)
        for prompt, scores in prompts.items()
        for score, advantage in zip(scores, baseline(scores), strict=True)
    ]
    return [rows[index] for index in np.random.default_rng(0).permutation(len(rows))]


def written(folder: Path, baseline: Baseline, prompts: dict[str, list[float]] = PROMPTS, **more: Any) -> Path:
    """As TRL writes completions: a column per reward function, and float32 arithmetic."""
    names, scores, advantages = zip(*rows_of(prompts, baseline), strict=True)
    table = {
        "step": [3] * len(names),
        "prompt": names,
        "completion": ["…"] * len(names),
        "accuracy_reward": scores,
        "advantage": np.array(advantages, np.float32),
    }
    path = folder / "completions_00003.parquet"
    pq.write_table(pa.table({**table, **more}), path)
    return path


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("baseline", "names", "rule"),
    [
        (trl_grpo, ["trl grpo", "ms-swift grpo"], "(s - mean) / (std + 1e-4), ddof 1, 0 where alone"),
        (verl_grpo, ["verl grpo", "skyrl grpo"], "(s - mean) / (std + 1e-6), ddof 1, s where alone"),
        (numpy_grpo, ["open-instruct grpo"], "(s - mean) / (std + 1e-8), ddof 0, 0 where alone"),
        (verl_rloo, ["verl rloo"], "s - mean of the others, s where alone"),
        (
            less_mean,
            [
                *(f"{preset} dr-grpo" for preset in ("trl", "ms-swift", "openrlhf", "nemo", "slime")),
                *("prime-rl dr-grpo", "open-instruct dr-grpo", "dr-grpo"),
            ],
            "s - mean, 0 where alone",
        ),
        (
            max_rl,
            ["prime-rl max-rl", "max-rl", "open-instruct max-rl"],
            "(s - mean) / mean, 0 where the mean is not positive, 0 where alone",
        ),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_the_rule_of_the_library_is_named_and_no_other(
    tmp_path: Path, baseline: Baseline, names: Sequence[str], rule: str
) -> None:
    found = gaecli.verify(written(tmp_path, baseline))
    assert found.is_reproduced
    assert names_of(found) == names
    assert found.best.rule == rule
    assert found.best.columns == {"group": "prompt", "reward": "accuracy_reward"}
    assert found.best.max_error < 1e-6


def max_rl_of_any_mean(scores: list[float]) -> list[float]:
    mean = sum(scores) / len(scores)
    return less_mean(scores, mean + 1e-8)


def best_alone(scores: list[float]) -> list[float]:
    *_, second, best = sorted(scores)
    return [(score - second) / (std(scores, 1) + 1e-6) if score == best else 0.0 for score in scores]


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("baseline", "names", "rule"),
    [
        (max_rl, ["prime-rl max-rl", "max-rl"], "(s - mean) / mean, 0 where the mean is not positive"),
        (max_rl_of_any_mean, ["open-instruct max-rl"], "(s - mean) / (mean + 1e-8)"),
        (best_alone, ["verl passk"], "(s - second of the best) / (std + 1e-6), ddof 1"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_a_prompt_whose_mean_is_negative_tells_rules_apart(
    tmp_path: Path, baseline: Baseline, names: Sequence[str], rule: str
) -> None:
    prompts = {
        **{prompt: scores for prompt, scores in PROMPTS.items() if len(scores) > 1},
        "be brief": [-2.0, 0.5, 0.0],
    }
    found = gaecli.verify(written(tmp_path, baseline, prompts))
    assert found.is_reproduced
    assert names_of(found) == names
    assert found.best.rule == rule


def beside_others(scores: list[float]) -> list[float]:
    """NeMo's, with the mean and the std of the others."""
    rest = [scores[:one] + scores[one + 1 :] for one in range(len(scores))]
    return [
        (score - sum(others) / len(others)) / (std(others, 1) + 1e-6)
        for score, others in zip(scores, rest, strict=True)
    ]


@pytest.mark.parametrize(("baseline", "name"), [(beside_others, "nemo grpo-loo"), (best_alone, "verl passk")])
def test_what_is_no_straight_line_in_any_group_is_found_by_the_name_of_the_column(
    tmp_path: Path, baseline: Baseline, name: str
) -> None:
    random = np.random.default_rng(5)
    prompts = {f"prompt {number}": random.normal(size=5).tolist() for number in range(6)}
    found = gaecli.verify(written(tmp_path, baseline, prompts))
    assert found.is_reproduced
    assert names_of(found)[0] == name


def test_what_a_file_does_not_tell_apart_is_said(tmp_path: Path) -> None:
    """Without a prompt that has one response, verl's rules are everybody's."""
    several = {prompt: scores for prompt, scores in PROMPTS.items() if len(scores) > 1}
    found = gaecli.verify(written(tmp_path, verl_rloo, several))
    assert {"trl rloo", "verl rloo", "openrlhf rloo", "rloo"} <= set(names_of(found))
    assert not [name for name in names_of(found) if "grpo" in name]


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("ddof", "eps"), [(0, 1e-6), pytest.param(0, 1e-3, marks=pytest.mark.slow), (1, 0.03)]
)
def test_a_rule_of_no_library_is_told_by_its_numbers(tmp_path: Path, ddof: int, eps: float) -> None:
    several = {prompt: scores for prompt, scores in PROMPTS.items() if len(scores) > 1}
    found = gaecli.verify(
        written(tmp_path, lambda scores: less_mean(scores, std(scores, ddof) + eps), several)
    )
    assert found.is_reproduced
    flags = {"norm_ddof": 1, "norm_eps": 1e-8, **found.best.flags}
    assert (flags["norm_ddof"], flags["norm_eps"]) == (ddof, pytest.approx(eps))


def test_the_command_it_names_makes_the_column_again(tmp_path: Path, run_gae) -> None:
    path = written(tmp_path, trl_grpo)
    flags = [word.strip("'") for flag in gaecli.verify(path).flags for word in flag.split(" ", 1)]
    assert run_gae("compute", path, "-o", tmp_path / "again.parquet", *flags, "--overwrite").returncode == 0
    before, after = (pq.read_table(one)["advantage"].to_numpy() for one in (path, tmp_path / "again.parquet"))
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_rows_that_do_something_else_are_told_by_kind(tmp_path: Path) -> None:
    found = gaecli.verify(written(tmp_path, lambda s: trl_grpo(s) if len(s) > 1 else s), preset="trl")
    assert found.exit_code == 3
    (deviation,) = found.deviations
    assert (deviation.where, deviation.count, deviation.total) == ("groups of one", 1, 1)
    assert (deviation.found, deviation.expected) == (0.75, 0.0)
    assert deviation.reading == "hold their score"


def test_the_column_of_groups_is_looked_for_among_those_there(tmp_path: Path) -> None:
    """`task` and `uid` are named so too, and tell other groups."""
    count = sum(len(scores) for scores in PROMPTS.values())
    more = {
        "task": ["math"] * count,
        "uid": [f"u{row}" for row in range(count)],
        "length": list(range(count)),
    }
    found = gaecli.verify(written(tmp_path, trl_grpo, **more))
    assert found.best.columns["group"] == "prompt"
    assert names_of(found) == ["trl grpo", "ms-swift grpo"]
    assert {"task", "uid", "prompt"} <= set(found.groups_tried)


def test_only_the_group_column_that_is_given_is_tried(tmp_path: Path) -> None:
    count = sum(len(scores) for scores in PROMPTS.values())
    assert not gaecli.verify(
        written(tmp_path, trl_grpo, which=["a"] * count), group_column="which"
    ).is_reproduced


def with_values(tmp_path: Path, column: str) -> Path:
    """Two episodes, and a column of any numbers."""
    rng = np.random.default_rng(5)
    table = {name: rng.normal(size=8) for name in ("value", "reward", column)}
    flags = {"episode": np.repeat([0, 1], 4), "terminated": np.arange(8) % 4 == 3}
    path = tmp_path / "steps.parquet"
    pq.write_table(pa.table({**flags, **table}), path)
    return path


@pytest.mark.parametrize(
    ("column", "only", "says"),
    [
        ("advantage", {"estimator": "mc"}, "`--estimator mc` is tried on returns"),
        ("return", {"estimator": "grpo"}, "`--estimator grpo` is tried on advantages"),
        ("return", {"group_column": "episode"}, "`--group-column` is tried on advantages"),
        ("advantage", {"estimator": "remax"}, "no rule can be tried"),
    ],
)
def test_an_estimator_that_makes_no_such_column_is_told(
    tmp_path: Path, column: str, only: dict[str, str], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        gaecli.verify(with_values(tmp_path, column), column, **only)


def test_an_estimator_of_scores_without_groups_is_tried_alone(tmp_path: Path) -> None:
    path = with_values(tmp_path, "noise")
    rewards = pq.read_table(path)["reward"].to_numpy().reshape(2, 4)
    to_go = rewards[:, ::-1].cumsum(axis=1)[:, ::-1].reshape(-1)
    numbers = (to_go - to_go.mean()) / np.sqrt(to_go.var(ddof=1) + 1e-8)  # REINFORCE++ as verl has it
    pq.write_table(pq.read_table(path).append_column("adv", pa.array(numbers)), path)
    found = gaecli.verify(path, "adv", estimator="rf++")
    assert found.is_reproduced
    assert found.best.estimator == "rf++"
    assert "verl" in found.best.presets


@pytest.mark.parametrize("more", [{}, {"reward_column": "reward"}], ids=["only one there", "named"])
def test_the_reward_does_not_tell_groups_as_well(tmp_path: Path, more: dict[str, str]) -> None:
    path = tmp_path / "alone.parquet"
    pq.write_table(pa.table({"reward": [0.0, 1.0, 0.0, 1.0], "advantage": [-1.0, 1.0, -1.0, 1.0]}), path)
    with pytest.raises(
        UsageError, match=r"no column .* can be the reward: groups are told by `reward`"
    ) as error:
        gaecli.verify(path, group_column="reward", **more)
    assert "--group-column" in (error.value.hint or "")


def test_a_group_column_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="column `promt` not found") as error:
        gaecli.verify(written(tmp_path, trl_grpo), group_column=["prompt", "promt"])
    assert error.value.hint == "pass `--group-column prompt`"


def renamed(folder: Path, path: Path, **names: str) -> Path:
    table = pq.read_table(path)
    pq.write_table(
        table.rename_columns([names.get(name, name) for name in table.column_names]),
        folder / "renamed.parquet",
    )
    return folder / "renamed.parquet"


def test_a_column_of_any_name_may_tell_groups_if_it_explains_the_column(tmp_path: Path) -> None:
    path = renamed(tmp_path, written(tmp_path, trl_grpo), prompt="q")
    assert gaecli.verify(path).best.columns["group"] == "q"
    junk = renamed(tmp_path, written(tmp_path, lambda scores: [score**2 for score in scores]), prompt="q")
    with pytest.raises(UsageError, match="usual name for groups"):
        gaecli.verify(junk)


def test_whether_it_was_right_is_one_of_several_rewards(tmp_path: Path) -> None:
    """A column of booleans is a reward of 0 and 1, in a sum as well."""
    right = [True, False, False, True, True, False]
    style = [0.5, 0.25, 1.0, 0.0, 0.5, 0.0]
    sums = [one + other for one, other in zip(map(float, right), style, strict=True)]
    advantages = [one for start in (0, 3) for one in trl_grpo(sums[start : start + 3])]
    table = {"prompt": list("aaabbb"), "right": right, "style": style, "advantage": advantages}
    path = tmp_path / "right.parquet"
    pq.write_table(pa.table(table), path)
    found = gaecli.verify(path)
    assert found.is_reproduced
    assert found.best.columns["group"] == "prompt"


@pytest.mark.few(1)
@pytest.mark.parametrize("is_batched", [False, True], ids=["a response a line", "a batch a line"])
def test_lines_of_messages_or_of_whole_batches(tmp_path: Path, is_batched: bool) -> None:
    """As ms-swift logs completions: prompts may be messages of a chat, and a line may hold a batch in lists."""
    random = np.random.default_rng(5)
    path = tmp_path / "completions.jsonl"
    lines = []
    for step in range(2):
        groups = [random.choice([0.0, 0.5, 1.0], 4).tolist() for _ in range(3)]
        prompts = [[{"role": "user", "content": f"{step}-{group}"}] for group in range(3) for _ in range(4)]
        batch = {
            "prompt": [prompt[0]["content"] for prompt in prompts] if is_batched else prompts,
            "Accuracy": [score for group in groups for score in group],
            "advantages": [advantage for group in groups for advantage in trl_grpo(group)],
        }
        rows = [dict(zip(batch, row, strict=True)) for row in zip(*batch.values(), strict=True)]
        lines += [batch] if is_batched else rows
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert names_of(gaecli.verify(path, "advantages"))[0] == "trl grpo"


@pytest.mark.parametrize(("estimator", "is_it"), [("grpo", True), ("rloo", False)])
def test_an_estimator_that_is_given_is_the_only_one(tmp_path: Path, estimator: str, is_it: bool) -> None:
    found = gaecli.verify(written(tmp_path, trl_grpo), estimator=estimator)
    assert found.is_reproduced == is_it
    assert {attempt.estimator for attempt in found.attempts} == {estimator}


def test_lists_of_tokens_have_a_number_per_row_or_per_token(tmp_path: Path) -> None:
    rows = rows_of(PROMPTS, verl_grpo)
    lengths = [2 + row % 3 for row in range(len(rows))]
    rewards = [[0.0] * (n - 1) + [score] for n, (_, score, _) in zip(lengths, rows, strict=True)]
    for name, column in {
        "per row": [advantage for *_, advantage in rows],
        "per token": [[advantage] * n for n, (*_, advantage) in zip(lengths, rows, strict=True)],
    }.items():
        path = tmp_path / f"{name}.parquet"
        prompts = [prompt for prompt, *_ in rows]
        pq.write_table(pa.table({"prompt": prompts, "reward": rewards, "advantages": column}), path)
        found = gaecli.verify(path, "advantages")
        assert names_of(found) == ["verl grpo", "skyrl grpo"], name


def test_the_groups_of_tokens_are_found_where_responses_are_of_several_lengths(tmp_path: Path) -> None:
    rows = rows_of({"a": [1.0, 0.0, 0.0, 1.0], "b": [0.0, 2.0, 0.5, 0.0]}, verl_grpo)
    lengths = [1 + 3 * row % 7 for row in range(len(rows))]
    path = tmp_path / "tokens.parquet"
    table = {
        "prompt": [prompt for prompt, *_ in rows],
        "reward": [[0.0] * (n - 1) + [score] for n, (_, score, _) in zip(lengths, rows, strict=True)],
        "advantages": [[advantage] * n for n, (*_, advantage) in zip(lengths, rows, strict=True)],
    }
    pq.write_table(pa.table(table), path)
    found = gaecli.verify(path, "advantages")
    assert (found.is_reproduced, found.best.columns.get("group")) == (True, "prompt")


def test_the_page_names_rule_groups_and_reward(tmp_path: Path, run_gae) -> None:
    result = run_gae("verify", written(tmp_path, trl_grpo))
    assert result.returncode == 0
    for words in ("trl grpo", "(s - mean) / (std + 1e-4), ddof 1", "groups      prompt", "accuracy_reward"):
        assert words in result.stdout
