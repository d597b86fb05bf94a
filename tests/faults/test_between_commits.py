"""A kill or a signal exactly between the steps of a commit: of a Delta or Iceberg table, and of a batch of files."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deltalake
import h5py
import numpy as np
import pyarrow as pa
import pytest
from data_sets.lake_tables import HALF, advantages, catalog, delta, iceberg
from faults.test_kills import LEFTOVER, Runner

import gaecli
from gaecli.commands.inspect import inspect
from gaecli.formats.registry import open_file

KEYS = [("episode", "ascending"), ("step", "ascending")]
WANTED = [*advantages(1.0, 2.0, 0.0), *advantages(1.0, 2.0, 2.0)]
FLAGS = ("--gamma", "0.9", "--lam", "0.5")
RENAME, LAST = "os:replace", "gaecli.storage.new_file:NewFile.forget_old"
#: (table, function, call of it, the new version is there): where the signal comes.
STEPS = [
    ("delta", RENAME, 1, False),
    ("delta", RENAME, 2, False),
    ("delta", "gaecli.datasets.delta.table:DeltaTable.publish", 1, False),
    ("delta", "deltalake:DeltaTable.create_write_transaction", 1, False),
    ("delta", LAST, 1, True),
    ("iceberg", RENAME, 2, False),
    ("iceberg", "gaecli.datasets.iceberg.table:IcebergTable.publish", 1, False),
    ("iceberg", "pyiceberg.catalog.sql:SqlCatalog.commit_table", 1, False),
    ("iceberg", LAST, 1, True),
]
#: What is there then is there at another step as well.
SAID_TWICE = {
    *(("delta", RENAME, 1), ("delta", "gaecli.datasets.delta.table:DeltaTable.publish", 1)),
    *(("iceberg", "gaecli.datasets.iceberg.table:IcebergTable.publish", 1), ("iceberg", LAST, 1)),
}
FEW_STEPS = [step for step in STEPS if "publish" in step[1] or (step[0] == "delta" and step[1] != RENAME)]


class Table:
    """A table of two live files and one that was deleted, and what its own library reads."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.root = {"delta": delta, "iceberg": iceberg}[kind](folder / "runs")

    def read(self) -> pa.Table:
        if self.kind == "delta":
            return deltalake.DeltaTable(str(self.root)).to_pyarrow_table().sort_by(KEYS)
        return catalog(self.folder).load_table("ns.runs").scan().to_arrow().sort_by(KEYS)


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """By which pyiceberg finds the catalog."""
    found = {
        "PYICEBERG_HOME": str(tmp_path),
        "PYICEBERG_CATALOG__LOCAL__TYPE": "sql",
        "PYICEBERG_CATALOG__LOCAL__URI": f"sqlite:///{tmp_path}/catalog.db",
        "PYICEBERG_CATALOG__LOCAL__WAREHOUSE": f"file://{tmp_path}",
    }
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


def leftovers(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if LEFTOVER.fullmatch(path.name)]


def columns_told(root: Path) -> set[str]:
    return {name for one in inspect([root]).infos for name in one.columns}


@pytest.mark.parametrize(
    ("kind", "at", "before", "is_new"),
    [pytest.param(*step, marks=pytest.mark.slow if step[:3] in SAID_TWICE else ()) for step in STEPS],
)
def test_a_kill_leaves_a_table_of_the_old_version_or_the_new_one(
    runner: Runner, tmp_path: Path, environ: dict[str, str], kind: str, at: str, before: int, is_new: bool
) -> None:
    table = Table(kind, tmp_path)
    old = table.read()
    command = ("compute", table.root, *FLAGS)
    assert runner.signalled(signal.SIGKILL, before, *command, at=at, environ=environ)["killed"]
    found = table.read()
    assert found.select(old.column_names).equals(old)
    assert ("advantage" in found.column_names) == is_new
    assert ("advantage" in columns_told(table.root)) == is_new
    statuses = {file.status for file in gaecli.compute(table.root, **HALF).files}
    assert statuses == {"up to date" if is_new else "written"}
    assert table.read()["advantage"].to_pylist() == pytest.approx(WANTED)
    assert table.read().select(old.column_names).equals(old)
    assert not leftovers(table.root)
    assert {file.status for file in gaecli.compute(table.root, **HALF).files} == {"up to date"}


@pytest.mark.few(3)
@pytest.mark.parametrize(("kind", "at", "before", "is_new"), FEW_STEPS)
def test_a_signal_waits_for_the_new_version(
    runner: Runner, tmp_path: Path, environ: dict[str, str], kind: str, at: str, before: int, is_new: bool
) -> None:
    table = Table(kind, tmp_path)
    number = signal.SIGINT if "publish" in at else signal.SIGTERM
    done = runner.signalled(number, before, "compute", table.root, *FLAGS, at=at, environ=environ)
    assert (done["code"], done["errors"]) == (130, "interrupted; all 2 files are done\n")
    assert table.read()["advantage"].to_pylist() == pytest.approx(WANTED)
    assert not leftovers(table.root)
    assert {file.status for file in gaecli.compute(table.root, **HALF).files} == {"up to date"}


