"""Columns spliced to the Parquet files of every writer: other readers see them, and nothing else changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from formats.parquet_files import NEW_SCHEMA, WRITERS, append, new_columns

from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.footer import FileMetaData, fingerprint, read_footer
from gaecli.formats.parquet.splice import ParquetAppender


@dataclass(frozen=True)
class Spliced:
    """The file of a writer, and the one with new columns; nobody changes either."""

    path: Path
    target: Path
    appender: ParquetAppender


@pytest.fixture(scope="module", params=WRITERS)
def spliced(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Spliced:
    folder = tmp_path_factory.mktemp("spliced")
    path, target = folder / "a.parquet", folder / ".source.parquet.tmp"
    WRITERS[request.param](path)
    return Spliced(path, target, append(path, target))


def test_the_footer_of_every_writer_survives_byte_for_byte(spliced: Spliced) -> None:
    path = spliced.path
    footer = read_footer(path)
    assert thrift.encode(footer.tree) == footer.raw == path.read_bytes()[footer.start : -8]
    assert footer.is_canonical


def test_old_and_new_columns_read_back_in_pyarrow(spliced: Spliced) -> None:
    path, target = spliced.path, spliced.target
    before = pq.read_table(path)
    after = pq.read_table(target)
    assert spliced.appender.method == "splice"
    assert after.column_names == [*before.column_names, "advantage", "return"]
    assert after.select(before.column_names).equals(before)
    assert after.select(["advantage", "return"]).equals(new_columns(before.num_rows))
    for name in before.column_names:
        assert after.schema.field(name).equals(before.schema.field(name), check_metadata=True)
    pq.ParquetFile(target, page_checksum_verification=True).read()


def test_old_bytes_offsets_and_row_groups_stay(spliced: Spliced) -> None:
    path, target = spliced.path, spliced.target
    old, new = read_footer(path), read_footer(target)
    assert spliced.appender.payload_end == old.end == path.stat().st_size
    assert target.read_bytes()[: old.end] == path.read_bytes()
    assert old.row_group_rows == list(spliced.appender.row_group_rows)
    assert new.row_group_rows == (old.row_group_rows if any(old.row_group_rows) else [])
    assert new.is_canonical
    for old_group, new_group in zip(old.row_groups, new.row_groups, strict=any(old.row_group_rows)):
        assert new_group.value(1)[: len(old.leaves)] == old_group.value(1)
    same = [FileMetaData.VERSION, FileMetaData.NUM_ROWS, FileMetaData.CREATED_BY]
    assert [new.tree.get(field) for field in same] == [old.tree.get(field) for field in same]
    assert fingerprint(new, ["advantage", "return"]) == fingerprint(old)


@pytest.mark.few(10)
def test_duckdb_and_polars_read_the_same_as_pyarrow(spliced: Spliced) -> None:
    duckdb = pytest.importorskip("duckdb")
    polars = pytest.importorskip("polars")
    path, target = spliced.path, spliced.target
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


@pytest.mark.few(8)
def test_filters_pushed_down_find_the_same_rows(spliced: Spliced) -> None:
    duckdb = pytest.importorskip("duckdb")
    target = spliced.target
    everything = pq.read_table(target, columns=["step", "reward", "advantage", "return"])
    for name, low, high in (("advantage", 40.0, 42.0), ("return", -100.0, -90.0), ("reward", 10.0, 20.0)):
        condition = (pc.field(name) > low) & (pc.field(name) < high)
        expected = everything.filter(condition)
        found = pq.read_table(target, columns=everything.column_names, filters=condition)
        assert found.equals(expected)
        query = f'SELECT step FROM read_parquet(\'{target}\') WHERE "{name}" > {low} AND "{name}" < {high}'
        assert duckdb.sql(query).fetchall() == [(step,) for step in expected["step"].to_pylist()]
