"""Columns spliced to Parquet files: other readers see them, and nothing else changed."""

from __future__ import annotations

import base64
import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from formats.parquet_files import (
    NEW_SCHEMA,
    WRITERS,
    append,
    assert_page_index_fits,
    flat_table,
    new_columns,
    rich_table,
    row_counts,
)

from gaecli.errors import FileError
from gaecli.formats import parquet_copy, parquet_pieces, thrift_compact
from gaecli.formats.parquet_footer import ColumnChunk, FileMetaData, fingerprint, read_footer
from gaecli.formats.parquet_splice import ParquetAppender

EVERY_WRITER = pytest.mark.parametrize("writer", WRITERS)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.parquet"
    pq.write_table(rich_table(100), path, row_group_size=40)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / ".source.parquet.tmp"


@EVERY_WRITER
def test_the_footer_of_every_writer_survives_byte_for_byte(writer: str, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    WRITERS[writer](path)
    footer = read_footer(path)
    assert thrift_compact.encode(footer.tree) == footer.raw == path.read_bytes()[footer.start : -8]
    assert footer.is_canonical


@EVERY_WRITER
def test_old_and_new_columns_read_back_in_pyarrow(writer: str, tmp_path: Path, target: Path) -> None:
    path = tmp_path / "a.parquet"
    WRITERS[writer](path)
    before = pq.read_table(path)
    appender = append(path, target)
    after = pq.read_table(target)
    assert appender.method == "splice"
    assert after.column_names == [*before.column_names, "advantage", "return"]
    assert after.select(before.column_names).equals(before)
    assert after.select(["advantage", "return"]).equals(new_columns(before.num_rows))
    for name in before.column_names:
        assert after.schema.field(name).equals(before.schema.field(name), check_metadata=True)
    pq.ParquetFile(target, page_checksum_verification=True).read()


@EVERY_WRITER
def test_old_bytes_offsets_and_row_groups_stay(writer: str, tmp_path: Path, target: Path) -> None:
    path = tmp_path / "a.parquet"
    WRITERS[writer](path)
    appender = append(path, target)
    old, new = read_footer(path), read_footer(target)
    assert appender.payload_end == old.start
    assert target.read_bytes()[: old.start] == path.read_bytes()[: old.start]
    assert new.row_group_rows == old.row_group_rows == list(appender.row_group_rows)
    assert new.is_canonical
    for old_group, new_group in zip(old.row_groups, new.row_groups, strict=True):
        assert new_group.value(1)[: len(old.leaves)] == old_group.value(1)
    same = [FileMetaData.VERSION, FileMetaData.NUM_ROWS, FileMetaData.CREATED_BY]
    assert [new.tree.get(field) for field in same] == [old.tree.get(field) for field in same]
    assert fingerprint(new, ["advantage", "return"]) == fingerprint(old)


@EVERY_WRITER
def test_duckdb_and_polars_read_the_same_as_pyarrow(writer: str, tmp_path: Path, target: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    polars = pytest.importorskip("polars")
    path = tmp_path / "a.parquet"
    WRITERS[writer](path)
    append(path, target)
    expected = pq.read_table(target, columns=["advantage", "return"])
    rows = duckdb.sql(f"SELECT advantage, \"return\" FROM read_parquet('{target}')").to_arrow_table()
    assert rows.cast(NEW_SCHEMA).equals(expected)
    assert (
        polars.read_parquet(target, columns=["advantage", "return"]).to_arrow().cast(NEW_SCHEMA) == expected
    )
    # Old columns: what the reader makes of them before and after. Neither knows every Arrow type.
    scan = f"SELECT step, reward FROM read_parquet('{path}')"
    assert duckdb.sql(scan).fetchall() == duckdb.sql(scan.replace(str(path), str(target))).fetchall()
    old_names = [name for name in ("step", "reward", "word", "list") if name in pq.read_schema(path).names]
    before = polars.read_parquet(path, columns=old_names)
    assert polars.read_parquet(target, columns=old_names).equals(before)


@EVERY_WRITER
def test_filters_pushed_down_find_the_same_rows(writer: str, tmp_path: Path, target: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "a.parquet"
    WRITERS[writer](path)
    append(path, target)
    everything = pq.read_table(target, columns=["step", "reward", "advantage", "return"])
    for name, low, high in (("advantage", 40.0, 42.0), ("return", -100.0, -90.0), ("reward", 10.0, 20.0)):
        condition = (pc.field(name) > low) & (pc.field(name) < high)
        expected = everything.filter(condition)
        found = pq.read_table(target, columns=everything.column_names, filters=condition)
        assert found.equals(expected)
        query = f'SELECT step FROM read_parquet(\'{target}\') WHERE "{name}" > {low} AND "{name}" < {high}'
        assert duckdb.sql(query).fetchall() == [(step,) for step in expected["step"].to_pylist()]


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


def test_page_indexes_of_old_and_new_columns_fit_their_pages(tmp_path: Path, target: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(rich_table(3000), path, row_group_size=1700, write_page_index=True, data_page_size=2000)
    append(path, target, chunk_rows=1000)
    footer = read_footer(target)
    old_pages = assert_page_index_fits(path, read_footer(path))
    assert assert_page_index_fits(target, footer) > old_pages
    assert all(ColumnChunk.OFFSET_INDEX_OFFSET in chunk for chunk in footer.chunks())


def test_new_columns_have_no_page_index_where_the_source_has_none(source: Path, target: Path) -> None:
    append(source, target)
    assert not read_footer(target).has_page_index


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


@pytest.mark.parametrize("writer", ["duckdb", "pyarrow without schema"])
def test_no_arrow_schema_is_added_unless_a_type_needs_it(writer: str, tmp_path: Path, target: Path) -> None:
    path = tmp_path / "a.parquet"
    WRITERS[writer](path)
    append(path, target)
    assert b"ARROW:schema" not in read_footer(target).pairs
    before = pq.read_table(path)
    columns = pa.table({"advantage": pa.array([[1.0]] * 100, pa.large_list(pa.float32()))})
    append(path, target, columns)
    after = pq.read_table(target)
    assert after.schema.field("advantage").type == pa.large_list(pa.float32())
    assert after.drop_columns("advantage").equals(before)
    # With ARROW:schema there, pyarrow shows the copies in it, so they must be complete.
    assert (after.schema.metadata or {}).items() >= (before.schema.metadata or {}).items()
    assert after.schema.metadata[b"gaecli"] == b'{"gamma": 0.99}'


def test_metadata_is_added_in_the_file_and_inside_the_arrow_schema(source: Path, target: Path) -> None:
    append(source, target)
    pairs = read_footer(target).pairs
    stored = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(pairs[b"ARROW:schema"] or b"")))
    assert pairs[b"gaecli"] == stored.metadata[b"gaecli"] == b'{"gamma": 0.99}'
    assert pairs[b"origin"] == stored.metadata[b"origin"] == b"test"
    assert pq.read_schema(target).metadata[b"gaecli"] == b'{"gamma": 0.99}'
    assert stored.names[-2:] == ["advantage", "return"]


def test_pandas_metadata_gets_the_columns_and_pandas_reads_them(tmp_path: Path, target: Path) -> None:
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "a.parquet"
    WRITERS["pandas"](path)
    append(path, target)
    document = json.loads(read_footer(target).pairs[b"pandas"] or b"")
    assert document["columns"][-1] == {
        "name": "return",
        "field_name": "return",
        "pandas_type": "float32",
        "numpy_type": "float32",
        "metadata": None,
    }
    assert json.loads(pq.read_schema(target).metadata[b"pandas"]) == document
    frame = pandas.read_parquet(target)
    assert frame.index.name == "step"
    assert frame.columns.tolist() == ["reward", "word", "list", "advantage", "return"]


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        ({"feature": {"dtype": "float32", "_type": "Value"}, "_type": "List"}, "List"),
        ({"feature": {"dtype": "float32", "_type": "Value"}, "_type": "Sequence"}, "Sequence"),
        ({"dtype": "float32", "_type": "Value"}, "Sequence"),
    ],
)
def test_huggingface_features_are_extended_in_the_spelling_of_the_file(
    existing: dict[str, Any], expected: str, tmp_path: Path, target: Path
) -> None:
    path = tmp_path / "a.parquet"
    document = {"info": {"features": {"list": existing, "step": {"dtype": "int64", "_type": "Value"}}}}
    table = flat_table(4).replace_schema_metadata({"huggingface": json.dumps(document), "other": "kept"})
    pq.write_table(table, path)
    columns = pa.table(
        {
            "advantage": pa.array([[1.0]] * 4, pa.list_(pa.float32())),
            "return": pa.array([1.0] * 4, pa.float32()),
            "large": pa.array([[1.0]] * 4, pa.large_list(pa.float64())),
        }
    )
    append(path, target, columns)
    written = json.loads(read_footer(target).pairs[b"huggingface"] or b"")
    assert json.loads(pq.read_schema(target).metadata[b"huggingface"]) == written
    features = written["info"]["features"]
    assert features == {
        **document["info"]["features"],
        "advantage": {"feature": {"dtype": "float32", "_type": "Value"}, "_type": expected},
        "return": {"dtype": "float32", "_type": "Value"},
        "large": {"feature": {"dtype": "float64", "_type": "Value"}, "_type": "LargeList"},
    }


