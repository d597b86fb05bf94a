"""Labels of groups, whatever they are, and however many blocks they come in."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline.running import small_blocks

import gaecli
from gaecli.pipeline.label_tables import LabelTable

CLOSE = [[5, 6, 7], [9, 5], [4, 8, 6]]
FAR = [[-(2**62), 3], [2**62, 3, 0], [17]]
MIXED = [[1, 2], [None, 2], ["x", 1]]
TUPLES = [[("a", 1), ("a", 2)], [("a", None), ("a", 1)]]


@pytest.mark.parametrize("blocks", [CLOSE, FAR, MIXED, TUPLES], ids=["close", "far", "mixed", "tuples"])
def test_every_label_has_one_number_in_the_order_of_appearance(blocks: list[list]) -> None:
    table, wanted = LabelTable(), {}
    for block in blocks:
        names = np.array(block, np.int64) if all(isinstance(name, int) for name in block) else block
        expected = [wanted.setdefault(name, len(wanted)) for name in block]
        assert table.add(names).tolist() == expected
    assert table.count == len(wanted)
    assert list(table.labels) == list(wanted)
    assert table.shown == list(wanted)
    assert table.find(list(wanted)).tolist() == list(range(len(wanted)))
    assert table.find(["nobody"]).tolist() == [-1]


def test_integers_that_are_not_there_have_no_number() -> None:
    for known in ([5, 6, 9], [0, 10**12]):
        table = LabelTable()
        table.add(np.array(known, np.int64))
        assert table.find(np.array([7, -3, known[-1], 10**15], np.int64)).tolist() == [
            -1,
            -1,
            len(known) - 1,
            -1,
        ]


def test_long_prompts_are_told_apart_by_all_of_them(tmp_path: Path) -> None:
    """The first thousand characters are the same."""
    path = tmp_path / "r.parquet"
    prompts = [f"{'x' * 1000}{number % 2}" for number in range(4)]
    pq.write_table(pa.table({"prompt": prompts, "reward": [1.0, 5.0, 2.0, 6.0]}), path, row_group_size=1)
    with small_blocks(1, dtype=np.float64):
        summary = gaecli.compute(path, estimator="dr-grpo", group_column="prompt")
    assert pq.read_table(path)["advantage"].to_pylist() == [-0.5, -0.5, 0.5, 0.5]
    assert summary.baseline is not None
    assert all(len(group.label) < 80 and group.label.startswith("xxx") for group in summary.baseline.groups)


def test_integers_far_apart_and_close_are_groups_alike(tmp_path: Path) -> None:
    numbers = random.Random(0).sample(range(-(10**9), 10**9), 5)
    for stretched in (numbers, [3, 4, 5, 6, 7]):
        path = tmp_path / "r.parquet"
        rows = [stretched[k % 5] for k in range(20)]
        pq.write_table(pa.table({"g": rows, "reward": [float(k // 5) for k in range(20)]}), path)
        with small_blocks(6, dtype=np.float64):
            gaecli.compute(path, estimator="dr-grpo", group_column="g")
        assert pq.read_table(path)["advantage"].to_pylist() == [k // 5 - 1.5 for k in range(20)]
