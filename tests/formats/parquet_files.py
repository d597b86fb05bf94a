"""Parquet files by several writers, and what the tests of the splice writer look at in them."""

from __future__ import annotations

import datetime
import decimal
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.footer import (
    ColumnChunk,
    ColumnMetaData,
    Extent,
    Footer,
    RowGroup,
    chunk_extents,
)
from gaecli.formats.parquet.splice import ParquetAppender

NEW_SCHEMA = pa.schema([pa.field("advantage", pa.float32()), pa.field("return", pa.float32())])


def rich_table(num_rows: int) -> pa.Table:
    """One column of every kind of type, with nulls; `reward` and `step` for filters."""
    rows = range(num_rows)

    def column(value: Callable[[int], Any], data_type: pa.DataType) -> pa.Array:
        return pa.array([None if row % 7 == 3 else value(row) for row in rows], data_type)

    epoch = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    struct_type = pa.struct([pa.field("x", pa.float64()), pa.field("names", pa.list_(pa.string()))])
    columns = {
        "step": pa.array(rows, pa.int64()),
        "reward": pa.array(np.arange(num_rows) * 0.5, pa.float32()),
        "flag": column(lambda row: row % 2 == 0, pa.bool_()),
        "half": column(np.float16, pa.float16()),
        "list": column(lambda row: [float(row)] * (row % 4), pa.list_(pa.float32())),
        "large_list": column(lambda row: [row] * (row % 3), pa.large_list(pa.int16())),
        "fixed": column(lambda row: [float(row), 1.0], pa.list_(pa.float32(), 2)),
        "nested": column(lambda row: [[row], [], [1, 2]], pa.list_(pa.list_(pa.int32()))),
        "map": column(lambda row: [(f"k{row % 3}", row)], pa.map_(pa.string(), pa.int32())),
        "struct": column(lambda row: {"x": row / 3, "names": ["a"] * (row % 3)}, struct_type),
        "decimal": column(lambda row: decimal.Decimal(row) / 4, pa.decimal128(12, 2)),
        "word": column(lambda row: f"w{row % 3}", pa.string()).dictionary_encode(),
        "nothing": pa.nulls(num_rows),
        "zoned": column(lambda row: epoch + datetime.timedelta(row), pa.timestamp("us", "Europe/Berlin")),
        "nanos": column(lambda row: row, pa.timestamp("ns")),
        "image": column(lambda row: bytes([row % 256]) * 30, pa.large_binary()),
        "seconds": column(lambda row: row, pa.duration("s")),
    }
    schema = pa.schema(
        [pa.field(name, array.type, metadata={"about": name}) for name, array in columns.items()]
    )
    return pa.table(list(columns.values()), schema=schema.with_metadata({"origin": "test"}))


def flat_table(num_rows: int) -> pa.Table:
    """Columns that every writer has."""
    return pa.table(
        {
            "step": pa.array(range(num_rows), pa.int64()),
            "reward": pa.array(np.arange(num_rows) * 0.5, pa.float32()),
            "word": pa.array(
                [None if row % 7 == 3 else f"w{row % 3}" for row in range(num_rows)], pa.string()
            ),
            "list": pa.array([[float(row)] * (row % 4) for row in range(num_rows)], pa.list_(pa.float32())),
        }
    )


def _with_pyarrow(table: pa.Table, **options: Any) -> Callable[[Path], None]:
    return lambda path: pq.write_table(table, path, **{"row_group_size": 60, **options})


def _without_row_groups(path: Path) -> None:
    pq.ParquetWriter(path, rich_table(0).schema).close()


def _with_empty_row_group(path: Path) -> None:
    with pq.ParquetWriter(path, rich_table(0).schema) as writer:
        for num_rows in (5, 0, 3, 0):
            writer.write_table(rich_table(num_rows), row_group_size=10)


def _with_duckdb(path: Path) -> None:
    import duckdb

    table = flat_table(100)
    connection = duckdb.connect()
    connection.register("rows", table)
    connection.execute(f"COPY rows TO '{path}' (FORMAT parquet, CODEC 'zstd', KV_METADATA {{note: 'kept'}})")


def _with_polars(path: Path) -> None:
    import polars

    frame = polars.from_arrow(flat_table(100))
    assert isinstance(frame, polars.DataFrame)
    frame.write_parquet(path, row_group_size=30)


def _with_pandas(path: Path) -> None:
    frame = flat_table(100).to_pandas()
    # Squares: consecutive numbers would become a range, which is stored as metadata only.
    frame = frame.assign(step=frame["step"] ** 2).set_index("step")
    frame.to_parquet(path, compression="brotli")


CODECS = ("NONE", "SNAPPY", "GZIP", "BROTLI", "LZ4", "ZSTD")

