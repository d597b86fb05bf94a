"""`--done-column status=finished`: a flag that is set where a column has one value."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gaecli.array_types import BoolArray
from gaecli.formats.base import Column, ColumnInfo, RolloutFile, Unit
from gaecli.formats.wrapped import WrappedFile
from gaecli.names import VALUE_FLAG_ROLES
from gaecli.settings import Settings


class ValueFlag(NamedTuple):
    column: str
    value: str


def value_flags(file: RolloutFile, settings: Settings) -> Mapping[str, ValueFlag]:
    """By the name that the user gave: `status=finished`. A column of that very name is meant by it first."""
    found = {}
    for role in VALUE_FLAG_ROLES:
        name = settings.columns.get(role, "")
        column, equals, value = name.partition("=")
        if not equals or file.find(name) is not None:
            continue
        info = file.find(column)
        if info is not None and info.unusable is None and info.kind in ("int", "float", "bool", "id"):
            found[name] = ValueFlag(column, value)
    return found


class WithValueFlags(WrappedFile):
    """A file with such flags beside its columns."""

    def __init__(self, file: RolloutFile, flags: Mapping[str, ValueFlag]) -> None:
        super().__init__(file)
        self._flags = flags
        self.columns = {**file.columns, **{name: self._info(name) for name in flags}}

    def _info(self, name: str) -> ColumnInfo:
        flag = self._flags[name]
        info = self._file.find(flag.column)
        assert info is not None
        return replace(info, name=name, kind="bool", type_name=f"`{flag.column}` is `{flag.value}`")

    def find(self, name: str) -> ColumnInfo | None:
        return self.columns[name] if name in self._flags else self._file.find(name)

    def may_hold_flags(self, name: str) -> bool:
        return name in self._flags or self._file.may_hold_flags(name)

    def has_single_items(self, name: str) -> bool:
        return self._file.has_single_items(self._flags[name].column if name in self._flags else name)

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        behind = [self._flags[name].column if name in self._flags else name for name in names]
        for start, stop, columns in self._file.blocks(unit, list(dict.fromkeys(behind)), rows_per_block):
            yield (
                start,
                stop,
                {name: self._seen(name, columns[place]) for name, place in zip(names, behind, strict=True)},
            )

    def read_whole(self, name: str) -> Column:
        if name not in self._flags:
            return self._file.read_whole(name)
        return self._seen(name, self._file.read_whole(self._flags[name].column))

    def _seen(self, name: str, column: Column) -> Column:
        if name not in self._flags:
            return column
        is_set = _cells(column, self._flags[name].value)
        if column.is_null is not None:
            is_set &= ~column.is_null
        return Column(is_set, offsets=column.offsets, null_lists=column.null_lists)


def _cells(column: Column, value: str) -> BoolArray:
    values = column.values
    if column.categories is not None:
        codes = [code for code, category in enumerate(column.categories) if str(category) == value]
        return np.isin(values, codes)
    wanted: object = value.lower() == "true" if values.dtype == np.bool_ else _number(value)
    found: BoolArray = np.asarray(values == wanted, np.bool_)
    return found


def _number(text: str) -> float:
    """NaN, which no cell is equal to, for what is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
