"""Files that are taken apart although one goes on where the one before it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.commands import compute as run

#: Rows of each file, and steps of each episode: two borders of files lie inside of episodes.
FILE_ROWS, EPISODE_STEPS = 40, 25


@pytest.fixture
def log() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    rows = np.arange(3 * FILE_ROWS)
    return {
        "reward": rng.normal(size=len(rows)),
        "value": rng.normal(size=len(rows)),
        "episode_id": rows // EPISODE_STEPS,
        "step": rows % EPISODE_STEPS,
        "done": rows % EPISODE_STEPS == EPISODE_STEPS - 1,
    }


def split(folder: Path, columns: dict[str, Any], pattern: str = "part.{}.parquet") -> list[Path]:
    paths = []
    for number in range(3):
        rows = slice(number * FILE_ROWS, (number + 1) * FILE_ROWS)
        paths.append(folder / pattern.format(number))
        pq.write_table(
            pa.table({name: cells[rows] for name, cells in columns.items()}), paths[-1], row_group_size=8
        )
    return paths


def told(paths: list[Path], **settings: Any) -> list[int]:
    summary = gaecli.compute(paths, dry_run=True, **settings)
    assert summary.exit_code == 0, summary.files
    return [note.count for note in summary.warnings if note.code == "goes-on-in-next-file"]


@pytest.mark.turns
@pytest.mark.parametrize("rows", [None, 8], ids=["one-block", "blocks"])
@pytest.mark.parametrize("normalize", ["none", "all"])
def test_a_trajectory_that_goes_on_in_the_next_file_is_told(tmp_path, log, monkeypatch, normalize, rows):
    if rows is not None:
        monkeypatch.setattr(run, "rows_per_block", lambda memory_bytes: rows)
    assert told(split(tmp_path, log), normalize=normalize) == [2]


@pytest.mark.parametrize("join", [True, False])
def test_who_says_how_they_relate_is_told_nothing(tmp_path, log, join):
    assert told(split(tmp_path, log), join=join) == []


@pytest.mark.parametrize("missing", ["step", "episode_id"])
def test_ids_that_count_on_or_steps_alone_are_enough(tmp_path, log, missing):
    del log[missing]
    assert told(split(tmp_path, log)) == [2]


def test_each_environment_is_compared_with_itself(tmp_path, log):
    columns = {**log, "env_id": np.arange(3 * FILE_ROWS) % 2}
    columns["step"] = np.arange(3 * FILE_ROWS) // 2
    del columns["episode_id"]
    columns["done"] = np.zeros(3 * FILE_ROWS, bool)
    assert told(split(tmp_path, columns)) == [2]


class TestApart:
    @pytest.mark.parametrize("at", ["end", "start"])
    def test_a_flag_at_the_border(self, tmp_path, log, at):
        rows = np.arange(3 * FILE_ROWS)
        del log["episode_id"]
        log["step"] = rows
        log["done"] = rows % FILE_ROWS == (FILE_ROWS - 1 if at == "end" else 0)
        assert told(split(tmp_path, log), done_at=at) == []

    def test_another_id(self, tmp_path, log):
        log["episode_id"] = log["episode_id"] + 100 * (np.arange(3 * FILE_ROWS) // FILE_ROWS)
        assert told(split(tmp_path, log)) == []

    def test_steps_that_begin_again(self, tmp_path, log):
        log["step"] = np.arange(3 * FILE_ROWS) % FILE_ROWS
        del log["episode_id"]
        log["done"][:] = False
        assert told(split(tmp_path, log)) == []

    def test_one_id_in_every_file(self, tmp_path, log):
        """As where each file holds one episode, and numbers it from 0."""
        log["episode_id"][:] = 0
        del log["step"], log["done"]
        assert told(split(tmp_path, log)) == []
