"""Files that cannot be spliced as they are: columns are taken out, unusual footers made anew."""

from __future__ import annotations

import inspect
import itertools
import json
from collections.abc import Callable
from itertools import dropwhile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from formats.parquet_files import (
    CODECS,
    NEW_SCHEMA,
    WRITERS,
    append,
    assert_no_gaps,
    assert_page_index_fits,
    flat_table,
    new_columns,
    pages,
    put_footer,
    rich_table,
    row_counts,
    with_unusual_footer,
)
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from profiles import examples

from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.footer import (
    ColumnChunk,
    ColumnMetaData,
    FileMetaData,
    RowGroup,
    read_footer,
)
from gaecli.formats.parquet.thrift_compact import Struct

EVERY_WRITER = pytest.mark.parametrize("writer", WRITERS)
HAS_BLOOM_FILTERS = "bloom_filter_options" in inspect.signature(pq.ParquetWriter).parameters
needs_bloom_filters = pytest.mark.skipif(not HAS_BLOOM_FILTERS, reason="this pyarrow writes no bloom filters")


def without_empty_head(rows: list[int]) -> list[int]:
    """`datasets` refuses a file whose first row group has no rows, so none is written."""
    return list(dropwhile(lambda count: count == 0, rows))


def codecs(path: Path) -> dict[str, set[str]]:
    metadata = pq.read_metadata(path)
    found: dict[str, set[str]] = {}
    for group in range(metadata.num_row_groups):
        for leaf in range(metadata.num_columns):
            column = metadata.row_group(group).column(leaf)
            found.setdefault(column.path_in_schema, set()).add(column.compression)
    return found


# Columns taken out: the others are moved as bytes.


@pytest.mark.few(10)
@EVERY_WRITER
@pytest.mark.parametrize("dropped", ["reward", "list"])
def test_a_foreign_column_is_taken_out_and_the_others_stay_equal(
    writer: str, dropped: str, source: Path, target: Path
) -> None:
    WRITERS[writer](source)
    before = pq.read_table(source)
    columns = new_columns(before.num_rows).rename_columns([dropped, "return"])
    appender = append(source, target, columns, drop_columns=[dropped])
    assert appender.method == f"rewrite: foreign column `{dropped}` replaced"
    after = pq.read_table(target)
    kept = [name for name in before.column_names if name != dropped]
    assert after.column_names == [*kept, dropped, "return"]
    assert after.select(kept).equals(before.select(kept))
    assert after.select([dropped, "return"]).equals(columns)
    assert row_counts(target) == without_empty_head(row_counts(source))
    pairs = read_footer(target).pairs
    for key, value in read_footer(source).pairs.items():
        assert pairs[key] == value or key in (b"ARROW:schema", b"pandas")
    polars = pytest.importorskip("polars")
    assert polars.read_parquet(target, columns=["step", "return"]).height == before.num_rows


def test_the_pages_that_stay_are_not_touched(source: Path, target: Path) -> None:
    pq.write_table(rich_table(300), source, row_group_size=120, write_page_index=True, compression="zstd")
    append(
        source, target, new_columns(300).rename_columns(["reward", "word"]), drop_columns=["word", "reward"]
    )
    old, new = read_footer(source), read_footer(target)
    kept = [index for index, leaf in enumerate(old.leaves) if leaf.path[0] not in ("word", "reward")]
    before, after = source.read_bytes(), target.read_bytes()
    for old_group, new_group in zip(old.row_groups, new.row_groups, strict=True):
        for position, index in enumerate(kept):
            was, now = old_group.value(1)[index], new_group.value(1)[position]
            was_pages = [before[at : at + size] for at, _, size in pages(source, was)]
            assert [after[at : at + size] for at, _, size in pages(target, now)] == was_pages
            offsets = {9, 10, 11, 14}
            was_meta, now_meta = was.value(3), now.value(3)
            assert {f: v for f, v in was_meta.items() if f not in offsets} == {
                f: v for f, v in now_meta.items() if f not in offsets
            }
            was_at, now_at = (chunk.value(ColumnChunk.COLUMN_INDEX_OFFSET, 0) for chunk in (was, now))
            length = was.value(ColumnChunk.COLUMN_INDEX_LENGTH, 0)
            assert after[now_at : now_at + length] == before[was_at : was_at + length]
    assert assert_page_index_fits(target, new) == assert_page_index_fits(source, old)
    assert_no_gaps(new)


