"""Weights by advantages and by progress, as plain loops have them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from labels.recorded import Recording, random_recording
from labels.test_labels import AS_REWARDS, numbers, table_of
from pipeline.running import small_blocks

import gaecli
from gaecli.errors import UsageError
from gaecli.labels.weights import ProgressScale

KINDS: list[tuple[dict[str, Any], Any]] = [
    ({"weight": "awr", "weight_max": 3.0}, lambda a: min(math.exp(a), 3.0)),
    ({"weight": "awr", "weight_max": 20.0, "weight_beta": 0.1}, lambda a: min(math.exp(a / 0.1), 20.0)),
    ({"weight": "crr", "weight_max": 20.0, "weight_beta": 2.0}, lambda a: min(math.exp(a / 2), 20.0)),
    ({"weight": "crr-binary"}, lambda a: float(a > 0)),
    ({"weight": "iql"}, lambda a: abs(0.7 - (a < 0))),
    ({"weight": "iql", "expectile": 0.9}, lambda a: abs(0.9 - (a < 0))),
]


@pytest.mark.parametrize(("settings", "weight"), KINDS)
def test_a_weight_is_its_formula(tmp_path: Path, settings: dict[str, Any], weight: Any) -> None:
    advantages = numbers(11)
    advantages[:2] = 1e6, 0.0  # whose exponential is infinite; neither good nor bad
    path = tmp_path / "rollouts.parquet"
    pq.write_table(table_of(advantages), path)
    gaecli.compute(path, **AS_REWARDS, **settings)
    wanted = []
    for advantage in advantages.tolist():
        try:
            wanted.append(weight(advantage))
        except OverflowError:
            wanted.append(settings["weight_max"])
    np.testing.assert_allclose(pq.read_table(path)["weight"].to_numpy(), wanted, rtol=1e-6)


def test_weights_are_of_advantages_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.parquet"
    pq.write_table(table_of(numbers(12)), path)
    gaecli.compute(path, **AS_REWARDS, normalize="all", weight="awr", weight_max=5.0)
    found = pq.read_table(path)
    wanted = np.minimum(np.exp(found["advantage"].to_numpy().astype(np.float64)), 5.0)
    np.testing.assert_allclose(found["weight"].to_numpy(), wanted, rtol=1e-6)


def rabc(recording: Recording, progress: list[float | None], chunk: int, kappa: float) -> list[float]:
    """lerobot 0.6.1 rewards/sarm/rabc.py: a dictionary of progress, the bounds of the episode, a step at a time."""
    ends = np.repeat(np.cumsum(recording.lengths), recording.lengths)
    deltas: list[float | None] = []
    for index, here in enumerate(progress):
        future = progress[min(index + chunk, int(ends[index]) - 1)]
        deltas.append(None if here is None or future is None else future - here)
    valid = [delta for delta in deltas if delta is not None]
    mean = max(sum(valid) / len(valid), 0.0)
    centre = sum(valid) / len(valid)
    std = max(math.sqrt(sum((delta - centre) ** 2 for delta in valid) / len(valid)), 1e-6)
    weights = []
    for delta in deltas:
        if delta is None or np.float32(delta) > np.float32(kappa):  # as float32 there
            weights.append(1.0)
        elif delta >= 0:
            weights.append(min(max((delta - (mean - 2 * std)) / (4 * std + 1e-6), 0.0), 1.0))
        else:
            weights.append(0.0)
    return weights


def test_progress_of_exactly_kappa_is_weighed_and_none_is_not_negative() -> None:
    # (δ - (μ - 2σ)) / (4σ + ε), as lerobot has it; 1 only above κ, and 0 only below 0.
    mean, std, kappa = 0.01, 0.02, 0.05
    found = ProgressScale(mean, std).weights(np.array([0.0500001, 0.05, 0.02, 0.0, -0.0001]), kappa)
    wanted = [1.0, 0.08 / 0.080001, 0.05 / 0.080001, 0.03 / 0.080001, 0.0]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


#: Many episodes in a block of a few rows, and some that go through several.
SHORT = Recording([3, 1, 2, 9, 1, 4, 12, 2, 5, 3, 4, 2, 5, 3, 4, 4, 5, 1], [True, False, True] * 6)


@pytest.mark.parametrize(
    ("rows", "store", "chunk", "recording"),
    [
        (2, 0, 3, SHORT),
        (3, None, 4, SHORT),
        (10_000, None, 50, random_recording(13, 12)),
        *(
            pytest.param(*case, random_recording(13, 12), marks=pytest.mark.slow)
            for case in ((2, 0, 4), (5, None, 50), (7, 0, 1), (17, 0, 4), (17, 0, 20))
        ),
    ],
)
def test_progress_is_compared_across_blocks_and_files(
    rows: int, store: int | None, chunk: int, recording: Recording
) -> None:
    random = np.random.default_rng(14)
    progress = [
        None if random.random() < 0.05 else float(step)
        for step in np.round(np.cumsum(random.normal(0.002, 0.01, len(recording.frames))), 4)
    ]
    with small_blocks(rows, store_bytes=store) as folder:
        columns = recording.columns(progress=pa.array(progress, pa.float64()))
        if rows == 3:  # an episode after the other in one lane, as nothing but flags tells them apart
            columns = {**columns, "next.done": recording.ends}
            del columns["episode_index"], columns["frame_index"]
        table = pa.table(columns)
        middle = table.num_rows // 2
        for index, (start, stop) in enumerate([(0, middle), (middle, middle + 2), (middle + 2, None)]):
            part = table.slice(start, None if stop is None else stop - start)
            pq.write_table(part, folder / f"part-{index:05d}-of-00003.parquet")
        summary = gaecli.compute(
            folder,
            estimator="mc",
            join=True,
            success_column="next.success",
            success_reward="sparse",
            weight="rabc",
            progress_column="progress",
            progress_chunk=chunk,
            progress_kappa=0.02,
        )
        found = [
            row
            for path in sorted(folder.glob("*.parquet"))
            for row in pq.read_table(path)["weight"].to_pylist()
        ]
    wanted = rabc(recording, progress, chunk, 0.02)
    assert len({*wanted}) > 3, "all rules are met"
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert summary.columns["weight"].mean == pytest.approx(sum(wanted) / len(wanted), rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"weight": "awr"}, "needs the largest weight"),
        ({"weight": "rabc"}, "needs `--progress-column`"),
        ({"progress_column": "value"}, "nothing else takes it"),
        ({"weight_beta": 2.0}, "`--weight-beta` is of `--weight awr` and `--weight crr`"),
        ({"weight": "iql", "expectile": 1.5}, "must be between 0 and 1"),
        ({"weight": "iql", "estimator": "mc"}, "is of advantages"),
    ],
)
def test_half_a_weight_is_refused(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    path = tmp_path / "rollouts.parquet"
    pq.write_table(table_of([1.0, 2.0]), path)
    with pytest.raises(UsageError, match=words):
        gaecli.compute(path, **settings)
