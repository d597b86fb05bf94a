"""`--mask-column 'labels!=-100'`: steps are told by the value of a column, in every layout that takes a mask."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli

GAMMA, LAM = 0.9, 0.8
#: Three rows of prompt, response and padding: 0 where no token is a step.
KEPT = [[0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 1, 1, 0, 0]]
RNG = np.random.default_rng(3)
VALUES = RNG.normal(size=(3, 5)).round(3)
REWARDS = np.array([[0, 0, 0, 1.5, 0], [0, 0, 0, 0, -1], [0, 0, 0.5, 0, 0]])


def wanted() -> list[list[float | None]]:
    """The recursion over the kept tokens of each row; None elsewhere."""
    rows: list[list[float | None]] = []
    for kept, rewards, values in zip(KEPT, REWARDS, VALUES, strict=True):
        row: list[float | None] = [None] * len(kept)
        later = after = 0.0
        for token in reversed([place for place, is_kept in enumerate(kept) if is_kept]):
            later = rewards[token] + GAMMA * after - values[token] + GAMMA * LAM * later
            row[token], after = later, values[token]
        rows.append(row)
    return rows


def cells(kept: Any, other: Any) -> list[list[Any]]:
    return [[kept if is_kept else other for is_kept in row] for row in KEPT]


#: Test -> the cells of its column.
TESTS: dict[str, tuple[str, list[list[Any]]]] = {
    "labels!=-100": ("labels", cells(7, -100)),
    "labels!=-100.0": ("labels", cells(7, -100)),
    "part=1": ("part", cells(1, 2)),
    "part==1": ("part", cells(1, 0)),
    "is_prompt=0": ("is_prompt", cells(False, True)),
    "is_answer=1": ("is_answer", cells(True, False)),
    "logp!=1": ("logp", cells(-0.5, 1.0)),
    "logp!=nan": ("logp", cells(-0.5, math.nan)),
    "logp!=-inf": ("logp", cells(-0.5, -math.inf)),
}
#: What arrays cannot hold.
OF_LISTS: dict[str, tuple[str, list[list[Any]]]] = {
    "role=assistant": ("role", cells("assistant", "tool")),
    "role!=tool": ("role", cells("assistant", "tool")),
    "labels!=null": ("labels", cells(7, None)),
    "labels!=-100": ("labels", cells(7, None)),
    "labels=null": ("labels", cells(None, 7)),
    "role!=null": ("role", cells("x", None)),
}


def written(path: Path, **columns: Any) -> Path:
    columns = {"rewards": REWARDS, "values": VALUES, **columns}
    if path.suffix == ".npz":
        np.savez(path, **{name: np.array(cells) for name, cells in columns.items()})
        return path
    lists = {name: np.asarray(cells).tolist() for name, cells in columns.items()}
    if path.suffix == ".jsonl":
        rows = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.table(lists), path)
    return path


def advantages(path: Path) -> list[list[float | None]]:
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return [[None if cell != cell else cell for cell in row] for row in arrays["advantage"].tolist()]
    if path.suffix == ".jsonl":
        return [json.loads(line)["advantage"] for line in path.read_text().splitlines()]
    found: list[list[float | None]] = pq.read_table(path)["advantage"].to_pylist()
    return found


def same(found: Sequence[Sequence[float | None]]) -> None:
    for row, other in zip(found, wanted(), strict=True):
        assert row == [None if cell is None else pytest.approx(cell, abs=1e-6) for cell in other]


def masked(path: Path, test: str, **others: Any) -> gaecli.Summary:
    layout = "batch-major" if path.suffix == ".npz" else "auto"
    options: dict[str, Any] = {"gamma": GAMMA, "lam": LAM, "layout": layout, **others}
    return gaecli.compute(path, mask_column=test, mask_fill="null", **options)


@pytest.mark.few(8)
@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
@pytest.mark.parametrize("test", TESTS)
def test_cells_of_one_value_or_of_any_other_are_steps(tmp_path: Path, test: str, suffix: str) -> None:
    name, column = TESTS[test]
    path = written(tmp_path / f"tokens{suffix}", **{name: column})
    assert masked(path, test).totals.steps == np.sum(KEPT)
    same(advantages(path))


@pytest.mark.few(6)
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
@pytest.mark.parametrize("test", OF_LISTS)
def test_a_cell_that_is_missing_is_no_other_value(tmp_path: Path, test: str, suffix: str) -> None:
    name, column = OF_LISTS[test]
    path = written(tmp_path / f"tokens{suffix}", **{name: column})
    masked(path, test)
    same(advantages(path))


@pytest.mark.parametrize("test", ["labels!=-100", "role=assistant"])
def test_one_reward_of_a_row_is_that_of_the_last_token_of_the_value(tmp_path: Path, test: str) -> None:
    name, column = {**TESTS, **OF_LISTS}[test]
    path = written(tmp_path / "tokens.parquet", **{name: cells(7, -100) if name == "labels" else column})
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "rewards", pa.array(REWARDS.sum(axis=1))), path)
    masked(path, test)
    same(advantages(path))


def test_a_value_that_no_cell_has_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "tokens.parquet", labels=cells(7, -100))
    codes = [warning.code for warning in masked(path, "labels!=-1").warnings]
    assert "flag-never-set" in codes
    codes = [warning.code for warning in masked(path, "labels!=-100", force=True).warnings]
    assert "flag-never-set" not in codes


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("label!=-100", "`--mask-column 'labels!=-100'`"),
        ("labels>=0", "takes `COLUMN=VALUE` and `COLUMN!=VALUE`"),
        ("labels", "`--mask-column 'labels!=-100'`"),
    ],
)
def test_what_is_nearly_such_a_test_gets_it_as_a_hint(
    run_gae: Callable[..., Any], tmp_path: Path, given: str, hint: str
) -> None:
    path = written(tmp_path / "tokens.parquet", labels=cells(7, -100))
    refused = run_gae("compute", path, "--mask-column", given)
    assert refused.returncode in (2, 3)
    assert hint in refused.stderr