@needs_bloom_filters
@pytest.mark.parametrize("length_is_known", [True, False])
def test_bloom_filters_move_along(length_is_known: bool, source: Path, target: Path) -> None:
    options = {name: {"ndv": 1000, "fpp": 0.01} for name in ("step", "word")}
    pq.write_table(flat_table(500), source, row_group_size=200, bloom_filter_options=options)
    if not length_is_known:
        footer = read_footer(source)
        for chunk in footer.chunks():
            chunk.value(ColumnChunk.META_DATA).pop(ColumnMetaData.BLOOM_FILTER_LENGTH, None)
        put_footer(source, thrift.encode(footer.tree))
    append(source, target, new_columns(500).rename_columns(["reward", "x"]), drop_columns=["reward"])
    before, after = source.read_bytes(), target.read_bytes()
    num_filters = 0
    for old_group, new_group in zip(
        read_footer(source).row_groups, read_footer(target).row_groups, strict=True
    ):
        for was, now in zip((old_group.value(1)[i] for i in (0, 2, 3)), new_group.value(1), strict=False):
            was_at, now_at = (c.value(3).value(ColumnMetaData.BLOOM_FILTER_OFFSET, 0) for c in (was, now))
            assert bool(was_at) == bool(now_at)
            if was_at:
                header, bits = thrift.decode(before, was_at)
                size = bits - was_at + header.value(1)
                assert size >= 32
                assert after[now_at : now_at + size] == before[was_at : was_at + size]
                num_filters += 1
    assert num_filters == 6
    duckdb = pytest.importorskip("duckdb")
    query = f"SELECT count(*) FROM read_parquet('{target}') WHERE word = 'w1' AND step IN (4, 11, 491)"
    assert duckdb.sql(query).fetchall() == [(sum(step % 3 == 1 and step % 7 != 3 for step in (4, 11, 491)),)]


def test_the_sort_order_stays_as_far_as_its_columns_do(source: Path, target: Path) -> None:
    sorting = [pq.SortingColumn(2), pq.SortingColumn(0, descending=True), pq.SortingColumn(3)]
    pq.write_table(flat_table(50), source, sorting_columns=sorting)

    def after_dropping(name: str) -> tuple[Any, ...]:
        append(source, target, pa.table({"new": pa.nulls(50, pa.float32())}), drop_columns=[name])
        return pq.read_metadata(target).row_group(0).sorting_columns

    assert after_dropping("reward") == (
        pq.SortingColumn(1),
        pq.SortingColumn(0, descending=True),
        pq.SortingColumn(2),
    )
    assert after_dropping("step") == (pq.SortingColumn(1),)
    assert after_dropping("word") == ()


def test_a_rewritten_file_can_be_spliced_again(source: Path, tmp_path: Path) -> None:
    pq.write_table(
        rich_table(100).add_column(3, "advantage", pa.array(range(100))), source, row_group_size=40
    )
    once, twice = tmp_path / "once", tmp_path / "twice"
    first = append(source, once, drop_columns=["advantage"])
    assert first.method.startswith("rewrite: foreign column `advantage`")
    again = append(once, twice, own_columns=["advantage", "return"], payload_end=first.payload_end)
    assert again.method == "splice"
    assert twice.read_bytes() == once.read_bytes()
    assert pq.read_table(twice).drop_columns(["advantage", "return"]).equals(rich_table(100))


