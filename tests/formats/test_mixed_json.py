"""JSON lines in which a field has several types: what is not asked for does not keep the rest from being read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import gaecli
from gaecli.commands.inspect import inspect
from gaecli.formats.jsonl import bounds

PARTS = [{"type": "text", "text": "q"}]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def advantages(path: Path) -> list[float]:
    return [json.loads(line)["advantage"] for line in path.read_text().splitlines()]


@pytest.fixture(params=[1 << 20, 40], ids=["one piece", "a piece per line"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "_PIECE_BYTES", request.param)


@pytest.mark.few(5)
@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize(
    "cells",
    [
        ["3", ["3", "4"], None, 5],
        [{"a": 1}, "text", [1], {"a": "x"}],
        [[1, 2], [["1"]], ["x"], []],
        [1.5, "x", True, None],
    ],
)
def test_a_field_that_nobody_asks_for_may_hold_anything(tmp_path: Path, cells: list[Any]) -> None:
    rows = [{"prompt": "p", "gts": cell, "reward": float(index)} for index, cell in enumerate(cells)]
    path = write(tmp_path / "r.jsonl", rows)
    gaecli.compute(path, estimator="dr-grpo", group_column="prompt")
    assert advantages(path) == [-1.5, -0.5, 0.5, 1.5]
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert [{name: row[name] for name in rows[0]} for row in kept] == rows


@pytest.mark.usefixtures("pieces")
def test_messages_that_hold_texts_or_parts_tell_prompts_apart(tmp_path: Path) -> None:
    contents: list[Any] = ["q", PARTS, "q", PARTS, "other"]
    rows = [
        {"prompt": [{"role": "user", "content": content}], "reward": reward}
        for content, reward in zip(contents, [1.0, 0.0, 0.0, 4.0, 7.0], strict=True)
    ]
    path = write(tmp_path / "r.jsonl", rows)
    gaecli.compute(path, estimator="dr-grpo", group_column="prompt")
    assert advantages(path) == [0.5, -2.0, -0.5, 2.0, 0.0]


@pytest.mark.usefixtures("pieces")
def test_what_stands_beside_it_deep_in_the_line_is_read(tmp_path: Path) -> None:
    """Rewards of a trace whose messages are of two kinds; names with slashes and dots of their own."""
    rows = [
        {
            "group": {"id": "g"},
            "traces": [
                {
                    "nodes": [{"a/b": {"content.x": content}}, {"a/b": {}}],
                    "rewards": {"r/1": {"score": float(index)}},
                }
            ],
        }
        for index, content in enumerate(["q", PARTS, None, {"k": 1}])
    ]
    path = write(tmp_path / "r.jsonl", rows)
    gaecli.compute(
        path, estimator="dr-grpo", group_column="group.id", reward_column="traces.rewards.r/1.score"
    )
    assert advantages(path) == [-1.5, -0.5, 0.5, 1.5]


@pytest.mark.parametrize("cells", [[1.0, "x"], [True, 1], [0.5, [0.5]]])
@pytest.mark.parametrize("name", ["reward", "done", "mask", "step"])
def test_what_has_the_name_of_a_role_is_refused_as_before(
    tmp_path: Path, name: str, cells: list[Any]
) -> None:
    rows = [{"reward": 1.0, "value": 0.5, "done": True, name: cell} for cell in cells]
    with pytest.raises(gaecli.FileError, match=f"Column\\(/{name}\\) changed from"):
        gaecli.compute(write(tmp_path / "r.jsonl", rows))


def test_numbers_beside_flags_are_no_texts(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"reward": 1.0, "over": True}, {"reward": 1.0, "over": 0}]
    with pytest.raises(gaecli.FileError, match="changed from boolean to number"):
        gaecli.compute(write(tmp_path / "r.jsonl", rows))


def test_inspect_says_that_a_field_has_several_types(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", [{"score": 1.0, "v": 1.0}, {"score": "good", "v": 1.0}])
    assert inspect([path]).infos[0].columns == {"score": "of several types", "v": "double"}
    with pytest.raises(gaecli.DataError, match="its type is of several types"):
        gaecli.compute(path, reward_column="score", value_column="v")


def test_a_file_in_which_everything_changes_is_refused(tmp_path: Path) -> None:
    rows = [{f"f{number}": cell for number in range(40)} for cell in (1.0, "x")]
    with pytest.raises(gaecli.FileError, match="cannot be read as JSON lines"):
        gaecli.compute(write(tmp_path / "r.jsonl", rows))


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize(
    "cells",
    [
        [[], [None, None], [None, None], []],
        [{"a": [None]}, {"a": [None, None]}, {"a": [None, None]}, {"a": [None]}],
        [[None, 1], [None, None, 2], [None, None, 2], [None, 1]],
    ],
    ids=str,
)
def test_lists_of_nulls_alone_have_their_lengths(tmp_path: Path, cells: list[Any]) -> None:
    """pyarrow 26 counts nulls once per list until it knows the type of what stands beside them."""
    rows = [{"prompt": cell, "reward": float(index)} for index, cell in enumerate(cells)]
    path = write(tmp_path / "r.jsonl", rows)
    gaecli.compute(path, estimator="dr-grpo", group_column="prompt")
    assert advantages(path) == [-1.5, -0.5, 0.5, 1.5]


@pytest.mark.usefixtures("pieces")
def test_a_batch_in_which_one_function_scored_nothing(tmp_path: Path) -> None:
    rows = [
        {"prompt": ["p", "p"], "rule": [1.0, 0.0], "judge": [None, None]},
        {"prompt": ["q", "q"], "rule": [2.0, 0.0], "judge": [None, None]},
    ]
    path = write(tmp_path / "r.jsonl", rows)
    gaecli.compute(path, estimator="dr-grpo", group_column="prompt", rewards={"rule": 1.0, "judge": 1.0})
    assert advantages(path) == [[0.5, -0.5], [1.0, -1.0]]
