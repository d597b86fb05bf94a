"""Iceberg tables: `metadata/` says which files are live. Read by `pyiceberg`, through names below the root only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gaecli.datasets.tables import Table
from gaecli.errors import MissingExtraError, UsageError

_TITLE = "Iceberg table"


@dataclass(frozen=True)
class IcebergTable(Table):
    """The live files of a snapshot."""

    def refuse_in_place(self) -> UsageError | None:
        return UsageError(
            f"`{self.root}` is an {_TITLE}: its readers refuse a file in which a column has no id of the table's own",
            hint="write elsewhere with `--output` or `--sidecar`",
        )


def read(root: Path) -> IcebergTable:
    raise MissingExtraError(
        f"`{root}` is an {_TITLE}: which of its files are live, only `pyiceberg` can read",
        hint="pip install 'gaecli[iceberg]'",
    )