def test_metadata_of_dropped_columns_goes_with_them(source: Path, target: Path) -> None:
    features = {name: {"dtype": "int64", "_type": "Value"} for name in flat_table(0).column_names}
    entries = [{"name": name, "field_name": name} for name in flat_table(0).column_names]
    metadata = {
        "huggingface": json.dumps({"info": {"features": features}}),
        "pandas": json.dumps({"columns": entries, "index_columns": []}),
    }
    pq.write_table(flat_table(10).replace_schema_metadata(metadata), source)
    columns = pa.table({"reward": pa.array(range(10), pa.float64())})
    append(source, target, columns, drop_columns=["reward", "word"])
    pairs = read_footer(target).pairs
    assert list(json.loads(pairs[b"huggingface"] or b"")["info"]["features"]) == ["step", "list", "reward"]
    assert [c["name"] for c in json.loads(pairs[b"pandas"] or b"")["columns"]] == ["step", "list", "reward"]


# Unusual footers: the old columns are encoded anew with pyarrow.


@pytest.mark.few(6)
@EVERY_WRITER
def test_a_file_with_an_unusual_footer_is_encoded_anew(writer: str, source: Path, target: Path) -> None:
    WRITERS[writer](source)
    plain = source.with_suffix(".plain")
    plain.write_bytes(source.read_bytes())
    before = pq.read_table(source)
    with_unusual_footer(source)
    assert pq.read_table(source).equals(before)
    assert not read_footer(source).is_canonical
    appender = append(source, target)
    assert appender.method == "rewrite: the footer is in an unusual form"
    after = pq.read_table(target)
    assert after.select(before.column_names).equals(before)
    assert after.select(["advantage", "return"]).equals(new_columns(before.num_rows))
    old, new = read_footer(source), read_footer(target)
    assert new.row_group_rows == without_empty_head(old.row_group_rows)
    assert new.is_canonical
    assert new.tree.value(FileMetaData.VERSION) == old.tree.value(FileMetaData.VERSION)
    assert pq.read_metadata(target).format_version == pq.read_metadata(source).format_version
    assert [leaf.path for leaf in new.leaves[:-2]] == [leaf.path for leaf in old.leaves]
    old_codecs = codecs(source) if new.row_group_rows else {}  # no rows have none
    assert {path: codec for path, codec in codecs(target).items() if path in old_codecs} == old_codecs
    # Key-value metadata and types: as after splicing the file without the unusual form.
    append(plain, target.with_suffix(".spliced"))
    assert new.pairs == read_footer(target.with_suffix(".spliced")).pairs
    spliced = pq.read_schema(target.with_suffix(".spliced"))
    assert pq.read_schema(target).equals(spliced, check_metadata=True)
    assert append(
        target, source, own_columns=["advantage", "return"], payload_end=appender.payload_end
    ).method == ("splice")


def leaf_facts(path: Path, fact: Callable[[Struct], Any]) -> list[Any]:
    footer = read_footer(path)
    num_leaves = sum(leaf.path[0] not in NEW_SCHEMA.names for leaf in footer.leaves)
    return [
        [fact(chunk.value(ColumnChunk.META_DATA)) for chunk in group.value(RowGroup.COLUMNS)[:num_leaves]]
        for group in footer.row_groups
    ]


def has_dictionary(meta: Struct) -> bool:
    return not {2, 8}.isdisjoint(meta.value(ColumnMetaData.ENCODINGS))


def test_codec_and_dictionary_of_each_leaf_survive_encoding_anew(source: Path, target: Path) -> None:
    leaves = [".".join(leaf) for leaf in _leaf_paths(source)]
    compression = dict(zip(leaves, itertools.cycle(CODECS), strict=False))
    dictionaries = leaves[::2]
    pq.write_table(
        rich_table(100), source, row_group_size=40, compression=compression, use_dictionary=dictionaries
    )
    assert len({codec for found in codecs(source).values() for codec in found}) == len(CODECS)
    assert {True, False} == set(itertools.chain.from_iterable(leaf_facts(source, has_dictionary)))
    with_unusual_footer(source)
    append(source, target)
    assert codecs(target).items() >= codecs(source).items()
    assert leaf_facts(target, has_dictionary) == leaf_facts(source, has_dictionary)


