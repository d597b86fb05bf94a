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


def saved(root: Path) -> None:
    """As `save_to_disk` of `datasets` 5.2 writes it."""
    _split(root, NUM_FILES, None)


def saved_splits(root: Path) -> None:
    _split(root / "train", NUM_FILES - 1, "train")
    _split(root / "test", 1, "test")
    (root / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')


def _split(folder: Path, count: int, split: str | None) -> None:
    folder.mkdir(exist_ok=True)
    names = [f"data-{number:05d}-of-{count:05d}.arrow" for number in range(count)]
    for number, name in enumerate(names):
        table = rows(episode=[number] * 2)
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    features = {
        name: {"dtype": str(table.schema.field(name).type).replace("double", "float64"), "_type": "Value"}
        for name in table.column_names
    }
    info = {"citation": "", "description": "", "features": features, "homepage": "", "license": ""}
    state = {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": "b6abfb80a2e35f3f",
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": split,
    }
    (folder / "dataset_info.json").write_text(json.dumps(info, indent=2))
    (folder / "state.json").write_text(json.dumps(state, indent=2))


CARD = """---
license: mit
tags: [a, b]
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
  - split: test
    path: data/test-*
dataset_info:
  features:
  - name: reward
    dtype: float64
  - name: value
    dtype: float64
  - name: terminated
    dtype: bool
  - name: episode
    dtype: int64
  splits:
  - name: train
    num_examples: 4
---

# A card

features: none here
"""


def hub(root: Path) -> None:
    """As `push_to_hub` of `datasets` 5.2 leaves it: two shards of one split, and one of another."""
    for number, name in enumerate(("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001")):
        write(root / f"data/{name}.parquet", rows(episode=[number] * 2))
    (root / "README.md").write_text(CARD)


MAKERS: dict[str, Callable[[Path], None]] = {
    "LeRobot v2.1": lerobot_v2,
    "LeRobot v3.0": lerobot_v3,
    "Minari": minari,
    "hive": hive,
    "RLlib": rllib,
    "shards": shards,
    "save_to_disk": saved,
    "save_to_disk, splits": saved_splits,
    "Hub": hub,
}


def made(kind: str, folder: Path) -> Path:
    """The root of a data set of this kind, in a folder."""
    root = folder / "set"
    root.mkdir()
    MAKERS[kind](root)
    return root


#: What says which columns there are, or what was computed from them, in the order in which it is renamed.
MARKS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(MAKERS, ()),
    "LeRobot v2.1": ("meta/info.json",),
    "LeRobot v3.0": ("meta/info.json",),
    "save_to_disk": ("state.json", "dataset_info.json"),
    "save_to_disk, splits": tuple(
        f"{split}/{name}" for split in ("train", "test") for name in ("state.json", "dataset_info.json")
    ),
    "Hub": ("README.md",),
}


def read(path: Path) -> pa.Table:
    if path.suffix == ".parquet":
        return pq.read_table(path, partitioning=None)
    return pa.ipc.open_stream(path).read_all()


def is_labelled(path: Path) -> bool:
    return "advantage" in read(path).column_names


def data_files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.suffix in (".parquet", ".arrow"))


def content(root: Path) -> dict[str, bytes]:
    """Every file below the root, hidden ones too."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