NUM_FILES = 3


def columns(number: int) -> dict[str, np.ndarray]:
    """One episode, values 0."""
    return {
        "reward": np.array([1.0, 2.0, float(number)]),
        "value": np.zeros(3),
        "terminated": np.array([False, False, True]),
    }


def write_npz(path: Path, cells: dict[str, np.ndarray]) -> None:
    np.savez(path, **cells)


def write_arrow(path: Path, cells: dict[str, np.ndarray]) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, pa.table(cells).schema) as writer:
        writer.write_table(pa.table(cells))


def write_lines(path: Path, cells: dict[str, np.ndarray]) -> None:
    rows = [
        dict(zip(cells, row, strict=True)) for row in zip(*(c.tolist() for c in cells.values()), strict=True)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def write_hdf5(path: Path, cells: dict[str, np.ndarray]) -> None:
    with h5py.File(path, "w") as file:
        for name, cell in cells.items():
            file[name] = cell


WRITERS: dict[str, Callable[[Path, dict[str, np.ndarray]], None]] = {
    "npz": write_npz,
    "arrow": write_arrow,
    "jsonl": write_lines,
    "h5": write_hdf5,
}
#: Before the second file; of JSON lines that beside it comes first, and they are of one commit.
BATCHES = [("npz", 2), ("arrow", 2), ("h5", 2), ("jsonl", 2), ("jsonl", 3), ("jsonl", 4)]


def batch(folder: Path, suffix: str) -> list[Path]:
    paths = [folder / f"{name}.{suffix}" for name in "abc"]
    for number, path in enumerate(paths):
        WRITERS[suffix](path, columns(number))
    return paths


def check_all_done(paths: list[Path]) -> None:
    for number, path in enumerate(paths):
        assert list(read_advantages(path)) == pytest.approx(advantages(1.0, 2.0, float(number)))
    assert {file.status for file in gaecli.compute(paths, **HALF).files} == {"up to date"}
    assert not leftovers(paths[0].parent)


def read_advantages(path: Path) -> Any:
    """By another reader."""
    if path.suffix == ".npz":
        return np.load(path)["advantage"]
    if path.suffix == ".arrow":
        return pa.ipc.open_file(path).read_all()["advantage"].to_pylist()
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return file["advantage"][:]
    return [json.loads(line)["advantage"] for line in path.read_text().splitlines()]


@pytest.mark.few(3)
@pytest.mark.parametrize(("suffix", "before"), BATCHES)
def test_a_batch_that_is_killed_is_finished_by_the_next_run(
    runner: Runner, tmp_path: Path, suffix: str, before: int
) -> None:
    paths = batch(tmp_path, suffix)
    old = {path: path.read_bytes() for path in paths}
    killed = runner.signalled(signal.SIGKILL, before, "compute", *paths, *FLAGS, "--jobs", "1")
    assert killed["killed"]
    num_done = (before - 1) // (2 if suffix == "jsonl" else 1)
    assert ["advantage" in open_file(path).columns for path in paths] == [
        n < num_done for n in range(NUM_FILES)
    ]
    assert all(path.read_bytes() == old[path] for path in paths[num_done:])
    told = {one.path: "advantage" in one.columns for one in inspect(paths).infos}
    assert [told[str(path)] for path in paths] == [n < num_done for n in range(NUM_FILES)]
    statuses = [file.status for file in gaecli.compute(paths, **HALF).files]
    assert statuses == ["up to date" if n < num_done else "written" for n in range(NUM_FILES)]
    check_all_done(paths)


@pytest.mark.few(3)
@pytest.mark.parametrize(("suffix", "before"), BATCHES)
def test_a_signal_in_a_batch_leaves_each_file_old_or_done(
    runner: Runner, tmp_path: Path, suffix: str, before: int
) -> None:
    paths = batch(tmp_path, suffix)
    number = (signal.SIGINT, signal.SIGTERM)[before % 2]
    done = runner.signalled(number, before, "compute", *paths, *FLAGS, "--jobs", "1")
    assert done["code"] == 130
    num_done = -(-before // (2 if suffix == "jsonl" else 1))
    words = "all 3 files are done" if num_done == NUM_FILES else rf".*{num_done} of 3 files are done.*"
    assert re.fullmatch(rf"interrupted; {words}\n", done["errors"])
    assert ["advantage" in open_file(path).columns for path in paths] == [
        n < num_done for n in range(NUM_FILES)
    ]
    gaecli.compute(paths, **HALF)
    check_all_done(paths)
