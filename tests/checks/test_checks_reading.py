"""The rows that `gae check` goes over twice, by its rules and as `gae compute` would, are read once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli.commands.check as command
from gaecli.commands.check import check
from gaecli.formats.parquet.reader import ParquetInput
from gaecli.progress import Progress

N, GROUP = 60, 20


@pytest.fixture
def rollouts(tmp_path: Path) -> Path:
    path = tmp_path / "rollouts.parquet"
    ids = np.arange(N) // 7
    rewards = np.random.default_rng(8).normal(size=N)
    texts = [f"run {one}" for one in ids]
    flags = np.append(ids[1:] != ids[:-1], True)
    table = pa.table({"reward": rewards, "value": np.ones(N), "done": flags, "episode_id": texts})
    pq.write_table(table, path, row_group_size=GROUP)
    return path


def read_units(path: Path, monkeypatch: pytest.MonkeyPatch, memory_bytes: int) -> tuple[list[int], Any]:
    read: list[int] = []
    plain = ParquetInput.blocks

    def blocks(file: Any, unit: Any, names: Any, rows_per_block: int) -> Any:
        read.append(unit.start)
        return plain(file, unit, names, rows_per_block)

    with monkeypatch.context() as patch:
        patch.setattr(ParquetInput, "blocks", blocks)
        patch.setattr(command, "rows_per_block", lambda _: GROUP)
        found = check([path], memory_bytes=memory_bytes, jobs=1)
    return read, [(one.rule.code, one.message, one.count, one.row) for one in found.findings]


def test_every_row_group_is_read_once_and_twice_where_there_is_no_room(
    rollouts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, findings = read_units(rollouts, monkeypatch, 1 << 20)
    in_turn, same = read_units(rollouts, monkeypatch, 2500)  # of which one of them takes a third
    twice, as_well = read_units(rollouts, monkeypatch, 10)
    assert once == in_turn == [0, 20, 40]
    assert twice == [0, 0, 20, 20, 40, 40]
    assert findings == same == as_well
    assert ("GAE201", "all 60 values are 1", 60, 0) in findings


def test_what_is_kept_of_a_stream_is_forgotten_with_it_and_counts_as_gone_over(
    rollouts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "rows_per_block", lambda _: GROUP)
    rooms: list[Any] = []

    class SeenRoom(command.Room):
        def __init__(self, num_bytes: int) -> None:
            super().__init__(num_bytes)
            rooms.append(self)
            self.num_bytes = num_bytes

    monkeypatch.setattr(command, "Room", SeenRoom)
    progress, shares = Progress(), []
    advance = progress.advance
    monkeypatch.setattr(progress, "advance", lambda path, share: (shares.append(share), advance(path, share)))
    check([rollouts], memory_bytes=1 << 20, progress=progress)
    assert [room.left for room in rooms] == [room.num_bytes for room in rooms]
    assert sum(shares) == pytest.approx(2)
