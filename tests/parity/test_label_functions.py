"""Weights against a library's own class, cut out of the file that it published; see `sources.py`."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from labels.recorded import random_recording
from parity.sources import Source, cut

import gaecli

pytestmark = pytest.mark.parity_heavy

RABC = Source(
    "lerobot==0.6.1",
    "lerobot/rewards/sarm/rabc.py",
    "e789cd59a7e1ae4e896a584981ccf4dfe6456bc9dde404cd594b0bd9ddc847f1",
)


@pytest.mark.parametrize(("chunk", "kappa"), [(50, 0.01), (7, 0.02), (3, 0.005)])
def test_rabc_is_that_of_lerobot(tmp_path: Path, chunk: int, kappa: float) -> None:
    """κ is met exactly by some of the progress, which is rounded to 1e-5."""
    pd = pytest.importorskip("pandas")
    recording, random = random_recording(21, 30, 40), np.random.default_rng(3)
    progress = np.round(np.cumsum(random.normal(0.002, 0.01, len(recording.frames))), 5)
    progress[random.random(len(progress)) < 0.05] = np.nan
    path = tmp_path / "progress.parquet"
    pq.write_table(pa.table(recording.columns(progress_sparse=progress)), path)
    scope = {"SampleWeighter": object, "resolve_hf_path": Path, "pd": pd, "np": np, "logging": logging}
    theirs = cut(RABC, "RABCWeights", **scope)(path, chunk_size=chunk, kappa=kappa, device="cpu")
    deltas = np.array([theirs._compute_delta(index) for index in range(len(progress))], np.float32)
    wanted = theirs._compute_weights(deltas)
    gaecli.compute(
        path,
        estimator="mc",
        success_column="next.success",
        success_reward="sparse",
        weight="rabc",
        progress_column="progress_sparse",
        progress_chunk=chunk,
        progress_kappa=kappa,
    )
    np.testing.assert_allclose(pq.read_table(path)["weight"].to_numpy(), wanted, atol=1e-6)
