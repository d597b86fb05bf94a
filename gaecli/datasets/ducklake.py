"""DuckLake: data files `ducklake-<uuid>.parquet`. Which of them are the table stands in a database elsewhere.

So all of them are taken where somebody reads them from the folder, and a file of deleted rows is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from gaecli.datasets.base import natural_key
from gaecli.datasets.folders import rollout_files
from gaecli.datasets.hive import numbers_of, values_of
from gaecli.datasets.tables import LakeTable, check_files
from gaecli.errors import UsageError
from gaecli.records import dataclass

_DATA_FILE = re.compile(r"ducklake-[0-9a-f-]{36}\.parquet")
_DELETE_FILE = re.compile(r"ducklake-[0-9a-f-]{36}-delete\.parquet")
_EXPORT = "export it with DuckDB, `COPY (SELECT * FROM …) TO 'rollouts.parquet'`"


@dataclass(frozen=True)
class DuckLake(LakeTable):
    """All data files of the folder: their names count the time, so that is their order."""

    def refuse_in_place(self) -> UsageError | None:
        return UsageError(
            f"`{self.root}` is a DuckLake table: its catalog tells the size of every file, and would not read "
            "one that has changed",
            hint=f"write elsewhere with `--output`; or {_EXPORT}, and read it back in after",
        )

    def sidecar(self, stream: Sequence[Path], tag: str) -> Path:
        raise UsageError(
            f"beside the DuckLake table `{self.root}` is no place for a sidecar: DuckLake removes from there what it "
            "does not know",
            hint="name a file elsewhere with `--output`",
        )


def read(root: Path) -> DuckLake:
    found = rollout_files(root)
    files = [path for path in found if _DATA_FILE.fullmatch(path.name)]
    deletes = [path for path in found if _DELETE_FILE.fullmatch(path.name)]
    if deletes:
        raise UsageError(
            f"`{deletes[0]}` of the DuckLake table `{root}` says that rows were deleted: only its catalog knows",
            hint=f"{_EXPORT}, and read that",
        )
    check_files("DuckLake table", root, files)
    numbers = numbers_of(files)
    partitions = {path: values_of(path, numbers) for path in files}
    ordered = tuple(sorted(files, key=lambda path: natural_key(Path(path.name))))
    return DuckLake(
        root, "DuckLake table (all files of its folder, live or not)", (ordered,), "ducklake", partitions
    )
