"""New columns that are encoded in parts become what one stream of all rows is, byte for byte."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from formats.parquet_files import CODECS, WRITERS, append, flat_table

from gaecli.formats.parquet import pieces as parquet_pieces
from gaecli.formats.parquet.parts import RowGroupsWriter, behind_pages, numbers_of
from gaecli.formats.parquet.splice import ParquetAppender

DOCUMENT = {"gaecli": '{"gamma": 0.99}'}


def columns_of_all_kinds(num_rows: int, seed: int = 0) -> pa.Table:
    """Numbers with nulls and NaN, flags, whole numbers, texts and lists: what labels, masks and responses need."""
    chosen = np.random.default_rng(seed)
    values = chosen.standard_normal(num_rows)
    rows = range(num_rows)
    return pa.table(
        {
            "advantage": pa.array([None if row % 50 == 7 else values[row] for row in rows], pa.float32()),
            "return": pa.array([np.nan if row % 9 < 3 else values[row] for row in rows], pa.float64()),
            "mask": pa.array(values > 0),
            "count": pa.array(chosen.integers(0, 9, num_rows), pa.int32()),
            "label": pa.array([f"Advantage: {'positive' if v > 0 else 'negative'}" for v in values]),
            "lists": pa.array(
                [[float(v)] * (row % 4) for row, v in enumerate(values)], pa.list_(pa.float32())
            ),
        }
    )


def cut(table: pa.Table, rows: Sequence[int], stops: Sequence[int], chunk_rows: int) -> list[list[pa.Table]]:
    """Chunks of the rows of each part; none of them crosses from one part to the next."""
    starts = np.cumsum([0, *rows])[list(stops)]
    return [
        [table.slice(row, min(chunk_rows, stop - row)) for row in range(start, stop, chunk_rows)]
        for start, stop in pairwise(starts.tolist())
    ]


def in_parts(
    source: Path, folder: Path, table: pa.Table, stops: Sequence[int], *, leaves: bool = False, **options: Any
) -> tuple[bytes, bytes]:
    """The new file by one stream, and from parts whose row groups end at `stops`."""
    rows = [
        pq.read_metadata(source).row_group(i).num_rows for i in range(pq.read_metadata(source).num_row_groups)
    ]
    chunks = cut(table, rows, stops, 17)
    with ParquetAppender(source, folder / "whole", table.schema, **options) as appender:
        for chunk in (chunk for part in chunks for chunk in part):
            appender.write(chunk)
        appender.finish(DOCUMENT)
    paths = []
    for (first, stop), part in zip(pairwise(stops), chunks, strict=True):
        paths.append(folder / f"part-{first}")
        writer = RowGroupsWriter(source, paths[-1], table.schema, range(first, stop))
        for chunk in part:
            writer.write(
                *chunk.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
            )
        writer.finish(np.arange(3.0))
    with ParquetAppender(
        source, folder / "put together", table.schema, has_parts=True, leaves_head=leaves, **options
    ) as appender:
        for path in paths:
            if leaves:  # what stands there is not looked at
                content = path.read_bytes()
                pages = behind_pages(path)
                path.with_suffix(".whole").write_bytes(content)
                path.write_bytes(b"PAR1" + bytes(pages - 4) + content[pages:])
            appender.place(path, leaves_pages=leaves)
        appender.finish(DOCUMENT)
    assert numbers_of(paths[-1], 3).tolist() == [0.0, 1.0, 2.0]
    made = bytearray((folder / "put together").read_bytes())
    for hole in appender.left_out:
        assert not any(made[hole.target : hole.target + hole.length])
        whole = hole.source.with_suffix(".whole")
        stored = (whole if whole.exists() else hole.source).read_bytes()
        made[hole.target : hole.target + hole.length] = stored[hole.start : hole.start + hole.length]
    return (folder / "whole").read_bytes(), bytes(made)


@pytest.mark.few(7)
@pytest.mark.parametrize("writer", WRITERS)
def test_the_file_of_any_writer_becomes_the_same(writer: str, tmp_path: Path) -> None:
    source = tmp_path / "source.parquet"
    WRITERS[writer](source)
    metadata = pq.read_metadata(source)
    count = metadata.num_row_groups
    if count:
        table = columns_of_all_kinds(metadata.num_rows)
        stops = sorted({0, (count + 1) // 2, count})
        whole, made = in_parts(source, tmp_path, table, stops)
        assert made == whole
        assert pq.read_table(tmp_path / "put together").select(table.column_names).num_rows == table.num_rows


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 40))]
)
def test_any_row_groups_in_any_parts_are_the_same(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With and without page indexes and holes; row groups without rows, and ones that are encoded in pieces."""
    chosen = random.Random(seed)
    rows = [0, *(chosen.choice([0, 1, 40, 700, 3000]) for _ in range(8)), 3000]
    source = tmp_path / "source.parquet"
    codec = chosen.choice(CODECS)
    with pq.ParquetWriter(
        source, flat_table(0).schema, write_page_index=seed % 2 == 0, compression=codec
    ) as writer:
        for count in rows:
            writer.write_table(flat_table(count), row_group_size=max(count, 1))
    monkeypatch.setattr(parquet_pieces, "PIECE_BYTES", chosen.choice([20_000, 64 << 20]))
    stops = sorted({0, len(rows), *chosen.sample(range(1, len(rows)), 3)})
    table = columns_of_all_kinds(sum(rows), seed)
    whole, made = in_parts(source, tmp_path, table, stops, leaves=chosen.random() < 0.5)
    assert made == whole
    assert pq.read_table(tmp_path / "whole").num_columns == 10


def test_columns_of_an_earlier_run_are_replaced_by_parts(tmp_path: Path) -> None:
    source = tmp_path / "source.parquet"
    pq.write_table(flat_table(300), tmp_path / "first", row_group_size=40, write_page_index=True)
    earlier = append(tmp_path / "first", source)
    own = {"own_columns": ["advantage", "return"], "payload_end": earlier.payload_end}
    whole, made = in_parts(source, tmp_path, columns_of_all_kinds(300), [0, 3, 4, 8], leaves=True, **own)
    assert made == whole


def test_parts_of_other_rows_than_those_of_the_file_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "source.parquet"
    pq.write_table(flat_table(90), source, row_group_size=30)
    table = columns_of_all_kinds(90)
    writer = RowGroupsWriter(source, tmp_path / "part", table.schema, [0, 1])
    writer.write(table.slice(0, 60).combine_chunks().to_batches()[0])
    writer.finish(np.arange(3.0))
    with ParquetAppender(source, tmp_path / "out", table.schema, has_parts=True) as appender:
        appender.place(tmp_path / "part", leaves_pages=False)
        with pytest.raises(ValueError, match="other row groups"):
            appender.finish(DOCUMENT)
    assert not (tmp_path / "out").exists()
