"""What the advantages in a file have to be: a plain loop over what other libraries read in it."""

from __future__ import annotations

import csv
import io
import json
import pickle
import zipfile
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
        case ".csv":
            return _cells(path, names)
        case ".pt":
            return _tensors(path, names)
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


def _cells(path: Path, names: list[str]) -> list[Any]:
    """By the delimiter with which the names are there."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        text = file.read()
    for delimiter in ",;\t|":
        header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        header = [name.strip() for name in header]
        if set(names) <= set(header):
            places = [header.index(name) for name in names]
            return [[_number(row[place]) for row in rows if row] for place in places]
    raise ValueError(f"{names} are not in {text[:200]!r}")


def _number(cell: str) -> float:
    flags = {"true": 1.0, "false": 0.0}
    return flags[cell.lower()] if cell.lower() in flags else float(cell)


def _tensors(path: Path, names: list[str]) -> list[Any]:
    """As torch does it, without torch."""
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        with archive.open(name) as file:
            tree = _Unpickler(file, archive, name.removesuffix("data.pkl")).load()
    while names[0] not in tree:
        (tree,) = (value for value in tree.values() if isinstance(value, dict))
    return [tree[name] for name in names]


class _Unpickler(pickle.Unpickler):
    """Of a file that gaecli has written: what it does not know is nothing."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(file)
        self._archive = archive
        self._root = root

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuilt
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        return _STORAGES.get(name, _Nothing)

    def persistent_load(self, pid: Any) -> Any:
        dtype, key = pid[1:3]
        if dtype is _Nothing:
            return None
        return np.frombuffer(self._archive.read(f"{self._root}data/{key}"), dtype)


_STORAGES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "BoolStorage": np.bool_,
    "ByteStorage": np.uint8,
}


class _Nothing:
    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


def _rebuilt(storage: Any, offset: int, shape: Any, strides: Any, *_: Any) -> Any:
    if storage is None:
        return None
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps)
