"""Tables of a lakehouse as their own libraries write them, and what is in them by other readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

#: Of one episode of three steps, terminated, values 0, by hand with γ = 0.9 and λ = 0.5.
HALF = {"gamma": 0.9, "lam": 0.5}


def episode(number: int, *rewards: float, **columns: Any) -> pa.Table:
    """One episode: values 0, the last step terminated."""
    count = len(rewards)
    return pa.table(
        {
            "episode": [number] * count,
            "step": list(range(count)),
            "reward": list(rewards),
            "value": [0.0] * count,
            "terminated": [False] * (count - 1) + [True],
            **columns,
        }
    )


def advantages(*rewards: float) -> list[float]:
    """Of an episode of these rewards with values 0: the plain loop."""
    found: list[float] = []
    ahead = 0.0
    for reward in reversed(rewards):
        ahead = reward + 0.9 * 0.5 * ahead
        found.insert(0, ahead)
    return found


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def delta(root: Path) -> Path:
    """Two episodes in a commit each, and one between them that was deleted: its file is still there."""
    import deltalake

    for number in (0, 1, 2):
        deltalake.write_deltalake(str(root), episode(number, 1.0, 2.0, float(number)), mode="append")
    deltalake.DeltaTable(str(root)).delete("episode = 1")
    return root


def catalog(folder: Path) -> Any:
    """Iceberg's: a database in `folder`, whose tables lie below `folder/ns`."""
    from pyiceberg.catalog import load_catalog

    folder.mkdir(parents=True, exist_ok=True)
    return load_catalog(
        "local", type="sql", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}"
    )


def iceberg(root: Path) -> Path:
    """As `delta`; the catalog lies beside the table, where nothing is configured for it."""
    tables = catalog(root.parent)
    tables.create_namespace_if_not_exists("ns")
    location = f"file://{root}"
    table = tables.create_table(f"ns.{root.name}", schema=episode(0, 1.0).schema, location=location)
    with table.transaction() as changes:
        for number in (0, 1, 2):
            changes.append(episode(number, 1.0, 2.0, float(number)))
        changes.delete("episode = 1")
    return root


def ducklake(root: Path) -> Path:
    """The shape of one: DuckDB's extension that writes it cannot be had everywhere."""
    for number, start in ((0, "019a1b2c-0001"), (1, "019a1b2c-0002")):
        write(root / f"ducklake-{start}-7000-8000-0123456789ab.parquet", episode(number, 1.0, 2.0, 3.0))
    return root


def write(path: Path, table: pa.Table) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path
