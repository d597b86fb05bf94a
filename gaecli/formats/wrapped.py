"""A file seen through another one: whatever is not said anew is that of the file behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gaecli.formats.base import Column, ColumnInfo, FileWriter, Remark, RolloutFile, Unit, WritePlan


class WrappedFile:
    """A rollout file that hands everything on. To show something else, override what shows it."""

    def __init__(self, file: RolloutFile) -> None:
        self._file = file
        self.path: Path = file.path
        self.format_name = file.format_name
        self.structure = file.structure
        self.num_rows = file.num_rows
        self.identity = file.identity
        self.known_roles: Mapping[str, str] = file.known_roles
        self.columns: Mapping[str, ColumnInfo] = file.columns

    @property
    def behind(self) -> RolloutFile:
        return self._file

    @property
    def told_beside(self) -> str | None:
        """Fingerprint of what its numbers depend on and what does not stand in it; None where there is nothing."""
        return self._file.told_beside if isinstance(self._file, WrappedFile) else None

    @property
    def remarks(self) -> Sequence[Remark]:
        return self._file.remarks

    @property
    def provenance(self) -> dict[str, Any] | None:
        return self._file.provenance

    @property
    def row_group_rows(self) -> Sequence[int] | None:
        return self._file.row_group_rows

    def fingerprint(self, own_columns: Sequence[str]) -> str:
        return self._file.fingerprint(own_columns)

    def struct_fields(self) -> Sequence[str]:
        return self._file.struct_fields()

    def inner_fields(self) -> Sequence[str]:
        return self._file.inner_fields()

    def may_hold_flags(self, name: str) -> bool:
        return self._file.may_hold_flags(name)

    def find(self, name: str) -> ColumnInfo | None:
        return self._file.find(name)

    def units(self, rows_per_block: int, like: str) -> Sequence[Unit]:
        return self._file.units(rows_per_block, like)

    def units_with(self, units: Sequence[Unit], labels: Mapping[str, str]) -> Sequence[Unit]:
        return self._file.units_with(units, labels)

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        return self._file.blocks(unit, names, rows_per_block)

    def has_single_items(self, name: str) -> bool:
        return self._file.has_single_items(name)

    def read_whole(self, name: str) -> Column:
        return self._file.read_whole(name)

    def planned_method(
        self, own_columns: Sequence[str], drop_columns: Sequence[str], *, adds: bool = True
    ) -> str:
        return self._file.planned_method(own_columns, drop_columns, adds=adds)

    def writer(self, temporary: Path, plan: WritePlan) -> FileWriter:
        return self._file.writer(temporary, plan)


def innermost(file: RolloutFile) -> RolloutFile:
    """The file behind all others."""
    while isinstance(file, WrappedFile):
        file = file.behind
    return file