def _leaf_paths(path: Path) -> list[tuple[str, ...]]:
    pq.write_table(rich_table(1), path)
    return [leaf.path for leaf in read_footer(path).leaves]


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_page_version_and_page_index_survive_encoding_anew(version: str, source: Path, target: Path) -> None:
    has_index = version == "2.0"
    pq.write_table(flat_table(100), source, data_page_version=version, write_page_index=has_index)
    with_unusual_footer(source)
    append(source, target)
    footer = read_footer(target)
    kinds = {header.value(1) for _, header, _ in pages(target, footer.chunks()[0])}
    assert kinds == ({2, 0} if version == "1.0" else {2, 3})
    assert {ColumnChunk.OFFSET_INDEX_OFFSET in chunk for chunk in footer.chunks()} == {has_index}
    assert (assert_page_index_fits(target, footer) > 0) == has_index


@needs_bloom_filters
def test_bloom_filters_survive_encoding_anew(source: Path, target: Path) -> None:
    options = {"step": {"ndv": 3000, "fpp": 0.01}, "word": {"ndv": 10, "fpp": 0.1}}
    pq.write_table(flat_table(500), source, row_group_size=200, bloom_filter_options=options)
    with_unusual_footer(source)
    append(source, target)

    def length(meta: Struct) -> int:
        return int(meta.value(ColumnMetaData.BLOOM_FILTER_LENGTH, 0))

    assert leaf_facts(target, length) == leaf_facts(source, length)
    assert any(itertools.chain.from_iterable(leaf_facts(source, length)))


def test_sort_order_and_field_ids_survive_encoding_anew(source: Path, target: Path) -> None:
    schema = pa.schema(
        [
            field.with_metadata({"PARQUET:field_id": str(7 + i)})
            for i, field in enumerate(flat_table(0).schema)
        ]
    )
    sorting = [pq.SortingColumn(1, descending=True), pq.SortingColumn(0)]
    pq.write_table(flat_table(50).cast(schema), source, row_group_size=20, sorting_columns=sorting)
    with_unusual_footer(source)
    append(source, target)
    metadata = pq.read_metadata(target)
    assert [metadata.row_group(i).sorting_columns for i in range(3)] == [tuple(sorting)] * 3
    assert pq.read_schema(target).field("word").metadata[b"PARQUET:field_id"] == b"9"


def test_deprecated_timestamps_survive_encoding_anew(source: Path, target: Path) -> None:
    table = pa.table({"when": pa.array([1, None, 3], pa.timestamp("ns"))})
    pq.write_table(table, source, use_deprecated_int96_timestamps=True)
    with_unusual_footer(source)
    append(source, target)
    assert pq.read_table(target, columns=["when"]).equals(table)
    assert str(pq.ParquetFile(target).schema.column(0).physical_type) == "INT96"


@pytest.mark.parametrize("compliant", [True, False])
def test_names_within_lists_survive_encoding_anew(compliant: bool, source: Path, target: Path) -> None:
    pq.write_table(flat_table(50), source, use_compliant_nested_type=compliant, compression="gzip")
    with_unusual_footer(source)
    append(source, target)
    assert read_footer(target).leaves[3].path == ("list", "list", "element" if compliant else "item")
    assert codecs(target).items() >= codecs(source).items()


def test_a_column_is_dropped_while_encoding_anew(source: Path, target: Path) -> None:
    pq.write_table(rich_table(100), source, row_group_size=40, compression="gzip")
    with_unusual_footer(source)
    columns = new_columns(100).rename_columns(["reward", "return"])
    append(source, target, columns, drop_columns=["reward"])
    after = pq.read_table(target)
    assert after.drop_columns(["reward", "return"]).equals(rich_table(100).drop_columns("reward"))
    assert after.select(["reward", "return"]).equals(columns)


# All ways to the same result.

