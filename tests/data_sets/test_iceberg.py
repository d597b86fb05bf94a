"""Iceberg tables: the live files, new snapshots through the catalog, and what is refused of metadata."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_sets.lake_tables import HALF, advantages, catalog, content, episode, iceberg

import gaecli
from gaecli.datasets.iceberg import commit as iceberg_commit
from gaecli.errors import FileError, UsageError
from gaecli.sources.inputs import plan_streams

KEYS = [("episode", "ascending"), ("step", "ascending")]


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pyiceberg knows the catalog of the tables below this folder."""
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    for key, value in (
        ("TYPE", "sql"),
        ("URI", f"sqlite:///{tmp_path}/catalog.db"),
        ("WAREHOUSE", f"file://{tmp_path}"),
    ):
        monkeypatch.setenv(f"PYICEBERG_CATALOG__LOCAL__{key}", value)
    return tmp_path


def table_at(folder: Path) -> Any:
    return catalog(folder).load_table("ns.runs")


def read(folder: Path, snapshot: int | None = None) -> pa.Table:
    return table_at(folder).scan(snapshot_id=snapshot).to_arrow().sort_by(KEYS)


def metadata_files(table: Path) -> list[Path]:
    return sorted((table / "metadata").glob("*.metadata.json"))


def test_in_place_is_a_new_snapshot_that_every_reader_reads(configured: Path) -> None:
    table = iceberg(configured / "runs")
    before, old = content(table), read(configured)
    snapshot = table_at(configured).current_snapshot().snapshot_id
    summary = gaecli.compute(table, **HALF)
    assert [file.status for file in summary.files] == ["written"] * 2
    wanted = pytest.approx([*advantages(1.0, 2.0, 0.0), *advantages(1.0, 2.0, 2.0)])
    new = read(configured)
    assert new["advantage"].to_pylist() == wanted
    assert new.drop_columns(["advantage", "return"]).equals(old)
    for columns in (["advantage"], ["reward"]):
        assert table_at(configured).scan(selected_fields=columns).to_arrow().num_rows == 6
    assert table_at(configured).scan(row_filter="advantage > 2").to_arrow().num_rows == sum(
        value > 2 for value in new["advantage"].to_pylist()
    )
    frame = pl.scan_iceberg(table_at(configured)).collect().sort("episode", "step")
    assert frame["advantage"].to_list() == wanted
    files = [str(path) for path in plan_streams([table], None)[0].paths]
    found = duckdb.sql(f"select advantage from read_parquet({files}) order by episode, step").fetchall()
    assert [row[0] for row in found] == wanted
    after = content(table)
    assert {name: after[name] for name in before} == before
    assert read(configured, snapshot).equals(old)


def test_a_second_run_is_up_to_date_and_other_settings_are_one_more_snapshot(configured: Path) -> None:
    table = iceberg(configured / "runs")
    order = [pq.read_table(path)["episode"][0].as_py() for path in plan_streams([table], None)[0].paths]
    gaecli.compute(table, normalize="all", keep_raw=True)
    before = content(table)
    assert {file.status for file in gaecli.compute(table, normalize="all", keep_raw=True).files} == {
        "up to date"
    }
    assert content(table) == before
    gaecli.compute(table, gamma=0.5)
    names = [field.name for field in table_at(configured).schema().fields]
    assert len(names) == len(set(names))
    assert read(configured)["advantage"].null_count == 0
    assert [
        pq.read_table(path)["episode"][0].as_py() for path in plan_streams([table], None)[0].paths
    ] == order


def test_lists_and_partitions(configured: Path) -> None:
    from pyiceberg.transforms import IdentityTransform

    tables = catalog(configured)
    tables.create_namespace("ns")
    rows = pa.table({"env": [1, 0], "id": [3, 4], "rewards": [[1.0, 2.0]] * 2, "values": [[0.0, 0.0]] * 2})
    made = tables.create_table("ns.runs", schema=rows.schema, location=f"file://{configured}/runs")
    with made.update_spec() as update:
        update.add_field("env", IdentityTransform(), "env")
    made.append(rows)
    gaecli.compute(configured / "runs", **HALF)
    found = table_at(configured).scan(row_filter="env = 0").to_arrow()
    assert found.num_rows == 1
    assert found["advantage"].to_pylist()[0] == pytest.approx(advantages(1.0, 2.0))
    assert {file.status for file in gaecli.compute(configured / "runs", **HALF).files} == {"up to date"}


