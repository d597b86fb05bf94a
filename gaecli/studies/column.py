"""The column of advantages that is to be explained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaecli.errors import UsageError
from gaecli.formats.base import RolloutFile, Unit
from gaecli.rollouts import Array, FloatArray


@dataclass(frozen=True)
class Against:
    """The column to be verified, and the file it stands in."""

    column: str
    path: Path
    #: [rows] or [T, N] or the items of lists, one after the other; NaN where there is no number.
    numbers: FloatArray
    rounding: float


def load_column(files: Sequence[RolloutFile], name: str) -> Against:
    """The column out of all files of a stream, one after the other."""
    found = [_load(file, name) for file in files]
    numbers = np.concatenate([one.numbers for one in found])
    return Against(name, files[0].path, numbers, max(one.rounding for one in found))


def _load(file: RolloutFile, name: str) -> Against:
    path = file.path
    info = file.find(name)
    if info is None or info.unusable is not None:
        raise UsageError(
            f"column `{name}` not found in `{path}`\n       columns there: {', '.join(list(file.columns)[:24])}",
            hint="`--against` names the column of advantages that is to be explained",
        )
    if info.kind not in ("float", "int"):
        raise UsageError(f"`{name}` of `{path}` is {info.type_name}, and advantages are numbers")
    parts = [part for unit in file.units(max(file.num_rows, 1), name) for part in _cells(file, unit, name)]
    values = np.concatenate(parts) if parts else np.zeros(0)
    rounding = float(np.finfo(np.float32).eps)
    kinds = {part.dtype for part in parts if part.dtype.kind == "f"}
    return Against(name, path, values.astype(np.float64), max([rounding, *(_eps(kind) for kind in kinds)]))


def _cells(file: RolloutFile, unit: Unit, name: str) -> Iterator[Array]:
    """Cells, or items of lists, one after the other; NaN for nulls."""
    for _, _, columns in file.blocks(unit, [name], max(file.num_rows, 1)):
        column = columns[name]
        items = slice(None) if column.offsets is None else slice(column.offsets[0], column.offsets[-1])
        cells = column.values.reshape(-1)
        if column.is_null is not None:
            kind = cells.dtype.type if cells.dtype.kind == "f" else np.float64
            cells = np.where(column.is_null.reshape(-1), kind(np.nan), cells)
        yield cells[items]


def _eps(kind: np.dtype[Any]) -> float:
    return float(np.finfo(kind).eps)
