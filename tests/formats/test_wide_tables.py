"""Tables of thousands of columns: as much work for each as where there are few."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gaecli
from gaecli.formats.parquet.statistics import LeafFacts
from gaecli.formats.registry import open_file
from gaecli.layouts.evidence.unused_flags import peek

STEPS = {"reward": [1.0, 2.0], "value": [0.0, 0.5], "terminated": [False, True]}


def calls_of(function: Callable[[], Any]) -> int:
    """Of Python and of C, each step of a generator among them: the same whatever else the machine does."""
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("in_structs", [False, True])
def test_twice_as_many_columns_are_twice_the_work(tmp_path: Path, in_structs: bool) -> None:
    found = []
    for number in (100, 300, 600):  # the first imports what it takes
        others: dict[str, Any] = {f"x{index}_done": [index, 2.0] for index in range(number)}
        if in_structs:
            others = {"infos": [{name: cells[row] for name, cells in others.items()} for row in range(2)]}
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({**STEPS, **others}), path)
        found.append(calls_of(lambda path=path: gaecli.inspect(path)))
    assert found[2] < 2.2 * found[1]


def test_columns_of_an_archive_are_looked_at_together(tmp_path: Path) -> None:
    """Each opening reads the directory, which has all of them."""
    found = []
    for number in (100, 100, 300, 600):  # the first imports what it takes
        others = {f"x{index}": np.array([index, 2.0]) for index in range(number)}
        path = tmp_path / f"{number}.npz"
        np.savez(path, **{name: np.array(cells) for name, cells in STEPS.items()}, **others)
        found.append(calls_of(lambda path=path: gaecli.compute(path, jobs=1)))
    _, few, more, most = found
    assert (most - more) / 300 < 1.3 * (more - few) / 200


def test_a_damaged_column_does_not_hide_those_beside_it(tmp_path: Path) -> None:
    cells = {f"x{index}": np.arange(4.0) + index for index in range(150)}
    path = tmp_path / "r.npz"
    np.savez(path, **cells)
    content = path.read_bytes()
    for spoilt in ("x70", "x149"):
        content = content.replace(cells[spoilt].tobytes(), np.full(4, 0.5).tobytes())
    path.write_bytes(content)
    file = open_file(path)
    found = peek(file, list(cells), file.units(100, "x0"), lambda name, column: True)
    assert found == tuple(name for name in cells if name not in ("x70", "x149"))


names = st.lists(st.sampled_from(["a", "b", "a-", "a0", "", "list", "element"]), min_size=1, max_size=4)


@given(st.lists(names.map(".".join), min_size=1, max_size=8, unique=True), names.map(".".join))
def test_a_leaf_is_found_by_its_path_or_by_one_above_it(paths: list[str], asked: str) -> None:
    facts = LeafFacts(tuple(paths), (1,), np.ones((1, len(paths)), np.int64), (True,) * len(paths))
    below = [number for number, path in enumerate(paths) if path == asked or path.startswith(f"{asked}.")]
    assert facts.leaf_of_list(asked) == (below[0] if below else None)
    assert facts.has_leaf(asked) == (asked in paths)
