"""Columns in structs by their dotted paths, where names of fields have dots themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.formats.base import Column
from gaecli.formats.registry import open_file


def parquet(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def arrow(path: Path, table: pa.Table) -> Path:
    path = path.with_suffix(".arrow")
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return path


def json_lines(path: Path, table: pa.Table) -> Path:
    path = path.with_suffix(".jsonl")
    path.write_text("".join(f"{json.dumps(row)}\n" for row in table.to_pylist()))
    return path


WRITERS = [parquet, arrow, json_lines]
#: Path -> (a row with 7 at it, and other numbers at what it could be taken for).
ROWS = {
    "s.re.ward": {"s": {"re.ward": 7, "re": {"war": 1}}},
    "s.t.u.v": {"s": {"t.u": {"v": 7}, "t": {"w": 1}}},
    "a.b.c": {"a.b": {"c": 7}, "a": {"x": 1}},
    "a.b": {"a.b": 7, "a": {"b": 1}},
    "s.a.b": {"s": {"a.b": 7, "z": 1}},
    "p.a.b.c": {"p": {"a.b": {"x": 1}, "a": {"b.c": 7}}},
}


def column_of(file: Any, name: str) -> Column:
    """Of a file of one block."""
    (unit,) = file.units(1000, name)
    ((_, _, columns),) = file.blocks(unit, [name], 1000)
    return columns[name]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", ROWS)
def test_a_field_with_dots_in_its_name_is_found(tmp_path: Path, name: str, write: Callable) -> None:
    file = open_file(write(tmp_path / "r", pa.Table.from_pylist([ROWS[name]] * 3)))
    assert file.find(name) is not None
    assert column_of(file, name).values.tolist() == [7, 7, 7]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", ["steps.re.ward", "the.steps.reward", "outer.steps.reward"])
def test_the_same_in_a_list_of_structs(tmp_path: Path, name: str, write: Callable) -> None:
    rows = {
        "steps.re.ward": {"steps": [{"re.ward": 7}, {"re.ward": 8}]},
        "the.steps.reward": {"the.steps": [{"reward": 7}, {"reward": 8}]},
        "outer.steps.reward": {"outer": {"steps": [{"reward": 7}, {"reward": 8}]}},
    }
    file = open_file(write(tmp_path / "r", pa.Table.from_pylist([rows[name]] * 2)))
    column = column_of(file, name)
    assert column.values.tolist() == [7, 8, 7, 8]
    assert column.offsets is not None
    assert column.offsets.tolist() == [0, 2, 4]


@pytest.mark.parametrize("write", WRITERS)
def test_such_columns_are_computed_with(tmp_path: Path, write: Callable) -> None:
    rows = [{"s": {"re.ward": float(n), "val.ue": 0.0}, "terminated": n == 2} for n in range(3)]
    path = write(tmp_path / "r", pa.Table.from_pylist(rows))
    columns = {"reward": "s.re.ward", "value": "s.val.ue"}
    gaecli.compute(path, gamma=0.5, lam=1.0, columns=columns)
    found = column_of(open_file(path), "advantage").values
    np.testing.assert_allclose(found, [0 + 0.5 * (1 + 0.5 * 2), 1 + 0.5 * 2, 2], rtol=1e-6)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", ["s.re", "s.re.ward.x", "s..re.ward", ".s", "s.", "re.ward", "." * 300])
def test_what_is_not_there_is_not_found(tmp_path: Path, name: str, write: Callable) -> None:
    file = open_file(write(tmp_path / "r", pa.Table.from_pylist([{"s": {"re.ward": 7}}])))
    assert file.find(name) is None
