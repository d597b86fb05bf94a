"""Files that trainers of language models log, as they are: what is said of them, and the command that they take.

`sample_data/make_logs.py` says by which function of which library each is written.
"""

from __future__ import annotations

import json
import math
import pickle
import re
import shlex
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.commands.check import check
from gaecli.commands.inspect import inspect
from gaecli.response_log_kinds import RESPONSE_LOGS
from gaecli.settings import Settings

Row = dict[str, Any]


def table(path: Path) -> list[Row]:
    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    return [json.loads(line) for line in path.read_text().splitlines()]


def items(rows: list[Row]) -> list[Row]:
    """Of lines that hold the lists of a batch, the rows that they stand for."""
    return [dict(zip(row, cells, strict=True)) for row in rows for cells in zip(*row.values(), strict=True)]


def summed(row: Row, *names: str) -> float:
    return sum(row[name] for name in names if row[name] is not None and not math.isnan(row[name]))


#: File -> how its rows are told apart, scored, what divides a group's centred scores, and the name of the log.
LOGS: dict[str, tuple[Callable[[Row], Any], Callable[[Row], float], float | None, str]] = {
    "trl_completions_00003.parquet": (
        lambda row: (row["step"], row["prompt"]),
        lambda row: summed(row, "accuracy_reward", "format_reward"),
        1e-4,
        "TRL completions: 2 reward columns (accuracy_reward, format_reward), groups = (step, prompt), "
        "`advantage` already there",
    ),
    "verl_3.jsonl": (
        lambda row: (row["step"], row["input"]),
        lambda row: row["score"],
        1e-6,
        "verl rollouts: 1 reward column (score), groups = (step, input)",
    ),
    "ms_swift_completions.jsonl": (
        lambda row: (row["step"], row["prompt"]),
        lambda row: row["MathAccuracy"],
        1e-4,
        "ms-swift completions: 1 reward column (MathAccuracy), groups = (step, prompt), `advantages` already there",
    ),
    "open_instruct_rollouts_000000.jsonl": (
        lambda row: (row["step"], row["prompt_idx"]),
        lambda row: row["reward"],
        1e-8,
        "open-instruct rollouts: 1 reward column (reward), groups = (step, prompt_idx), `advantage` already there",
    ),
    "skyrl_openai_gsm8k.jsonl": (
        lambda row: row["input_prompt"],
        lambda row: sum(row["score"]),
        1e-6,
        "SkyRL evaluation results: 1 reward column (score), groups = (input_prompt)",
    ),
    "prime_rl_traces.jsonl": (
        lambda row: row["group"]["id"],
        lambda row: sum(reward["score"] for reward in row["traces"][0]["rewards"].values()),
        None,
        "prime-rl episodes: 2 reward columns (traces.rewards.correct.score, traces.rewards.format.score), "
        "groups = (group.id)",
    ),
    "verifiers_results.jsonl": (
        lambda row: row["example_id"],
        lambda row: row["reward"],
        None,
        "verifiers results: 1 reward column (reward), groups = (example_id)",
    ),
}


@pytest.fixture
def logs(tmp_path: Path, sample_data: Path) -> Path:
    return Path(shutil.copytree(sample_data / "logs", tmp_path / "logs"))


def compared(rows: list[Row], name: str) -> list[float]:
    """The advantages by a loop; ddof is 1, as `std` of torch has it."""
    group_of, score_of, eps, _ = LOGS[name]
    found = []
    for row in rows:
        scores = [score_of(other) for other in rows if group_of(other) == group_of(row)]
        mean = sum(scores) / len(scores)
        spread = math.sqrt(sum((score - mean) ** 2 for score in scores) / (len(scores) - 1))
        found.append((score_of(row) - mean) / (1.0 if eps is None else spread + eps))
    return found


def asked(path: Path) -> gaecli.GaeError:
    with pytest.raises(gaecli.UsageError) as caught:
        gaecli.compute(path)
    return caught.value


def command_in(hint: str | None) -> list[str]:
    (command,) = re.findall(r"`gae (compute [^`]*)`", hint or "")
    return shlex.split(command)