def test_files_come_in_the_order_of_the_commits(configured: Path) -> None:
    tables = catalog(configured)
    tables.create_namespace("ns")
    made = tables.create_table("ns.runs", schema=episode(0, 1.0).schema, location=f"file://{configured}/runs")
    whole = episode(0, 1.0, 2.0, 3.0, 4.0)
    for start in range(4):
        made.append(whole.slice(start, 1))
    (plan,) = plan_streams([configured / "runs"], None)
    assert [pq.read_table(path)["step"][0].as_py() for path in plan.paths] == [0, 1, 2, 3]
    assert gaecli.inspect(configured / "runs").counts.episodes == 1


def test_who_commits_meanwhile_wins_and_nothing_is_left(
    configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = iceberg(configured / "runs")
    others: dict[str, bytes] = {}
    commit = iceberg_commit._commit

    def slow(*args: Any) -> None:
        table_at(configured).append(episode(9, 1.0))
        others.update(content(table))
        commit(*args)

    monkeypatch.setattr(iceberg_commit, "_commit", slow)
    summary = gaecli.compute(table)
    assert [file.status for file in summary.files] == ["failed", "not written"]
    assert "somebody else committed" in str(summary.files[0].error)
    assert summary.exit_code == 4
    # Their commit is there; our two data files, which were there when they made it, are not, nor a manifest.
    after = content(table)
    assert after.items() <= others.items()
    assert [name.endswith(".parquet") for name in others.keys() - after.keys()] == [True, True]
    assert "advantage" not in read(configured).column_names


@pytest.mark.parametrize("late", [False, True])
def test_what_fails_before_the_commit_undoes_all_and_after_it_nothing(
    configured: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    table = iceberg(configured / "runs")
    before = content(table)
    commit = iceberg_commit._commit

    def fail(*args: Any) -> None:
        if late:
            commit(*args)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(iceberg_commit, "_commit", fail)
    assert gaecli.compute(table).exit_code == (0 if late else 4)
    if late:
        assert read(configured)["advantage"].null_count == 0
    else:
        assert content(table) == before


@pytest.mark.parametrize("is_made", [True, False])
def test_nothing_is_removed_where_nobody_knows_whether_the_commit_was_made(
    configured: Path, monkeypatch: pytest.MonkeyPatch, is_made: bool
) -> None:
    table = iceberg(configured / "runs")
    before = set(content(table))
    commit = iceberg_commit._commit

    def lost(*args: Any) -> None:
        raise ConnectionError("no answer")

    def fail(*args: Any) -> None:
        if is_made:
            commit(*args)
        monkeypatch.setattr("pyiceberg.catalog.sql.SqlCatalog.load_table", lost)
        raise ConnectionError("no answer")

    monkeypatch.setattr(iceberg_commit, "_commit", fail)
    summary = gaecli.compute(table)
    assert summary.exit_code == 4
    assert "may have taken the new version or not" in str(summary.files[0].error)
    monkeypatch.undo()
    new = {name for name in set(content(table)) - before if name.endswith(".parquet")}
    assert len(new) == 2
    if is_made:
        monkeypatch.setenv("PYICEBERG_HOME", str(configured))
        assert read(configured)["advantage"].null_count == 0


def test_manifests_of_a_commit_that_was_not_made_are_removed(
    configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyiceberg removes them after a conflict alone."""
    table = iceberg(configured / "runs")
    before = content(table)

    def fail(self: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyiceberg.table.Transaction.commit_transaction", fail)
    assert gaecli.compute(table).exit_code == 4
    assert content(table) == before


def test_an_interrupt_waits_for_the_commit(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = iceberg(configured / "runs")
    commit = iceberg_commit._commit

    def interrupted(*args: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        commit(*args)

    monkeypatch.setattr(iceberg_commit, "_commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gaecli.compute(table)
    assert read(configured)["advantage"].null_count == 0


def test_without_a_catalog_it_is_read_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
    table = iceberg(tmp_path / "runs")
    assert gaecli.inspect(table).num_rows == 6
    with pytest.raises(UsageError, match="catalog") as raised:
        gaecli.compute(table)
    assert "PYICEBERG_CATALOG__" in str(raised.value.hint)
    # Two that are equally new: one of them was never committed.
    newest = metadata_files(table)[-1]
    shutil.copy(newest, newest.with_name(f"{newest.name[:6]}{'0' * 8}{newest.name[14:]}"))
    with pytest.raises(UsageError, match="which metadata"):
        gaecli.inspect(table)
    (table / "metadata/version-hint.text").write_text(newest.name)
    assert gaecli.inspect(table).num_rows == 6


def test_a_table_that_was_moved_is_read_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
    table = iceberg(tmp_path / "runs")
    table.rename(tmp_path / "elsewhere")
    assert gaecli.inspect(tmp_path / "elsewhere").num_rows == 6


@pytest.mark.few(2)
@pytest.mark.parametrize("change", ["rename", "drop", "type"])
def test_names_that_mean_other_columns_now_are_refused(configured: Path, change: str) -> None:
    table = iceberg(configured / "runs")
    with table_at(configured).update_schema() as update:
        if change == "rename":
            update.rename_column("reward", "old_reward")
        elif change == "drop":
            update.delete_column("value")
        else:
            from pyiceberg.types import DoubleType

            update.add_column("advantage", DoubleType())
    summary = gaecli.compute(table)
    told = {"rename": "is called `old_reward`", "drop": "was dropped", "type": "cannot become float"}[change]
    assert told in str(summary.files[0].error)
    assert summary.exit_code == 2


def edited(table: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = metadata_files(table)[-1]
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "place", ["/etc/passwd", "s3://bucket/x.avro", "{location}/../outside.avro", "http://[::1]/x"]
)
def test_metadata_cannot_name_files_outside_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
    table = iceberg(tmp_path / "runs")

    def change(document: dict[str, Any]) -> None:
        for snapshot in document["snapshots"]:
            snapshot["manifest-list"] = place.format(location=document["location"])

    edited(table, change)
    with pytest.raises(FileError, match="outside of its folder"):
        gaecli.inspect(table)


def test_metadata_cannot_have_code_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pyiceberg's own `StaticTable.from_metadata` imports what `py-io-impl` names."""
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
    table = iceberg(tmp_path / "runs")
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')\n")
    monkeypatch.syspath_prepend(tmp_path)
    edited(table, lambda document: document["properties"].update({"py-io-impl": "evil.IO"}))
    assert gaecli.inspect(table).num_rows == 6


@pytest.mark.few(3)
@pytest.mark.parametrize("text", [b"", b"{", b"[" * 100_000, b'{"format-version": 9}', b"\x1f\x8b\x00"])
def test_damaged_metadata_are_an_error_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
    table = iceberg(tmp_path / "runs")
    metadata_files(table)[-1].write_bytes(text)
    with pytest.raises(FileError, match="cannot be read"):
        gaecli.inspect(table)


@pytest.mark.parametrize(
    "limit", ["iceberg.log._MAX_METADATA_BYTES", "iceberg.io.MAX_LOG_BYTES", "iceberg.log.MAX_FILES"]
)
def test_what_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
    table = iceberg(tmp_path / "runs")
    monkeypatch.setattr(f"gaecli.datasets.{limit}", 1)
    with pytest.raises(FileError, match="too large"):
        gaecli.inspect(table)


def test_a_manifest_that_unpacks_to_more_than_it_should_is_refused(tmp_path: Path) -> None:
    """The guard alone: blocks are counted as they are unpacked, and no further than the limit."""
    import zlib

    from gaecli.datasets.iceberg import io as iceberg_io

    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(bytes(4 << 20)) + packer.flush()
    assert iceberg_io._inflated(block, 1 << 20) == 2 << 20
    assert iceberg_io._inflated(block, 8 << 20) == 4 << 20


def test_rows_deleted_by_files_of_deletes_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
    table = iceberg(tmp_path / "runs")
    from pyiceberg.manifest import DataFile, DataFileContent

    monkeypatch.setattr(DataFile, "content", property(lambda self: DataFileContent.POSITION_DELETES))
    with pytest.raises(UsageError, match="files of deletes"):
        gaecli.inspect(table)


@pytest.mark.few(1)
@pytest.mark.parametrize(("kind", "cells"), [("bool", [True, False]), ("text", ["positive", "negative"])])
def test_labels_are_columns_of_their_own_types(configured: Path, kind: str, cells: list[Any]) -> None:
    table = iceberg(configured / "runs")
    gaecli.compute(table, **HALF, label_threshold=2.0, label_type=kind, terminal_column="last")
    new = read(configured)
    wanted = [cells[0] if value >= 2 else cells[1] for value in new["advantage"].to_pylist()]
    assert new["label"].to_pylist() == wanted
    assert new["last"].to_pylist() == [False, False, True] * 2