SCALAR_TYPES = (
    pa.int8(),
    pa.uint64(),
    pa.float32(),
    pa.bool_(),
    pa.string(),
    pa.large_string(),
    pa.timestamp("ms", "UTC"),
    pa.dictionary(pa.int8(), pa.string()),
)
WRAPPERS: tuple[Callable[[pa.DataType], pa.DataType], ...] = (
    lambda inner: inner,
    pa.list_,
    pa.large_list,
    lambda inner: pa.list_(inner, 2),
    lambda inner: pa.struct([pa.field("a", inner), pa.field("b", pa.list_(inner))]),
    lambda inner: pa.map_(pa.string(), inner),
)


def _value(data_type: pa.DataType, number: int) -> Any:
    """Some value of a type, derived from a number; every fifth is null."""
    if number % 5 == 4:
        return None
    if pa.types.is_fixed_size_list(data_type):
        return [_value(data_type.value_type, number + 1)] * data_type.list_size
    if pa.types.is_list(data_type) or pa.types.is_large_list(data_type):
        return [_value(data_type.value_type, number + k) for k in range(number % 3)]
    if pa.types.is_struct(data_type):
        return {field.name: _value(field.type, number + 1) for field in data_type}
    if pa.types.is_map(data_type):
        return [("k", _value(data_type.item_type, number))]
    if pa.types.is_boolean(data_type):
        return number % 2 == 0
    return str(number) if not pa.types.is_primitive(data_type) else number % 100


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    num_rows = draw(st.integers(0, 30))
    columns = {}
    for index in range(draw(st.integers(0, 4))):
        scalar = draw(st.sampled_from(SCALAR_TYPES))
        wrap = draw(st.sampled_from(WRAPPERS))
        is_dictionary = pa.types.is_dictionary(scalar)
        data_type = wrap(pa.string() if is_dictionary else scalar)
        seed = draw(st.integers(0, 20))
        array = pa.array([_value(data_type, seed + 3 * row) for row in range(num_rows)], data_type)
        if is_dictionary and pa.types.is_string(data_type):
            array = array.cast(scalar)
        columns[f"c{index}"] = array
    columns["step"] = pa.array(range(num_rows), pa.int32())
    return pa.table(columns)


@examples(30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=tables(),
    row_group_size=st.integers(1, 12),
    codec=st.sampled_from(CODECS),
    page_index=st.booleans(),
    position=st.integers(0, 5),
    chunk_rows=st.integers(1, 40),
    options=st.fixed_dictionaries(
        {
            "use_dictionary": st.booleans(),
            "data_page_version": st.sampled_from(["1.0", "2.0"]),
            "store_schema": st.booleans(),
            "data_page_size": st.sampled_from([200, 1 << 20]),
        }
    ),
)
def test_splicing_moving_and_encoding_anew_agree(
    table: pa.Table,
    row_group_size: int,
    codec: str,
    page_index: bool,
    position: int,
    chunk_rows: int,
    options: dict[str, Any],
    tmp_path: Path,
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    options |= {"row_group_size": row_group_size, "compression": codec, "write_page_index": page_index}
    columns = new_columns(table.num_rows)

    def check(method: str, before: pa.Table, **drop: Any) -> None:
        assert append(source, target, columns, chunk_rows=chunk_rows, **drop).method.startswith(method)
        after = pq.read_table(target)
        assert after.select(before.column_names).equals(before)
        assert after.select(NEW_SCHEMA.names).equals(columns)
        assert row_counts(target) == without_empty_head(row_counts(source))
        assert_page_index_fits(target, read_footer(target))

    pq.write_table(table, source, **options)
    before = pq.read_table(source)
    check("splice", before)
    with_unusual_footer(source)
    check("rewrite: the footer", before)
    foreign = pa.array([[str(row)] * (row % 3) for row in range(table.num_rows)], pa.list_(pa.string()))
    pq.write_table(
        table.add_column(min(position, table.num_columns), "advantage", foreign), source, **options
    )
    check("rewrite: foreign", before, drop_columns=["advantage"])
