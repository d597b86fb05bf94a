"""No room for the new file: a clear error, the old file as it was, and nothing left beside it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROWS = 60_000
DISK_BYTES = 4 << 20
#: What is left of it, or allowed: less than any result adds.
ROOM_BYTES = DISK_BYTES // 20

Run = Callable[..., subprocess.CompletedProcess[str]]


def columns(path: Path) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    payload = {"payload": random.random(ROWS)} if path.suffix == ".parquet" else {}
    return {
        "reward": random.random(ROWS, np.float32),
        "value": random.random(ROWS, np.float32),
        "terminated": random.random(ROWS) < 0.01,
        **payload,
    }


def make(path: Path, *, is_displaced: bool = False) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **columns(path))
    else:
        first = {"advantage": np.zeros(ROWS, np.float32)} if is_displaced else {}
        table = pa.table({**first, **columns(path)})
        pq.write_table(table, path, row_group_size=ROWS // 3, compression="none", use_dictionary=False)
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, with room for a few files."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("needs leave to mount a tmpfs")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


CASES = {
    "spliced": ("r.parquet", ()),
    "rewritten": ("displaced.parquet", ("--overwrite",)),
    "an archive": ("r.npz", ()),
    "a sidecar": ("r.parquet", ("--sidecar",)),
    "another file": ("r.parquet", ("-o", "out.parquet")),
    "a normalised one": ("r.parquet", ("--normalize", "all", "--keep-raw")),
}


@pytest.mark.parametrize("case", CASES)
def test_a_full_disk(run_gae: Run, small_disk: Path, case: str) -> None:
    name, flags = CASES[case]
    path = make(small_disk / name, is_displaced=case == "rewritten")
    ballast = small_disk / "ballast"
    room = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize
    ballast.write_bytes(bytes(max(0, room - ROOM_BYTES)))
    before = contents(small_disk)
    result = run_gae("compute", path, *flags, cwd=small_disk)
    assert result.returncode == 4, result.stderr
    assert result.stderr.startswith("error: ")
    assert "no space left to write `" in result.stderr
    assert "hint: free some space" in result.stderr
    assert contents(small_disk) == before
    ballast.unlink()
    assert run_gae("compute", path, *flags, cwd=small_disk).returncode == 0


@pytest.mark.turns
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("limit", [0, ROOM_BYTES])
def test_a_limit_on_the_size_of_files(
    start_gae: Callable[..., Any], tmp_path: Path, case: str, limit: int
) -> None:
    """The same in a portable way: writing beyond the limit fails in the middle of a file."""
    name, flags = CASES[case]
    path = make(tmp_path / name, is_displaced=case == "rewritten")
    before = contents(tmp_path)
    run = start_gae("compute", path, *flags, cwd=tmp_path, file_size=limit)
    errors = run.communicate(timeout=60)[1].decode()
    assert run.returncode == 4, errors
    assert errors.startswith("error: `")
    assert "would be larger than a file may be here" in errors
    assert "ulimit -f" in errors
    assert contents(tmp_path) == before


def test_of_many_files_those_that_fit_are_written(run_gae: Run, small_disk: Path) -> None:
    small = small_disk / "small.parquet"
    pq.write_table(pa.table({"reward": [1.0], "value": [0.0], "terminated": [True]}), small)
    large = make(small_disk / "large.parquet")
    room = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize
    (small_disk / "ballast").write_bytes(bytes(room - ROOM_BYTES))
    before = large.read_bytes()
    result = run_gae("compute", small_disk, "--jobs", "1")
    assert result.returncode == 4
    assert large.read_bytes() == before
    assert "advantage" in pq.read_schema(small).names
    assert sorted(contents(small_disk)) == ["ballast", "large.parquet", "small.parquet"]
