"""Columns spliced to Parquet files: other readers see them, and nothing else changed."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from formats.parquet_files import (
    NEW_SCHEMA,
    append,
    new_columns,
    put_footer,
    rich_table,
    row_counts,
)

import gaecli
from gaecli.errors import FileError
from gaecli.formats.parquet import column_stream
from gaecli.formats.parquet import copy_range as parquet_copy
from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.footer import FileMetaData, fingerprint, read_footer
from gaecli.formats.parquet.splice import ParquetAppender
from gaecli.formats.parquet.thrift_compact import List, Struct


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.parquet"
    pq.write_table(rich_table(100), path, row_group_size=40)
    return path


def test_a_file_without_columns_gets_some(tmp_path: Path, target: Path) -> None:
    # Its footer is shorter than the one that pyarrow writes behind the new columns.
    path = tmp_path / "a.parquet"
    group = Struct({1: (thrift.LIST, List(thrift.STRUCT)), 2: (thrift.I64, 0), 3: (thrift.I64, 3)})
    root = Struct({4: (thrift.BINARY, b"r")})
    tree = Struct(
        {
            FileMetaData.VERSION: (thrift.I32, 2),
            FileMetaData.SCHEMA: (thrift.LIST, List(thrift.STRUCT, [root])),
            FileMetaData.NUM_ROWS: (thrift.I64, 3),
            FileMetaData.ROW_GROUPS: (thrift.LIST, List(thrift.STRUCT, [group])),
        }
    )
    path.write_bytes(b"PAR1" + b"\0" * 12)
    put_footer(path, thrift.encode(tree))
    with ParquetAppender(path, target, NEW_SCHEMA) as appender:
        appender.write(new_columns(3))
        appender.finish({})
    assert pq.read_table(target).equals(new_columns(3))
    assert read_footer(target).pairs == {}
    assert read_footer(target).is_canonical, "nothing is left of the longer footer"


def test_statistics_of_new_columns_are_there_and_right(source: Path, target: Path) -> None:
    append(source, target)
    metadata = pq.read_metadata(target)
    columns = pq.read_table(target, columns=["advantage"])["advantage"]
    start = 0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        column = group.column(group.num_columns - 2)
        rows = columns.slice(start, group.num_rows)
        assert column.path_in_schema == "advantage"
        assert column.statistics.min == pc.min(rows).as_py()
        assert column.statistics.max == pc.max(rows).as_py()
        assert column.statistics.null_count == rows.null_count
        start += group.num_rows


def test_row_group_sizes_are_those_of_their_chunks(source: Path, target: Path) -> None:
    append(source, target)
    metadata = pq.read_metadata(target)
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        chunks = [group.column(i) for i in range(group.num_columns)]
        assert group.total_byte_size == sum(chunk.total_uncompressed_size for chunk in chunks)
        tree = read_footer(target).row_groups[index]
        assert tree.value(6) == sum(chunk.total_compressed_size for chunk in chunks)


@pytest.mark.parametrize(
    ("codec", "expected"),
    [("ZSTD", "ZSTD"), ("BROTLI", "BROTLI"), ("LZ4", "LZ4"), ("GZIP", "GZIP"), ("NONE", "SNAPPY")],
)
def test_new_columns_take_the_codec_of_the_source(
    codec: str, expected: str, tmp_path: Path, target: Path
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(rich_table(50), path, compression=codec)
    append(path, target)
    group = pq.read_metadata(target).row_group(0)
    assert group.column(group.num_columns - 1).compression == expected


def test_list_columns_are_spliced_like_others(source: Path, target: Path) -> None:
    advantages = [[1.0, 2.0], [], None, [3.0]] * 25
    columns = pa.table(
        {
            "advantage": pa.array(advantages, pa.list_(pa.float32())),
            "return": pa.array(advantages, pa.large_list(pa.float64())),
            "fixed": pa.array([[1.0, 2.0]] * 100, pa.list_(pa.float32(), 2)),
        },
    ).rename_columns(["advantage", "return", "fixed_2"])
    append(source, target, columns)
    after = pq.read_table(target)
    assert after.select(columns.column_names).equals(columns)
    assert after.drop_columns(columns.column_names).equals(rich_table(100))


def test_splicing_again_replaces_own_columns_and_the_file_does_not_grow(source: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    payload_end = append(source, once).payload_end
    other = pa.table([pc.negate(column) for column in new_columns(100).columns], schema=NEW_SCHEMA)
    again = append(once, twice, other, own_columns=["advantage", "return"], payload_end=payload_end)
    assert again.method == "splice"
    assert again.payload_end == payload_end
    assert abs(twice.stat().st_size - once.stat().st_size) < 16, (
        "other signs, and a few bits compress otherwise"
    )
    assert pq.read_table(twice).schema.equals(pq.read_table(once).schema, check_metadata=True)
    assert pq.read_table(twice, columns=["advantage", "return"]).equals(other)
    thrice = tmp_path / "thrice"
    append(once, thrice, own_columns=["advantage", "return"], payload_end=payload_end)
    assert thrice.read_bytes() == once.read_bytes()


def test_own_columns_may_be_replaced_by_fewer_of_other_types(source: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    payload_end = append(source, once).payload_end
    columns = pa.table({"return": pa.array([[1.0]] * 100, pa.list_(pa.float64()))})
    again = append(once, twice, columns, own_columns=["advantage", "return"], payload_end=payload_end)
    assert again.method == "splice"
    assert pq.read_table(twice).drop_columns("return").equals(rich_table(100))
    assert pq.read_table(twice, columns=["return"]).equals(columns)


@pytest.mark.few(4)
@pytest.mark.parametrize("wrong_end", [None, -4, 0, 4, "end", 2**62, "later", True])
def test_own_columns_elsewhere_are_taken_out_by_a_rewrite(
    wrong_end: object, source: Path, tmp_path: Path
) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    right_end = append(source, once).payload_end
    end: Any = right_end + 10 if wrong_end == "later" else wrong_end
    again = append(once, twice, own_columns=["advantage", "return"], payload_end=end)
    assert again.method == "rewrite: displaced columns `advantage`, `return` replaced"
    assert pq.read_table(twice).equals(pq.read_table(once))
    assert twice.stat().st_size <= once.stat().st_size


def test_own_columns_are_cut_only_if_nothing_else_stands_behind_them(source: Path, tmp_path: Path) -> None:
    once, twice, thrice = tmp_path / "1", tmp_path / "2", tmp_path / "3"
    payload_end = append(source, once).payload_end
    append(once, twice, pa.table({"foreign": pa.array(range(100))}))
    last = append(twice, thrice, own_columns=["advantage", "return"], payload_end=payload_end)
    assert last.method.startswith("rewrite")
    after = pq.read_table(thrice)
    assert after.column_names == [*rich_table(0).column_names, "foreign", "advantage", "return"]
    assert after["foreign"].to_pylist() == list(range(100))


def test_a_name_that_is_there_already_is_refused(source: Path, target: Path) -> None:
    for names in (["reward"], ["advantage", "advantage"]):
        schema = pa.schema([pa.field(name, pa.float32()) for name in names])
        with pytest.raises(ValueError, match=f"`{names[0]}` would be there twice"):
            ParquetAppender(source, target, schema)
        assert not target.exists()


@pytest.mark.parametrize(
    ("num_rows", "reason"), [(0, "100 rows are missing"), (99, "1 rows"), (101, "more rows")]
)
def test_row_counts_that_do_not_add_up_are_refused(
    num_rows: int, reason: str, source: Path, target: Path
) -> None:
    with pytest.raises(ValueError, match=reason):
        append(source, target, new_columns(num_rows))
    assert not target.exists()


def test_columns_other_than_announced_are_refused(source: Path, target: Path) -> None:
    with (
        pytest.raises(ValueError, match="announced"),
        ParquetAppender(source, target, NEW_SCHEMA) as appender,
    ):
        appender.write(pa.table({"advantage": [1.0] * 100, "return": [1.0] * 100}))
    assert not target.exists()


@pytest.mark.parametrize("chunk_rows", [1, 39, 40, 41, 1000])
def test_chunks_of_any_size_give_the_same_file(chunk_rows: int, source: Path, tmp_path: Path) -> None:
    append(source, tmp_path / "a", chunk_rows=100)
    append(source, tmp_path / "b", chunk_rows=chunk_rows)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert row_counts(tmp_path / "b") == [40, 40, 20]


def test_record_batches_are_taken_like_tables(source: Path, tmp_path: Path) -> None:
    append(source, tmp_path / "a")
    with ParquetAppender(source, tmp_path / "b", NEW_SCHEMA) as appender:
        for batch in new_columns(100).to_batches(max_chunksize=30):
            appender.write(batch)
        appender.finish({"gaecli": '{"gamma": 0.99}'})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("num_written", [0, 50, 100])
def test_an_exception_leaves_no_file(num_written: int, source: Path, target: Path) -> None:
    appenders: list[ParquetAppender] = []

    def fail() -> None:
        with ParquetAppender(source, target, NEW_SCHEMA) as appender:
            appenders.append(appender)
            appender.write(new_columns(num_written))
            assert target.exists()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert not target.exists()
    appenders[0].abort()
    assert not any(thread.name == "parquet-copy" for thread in threading.enumerate())


def test_abort_after_finish_keeps_the_file(source: Path, target: Path) -> None:
    append(source, target).abort()
    assert pq.read_metadata(target).num_rows == 100


def test_nothing_stays_open(source: Path, target: Path) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("no /proc")
    before = len(list(descriptors.iterdir()))
    for _ in range(3):
        append(source, target)
        with pytest.raises(ValueError, match="missing"):
            append(source, target, new_columns(50))
    assert len(list(descriptors.iterdir())) == before


def test_the_copy_may_be_read_by_no_more_people_than_the_source(source: Path, target: Path) -> None:
    source.chmod(0o600)
    append(source, target)
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def copies_in_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_copy, "SYNCHRONOUS_BYTES", 0)
    monkeypatch.setattr(parquet_copy, "_CALL_BYTES", 1000)
    monkeypatch.setattr(parquet_copy, "_BLOCK_BYTES", 1000)


@pytest.mark.usefixtures("copies_in_background")
@pytest.mark.parametrize("number", [18, 38, 22, 95])  # EXDEV, ENOSYS, EINVAL, EOPNOTSUPP
def test_bytes_are_read_and_written_where_the_kernel_cannot_copy(
    number: int, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(source, tmp_path / "kernel")

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "copy_file_range", refuse)
    append(source, tmp_path / "refused")
    monkeypatch.delattr(os, "copy_file_range")
    append(source, tmp_path / "absent")
    expected = (tmp_path / "kernel").read_bytes()
    assert (tmp_path / "refused").read_bytes() == (tmp_path / "absent").read_bytes() == expected


@pytest.mark.usefixtures("copies_in_background")
@pytest.mark.parametrize("is_large", [True, False])
def test_many_new_rows_are_sent_to_the_disk_before_the_last_ones_come(
    is_large: bool, source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = threading.Semaphore(0)
    monkeypatch.setattr(os, "fsync", lambda handle: synced.release())
    monkeypatch.setattr(parquet_copy, "_SYNC_BYTES", 100 if is_large else 1 << 20)
    monkeypatch.setattr(column_stream, "_WRITE_BUFFER_BYTES", 1)
    with ParquetAppender(source, target, NEW_SCHEMA) as appender:
        assert synced.acquire(timeout=60)  # the copy
        appender.write(new_columns(100).slice(0, 50))
        assert synced.acquire(timeout=60 if is_large else 0.2) is is_large
        appender.write(new_columns(100).slice(50))
        appender.finish({})


@pytest.mark.usefixtures("copies_in_background")
def test_an_error_of_the_copy_comes_out_unchanged(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(28, "No space left on device")

    def fail(*_: object) -> int:
        raise full

    monkeypatch.setattr(os, "copy_file_range", fail)
    with pytest.raises(OSError, match="No space") as caught:
        append(source, target)
    assert caught.value is full
    assert not target.exists()


def test_an_interrupt_that_comes_as_pyarrow_lets_go_is_raised(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(sink: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(column_stream._Sink, "close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        append(source, target)
    assert not target.exists()


@pytest.mark.parametrize("failing_call", [1, 2, 5])
def test_an_error_of_writing_new_columns_comes_out_unchanged(
    failing_call: int, source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gaecli.formats.parquet import column_stream

    calls = 0
    write = column_stream._Sink.write

    def fail(sink: Any, block: Any) -> int:
        nonlocal calls
        calls += 1
        if calls >= failing_call:
            raise OSError(28, "No space left on device")
        return write(sink, block)

    monkeypatch.setattr(column_stream._Sink, "write", fail)
    monkeypatch.setattr(column_stream, "_WRITE_BUFFER_BYTES", 1)
    with pytest.raises(OSError, match="No space") as caught:
        append(source, target)
    assert caught.value.errno == 28
    assert not target.exists()


def test_a_source_that_shrinks_or_changes_is_noticed(source: Path, target: Path) -> None:
    def change_meanwhile() -> None:
        with ParquetAppender(source, target, NEW_SCHEMA) as appender:
            appender.write(new_columns(100))
            os.utime(source, ns=(1, 1))
            appender.finish({})

    with pytest.raises(FileError, match="was changed"):
        change_meanwhile()
    assert not target.exists()
    footer = read_footer(source)
    with source.open("rb", buffering=0) as file:
        os.truncate(source, footer.start // 2)
        target.touch()
        with target.open("r+b", buffering=0) as out, pytest.raises(FileError, match="was changed"):
            parquet_copy.copy_range(file, out, parquet_copy.Copy(0, 0, footer.start), "x")


def test_the_fingerprint_changes_with_the_payload_and_not_with_own_columns(
    source: Path, tmp_path: Path, target: Path
) -> None:
    append(source, target)
    before = fingerprint(read_footer(source))
    assert fingerprint(read_footer(target), ["advantage", "return"]) == before
    assert fingerprint(read_footer(target), ["advantage"]) != before
    assert fingerprint(read_footer(source), ["reward"]) != before
    assert fingerprint(read_footer(source), rich_table(0).column_names) != before
    changed = tmp_path / "changed.parquet"
    numbers = pa.array([1, 2, 3])
    prints = set()
    for column, size in ((numbers, 3), (numbers, 2), (numbers.cast(pa.timestamp("us")), 3)):
        pq.write_table(pa.table({"x": column}), changed, row_group_size=size)
        prints.add(fingerprint(read_footer(changed)))
        prints.add(fingerprint(read_footer(changed), ["x"]))
    assert len(prints) == 5, "row groups count, without any column too, and so do logical types"
    for table, options in (
        (rich_table(99), {}),
        (rich_table(100), {"row_group_size": 50}),
        (rich_table(100), {"compression": "zstd"}),
        (rich_table(100).rename_columns([*rich_table(0).column_names[:-1], "x"]), {}),
    ):
        pq.write_table(table, changed, **{"row_group_size": 40, **options})
        assert fingerprint(read_footer(changed)) != before


@pytest.mark.parametrize("name", ["cartpole.parquet", "pendulum.parquet"])
def test_sample_files_are_spliced(name: str, sample_data: Path, target: Path) -> None:
    path = sample_data / name
    own = {"advantage", "return"}.intersection(pq.read_schema(path).names)
    assert not own
    append(path, target)
    before = pq.read_table(path)
    assert pq.read_table(target).select(before.column_names).equals(before)


@pytest.mark.parametrize("sizes", [(0, 2), (0, 0, 2, 0, 2), (0,), (2, 0)])
def test_no_file_begins_with_a_row_group_without_rows(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    """`datasets` would refuse it; what comes later in the file stays as it is."""
    count = sum(sizes)
    ends = [number % 2 == 1 for number in range(count)]
    table = pa.table(
        {"reward": [1.0] * count, "value": [0.5] * count, "terminated": pa.array(ends, pa.bool_())}
    )
    path, row = tmp_path / "r.parquet", 0
    with pq.ParquetWriter(path, table.schema) as writer:
        for size in sizes:
            writer.write_table(table.slice(row, size))
            row += size
    gaecli.compute(path)
    first = next((index for index, size in enumerate(sizes) if size), len(sizes))
    metadata = pq.read_metadata(path)
    groups = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    assert groups == list(sizes[first:])
    assert pq.read_table(path).drop_columns(["advantage", "return"]).equals(table)
    assert gaecli.compute(path).files[0].status == "up to date"
    assert gaecli.compute(path, gamma=0.5).files[0].status == "written"
    assert pq.read_metadata(path).num_row_groups == len(groups)


def test_the_footer_of_each_file_is_decoded_once_in_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of a wide file takes seconds; opening, fingerprint and writer each ask for it, of files side by side."""
    paths = [tmp_path / f"r{number}.parquet" for number in range(6)]
    for number, path in enumerate(paths):
        rewards = [1.0, float(number)]
        pq.write_table(pa.table({"reward": rewards, "value": [0.0, 0.0], "terminated": [False, True]}), path)
    before = [path.read_bytes() for path in paths]
    footers: list[bytes] = []
    decoded = thrift.decoded

    def counted(raw: bytes, *rest: int) -> thrift.Decoded:
        footers.append(raw)
        return decoded(raw, *rest)

    monkeypatch.setattr(thrift, "decoded", counted)
    gaecli.compute(paths, jobs=2)
    assert [sum(len(raw) > 100 and raw in old for raw in footers) for old in before] == [1] * 6
