"""Small rollout files for the command line, and their advantages by a loop over plain floats."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

#: Four episodes of fifteen steps. The second is truncated, the last is open, the others are terminated.
LENGTH, COUNT = 15, 4
ROWS = LENGTH * COUNT
LAST_ROWS = np.arange(1, COUNT + 1) * LENGTH - 1


def columns(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    terminated, truncated = np.zeros(ROWS, np.bool_), np.zeros(ROWS, np.bool_)
    terminated[LAST_ROWS[[0, 2]]] = True
    truncated[LAST_ROWS[1]] = True
    return {
        "reward": random.normal(size=ROWS),
        "value": random.normal(size=ROWS),
        "terminated": terminated,
        "truncated": truncated,
    }


def write(path: Path, seed: int = 0, **more: Any) -> Path:
    pq.write_table(pa.table({**columns(seed), **more}), path, row_group_size=25)
    return path


def write_npz(path: Path, seed: int = 0, **more: Any) -> Path:
    np.savez(path, **columns(seed), **more)
    return path


def advantages(
    of: dict[str, np.ndarray],
    gamma: float = 0.99,
    lam: float = 0.95,
    beyond: Sequence[float] = (0.0,) * COUNT,
) -> np.ndarray:
    """Backwards through each episode; `beyond` is V after each of them, where it did not terminate."""
    found = [0.0] * ROWS
    for episode, last in enumerate(LAST_ROWS.tolist()):
        later, following = 0.0, 0.0 if of["terminated"][last] else beyond[episode]
        for row in range(last, last - LENGTH, -1):
            later = of["reward"][row] + gamma * following - of["value"][row] + gamma * lam * later
            found[row] = later
            following = of["value"][row]
    return np.array(found)


def written(path: Path, name: str = "advantage") -> Any:
    """A column as it was written, to be compared with float64: it went through float32."""
    cells = np.load(path)[name] if path.suffix == ".npz" else np.array(pq.read_table(path)[name].to_pylist())
    return pytest.approx(cells.astype(np.float64), rel=1e-6, abs=1e-6)


def document_of(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """stdout as the one JSON document that it has to be."""
    document = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert isinstance(document, dict)
    return document


def ok(result: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert result.returncode == 0, result.stderr
    return result
