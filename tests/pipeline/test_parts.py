"""A huge file is encoded by several tasks and written by one, and has the bytes of the local engine."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faults import data_sets
from pipeline.pickling_engine import PicklingEngine, pickling
from pipeline.running import small_blocks
from pipeline.test_engines import CASES, parquet, run, steps, table

import gaecli
from gaecli.formats.parquet import parts as parquet_parts
from gaecli.storage import new_file
from gaecli.writing import encode_part
from gaecli.writing.encode_part import EncodePart, divided

__all__ = ["pickling"]


@pytest.fixture(autouse=True)
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[range, Path]]:
    """Small files go the way of huge ones; the units and the place of each part, lost tries included."""
    found: list[tuple[range, Path]] = []
    encode = EncodePart.__call__

    def noted(task: EncodePart, worker: Any) -> Any:
        first = task.source.first_unit
        found.append((range(first, first + len(task.source.carries)), task.path))
        return encode(task, worker)

    monkeypatch.setattr(encode_part, "PART_BYTES", 100)
    monkeypatch.setattr(EncodePart, "__call__", noted)
    return found


def with_earlier_columns(folder: Path) -> None:
    parquet(folder, rows=table(other=np.arange(72)))
    gaecli.compute(folder / "r.parquet", lam=0.5)


def with_page_index(folder: Path) -> None:
    pq.write_table(table(), folder / "r.parquet", row_group_size=7, write_page_index=True, compression="gzip")


def foreign_column(folder: Path) -> None:
    parquet(folder, rows=table(advantage=np.zeros(72)).select([4, 0, 1, 2]), size=9)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


MORE: dict[str, Any] = {
    "in place of earlier columns": (with_earlier_columns, {}),
    "page index": (with_page_index, {"normalize": "all"}),
    "in place of others' columns": (foreign_column, {"overwrite": True}),
    "labels": (
        parquet,
        {
            "label_quantile": 0.3,
            "label_side": "top",
            "label_type": "text",
            "keep_raw": True,
            "normalize": "file",
        },
    ),
}
SOME = ["all", "episode", "column", "elsewhere"]
FROM_ENGINES = [f"row groups, {name}" for name in SOME]
FROM_ENGINES += ["truncated", "lanes", "returning ids", "nested", "dropped", "several"]
ALL = {**{name: CASES[name] for name in FROM_ENGINES}, **MORE}


#: The rest says the same once more.
QUICK = {"row groups, all", "nested", "in place of earlier columns", "page index", "labels", "several"}


@pytest.mark.few("row groups, all", "nested", "in place of earlier columns", "labels", "page index")
@pytest.mark.parametrize(
    "case", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ALL]
)
def test_the_bytes_are_those_of_the_local_engine(
    case: str, pickling: list[PicklingEngine], encoded: list[tuple[range, Path]]
) -> None:
    write, settings = ALL[case]
    with small_blocks(12) as folder:
        (folder / "source").mkdir()
        write(folder / "source")
        expected = run(folder, "local", **settings)
        assert not encoded
        summary, content = run(folder, "pickling", **settings)
    assert len(set(encoded)) > 1
    assert summary == expected[0]
    assert content == expected[1]
    assert {file.status for file in summary.files} == {"written"}


def test_what_is_lost_is_one_part_and_not_the_file(
    pickling: list[PicklingEngine], encoded: list[tuple[range, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.pickling_engine.LOSES_EVERY", 3)
    with small_blocks(8) as folder:
        parquet(folder)
        gaecli.compute(folder / "r.parquet", engine="pickling")
    tries = [[units for units, _ in encoded].count(units) for units in {units for units, _ in encoded}]
    assert sorted(tries)[0] == 1 < sorted(tries)[-1]
    assert {unit for units, _ in encoded for unit in units} == {0, 1, 2, 3}


def test_a_part_that_cannot_be_written_leaves_nothing(
    pickling: list[PicklingEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, calls = parquet_parts.RowGroupsWriter.finish, []

    def full(writer: parquet_parts.RowGroupsWriter, numbers: Any) -> None:
        calls.append(writer)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        finish(writer, numbers)

    monkeypatch.setattr(parquet_parts.RowGroupsWriter, "finish", full)
    with small_blocks(8) as folder:
        parquet(folder)
        before = data_sets.content(folder)
        with pytest.raises(gaecli.FileError, match="no space left"):
            gaecli.compute(folder / "r.parquet", engine="pickling")
        assert data_sets.content(folder) == before
        assert names(folder) == {"r.parquet"}


def test_parts_of_a_killed_run_are_swept_by_the_next(
    pickling: list[PicklingEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_blocks(8) as folder:
        parquet(folder)
        with monkeypatch.context() as killed:
            killed.setattr("gaecli.storage.part_files.PartFiles.discard", lambda files: None)
            killed.setattr("gaecli.writing.outputs.sweep", lambda folder: None)  # as a run does at its end
            gaecli.compute(folder / "r.parquet", engine="pickling")
        left = names(folder) - {"r.parquet"}
        assert len(left) > 1
        assert all(new_file.is_temporary_name(name) for name in left)
        gaecli.compute(folder / "r.parquet", lam=0.5)
        assert names(folder) == {"r.parquet"}


def test_a_link_has_its_parts_where_the_file_is(
    pickling: list[PicklingEngine], encoded: list[tuple[range, Path]]
) -> None:
    with small_blocks(8) as folder:
        for name in ("there", "here"):
            (folder / name).mkdir()
        parquet(folder / "there")
        link = folder / "here" / "r.parquet"
        link.symlink_to(folder / "there" / "r.parquet")
        gaecli.compute(link, engine="pickling")
        assert link.is_symlink()
        assert "advantage" in pq.read_schema(link).names
        assert {path.parent.name for _, path in encoded} == {"there"}


@pytest.mark.parametrize(("most", "count"), [(10**9, 0), (400, 1), (150, 3), (1, 4)])
def test_a_file_is_divided_by_what_its_columns_take(
    most: int, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """72 rows of two float32: 576 bytes, in row groups of 160 and one of 96."""
    from gaecli.formats.base import WritePlan
    from gaecli.pipeline.opening import open_stream
    from gaecli.settings import Settings
    from gaecli.sources.inputs import plan_streams

    monkeypatch.setattr(encode_part, "PART_BYTES", most)
    parquet(tmp_path)
    (plan,) = plan_streams([tmp_path / "r.parquet"], None)
    (opened,) = open_stream(plan, Settings(), 1 << 30, block_rows=8).files
    columns = WritePlan({name: np.dtype(np.float32) for name in ("advantage", "return")})
    parts = divided(opened, [20, 20, 20, 12], columns)
    assert len(parts) == (count if count > 1 else 0)
    assert [unit for part in parts for unit in part.units] == list(range(4 if parts else 0))
    assert [group for part in parts for group in part.row_groups] == list(range(4 if parts else 0))


def test_row_groups_without_rows_are_of_no_unit_and_of_some_part(pickling: list[PicklingEngine]) -> None:
    rows = pa.table(steps(60))
    with small_blocks(8) as folder:
        with pq.ParquetWriter(folder / "r.parquet", rows.schema) as writer:
            for start, stop in ((0, 0), (0, 20), (20, 20), (20, 59), (59, 59), (59, 60), (60, 60)):
                writer.write_table(rows.slice(start, stop - start), row_group_size=max(stop - start, 1))
        before = (folder / "r.parquet").read_bytes()
        made = []
        for engine in ("local", "pickling"):
            (folder / "r.parquet").write_bytes(before)
            os.utime(folder / "r.parquet", (0, 0))
            gaecli.compute(folder / "r.parquet", engine=engine)
            made.append((folder / "r.parquet").read_bytes())
    assert made[0] == made[1] != before
