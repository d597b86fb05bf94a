"""Columns of Iceberg files: they are what their ids say, under the names that the table has now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from gaecli.datasets.iceberg.log import TITLE
from gaecli.datasets.virtual import VirtualColumns
from gaecli.errors import UsageError
from gaecli.formats.base import FileWriter, RolloutFile, WritePlan

_FIELD_ID = b"PARQUET:field_id"


class NumberedColumns(VirtualColumns):
    """A file whose new columns get ids, too: a file that has some without is read by nobody."""

    def __init__(
        self,
        file: RolloutFile,
        constants: Mapping[str, int | str | None],
        ids_of: Callable[[WritePlan], Mapping[str, tuple[int, ...]]],
    ) -> None:
        super().__init__(file, constants)
        self._ids_of = ids_of

    def writer(self, temporary: Path, plan: WritePlan) -> FileWriter:
        return super().writer(temporary, replace(plan, field_ids=self._ids_of(plan)))


def field_ids(path: Path) -> dict[str, int | None]:
    """Of the columns of a file, by name."""
    metadata = {field.name: field.metadata or {} for field in pq.read_schema(path)}
    return {name: int(found[_FIELD_ID]) if _FIELD_ID in found else None for name, found in metadata.items()}


def check_columns(schema: Any, path: Path) -> None:
    """Refuse a file whose names are not those of the table's schema: what is called so may be another column."""
    for name, number in field_ids(path).items():
        now = name if number is None else schema.find_column_name(number)
        if now != name:
            what = "was dropped from the table" if now is None else f"is called `{now}` in the table now"
            raise UsageError(
                f"`{name}` of `{path}` {what}: the {TITLE} has another schema than when that was written",
                hint="rewrite its data files (`rewrite_data_files`), or export the table and read that",
            )
