"""Two runs on the same file, or in the same folder, at once: one wins or both do, and nothing is corrupt."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.pipeline.opening import OpenStream
from gaecli.pipeline.stream import FinalStream
from gaecli.storage import new_file as commit
from gaecli.storage.new_file import NewFile, sweep

ROWS = 60_000

Start = Callable[..., Any]


def columns() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "reward": random.random(ROWS, np.float32),
        "value": random.random(ROWS, np.float32),
        "terminated": random.random(ROWS) < 0.01,
    }


def make(path: Path) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **columns())
    else:
        pq.write_table(pa.table(columns()), path, row_group_size=15_000)
    return path


def columns_of(path: Path) -> dict[str, bytes]:
    if path.suffix == ".npz":
        with np.load(path) as archive:
            return {name: archive[name].tobytes() for name in archive.files}
    table = pq.read_table(path)
    return {name: table[name].to_numpy().tobytes() for name in table.column_names}


@pytest.mark.parametrize("rounds", [1, pytest.param(5, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["r.parquet", "r.npz"])
def test_on_one_file_one_wins_or_both_do(start_gae: Start, name: str, rounds: int, tmp_path: Path) -> None:
    path = make(tmp_path / name)
    old = path.read_bytes()
    wanted = []
    for gamma in (0.9, 0.8):
        path.write_bytes(old)
        gaecli.compute(path, gamma=gamma)
        wanted.append(columns_of(path))
    for _ in range(rounds):
        path.write_bytes(old)
        runs = [start_gae("compute", path, "--gamma", gamma, "-q") for gamma in ("0.9", "0.8")]
        errors = [run.communicate(timeout=60)[1] for run in runs]
        codes = [run.returncode for run in runs]
        assert 0 in codes, errors
        assert set(codes) <= {0, 4}, errors
        for code, error in zip(codes, errors, strict=True):
            assert code == 0 or b"while it was read" in error, error
        found = columns_of(path)
        assert found in wanted
        assert found == wanted[codes.index(0)] or codes == [0, 0]
        assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_in_one_folder_nobody_sweeps_what_another_writes(start_gae: Start, tmp_path: Path) -> None:
    paths = [make(tmp_path / f"{number}.{kind}") for number in range(2) for kind in ("parquet", "npz")]
    runs = [
        start_gae("compute", path, *flags, "-q")
        for path in paths
        for flags in ((), ("--sidecar", "-o", f"{path}.side.parquet"))
    ]
    for run in runs:
        _, error = run.communicate(timeout=60)
        assert run.returncode in (0, 4), error
        # The file itself may have been replaced under the sidecar's feet; no file may be gone.
        assert run.returncode == 0 or b"while it was read" in error, error
    assert all("advantage" in columns_of(path) for path in paths)
    assert not [entry.name for entry in tmp_path.iterdir() if entry.name.endswith(".tmp")]


def test_a_new_file_is_out_of_reach_of_the_broom_from_its_first_moment(tmp_path: Path) -> None:
    target = tmp_path / "r.parquet"
    target.write_bytes(b"old")
    new = NewFile(target)
    try:
        new.create()
        assert new.temporary.exists()
        sweep(tmp_path)  # flock sees two handles of one process as two owners
        assert new.temporary.exists()
        new.temporary.write_bytes(b"new")
        new.seal()
        sweep(tmp_path)
        new.commit()
    finally:
        new.discard()
    assert target.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.parquet"]


def test_what_nobody_holds_is_swept(tmp_path: Path) -> None:
    new = NewFile(tmp_path / "r.parquet")
    new.create()
    leftover = new.temporary
    new.discard()
    leftover.write_bytes(b"half")
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["fchmod", "fstat"])
def test_an_interrupt_while_the_new_file_is_made_leaves_none(tmp_path: Path, monkeypatch, call: str) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"reward": [1.0, 2.0], "value": [0.5, 0.5], "done": [False, True]}), path)
    before = path.read_bytes()
    real = getattr(os, call)

    def interrupted(handle, *rest):
        if any(entry.name.endswith(".tmp") for entry in tmp_path.iterdir()):
            raise KeyboardInterrupt
        return real(handle, *rest)

    monkeypatch.setattr(commit.os, call, interrupted)
    with pytest.raises(KeyboardInterrupt):
        gaecli.compute(path)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_files_without_a_lock_of_their_own_are_safe_until_the_last_of_them_is_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream of more files than a process may have open; somebody sweeps at every step of the commit."""
    from gaecli.writing import outputs

    paths = [tmp_path / f"{number}.parquet" for number in range(6)]
    for path in paths:
        pq.write_table(pa.table({"reward": [1.0], "value": [0.0], "terminated": [True]}), path)
    monkeypatch.setattr(outputs, "open_files_limit", lambda wanted: 2)
    commit = NewFile.commit

    def swept_and_committed(new: NewFile) -> None:
        sweep(tmp_path)
        commit(new)
        sweep(tmp_path)

    monkeypatch.setattr(NewFile, "commit", swept_and_committed)
    summary = gaecli.compute(paths, join=True, jobs=1)
    assert {file.status for file in summary.files} == {"written"}
    assert all("advantage" in pq.read_schema(path).names for path in paths)


def test_more_leftovers_than_a_process_may_have_open_are_swept(tmp_path: Path) -> None:
    import resource

    for number in range(300):
        (tmp_path / f".r.parquet.{number:016x}.tmp").write_bytes(b"half")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        sweep(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_another_run_labels_before_it_is_copied_is_told_as_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was planned by its old columns does not fit the new ones, which is no bug."""
    from gaecli.commands import stream_steps as run

    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"reward": [1.0], "value": [0.0], "terminated": [True]}), path)
    final = run.final
    other = []

    def overtaken(opened: OpenStream, *how: Any) -> FinalStream:
        if not other:
            other.append(path)
            gaecli.compute(path, gamma=0.5)
        return final(opened, *how)

    monkeypatch.setattr(run, "final", overtaken)
    with pytest.raises(gaecli.FileError, match="changed"):
        gaecli.compute(path)
    assert pq.read_table(path)["advantage"].to_pylist() == [1.0]
    assert list(tmp_path.iterdir()) == [path]
