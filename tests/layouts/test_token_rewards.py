"""One reward for a row of tokens: the last token has it, and each of them the advantage of the row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline.running import small_blocks

import gaecli
from gaecli.errors import DataError, UsageError

#: Two responses to each of two prompts; one of them has a masked token in the middle, another at its end.
MASKS = [[1, 0], [1, 1], [1, 0, 1], [1]]
LOG_PROBS = [[-0.5, -0.25], [-0.125, -0.5], [-0.25, -0.5, -1.0], [-0.75]]
VALUES = [[0.5, 9.0], [0.125, 0.25], [1.0, 9.0, 0.5], [2.0]]
SCORES = [1.0, 0.0, 2.0, 3.0]
TABLE = {"prompt": ["a", "a", "b", "b"], "reward": SCORES}


def write(path: Path, **columns: Any) -> Path:
    table = pa.table({**TABLE, **columns})
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=3)
    elif path.suffix == ".arrow":
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=3)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    return path


def column(path: Path, name: str = "advantage") -> list[Any]:
    if path.suffix == ".parquet":
        return pq.read_table(path)[name].to_pylist()
    if path.suffix == ".arrow":
        return pa.ipc.open_file(path).read_all()[name].to_pylist()
    return [json.loads(line).get(name) for line in path.read_text().splitlines()]


def computed(path: Path, name: str = "advantage", **settings: Any) -> list[Any]:
    with small_blocks(2, dtype=np.float64):
        gaecli.compute(path, **settings)
    return column(path, name)


GROUPED = {"estimator": "dr-grpo", "group_column": "prompt"}
#: Of those tokens that the mask keeps.
SPREAD = [[0.5, None], [-0.5, -0.5], [-0.5, None, -0.5], [0.5]]


@pytest.mark.few(5)
@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".jsonl"])
@pytest.mark.parametrize(
    ("lists", "settings", "expected"),
    [
        ({"response_mask": MASKS}, {}, SPREAD),
        ({"response_mask": MASKS}, {"mask_fill": "zero"}, [[0.5, 0], [-0.5, -0.5], [-0.5, 0, -0.5], [0.5]]),
        ({"log_probs": LOG_PROBS}, {}, [[0.5] * 2, [-0.5] * 2, [-0.5] * 3, [0.5]]),
        ({"log_probs": LOG_PROBS, "values": VALUES, "loss_mask": MASKS}, {}, SPREAD),
        ({"ids": MASKS}, {"token_column": "ids"}, [[0.5] * 2, [-0.5] * 2, [-0.5] * 3, [0.5]]),
        ({"ids": MASKS}, {"layout": "nested"}, [[0.5] * 2, [-0.5] * 2, [-0.5] * 3, [0.5]]),
        ({"response_mask": MASKS, "values": VALUES}, {"layout": "responses"}, [0.5, -0.5, -0.5, 0.5]),
        # nothing says that these are tokens of the response
        ({"ids": MASKS}, {}, [0.5, -0.5, -0.5, 0.5]),
        ({"prompt_logprobs": LOG_PROBS}, {}, [0.5, -0.5, -0.5, 0.5]),
    ],
)
def test_each_token_has_the_advantage_of_its_response(
    tmp_path: Path, suffix: str, lists: dict[str, Any], settings: dict[str, Any], expected: list[Any]
) -> None:
    path = write(tmp_path / f"r{suffix}", **lists)
    assert computed(path, **GROUPED, **settings) == expected


def by_hand(rewards: list[float], values: list[float], decay: float) -> list[float]:
    found, later = [], 0.0
    for t in reversed(range(len(rewards))):
        following = values[t + 1] if t + 1 < len(values) else 0.0
        later = rewards[t] + following - values[t] + decay * later
        found.insert(0, later)
    return found


def test_the_last_token_that_the_mask_keeps_has_the_reward(tmp_path: Path) -> None:
    path = write(tmp_path / "r.parquet", response_mask=MASKS, values=VALUES)
    found = computed(path, gamma=1.0, lam=0.5)
    for row, (mask, values, score) in enumerate(zip(MASKS, VALUES, SCORES, strict=True)):
        kept = [value for value, keeps in zip(values, mask, strict=True) if keeps]
        wanted = by_hand([0.0] * (len(kept) - 1) + [score], kept, 0.5)
        assert [number for number in found[row] if number is not None] == pytest.approx(wanted, rel=1e-12)
        assert [number is None for number in found[row]] == [not keeps for keeps in mask]
    assert not [
        note for note in gaecli.compute(path, gamma=1.0, lam=0.5, force=True).warnings if "mask" in note.code
    ]


def test_a_reward_of_the_row_is_that_of_its_last_token_written_out(tmp_path: Path) -> None:
    """The same numbers from the file in which every token has a reward, by estimators of every family."""
    spelt = [[1.0, 0.0], [0.0, 0.0], [0.0, 0.0, 2.0], [3.0]]
    for estimator in ("gae", "mc", "td-lambda", "rf++", "opo"):
        groups = {"group_column": "prompt"} if estimator == "opo" else {}
        name = "return" if estimator == "mc" else "advantage"
        of_rows = write(tmp_path / f"{estimator}.parquet", values=VALUES, response_mask=MASKS)
        of_tokens = write(
            tmp_path / f"{estimator}-spelt.parquet", reward=spelt, values=VALUES, response_mask=MASKS
        )
        settings = {"estimator": estimator, **groups}
        assert computed(of_rows, name, **settings) == computed(of_tokens, name, **settings), estimator


@pytest.mark.parametrize(
    ("unscored", "advantages", "parts"),
    [("zero", [0.0, 0.0, -0.5, 0.5], (0.0, 0.0)), ("counted", [0.5, -0.5, -0.5, 0.5], (0.5, -0.5))],
)
def test_a_row_without_a_reward_is_one_response_without(
    tmp_path: Path, unscored: str, advantages: list[float], parts: tuple[float, float]
) -> None:
    path = write(tmp_path / "r.parquet", reward=[1.0, None, 2.0, 3.0], log_probs=LOG_PROBS)
    with pytest.raises(DataError, match="`reward` is null at row 1"):
        computed(path, **GROUPED)
    found = computed(path, **GROUPED, unscored=unscored)
    assert found == [[number] * len(tokens) for number, tokens in zip(advantages, LOG_PROBS, strict=True)]
    summary = gaecli.compute(path, **GROUPED, unscored=unscored, force=True)
    code = "unscored" if unscored == "zero" else "scored-as-zero"
    assert [(note.code, note.count) for note in summary.warnings if "scored" in note.code] == [(code, 1)]


def test_reward_functions_are_spread_each_by_itself(tmp_path: Path) -> None:
    """What one of them did not say takes no part, as in a file with a row per response."""
    functions = {"right": [1.0, 0.0, None, 1.0], "form": [0.25, None, 0.5, 0.75]}
    settings = {**GROUPED, "estimator": "gdpo", "rewards": {"right": 1.0, "form": 0.5}}
    rows = computed(write(tmp_path / "rows.parquet", **functions), **settings)
    path = write(tmp_path / "tokens.parquet", **functions, log_probs=LOG_PROBS)
    for row, tokens in enumerate(computed(path, **settings)):
        assert tokens == pytest.approx([rows[row]] * len(LOG_PROBS[row]), rel=1e-12)


def test_a_response_without_tokens_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "r.parquet", log_probs=[[-0.5, -0.5], [], [-0.5], [-1.0]])
    with pytest.raises(DataError, match=r"`log_probs` is empty at row 1, where `reward` is 0\.0") as caught:
        computed(path, **GROUPED)
    assert "--layout responses" in str(caught.value.hint)
    assert computed(path, **GROUPED, layout="responses") == [0.5, -0.5, -0.5, 0.5]


def test_a_response_whose_tokens_are_all_masked_is_not_lost_to_its_group(tmp_path: Path) -> None:
    """As filters of truncated responses mask them, whose score counts all the same."""
    path = write(tmp_path / "r.parquet", response_mask=[[1, 1], [0, 0], [1, 0, 1], [1]])
    with pytest.raises(
        DataError, match=r"the mask keeps no token at row 1, where `reward` is 0\.0"
    ) as caught:
        computed(path, **GROUPED)
    assert "`--mask-mode keep`" in str(caught.value.hint)
    kept = computed(path, **GROUPED, mask_mode="keep")
    assert kept[0] == [0.5, 0.5]
    assert computed(path, **GROUPED, layout="responses", overwrite=True) == [0.5, -0.5, -0.5, 0.5]


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        ({"a": MASKS, "b": LOG_PROBS}, {"layout": "nested"}, "several lists may hold its tokens: a, b"),
        ({"a": MASKS}, {"token_column": "b"}, "`b` not found"),
        ({"a": MASKS}, {"token_column": "prompt"}, "`prompt` is no list of numbers"),
        ({"reward": LOG_PROBS, "a": MASKS}, {"token_column": "a"}, "`reward` has its own items"),
        ({}, {"layout": "nested"}, "no lists beside them"),
    ],
)
def test_what_leaves_the_tokens_open_is_asked_about(
    tmp_path: Path, columns: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        computed(write(tmp_path / "r.parquet", **columns), **GROUPED, **settings)


def test_a_column_of_responses_is_verified_by_response(tmp_path: Path) -> None:
    path = write(tmp_path / "r.parquet", response_mask=MASKS, advantage=[0.5, -0.5, -0.5, 0.5])
    found = gaecli.verify(path)
    assert (found.is_reproduced, found.best.num_rows, found.best.rule) == (True, 4, "s - mean")


def test_values_in_lists_beside_a_row_for_each_step_are_refused_as_before(tmp_path: Path) -> None:
    """Of several critics, perhaps: flags say that a row is a step."""
    path = write(
        tmp_path / "r.parquet", values=[[0.5, 0.25]] * 4, done=[False, True] * 2, log_probs=LOG_PROBS
    )
    with pytest.raises(DataError, match=r"`values` of .* holds lists"):
        computed(path)


@pytest.mark.parametrize("is_list", [False, True])
def test_a_score_beside_values_of_tokens_alone_is_refused_with_the_flag_that_spreads_it(
    tmp_path: Path, is_list: bool
) -> None:
    scores = [[score] for score in SCORES] if is_list else SCORES
    path = write(tmp_path / "scores.parquet", reward=scores, values=VALUES)
    with pytest.raises(DataError, match="holds lists, but `reward` one number") as caught:
        gaecli.compute(path)
    assert "--token-column values" in str(caught.value.hint)
    found = computed(path, token_column="values", gamma=1.0, lam=0.5)
    for row, values, score in zip(found, VALUES, SCORES, strict=True):
        rewards = [0.0] * (len(values) - 1) + [score]
        assert row == pytest.approx(by_hand(rewards, values, 0.5), abs=1e-6)


@pytest.mark.parametrize("axes", [(3,), (3, 1)])
def test_a_score_beside_arrays_of_values_is_refused_with_the_flag_that_spreads_it(
    tmp_path: Path, axes: tuple[int, ...]
) -> None:
    path = arrays(tmp_path, np.array(SCORES[:3]).reshape(axes))
    with pytest.raises(DataError, match=r"`values` of .* has 4 numbers for each of `rewards`") as caught:
        gaecli.compute(path)
    assert "--token-column values" in str(caught.value.hint)
    assert_spread(path, np.full(3, 4), token_column="values")


def test_arrays_of_tokens_have_the_reward_at_the_last_one_that_the_mask_keeps(tmp_path: Path) -> None:
    lengths = np.array([4, 2, 3])
    mask = (np.arange(4) < lengths[:, None]).astype(np.int64)
    path = arrays(tmp_path, np.array(SCORES[:3]), response_mask=mask)
    assert_spread(path, lengths)
    info = gaecli.inspect(path)
    assert info.layout == "batch-major"
    assert info.layout_reason == "`rewards` is one number per row, that of the last token of `response_mask`"


@pytest.mark.parametrize("mask", ["lengths", "labels!=-100"])
def test_a_named_mask_says_which_tokens_there_are(tmp_path: Path, mask: str) -> None:
    lengths = np.array([4, 2, 3])
    labels = np.where(np.arange(4) < lengths[:, None], 7, -100)
    path = arrays(tmp_path, np.array(SCORES[:3]), lengths=lengths, labels=labels)
    assert_spread(path, lengths, mask_column=mask, layout="batch-major")


def test_agents_with_one_reward_are_no_tokens(tmp_path: Path) -> None:
    """[T] beside [T, N]: flags of ends say that rows are steps."""
    path = arrays(tmp_path, np.array(SCORES[:3]), log_probs=np.zeros((3, 4)), dones=np.array([0, 0, 1]))
    with pytest.raises(DataError, match=r"has 4 numbers for each of `rewards`"):
        gaecli.compute(path)


def test_the_array_that_is_named_has_to_be_one_of_tokens(tmp_path: Path) -> None:
    path = arrays(tmp_path, np.array(SCORES[:3]), other=np.zeros(3))
    with pytest.raises(UsageError, match="no array with some numbers for each of `rewards`"):
        gaecli.compute(path, token_column="other")


ARRAY_VALUES = np.array([[0.5, 1.0, -0.5, 0.25], [0.0, 2.0, 7.0, 7.0], [1.5, -1.0, 0.75, 7.0]])


def arrays(folder: Path, rewards: Any, **others: Any) -> Path:
    np.savez(folder / "scores.npz", rewards=rewards, values=ARRAY_VALUES, **others)
    return folder / "scores.npz"


def assert_spread(path: Path, lengths: Any, **options: Any) -> None:
    """By hand, each row a trajectory of so many tokens; the others get nothing."""
    with small_blocks(2, dtype=np.float64):
        gaecli.compute(path, gamma=1.0, lam=0.5, **options)
    with np.load(path) as found:
        advantages = found["advantage"]
    assert advantages.shape == ARRAY_VALUES.shape
    for row, values, score, length in zip(advantages, ARRAY_VALUES, SCORES, lengths, strict=False):
        wanted = by_hand([0.0] * (length - 1) + [score], values[:length].tolist(), 0.5)
        assert row[:length] == pytest.approx(wanted, abs=1e-6)
        assert np.isnan(row[length:]).all()


def test_every_command_reads_such_rows_alike(tmp_path: Path, run_gae: Any) -> None:
    path = write(tmp_path / "r.parquet", response_mask=MASKS, values=VALUES)
    computed(path, "adv", **GROUPED, advantage_column="adv")
    assert gaecli.inspect(path, **GROUPED).layout == "nested"
    one = gaecli.explain(path, row=2, step=2, **GROUPED)
    assert (one.computed, one.derived) == (-0.5, -0.5)
    verified = gaecli.verify(path, "adv", group_column="prompt", estimator="dr-grpo")
    assert verified.is_reproduced
    assert gaecli.read(path, **GROUPED).offsets.tolist() == [0, 1, 3, 5, 6]
    (line,) = [line for line in run_gae("inspect", path).stdout.splitlines() if "nested layout" in line]
    assert "`reward` is one number per row, that of the last token of `response_mask`" in line
    checked = run_gae("check", path, "--estimator", "dr-grpo", "--group-column", "prompt", "--json")
    assert [found["code"] for found in json.loads(checked.stdout)["findings"]] == []
