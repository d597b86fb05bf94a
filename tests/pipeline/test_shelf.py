"""Streams that wait for one another: packed and opened again they give the bytes that they would have given."""

from __future__ import annotations

import gc
import os
import shutil
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.commands.together import Together
from gaecli.formats.base import RolloutFile
from gaecli.pipeline import shelf
from gaecli.sources import inputs

#: What an open, summarised stream of one small file took when all of them were kept: 25 kB, and its blocks.
MOST_BYTES = 5_000
#: Settings under which streams wait for each other, with what the files need for them.
SHARED: Mapping[str, dict[str, Any]] = {
    "all": {"normalize": "all"},
    "column": {"normalize_by": "task"},
    "groups": {"estimator": "grpo", "group_column": "task", "layout": "responses"},
    "labels": {"label_quantile": 0.3, "label_side": "top"},
    "success": {"success_column": "won", "success_at": "any", "failure_cost": 20.0, "normalize": "all"},
    "stages": {
        "estimator": "gdpo",
        "group_column": "task",
        "layout": "responses",
        "rewards": {"reward": 1.0, "value": 0.5},
    },
}


def written(folder: Path, count: int, steps: int = 20) -> list[Path]:
    """Files of two episodes each; the second is open in every other file, and steps of one stand in two files."""
    random = np.random.default_rng(5)
    folder.mkdir()
    paths = []
    for number in range(count):
        ends = np.zeros(steps, np.bool_)
        ends[steps // 3] = True
        ends[-1] = number % 2 == 0
        table = {
            "reward": random.normal(size=steps).astype(np.float32),
            "value": random.normal(size=steps),
            "done": ends,
            "task": np.array(["push", "pull"])[random.integers(2, size=steps)],
            "won": ends & (number % 3 == 0),
        }
        paths.append(folder / f"r{number:04}.parquet")
        pq.write_table(pa.table(table), paths[-1])
        os.utime(paths[-1], ns=(10**18, 10**18))
    return paths


def results(
    folder: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch, most: int, **options: Any
) -> Any:
    """(summary of each file, bytes of each result, warnings) where so many streams are kept as they are."""
    monkeypatch.setattr(shelf, "MOST_KEPT", most)
    out = folder / "out"
    summary = gaecli.compute(paths, out, **options)
    found = {path.name: path.read_bytes() for path in out.iterdir()}
    shutil.rmtree(out)
    return summary.files, summary.normalization, summary.warnings, summary.columns, found


@pytest.mark.few(3)
@pytest.mark.parametrize("settings", SHARED.values(), ids=SHARED)
def test_streams_that_were_packed_are_written_as_the_others(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = written(tmp_path / "in", 4)
    kept = results(tmp_path, paths, monkeypatch, len(paths), **settings)
    assert [file.status for file in kept[0]] == ["written"] * len(paths)
    assert results(tmp_path, paths, monkeypatch, 0, **settings) == kept
    assert results(tmp_path, paths, monkeypatch, 2, **settings) == kept


def test_a_packed_stream_is_opened_once_for_its_numbers_and_once_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = written(tmp_path / "in", 4)
    monkeypatch.setattr(shelf, "MOST_KEPT", 1)
    opened: list[str] = []
    open_file = inputs.open_file

    def counted(path: Path) -> RolloutFile:
        opened.append(path.name)
        return open_file(path)

    monkeypatch.setattr(inputs, "open_file", counted)
    gaecli.compute(paths, normalize="all")
    assert [opened.count(path.name) for path in paths] == [1, 2, 2, 2]


def test_moments_are_those_of_all_in_one_run_where_an_earlier_run_wrote_some(tmp_path: Path) -> None:
    paths = written(tmp_path / "in", 6)
    others = [Path(shutil.copy2(path, tmp_path / path.name)) for path in paths]
    gaecli.compute(others[2], normalize="all")
    for some in (paths, others):
        assert [file.status for file in gaecli.compute(some, normalize="all").files] == ["written"] * 6
    alone, joined = ([pq.read_table(path) for path in some] for some in (paths, others))
    assert alone == joined


def test_what_is_up_to_date_is_told_of_packed_streams_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = written(tmp_path / "in", 4)
    monkeypatch.setattr(shelf, "MOST_KEPT", 1)
    first = gaecli.compute(paths, normalize="all")
    again = gaecli.compute(paths, normalize="all")
    assert [file.status for file in again.files] == ["up to date"] * 4
    assert [file.counts for file in again.files] == [file.counts for file in first.files]
    assert again.normalization == first.normalization
    paths[2].unlink()
    assert [file.status for file in gaecli.compute(paths[:2], normalize="all").files] == ["written"] * 2


def test_a_packed_stream_whose_file_changes_meanwhile_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = written(tmp_path / "in", 3)
    monkeypatch.setattr(shelf, "MOST_KEPT", 0)
    look = Together.look

    def meanwhile(streams: Together) -> None:
        look(streams)
        shutil.copyfile(paths[0], paths[1])

    monkeypatch.setattr(Together, "look", meanwhile)
    summary = gaecli.compute(paths, normalize="all")
    assert [file.status for file in summary.files] == ["written", "failed", "written"]
    assert "changed by somebody else" in str(summary.files[1].error)
    assert "advantage" not in pq.read_schema(paths[1]).names


@pytest.mark.slow
def test_thousands_of_streams_take_little_memory_each_while_they_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = written(tmp_path / "in", 120)
    monkeypatch.setattr(shelf, "MOST_KEPT", 0)
    look = Together.look
    taken: list[int] = []

    def traced(streams: Together) -> None:
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        look(streams)
        gc.collect()
        taken.append(tracemalloc.get_traced_memory()[0] - before)
        tracemalloc.stop()

    gaecli.compute(
        paths, normalize="all", dry_run=True
    )  # what the first run of a process keeps is of no stream
    monkeypatch.setattr(Together, "look", traced)
    for some in (paths[:20], paths, paths):
        gaecli.compute(some, normalize="all", dry_run=True)
    few, *many = taken
    # What all of them have in common is in both; what other threads allocate meanwhile is in one of them.
    assert 500 < (min(many) - few) / 100 < MOST_BYTES
