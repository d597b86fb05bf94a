"""Several sequences packed into one list: asked about, and cut where a column beside the rewards has it."""

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
#: Lengths of the sequences of each row.
ROWS = [[3, 2, 4], [5], [1, 6]]
RNG = np.random.default_rng(2)
REWARDS = [RNG.normal(size=sum(row)).round(3).tolist() for row in ROWS]
VALUES = [RNG.normal(size=sum(row)).round(3).tolist() for row in ROWS]


def spread(cell: Callable[[int, int], Any]) -> list[list[Any]]:
    """`cell` of the number of the sequence in its row and of the token in its sequence."""
    return [
        [cell(number, token) for number, length in enumerate(row) for token in range(length)] for row in ROWS
    ]


#: Column -> (its cells, the flags of the hint).
PACKED: dict[str, tuple[list[list[Any]], str]] = {
    "position_ids": (spread(lambda _, token: token), "--episode-column position_ids"),
    "token_pos": (spread(lambda _, token: token + 1), "--episode-column token_pos"),
    "cu_seqlens": (
        [[0, *np.cumsum(row).tolist()] for row in ROWS],
        "--episode-column cu_seqlens",
    ),
    "seq_lens": (ROWS, "--episode-column seq_lens"),
    "segment_ids": (
        spread(lambda number, _: number + 1),
        "--episode-column segment_ids --layout nested",
    ),
    "doc_id": (spread(lambda number, _: f"d{number}"), "--episode-column doc_id --layout nested"),
}


def wanted(rows: list[list[int]]) -> list[list[float]]:
    found = []
    for rewards, values, lengths in zip(REWARDS, VALUES, rows, strict=True):
        row: list[float] = []
        for length in lengths:
            steps = range(len(row), len(row) + length)
            later = after = 0.0
            part = []
            for step in reversed(steps):
                later = rewards[step] + GAMMA * after - values[step] + GAMMA * LAM * later
                after = values[step]
                part.append(later)
            row += part[::-1]
        found.append(row)
    return found


def written(path: Path, **others: Any) -> Path:
    columns = {"rewards": REWARDS, "values": VALUES, **others}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def same(path: Path, rows: list[list[int]]) -> None:
    found = [json.loads(line)["advantage"] for line in path.read_text().splitlines()]
    for row, other in zip(found, wanted(rows), strict=True):
        np.testing.assert_allclose(row, other, rtol=1e-5, atol=1e-6)


@pytest.mark.few(3)
@pytest.mark.parametrize("name", PACKED)
def test_it_is_asked_about_and_the_flag_of_the_hint_cuts(
    run_gae: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    cells, flags = PACKED[name]
    path = written(tmp_path / "packed.jsonl", **{name: cells})
    refused = run_gae("compute", path)
    assert refused.returncode == 2
    assert re.findall(r"`(--episode-column [^`]*)`", refused.stderr)[0] == flags
    done = run_gae("compute", path, f"--gamma={GAMMA}", f"--lam={LAM}", *shlex.split(flags))
    assert done.returncode == 0
    same(path, ROWS)


@pytest.mark.parametrize("name", ["position_ids", "seq_lens", "segment_ids"])
def test_none_says_that_each_row_is_one(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "packed.jsonl", **{name: PACKED[name][0]})
    gaecli.compute(path, gamma=GAMMA, lam=LAM, episode_column="none")
    same(path, [[sum(row)] for row in ROWS])


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("position_ids", [list(range(sum(row))) for row in ROWS]),
        ("position_ids", [[0, 0, *range(sum(row) - 2)] for row in ROWS]),  # padding before the tokens
        ("position_ids", [[1, 1, *range(sum(row) - 2)] for row in ROWS]),
        ("turn_ids", spread(lambda number, _: number + 1)),
        ("turn_lengths", ROWS),
        ("segment_ids", spread(lambda number, token: 1 + (number + token) % 2)),  # one comes back
        ("segment_ids", [[2] * sum(row) for row in ROWS]),
    ],
)
def test_what_keeps_no_sequences_apart_is_left_alone(
    tmp_path: Path, name: str, cells: list[list[int]]
) -> None:
    path = written(tmp_path / "rows.jsonl", **{name: cells})
    gaecli.compute(path, gamma=GAMMA, lam=LAM)
    same(path, [[sum(row)] for row in ROWS])
