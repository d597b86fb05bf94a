"""Groups told by texts, messages of a chat, tokens and structs; and batches of responses in lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli

SCORES = [1.0, 0.25, 0.5, 0.0, 2.0, 0.75]


def chat(text: str, **more: Any) -> list[dict[str, Any]]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text, **more}]


#: Three prompts, each twice, in other places.
PROMPTS: dict[str, list[Any]] = {
    "texts": ["2+2?", "π?", "2+2?", "", "π?", ""],
    "messages of a chat": [chat(text) for text in ("a", "b", "a", "c" * 900, "b", "c" * 900)],
    "long ones with the same beginning": [chat("x" * 900 + end) for end in "abacbc"],
    "no messages": [[], chat("b"), [], chat("c"), chat("b"), chat("c")],
    "tokens": [[1, 2], [12], [1, 2], [], [12], []],
    "a struct": [{"id": number, "set": "train"} for number in (3, 1, 3, 2, 1, 2)],
    "lists of texts": [["a", "b"], ["ab"], ["a", "b"], ["a"], ["ab"], ["a"]],
}
WRITERS: dict[str, Callable[[Path, dict[str, list[Any]]], Path]] = {
    "parquet": lambda path, table: _written(pq.write_table, path, table, row_group_size=4),
    "arrow": lambda path, table: _arrow(path, table),
    "jsonl": lambda path, table: _lines(path, table),
}


def _written(write: Any, path: Path, table: dict[str, list[Any]], **how: Any) -> Path:
    write(pa.table(table), path, **how)
    return path


def _arrow(path: Path, table: dict[str, list[Any]]) -> Path:
    with pa.ipc.new_file(path, pa.table(table).schema) as writer:
        writer.write_table(pa.table(table), max_chunksize=4)
    return path


def _lines(path: Path, table: dict[str, list[Any]]) -> Path:
    rows = (dict(zip(table, cells, strict=True)) for cells in zip(*table.values(), strict=True))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def advantages(path: Path) -> list[Any]:
    if path.suffix == ".jsonl":
        return [json.loads(line)["advantage"] for line in path.read_text().splitlines()]
    table = pq.read_table(path) if path.suffix == ".parquet" else pa.ipc.open_file(path).read_all()
    return table["advantage"].to_pylist()


def centred(prompts: Sequence[Any], scores: Sequence[float]) -> list[float]:
    """s less the mean of equal prompts, by Python's own comparison."""
    found = []
    for prompt, score in zip(prompts, scores, strict=True):
        group = [other for known, other in zip(prompts, scores, strict=True) if known == prompt]
        found.append(score - sum(group) / len(group))
    return found


@pytest.mark.few(5)
@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        *((kind, "parquet") for kind in PROMPTS),
        *((kind, suffix) for kind in ("messages of a chat", "tokens") for suffix in ("arrow", "jsonl")),
    ],
)
def test_responses_to_equal_prompts_are_a_group(tmp_path: Path, kind: str, suffix: str) -> None:
    prompts = PROMPTS[kind]
    path = WRITERS[suffix](tmp_path / f"r.{suffix}", {"prompt": prompts, "reward": SCORES})
    gaecli.compute(path, estimator="dr-grpo", group_column="prompt")
    np.testing.assert_allclose(advantages(path), centred(prompts, SCORES), atol=1e-7)


def test_a_field_that_one_file_lacks_and_another_has_as_null_makes_no_other_prompt(tmp_path: Path) -> None:
    one = WRITERS["jsonl"](tmp_path / "1.jsonl", {"prompt": [chat("a"), chat("a")], "reward": [1.0, 0.0]})
    two = WRITERS["parquet"](
        tmp_path / "2.parquet",
        {"prompt": [chat("a", name=None), chat("b", name="Ann")], "reward": [5.0, 9.0]},
    )
    gaecli.compute([one, two], estimator="dr-grpo", group_column="prompt", join=False)
    assert advantages(one) == [-1.0, -2.0]
    assert advantages(two) == [3.0, 0.0]


#: Cells of many types, each in one row and once more in another.
TYPES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "lists of lists of structs": (
        pa.list_(pa.list_(pa.struct({"a": pa.int8()}))),
        [[[{"a": 1}], []], [[], [{"a": 1}]], [[{"a": 1}, {"a": None}]], [[{"a": 1}]], [None], [[None]]],
    ),
    "structs of lists": (
        pa.struct({"a": pa.large_list(pa.string()), "b": pa.float64()}),
        [
            {"a": ["x", "y"], "b": 0.5},
            {"a": ["xy"], "b": 0.5},
            {"a": [], "b": 0.5},
            {"a": ["x", "y"], "b": 1.5},
            {"a": None, "b": None},
        ],
    ),
    "dictionaries, bytes and moments": (
        pa.struct({"a": pa.dictionary(pa.int8(), pa.string()), "b": pa.binary(), "c": pa.timestamp("us")}),
        [{"a": "u", "b": b"1", "c": 0}, {"a": "u", "b": b"2", "c": 0}, {"a": "v", "b": b"1", "c": 1}],
    ),
    "maps": (pa.map_(pa.string(), pa.int64()), [[("k", 1)], [("k", 2)], [("k", 1), ("l", 2)], []]),
    "fixed lists of structs": (
        pa.list_(pa.struct({"a": pa.bool_()}), 2),
        [[{"a": True}, None], [{"a": True}] * 2],
    ),
    "tokens with nulls": (pa.list_(pa.int64()), [[-1], [None], [0, -1], [0, None], [], [None, None]]),
}