WRITERS: dict[str, Callable[[Path], None]] = {
    **{f"pyarrow {version}": _with_pyarrow(flat_table(100), version=version) for version in ("1.0", "2.4")},
    **{f"pyarrow {codec}": _with_pyarrow(rich_table(100), compression=codec) for codec in CODECS},
    "pyarrow without dictionary": _with_pyarrow(rich_table(100), use_dictionary=False),
    "pyarrow pages v2": _with_pyarrow(rich_table(100), data_page_version="2.0"),
    "pyarrow page index": _with_pyarrow(rich_table(100), write_page_index=True),
    "pyarrow without schema": _with_pyarrow(flat_table(100), store_schema=False),
    "pyarrow sorted": _with_pyarrow(flat_table(100), sorting_columns=[pq.SortingColumn(0)]),
    "pyarrow 11 row groups": _with_pyarrow(rich_table(103), row_group_size=10),
    "pyarrow 0 rows": _with_pyarrow(rich_table(0)),
    "pyarrow 0 row groups": _without_row_groups,
    "pyarrow empty row groups": _with_empty_row_group,
    "duckdb": _with_duckdb,
    "polars": _with_polars,
    "pandas": _with_pandas,
}


def new_columns(num_rows: int) -> pa.Table:
    """Values that are told apart by row, with a null."""
    advantages = pa.array([None if row == 2 else row - 3.5 for row in range(num_rows)], pa.float32())
    returns = pa.array(np.arange(num_rows) * -2.0, pa.float32())
    return pa.table([advantages, returns], schema=NEW_SCHEMA)


def append(
    source: Path, target: Path, columns: pa.Table | None = None, *, chunk_rows: int = 17, **options: Any
) -> ParquetAppender:
    """Write `target` = `source` + `columns`, in chunks that do not match the row groups."""
    num_rows = pq.read_metadata(source).num_rows
    columns = new_columns(num_rows) if columns is None else columns
    with ParquetAppender(source, target, columns.schema, **options) as appender:
        for start in range(0, columns.num_rows, chunk_rows):
            appender.write(columns.slice(start, chunk_rows))
        appender.finish({"gaecli": '{"gamma": 0.99}'})
    return appender


def row_counts(path: Path) -> list[int]:
    metadata = pq.read_metadata(path)
    return [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]


def pages(path: Path, chunk: Any) -> Iterator[tuple[int, Any, int]]:
    """The pages of a chunk, found by walking their headers: offset, header, size with the header."""
    data = path.read_bytes()
    meta = chunk.value(ColumnChunk.META_DATA)
    offset = meta.value(ColumnMetaData.DATA_PAGE_OFFSET)
    dictionary = meta.value(ColumnMetaData.DICTIONARY_PAGE_OFFSET, 0)
    if dictionary and (dictionary < offset or not offset):
        offset = dictionary
    end = offset + meta.value(ColumnMetaData.TOTAL_COMPRESSED_SIZE)
    while offset < end:
        header, body = thrift.decode(data, offset)
        size = body - offset + header.value(3)
        yield offset, header, size
        offset += size
    assert offset == end


def assert_page_index_fits(path: Path, footer: Footer) -> int:
    """Every offset index lists exactly the data pages that are there; returns how many pages it lists."""
    data = path.read_bytes()
    num_pages = 0
    for group in footer.row_groups:
        for leaf, chunk in zip(footer.leaves, group.value(RowGroup.COLUMNS), strict=True):
            if not (start := chunk.value(ColumnChunk.OFFSET_INDEX_OFFSET, 0)):
                continue
            index, end = thrift.decode(data, start)
            assert end - start == chunk.value(ColumnChunk.OFFSET_INDEX_LENGTH)
            listed = [(page.value(1), page.value(2)) for page in index.value(1)]
            found = [(at, header, size) for at, header, size in pages(path, chunk) if header.value(1) != 2]
            assert listed == [(at, size) for at, _, size in found]
            first_rows = [page.value(3) for page in index.value(1)]
            assert first_rows == sorted(set(first_rows))
            if len(leaf.path) == 1:  # a value for each row; the header of page v1 is field 5, of v2 field 8
                num_values = [(header.value(5) or header.value(8)).value(1) for _, header, _ in found]
                assert first_rows == [0, *itertools.accumulate(num_values[:-1])]
                assert sum(num_values) == group.value(RowGroup.NUM_ROWS)
            num_pages += len(listed)
    return num_pages


def assert_no_gaps(footer: Footer, *others: tuple[int, int]) -> None:
    """Every byte between the first magic and the footer belongs to a column, and to one only, or to `others`."""
    found = (extent for chunk in footer.chunks() for extent in chunk_extents(chunk))
    extents = sorted([*found, *(Extent(*other) for other in others)])
    assert [4, *(extent.end for extent in extents)] == [*(extent.start for extent in extents), footer.start]


def put_footer(path: Path, raw: bytes, target: Path | None = None) -> Path:
    """Replace the footer of a file by other bytes."""
    footer_start = len(path.read_bytes()) - 8 - int.from_bytes(path.read_bytes()[-8:-4], "little")
    target = target or path
    target.write_bytes(path.read_bytes()[:footer_start] + raw + len(raw).to_bytes(4, "little") + b"PAR1")
    return target


def with_unusual_footer(path: Path) -> Path:
    """Spell out the id of the footer's first field, as a writer may: readers see no difference."""
    data = path.read_bytes()
    raw = data[-8 - int.from_bytes(data[-8:-4], "little") : -8]
    assert raw[0] == 0x15
    return put_footer(path, b"\x05\x02" + raw[1:])
