"""What the advantages in a file have to be: a plain loop over what other libraries read in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

GAMMA, LAM = 0.9, 0.8
#: The columns that the loop knows; of files with others only that they can be read is asked.
ROLES = {"reward", "value", "done"}


class Stretch(NamedTuple):
    """Steps in the order of time, of one trajectory or of several one after the other."""

    rewards: np.ndarray
    values: np.ndarray
    ends: np.ndarray
    found: np.ndarray


def difference(path: Path, roles: Mapping[str, str], layout: str = "long") -> str | None:
    """How the advantages in a file differ from those of the numbers beside them; None if they do not."""
    names = [*(roles[role] for role in ("reward", "value", "done") if role in roles), "advantage"]
    columns = dict(zip(names, _columns(path, names), strict=True))
    if not set(roles) <= ROLES or not {"reward", "value"} <= set(roles):
        return None
    for stretch in _stretches(columns, roles, layout):
        wanted = _advantages(stretch)
        with np.errstate(over="ignore"):
            is_close = np.isclose(
                stretch.found,
                wanted.astype(np.float32),
                rtol=1e-5,  # float32 has seven digits, of which sums of unequal numbers lose some
                atol=1e-5 * np.abs(wanted).max(initial=1),
                equal_nan=True,
            )
        if not is_close.all():
            return f"{stretch.found.tolist()} instead of {wanted.tolist()}"
    return None


def _advantages(stretch: Stretch) -> np.ndarray:
    wanted = np.zeros(len(stretch.rewards))
    later = following = 0.0
    for row in reversed(range(len(wanted))):
        if stretch.ends[row]:
            later = following = 0.0
        later = stretch.rewards[row] + GAMMA * following - stretch.values[row] + GAMMA * LAM * later
        following = stretch.values[row]
        wanted[row] = later
    return wanted


def _stretches(columns: Mapping[str, Any], roles: Mapping[str, str], layout: str) -> Iterator[Stretch]:
    rewards, values, found = (columns[name] for name in (roles["reward"], roles["value"], "advantage"))
    done = columns[roles["done"]] if "done" in roles else None
    if layout in ("time-major", "batch-major"):
        lanes = [_lanes(np.asarray(cells), layout) for cells in (rewards, values, done, found)]
        yield from (Stretch(*map(_floats, cells)) for cells in zip(*lanes, strict=True))
    elif len(rewards) and isinstance(rewards[0], list):
        for row in range(len(rewards)):
            ends = done[row] if done is not None else [False] * len(rewards[row])
            yield Stretch(*(_floats(cells) for cells in (rewards[row], values[row], ends, found[row])))
    else:
        ends = done if done is not None else [False] * len(rewards)
        yield Stretch(*(_floats(cells) for cells in (rewards, values, ends, found)))


def _lanes(cells: np.ndarray, layout: str) -> np.ndarray:
    """[lanes, steps]; an array of one axis is one lane."""
    if cells.ndim == 1:
        return cells[None, :]
    return np.moveaxis(cells, 1, 0) if layout == "time-major" else cells


def _floats(cells: Any) -> np.ndarray:
    return np.asarray(cells, np.float64).reshape(-1)


def _columns(path: Path, names: list[str]) -> list[Any]:
    match path.suffix:
        case ".npz":
            with np.load(path) as archive:
                return [archive[name] for name in names]
        case ".jsonl":
            lines = [
                json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()
            ]
            return [[line.get(name) for line in lines] for name in names]
        case ".hdf5":
            return _datasets(path, names)
    table = _table(path, names)
    return [table[name].to_pylist() for name in names]


def _table(path: Path, names: list[str]) -> pa.Table:
    if path.suffix == ".parquet":
        return pq.ParquetFile(path).read(columns=names, use_threads=False)
    opened = pa.ipc.open_stream if path.suffix == ".arrows" else pa.ipc.open_file
    with pa.OSFile(str(path)) as source:
        return opened(source).read_all()


def _datasets(path: Path, names: list[str]) -> list[Any]:
    import h5py

    with h5py.File(path) as file:
        episodes = [name for name in sorted(file) if name.startswith("episode_")]
        return [[file[episode][name][()].reshape(-1).tolist() for episode in episodes] for name in names]
