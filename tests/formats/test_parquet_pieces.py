"""Page indexes of new columns, and chunks that are put together from pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from formats.parquet_files import (
    append,
    assert_no_gaps,
    assert_page_index_fits,
    flat_table,
    pages,
    rich_table,
    row_counts,
)

from gaecli.formats.parquet import pieces as parquet_pieces
from gaecli.formats.parquet.footer import ColumnChunk, ColumnMetaData, read_footer


def test_page_indexes_of_old_and_new_columns_fit_their_pages(tmp_path: Path, target: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(rich_table(3000), path, row_group_size=1700, write_page_index=True, data_page_size=2000)
    append(path, target, chunk_rows=1000)
    old, footer = read_footer(path), read_footer(target)
    old_pages = assert_page_index_fits(path, old)
    assert assert_page_index_fits(target, footer) > old_pages
    assert all(ColumnChunk.OFFSET_INDEX_OFFSET in chunk for chunk in footer.chunks())
    assert_no_gaps(footer, (old.start, old.end))


def test_new_columns_have_no_page_index_where_the_source_has_none(source: Path, target: Path) -> None:
    pq.write_table(rich_table(100), source)
    append(source, target)
    assert not read_footer(target).has_page_index


def _without_nan(table: pa.Table) -> pa.Table:
    """NaN equals nothing, so a number that does not occur stands for it."""
    returns = table["return"]
    column = pc.if_else(pc.is_nan(returns), pa.scalar(1e9), returns)
    return table.set_column(table.column_names.index("return"), "return", column)


@pytest.mark.few(2)
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("page_index", [False, True])
def test_row_groups_too_large_for_memory_are_put_together_from_pieces(
    nested: bool, page_index: bool, tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_rows = 5000
    path = tmp_path / "a.parquet"
    with pq.ParquetWriter(path, flat_table(0).schema, write_page_index=page_index) as writer:
        for rows in (3000, 0, 10, 1990):
            writer.write_table(flat_table(rows), row_group_size=max(rows, 1))
    values = np.random.default_rng(0).standard_normal(num_rows)
    columns = pa.table(
        {
            "advantage": pa.array([None if i % 50 == 7 else v for i, v in enumerate(values)], pa.float32()),
            "return": pa.array([np.nan] * 600 + [None] * 600 + list(values[1200:]), pa.float64()),
        }
    )
    if nested:
        lists = pa.array([[float(v)] * (i % 4) for i, v in enumerate(values)], pa.list_(pa.float32()))
        columns = columns.append_column("lists", lists)
    append(path, tmp_path / "whole", columns, chunk_rows=700)
    monkeypatch.setattr(parquet_pieces, "PIECE_BYTES", 10_000)
    appender = append(path, target, columns, chunk_rows=700)
    assert appender.method == "splice"
    assert _without_nan(pq.read_table(target)).equals(_without_nan(pq.read_table(tmp_path / "whole")))
    assert row_counts(target) == [3000, 0, 10, 1990]
    whole, merged = read_footer(tmp_path / "whole"), read_footer(target)
    for expected, found in zip(whole.chunks(), merged.chunks(), strict=True):
        expected_meta, found_meta = (chunk.value(ColumnChunk.META_DATA) for chunk in (expected, found))
        for fact in (
            ColumnMetaData.NUM_VALUES,
            ColumnMetaData.STATISTICS,
            ColumnMetaData.SIZE_STATISTICS,
            ColumnMetaData.ENCODINGS,
        ):
            assert found_meta.get(fact) == expected_meta.get(fact)
        assert sum(size for *_, size in pages(target, found)) == found_meta.value(
            ColumnMetaData.TOTAL_COMPRESSED_SIZE
        )
    if page_index:
        expected_pages = assert_page_index_fits(path, read_footer(path))
        assert assert_page_index_fits(target, read_footer(target)) > expected_pages + 5
    found = pq.read_table(target, filters=pc.field("advantage") > 1.5, columns=["step"])
    assert found.equals(
        columns.append_column("step", pq.read_table(path)["step"])
        .filter(pc.field("advantage") > 1.5)
        .select(["step"])
    )
    polars = pytest.importorskip("polars")
    frame = polars.scan_parquet(target).filter(polars.col("advantage") > 1.5).select("step").collect()
    assert frame["step"].to_list() == found["step"].to_pylist()
