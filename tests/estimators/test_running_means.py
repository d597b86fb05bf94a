"""`rae`: each score less the running mean of its role, in the order that a column has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline.running import small_blocks

import gaecli
from gaecli.errors import DataError, UsageError

ROLES = ["white", "black", "white", "white", "black", "white"]
SCORES = [1.0, -1.0, 0.5, -1.0, 1.0, 2.0]
#: The rows in the order in which they came.
CAME = [3, 1, 2, 0, 5, 4]
GIVEN = {"estimator": "rae", "group_column": "role", "order_column": "came", "ema_decay": 0.5}
#: white: -1, 0.5, 1, 2 against 0, -0.5, 0, 0.5; black: -1, 1 against 0, -0.5.
EXPECTED = [1.0, -1.0, 1.0, -1.0, 1.5, 1.5]


def write(path: Path, rows: slice | list[int] = slice(None), **columns: Any) -> Path:
    table = pa.table({"role": ROLES, "reward": SCORES, "came": CAME, **columns})
    taken = np.arange(len(ROLES))[rows]
    pq.write_table(table.take(taken), path, row_group_size=2)
    return path


def run(paths: Path | list[Path], block_rows: int = 2, **settings: Any) -> list[float]:
    with small_blocks(block_rows, store_bytes=100, dtype=np.float64):
        gaecli.compute(paths, **{**GIVEN, **settings}, overwrite=True)
    paths = [paths] if isinstance(paths, Path) else paths
    return [number for path in paths for number in pq.read_table(path)["advantage"].to_pylist()]


@pytest.mark.parametrize("block_rows", [1, 2, 100])
def test_by_hand(tmp_path: Path, block_rows: int) -> None:
    assert run(write(tmp_path / "r.parquet"), block_rows) == EXPECTED


def test_neither_the_order_of_rows_nor_that_of_files_says_anything(tmp_path: Path) -> None:
    order = [5, 0, 4, 2, 1, 3]
    paths = [write(tmp_path / "b.parquet", order[:4]), write(tmp_path / "a.parquet", order[4:])]
    assert run(paths, join=False) == [EXPECTED[row] for row in order]
    assert run(paths[::-1], join=False) == [EXPECTED[row] for row in (*order[4:], *order[:4])]


def test_no_decay_compares_with_the_score_before(tmp_path: Path) -> None:
    assert run(write(tmp_path / "r.parquet"), ema_decay=0.0) == [0.5, -1.0, 1.5, -1.0, 2.0, 1.0]


def test_a_second_column_orders_what_is_equal_in_the_first(tmp_path: Path) -> None:
    parts = {"step": [number // 3 for number in CAME], "sample": [number % 3 for number in CAME]}
    path = write(tmp_path / "r.parquet", **parts)
    assert run(path, order_column=["step", "sample"]) == EXPECTED
    with pytest.raises(DataError, match=r"have one place in the order \(role 'white', step ") as caught:
        run(path, order_column="step")
    assert "`--order-column`, given once more" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("came", "message"),
    [
        ([3, 1, None, 0, 5, 4], "holds null or NaN"),
        ([3.0, 1.0, float("nan"), 0.0, 5.0, 4.0], "holds null or NaN"),
        ([str(number) for number in CAME], "which is no number"),
    ],
)
def test_what_orders_nothing_is_refused(tmp_path: Path, came: list[Any], message: str) -> None:
    path = write(tmp_path / "r.parquet", came=came)
    before = path.read_bytes()
    with pytest.raises(DataError, match=message):
        run(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"order_column": None}, "nothing says which response came before which"),
        ({"group_column": None}, "no group is named"),
        ({"order_column": "role"}, "is a column of the groups"),
        ({"order_column": ["came", "came"]}, "names a column twice"),
        ({"ema_decay": 1.0}, r"it must lie in \[0, 1\)"),
        ({"estimator": "grpo"}, "says nothing to"),
    ],
)
def test_what_it_needs_and_what_others_do_not_take(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run(write(tmp_path / "r.parquet"), **settings)


def test_the_summary_and_the_explanation_speak_of_roles(tmp_path: Path) -> None:
    path = write(tmp_path / "r.parquet")
    summary = gaecli.compute(path, **GIVEN, dry_run=True)
    assert summary.baseline is not None
    assert [(group.label, group.count) for group in summary.baseline.groups] == [("white", 4), ("black", 2)]
    assert not summary.warnings
    found = gaecli.explain(path, row=5, **GIVEN)
    assert (found.numbers["s"], found.numbers["b"]) == (2.0, 0.5)
    assert found.derived == found.computed == 1.5


@pytest.mark.few(1)
@pytest.mark.parametrize("block_rows", [1, 3, 100])
def test_a_place_that_changes_within_a_trajectory_is_refused(tmp_path: Path, block_rows: int) -> None:
    """Also over the border of two blocks."""
    path = write(tmp_path / "r.parquet", role=["w"] * 6, terminated=[False, False, True] * 2)
    with pytest.raises(DataError, match=r"`came`.* within one trajectory|`came` goes from"):
        run(path, block_rows)
    steady = write(
        tmp_path / "s.parquet", role=["w"] * 6, terminated=[False, False, True] * 2, came=[1] * 3 + [0] * 3
    )
    assert run(steady, block_rows) == [0.5 - 1.0] * 3 + [2.0] * 3
