"""The column that is to be explained: advantages, or the returns made of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gaecli.array_types import Array, FloatArray
from gaecli.errors import UsageError
from gaecli.formats.base import RolloutFile, Unit
from gaecli.missing_columns import columns_there
from gaecli.names import ADVANTAGE_NAMES, RETURN_NAMES
from gaecli.pipeline.memory import rows_per_block
from gaecli.records import dataclass
from gaecli.shell_words import word

#: A step takes about so many bytes where all of them are held against the rules at once.
BYTES_PER_STEP = 500
_MOST_ROWS = 1 << 17
#: What a column holds: A, or R = A + V.
Holds = Literal["advantage", "return"]

_NAMES: Mapping[Holds, Sequence[str]] = {"advantage": ADVANTAGE_NAMES, "return": RETURN_NAMES}


@dataclass(frozen=True, eq=False)
class Against:
    """The column to be verified, and the files it stands in, which are read when they are asked for."""

    column: str
    files: Sequence[RolloutFile]
    memory_bytes: int
    #: Types of the cells that were read.
    kinds: set[np.dtype[Any]] = field(default_factory=set)

    @property
    def path(self) -> Path:
        return self.files[0].path

    @cached_property
    def numbers(self) -> FloatArray:
        """[rows] or [T, N] or the items of lists, one after the other; NaN where there is no number.

        For rules that compare all of them with each other: `UsageError` where there is no room for that.
        """
        cells, found, count = ColumnCells(self), [], 0
        _check_fits(self.path, cells.num_known, self.memory_bytes)  # of lists the headers may know no more
        for part in cells:
            found.append(part.astype(np.float64))
            count += len(part)
            _check_fits(self.path, count, self.memory_bytes)
        return np.concatenate(found) if found else np.zeros(0)

    @property
    def rounding(self) -> float:
        """Relative: that of the coarsest type in which the files have it, and of float32 at least."""
        if not self.kinds:
            for _ in ColumnCells(self):
                pass
        found = [float(np.finfo(kind).eps) for kind in self.kinds if kind.kind == "f"]
        return max([float(np.finfo(np.float32).eps), *found])


class ColumnCells:
    """The cells of a column, block after block, or as many at a time as are asked for."""

    def __init__(self, against: Against) -> None:
        self._against = against
        self._block_rows = min(rows_per_block(against.memory_bytes), _MOST_ROWS)
        self._parts = iter(self)
        self._left = np.zeros(0)

    @property
    def num_known(self) -> int:
        """As the headers have it."""
        return sum(unit.num_cells for file in self._against.files for unit in self._units(file))

    def __iter__(self) -> Iterator[Array]:
        for file in self._against.files:
            for unit in self._units(file):
                for part in _cells(file, unit, self._against.column, self._block_rows):
                    self._against.kinds.add(part.dtype)
                    yield part

    def take(self, count: int) -> FloatArray:
        """The next ones; fewer at the end."""
        found = [self._left[:count]]
        missing = count - len(found[0])
        self._left = self._left[count:]
        while missing > 0 and (part := next(self._parts, None)) is not None:
            found.append(part[:missing].astype(np.float64))
            self._left = part[missing:]
            missing -= len(found[-1])
        return np.concatenate(found)

    def num_left(self) -> int:
        return len(self._left) + sum(len(part) for part in self._parts)

    def _units(self, file: RolloutFile) -> Sequence[Unit]:
        return file.units(self._block_rows, self._against.column)


def what_it_holds(name: str) -> list[Holds]:
    """What a column of this name may hold, the likelier first; a name that says so leaves no choice."""
    last = name.rpartition(".")[2].lower()
    for holds, names in _NAMES.items():
        if last in names:
            return [holds]
    return ["advantage", "return"]


def _check_fits(path: Path, num_steps: int, memory_bytes: int) -> None:
    if num_steps * BYTES_PER_STEP > memory_bytes:
        raise too_many(path, num_steps, memory_bytes)


def too_many(path: Path, num_steps: int, memory_bytes: int) -> UsageError:
    """For rules that are held against all steps at once."""
    return UsageError(
        f"`{path}` with {num_steps:,} steps takes more than `--memory` to verify: what may have made the column "
        "looks at all of them at once",
        hint=f"raise `--memory` to {num_steps * BYTES_PER_STEP / (1 << 30):.1f}GiB or more, or verify a part "
        "of the file",
    )


def find_column(
    files: Sequence[RolloutFile], name: str, memory_bytes: int, kinds: Sequence[str] = ("float", "int")
) -> Against:
    """The column in all files of a stream, one after the other; it has a number for every step."""
    name = _found(files[0], name)
    for file in files:
        _check(file, name, kinds)
    return Against(name, files, memory_bytes)


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
            hint=f"say which one is to be explained: `--against {word(found[0])}`",
        )
    return found[0] if found else name


def _check(file: RolloutFile, name: str, kinds: Sequence[str]) -> None:
    info = file.find(name)
    if info is None or info.unusable is not None:
        raise UsageError(
            f"column `{name}` not found in `{file.path}`\n       columns there: {columns_there(file)}",
            hint=_hint(file, name),
        )
    if info.kind not in kinds:
        raise UsageError(f"`{name}` of `{file.path}` is {info.type_name}, and advantages are numbers")


def _hint(file: RolloutFile, name: str) -> str:
    """What is nearly called so, else what usual names are of."""
    known = [column for names in _NAMES.values() for column in file.columns if column.lower() in names]
    found = [*difflib.get_close_matches(name, list(file.columns), n=1, cutoff=0.7), *known]
    if found:
        return f"to explain `{found[0]}` pass `--against {word(found[0])}`"
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
