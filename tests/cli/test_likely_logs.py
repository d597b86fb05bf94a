"""Tables of responses that no known library wrote: the hint is a command, and it computes what it should."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

import gaecli

Row = dict[str, Any]

#: Of eight responses to two prompts, right or wrong.
RIGHT = (1, 0, 0, 1, 1, 1, 0, 1)
FORMAT = (0.5, 1.0, 0.0, 0.25, 1.0, 0.0, 0.75, 0.5)
PROMPT = (0, 1, 0, 1, 1, 0, 0, 1)


def written(path: Path, rows: Sequence[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def compared(scores: Sequence[float], groups: Sequence[Any]) -> list[float]:
    """(score - mean) / (std + 1e-8) within each group, ddof 1, by a loop."""
    found = []
    for score, group in zip(scores, groups, strict=True):
        same = [other for other, of in zip(scores, groups, strict=True) if of == group]
        found.append((score - mean(same)) / (stdev(same) + 1e-8))
    return found


def items_of(cells: Sequence[Any]) -> list[float]:
    return [item for cell in cells for item in (cell if isinstance(cell, list) else [cell])]


def rows_of(**columns: Callable[[int], Any]) -> list[Row]:
    return [{name: cell(number) for name, cell in columns.items()} for number in range(8)]


BOTH = [right + form for right, form in zip(RIGHT, FORMAT, strict=True)]
TABLES: dict[str, tuple[list[Row], Sequence[Any]]] = {
    "right or wrong": (
        rows_of(problem_id=lambda n: PROMPT[n], response=str, is_correct=lambda n: bool(RIGHT[n])),
        compared(RIGHT, PROMPT),
    ),
    "a prompt by another name": (
        rows_of(task_hash=lambda n: f"h{PROMPT[n]}", generation=str, passed=lambda n: RIGHT[n], length=int),
        compared(RIGHT, PROMPT),
    ),
    "a struct of rewards": (
        rows_of(
            prompt=lambda n: f"p{PROMPT[n]}",
            response=str,
            rewards=lambda n: {"correct": RIGHT[n], "format": FORMAT[n]},
        ),
        compared(BOTH, PROMPT),
    ),
    "a struct with the score beside what it is of": (
        rows_of(
            prompt=lambda n: f"p{PROMPT[n]}",
            response=str,
            reward=lambda n: {"acc": bool(RIGHT[n]), "score": BOTH[n], "format": FORMAT[n]},
        ),
        compared(BOTH, PROMPT),
    ),
    "several rewards": (
        rows_of(
            query=lambda n: f"p{PROMPT[n]}",
            output=str,
            correct_reward=lambda n: RIGHT[n],
            format_reward=lambda n: FORMAT[n],
            reward_std=float,
        ),
        compared(BOTH, PROMPT),
    ),
    "several rewards and their sum": (
        rows_of(
            question=lambda n: f"p{PROMPT[n]}",
            answer=str,
            format_reward=lambda n: FORMAT[n],
            total_reward=lambda n: BOTH[n],
        ),
        compared(BOTH, PROMPT),
    ),
    "responses in lists beside each other": (
        [
            {"problem": f"p{number}", "generations": ["a", "b"], "correctness": [bool(RIGHT[number]), True]}
            for number in range(8)
        ],
        [compared([right, 1], [0, 0]) for right in RIGHT],
    ),
    "responses in a list of structs": (
        [
            {
                "question": f"p{number}",
                "samples": [
                    {"text": "a", "is_correct": bool(RIGHT[number])},
                    {"text": "b", "is_correct": False},
                ],
            }
            for number in range(8)
        ],
        [compared([right, 0], [0, 0]) for right in RIGHT],
    ),
    "rewards of the tokens of a response": (
        rows_of(
            prompt=lambda n: f"p{PROMPT[n]}",
            response_tokens=lambda n: ["a"] * (n % 3 + 1),
            rewards=lambda n: [0.0] * (n % 3) + [float(RIGHT[n])],
        ),
        [[one] * (number % 3 + 1) for number, one in enumerate(compared(RIGHT, PROMPT))],
    ),
    "prompts that come back": (
        rows_of(
            global_step=lambda n: n // 4,
            prompt=lambda n: f"p{n % 2}",
            completion=str,
            score=lambda n: FORMAT[n],
        ),
        compared(FORMAT, [(number // 4, number % 2) for number in range(8)]),
    ),
    "ids that come back": (
        rows_of(step=lambda n: n // 4, group_id=lambda n: n % 2, reward=lambda n: FORMAT[n]),
        compared(FORMAT, [(number // 4, number % 2) for number in range(8)]),
    ),
    "ids of which each step has one": (
        rows_of(step=lambda n: n // 2, group_id=lambda n: n % 2, reward=lambda n: FORMAT[n]),
        compared(FORMAT, [number % 2 for number in range(8)]),
    ),
    "prompts and scores alone": (
        rows_of(query=lambda n: f"p{PROMPT[n]}", score=lambda n: FORMAT[n]),
        compared(FORMAT, PROMPT),
    ),
    "instances": (
        rows_of(instance_id=lambda n: f"i{PROMPT[n]}", output=str, resolved_score=lambda n: RIGHT[n]),
        compared(RIGHT, PROMPT),
    ),
}


@pytest.mark.few(8)
@pytest.mark.parametrize("given", [[], ["--estimator", "grpo"]], ids=["nothing asked", "groups asked"])
@pytest.mark.parametrize("name", TABLES)
def test_the_command_of_the_hint_compares_responses_to_one_prompt(
    run_gae: Callable[..., Any], tmp_path: Path, name: str, given: list[str]
) -> None:
    rows, expected = TABLES[name]
    path = written(tmp_path / "mine.jsonl", rows)
    refused = run_gae("compute", path, *given)
    assert refused.returncode == 2
    (command,) = re.findall(r"`gae (compute [^`]*)`", refused.stderr)
    assert run_gae(*shlex.split(command)).returncode == 0
    found = [json.loads(line)["advantage"] for line in path.read_text().splitlines()]
    assert items_of(found) == pytest.approx(items_of(expected), abs=1e-6)
    assert [isinstance(one, list) for one in found] == [isinstance(one, list) for one in expected]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"task_index": 1, "reward": 0.5, "state": 1.0}, "steps of a robot"),
        ({"prompt_length": 3, "response": "x", "reward": 0.5}, "what is said about a prompt"),
        ({"prompt": "p", "response": "x", "reward_mean": 0.5}, "what is said about rewards"),
        ({"prompt": "p", "chosen": "x", "rejected": "y", "score_chosen": 1.0}, "a pair of responses"),
        ({"problem_id": 1, "response": "x", "is_correct": "yes"}, "no number"),
        ({"language_instruction": "pick it up", "reward": 0.5, "state": 1.0}, "steps of a robot"),
    ],
)
def test_nothing_is_suggested_of_other_tables(tmp_path: Path, row: Row, why: str) -> None:
    path = written(tmp_path / "other.jsonl", [row, row])
    with pytest.raises(gaecli.GaeError) as caught:
        gaecli.compute(path)
    assert "response to a prompt" not in (caught.value.hint or ""), why


def test_the_reward_of_named_groups_is_suggested(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.jsonl", TABLES["right or wrong"][0])
    with pytest.raises(gaecli.UsageError) as caught:
        gaecli.compute(path, estimator="grpo", group_column="problem_id")
    assert caught.value.hint == "if it is `is_correct`: pass `--reward-column is_correct`"


def test_a_struct_of_rewards_is_refused_with_a_field_of_it(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.jsonl", TABLES["a struct of rewards"][0])
    with pytest.raises(gaecli.DataError, match="holds no numbers") as caught:
        gaecli.compute(path, estimator="grpo", group_column="prompt")
    assert caught.value.hint == "name a field of it: `--reward-column rewards.correct`"
