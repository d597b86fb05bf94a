"""Somebody writes to a file while it is read: nothing is written over what they wrote."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from covers import pairs

import gaecli
from gaecli.commands import stream_steps as run
from gaecli.pipeline.stream import SummarisedStream
from gaecli.writing.write_file import WriteFile, WrittenFrom

ROWS = 30_000


def columns(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "reward": random.normal(size=ROWS),
        "value": random.normal(size=ROWS),
        "terminated": random.random(ROWS) < 0.01,
    }


def make(path: Path, seed: int = 0) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **columns(seed))
    else:
        pq.write_table(pa.table(columns(seed)), path, row_group_size=7_000)
    return path


def rewritten(path: Path) -> None:
    make(path, seed=1)


def replaced(path: Path) -> None:
    make(path.with_name(f"new{path.suffix}"), seed=1).replace(path)


def appended(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shrunk(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def touched(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def removed(path: Path) -> None:
    path.unlink()


CHANGES = (rewritten, replaced, appended, shrunk, emptied, touched, removed)
PHASES = {
    "summarise": (run, "final"),
    "measure": (SummarisedStream, "measure"),
    "apply": (WriteFile, "_applied"),
}


@pytest.mark.few(9)
@pytest.mark.parametrize(
    ("name", "change", "phase", "where"),
    pairs(["r.parquet", "r.npz"], CHANGES, PHASES, ["in place", "elsewhere"]),
)
def test_a_change_in_any_phase_is_seen_before_anything_is_written(
    name: str,
    change: Callable[[Path], None],
    phase: str,
    where: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = make(tmp_path / name)
    output = None if where == "in place" else tmp_path / f"out{path.suffix}"
    holder, function = PHASES[phase]
    original = getattr(holder, function)

    def meanwhile(*args: object, **kwargs: object) -> object:
        change(path)
        return original(*args, **kwargs)

    monkeypatch.setattr(holder, function, meanwhile)
    with pytest.raises(gaecli.FileError, match=r"(was changed|was removed) .*while it was read") as caught:
        gaecli.compute(path, output, normalize="all", memory_bytes=1 << 20)
    assert caught.value.exit_code == 4
    monkeypatch.undo()
    # What is there is what the other one made of it.
    left = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}
    path.unlink(missing_ok=True)
    make(path)
    change(path)
    assert left == {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}


def test_one_file_of_a_stream_changed_and_none_of_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [make(tmp_path / f"{number}.parquet", number) for number in range(3)]
    original = WriteFile._applied

    def meanwhile(self: WriteFile, one: WrittenFrom, *args: object) -> object:
        if one.source.index == 2:
            touched(paths[0])
        return original(self, one, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(WriteFile, "_applied", meanwhile)
    summary = gaecli.compute(paths, join=True)
    assert [file.status for file in summary.files] == ["failed", "not written", "not written"]
    assert summary.exit_code == 4
    assert all("advantage" not in pq.read_schema(path).names for path in paths)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["0.parquet", "1.parquet", "2.parquet"]


def test_an_error_in_the_middle_leaves_no_thread_and_no_open_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large file, so that its copy was begun early and is under way when the rows turn out to be bad."""
    rows = 500_000
    rewards = np.zeros(rows)
    rewards[-1] = np.nan
    path = tmp_path / "r.parquet"
    payload = np.random.default_rng(0).random(rows)
    table = pa.table({"reward": rewards, "value": payload, "terminated": rewards == 1, "payload": payload})
    pq.write_table(table, path, compression="none", row_group_size=50_000)
    assert path.stat().st_size > 8 << 20
    gc.collect()
    gc.disable()  # by itself: not whenever the collector comes by
    try:
        before = set(Path("/proc/self/fd").iterdir()) if Path("/proc/self/fd").exists() else set()
        for _ in range(3):
            with pytest.raises(gaecli.DataError, match="`reward` is NaN at row 499999"):
                gaecli.compute(path)
            assert [entry.name for entry in tmp_path.iterdir()] == ["r.parquet"]
        if before:
            assert len(set(Path("/proc/self/fd").iterdir()) - before) <= 1  # that of the listing itself
    finally:
        gc.enable()
