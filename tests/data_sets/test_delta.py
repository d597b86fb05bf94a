"""Delta tables: the live files, in the order of the log, and what is refused of a log."""

from __future__ import annotations

import json
import os
import signal
import string
from pathlib import Path

import deltalake
import duckdb
import polars as pl
import pyarrow as pa
import pyroaring
import pytest
from data_sets.lake_tables import HALF, advantages, content, delta, episode

import gaecli
from gaecli.datasets.delta.commit import commit
from gaecli.datasets.delta.log import open_table
from gaecli.errors import FileError, UsageError
from gaecli.sources.inputs import plan_streams


def log_of(table: Path) -> Path:
    return table / "_delta_log"


def append_action(table: Path, action: dict) -> None:
    """A commit of somebody who means no good."""
    version = len(list(log_of(table).glob("*.json")))
    (log_of(table) / f"{version:020d}.json").write_text(json.dumps(action) + "\n")


def add(path: str) -> dict:
    return {
        "add": {
            "path": path,
            "partitionValues": {},
            "size": 1,
            "modificationTime": 1,
            "dataChange": True,
            "stats": None,
        }
    }


def z85(data: bytes) -> str:
    """https://rfc.zeromq.org/spec/32"""
    alphabet = string.digits + string.ascii_letters + ".-:+=^!/*?&<>()[]{}@%$#"
    words = [int.from_bytes(data[start : start + 4], "big") for start in range(0, len(data), 4)]
    return "".join(alphabet[word // 85**power % 85] for word in words for power in (4, 3, 2, 1, 0))


def test_files_come_in_the_order_of_the_log(tmp_path: Path) -> None:
    """`deltalake` itself hands them out with the newest commit first."""
    table = str(tmp_path / "runs")
    for number in range(12):
        deltalake.write_deltalake(table, episode(number, 1.0), mode="append")
    (plan,) = plan_streams([table], None)
    found = [file.read_whole("episode").values.tolist() for file in map(plan.open, plan.paths)]
    assert found == [[number] for number in range(12)]
    # The same where a checkpoint has taken the place of the commits.
    deltalake.DeltaTable(table).create_checkpoint()
    for path in log_of(Path(table)).glob("*.json"):
        if path.stem < f"{11:020d}":
            path.unlink()
    assert plan_streams([table], None)[0].paths == plan.paths


def test_an_episode_goes_on_from_one_commit_into_the_next(tmp_path: Path) -> None:
    table = str(tmp_path / "runs")
    whole = episode(0, 1.0, 2.0, 3.0, 4.0)
    for start in (0, 2):
        deltalake.write_deltalake(table, whole.slice(start, 2), mode="append")
    assert gaecli.inspect(table).counts.episodes == 1


def test_partition_columns_are_there_and_typed(tmp_path: Path) -> None:
    table = tmp_path / "runs"
    rows = pa.concat_tables([episode(0, 1.0, 2.0, env=[env] * 2) for env in (7, 8)])
    deltalake.write_deltalake(str(table), rows, partition_by=["env"])
    (plan,) = plan_streams([table], None)
    (first, second) = map(plan.open, plan.paths)
    assert first.columns["env"].kind == "int"
    assert [first.read_whole("env").label(0), second.read_whole("env").label(0)] == [7, 8]
    assert gaecli.inspect(table).counts.episodes == 2


def test_names_with_odd_characters_are_found(tmp_path: Path) -> None:
    table = tmp_path / "a b#ü?"
    rows = episode(0, 1.0, 2.0, env=["x/y %20="] * 2)
    deltalake.write_deltalake(str(table), rows, partition_by=["env"])
    (plan,) = plan_streams([table], None)
    assert plan.open(plan.paths[0]).read_whole("env").label(0) == "x/y %20="


@pytest.mark.few(3)
@pytest.mark.parametrize(
    "name",
    [
        "../outside.parquet",
        "/etc/passwd",
        "file:///etc/passwd",
        "a/%2e%2e/%2e%2e/outside.parquet",
        "link.parquet",
    ],
)
def test_a_log_cannot_name_files_outside_of_the_table(tmp_path: Path, name: str) -> None:
    table = delta(tmp_path / "runs")
    (tmp_path / "outside.parquet").write_bytes(b"PAR1")
    (table / "link.parquet").symlink_to(tmp_path / "outside.parquet")
    append_action(table, add(name))
    with pytest.raises(FileError, match=r"outside of its folder|is gone"):
        gaecli.inspect(table)


def test_a_log_that_is_damaged_or_too_large_is_an_error_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = delta(tmp_path / "runs")
    monkeypatch.setattr("gaecli.datasets.delta.log.MAX_FILES", 1)
    with pytest.raises(FileError, match="too large"):
        gaecli.inspect(table)
    monkeypatch.setattr("gaecli.datasets.delta.log.MAX_LOG_BYTES", 100)
    with pytest.raises(FileError, match="too large"):
        gaecli.inspect(table)
    monkeypatch.undo()
    append_action(table, {"add": [1]})
    with pytest.raises(FileError, match="cannot be read"):
        gaecli.inspect(table)


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    table = delta(tmp_path / "runs")
    Path(gaecli.inspect(table).files[0]).unlink()
    with pytest.raises(FileError, match="is gone"):
        gaecli.inspect(table)


@pytest.mark.parametrize(
    ("feature", "told"), [("columnMapping", "maps its columns"), ("deletionVectors", "deletion vectors")]
)
def test_what_stands_otherwise_in_the_files_is_refused(tmp_path: Path, feature: str, told: str) -> None:
    table = delta(tmp_path / "runs")
    opened = deltalake.DeltaTable(str(table))
    protocol = {
        "minReaderVersion": 3,
        "minWriterVersion": 7,
        "readerFeatures": [feature],
        "writerFeatures": [feature],
    }
    lines = (log_of(table) / f"{0:020d}.json").read_text().splitlines()
    metadata = next(action for line in lines if "metaData" in (action := json.loads(line)))
    actions: list[dict] = [{"protocol": protocol}]
    if feature == "columnMapping":
        fields = json.loads(opened.schema().to_json())
        for number, field in enumerate(fields["fields"]):
            field["metadata"] = {
                "delta.columnMapping.id": number + 1,
                "delta.columnMapping.physicalName": f"col-{number}",
            }
        metadata["metaData"]["schemaString"] = json.dumps(fields)
        metadata["metaData"]["configuration"] = {
            "delta.columnMapping.mode": "name",
            "delta.columnMapping.maxColumnId": str(len(fields["fields"])),
        }
        actions.append(metadata)
    else:
        path = Path(gaecli.inspect(table).files[0]).name
        bitmap = (1681511377).to_bytes(4, "little") + pyroaring.BitMap64([0]).serialize()
        removed = {"remove": {"path": path, "dataChange": True, "deletionTimestamp": 1}}
        added = add(path)
        added["add"]["size"] = (table / path).stat().st_size
        added["add"]["stats"] = json.dumps({"numRecords": 3})
        added["add"]["deletionVector"] = {
            "storageType": "i",
            "pathOrInlineDv": z85(bitmap + bytes(-len(bitmap) % 4)),
            "sizeInBytes": len(bitmap),
            "cardinality": 1,
        }
        actions += [removed, added]
    version = len(list(log_of(table).glob("*.json")))
    text = "".join(json.dumps(action) + "\n" for action in actions)
    (log_of(table) / f"{version:020d}.json").write_text(text)
    with pytest.raises(UsageError, match=told):
        gaecli.inspect(table)


# A new version


def read(table: Path, version: int | None = None) -> pa.Table:
    return deltalake.DeltaTable(str(table), version=version).to_pyarrow_table()


def test_in_place_is_a_new_version_that_every_reader_reads(tmp_path: Path) -> None:
    table = delta(tmp_path / "runs")
    before, old = content(table), read(table)
    summary = gaecli.compute(table, **HALF)
    assert [file.status for file in summary.files] == ["written"] * 2
    new = read(table).sort_by([("episode", "ascending"), ("step", "ascending")])
    assert new.column_names == [*old.column_names, "advantage", "return"]
    wanted = [*advantages(1.0, 2.0, 0.0), *advantages(1.0, 2.0, 2.0)]
    assert new["advantage"].to_pylist() == pytest.approx(wanted)
    assert new.drop_columns(["advantage", "return"]).equals(
        old.sort_by([("episode", "ascending"), ("step", "ascending")])
    )
    frame = pl.read_delta(str(table)).sort("episode", "step")
    assert frame["advantage"].to_list() == pytest.approx(wanted)
    files = [str(path) for path in plan_streams([table], None)[0].paths]
    found = duckdb.sql(f"select advantage from read_parquet({files}) order by episode, step").fetchall()
    assert [row[0] for row in found] == pytest.approx(wanted)
    # The old version is as it was, byte for byte.
    after = content(table)
    assert {name: after[name] for name in before} == before
    version = deltalake.DeltaTable(str(table)).version()
    assert read(table, version - 1).equals(old)


def test_a_second_run_is_up_to_date_and_other_settings_are_one_more_version(tmp_path: Path) -> None:
    table = str(tmp_path / "runs")
    rows = pa.concat_tables([episode(0, 1.0, 2.0, env=[env] * 2) for env in (1, 0)])
    for _ in range(3):
        deltalake.write_deltalake(table, rows, partition_by=["env"], mode="append")
        rows = rows.set_column(0, "episode", pa.compute.add(rows["episode"], 1))
    order = [read_env(path) for path in plan_streams([table], None)[0].paths]
    gaecli.compute(table)
    assert [read_env(path) for path in plan_streams([table], None)[0].paths] == order
    before = content(Path(table))
    again = gaecli.compute(table)
    assert {file.status for file in again.files} == {"up to date"}
    assert all(Path(file.output).exists() for file in again.files)
    assert content(Path(table)) == before
    gaecli.compute(table, gamma=0.5)
    opened = deltalake.DeltaTable(table)
    assert opened.version() == 4
    assert [field.name for field in opened.schema().fields].count("advantage") == 1


def read_env(path: Path) -> tuple[str, str]:
    import pyarrow.parquet as pq

    return path.parent.name, str(pq.read_table(path, partitioning=None)["episode"].to_pylist())


def test_partitions_statistics_and_lists_survive(tmp_path: Path) -> None:
    table = tmp_path / "a b#ü"
    rows = pa.table({"env": ["x/y %20="], "rewards": [[1.0, 2.0]], "values": [[0.0, 0.0]], "note": ["n"]})
    deltalake.write_deltalake(str(table), rows, partition_by=["env"])
    gaecli.compute(table, **HALF)
    new = deltalake.DeltaTable(str(table))
    assert new.to_pyarrow_table().to_pylist()[0]["advantage"] == pytest.approx(advantages(1.0, 2.0))
    (action,) = pa.table(new.get_add_actions(flatten=True)).to_pylist()
    assert (action["partition.env"], action["num_records"], action["min.note"]) == ("x/y %20=", 1, "n")
    assert new.to_pyarrow_table(filters=[("note", "=", "other")]).num_rows == 0


def test_who_commits_meanwhile_wins_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = delta(tmp_path / "runs")

    def slow(root: Path, version: int | None = None) -> object:
        opened = open_table(root, version)
        monkeypatch.setattr("gaecli.datasets.delta.commit.open_table", open_table)
        deltalake.write_deltalake(str(table), episode(9, 1.0), mode="append")
        others.update(content(table))
        return opened

    others: dict[str, bytes] = {}
    monkeypatch.setattr("gaecli.datasets.delta.commit.open_table", slow)
    summary = gaecli.compute(table)
    assert [file.status for file in summary.files] == ["failed", "not written"]
    assert "somebody else committed version" in str(summary.files[0].error)
    assert summary.exit_code == 4
    # Their commit is there, and of ours not a file.
    mine = {name for name in content(table) if "part-0000" in name and name not in others}
    assert mine == set()
    assert "advantage" not in read(table).column_names


def test_a_commit_that_fails_leaves_the_table_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = delta(tmp_path / "runs")
    before = content(table)

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gaecli.datasets.delta.table.commit", fail)
    assert gaecli.compute(table).exit_code == 4
    assert content(table) == before


@pytest.mark.parametrize("late", [False, True])
def test_an_interrupt_during_the_commit_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    table = delta(tmp_path / "runs")

    def interrupted(*args: object) -> None:
        if not late:
            os.kill(os.getpid(), signal.SIGINT)
        commit(*args)  # type: ignore[arg-type]
        if late:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("gaecli.datasets.delta.table.commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gaecli.compute(table)
    assert read(table)["advantage"].null_count == 0


def test_a_checkpoint_that_fails_after_the_commit_undoes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = delta(tmp_path / "runs")
    original = deltalake.DeltaTable.create_write_transaction

    def fail(*args: object, **options: object) -> None:
        original(*args, **options)  # type: ignore[arg-type]
        raise deltalake.exceptions.DeltaError("no space left for a checkpoint")

    monkeypatch.setattr(deltalake.DeltaTable, "create_write_transaction", fail)
    assert gaecli.compute(table).exit_code == 0
    assert read(table)["advantage"].null_count == 0


def test_an_append_only_table_is_refused_before_any_work(tmp_path: Path) -> None:
    table = tmp_path / "runs"
    deltalake.write_deltalake(str(table), episode(0, 1.0), configuration={"delta.appendOnly": "true"})
    with pytest.raises(UsageError, match="append-only"):
        gaecli.compute(table)


def test_a_dry_run_commits_nothing(tmp_path: Path) -> None:
    table = delta(tmp_path / "runs")
    before = content(table)
    gaecli.compute(table, dry_run=True)
    assert content(table) == before


def test_labels_are_columns_of_their_own_types(tmp_path: Path) -> None:
    table = delta(tmp_path / "runs")
    gaecli.compute(table, **HALF, label_threshold=2.0, label_type="text", terminal_column="last")
    frame = pl.read_delta(str(table))
    wanted = ["positive" if value >= 2 else "negative" for value in frame["advantage"]]
    assert frame["label"].to_list() == wanted
    assert (frame.schema["label"], frame.schema["last"]) == (pl.String, pl.Boolean)