def test_the_command_has_the_rules_of_the_library_that_wrote_the_log(logs: Path) -> None:
    """Its ε, its ddof, and what it makes of a response that no function scored."""
    known = {kind.name: kind.preset for kind in RESPONSE_LOGS}
    for name, (*_, said) in LOGS.items():
        command = command_in(asked(logs / name).hint)
        assert command[command.index("--preset") + 1] == known[said.split(":")[0]]


def test_check_takes_a_response_that_nobody_scored_as_the_library_does(tmp_path: Path) -> None:
    path = tmp_path / "completions.jsonl"
    batch = {
        "step": ["1"] * 3,
        "prompt": ["p"] * 3,
        "completion": ["a", "b", "c"],
        "advantages": [1.2, -0.6, -0.6],
    }
    path.write_text(json.dumps({**batch, "Accuracy": [1.0, 0.0, None]}) + "\n")
    assert [finding.rule.code for finding in check([path], Settings()).findings] == ["GAE600"]


@pytest.mark.few(5)
@pytest.mark.parametrize("name", LOGS)
def test_the_command_of_the_hint_computes_what_the_library_does(
    run_gae: Callable[..., Any], logs: Path, name: str
) -> None:
    path = logs / name
    before = path.read_bytes()
    error = asked(path)
    assert f"looks like {LOGS[name][3]}" in error.message
    assert path.read_bytes() == before
    command = command_in(error.hint)
    # Only where it is asked for, or where lists of tokens stand beside advantages of responses.
    assert ("--layout" in command) == name.startswith(("skyrl", "verifiers", "open_instruct"))
    result = run_gae(*command)
    assert result.returncode == 0, result.stderr
    column = (
        command[command.index("--advantage-column") + 1] if "--advantage-column" in command else "advantage"
    )
    rows = items(table(path)) if name.startswith("ms_swift") else table(path)
    found = [row[column][0] if name.startswith("skyrl") else row[column] for row in rows]
    expected = compared(rows, name)
    if name.startswith("open_instruct"):  # its ddof is 0
        expected = [number * math.sqrt(4 / 3) for number in expected]
    np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1e-6)  # float32, and of JSON some digits
    stored = [row.get("advantage" if column != "advantage" else "advantages") for row in rows]
    if stored[0] is not None:
        np.testing.assert_allclose(found, stored, rtol=3e-6, atol=1e-6)  # that of the library's own rule


@pytest.mark.parametrize("name", LOGS)
def test_inspect_says_what_it_is_and_what_it_would_take(logs: Path, name: str) -> None:
    (info,) = inspect([logs / name]).infos
    assert info.log is not None
    assert info.log.says == LOGS[name][3].split(": ", 1)[1]
    assert info.log.command is not None
    assert info.log.command in (info.hint or "")
    assert info.problem is not None
    assert info.counts is not None
    rows = table(logs / name)
    rows = items(rows) if name.startswith("ms_swift") else rows
    assert info.counts.episodes == len(rows)
    if not name.startswith("skyrl"):  # a reward per token there
        mean = sum(LOGS[name][1](row) for row in rows) / len(rows)
        assert info.statistics["reward"].mean == pytest.approx(mean, rel=1e-12)
    assert set(info.role_reasons.values()) == {"log"}


def test_inspect_makes_no_claims_about_episodes(run_gae: Callable[..., Any], logs: Path) -> None:
    result = run_gae("inspect", logs / "trl_completions_00003.parquet", env={"COLUMNS": "200"})
    assert "12 responses" in result.stdout
    assert not re.search(r"episode|terminated|truncated|bootstrap|explained", result.stdout)
    document = json.loads(run_gae("inspect", logs / "verl_3.jsonl", "--json").stdout)
    assert document["files"][0]["log"]["group"] == ["step", "input"]


