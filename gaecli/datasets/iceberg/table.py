"""Iceberg tables: `metadata/` says which files are live. The ids of their columns say what they hold.

Which of the metadata files counts, the table's catalog knows; where pyiceberg is configured for it, it is asked.
Else `version-hint.text` or the highest number decides, which is enough to read. The files come in the order of
the commits that added them, those of one commit by the numbers in their names, then by partition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from gaecli.datasets.base import natural_key
from gaecli.datasets.iceberg.log import (
    TITLE,
    LiveFile,
    Snapshot,
    check_installed,
    find_in_catalogs,
    live_files,
    newest_metadata,
    read_metadata,
)
from gaecli.datasets.tables import LakeTable, check_files, part_number
from gaecli.errors import UsageError
from gaecli.formats.base import RolloutFile, WritePlan, item_types
from gaecli.formats.registry import open_file
from gaecli.records import dataclass


@dataclass(frozen=True)
class IcebergTable(LakeTable):
    """The live files of a snapshot. New ones lie beside them, and are made the table by a commit."""

    snapshot: Snapshot = field(kw_only=True, compare=False)

    def open(self, path: Path) -> RolloutFile:
        from gaecli.datasets.iceberg.columns import NumberedColumns, check_columns

        if self.failure is not None:
            raise self.failure
        check_columns(self.snapshot.metadata.schema(), path)
        return NumberedColumns(open_file(path), self.partitions[path], self._new_ids)

    def refuse_in_place(self) -> UsageError | None:
        from gaecli.datasets.iceberg.columns import field_ids

        elsewhere = "write elsewhere with `--output` or `--sidecar`"
        if self.snapshot.handle is None:
            return UsageError(
                f"a new snapshot of the {TITLE} `{self.root}` has to go through its catalog, and none is known",
                hint="configure pyiceberg for it, in ~/.pyiceberg.yaml or by PYICEBERG_CATALOG__NAME__URI; "
                f"or {elsewhere}",
            )
        spec = self.snapshot.metadata.default_spec_id
        others = [path for path in self.paths if self.snapshot.live[path].entry.data_file.spec_id != spec]
        if others:
            return UsageError(
                f"`{others[0]}` of the {TITLE} `{self.root}` is partitioned otherwise than new files are",
                hint=f"rewrite its data files (`rewrite_data_files`); or {elsewhere}",
            )
        bare = next((path for path in self.paths if None in field_ids(path).values()), None)
        if bare is not None:
            return UsageError(
                f"columns of `{bare}` have no ids: to the {TITLE} `{self.root}` they are what their names say",
                hint=f"rewrite its data files (`rewrite_data_files`); or {elsewhere}",
            )
        return None

    def successor(self, path: Path) -> Path:
        return path.with_name(f"{self.numbers[path]:05d}-0-{self.snapshot.commit_id}.parquet")

    def publish(self, new_files: Mapping[Path, Path], columns: Mapping[str, str]) -> None:
        from gaecli.datasets.iceberg.commit import commit

        commit(self.snapshot, new_files, columns)

    def _new_ids(self, plan: WritePlan) -> Mapping[str, tuple[int, ...]]:
        """None where no catalog is known: then the new file lies outside of the table."""
        from gaecli.datasets.iceberg.commit import column_ids

        ids = self.snapshot.ids
        if self.snapshot.handle is not None and not ids:
            is_list = plan.like_column is not None
            ids.update(column_ids(self.snapshot, item_types(plan.new_columns), is_list=is_list))
        return ids


def read(root: Path) -> IcebergTable:
    """The current snapshot of the table at `root`."""
    check_installed(root)
    from gaecli.datasets.iceberg.io import TableFiles

    handle = find_in_catalogs(root)
    metadata = handle.metadata if handle is not None else read_metadata(root, newest_metadata(root))
    places = TableFiles(root, metadata.location)
    files = {file.path: file for file in live_files(root, metadata, places)}
    check_files(TITLE, root, list(files))

    def place(path: Path) -> tuple[object, ...]:
        return files[path].sequence, part_number(path), natural_key(path)

    ordered = tuple(sorted(files, key=place))
    return IcebergTable(
        root,
        f"{TITLE} (snapshot {metadata.current_snapshot_id})",
        (ordered,),
        "iceberg",
        {path: _partition(metadata, files[path]) for path in ordered},
        snapshot=Snapshot(root, metadata, handle, files, places),
    )


def _partition(metadata: Any, file: LiveFile) -> dict[str, int | str | None]:
    """Columns that are the same in all rows: a writer may leave them out of the file."""
    from pyiceberg.transforms import IdentityTransform

    data_file = file.entry.data_file
    fields: Sequence[Any] = metadata.specs()[data_file.spec_id].fields
    found: dict[str, int | str | None] = {}
    for number, part in enumerate(fields):
        name = metadata.schema().find_column_name(part.source_id)
        value = data_file.partition[number]
        if isinstance(part.transform, IdentityTransform) and name is not None:
            found[name] = value if value is None or isinstance(value, int | str) else str(value)
    return found
