"""SIGKILL at any instant: the file is the whole old one or the whole new one, and the next run cleans up."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

LEFTOVER = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")
#: As often as this with every run of the suite, and on until they have told something.
KILLS = {"added.parquet": 3, "replaced.parquet": 2, "rewritten.parquet": 2, "arrays.npz": 2}
MOST_KILLS, MANY_KILLS = 30, 300


class Runner:
    """Runs in children of a child, which has imported these modules and ours."""

    def __init__(self, *modules: str) -> None:
        command = [sys.executable, "-m", "faults.runner", *modules]
        tests = Path(__file__).parents[1]
        self.process = subprocess.Popen(
            command, cwd=tests, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, path: Path, kill_after: float | None = None, **settings: Any) -> dict[str, Any]:
        return self._ask({"path": str(path), "settings": settings, "kill_after": kill_after})

    def signalled(
        self,
        number: int,
        before: int,
        *arguments: str | Path,
        at: str = "os:replace",
        environ: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The command line; it gets the signal before its n-th rename, or its n-th call of `at`."""
        call = {"arguments": list(map(str, arguments)), "signal": number, "before": before}
        return self._ask({**call, "at": at, "environ": dict(environ or {})})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=120)


def make(path: Path, rows: int = 200_000) -> None:
    """Large enough that writing takes most of the time of a run."""
    random_ = np.random.default_rng(0)
    columns: dict[str, Any] = {
        "reward": random_.random(rows, np.float32),
        "value": random_.random(rows, np.float32),
        "terminated": random_.random(rows) < 0.01,
        "payload": random_.random(rows),
        "more payload": random_.random(rows),
    }
    if path.suffix == ".npz":
        np.savez(path, **columns)
        return
    if path.stem == "rewritten":  # a foreign column among the others: the file is written anew
        columns = {"advantage": np.zeros(rows, np.float32), **columns}
    pq.write_table(pa.table(columns), path, row_group_size=rows // 4, compression="none")


def leftovers(path: Path) -> list[str]:
    others = [entry.name for entry in path.parent.iterdir() if entry != path]
    assert all(LEFTOVER.fullmatch(name) for name in others), others
    return others


def kill_again_and_again(runner: Runner, path: Path, kills: int, seed: int) -> tuple[int, int]:
    """(how often the old file was there afterwards, how often something was left behind).

    Few kills may all come too early or too late to leave something: more of them are tried then.
    """
    make(path)
    if path.stem == "replaced":
        assert runner.run(path, gamma=0.9)["code"] == 0
    old = path.read_bytes()
    seconds = []
    for _ in range(3):
        path.write_bytes(old)
        done = runner.run(path, overwrite=True)
        assert done["code"] == 0
        seconds.append(done["seconds"])
    new = path.read_bytes()
    assert new != old

    draw = random.Random(seed)
    path.write_bytes(old)
    killed = stayed = left = 0
    while killed < kills or (killed < MOST_KILLS and not (stayed and left)):
        done = runner.run(path, draw.uniform(0, 1.1 * sorted(seconds)[1]), overwrite=True)
        found = path.read_bytes()
        assert found in (old, new), f"neither old nor new after {killed} kills"
        if done["killed"]:
            killed += 1
            stayed += found == old
            left += bool(leftovers(path))
            assert len(leftovers(path)) <= 1  # the run before swept what the one before it left
        else:
            assert done["code"] == 0
            assert found == new
            assert not leftovers(path)
        if found == new:
            path.write_bytes(old)
    assert runner.run(path, overwrite=True)["code"] == 0
    assert path.read_bytes() == new
    assert not leftovers(path)
    return stayed, left


@pytest.mark.parametrize("name", KILLS)
def test_a_kill_leaves_the_old_file_or_the_new_one(runner: Runner, name: str, tmp_path: Path) -> None:
    stayed, left = kill_again_and_again(runner, tmp_path / name, KILLS[name], seed=1)
    assert stayed > 0
    assert left > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", KILLS)
def test_many_kills_leave_the_old_file_or_the_new_one(runner: Runner, name: str, tmp_path: Path) -> None:
    stayed, left = kill_again_and_again(runner, tmp_path / name, MANY_KILLS, seed=2)
    assert stayed > MANY_KILLS // 10
    assert left > MANY_KILLS // 20


def test_a_leftover_of_any_name_is_swept_and_nothing_else(runner: Runner, tmp_path: Path) -> None:
    names = ["r.parquet", "two\nlines.parquet", "x" * 230 + ".parquet", ".hidden.parquet"]
    for name in names:
        path = tmp_path / name
        pq.write_table(pa.table({"reward": [1.0], "value": [0.0], "done": [True]}), path)
        short = name.encode()[:220].decode()
        (tmp_path / f".{short}.{'0123456789abcdef'}.tmp").write_bytes(b"half")
    others = [
        ".notes.tmp",
        ".r.parquet.12345.tmp",
        "r.parquet.0123456789abcdef.tmp",
        ".x.0123456789abcdeX.tmp",
    ]
    for name in others:
        (tmp_path / name).write_bytes(b"mine")
    assert runner.run(tmp_path / names[0], done_at="end")["code"] == 0
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([*names, *others])
    for name in names:
        assert runner.run(tmp_path / name, done_at="end", gamma=0.5)["code"] == 0
        assert "advantage" in pq.read_schema(tmp_path / name).names
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([*names, *others])


def test_a_dry_run_sweeps_nothing(runner: Runner, tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"reward": [1.0], "value": [0.0], "done": [True]}), path)
    leftover = tmp_path / ".r.parquet.0123456789abcdef.tmp"
    leftover.write_bytes(b"half")
    assert runner.run(path, done_at="end", dry_run=True)["code"] == 0
    assert leftover.exists()
