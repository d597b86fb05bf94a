"""Rules about groups: each planted in a clean log of responses, which has none of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gaecli.commands.check import check
from gaecli.diagnosis import Checkup
from gaecli.settings import Settings

Rows = list[dict[str, Any]]
GROUPED = Settings.from_preset("exact", estimator="grpo", group_column="uid")


def clean() -> Rows:
    """Four prompts, three responses each, interleaved: which is fine."""
    return [
        {
            "uid": f"u{group}",
            "prompt": f"What is {group}?",
            "completion": f"answer {number} to {group}",
            "reward": float(number == group % 3) + 0.25 * (number == 2),
        }
        for number in range(3)
        for group in range(4)
    ]


def found(*files: Rows, folder: Path, settings: Settings = GROUPED, suffix: str = ".jsonl") -> Checkup:
    paths = []
    for number, rows in enumerate(files):
        path = folder / f"{number}{suffix}"
        if suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
        paths.append(path)
    return check(paths, settings)


def codes(checkup: Checkup) -> dict[str, int]:
    assert not checkup.failures
    return {finding.rule.code: finding.count for finding in checkup.findings}


def changed(change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Rows:
    return [row for row in map(change, clean()) if row]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_clean_log_has_nothing(tmp_path: Path, suffix: str) -> None:
    assert codes(found(clean(), folder=tmp_path, suffix=suffix)) == {}


def test_groups_of_one_score(tmp_path: Path) -> None:
    rows = changed(lambda row: {**row, "reward": 0.1} if row["uid"] in ("u1", "u3") else row)
    checkup = found(rows, folder=tmp_path)
    assert codes(checkup) == {"GAE601": 2}
    assert "2 of 4 groups (50%) have one score" in checkup.findings[0].message
    assert (checkup.exit_code, checkup.num_warnings, checkup.num_notes) == (0, 0, 1)


def test_a_note_is_no_fault_to_strict(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"uid": 1, "reward": 0}\n{"uid": 1, "reward": 0}\n')
    assert check([tmp_path / "r.jsonl"], GROUPED, strict=True).exit_code == 0


def test_groups_of_a_single_response(tmp_path: Path) -> None:
    rows = changed(lambda row: None if row["uid"] == "u2" and "answer 0" not in row["completion"] else row)
    assert codes(found(rows, folder=tmp_path)) == {"GAE602": 1}


@pytest.mark.parametrize("column", ["rollout_id", "completion"])
def test_rollouts_in_several_rows(tmp_path: Path, column: str) -> None:
    """Turns of a conversation as rows of their own, each with the score of the whole."""
    rows = [{**row, "rollout_id": index} for index, row in enumerate(clean())]
    rows = [row for row in rows for _ in range(3 if row["uid"] == "u0" or column == "completion" else 1)]
    if column == "completion":
        rows = [{name: cell for name, cell in row.items() if name != "rollout_id"} for row in rows]
    checkup = found(rows, folder=tmp_path)
    assert codes(checkup) == {"GAE603": 24} if column == "completion" else {"GAE603": 6, "GAE605": 3}
    assert f"--sample-of {column}" in (checkup.findings[0].fix or "")
    told = GROUPED.replace(sample_of=column)
    assert "GAE603" not in codes(found(rows, folder=tmp_path, settings=told))


def test_ids_of_which_python_has_one_hash_are_two_rollouts(tmp_path: Path) -> None:
    assert hash(-1) == hash(-2)
    rows = [{"uid": group, "rollout_id": rollout, "reward": 1.0} for group in "ab" for rollout in (-1, -2)]
    rows += [{"uid": group, "rollout_id": 0, "reward": 0.0} for group in "ab"]
    assert codes(found(rows, folder=tmp_path)) == {}


def test_a_few_equal_answers_are_two_responses(tmp_path: Path) -> None:
    """Of two of four groups, two of three responses each: four of twelve rows."""

    def answered(row: dict[str, Any]) -> dict[str, Any]:
        is_short = row["uid"] in ("u0", "u3") and "answer 2" not in row["completion"]
        return {**row, "completion": "42", "reward": 1.0} if is_short else row

    assert codes(found(changed(answered), folder=tmp_path)) == {}


def test_rollouts_of_one_id_with_other_scores_are_not_split(tmp_path: Path) -> None:
    rows = [{**row, "rollout_id": row["uid"]} for row in clean()]
    rows = [{**row, "reward": float(index)} for index, row in enumerate(rows)]
    assert codes(found(rows, folder=tmp_path)) == {}


def test_an_id_that_a_whole_group_has_is_that_of_its_prompt(tmp_path: Path) -> None:
    rows = [
        {**row, "sample_id": row["uid"], "reward": float("answer 0" in row["completion"])} for row in clean()
    ]
    assert codes(found(rows, folder=tmp_path)) == {}


def test_nothing_is_said_of_ends_and_steps(tmp_path: Path) -> None:
    """Hundreds of rows of reward 0, one after the other, are no resets, and no time limit at 1."""
    rows = [{"uid": number // 4, "reward": 0.0, "timeout_s": 1.0} for number in range(800)]
    assert codes(found(rows, folder=tmp_path, settings=GROUPED.replace(layout="responses"))) == {
        "GAE601": 200
    }


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("is_zero", [True, False])
def test_rewards_that_are_zero_where_no_function_gave_one(tmp_path: Path, suffix: str, is_zero: bool) -> None:
    def scored(row: dict[str, Any]) -> dict[str, Any]:
        is_gone = row["completion"].startswith("answer 1")
        reward = (0.0 if is_zero else 0.5) if is_gone else row["reward"] + 1
        functions = dict.fromkeys(
            ("format_reward", "rewards/accuracy", "r_style"), None if is_gone else row["reward"]
        )
        return {**row, **functions, "reward": reward}

    checkup = found(changed(scored), folder=tmp_path, suffix=suffix)
    assert codes(checkup) == ({"GAE604": 4} if is_zero else {})
    if is_zero:
        assert (
            "`format_reward`, `rewards/accuracy`, `r_style` are all null or NaN, in 4 of 12"
            in checkup.findings[0].message
        )


def test_groups_of_several_sizes(tmp_path: Path) -> None:
    checkup = found(clean()[:-1], folder=tmp_path)
    assert codes(checkup) == {"GAE605": 1}
    assert "fewer responses than 3" in checkup.findings[0].message


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_groups_that_were_cut_by_position(tmp_path: Path, suffix: str) -> None:
    """One row is missing, and every group behind it has a response to the prompt before."""
    rows = sorted(clean(), key=lambda row: row["uid"])
    del rows[1]
    rows = [{**row, "uid": str(index // 3)} for index, row in enumerate(rows)]
    assert codes(found(rows, folder=tmp_path, suffix=suffix)) == {"GAE605": 1, "GAE606": 3}


def test_groups_over_several_files(tmp_path: Path) -> None:
    rows = clean()
    assert codes(found(rows[:6], rows[6:], folder=tmp_path)) == {"GAE607": 4}


def test_groups_are_told_by_two_columns(tmp_path: Path) -> None:
    """In another step the same prompt is another group, and both files have all of theirs."""
    first, second = ([{**row, "step": step} for row in clean()] for step in (1, 2))
    settings = GROUPED.replace(group_column=("step", "prompt"))
    assert codes(found(first, second, folder=tmp_path, settings=settings)) == {}


@pytest.mark.parametrize("num_files", [1, 2])
def test_responses_of_several_steps_of_training_in_one_group(tmp_path: Path, num_files: int) -> None:
    """Groups are told by the prompt alone, which comes again at another step; `u0` does not."""
    first = [{**row, "step": 1} for row in clean()]
    again = [
        {**row, "step": 2, "completion": f"{row['completion']}!"} for row in clean() if row["uid"] != "u0"
    ]
    files = [first, again] if num_files == 2 else [first + again]
    checkup = found(*files, folder=tmp_path)
    assert codes(checkup)["GAE608"] == 3
    (finding,) = (one for one in checkup.findings if one.rule.code == "GAE608")
    assert (finding.rule.severity, finding.row) == ("warning", 1)
    assert finding.fix == "pass `--group-column step --group-column uid`"


def test_steps_within_a_trajectory_are_none_of_training(tmp_path: Path) -> None:
    rows = [
        {
            "uid": f"u{group}",
            "episode": 2 * group + one,
            "step": step,
            "reward": float(one),
            "done": step == one + 1,
        }
        for group in range(2)
        for one in range(2)
        for step in range(one + 2)
    ]
    assert codes(found(rows, folder=tmp_path)) == {}


def test_tokens_and_batches_in_lists(tmp_path: Path) -> None:
    tokens = [{**row, "reward": [0.0, row["reward"] - 1.0, 1.0]} for row in clean()]
    assert codes(found(tokens, folder=tmp_path, settings=GROUPED.replace(layout="nested"))) == {}
    flat = [{**row, "reward": [0.0, 0.5, 0.5]} for row in tokens]
    assert codes(found(flat, folder=tmp_path, settings=GROUPED.replace(layout="nested"))) == {"GAE601": 4}
    batch = {name: [row[name] for row in clean()[:-1]] for name in clean()[0]}
    assert codes(found([batch], folder=tmp_path)) == {"GAE605": 1}


def test_a_known_log_is_checked_without_a_flag(sample_data: Path) -> None:
    checkup = check([sample_data / "logs" / "ms_swift_completions.jsonl"])
    assert codes(checkup) == {"GAE600": 1, "GAE601": 2}
    assert "read as ms-swift completions" in checkup.findings[0].message
    assert "`gae compute " in checkup.findings[0].message


def test_a_known_log_is_checked_by_the_groups_that_were_named(sample_data: Path) -> None:
    """All are of one `gts` each, and of one step."""
    named = Settings.from_preset("exact", estimator="grpo", group_column="step")
    checkup = check([sample_data / "logs" / "verl_3.jsonl"], named)
    assert codes(checkup) == {"GAE600": 1, "GAE606": 1}
    assert "--group-column step --reward-column score" in checkup.findings[0].message


def test_rewards_of_one_function_may_be_missing(tmp_path: Path) -> None:
    rows = changed(lambda row: {**row, "style": None if row["uid"] == "u1" else 0.5})
    settings = Settings.from_preset(
        "exact", estimator="grpo", group_column="uid", rewards={"style": 1.0, "reward": 1.0}
    )
    assert codes(found(rows, folder=tmp_path, settings=settings)) == {}


def test_groups_are_named_by_their_column_alone(run_gae: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps({**row, "reward": 1.0}) + "\n" for row in clean()))
    result = run_gae("check", path, "--group-column", "uid", "--json")
    document = json.loads(result.stdout)
    assert [(finding["code"], finding["severity"]) for finding in document["findings"]] == [
        ("GAE601", "note")
    ]
    assert [document["counts"][kind] for kind in ("errors", "warnings", "notes")] == [0, 0, 1]
    assert run_gae("check", path, "--group-column", "uid", "--strict").returncode == 0
    assert "nothing wrong found" in run_gae("check", path, "--group-column", "uid").stdout


def test_a_response_that_nothing_scored_has_no_score(tmp_path: Path) -> None:
    rows = changed(lambda row: {**row, "reward": None if "answer 2" in row["completion"] else 1.0})
    settings = GROUPED.replace(unscored="zero")
    checkup = found(rows, folder=tmp_path, settings=settings)
    assert codes(checkup) == {"GAE601": 4}


#: Trajectories of two to four steps: (group, rollout, prompt, score). One group has one score, one a single
#: trajectory, one a rollout twice, one two prompts, and sizes differ.
TRAJECTORIES = [
    *[("a", f"a{number}", "p", 0.6) for number in range(3)],
    ("b", "b0", "p", 1.0),
    *[("c", rollout, "p", score) for rollout, score in (("c0", 0.5), ("c1", 1.0), ("c0", 0.5), ("c2", 0.0))],
    *[("d", f"d{number}", f"p{number}", float(number)) for number in range(3)],
    *[("e", f"e{number}", "p", float(number)) for number in range(3)],
]


def steps_of(trajectories: list[tuple[str, str, str, float]]) -> Rows:
    """A row per step; the reward comes in parts."""
    rows: Rows = []
    for number, (group, rollout, prompt, score) in enumerate(trajectories):
        length = 2 + number % 3
        for step in range(length):
            cells = {"uid": group, "rollout_id": rollout, "prompt": prompt, "reward": score / length}
            rows.append({**cells, "terminated": step == length - 1})
    return rows


@pytest.mark.few(2)
@pytest.mark.parametrize("block_rows", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("num_files", [1, 2])
def test_steps_are_compared_as_whole_trajectories_in_any_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_rows: int, num_files: int
) -> None:
    """As responses with the same scores are, whichever block or file a trajectory or a rollout goes on in."""
    monkeypatch.setattr("gaecli.commands.check.rows_per_block", lambda memory_bytes: block_rows)
    split = (len(TRAJECTORIES) + 1) // num_files
    parts = [TRAJECTORIES[start : start + split] for start in range(0, len(TRAJECTORIES), split)]
    of_steps = found(*map(steps_of, parts), folder=tmp_path, suffix=".parquet")
    responses: list[Rows] = [
        [
            {"uid": group, "rollout_id": rollout, "prompt": prompt, "reward": score}
            for group, rollout, prompt, score in part
        ]
        for part in parts
    ]
    (tmp_path / "responses").mkdir()
    of_responses = found(*responses, folder=tmp_path / "responses", suffix=".parquet")
    assert codes(of_steps) == codes(of_responses)
    spread = {} if num_files == 1 else {"GAE607": 1}
    wanted = {"GAE601": 1, "GAE602": 1, "GAE603": 1, "GAE605": 3, "GAE606": 1, **spread}
    assert codes(of_steps) == wanted


def test_a_rollout_in_two_files_counts_as_one_that_was_split(tmp_path: Path) -> None:
    first = [{"uid": "a", "rollout_id": "r", "reward": 1.0}, {"uid": "a", "rollout_id": "s", "reward": 0.0}]
    checkup = found(first, first[:1], folder=tmp_path)
    assert codes(checkup) == {"GAE603": 1, "GAE607": 1}
    assert "1 rollouts stand in several rows" in str([one.message for one in checkup.findings])
