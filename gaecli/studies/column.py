"""The column that is to be explained: advantages, or the returns made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gaecli.errors import UsageError
from gaecli.formats.base import RolloutFile, Unit
from gaecli.missing_columns import columns_there
from gaecli.names import ADVANTAGE_NAMES, RETURN_NAMES
from gaecli.pipeline.memory import rows_per_block
from gaecli.records import dataclass
from gaecli.rollouts import Array, FloatArray

#: A step takes about so many bytes while it is held against the conventions.
BYTES_PER_STEP = 500
#: What a column holds: A, or R = A + V.
Holds = Literal["advantage", "return"]

_NAMES: Mapping[Holds, Sequence[str]] = {"advantage": ADVANTAGE_NAMES, "return": RETURN_NAMES}


@dataclass(frozen=True)
class Against:
    """The column to be verified, and the file it stands in."""

    column: str
    path: Path
    #: [rows] or [T, N] or the items of lists, one after the other; NaN where there is no number.
    numbers: FloatArray
    rounding: float


def what_it_holds(name: str) -> list[Holds]:
    """What a column of this name may hold, the likelier first; a name that says so leaves no choice."""
    last = name.rpartition(".")[2].lower()
    for holds, names in _NAMES.items():
        if last in names:
            return [holds]
    return ["advantage", "return"]


def check_fits(path: Path, num_steps: int, memory_bytes: int) -> None:
    """Each convention is held against all steps at once: refuse more of them than the limit has room for."""
    if num_steps * BYTES_PER_STEP > memory_bytes:
        raise UsageError(
            f"`{path}` with {num_steps:,} steps takes more than `--memory` to verify",
            hint=f"raise `--memory` to {num_steps * BYTES_PER_STEP / (1 << 30):.1f}GiB or more, or verify a part "
            "of the file",
        )


def load_column(
    files: Sequence[RolloutFile], name: str, memory_bytes: int, kinds: Sequence[str] = ("float", "int")
) -> Against:
    """The column out of all files of a stream, one after the other; it has a number for every step."""
    name = _found(files[0], name)
    found: list[Against] = []
    for file in files:
        num_before = sum(len(one.numbers) for one in found)
        found.append(_load(file, name, num_before, memory_bytes, kinds))
    numbers = np.concatenate([one.numbers for one in found])
    return Against(name, files[0].path, numbers, max(one.rounding for one in found))


def _found(file: RolloutFile, name: str) -> str:
    """The column itself, or the one that has another usual name for the same: `returns` for `return`."""
    if file.find(name) is not None:
        return name
    names = next((names for names in _NAMES.values() if name.lower() in names), ())
    found = [column for alias in names for column in file.columns if column.lower() == alias]
    if len(found) > 1:
        raise UsageError(
            f"column `{name}` not found in `{file.path}`, and {len(found)} stand for it: "
            f"{', '.join(f'`{column}`' for column in found)}",
            hint=f"say which one is to be explained: `--against {found[0]}`",
        )
    return found[0] if found else name


def _load(file: RolloutFile, name: str, num_before: int, memory_bytes: int, kinds: Sequence[str]) -> Against:
    path = file.path
    info = file.find(name)
    if info is None or info.unusable is not None:
        raise UsageError(
            f"column `{name}` not found in `{path}`\n       columns there: {columns_there(file)}",
            hint=_hint(file),
        )
    if info.kind not in kinds:
        raise UsageError(f"`{name}` of `{path}` is {info.type_name}, and advantages are numbers")
    block_rows = rows_per_block(memory_bytes)
    units = file.units(block_rows, name)
    num_steps = num_before + sum(unit.num_cells for unit in units)
    check_fits(path, num_steps, memory_bytes)  # of lists their number may be all that the headers know
    parts: list[Array] = []
    for part in (part for unit in units for part in _cells(file, unit, name, block_rows)):
        parts.append(part)
        num_before += len(part)
        check_fits(path, num_before, memory_bytes)
    values = np.concatenate(parts) if parts else np.zeros(0)
    rounding = float(np.finfo(np.float32).eps)
    floats = {part.dtype for part in parts if part.dtype.kind == "f"}
    return Against(name, path, values.astype(np.float64), max([rounding, *(_eps(one) for one in floats)]))


def _hint(file: RolloutFile) -> str:
    known = [column for names in _NAMES.values() for column in file.columns if column.lower() in names]
    if known:
        return f"to explain `{known[0]}` pass `--against {known[0]}`"
    return "`--against` names the column of advantages, or of returns, that is to be explained"


def _cells(file: RolloutFile, unit: Unit, name: str, block_rows: int) -> Iterator[Array]:
    """Cells, or items of lists, one after the other; NaN for nulls."""
    for _, _, columns in file.blocks(unit, [name], block_rows):
        column = columns[name]
        items = slice(None) if column.offsets is None else slice(column.offsets[0], column.offsets[-1])
        cells = column.values.reshape(-1)
        if column.is_null is not None:
            kind = cells.dtype.type if cells.dtype.kind == "f" else np.float64
            cells = np.where(column.is_null.reshape(-1), kind(np.nan), cells)
        yield cells[items]


def _eps(kind: np.dtype[Any]) -> float:
    return float(np.finfo(kind).eps)
