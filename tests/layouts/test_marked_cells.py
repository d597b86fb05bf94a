"""Tokens that do not count and that no mask tells of: a column beside them marks them, and is asked about."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gaecli

GAMMA, LAM = 0.9, 0.8
#: Of each row: tokens of the prompt, of the response, and padding.
PARTS = [(2, 3, 1), (1, 2, 3), (1, 5, 0), (2, 2, 2)]
KEPT = np.array([[0] * prompt + [1] * response + [0] * padding for prompt, response, padding in PARTS])
FILLED = np.array([[1] * (prompt + response) + [0] * padding for prompt, response, padding in PARTS])
RNG = np.random.default_rng(11)
VALUES = RNG.normal(size=KEPT.shape).round(3)
IDS = np.arange(100, 124).reshape(KEPT.shape)
LOGPS = -RNG.uniform(0.1, 2, size=KEPT.shape).round(3)
ENDS = [prompt + response - 1 for prompt, response, _ in PARTS]
REWARDS = np.zeros(KEPT.shape)
REWARDS[np.arange(len(ENDS)), ENDS] = [1.0, -0.5, 0.25, 2.0]


def of_kept(kept: np.ndarray) -> np.ndarray:
    """The recursion over the tokens that are kept; NaN elsewhere."""
    found = np.full(kept.shape, np.nan)
    for row in range(len(kept)):
        later = after = 0.0
        for token in reversed(np.flatnonzero(kept[row])):
            later = REWARDS[row, token] + GAMMA * after - VALUES[row, token] + GAMMA * LAM * later
            found[row, token], after = later, VALUES[row, token]
    return found


def where(kept: np.ndarray, cells: np.ndarray, other: Any) -> list[list[Any]]:
    rows = zip(kept.tolist(), cells.tolist(), strict=True)
    return [[cell if is_kept else other for is_kept, cell in zip(*row, strict=True)] for row in rows]


#: Name of a column -> (its cells, what it keeps).
MARKS: dict[str, tuple[list[list[Any]], np.ndarray]] = {
    "labels": (where(KEPT, IDS, -100), KEPT),
    "anything": (where(KEPT, IDS, -100), KEPT),
    "target_ids": (where(KEPT, IDS, -1), KEPT),
    "label_ids": (where(KEPT, IDS, None), KEPT),
    "logprobs": (where(KEPT, LOGPS, None), KEPT),
    "old_logprobs": (where(KEPT, LOGPS, 1.0), KEPT),
    "actor.logps": (where(FILLED, LOGPS, 0.0), FILLED),
    "input_ids": (where(FILLED, IDS, 0), FILLED),
    "advantages": (where(FILLED, LOGPS, 0.0), FILLED),
    "kl": (where(FILLED, LOGPS, 0.0), FILLED),
    "versions": (where(KEPT, np.full(KEPT.shape, 3), -1), KEPT),
    "speakers": (where(KEPT, np.full(KEPT.shape, "assistant"), "tool"), KEPT),
    "is_prompt": ((1 - KEPT).tolist(), KEPT),
    "prompt_mask": ((KEPT == 0).tolist(), KEPT),
    "padding_mask": ((1 - FILLED).tolist(), FILLED),
    "action_tokens_mask": (KEPT.tolist(), KEPT),
    "completion_masks": (KEPT.astype(float).tolist(), KEPT),
    "loss_weights": (KEPT.tolist(), KEPT),
}
#: Whose cells arrays of numbers cannot hold.
OF_LISTS = ("label_ids", "logprobs", "speakers")
CASES = [
    (name, suffix)
    for name in MARKS
    for suffix in (".jsonl", ".npz")
    if suffix != ".npz" or name not in OF_LISTS
]


def written(path: Path, **others: Any) -> Path:
    columns = {"rewards": REWARDS.tolist(), "values": VALUES.tolist(), **others}
    if path.suffix == ".npz":
        np.savez(path, **{name: np.array(cells) for name, cells in columns.items()})
        return path
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def advantages(path: Path) -> np.ndarray:
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return arrays["advantage"]
    rows = [json.loads(line)["advantage"] for line in path.read_text().splitlines()]
    return np.array([[np.nan if cell is None else cell for cell in row] for row in rows])


def words(suffix: str) -> list[str]:
    layout = ["--layout", "batch-major"] if suffix == ".npz" else []
    return [f"--gamma={GAMMA}", f"--lam={LAM}", "--mask-fill", "null", *layout]


@pytest.mark.few(12)
@pytest.mark.parametrize(("name", "suffix"), CASES)
def test_it_is_asked_about_and_the_flag_of_the_hint_keeps_the_others(
    run_gae: Callable[..., Any], tmp_path: Path, name: str, suffix: str
) -> None:
    cells, kept = MARKS[name]
    path = written(tmp_path / f"tokens{suffix}", **{name: cells})
    before = path.read_bytes()
    refused = run_gae("compute", path, *words(suffix))
    assert refused.returncode == 2, refused.stdout
    assert path.read_bytes() == before
    flags = [flag for flag in re.findall(r"`(--mask-column [^`]*)`", refused.stderr) if flag[-4:] != "none"]
    assert run_gae("compute", path, *words(suffix), *shlex.split(flags[0])).returncode == 0
    np.testing.assert_allclose(advantages(path), of_kept(kept), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["labels", "prompt_mask", "logprobs", "input_ids"])
def test_none_says_that_all_are_steps(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "tokens.jsonl", **{name: MARKS[name][0]})
    summary = gaecli.compute(path, gamma=GAMMA, lam=LAM, mask_column="none")
    assert summary.totals.steps == KEPT.size
    np.testing.assert_allclose(advantages(path), of_kept(np.ones_like(KEPT)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("input_ids", IDS),
        ("input_ids", np.where(np.arange(6) == 5, 2, IDS)),  # all end with the same token
        ("actions", np.where(FILLED, IDS % 4, 0)),  # few, as actions are
        ("role_ids", KEPT * 2 + 1),
        ("torque", np.where(KEPT, IDS - 110, -100)),  # others are negative, too
        ("old_logprobs", np.where(KEPT, LOGPS, -LOGPS)),  # densities
        ("old_logprobs", np.where(IDS % 5 == 0, 0.0, LOGPS)),  # tokens that are certain
        (
            "advantages",
            np.where(np.arange(4)[:, None] == 1, 0.0, LOGPS),
        ),  # a group whose scores are all equal
        ("speed", np.where(FILLED, LOGPS, 0.0)),
        ("returns", np.where(FILLED, LOGPS, 0.0)),
        ("turn_ids", np.cumsum(KEPT, axis=1) // 2 + 1),
        ("temperature", np.where(FILLED, LOGPS, np.nan)),
        ("labels", np.full(KEPT.shape, -100)),
    ],
)
def test_what_marks_nothing_is_left_alone(tmp_path: Path, name: str, cells: np.ndarray) -> None:
    path = written(tmp_path / "tokens.npz", **{name: cells})
    summary = gaecli.compute(path, gamma=GAMMA, lam=LAM, layout="batch-major")
    assert summary.totals.steps == KEPT.size


def test_a_mask_that_is_known_is_enough(tmp_path: Path) -> None:
    path = written(tmp_path / "tokens.jsonl", labels=MARKS["labels"][0], response_mask=KEPT.tolist())
    assert gaecli.compute(path).totals.steps == KEPT.sum()


def test_padding_may_stand_before_the_tokens(tmp_path: Path) -> None:
    ids = np.where(FILLED[:, ::-1], IDS, 7).tolist()
    path = written(tmp_path / "tokens.jsonl", rewards=np.eye(6)[[5] * 4].tolist(), responses=ids)
    with pytest.raises(gaecli.UsageError) as caught:
        gaecli.compute(path)
    assert "responses!=7" in str(caught.value.hint)


def test_a_prompt_has_no_log_probabilities(tmp_path: Path) -> None:
    """Rows as long as they are: 0 is what stands before the first token that was sampled."""
    columns = {
        "rewards": REWARDS,
        "values": VALUES,
        "logprobs": np.where(np.arange(6) > 3 - KEPT.argmax(1)[:, None], LOGPS, 0.0),
    }
    rows = [{name: cells[row, : 5 + row % 2].tolist() for name, cells in columns.items()} for row in range(4)]
    path = tmp_path / "tokens.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(gaecli.UsageError) as caught:
        gaecli.compute(path)
    assert "logprobs!=0" in str(caught.value.hint)


#: Two rows of eight tokens, with the answer of a tool in each.
TOOLS = np.array([[1, 1, 0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0, 1]])


def of_tools(path: Path, logprobs: np.ndarray) -> Path:
    random = np.random.default_rng(3)
    rows = [
        {
            "rewards": [0.0] * 7 + [1.5],
            "values": random.normal(size=8).tolist(),
            "logprobs": cells.tolist(),
        }
        for cells in logprobs
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_answers_of_tools_have_no_log_probabilities(tmp_path: Path) -> None:
    """In the middle of a row: by hand, the recursion over the tokens around them."""
    logprobs = np.where(TOOLS, -RNG.uniform(0.1, 2, size=TOOLS.shape), 0.0)
    path = of_tools(tmp_path / "tokens.jsonl", logprobs)
    with pytest.raises(gaecli.UsageError, match="is 0 at 7 of the first 16 steps") as caught:
        gaecli.compute(path)
    assert "--mask-column 'logprobs!=0'" in str(caught.value.hint)
    gaecli.compute(path, mask_column="logprobs!=0", gamma=GAMMA, lam=LAM)
    for line, kept in zip(path.read_text().splitlines(), TOOLS, strict=True):
        row, later, after = json.loads(line), 0.0, 0.0
        for token in reversed(range(8)):
            if kept[token]:
                later = row["rewards"][token] + GAMMA * after - row["values"][token] + GAMMA * LAM * later
                after = row["values"][token]
                assert row["advantage"][token] == pytest.approx(later, abs=1e-6)
            else:
                assert row["advantage"][token] is None


@pytest.mark.parametrize("alone", [(0, 6), (1, 0)])
def test_tokens_that_are_certain_are_no_answers_of_tools(tmp_path: Path, alone: tuple[int, int]) -> None:
    """One that stands alone has a probability that rounds to 1, and so may the others have."""
    logprobs = np.where(TOOLS, -RNG.uniform(0.1, 2, size=TOOLS.shape), 0.0)
    logprobs[alone] = 0.0
    assert gaecli.compute(of_tools(tmp_path / "tokens.jsonl", logprobs), dry_run=True).totals.steps == 16


def test_padding_that_has_a_reward_is_not_named_as_such(tmp_path: Path) -> None:
    """The token that ends a response fills up the rest: its first one counts."""
    ids = np.where(np.cumsum(REWARDS != 0, axis=1) > 0, 2, IDS)
    path = written(tmp_path / "tokens.jsonl", input_ids=ids.tolist())
    with pytest.raises(gaecli.UsageError) as caught:
        gaecli.compute(path)
    assert "ends a response as well" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["values", "rewards"])
@pytest.mark.parametrize("suffix", [".jsonl", ".npz"])
def test_numbers_that_are_missing_behind_the_end_may_be_masked(
    run_gae: Callable[..., Any], tmp_path: Path, name: str, suffix: str
) -> None:
    missing = None if suffix == ".jsonl" else np.nan
    columns = {"values": VALUES, "rewards": REWARDS}
    path = written(tmp_path / f"tokens{suffix}", **{name: where(FILLED, columns[name], missing)})
    refused = run_gae("compute", path, *words(suffix))
    (flag,) = re.findall(r"`(--mask-column [^`]*)`", refused.stderr)
    assert run_gae("compute", path, *words(suffix), *shlex.split(flag)).returncode == 0
    np.testing.assert_allclose(advantages(path), of_kept(FILLED), rtol=1e-5, atol=1e-6)


def test_inspect_tells_what_compute_would_ask(tmp_path: Path) -> None:
    path = written(tmp_path / "tokens.jsonl", labels=MARKS["labels"][0])
    info = gaecli.inspect(path)
    assert info.problem is not None
    assert "`labels`" in info.problem
    assert info.hint is not None
    assert "labels!=-100" in info.hint


def test_labels_of_a_row_per_token_are_asked_about(run_gae: Callable[..., Any], tmp_path: Path) -> None:
    columns = {"rewards": REWARDS, "values": VALUES, "labels": np.where(KEPT, IDS, -100)}
    rows = [
        {"episode_id": row, **{name: cells[row, token].item() for name, cells in columns.items()}}
        for row in range(len(KEPT))
        for token in range(KEPT.shape[1])
    ]
    path = tmp_path / "tokens.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    refused = run_gae("compute", path, *words(".jsonl"))
    assert refused.returncode == 2
    flags = re.findall(r"`(--mask-column [^`]*)`", refused.stderr)[0]
    assert run_gae("compute", path, *words(".jsonl"), *shlex.split(flags)).returncode == 0
    found = [json.loads(line)["advantage"] for line in path.read_text().splitlines()]
    kept = np.flatnonzero(KEPT.ravel())
    np.testing.assert_allclose(
        np.array(found, float)[kept], of_kept(KEPT).ravel()[kept], rtol=1e-5, atol=1e-6
    )
