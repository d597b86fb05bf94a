"""What the summary counts and measures, against a count by hand over the whole table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline.rollout_tables import Rollout, rollouts, write
from pipeline.running import STORES, computed, small_blocks
from profiles import examples

import gaecli
from gaecli.pipeline import column_statistics as statistics
from gaecli.summary import ColumnStatistics


@examples(35)
@given(
    rollout=rollouts(),
    rows_per_block=st.integers(1, 20),
    bootstrap=st.sampled_from(["zero", "current"]),
)
def test_episodes_and_their_ends_are_counted(rollout: Rollout, rows_per_block: int, bootstrap: str) -> None:
    with small_blocks(rows_per_block) as folder:
        summary, _ = computed(write(rollout, folder / "r.parquet", 4), bootstrap=bootstrap)
    ends = [trajectory.end for trajectory in rollout.trajectories]
    totals = summary.totals
    assert totals.steps == rollout.num_rows
    assert totals.episodes == len(ends)
    assert totals.terminated == ends.count("terminated")
    assert totals.truncated == ends.count("truncated")
    assert totals.open == ends.count("open")
    cut = [t for t in rollout.trajectories if t.end != "terminated"]
    given_ = sum(not np.isnan(t.last_next_value) for t in cut)
    assert summary.bootstrapped.next_value == given_
    assert getattr(summary.bootstrapped, bootstrap) == len(cut) - given_
    assert ("bootstrap-" + bootstrap in [note.code for note in summary.warnings]) == (len(cut) > given_)


@examples(30)
@given(rollout=rollouts(), rows_per_block=st.integers(1, 20), store_bytes=STORES)
def test_columns_are_measured_over_all_rows(
    rollout: Rollout, rows_per_block: int, store_bytes: int | None
) -> None:
    with small_blocks(rows_per_block, store_bytes=store_bytes) as folder:
        summary, _ = computed(write(rollout, folder / "r.parquet", 4))
    advantages = rollout.advantages(0.99, 0.95)
    wanted = {
        "reward": rollout.column("reward"),
        "value": rollout.values,
        "advantage": advantages,
        "return": advantages + rollout.values,
    }
    assert list(summary.columns) == list(wanted)
    for name, numbers in wanted.items():
        assert_statistics(summary.columns[name], numbers, scale=rollout.scale)


def assert_statistics(found: ColumnStatistics, numbers: np.ndarray, scale: float) -> None:
    near = {"rel": 1e-9, "abs": 1e-12 * scale}
    assert found.count == found.sample_count == len(numbers)
    assert found.mean == pytest.approx(numbers.mean(), **near)
    assert found.min == pytest.approx(numbers.min(), **near)
    assert found.max == pytest.approx(numbers.max(), **near)
    assert found.median == pytest.approx(np.median(numbers), **near)
    if len(numbers) > 1:
        assert found.std == pytest.approx(np.std(numbers, ddof=1), rel=1e-6, abs=1e-9 * scale)
    else:
        assert found.std is None
    assert sum(found.histogram) == len(numbers)
    assert found.histogram_range == pytest.approx((numbers.min(), numbers.max()), **near)


def test_histograms_count_what_numpy_counts(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rewards = random.gamma(2.0, size=5000)
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"reward": rewards, "value": rewards, "terminated": rewards > 5}), path)
    summary, _ = computed(path)
    found = summary.columns["reward"]
    counts, _ = np.histogram(rewards, bins=len(found.histogram))
    assert list(found.histogram) == counts.tolist()


@pytest.mark.parametrize(
    "numbers",
    [
        [1.0, np.nextafter(1.0, 2.0)],
        [0.0, 5e-324],
        [-1.7e308, 1.7e308],
        [3.0, 3.0],
        [0.1 + 0.2, 0.3],
    ],
)
def test_a_range_of_any_width_has_a_histogram(numbers: list[float]) -> None:
    found = statistics.Tally.of(np.array(numbers)).statistics()
    assert sum(found.histogram) == 2
    assert found.histogram[0] >= 1
    assert found.histogram[-1] >= 1


def test_beyond_the_largest_sample_median_and_histogram_come_from_evenly_spread_rows(tmp_path: Path) -> None:
    rows = 2 * statistics.MAX_SAMPLE + 12_345
    ramp = np.linspace(0.0, 1.0, rows)
    path = tmp_path / "r.parquet"
    table = pa.table({"reward": ramp, "value": ramp[::-1], "terminated": np.arange(rows) % 50 == 49})
    pq.write_table(table, path, row_group_size=40_000)
    summary, _ = computed(path, memory_bytes=64 << 20)
    found = summary.columns["reward"]
    assert found.count == rows
    assert found.sample_count < rows
    assert found.median == pytest.approx(0.5, abs=0.01)
    shares = np.array(found.histogram) / found.sample_count
    assert shares == pytest.approx(np.full(len(shares), 1 / len(shares)), rel=0.05)
    assert (found.min, found.max) == (0.0, 1.0)


@examples(25)
@given(rollout=rollouts(max_steps=10), rows_per_block=st.integers(1, 20))
def test_explained_variance_is_that_of_the_returns_by_the_values(
    rollout: Rollout, rows_per_block: int
) -> None:
    with small_blocks(rows_per_block) as folder:
        summary, _ = computed(write(rollout, folder / "r.parquet", 4), normalize="all")
    returns = rollout.advantages(0.99, 0.95) + rollout.values
    spread = np.var(returns)
    if spread > 1e-6 * rollout.scale:
        wanted = 1 - np.var(returns - rollout.values) / spread
        assert summary.explained_variance == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_explained_variance_is_none_where_returns_do_not_vary(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"reward": [1.0] * 4, "value": [0.0] * 4, "terminated": [True] * 4}), path)
    summary, _ = computed(path)
    assert summary.explained_variance is None


def test_files_are_counted_apart_and_together(tmp_path: Path) -> None:
    for name, ends in (("a", [True, False, True]), ("b", [False, False])):
        table = pa.table({"reward": [1.0] * len(ends), "value": [0.5] * len(ends), "terminated": ends})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    summary = gaecli.compute(tmp_path)
    a, b = summary.files
    assert (a.counts.steps, a.counts.episodes, a.counts.terminated, a.counts.open) == (3, 2, 2, 0)
    assert (b.counts.steps, b.counts.episodes, b.counts.terminated, b.counts.open) == (2, 1, 0, 1)
    assert (summary.totals.steps, summary.totals.episodes) == (5, 3)
    # What was written is remembered when there is nothing left to do.
    again = gaecli.compute(tmp_path)
    assert [file.status for file in again.files] == ["up to date"] * 2
    assert again.totals == summary.totals
    assert again.bootstrapped == summary.bootstrapped


HUGE = {"reward": [1e300, 1e308, -1e308], "value": [0.0, 1e308, 1e308], "terminated": [False, False, True]}


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_float32_are_written_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table(HUGE), path)
    summary, columns = computed(path, gamma=1.0, lam=1.0)
    assert not np.isfinite(columns["advantage"]).all()
    (note,) = [note for note in summary.warnings if note.code == "overflow"]
    assert "`advantage` goes beyond 3.4e+38" in note.message


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scope", ["all", "file", "episode"])
def test_numbers_whose_variance_overflows_are_not_normalized(scope: str, tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table(HUGE), path)
    before = path.read_bytes()
    with pytest.raises(gaecli.DataError, match="too large to be normalised"):
        gaecli.compute(path, gamma=1.0, lam=1.0, normalize=scope)
    assert path.read_bytes() == before


def test_the_sample_of_a_column_takes_no_more_memory_the_more_blocks_there_are(monkeypatch):
    """A view of every hundredth number of a block would keep the block."""
    monkeypatch.setattr(statistics, "MAX_SAMPLE", 1 << 10)
    tally = statistics.Tally()
    for block in range(100):
        tally = tally.merge(statistics.Tally.of(np.arange(5000.0) + block))
    held = [piece if piece.base is None else piece.base for piece in tally.pieces]
    assert sum(array.nbytes for array in held) <= 8 * statistics.MAX_SAMPLE
