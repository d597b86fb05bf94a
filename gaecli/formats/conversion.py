"""A file of one format made of a file of another: whatever has rows goes into whatever takes them (`rows.py`)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pyarrow as pa

from gaecli.errors import DataError, FileError, UsageError
from gaecli.formats.base import RolloutFile
from gaecli.formats.registry import Format
from gaecli.formats.rows import Rows, RowTarget, TableFile, UnfitRowsError, array_rows, table_rows
from gaecli.formats.wrapped import WrappedFile
from gaecli.records import dataclass


@dataclass(frozen=True)
class Conversion:
    """What of a file goes into one of another format."""

    target: Format
    #: Columns that give way to new ones.
    left_out: tuple[str, ...]
    #: Beside which the new ones stand; its shape is that of the steps, and of arrays these are the roles of its axes.
    like: str
    axes: tuple[str, ...] = ()

    def check(self, file: RolloutFile) -> None:
        """Raise `UsageError` where types or shapes tell that it cannot be."""
        rows, target = self._rows(file), self._target(file)
        unfit = {field.name: why for field in rows.schema if (why := target.unfit(field.type)) is not None}
        if unfit:
            name, why = next(iter(unfit.items()))
            others = f", and {len(unfit) - 1:,} columns more" if len(unfit) > 1 else ""
            raise UsageError(
                f"`{name}` of `{file.path}` {why}{others}: {self.target.title} has no place for it",
                hint=f"write it as {_roomier(self.target)}, or leave the column out of the input",
            )

    def write(self, file: RolloutFile, path: Path) -> None:
        """Make the file. `DataError` at cells that have no place in it."""
        rows, target = self._rows(file), self._target(file)
        try:
            target.write_rows(rows, path)
        except UnfitRowsError as error:
            raise DataError(
                f"`{file.path}` cannot be written as {self.target.title}: {error}",
                hint=f"write it as {_roomier(self.target)}",
            ) from error
        except (pa.ArrowException, ValueError) as error:
            raise FileError(f"`{file.path}` cannot be written as {self.target.title}: {error}") from error

    def _rows(self, file: RolloutFile) -> Rows:
        inner = unwrapped(file)
        if isinstance(inner, TableFile):
            return table_rows(inner, self.left_out)
        if inner.structure == "arrays" and inner.format_name != "hdf5":
            return array_rows(inner, self.like, self.axes, self.left_out)
        raise UsageError(
            f"`{file.path}` is {inner.format_name.upper()}, which is not converted to another format",
            hint="name an output with the suffix of the input",
        )

    def _target(self, file: RolloutFile) -> RowTarget:
        if not self.target.from_rows:
            raise UsageError(
                f"`{file.path}` is not converted to {self.target.title}",
                hint="name a .parquet, .arrow, .npz, .jsonl or .csv file",
            )
        return cast(RowTarget, importlib.import_module(self.target.from_rows))


def _roomier(target: Format) -> str:
    return "Parquet, Arrow or JSON lines" if target.name in ("csv", "npz") else "Arrow"


def unwrapped(file: RolloutFile) -> RolloutFile:
    while isinstance(file, WrappedFile):
        file = file.behind
    return file


def axes_of(layout: str) -> Sequence[str]:
    """The roles of the axes of arrays."""
    return {"time-major": ("step", "env"), "batch-major": ("env", "step")}.get(layout, ())