def test_a_log_without_prompts_says_what_it_lacks(logs: Path) -> None:
    error = asked(logs / "nemo_train_data_step3.jsonl")
    assert "looks like NeMo RL training data" in error.message
    assert "no column says which prompt" in (error.hint or "")
    rows = table(logs / "nemo_train_data_step3.jsonl")
    path = logs / "with_prompts.jsonl"
    path.write_text("".join(json.dumps({**row, "prompt": row["idx"] // 4}) + "\n" for row in rows))
    assert "--layout responses" in (error.hint or "")
    gaecli.compute(path, estimator="dr-grpo", group_column="prompt", layout="responses")
    assert [row["advantage"] for row in table(path)][:4] == [0.5, -0.5, 0.5, -0.5]


def test_a_response_that_no_function_scored_is_asked_about(logs: Path) -> None:
    step = pd.read_parquet(logs / "trl_completions_00003.parquet")
    step.loc[2, ["accuracy_reward", "format_reward"]] = math.nan
    path = logs / "unscored.parquet"
    step.to_parquet(path)
    rewards = {"accuracy_reward": 1.0, "format_reward": 1.0}
    with pytest.raises(
        gaecli.DataError, match="`accuracy_reward`, `format_reward` are all null or NaN at row 2"
    ) as told:
        gaecli.compute(
            path, estimator="dr-grpo", group_column="prompt", rewards=rewards, advantage_column="a"
        )
    assert "--unscored zero" in (told.value.hint or "")
    gaecli.compute(
        path,
        estimator="dr-grpo",
        group_column="prompt",
        rewards=rewards,
        advantage_column="a",
        unscored="zero",
    )
    np.testing.assert_allclose([row["a"] for row in table(path)][:4], [2 / 3, -1 / 3, 0.0, -1 / 3], atol=1e-7)


def test_a_folder_of_steps_is_one_command(run_gae: Callable[..., Any], logs: Path) -> None:
    """The same prompt comes again in another step, and is another group there."""
    step = pd.read_parquet(logs / "trl_completions_00003.parquet")
    folder = logs / "completions"
    folder.mkdir()
    for number in (3, 4):
        step.assign(step=number, accuracy_reward=step.accuracy_reward * (number - 2)).to_parquet(
            folder / f"completions_{number:05d}.parquet"
        )
    command = command_in(asked(folder / "completions_00003.parquet").hint)
    command[1] = str(folder)
    assert run_gae(*command).returncode == 0
    for path in folder.iterdir():
        found = [row["grpo_advantage"] for row in table(path)]
        np.testing.assert_allclose(
            found, compared(table(path), "trl_completions_00003.parquet"), rtol=1e-5, atol=1e-6
        )


def test_a_pipe_takes_the_command_too(run_gae: Callable[..., Any], logs: Path) -> None:
    content = (logs / "verl_3.jsonl").read_text()
    refused = run_gae("compute", "-", "-o", "-", input=content)
    assert refused.returncode == 2
    command = command_in(refused.stderr)
    assert command[:2] == ["compute", "-"]
    rows = run_gae(*command, "-o", "-", input=content).stdout.splitlines()
    assert [json.loads(row)["advantage"] for row in rows][4:8] == [0.0] * 4


def test_text_that_is_no_prompt_makes_no_log(tmp_path: Path) -> None:
    """A table of steps that has two of the names."""
    path = tmp_path / "r.jsonl"
    path.write_text('{"prompt": 1, "completion": 2, "step": 1, "advantage": 0.5, "r0": 1.0}\n')
    assert "looks like" not in asked(path).message


def test_who_names_columns_has_something_else_in_mind(logs: Path) -> None:
    with pytest.raises(gaecli.UsageError) as caught:
        gaecli.compute(logs / "verl_3.jsonl", columns={"value": "score"})
    assert "looks like" not in caught.value.message


def test_the_estimator_that_was_asked_for_stays(logs: Path) -> None:
    with pytest.raises(gaecli.UsageError) as caught:
        gaecli.compute(logs / "verl_3.jsonl", estimator="rloo", group_column="input")
    assert "--estimator rloo" in (caught.value.hint or "")


def test_a_table_of_somebody_s_own_gets_a_command_as_well(
    run_gae: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "my rollouts.jsonl"
    rows = [
        {"uid": number // 2, "score": float(number % 2), "text": "x", "is_done": True} for number in range(4)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    error = asked(path)
    assert "looks like" not in error.message
    assert run_gae(*command_in(error.hint)).returncode == 0
    assert [round(row["advantage"], 3) for row in table(path)] == [-0.707, 0.707] * 2


def test_what_is_measured_of_a_response_is_no_reward(tmp_path: Path) -> None:
    """Where every column of numbers may be one: how long a response is, and how long it took, is not added to it."""
    measures = ("response_length", "num_tokens", "gen_time", "mean_logprob", "sampleIdx")
    rewards = ("correct", "length_penalty", "token_reward", "tokens")
    rows = [
        {
            "step": 0,
            "prompt": "p",
            "completion": "c",
            "advantage": 0.0,
            **dict.fromkeys(measures + rewards, 1.0),
        }
    ]
    path = tmp_path / "completions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert f"4 reward columns ({', '.join(rewards)})" in asked(path).message


def trace(number: int, hash_of_task: str | None) -> Row:
    """A line of verifiers 0.4.0, verifiers/v1/trace.py, Trace.to_record, in which contents are texts or parts."""
    content = "2+2?" if number % 2 else [{"type": "text", "text": "2+2?"}]
    return {
        "task": {
            "type": "Sums",
            "data": {"idx": number // 2, "prompt": "2+2?"},
            "key": None,
            "hash": hash_of_task,
        },
        "nodes": [{"message": {"role": "user", "content": content}}],
        "rewards": {"ok": {"score": float(number % 2), "weight": 1.0}, "style": None},
        "info": {},
    }


@pytest.mark.parametrize(("has_hash", "group"), [(True, "task.hash"), (False, "task.data.idx")])
def test_what_is_null_throughout_tells_no_prompts(
    run_gae: Callable[..., Any], tmp_path: Path, has_hash: bool, group: str
) -> None:
    path = tmp_path / "traces.jsonl"
    rows = [trace(number, f"h{number // 2}" if has_hash else None) for number in range(4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    error = asked(path)
    assert f"verifiers traces: 1 reward column (rewards.ok.score), groups = ({group})" in error.message
    assert run_gae(*command_in(error.hint)).returncode == 0
    assert [row["advantage"] for row in table(path)] == [-0.5, 0.5] * 2


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.1, 2.0)])
def test_weights_beside_scores_are_in_the_command(
    run_gae: Callable[..., Any], tmp_path: Path, weights: tuple[float, float]
) -> None:
    path = tmp_path / "traces.jsonl"
    rows = [trace(number, "h") for number in range(3)]
    for number, row in enumerate(rows):
        scores = {"ok": float(number), "style": 0.5 * number**2}
        row["rewards"] = {
            name: {"score": score, "weight": weight}
            for (name, score), weight in zip(scores.items(), weights, strict=True)
        }
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run_gae(*command_in(asked(path).hint)).returncode == 0
    values = [sum(reward["score"] * reward["weight"] for reward in row["rewards"].values()) for row in rows]
    expected = [value - sum(values) / 3 for value in values]
    np.testing.assert_allclose([row["advantage"] for row in table(path)], expected, rtol=1e-6)


def test_weights_that_change_are_told(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    rows = [trace(number, "h") for number in range(2)]
    rows[1]["rewards"]["ok"]["weight"] = 0.5
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "changes from row to row, and is not applied" in (asked(path).hint or "")


def test_token_rewards_of_somebody_s_own(run_gae: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "tokens.jsonl"
    rows = [
        {"uid": f"u{number // 2}", "token_level_rewards": [0.0] * number + [float(number % 2)]}
        for number in range(4)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run_gae(*command_in(asked(path).hint), "--estimator", "dr-grpo").returncode == 0
    assert [row["advantage"] for row in table(path)] == [[-0.5], [0.5] * 2, [-0.5] * 3, [0.5] * 4]


def test_a_second_run_does_not_take_advantages_for_rewards(run_gae: Callable[..., Any], logs: Path) -> None:
    path = logs / "trl_completions_00003.parquet"
    command = command_in(asked(path).hint)
    run_gae(*command)
    assert command_in(asked(path).hint) == command
    again = run_gae(*command)
    assert "up to date" in again.stdout


def test_what_torch_saved_without_tensors_is_refused_with_a_way_to_read_it(tmp_path: Path) -> None:
    """slime 624b824, slime/observability/rollout_data_utils.py, save_debug_rollout_data: an archive of a pickle."""
    path = tmp_path / "5.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("5/data.pkl", pickle.dumps({"samples": [{"reward": 1.0}]}, protocol=2))
        archive.writestr("5/version", b"3\n")
    with pytest.raises(
        gaecli.FileError, match=r"written by `torch\.save`, and is no dict of tensors"
    ) as caught:
        gaecli.compute(path)
    assert 'weights_only=True)["samples"]' in (caught.value.hint or "")


def test_settings_of_a_log_are_those_of_its_command(logs: Path) -> None:
    (info,) = inspect([logs / "trl_completions_00003.parquet"], Settings()).infos
    assert shlex.split(info.log.command or "") == ["gae", *command_in(info.hint)]  # type: ignore[union-attr]


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("explain", ["--row", "1"]),
        ("sweep", []),
        ("verify", ["--estimator", "td0"]),
        # What is refused before a file is opened.
        ("compute", ["--estimator", "grpo", "--dry-run", "--memory", "300MiB"]),
        ("explain", ["--row", "1", "--estimator", "rloo"]),
        ("sweep", ["--estimator", "grpo,rf++", "--preset", "trl,verl", "--no-join"]),
    ],
)
def test_the_hint_names_the_command_that_was_typed(
    run_gae: Callable[..., Any], logs: Path, command: str, more: list[str]
) -> None:
    path = logs / "trl_completions_00003.parquet"
    refused = run_gae(command, path, *more)
    assert refused.returncode == 2
    (hint,) = re.findall(r"`gae ([^`]*)`, which", refused.stderr)
    words = shlex.split(hint)
    assert words[:1] == [command]
    assert ("--advantage-column" in words) == (command == "compute")
    if words[0] != "verify":  # which tries more than td0
        assert set(more) <= set(words)
    assert run_gae(*words).returncode == 0


def test_groups_that_a_file_does_not_tell_are_asked_for(
    run_gae: Callable[..., Any], logs: Path, tmp_path: Path
) -> None:
    """Nor where more is missing, or where the rewards are somebody's own."""
    said = run_gae("sweep", logs / "verl_3.jsonl", "--estimator", "grpo", "--reward-column", "mine").stderr
    assert "--reward-column mine`" in said
    plain = "hint: pass `--group-column` with the column that is equal for responses to one prompt"
    pq.write_table(pa.table({"reward": [1.0]}), tmp_path / "r.parquet")
    for path, estimator in [
        (tmp_path / "gone.parquet", "grpo"),
        (tmp_path / "r.parquet", "grpo"),
        (logs / "verl_3.jsonl", "rae"),
    ]:
        refused = run_gae("sweep", path, "--estimator", estimator)
        assert (refused.returncode, refused.stderr.strip().splitlines()[-1]) == (2, plain)


def tinker_turns() -> list[Row]:
    """Two iterations of two groups of three dialogues, of one turn or two, with the reward of the whole in each."""
    return [
        {
            "split": "train",
            "iteration": iteration,
            "group_idx": group,
            "traj_idx": rollout,
            "step_idx": turn,
            "ac_tokens": [5, 6],
            "ac_logprobs": [-0.5, -0.25],
            "reward": 0.0,
            "final_reward": 1.0,
            "total_reward": iteration + group * 0.5 + rollout**2 * 0.25,
            "episode_done": turn == rollout % 2,
        }
        for iteration in range(2)
        for group in range(2)
        for rollout in range(3)
        for turn in range(1 + rollout % 2)
    ]


@pytest.mark.parametrize("is_a_row_per_turn", [True, False])
def test_dialogues_of_tinker_are_compared_once_each(
    run_gae: Callable[..., Any], tmp_path: Path, is_a_row_per_turn: bool
) -> None:
    rows = tinker_turns()
    if not is_a_row_per_turn:
        of_turns = ("step_idx", "episode_done", "ac_tokens", "ac_logprobs", "reward")
        rows = [
            {name: cell for name, cell in row.items() if name not in of_turns}
            | {"steps": [{"reward": 1.0}], "final_ob_len": 3}
            for row in rows
            if row["step_idx"] == 0
        ]
    path = tmp_path / "turns.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    refused = run_gae("compute", path)
    assert refused.returncode == 2
    assert "looks like Tinker" in refused.stderr
    assert run_gae(*command_in(refused.stderr)).returncode == 0
    for row, found in zip(rows, table(path), strict=True):
        key = row["iteration"], row["group_idx"]
        scores = {
            other["traj_idx"]: other["total_reward"]
            for other in rows
            if (other["iteration"], other["group_idx"]) == key
        }
        assert found["advantage"] == pytest.approx(row["total_reward"] - sum(scores.values()) / 3, abs=1e-6)
