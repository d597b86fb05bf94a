"""Next values say which row came next: told where that is not the row below."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline.running import small_blocks

import gaecli

Columns = dict[str, np.ndarray]


def recorded(steps: int = 300, length: int = 20) -> Columns:
    """Episodes of one length and a critic of whom no two states are alike."""
    rng = np.random.default_rng(4)
    states = rng.normal(size=(steps // length, length + 1)).cumsum(axis=1)
    done = np.arange(1, steps + 1) % length == 0
    return {
        "reward": rng.normal(size=steps),
        "value": states[:, :-1].ravel(),
        "next_value": states[:, 1:].ravel(),
        "done": done,
    }


def told(folder: Path, columns: Columns, **settings: Any) -> list[str]:
    path = folder / "r.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=50)
    notes = gaecli.compute(path, dry_run=True, **settings).warnings
    return [note.message for note in notes if note.code == "unchained-values"]


def turned(columns: Columns, order: np.ndarray) -> Columns:
    return {name: cells[order] for name, cells in columns.items()}


def shuffled(columns: Columns, count: int | None = None) -> Columns:
    return turned(columns, np.random.default_rng(0).permutation(len(columns["reward"]))[:count])


def by_turns(columns: Columns) -> Columns:
    return turned(columns, np.arange(len(columns["reward"])).reshape(3, -1).T.ravel())


def wandering() -> np.ndarray:
    """Far from episode to episode, and little from step to step."""
    return np.random.default_rng(5).normal(size=301).cumsum() + np.arange(301) // 20 * 100.0


def one_number_at_first(given: Columns) -> Columns:
    is_first = np.arange(len(given["reward"])) < 128
    return {**given, "value": np.where(is_first, 0.5, given["value"]), "next_value": given["value"] * 0}


BACKWARDS = np.arange(300)[-2::-1]
OTHER_ROWS = {
    # In small blocks the other row is in another one.
    "shuffled": (shuffled, "V of rows elsewhere|go with V of their own row"),
    "drawn": (
        lambda given: shuffled(recorded(4000), 200),
        r"go with V of their own row \(rank correlation 0.9",
    ),
    "in reverse": (
        lambda given: turned(given, BACKWARDS),
        "V of the row before",
    ),
    "in reverse, and V moves little": (
        lambda given: turned({**given, "value": wandering()[:-1], "next_value": wandering()[1:]}, BACKWARDS),
        "V of the row before",
    ),
    "by turns": (by_turns, "V of the row 3 behind"),
    "own": (lambda given: {**given, "next_value": given["value"]}, "V of their own row"),
    "at ends alone": (
        lambda given: {**given, "next_value": given["next_value"] * given["done"]},
        "they are 0",
    ),
    "at ends alone, and V is one number at first": (one_number_at_first, "they are 0"),
}


@pytest.mark.turns
@pytest.mark.parametrize("blocks", [None, 64])
@pytest.mark.parametrize(("how", "said"), OTHER_ROWS.values(), ids=OTHER_ROWS)
def test_next_values_of_other_rows_are_told(tmp_path, how, said, blocks):
    with small_blocks(blocks):
        (message,) = told(tmp_path, how(recorded()), done_at="end")
    assert re.search(said, message)


def _noisy(given: Columns, factor: float, shift: float, noise: float) -> Columns:
    jitter = np.random.default_rng(1).normal(size=len(given["reward"]))
    return {**given, "next_value": factor * given["next_value"] + shift + noise * jitter}


def _alike(given: Columns) -> Columns:
    """Numbers of nobody, as of a file that is made to try things."""
    rng = np.random.default_rng(2)
    return {**given, **{name: rng.normal(size=len(given["reward"])) for name in ("value", "next_value")}}


HONEST = {
    "as recorded": lambda given: given,
    "target network": lambda given: _noisy(given, 0.8, 3.0, 1.0),
    "of little use": lambda given: _noisy(given, 1.0, 0.0, 4.0),
    "half precision": lambda given: {**given, "next_value": given["next_value"].astype(np.float16)},
    "far from 0": lambda given: {
        **given,
        "value": (500 + given["value"]).astype(np.float16),
        "next_value": (500 + given["next_value"]).astype(np.float16),
    },
    "no critic": lambda given: {**given, "value": given["value"] * 0, "next_value": given["value"] * 0 + 1},
    "whole numbers": lambda given: {
        **given,
        **{name: given[name].round() for name in ("value", "next_value")},
    },
    "random": _alike,
    "null inside": lambda given: {
        **given,
        "next_value": pa.array(given["next_value"], mask=~given["done"]),
    },
    "few": lambda given: turned(given, np.array([3, 1, 2, 0, 5, 8])),
}


@pytest.mark.parametrize("how", HONEST.values(), ids=HONEST)
def test_other_numbers_for_v_of_the_next_row_are_not(tmp_path, how):
    assert told(tmp_path, how(recorded())) == []


def without_ends(given: Columns, every: int) -> Columns:
    """Of the known ends the first of so many is left."""
    return {**given, "done": given["done"] & (np.cumsum(given["done"]) % every == 1)}


@pytest.mark.parametrize("blocks", [None, 64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_where_all_others_are_v_of_the_next_row_ends_are_hidden(tmp_path, blocks, dtype):
    given = without_ends(recorded(), 2)
    with small_blocks(blocks):
        (message,) = told(tmp_path, {**given, "next_value": given["next_value"].astype(dtype)})
    hidden, pairs = map(int, re.findall(r"\d+", message)[:2])
    # Of 15 ends eight are known, the last of them behind the last step; what borders of blocks hide is not looked at.
    assert hidden == 7 if blocks is None else 4 <= hidden <= 7
    assert 280 <= pairs <= 300
    assert "a trajectory may end there" in message
    assert told(tmp_path, _noisy(given, 1.0, 0.0, 0.01)) == []


@pytest.mark.parametrize("settings", [{"estimator": "td0"}, {"lam": 0.0}, {"gamma": 0.0}], ids=str)
def test_where_no_advantage_enters_another_the_order_is_nothing(tmp_path, settings):
    assert told(tmp_path, shuffled(recorded()), done_at="end", **settings) == []
