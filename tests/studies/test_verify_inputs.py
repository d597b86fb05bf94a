"""`gae verify` of folders and several files: each by itself, and the rule that they have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from studies.made_columns import Rollout, sb3_like
from studies.test_verify_rewards import NUM_GROUPS, SIZE, Log, whitened

import gaecli
from gaecli.errors import UsageError
from gaecli.results import Verification, Verifications


def steps_of_training(folder: Path, steps: int, of_format: float = 0.5) -> list[Path]:
    """Completions as TRL logs them; of the first step all responses of a group have one score."""
    paths = []
    for step in range(1, steps + 1):
        log = Log(step, step)
        if step == 1:
            log.accuracy, log.format = [0.0] * (NUM_GROUPS * SIZE), [1.0] * (NUM_GROUPS * SIZE)
        path = folder / f"completions_{step:05d}.parquet"
        paths.append(log.write(path, log.grpo(1, of_format)))
    return paths


def names(inputs: Any) -> list[str]:
    return [Path(one.path).name for one in inputs]


def test_a_folder_has_one_rule_even_if_its_first_file_says_nothing(tmp_path: Path) -> None:
    steps_of_training(tmp_path / "logs", 2)
    found = gaecli.verify([tmp_path / "logs"])
    assert (found.exit_code, len(found.inputs), list(found.differing)) == (0, 2, [])
    assert found.rule is not None
    assert (found.rule.best.name, found.rule.equivalent) == ("trl grpo", ["ms-swift grpo"])
    assert found.rule.best.columns == {"group": "step, prompt", "reward": "accuracy + 0.5 format"}
    assert found.rule.best.num_rows == 2 * NUM_GROUPS * SIZE


def test_files_that_differ_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    steps_of_training(folder, 3)
    log = Log(4, 4)
    log.write(folder / "completions_00004.parquet", log.gdpo(1, 0.5, 1e-8))
    found = gaecli.verify([folder], reward={"accuracy": 1, "format": 0.5})
    assert found.exit_code == 3
    assert found.rule is not None
    assert found.rule.best.name == "trl grpo"
    assert names(found.differing) == ["completions_00004.parquet"]
    assert (found.differing[0].is_reproduced, found.differing[0].best.estimator) == (True, "gdpo")


def test_one_that_is_better_told_narrows_what_the_others_leave_open(tmp_path: Path) -> None:
    """Without a group of one nothing tells the libraries apart that divide by std + 1e-6."""

    def written(name: str, prompts: list[str]) -> Path:
        scores = [0.0, 1.0, 0.5, 1.0, 0.25, 0.75]
        groups = {key: [s for p, s in zip(prompts, scores, strict=True) if p == key] for key in prompts}
        made = {key: whitened(of, 1e-6) if len(of) > 1 else [0.0] for key, of in groups.items()}
        columns = {
            "prompt": prompts,
            "reward": scores,
            "advantage": [made[prompt].pop(0) for prompt in prompts],
        }
        pq.write_table(pa.table(columns), tmp_path / name)
        return tmp_path / name

    paths = [written("several.parquet", list("aaabbb")), written("one_alone.parquet", list("aaabbc"))]
    several, both = gaecli.verify(paths[0]), gaecli.verify(paths)
    assert {"verl grpo", "nemo grpo", "slime grpo"} <= {several.best.name, *several.equivalent}
    assert both.rule is not None
    assert {both.rule.best.name, *both.rule.equivalent} == {"nemo grpo", "slime grpo"}


def unnumbered(folder: Path) -> None:
    """The same prompts in every file, and nothing that says which step they are of."""
    folder.mkdir()
    for step in range(2):
        log = Log(step, step + 1)
        path = log.write(folder / f"{step}.parquet", log.grpo(1, 1))
        pq.write_table(pq.read_table(path).drop_columns(["step", "completion"]), path)


def test_groups_do_not_go_on_in_the_next_file(tmp_path: Path) -> None:
    unnumbered(tmp_path / "logs")
    rewards = {"accuracy": 1, "format": 1}
    found = gaecli.verify([tmp_path / "logs"], reward=rewards)
    assert (found.exit_code, len(found.inputs)) == (0, 2)
    joined = gaecli.verify(tmp_path / "logs", reward=rewards, join=True)
    assert not joined.is_reproduced


def test_shards_that_are_cut_anywhere_are_one(tmp_path: Path) -> None:
    """open-instruct begins a new file after so many lines, in the middle of a group."""
    scores = [1.0, 0.0, 0.0, 1.0, 0.5, 2.0, 0.25, 0.0]
    lines = []
    for prompt in range(2):
        group = scores[4 * prompt : 4 * prompt + 4]
        mean = sum(group) / 4
        deviation = (sum((score - mean) ** 2 for score in group) / 4) ** 0.5
        for score in group:
            fields: dict[str, Any] = {"step": 1, "sample_idx": len(lines), "prompt_idx": prompt}
            fields |= {"prompt_tokens": [1, 2], "response_tokens": [3], "reward": score}
            lines.append(json.dumps({**fields, "advantage": (score - mean) / (deviation + 1e-8)}))
    folder = tmp_path / "rollouts"
    folder.mkdir()
    for shard, part in enumerate((lines[:5], lines[5:])):
        (folder / f"run_rollouts_{shard:06d}.jsonl").write_text("\n".join(part) + "\n")
    found = gaecli.verify([folder])
    assert (found.exit_code, len(found.inputs), found.inputs[0].best.name) == (0, 1, "open-instruct grpo")
    assert gaecli.verify([folder], join=False, preset="open-instruct").exit_code == 3


@pytest.mark.parametrize(("gamma", "is_it"), [(0.98, True), (0.9, False)])
def test_the_numbers_of_a_convention_have_to_be_the_same(tmp_path: Path, gamma: float, is_it: bool) -> None:
    for number, of in enumerate((0.98, 0.98, gamma)):
        rollout = Rollout(number)
        rollout.write(tmp_path / f"{number}.parquet", sb3_like(rollout, of, 0.9), name="advantage")
    found = gaecli.verify([tmp_path], preset="sb3")
    assert (found.exit_code == 0) == is_it
    assert names(found.differing) == ([] if is_it else ["2.parquet"])
    assert found.rule is not None
    assert found.rule.best.gamma == pytest.approx(0.98, abs=1e-5)


def test_a_list_of_one_and_a_folder_of_one(tmp_path: Path) -> None:
    log = Log()
    path = log.write(tmp_path / "log.parquet", log.grpo(1, 1))
    found = gaecli.verify([path])
    assert isinstance(found, Verifications)
    assert (found.exit_code, len(found.inputs)) == (0, 1)
    assert isinstance(gaecli.verify(tmp_path), Verification)


def test_the_column_of_another_file_is_of_one_input(tmp_path: Path) -> None:
    paths = steps_of_training(tmp_path, 2)
    with pytest.raises(UsageError, match="`--against-file` has the column of one input"):
        gaecli.verify(paths, column_source=paths[0])  # type: ignore[call-overload]


class TestTheCommand:
    def test_a_file_that_cannot_be_read_is_told_and_the_others_are_done(
        self, tmp_path: Path, run_gae: Any
    ) -> None:
        steps_of_training(tmp_path, 2)
        (tmp_path / "bad.parquet").write_text("no parquet")
        result = run_gae("verify", *sorted(tmp_path.iterdir()), "--estimator", "grpo")
        assert result.returncode == 4
        assert "bad.parquet" in result.stderr
        assert "one rule reproduces 2 of 3 inputs" in result.stdout

    def test_json_has_a_line_for_each_and_one_for_all(self, tmp_path: Path, run_gae: Any) -> None:
        steps_of_training(tmp_path, 2)
        Log().write(tmp_path / "other.parquet", np.random.default_rng(0).random(NUM_GROUPS * SIZE))
        only = ("--estimator", "grpo", "--reward", "accuracy", "--reward", "format=0.5")
        result = run_gae("verify", tmp_path, *only, "--json")
        assert result.returncode == 3
        *each, last = map(json.loads, result.stdout.splitlines())
        assert [one["is_reproduced"] for one in each] == [True, True, False]
        assert [Path(path).name for path in last["differing"]] == ["other.parquet"]
        assert (last["exit_code"], last["num_inputs"], last["rule"]["attempts"][0]["presets"]) == (
            3,
            3,
            ["trl"],
        )
