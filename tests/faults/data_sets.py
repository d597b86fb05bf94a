"""One small data set of every kind that is written all or none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

NUM_FILES = 3


def rows(**columns: list[Any]) -> pa.Table:
    """Two steps, the last one terminated."""
    count = len(next(iter(columns.values())))
    flags = [False] * (count - 1) + [True]
    return pa.table({"reward": [1.0] * count, "value": [0.5] * count, "terminated": flags, **columns})


def write(path: Path, table: pa.Table) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def lerobot_v2(root: Path) -> None:
    _lerobot(
        root, "v2.1", "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet", "episode_{:06d}"
    )


def lerobot_v3(root: Path) -> None:
    _lerobot(root, "v3.0", "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet", "file-{:03d}")


def _lerobot(root: Path, version: str, template: str, name: str) -> None:
    for number in range(NUM_FILES):
        table = rows(episode_index=[number] * 2, frame_index=[0, 1], index=[2 * number, 2 * number + 1])
        write(root / f"data/chunk-000/{name.format(number)}.parquet", table)
    features = {name: {"dtype": "float32", "shape": [1], "names": None} for name in table.column_names}
    info = {"codebase_version": version, "data_path": template, "features": features}
    (root / "meta").mkdir()
    (root / "meta/info.json").write_text(json.dumps(info, indent=4))


def minari(root: Path) -> None:
    for number in range(NUM_FILES):
        write(root / f"data/{number}/part-0.parquet", rows(observations=[0.0, 1.0, 2.0]))
    (root / "data/metadata.json").write_text(json.dumps({"data_format": "parquet", "total_steps": 6}))


def hive(root: Path) -> None:
    for number in range(NUM_FILES):
        write(root / f"env_id={number}/part-0.parquet", rows(t=[0, 1]))


def rllib(root: Path) -> None:
    for number in range(NUM_FILES):
        write(root / f"env/run-000000-{number:05d}/x-0.parquet", rows(eps_id=[str(number)] * 2))


def shards(root: Path) -> None:
    for number in range(NUM_FILES):
        write(root / f"data/train-{number:05d}-of-{NUM_FILES:05d}.parquet", rows(episode=[number] * 2))


MAKERS: dict[str, Callable[[Path], None]] = {
    "LeRobot v2.1": lerobot_v2,
    "LeRobot v3.0": lerobot_v3,
    "Minari": minari,
    "hive": hive,
    "RLlib": rllib,
    "shards": shards,
}


def data_files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.suffix in (".parquet", ".arrow"))


def content(root: Path) -> dict[str, bytes]:
    """Every file below the root, hidden ones too."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
