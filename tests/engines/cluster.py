"""What happens to clusters in these tests, and what is computed on them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]


def files_of(folder: Path, count: int = 12, num_rows: int = 60_000) -> None:
    random = np.random.default_rng(3)
    for number in range(count):
        ends = np.arange(num_rows) % 199 == 198
        cells = {name: random.normal(size=num_rows).astype(np.float32) for name in ("reward", "value")}
        pq.write_table(
            pa.table({**cells, "terminated": ends}), folder / f"{number:02d}.parquet", row_group_size=8192
        )


def worker_processes() -> list[int]:
    """Those of our clusters that carry out a task of gaecli just now."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                title = (folder / "cmdline").read_bytes().split(b"\0")[0]
            except OSError:
                continue
            if title.startswith(b"ray::_carry_out") and _is_below_us(folder):
                found.append(int(folder.name))
    return found


def _is_below_us(process: Path) -> bool:
    """Machines of a cluster are processes of this one."""
    while process.name not in ("0", "1"):
        if int(process.name) == os.getpid():
            return True
        try:
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            return False
        process = process.parent / parent
    return False


@contextmanager
def killing(most: int = 6) -> Iterator[list[int]]:
    """Every now and then a process at work dies as if memory had run out."""
    killed: list[int] = []
    is_over = threading.Event()

    def kill() -> None:
        while not is_over.wait(0.05) and len(killed) < most:
            for number in worker_processes()[:1]:
                os.kill(number, signal.SIGKILL)
                killed.append(number)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        is_over.set()
        thread.join()


def gae(cluster: Any, *arguments: object) -> subprocess.Popen[str]:
    """`gae compute --engine ray`, which connects itself."""
    command = [sys.executable, "-m", "gaecli", "compute", *map(str, arguments), "--engine", "ray"]
    environment = {**os.environ, "RAY_ADDRESS": cluster.address, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def written(path: Path) -> bool:
    return "advantage" in pq.read_schema(path).names


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)
