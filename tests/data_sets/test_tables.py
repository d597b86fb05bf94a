"""Tables of a lakehouse: recognised from the root, a folder and a file; written into by a commit or not at all."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from covers import turns
from data_sets.lake_tables import HALF, advantages, content, delta, ducklake, episode, iceberg, write

import gaecli
from gaecli.errors import FileError, GaeError, MissingExtraError, UsageError

KINDS: dict[str, Callable[[Path], Path]] = {"delta": delta, "iceberg": iceberg, "ducklake": ducklake}


@pytest.fixture(params=KINDS)
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return KINDS[request.param](tmp_path / "lake" / "runs")


def data_file(table: Path) -> Path:
    return sorted(path for path in table.rglob("*.parquet") if "_delta_log" not in path.parts)[-1]


def refused(*sources: object, **options: object) -> GaeError:
    with pytest.raises((UsageError, FileError)) as raised:
        gaecli.compute(list(sources), **options)
    return raised.value


def test_one_file_of_a_table_is_not_written_in_place(table: Path) -> None:
    before = content(table)
    error = refused(data_file(table))
    assert error.exit_code == 2
    assert "--output" in str(error.hint) or "root" in str(error.hint)
    assert content(table) == before


def test_nor_through_a_link_that_stands_elsewhere(table: Path, tmp_path: Path) -> None:
    before = content(table)
    link = tmp_path / "mine.parquet"
    link.symlink_to(data_file(table))
    assert refused(link).exit_code == 2
    folder = tmp_path / "folder"
    folder.symlink_to(table)
    assert refused(folder / data_file(table).relative_to(table)).exit_code == 2
    assert content(table) == before


@pytest.mark.few(5)
@pytest.mark.parametrize(
    ("place", "sidecar"), turns(["", "new.parquet", "new/", "new/deeper.parquet"], [False, True])
)
def test_no_result_is_put_into_the_folder_of_a_table(
    table: Path, tmp_path: Path, place: str, sidecar: bool
) -> None:
    before = content(tmp_path)
    alone = write(tmp_path / "alone.parquet", episode(0, 1.0))
    for source in (alone, table):
        assert refused(source, output=f"{table}/{place}", sidecar=sidecar).exit_code == 2
    alone.unlink()
    assert content(tmp_path) == before


@pytest.mark.few(2)
def test_a_table_is_read_and_written_elsewhere(table: Path, tmp_path: Path) -> None:
    before = content(table)
    summary = gaecli.compute(table, output=tmp_path / "out", **HALF)
    assert [file.status for file in summary.files] == ["written"] * 2
    found = [pq.read_table(file.output).column("advantage").to_pylist() for file in summary.files]
    first, last = (3.0, 3.0) if "ducklake-" in str(before) else (0.0, 2.0)
    assert found[0] == pytest.approx(advantages(1.0, 2.0, first))
    assert found[1] == pytest.approx(advantages(1.0, 2.0, last))
    gaecli.compute(table, output=tmp_path / "one.parquet", sidecar=True)
    assert pq.read_table(tmp_path / "one.parquet").num_rows == 6
    assert content(table) == before


def test_tables_and_files_below_a_plain_folder_are_told_apart(tmp_path: Path) -> None:
    for name, make in KINDS.items():
        make(tmp_path / "all" / name)
    write(tmp_path / "all" / "alone.parquet", episode(0, 1.0))
    summary = gaecli.compute(tmp_path / "all", output=tmp_path / "out")
    folders = [Path(file.input).relative_to(tmp_path / "all").parts[0] for file in summary.files]
    assert folders == ["alone.parquet", *["delta"] * 2, *["ducklake"] * 2, *["iceberg"] * 2]


@pytest.mark.parametrize("make", [delta, iceberg])
def test_a_file_that_is_no_longer_live_is_no_data(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    table = make(tmp_path / "runs")
    found = gaecli.inspect(table)
    assert found.num_rows == 6
    live = set(found.files)
    folder = Path(found.files[0]).parent
    stale = next(path for path in folder.glob("*.parquet") if str(path) not in live)
    error = refused(stale, output=tmp_path / "out.parquet")
    assert "not a part of it" in error.message
    assert str(table) in str(error.hint)
    assert refused(f"{folder}/*.parquet", output=tmp_path / "out").exit_code == 2


@pytest.mark.parametrize(("make", "package"), [(delta, "deltalake"), (iceberg, "pyiceberg")])
def test_without_the_extra_the_message_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path], package: str
) -> None:
    table = make(tmp_path / "runs")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError) as raised:
        gaecli.inspect(table)
    assert f"gaecli[{make.__name__}]" in str(raised.value.hint)
    assert refused(data_file(table)).exit_code == 2
    summary = gaecli.compute([data_file(table), write(tmp_path / "a.parquet", episode(0, 1.0))], sidecar=True)
    assert [(file.status, file.exit_code) for file in summary.files] == [("failed", 5), ("written", 0)]
    # A folder of several: the others are done.
    summary = gaecli.compute(tmp_path, output=tmp_path.parent / f"{tmp_path.name}-out")
    assert sorted(file.exit_code for file in summary.files) == [0, 5]


def test_deleted_rows_of_a_ducklake_table_are_not_counted(tmp_path: Path) -> None:
    table = ducklake(tmp_path / "runs")
    name = "ducklake-019a1b2c-0003-7000-8000-0123456789ab-delete.parquet"
    write(table / name, episode(0, 1.0).select(["step"]))
    error = refused(table, output=tmp_path / "out")
    assert error.exit_code == 2
    assert "deleted" in error.message


def test_the_partitions_of_a_ducklake_table_are_columns(tmp_path: Path) -> None:
    table = tmp_path / "runs"
    for env in (0, 1):
        name = f"env={env}/ducklake-019a1b2c-000{env}-7000-8000-0123456789ab.parquet"
        write(table / name, episode(0, 1.0, 2.0).drop_columns(["episode"]))
    for source in (table / "env=0", f"{table}/env=*/*.parquet", table):
        assert refused(source).exit_code == 2
    summary = gaecli.compute(table, output=tmp_path / "out")
    assert summary.files[0].columns["env"] == "env"
    assert sum(file.counts.episodes for file in summary.files) == 2
