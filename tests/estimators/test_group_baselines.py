"""Group baselines: identities, and every way in which rows are split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from covers import turns
from pipeline.running import small_blocks

import gaecli

#: Scores by prompt.
PROMPTS = ["a"] * 4 + ["b"] * 4 + ["c"] + ["d"] * 3
SCORES = [1.0, 0.0, 0.0, 1.0] + [0.5] * 4 + [0.7] + [0.0, 0.0, 3.0]


def write(folder: Path, prompts: list[Any], scores: list[Any], name: str = "r.parquet", **more: Any) -> Path:
    path = folder / name
    table = pa.table({"prompt": prompts, "reward": scores, "completion": ["x"] * len(scores), **more})
    pq.write_table(table, path, row_group_size=3)
    return path


def advantages(path: Path, **settings: Any) -> np.ndarray:
    with small_blocks(dtype=np.float64):
        gaecli.compute(path, group_column="prompt", **settings)
    return pq.read_table(path)["advantage"].to_numpy()


@pytest.mark.few(3)
@pytest.mark.parametrize("preset", ["rsl-rl", "sb3", "cleanrl", "brax", "slime", "nemo"])
def test_what_presets_do_at_the_ends_of_episodes_says_nothing_to_scores(tmp_path: Path, preset: str) -> None:
    found = advantages(write(tmp_path, PROMPTS, SCORES), preset=preset, estimator="dr-grpo")
    np.testing.assert_allclose(found, by_hand("dr-grpo", PROMPTS, SCORES), atol=1e-12)


def by_hand(
    estimator: str, prompts: list[Any], scores: list[float], ddof: int = 1, eps: float = 1e-8
) -> list[float]:
    found = []
    for prompt, score in zip(prompts, scores, strict=True):
        group = [other for name, other in zip(prompts, scores, strict=True) if name == prompt]
        mean = sum(group) / len(group)
        if len(group) == 1:
            found.append(0.0)
        elif estimator == "grpo":
            std = (sum((other - mean) ** 2 for other in group) / (len(group) - ddof)) ** 0.5
            found.append((score - mean) / (std + eps))
        elif estimator == "rloo":
            found.append(score - (sum(group) - score) / (len(group) - 1))
        elif estimator == "passk":
            std = (sum((other - mean) ** 2 for other in group) / (len(group) - ddof)) ** 0.5
            found.append(max(score - sorted(group)[-2], 0.0) / (std + eps))
        elif estimator == "max-rl":
            found.append((score - mean) / mean if mean > 0 else 0.0)
        else:
            found.append(score - mean)
    return found


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("estimator", "block_rows"), turns(["grpo", "dr-grpo", "rloo", "max-rl", "passk"], [1, 2, 1000])
)
def test_groups_are_those_of_all_files_however_they_are_cut(
    tmp_path: Path, estimator: str, block_rows: int
) -> None:
    """Rows of one prompt stand far apart, in several files, row groups and blocks."""
    random = np.random.default_rng(3)
    prompts = [f"prompt {number}" for number in random.integers(0, 7, 45)]
    scores = random.normal(0.3, 1.0, 45).tolist()
    paths = [
        write(tmp_path, prompts[start : start + 15], scores[start : start + 15], f"{start:02d}.parquet")
        for start in (0, 15, 30)
    ]
    with small_blocks(block_rows, store_bytes=500, dtype=np.float64):
        summary = gaecli.compute(paths, estimator=estimator, group_column="prompt", join=False)
    assert {file.status for file in summary.files} == {"written"}
    found = np.concatenate([pq.read_table(path)["advantage"].to_numpy() for path in paths])
    np.testing.assert_allclose(found, by_hand(estimator, prompts, scores), rtol=1e-12, atol=1e-12)


def test_the_steps_of_a_trajectory_are_summed_and_all_get_its_advantage(tmp_path: Path) -> None:
    rewards = [0.25, 0.75, 0.0, 0.0, 0.0, 2.0]
    path = write(tmp_path, ["a"] * 6, rewards, terminated=[False, True, True, False, False, True])
    found = advantages(path, estimator="dr-grpo")
    np.testing.assert_allclose(found, np.array([1.0, 1.0, 0.0, 2.0, 2.0, 2.0]) - 1.0, rtol=1e-15)


def test_lists_of_tokens_get_the_advantage_of_their_row(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(
        pa.table(
            {"prompt": ["a", "a", "b", "b"], "reward": [[0.0, 0.0, 1.0], [0.0], [0.5, 0.5], [3.0, 0.0]]}
        ),
        path,
    )
    with small_blocks(1, dtype=np.float64):
        gaecli.compute(path, estimator="rloo", group_column="prompt")
    assert pq.read_table(path)["advantage"].to_pylist() == [[1.0] * 3, [-1.0], [-2.0] * 2, [2.0] * 2]


def test_rloo_is_n_over_n_less_one_times_dr_grpo(tmp_path: Path) -> None:
    prompts, scores = ["a"] * 5, np.random.default_rng(0).normal(size=5).tolist()
    centred = advantages(write(tmp_path, prompts, scores, "one.parquet"), estimator="dr-grpo")
    left_out = advantages(write(tmp_path, prompts, scores, "two.parquet"), estimator="rloo")
    np.testing.assert_allclose(left_out, centred * 5 / 4, rtol=1e-14)


@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_scores_that_are_all_alike_give_exactly_nothing(tmp_path: Path, offset: float) -> None:
    path = write(tmp_path, ["a"] * 3, [offset + 0.1] * 3)
    assert advantages(path, estimator="grpo").tolist() == [0.0] * 3


@pytest.mark.parametrize(("singleton", "expected"), [("zero", 0.0), ("raw", 0.7)])
@pytest.mark.parametrize("estimator", ["grpo", "dr-grpo", "rloo"])
def test_the_only_trajectory_of_a_group(
    tmp_path: Path, estimator: str, singleton: str, expected: float
) -> None:
    path = write(tmp_path, ["a", "b", "b"], [0.7, 0.0, 1.0])
    found = advantages(path, estimator=estimator, singleton=singleton)
    assert found[0] == pytest.approx(expected, rel=1e-7)


def test_the_only_trajectory_of_a_group_may_be_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, ["a", "b", "b"], [0.7, 0.0, 1.0])
    before = path.read_bytes()
    with pytest.raises(gaecli.DataError, match="single trajectory"):
        advantages(path, estimator="rloo", preset="openrlhf")
    assert path.read_bytes() == before


def test_a_response_without_a_prompt_is_compared_with_none(tmp_path: Path) -> None:
    """Two that have none may be of two prompts."""
    path = write(tmp_path, ["a", "a", None, None], [2.0, 0.0, 1.0, 0.0])
    before = path.read_bytes()
    with pytest.raises(gaecli.DataError, match=r"`prompt` is missing at row 2 of"):
        advantages(path, estimator="dr-grpo")
    assert path.read_bytes() == before


def test_it_need_have_none_where_it_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, ["a", "a", None], [2.0, 0.0, None])
    found = advantages(path, estimator="dr-grpo", on_nan="drop-episode")
    np.testing.assert_array_equal(found, [1.0, -1.0, np.nan])


LISTS = {"prompt": ["a", "b"], "reward": [[1.0, 0.0], [1.0, 1.0]]}


def test_rows_that_are_groups_of_their_own_may_be_the_responses_to_one_prompt(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table(LISTS), path, row_group_size=1)
    with pytest.raises(gaecli.UsageError, match=r"every row of .* has a group of its own") as caught:
        gaecli.compute(path, estimator="dr-grpo", group_column="prompt")
    assert "--layout responses" in str(caught.value.hint)
    gaecli.compute(path, estimator="dr-grpo", group_column="prompt", layout="responses")
    assert pq.read_table(path)["advantage"].to_pylist() == [[0.5, -0.5], [0.0, 0.0]]


def test_a_row_of_several_texts_is_said_to_be_several_responses(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({**LISTS, "completions": [["x", "y"], ["z", "x"]]}), path)
    with pytest.raises(gaecli.UsageError) as caught:
        gaecli.compute(path)
    assert "--group-column prompt --reward-column reward --layout responses`" in str(caught.value.hint)


def test_numbers_of_training_steps_do_not_order_responses(tmp_path: Path) -> None:
    """`step` of a log of completions is that of the optimiser."""
    path = write(tmp_path, ["a", "a", "b", "b"], [1.0, 0.0, 1.0, 0.0], step=[7, 7, 7, 7])
    assert advantages(path, estimator="dr-grpo").tolist() == [0.5, -0.5, 0.5, -0.5]


def test_a_column_that_may_be_an_end_is_asked_about(tmp_path: Path) -> None:
    path = write(tmp_path, ["a"] * 4, [1.0, 0.0, 1.0, 0.0], is_terminal_row=[0, 1, 0, 1])
    with pytest.raises(gaecli.UsageError, match="may say where trajectories end") as caught:
        advantages(path, estimator="grpo")
    assert "--layout responses" in str(caught.value.hint)
    assert advantages(path, estimator="dr-grpo", layout="responses").tolist() == [0.5, -0.5, 0.5, -0.5]


def test_a_column_of_an_earlier_run_is_no_end_to_be_asked_about(tmp_path: Path) -> None:
    path = write(tmp_path, ["a"] * 4, [1.0, 0.0, 1.0, 0.0])
    how: dict[str, Any] = {"estimator": "dr-grpo", "group_column": "prompt", "names": "lerobot"}
    assert gaecli.compute(path, **how).files[0].status == "written"
    assert gaecli.compute(path, **how).files[0].status == "up to date"
    assert gaecli.compute(path, **{**how, "estimator": "rloo"}).files[0].status == "written"


def test_a_reward_that_is_missing_is_an_error_or_leaves_its_response_out(tmp_path: Path) -> None:
    path = write(tmp_path, ["a", "a", "a"], [1.0, None, 0.0])
    with pytest.raises(gaecli.DataError, match="`reward` is null at row 1"):
        advantages(path, estimator="dr-grpo")
    with small_blocks(dtype=np.float64):
        gaecli.compute(path, estimator="dr-grpo", group_column="prompt", on_nan="drop-episode")
    assert pq.read_table(path)["advantage"].to_pylist() == [0.5, None, -0.5]


def test_groups_have_to_be_named() -> None:
    with pytest.raises(gaecli.UsageError, match="no group is named"):
        gaecli.Settings(estimator="grpo")


def test_a_group_column_says_nothing_to_others() -> None:
    with pytest.raises(gaecli.UsageError, match="says nothing to `--estimator gae`"):
        gaecli.Settings(group_column="prompt")


def test_json_lines_of_responses(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.jsonl"
    rows = [{"input": "p", "output": "x", "score": score, "step": 3} for score in (1.0, 0.0, 0.0)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    gaecli.compute(path, estimator="rloo", group_column="input", reward_column="score")
    assert [json.loads(line)["advantage"] for line in path.read_text().splitlines()] == [1.0, -0.5, -0.5]


def test_flat_arrays_of_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "responses.npz"
    np.savez(path, reward=np.array([1.0, 0.0, 3.0]), group=np.array([4, 4, 9]))
    gaecli.compute(path, estimator="dr-grpo", group_column="group")
    assert np.load(path)["advantage"].tolist() == [0.5, -0.5, 0.0]
