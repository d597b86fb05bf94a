"""No room for the new file: a clear error, the old file as it was, and nothing left beside it."""

from __future__ import annotations

import json
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


@pytest.mark.few(3)
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


def small_file(path: Path, rows: int = 1) -> Path:
    random = np.random.default_rng(rows)
    table = pa.table(
        {"reward": random.random(rows), "value": random.random(rows), "terminated": [True] * rows}
    )
    pq.write_table(table, path)
    return path


def leave_room(disk: Path, num_bytes: int) -> Path:
    found = os.statvfs(disk)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(found.f_bavail * found.f_bsize - num_bytes))
    return ballast


def test_of_many_files_those_before_the_full_disk_are_written(run_gae: Run, small_disk: Path) -> None:
    before, after = (small_file(small_disk / name) for name in ("a.parquet", "z.parquet"))
    large = make(small_disk / "large.parquet")
    old = [large.read_bytes(), after.read_bytes()]
    ballast = leave_room(small_disk, ROOM_BYTES)
    result = run_gae("compute", small_disk, "--jobs", "1")
    assert result.returncode == 4
    assert [large.read_bytes(), after.read_bytes()] == old
    assert "advantage" in pq.read_schema(before).names
    assert sorted(contents(small_disk)) == ["a.parquet", "ballast", "large.parquet", "z.parquet"]
    ballast.unlink()
    again = run_gae("compute", small_disk, "--jobs", "1", "--json")
    assert [file["status"] for file in json.loads(again.stdout)["files"]] == ["up to date", *["written"] * 2]


@pytest.mark.parametrize(
    ("count", "flags"),
    [(24, ()), pytest.param(110, (), marks=pytest.mark.slow), (110, ("--normalize", "all"))],
)
def test_a_full_disk_is_one_error_of_many_files(
    run_gae: Run, small_disk: Path, tmp_path: Path, count: int, flags: tuple[str, ...]
) -> None:
    """110 files go to forks, each of which finds the disk full for itself."""
    folder, out = tmp_path / "runs", small_disk / "out"
    folder.mkdir()
    content = small_file(folder / "000.parquet", rows=500).read_bytes()
    for number in range(1, count):
        (folder / f"{number:03}.parquet").write_bytes(content)
    ballast = leave_room(small_disk, len(content) * 8)
    command = ("compute", folder, "-o", out, "--jobs", "2", *flags)
    result = run_gae(*command, is_process=True)
    written = [path.name for path in out.iterdir()]
    assert result.returncode == 4
    assert all(name.endswith(".parquet") for name in written)
    assert 0 < len(written) < 8
    assert result.stderr.count("error: ") == 1
    assert f"{len(written)} of {count} files are done" in result.stderr
    assert f"for {count - len(written) - 1} more there is no space" in result.stderr
    assert "run the same command again" in result.stderr
    ballast.unlink()
    again = json.loads(run_gae(*command, "--json", is_process=True).stdout)["files"]
    assert {Path(file["input"]).name for file in again if file["status"] == "up to date"} == set(written)
    assert all("advantage" in pq.read_schema(out / path.name).names for path in folder.iterdir())


def test_what_is_not_tried_for_lack_of_space_is_not_failed(
    run_gae: Run, small_disk: Path, tmp_path: Path
) -> None:
    """And what has its result from an earlier run has nothing to do with it."""
    inputs = [small_file(tmp_path / f"{name}.parquet", rows=2000) for name in "abcd"]
    out = small_disk / "out"
    assert run_gae("compute", inputs[3], "-o", f"{out}/").returncode == 0
    leave_room(small_disk, 0)
    result = run_gae("compute", *inputs, "-o", f"{out}/", "--jobs", "1", "--json")
    files = json.loads(result.stdout)["files"]
    assert [file["status"] for file in files] == ["failed", "not written", "not written", "up to date"]
    assert "1 of 4 files are done" in files[0]["error"]
    assert str(inputs[0]) in files[1]["error"]


def test_stripping_stops_at_a_full_disk(run_gae: Run, small_disk: Path, tmp_path: Path) -> None:
    inputs = [small_file(tmp_path / f"{number:02}.parquet", rows=2000) for number in range(12)]
    assert run_gae("compute", *inputs).returncode == 0
    leave_room(small_disk, inputs[0].stat().st_size * 3)
    result = run_gae("strip", *inputs, "-o", f"{small_disk / 'out'}/")
    num_done = len(list((small_disk / "out").iterdir()))
    assert result.returncode == 4
    assert 0 < num_done < 10
    assert result.stderr.count("no space left to write") == 1
    assert f"the same with {12 - num_done - 2} other files" in result.stderr
