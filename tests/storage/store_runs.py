"""What the tests of every store do: make a rollout, and run the installed command with a `TMPDIR` of its own."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

#: Of what two parts of an upload and a little hold.
BIG_ROWS = 300_000
#: By which parts are smaller where a test has them small.
SCALE = 16


def rollout(num_rows: int, seed: int = 0, observations: int = 1, row_group_rows: int = 100_000) -> bytes:
    generator = np.random.default_rng(seed)
    columns = {
        "reward": generator.normal(size=num_rows),
        "value": generator.normal(size=num_rows),
        "terminated": np.arange(num_rows) % 50 == 49,
    }
    columns |= {f"obs{index}": generator.normal(size=num_rows) for index in range(observations)}
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, row_group_size=row_group_rows, use_dictionary=False)
    return file.getvalue()


class StoreRunner:
    """The installed command against one store; no run may leave a spool behind."""

    def __init__(
        self, run_gae: Callable[..., Any], path: Path, store_env: Mapping[str, str], folder: Path
    ) -> None:
        folder.mkdir()
        self.path = path
        self.temporary = folder
        self._run_gae = run_gae
        self.store_env = {**store_env, "TMPDIR": str(folder)}

    @property
    def env(self) -> dict[str, str]:
        """For a process that a test starts by itself."""
        return {**os.environ, **self.store_env}

    def __call__(self, *args: Any, **options: Any) -> subprocess.CompletedProcess[Any]:
        env = {**self.store_env, **options.pop("env", {})}
        result: subprocess.CompletedProcess[Any] = self._run_gae(*args, env=env, **options)
        assert list(self.temporary.iterdir()) == [], "a spool was left behind"
        return result
