"""Rollouts in several layouts whose ends stand in a column of any name, and what `gae compute` makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.errors import GaeError
from gaecli.summary import Summary

GAMMA, LAM = 0.99, 0.95
NUM_TIMES, NUM_ENVS = 24, 3

Columns = dict[str, Any]


def ends_of(rng: np.random.Generator) -> np.ndarray:
    """[T, N]: some ends in every environment, and neither on its first step nor on its last."""
    ends = np.zeros((NUM_TIMES, NUM_ENVS), bool)
    for env in range(NUM_ENVS):
        ends[rng.choice(np.arange(2, NUM_TIMES - 2, 2), 3, replace=False), env] = True
    return ends


def advantages(rewards: np.ndarray, values: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """One environment in a plain loop; an end is terminal, and nothing is known beyond the last step."""
    found, following = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        next_value = 0.0 if ends[t] or t + 1 == len(rewards) else values[t + 1]
        following = rewards[t] + GAMMA * next_value - values[t] + (0 if ends[t] else GAMMA * LAM * following)
        found[t] = following
    return found


def save(path: Path, columns: Mapping[str, Any]) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **{name: np.asarray(cells) for name, cells in columns.items()})
    elif path.suffix == ".jsonl":
        plain = {
            name: np.asarray(cells).tolist() if not isinstance(cells, list) else cells
            for name, cells in columns.items()
        }
        rows = zip(*plain.values(), strict=True)
        path.write_text("".join(json.dumps(dict(zip(plain, row, strict=True))) + "\n" for row in rows))
    else:
        pq.write_table(
            pa.table({name: pa.array(cells) for name, cells in columns.items()}), path, row_group_size=10
        )
    return path


def written(path: Path) -> np.ndarray:
    if path.suffix == ".npz":
        return np.load(path)["advantage"]
    if path.suffix == ".jsonl":
        return np.array([json.loads(line)["advantage"] for line in path.read_text().splitlines()])
    cells = pq.read_table(path)["advantage"].to_pylist()
    return np.array([item for row in cells for item in (row if isinstance(row, list) else [row])])


def compute(path: Path, **settings: Any) -> Summary:
    return gaecli.compute(
        path, path.parent / f"out{path.suffix}", overwrite=True, gamma=GAMMA, lam=LAM, **settings
    )


def error_of(path: Path, **settings: Any) -> tuple[int, str, str]:
    with pytest.raises(GaeError) as caught:
        compute(path, **settings)
    return caught.value.exit_code, caught.value.message, str(caught.value.hint)


def codes(summary: Summary) -> set[str]:
    assert summary.exit_code == 0, summary.files
    return {note.code for note in summary.warnings} - {"bootstrap-zero"}


def as_dense(steps: Mapping[str, np.ndarray], name: str, flags: np.ndarray) -> Columns:
    return {"rewards": steps["reward"], "values": steps["value"], name: flags}


def as_table(steps: Mapping[str, np.ndarray], name: str, flags: np.ndarray) -> Columns:
    env = np.repeat(np.arange(NUM_ENVS), NUM_TIMES)
    return {
        "reward": steps["reward"].T.ravel(),
        "value": steps["value"].T.ravel(),
        "env_id": env,
        name: flags.T.ravel(),
    }


def as_interleaved(steps: Mapping[str, np.ndarray], name: str, flags: np.ndarray) -> Columns:
    env = np.tile(np.arange(NUM_ENVS), NUM_TIMES)
    return {
        "reward": steps["reward"].ravel(),
        "value": steps["value"].ravel(),
        "env_id": env,
        name: flags.ravel(),
    }


def as_rows(steps: Mapping[str, np.ndarray], name: str, flags: np.ndarray) -> Columns:
    """Nested, with one flag at the end of the second row only."""
    last = np.zeros((NUM_ENVS, NUM_TIMES), flags.dtype)
    last[1, -1] = 1
    return {"reward": steps["reward"].T.tolist(), "value": steps["value"].T.tolist(), name: last.tolist()}


LAYOUTS: dict[str, tuple[Callable[..., Columns], str, str]] = {
    "dense": (as_dense, ".npz", "time-major"),
    "table": (as_table, ".parquet", "auto"),
    "table-npz": (as_table, ".npz", "auto"),
    "table-jsonl": (as_table, ".jsonl", "auto"),
    "interleaved": (as_interleaved, ".parquet", "auto"),
    "nested": (as_rows, ".parquet", "auto"),
    "nested-jsonl": (as_rows, ".jsonl", "auto"),
}
