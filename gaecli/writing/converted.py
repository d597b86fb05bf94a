"""A result in another format than its input: that is converted, and given new columns as any file of its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gaecli.errors import UsageError
from gaecli.formats.base import FileWriter, OutputColumn, RolloutFile, WritePlan, record_of
from gaecli.formats.conversion import Conversion, axes_of
from gaecli.formats.registry import Format, open_as
from gaecli.layouts.base import Layout
from gaecli.storage.new_file import temporary_beside


def conversion_to(target: Format, file: RolloutFile, layout: Layout, left_out: tuple[str, ...]) -> Conversion:
    """What has to be done for a result of another format.

    Raises:
        UsageError: if types or shapes tell that it cannot be.
    """
    is_arrays = file.structure == "arrays"
    if layout.like_column is not None and not is_arrays and target.name in ("csv", "npz"):
        raise UsageError(
            f"the new columns of `{file.path}` are lists, as those beside them: {target.title} has no place for them",
            hint="write Parquet, Arrow or JSON lines",
        )
    like = layout.like_column or layout.roles.names["reward"]
    found = Conversion(target, left_out, like, tuple(axes_of(layout.kind.name)))
    found.check(file)
    return found


class ConvertedOutput:
    """A writer of the file that its input was converted to, which is beside it until it is finished."""

    def __init__(self, file: RolloutFile, conversion: Conversion, temporary: Path, plan: WritePlan) -> None:
        self._between = temporary_beside(temporary)
        try:
            conversion.write(file, self._between)
            between = open_as(conversion.target, self._between)
            like = plan.like_column if file.structure == "table" else None
            if between.structure == "arrays":
                like = conversion.like
            plan = replace(plan, own_columns=(), drop_columns=(), kept_own_columns=(), like_column=like)
            self._writer: FileWriter = between.writer(temporary, plan)
        except BaseException:
            self._between.unlink(missing_ok=True)
            raise
        self.method = f"convert: to {conversion.target.title}"

    @property
    def record(self) -> bytes | None:
        return record_of(self._writer)

    def write(self, columns: Mapping[str, OutputColumn]) -> None:
        self._writer.write(columns)

    def finish(self, provenance: dict[str, Any] | None) -> None:
        self._writer.finish(provenance)
        self._between.unlink()

    def abort(self) -> None:
        self._writer.abort()
        self._between.unlink(missing_ok=True)