@pytest.mark.parametrize("kind", TYPES)
def test_cells_of_any_type_are_told_apart(tmp_path: Path, kind: str) -> None:
    data_type, cells = TYPES[kind]
    prompts = pa.array(cells * 2, data_type)
    scores = [float(number**2) for number in range(len(prompts))]
    path = tmp_path / "r.arrow"
    _arrow(path, {"prompt": prompts.slice(1), "reward": scores[1:]})  # a slice of what is behind it
    gaecli.compute(path, estimator="dr-grpo", group_column="prompt")
    found = centred([*range(len(cells))] * 2, scores)
    found[0] = 0.0
    found[len(cells)] = 0.0  # its like is not there
    np.testing.assert_allclose(advantages(path), found[1:], atol=1e-6)


def test_a_field_of_a_struct_tells_groups_apart(tmp_path: Path) -> None:
    rows = {
        "info": [{"id": 1, "seed": 1}, {"id": 1, "seed": 2}, {"id": 2, "seed": 1}],
        "reward": [1.0, 0.0, 4.0],
    }
    path = WRITERS["jsonl"](tmp_path / "r.jsonl", rows)
    gaecli.compute(path, estimator="dr-grpo", group_column="info.id")
    assert advantages(path) == [0.5, -0.5, 0.0]


def test_steps_of_a_long_table_are_normalised_over_equal_messages(tmp_path: Path) -> None:
    prompts = [chat("a"), chat("b"), chat("a"), chat("b")]
    rows = {"prompt": prompts, "reward": [1.0, 0.0, 3.0, 8.0], "value": [0.0] * 4, "done": [True] * 4}
    path = WRITERS["parquet"](tmp_path / "r.parquet", rows)
    gaecli.compute(path, normalize_by="prompt", norm_ddof=0, norm_eps=0.0)
    assert advantages(path) == [-1.0, -1.0, 1.0, 1.0]


#: As ms-swift 4.6 logs them, swift/rlhf_trainers/grpo_trainer.py, GRPOTrainer.log: a line per batch.
BATCHES = [
    {"step": ["1"] * 4, "prompt": ["a", "a", "b", "b"], "MathAccuracy": [1.0, 0.0, 0.5, 0.0]},
    {"step": ["2"] * 2, "prompt": ["c", "c"], "MathAccuracy": [3.0, 1.0]},
    {"step": [], "prompt": [], "MathAccuracy": []},
]


@pytest.mark.parametrize("suffix", WRITERS)
def test_items_of_lists_are_responses_where_groups_are_told_item_by_item(tmp_path: Path, suffix: str) -> None:
    table = {name: [batch[name] for batch in BATCHES] for name in BATCHES[0]}
    path = WRITERS[suffix](tmp_path / f"completions.{suffix}", table)
    settings: dict[str, Any] = {"estimator": "dr-grpo", "columns": {"reward": "MathAccuracy"}}
    summary = gaecli.compute(path, group_column="prompt", **settings)
    assert summary.files[0].layout == "responses"
    assert advantages(path) == [[0.5, -0.5, 0.25, -0.25], [1.0, -1.0], []]


def test_the_group_of_a_row_is_that_of_each_of_its_responses(tmp_path: Path) -> None:
    """As SkyRL and prime-rl nest the samples of an episode."""
    rows = [
        {"group": {"id": "g1"}, "traces": [{"score": 1.0}, {"score": 0.0}]},
        {"group": {"id": "g1"}, "traces": [{"score": 0.5}]},
    ]
    path = tmp_path / "traces.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    gaecli.compute(
        path,
        estimator="dr-grpo",
        group_column="group.id",
        columns={"reward": "traces.score"},
        layout="responses",
    )
    assert advantages(path) == [[0.5, -0.5], [0.0]]


def test_a_trajectory_of_two_groups_is_refused(tmp_path: Path) -> None:
    path = WRITERS["jsonl"](tmp_path / "r.jsonl", {"prompt": [["a", "b"]], "reward": [[1.0, 0.0]]})
    with pytest.raises(gaecli.DataError, match="'a' to 'b' within one trajectory") as caught:
        gaecli.compute(path, estimator="grpo", group_column="prompt", layout="nested")
    assert "--layout responses" in str(caught.value.hint)


def test_batches_whose_lists_differ_in_length_are_refused(tmp_path: Path) -> None:
    path = WRITERS["jsonl"](
        tmp_path / "r.jsonl", {"prompt": [["a"], ["a", "b"]], "reward": [[1.0], [1.0, 0.0, 3.0]]}
    )
    with pytest.raises(gaecli.DataError, match=r"`prompt` has 2 items at row 1 .* `reward` has 3"):
        gaecli.compute(path, estimator="grpo", group_column="prompt")


def test_moments_that_python_cannot_hold_are_told(tmp_path: Path) -> None:
    stamps = pa.array([{"at": 1}, {"at": 1 << 62}], pa.struct({"at": pa.timestamp("s")}))
    path = _arrow(tmp_path / "r.arrow", {"prompt": stamps, "reward": [1.0, 0.0]})
    with pytest.raises(gaecli.DataError, match=r"cells of `prompt` .* cannot be compared"):
        gaecli.compute(path, estimator="grpo", group_column="prompt")