@pytest.mark.parametrize("text", ["", "[]", "{", '{"info": 3}', '{"columns": {}}', "[" * 100_000])
def test_metadata_that_is_not_understood_stays_as_it_is(text: str, tmp_path: Path, target: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(flat_table(4).replace_schema_metadata({"huggingface": text, "pandas": text}), path)
    append(path, target)
    assert read_footer(target).pairs[b"huggingface"] == text.encode()
    assert read_footer(target).pairs[b"pandas"] == text.encode()


def test_an_arrow_schema_of_other_columns_is_left_out(tmp_path: Path, target: Path) -> None:
    # pyarrow ignores it for its number of columns, which the new ones would make fit.
    path = tmp_path / "a.parquet"
    other = pa.schema([pa.field(str(i), pa.large_list(pa.int8())) for i in range(6)])
    with pq.ParquetWriter(path, flat_table(4).schema, store_schema=False) as writer:
        writer.write_table(flat_table(4))
        writer.add_key_value_metadata({"ARROW:schema": base64.b64encode(other.serialize()).decode()})
    append(path, target)
    assert b"ARROW:schema" not in read_footer(target).pairs
    assert pq.read_table(target, columns=flat_table(4).column_names).equals(flat_table(4))


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


@pytest.mark.parametrize("wrong_end", [None, -4, 0, 4, "end", 2**62, "source size", True])
def test_own_columns_elsewhere_are_taken_out_by_a_rewrite(
    wrong_end: object, source: Path, tmp_path: Path
) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    append(source, once)
    end: Any = source.stat().st_size if wrong_end == "source size" else wrong_end
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


@pytest.mark.parametrize("num_rows", [0, 99, 101])
def test_row_counts_that_do_not_add_up_are_refused(num_rows: int, source: Path, target: Path) -> None:
    with pytest.raises(ValueError, match="row"):
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
    with pytest.raises(RuntimeError, match="stop"), ParquetAppender(source, target, NEW_SCHEMA) as appender:
        appender.write(new_columns(num_written))
        assert target.exists()
        raise RuntimeError("stop")
    assert not target.exists()
    appender.abort()
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
def test_an_error_of_the_copy_comes_out_unchanged(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(28, "No space left on device")

    def fail(*_: object) -> int:
        raise full

    monkeypatch.setattr(os, "copy_file_range", fail)
    with (
        pytest.raises(OSError, match="No space") as caught,
        ParquetAppender(source, target, NEW_SCHEMA) as appender,
    ):
        appender.write(new_columns(100))
        appender.finish({})
    assert caught.value is full
    assert not target.exists()


@pytest.mark.parametrize("failing_call", [1, 2, 5])
def test_an_error_of_writing_new_columns_comes_out_unchanged(
    failing_call: int, source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gaecli.formats import parquet_splice

    calls = 0
    write = parquet_splice._Sink.write

    def fail(sink: Any, block: Any) -> int:
        nonlocal calls
        calls += 1
        if calls >= failing_call:
            raise OSError(28, "No space left on device")
        return write(sink, block)

    monkeypatch.setattr(parquet_splice._Sink, "write", fail)
    with pytest.raises(OSError, match="No space") as caught:
        append(source, target)
    assert caught.value.errno == 28
    assert not target.exists()


def test_a_source_that_shrinks_or_changes_is_noticed(source: Path, target: Path) -> None:
    with (
        pytest.raises(FileError, match="was changed"),
        ParquetAppender(source, target, NEW_SCHEMA) as appender,
    ):
        appender.write(new_columns(100))
        os.utime(source, ns=(1, 1))
        appender.finish({})
    assert not target.exists()
    footer = read_footer(source)
    with source.open("rb", buffering=0) as file:
        os.truncate(source, footer.start // 2)
        target.touch()
        with target.open("r+b", buffering=0) as out, pytest.raises(FileError, match="was changed"):
            parquet_copy.copy_range(file, out, parquet_copy.Copy(0, 0, footer.start), "x")


def _without_nan(table: pa.Table) -> pa.Table:
    """NaN equals nothing, so a number that does not occur stands for it."""
    returns = table["return"]
    column = pc.if_else(pc.is_nan(returns), pa.scalar(1e9), returns)
    return table.set_column(table.column_names.index("return"), "return", column)


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
    whole, merged = pq.read_metadata(tmp_path / "whole"), pq.read_metadata(target)
    for group in range(4):
        for leaf in range(whole.num_columns):
            expected, found = (meta.row_group(group).column(leaf) for meta in (whole, merged))
            assert found.num_values == expected.num_values
            if expected.statistics is None:
                assert found.statistics is None
            else:
                assert found.statistics.to_dict() == expected.statistics.to_dict()
            assert set(found.encodings) == set(expected.encodings)
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


def test_the_fingerprint_changes_with_the_payload_and_not_with_own_columns(
    source: Path, tmp_path: Path, target: Path
) -> None:
    append(source, target)
    before = fingerprint(read_footer(source))
    assert fingerprint(read_footer(target), ["advantage", "return"]) == before
    assert fingerprint(read_footer(target), ["advantage"]) != before
    assert fingerprint(read_footer(source), ["reward"]) != before
    changed = tmp_path / "changed.parquet"
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
