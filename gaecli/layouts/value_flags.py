"""`--done-column status=finished`, `--mask-column 'labels!=-100'`: set where a column has one value, or another."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gaecli.array_types import BoolArray
from gaecli.formats.base import Column, ColumnInfo, RolloutFile, Unit
from gaecli.formats.wrapped import WrappedFile
from gaecli.names import VALUE_FLAG_ROLES
from gaecli.settings import Settings

#: `==` is what people type who write Python.
_TEST = re.compile(r"(?P<column>.+?)(?P<operator>!=|==?)(?P<value>.*)", re.DOTALL)
#: What stands for a cell that is missing, and for flags.
_MISSING = frozenset(("null", "nan", "none"))
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


class ValueFlag(NamedTuple):
    column: str
    value: str
    #: Set where the column has any other value.
    is_other: bool


def value_flag_of(name: str) -> ValueFlag | None:
    """What a name asks for that is no column's: `status=finished`."""
    test = _TEST.fullmatch(name)
    return test and ValueFlag(test["column"], test["value"], test["operator"] == "!=")


def value_flags(file: RolloutFile, settings: Settings) -> Mapping[str, ValueFlag]:
    """By the name that the user gave: `status=finished`. A column of that very name is meant by it first."""
    found = {}
    for role in VALUE_FLAG_ROLES:
        name = settings.columns.get(role, "")
        flag = value_flag_of(name)
        if flag is None or file.find(name) is not None:
            continue
        info = file.find(flag.column)
        if info is not None and info.unusable is None and info.kind in ("int", "float", "bool", "id"):
            found[name] = flag
    return found


def column_behind(file: RolloutFile, name: str) -> str:
    """The column of the file itself whose values decide, or that of the name."""
    while isinstance(file, WrappedFile):
        if isinstance(file, WithValueFlags) and name in file.flags:
            return file.flags[name].column
        file = file.behind
    return name


class WithValueFlags(WrappedFile):
    """A file with such flags beside its columns."""

    def __init__(self, file: RolloutFile, flags: Mapping[str, ValueFlag]) -> None:
        super().__init__(file)
        self.flags = flags
        self.columns = {**file.columns, **{name: self._info(name) for name in flags}}

    def _info(self, name: str) -> ColumnInfo:
        flag = self.flags[name]
        info = self._file.find(flag.column)
        assert info is not None
        return replace(
            info,
            name=name,
            kind="bool",
            type_name=f"`{flag.column}` is {'not ' if flag.is_other else ''}`{flag.value}`",
        )

    def find(self, name: str) -> ColumnInfo | None:
        return self.columns[name] if name in self.flags else self._file.find(name)

    def may_hold_flags(self, name: str) -> bool:
        return name in self.flags or self._file.may_hold_flags(name)

    def has_single_items(self, name: str) -> bool:
        return self._file.has_single_items(self.flags[name].column if name in self.flags else name)

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        behind = [self.flags[name].column if name in self.flags else name for name in names]
        for start, stop, columns in self._file.blocks(unit, list(dict.fromkeys(behind)), rows_per_block):
            yield (
                start,
                stop,
                {name: self._seen(name, columns[place]) for name, place in zip(names, behind, strict=True)},
            )

    def read_whole(self, name: str) -> Column:
        if name not in self.flags:
            return self._file.read_whole(name)
        return self._seen(name, self._file.read_whole(self.flags[name].column))

    def _seen(self, name: str, column: Column) -> Column:
        if name not in self.flags:
            return column
        is_set = _cells(column, self.flags[name])
        return Column(is_set, offsets=column.offsets, null_lists=column.null_lists)


def _cells(column: Column, flag: ValueFlag) -> BoolArray:
    """A cell that is missing is neither equal to a value nor another one."""
    missing = column.missing
    if missing is None:
        missing = np.zeros(column.values.shape, np.bool_)
    found = _equal(column, flag.value)
    if found is None:
        return ~missing if flag.is_other else missing
    return (~found if flag.is_other else found) & ~missing


def _equal(column: Column, value: str) -> BoolArray | None:
    """None where the value is a missing one."""
    values = column.values
    if column.categories is not None:
        codes = [code for code, category in enumerate(column.categories) if str(category) == value]
        return None if not codes and value.lower() in _MISSING else np.isin(values, codes)
    if value.lower() in _MISSING:
        return None
    wanted = _FLAGS.get(value.lower()) if values.dtype == np.bool_ else _number(value)
    return np.zeros(values.shape, np.bool_) if wanted is None else np.asarray(values == wanted, np.bool_)


def _number(text: str) -> float | int | None:
    """None for what is none."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None
