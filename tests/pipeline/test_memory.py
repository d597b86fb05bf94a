"""What a block leaves behind: nothing. Peak memory is measured in bench/large_files.py."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline.running import small_blocks

import gaecli

ROWS, ENVIRONMENTS = 240, 4
#: Objects with arrays of a block in them.
HOLDERS = {"Block", "Column", "OutputColumn", "Scanned", "Settled", "RawBlock", "BlockTask", "_LineBatch"}


def columns() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    rows = np.arange(ROWS)
    return {
        "reward": random.normal(size=ROWS),
        "value": random.normal(size=ROWS),
        "terminated": rows // ENVIRONMENTS % 15 == 14,
    }


def write(folder: Path, kind: str) -> Path:
    table, rows = columns(), np.arange(ROWS)
    path = folder / ("r.npz" if "array" in kind else "r.parquet")
    if kind == "flat arrays":
        np.savez(path, **table)
    elif kind == "time-major arrays":
        dense = {name: array.reshape(-1, ENVIRONMENTS) for name, array in table.items()}
        np.savez(path, **dense, last_values=np.zeros(ENVIRONMENTS))
    elif kind == "nested":
        lists = {name: list(table[name].reshape(-1, 6)) for name in ("reward", "value")}
        pq.write_table(pa.table(lists), path, row_group_size=5)
    else:
        more = {
            "long": {},
            "interleaved": {"env_id": rows % ENVIRONMENTS},
            "mixed": {"env_id": rows * 7 % ENVIRONMENTS},
        }
        pq.write_table(pa.table({**table, **more[kind]}), path, row_group_size=50)
    return path


@pytest.fixture(autouse=True, scope="module")
def _only_new_objects() -> None:
    """What was there before is nobody's here, and takes a second to look through. It stays so: see conftest.py."""
    gc.collect()
    gc.freeze()


def holders() -> list[str]:
    """By its address a later object may stand in for an earlier one, so that only counts are compared."""
    return sorted(type(item).__name__ for item in gc.get_objects() if type(item).__name__ in HOLDERS)


@pytest.mark.few(3)
@pytest.mark.parametrize("normalize", ["none", "all"])
@pytest.mark.parametrize(
    "kind", ["long", "interleaved", "mixed", "nested", "flat arrays", "time-major arrays"]
)
def test_no_block_is_left_for_the_garbage_collector(kind: str, normalize: str) -> None:
    """A block in a reference cycle stays until the collector comes by, which on large files is gigabytes late."""
    with small_blocks(30, store_bytes=2000) as folder:
        path = write(folder, kind)
        gaecli.compute(path, dry_run=True)  # whatever is kept for good, such as caches
        gc.collect()
        before = holders()
        gc.disable()
        try:
            gaecli.compute(path, normalize=normalize)
            assert holders() == before
        finally:
            gc.enable()
