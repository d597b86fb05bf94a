"""Recordings of a robot as LeRobot keeps them, and what rules make of them by plain loops."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Recording:
    """Episodes one after the other."""

    lengths: Sequence[int]
    succeeded: Sequence[bool]

    @property
    def episodes(self) -> list[int]:
        return [number for number, length in enumerate(self.lengths) for _ in range(length)]

    @property
    def frames(self) -> list[int]:
        return [frame for length in self.lengths for frame in range(length)]

    @property
    def flags(self) -> list[bool]:
        """Of success, at the last step."""
        return [
            success and frame == length - 1
            for length, success in zip(self.lengths, self.succeeded, strict=True)
            for frame in range(length)
        ]

    @property
    def ends(self) -> list[bool]:
        return [frame == length - 1 for length in self.lengths for frame in range(length)]

    def columns(self, **more: Any) -> dict[str, Any]:
        return {
            "frame_index": self.frames,
            "episode_index": self.episodes,
            "index": list(range(len(self.frames))),
            "next.success": self.flags,
            **more,
        }

    def rewards(self, rule: str, cost: float, longest: int | None = None) -> list[float]:
        """As the formulas have them."""
        scale = (longest or max(self.lengths)) - 1 + cost if rule == "recap" else 1.0
        found = []
        for length, success in zip(self.lengths, self.succeeded, strict=True):
            if rule == "sparse":
                found += [0.0] * (length - 1) + [1.0 if success else 0.0]
            else:
                found += [-1 / scale] * (length - 1) + [0.0 if success else -cost / scale]
        return found

    def returns(self, rewards: Sequence[float], gamma: float) -> list[float]:
        found = [0.0] * len(rewards)
        for step in range(len(rewards) - 1, -1, -1):
            later = 0.0 if self.ends[step] else found[step + 1]
            found[step] = rewards[step] + gamma * later
        return found


#: Three succeed; the longest fails.
TASKS = Recording([4, 7, 1, 3, 5], [True, False, True, False, True])


def random_recording(seed: int, num_episodes: int = 40, longest: int = 30) -> Recording:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, longest, num_episodes).tolist()
    return Recording(lengths, (random.random(num_episodes) < 0.5).tolist())


def write_lerobot(root: Path, columns: dict[str, Any], files: Sequence[int], version: str = "v3.0") -> Path:
    """A data set whose files end after so many rows each; all the rest in the last one."""
    is_new = version == "v3.0"
    name = "file-{0:03d}.parquet" if is_new else "episode_{0:06d}.parquet"
    table = pa.table(columns)
    folder = root / "data" / "chunk-000"
    folder.mkdir(parents=True)
    start = 0
    for number, stop in enumerate([*files, table.num_rows]):
        pq.write_table(table.slice(start, stop - start), folder / name.format(number))
        start = stop
    (root / "meta").mkdir()
    template = (
        "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        if is_new
        else "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    )
    features = {field.name: {"dtype": str(field.type), "shape": [1], "names": None} for field in table.schema}
    info = {"codebase_version": version, "data_path": template, "features": features}
    (root / "meta" / "info.json").write_text(json.dumps(info, indent=4))
    return root


def read_all(root: Path) -> dict[str, list[Any]]:
    files = sorted(root.glob("data/**/*.parquet"))
    return pa.concat_tables([pq.read_table(file) for file in files]).to_pydict()
