"""What both shapes of HDF5 have in common: what a file says of itself, and a copy that gets new datasets."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from gaecli.formats.base import NO_ROLES, ListedColumns, WritePlan
from gaecli.formats.hdf5.objects import (
    DAMAGE,
    PROVENANCE_ATTRIBUTE,
    as_attribute,
    column_digests,
    opened,
    payload_digest,
    reading,
    told_of,
)
from gaecli.formats.own_columns import fingerprint, signature
from gaecli.formats.stored import parse_document


class Hdf5File(ListedColumns):
    """A file whose columns are datasets of the same names in each of some groups."""

    format_name = "hdf5"
    row_group_rows = None
    known_roles: Mapping[str, str] = NO_ROLES
    path: Path
    #: Paths of the groups that hold the columns; empty for the top of the file.
    groups: Sequence[str]
    stored: str | None

    @cached_property
    def provenance(self) -> dict[str, Any] | None:
        return parse_document(self.stored)

    def fingerprint(self, own_columns: Sequence[str]) -> str:
        return fingerprint(self, own_columns)

    def digests(self, names: Sequence[str]) -> dict[str, str]:
        with reading(self.path) as file:
            return column_digests(file, self.groups, names)

    def payload(self, own_columns: Sequence[str]) -> str:
        """Of all names, shapes, attributes and stored cells but gaecli's."""
        own = {f"{group}/{name}".strip("/") for group in self.groups for name in own_columns}
        with reading(self.path) as file:
            return payload_digest(file, own)

    def planned_method(
        self, own_columns: Sequence[str], drop_columns: Sequence[str], *, adds: bool = True
    ) -> str:
        return Hdf5Copy.method


Source = TypeVar("Source", bound=Hdf5File)


class Hdf5Copy(Generic[Source]):
    """A copy of the file with new datasets in its groups."""

    method = "copy: datasets added"

    def __init__(self, source: Source, temporary: Path, plan: WritePlan) -> None:
        self._source = source
        self._temporary = temporary
        self._plan = plan
        self._replaced = {*plan.own_columns, *plan.drop_columns, *plan.new_columns}
        self._file: Any = None
        self._row = 0

    def _begin(self, file: Any) -> None:
        """What a new copy needs before rows are written to it."""

    def _strip(self, file: Any) -> None:
        """Take out what a copy to which no rows are written does not keep."""

    def _copy(self) -> Any:
        """The copy, made before the first rows are written to it."""
        if self._file is None:
            shutil.copyfile(self._source.path, self._temporary)
            self._file = opened(self._temporary, "r+")
            self._begin(self._file)
        return self._file

    def finish(self, provenance: dict[str, Any] | None) -> None:
        path = self._source.path
        if provenance is None:
            with told_of(path):
                file = self._copy()
                self._strip(file)
                file.attrs.pop(PROVENANCE_ATTRIBUTE, None)
                file.close()
            return
        with told_of(path):
            written = column_digests(self._copy(), self._source.groups, list(self._plan.new_columns))
        document = {**provenance, **signature(self._source, self._plan, written)}
        with told_of(path):
            self._file.attrs[PROVENANCE_ATTRIBUTE] = as_attribute(document)
            self._file.close()

    def abort(self) -> None:
        if self._file is not None:
            with contextlib.suppress(*DAMAGE):
                self._file.close()
        self._temporary.unlink(missing_ok=True)
