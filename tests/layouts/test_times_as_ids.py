"""Times as ids of episodes: cells that differ are two episodes, and equal ones in two blocks are one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.commands import compute as run_module

BLOCK_ROWS = 4
#: 00:30 UTC of the day on which 02:30 comes twice in Berlin, an hour apart.
TWICE = 1_729_989_000
CASES = {
    "beyond the year 9999": ([1, 1, 2**62, 2**62, 2**62, 2**62, 4000, 4000], pa.timestamp("us")),
    "days beyond the year 9999": ([1, 1, 2**30, 2**30, 2**30, 2**30, 4000, 4000], pa.date32()),
    "an hour that comes twice": (
        [1, 1, TWICE, TWICE, *[TWICE + 3600] * 4],
        pa.timestamp("s", "Europe/Berlin"),
    ),
    "a zone that nobody knows": ([1, 1, 2, 2, 2, 2, 3, 3], pa.timestamp("s", "No/Where")),
    "nanoseconds of a day": ([1, 1, 1001, 1001, 1002, 1002, 1002, 1002], pa.time64("ns")),
    "nanoseconds": ([1, 1, 2000, 2000, 2000, 2000, 4000, 4000], pa.timestamp("ns")),
    "long times": ([1, 1, 2**62, 2**62, 2**62, 2**62, 4000, 4000], pa.duration("s")),
}


def write(folder: Path, case: str) -> Path:
    numbers, data_type = CASES[case]
    whole = pa.int32() if data_type.bit_width == 32 else pa.int64()
    ids = pa.array(numbers, whole).view(data_type)
    path = folder / "r.parquet"
    table = pa.table({"reward": np.ones(8), "value": np.zeros(8), "episode_id": ids})
    pq.write_table(table, path, row_group_size=BLOCK_ROWS)
    return path


def to_go(numbers: list[int]) -> list[int]:
    """Rows of the same number that follow one another, from each on: with rewards of 1, γ and λ of 1, A."""
    return [sum(other == number for other in numbers[row:]) for row, number in enumerate(numbers)]


@pytest.mark.few(4)
@pytest.mark.parametrize("case", CASES)
def test_episodes_are_as_many_as_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    monkeypatch.setattr(run_module, "rows_per_block", lambda memory: BLOCK_ROWS)
    path = write(tmp_path, case)
    gaecli.compute(path, gamma=1, lam=1)
    assert pq.read_table(path, columns=["advantage"])["advantage"].to_pylist() == to_go(CASES[case][0])


WITHOUT_PANDAS = """
import sys

class NoPandas:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pandas":
            raise ImportError(name)

sys.meta_path.insert(0, NoPandas())
import gaecli
from gaecli.commands import compute

compute.rows_per_block = lambda memory: 4
gaecli.compute(sys.argv[1], gamma=1, lam=1)
"""


def test_nanoseconds_need_no_pandas(tmp_path: Path) -> None:
    """In the first block stands a time that Python cannot hold, in the second one none."""
    path = write(tmp_path, "nanoseconds")
    done = subprocess.run([sys.executable, "-c", WITHOUT_PANDAS, path], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = pq.read_table(path, columns=["advantage"])["advantage"].to_pylist()
    assert found == to_go(CASES["nanoseconds"][0])
