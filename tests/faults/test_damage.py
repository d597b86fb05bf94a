"""A wrong byte anywhere in a file: a clean error or the right result, in little time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROWS = 12


def numbers() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "reward": random.normal(size=ROWS).astype(np.float32),
        "value": random.normal(size=ROWS).astype(np.float32),
        "done": np.arange(ROWS) % 5 == 4,
    }


def parquet(path: Path, **options: object) -> None:
    pq.write_table(pa.table(numbers()), path, row_group_size=7, **options)


def npz(path: Path, compression: int = zipfile.ZIP_STORED) -> None:
    (np.savez if compression == zipfile.ZIP_STORED else np.savez_compressed)(path, **numbers())


def arrow(path: Path, **options: object) -> None:
    table = pa.table({**numbers(), "note": [f"n{row % 3}" for row in range(ROWS)]})
    opened = pa.ipc.new_stream if path.suffix == ".arrows" else pa.ipc.new_file
    with opened(path, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=7)


FILES: dict[str, Callable[[Path], None]] = {
    "plain.parquet": lambda path: parquet(path, compression="none", use_dictionary=False, store_schema=False),
    "usual.parquet": lambda path: parquet(path),
    "plain.npz": lambda path: npz(path),
    "deflated.npz": lambda path: npz(path, zipfile.ZIP_DEFLATED),
    "plain.arrow": lambda path: arrow(path),
    "packed.arrow": lambda path: arrow(path, compression="zstd"),
    "plain.arrows": lambda path: arrow(path),
}


def damaged(path: Path, rounds: int = 1, seed: int = 1, step: int = 1) -> dict:
    numbers = map(str, (seed, rounds, step))
    command = [sys.executable, "-m", "faults.mutations", str(path), *numbers]
    tests = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=tests, capture_output=True, text=True, timeout=1200, check=False)
    last = done.stdout.strip().splitlines()[-1:]
    assert done.returncode == 0, f"ended with {done.returncode} at {last}\n{done.stderr[-2000:]}"
    return json.loads(last[0])


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("plain.npz", 9),
        # All bytes take ten seconds; a few of each format are tried in test_fuzz.py.
        *(
            pytest.param(name, 1, marks=pytest.mark.slow)
            for name in ("plain.npz", "plain.parquet", "deflated.npz", "plain.arrow", "plain.arrows")
        ),
    ],
)
def test_a_byte_replaced_is_refused_or_right(name: str, step: int, tmp_path: Path) -> None:
    path = tmp_path / name
    FILES[name](path)
    size = path.stat().st_size
    found = damaged(path, step=step)
    assert not found["wrong"], "\n".join(found["wrong"])
    assert found["refused"] + found["right"] == -(-size // step)
    assert found["refused"] > 0
    assert found["right"] > 0
    assert found["peak_bytes"] < 1 << 30


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_byte_replaced_many_times_is_refused_or_right(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    FILES[name](path)
    found = damaged(path, rounds=8, seed=2)
    assert not found["wrong"], "\n".join(found["wrong"])
    assert found["peak_bytes"] < 1 << 30
