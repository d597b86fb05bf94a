"""Cells that cannot be used: an error, or their episode is left out, and no other number moves by a bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline.rollout_tables import Rollout, rollouts
from pipeline.running import STORES, computed, small_blocks
from profiles import examples

import gaecli

BAD = st.sampled_from([float("nan"), float("inf"), float("-inf"), None])


def with_cell(table: pa.Table, name: str, row: int, cell: float | None) -> pa.Table:
    cells = table.column(name).to_pylist()
    cells[row] = cell
    index = table.column_names.index(name)
    return table.set_column(index, name, pa.array(cells, table.column(name).type))


@examples(40)
@given(
    rollout=rollouts(max_steps=8),
    data=st.data(),
    rows_per_block=st.integers(1, 12),
    store_bytes=STORES,
    cell=BAD,
    name=st.sampled_from(["reward", "value"]),
)
def test_a_bad_cell_drops_its_episode_and_changes_no_bit_of_another(
    rollout: Rollout,
    data: st.DataObject,
    rows_per_block: int,
    store_bytes: int | None,
    cell: float | None,
    name: str,
) -> None:
    row = data.draw(st.integers(0, rollout.num_rows - 1))
    (bad,) = [rows for rows in rollout.rows if row in rows]
    with small_blocks(rows_per_block, store_bytes=store_bytes, dtype=np.float64) as folder:
        path = folder / "r.parquet"
        pq.write_table(rollout.table, path, row_group_size=5)
        _, whole = computed(path)
        pq.write_table(with_cell(rollout.table, name, row, cell), path, row_group_size=5)
        summary, found = computed(path, on_nan="drop-episode")
        nulls = pq.read_table(path)["advantage"].is_null().to_pylist()
    dropped = np.zeros(rollout.num_rows, np.bool_)
    dropped[bad] = True
    assert nulls == dropped.tolist()
    for column in ("advantage", "return"):
        assert found[column][~dropped].tobytes() == whole[column][~dropped].tobytes()
        assert np.isnan(found[column][dropped]).all()
    assert summary.totals.episodes == len(rollout.trajectories) - 1
    assert summary.totals.steps == rollout.num_rows - len(bad)
    (note,) = [note for note in summary.warnings if note.code == "dropped-episodes"]
    assert note.count == 1
    if len(rollout.trajectories) > 1:
        kept = rollout.advantages(0.99, 0.95)[~dropped]
        assert summary.columns["advantage"].mean == pytest.approx(kept.mean(), abs=1e-9 * rollout.scale)


@pytest.mark.parametrize("row", [3, 5, 8])
def test_a_bad_cell_drops_its_episode_in_the_blocks_before_and_behind(row: int) -> None:
    """Of rows 3 to 8, which lie in four blocks: it is in the first, in one between, or in the last of them."""
    random = np.random.default_rng(1)
    rewards, values = random.normal(size=(2, 12))
    ends = np.isin(np.arange(12), [2, 8, 11])
    table = pa.table({"reward": rewards, "value": values, "terminated": ends})
    wanted, later = np.zeros(12), 0.0
    for t in range(11, -1, -1):
        goes_on = 0.0 if ends[t] else 1.0
        delta = rewards[t] + goes_on * 0.99 * values[(t + 1) % 12] - values[t]
        wanted[t] = later = delta + goes_on * 0.99 * 0.95 * later
    wanted[3:9] = np.nan
    with small_blocks(2, dtype=np.float64) as folder:
        path = folder / "r.parquet"
        pq.write_table(with_cell(table, "reward", row, float("nan")), path, row_group_size=2)
        _, found = computed(path, on_nan="drop-episode")
    np.testing.assert_allclose(found["advantage"], wanted, rtol=1e-12, atol=1e-12)


@examples(25)
@given(rollout=rollouts(max_steps=8), data=st.data(), rows_per_block=st.integers(1, 12), cell=BAD)
def test_a_dropped_episode_takes_no_part_in_normalization(
    rollout: Rollout, data: st.DataObject, rows_per_block: int, cell: float | None
) -> None:
    row = data.draw(st.integers(0, rollout.num_rows - 1))
    (bad,) = [rows for rows in rollout.rows if row in rows]
    kept = np.setdiff1d(np.arange(rollout.num_rows), bad)
    with small_blocks(rows_per_block, dtype=np.float64) as folder:
        path = folder / "r.parquet"
        pq.write_table(with_cell(rollout.table, "reward", row, cell), path, row_group_size=5)
        _, found = computed(path, on_nan="drop-episode", normalize="all", keep_raw=True)
    raw = rollout.advantages(0.99, 0.95)[kept]
    if len(kept) > 1 and np.ptp(raw) > 1e-6 * np.abs(raw).max():
        wanted = (raw - raw.mean()) / (raw.std(ddof=1) + 1e-8)
        assert found["advantage"][kept] == pytest.approx(wanted, abs=1e-8)


@examples(30)
@given(
    rollout=rollouts().filter(lambda rollout: "next_value" in rollout.table.column_names),
    data=st.data(),
    rows_per_block=st.integers(1, 12),
)
def test_a_next_value_that_is_not_used_may_hold_anything(
    rollout: Rollout, data: st.DataObject, rows_per_block: int
) -> None:
    terminal = [rows[-1] for t, rows in zip(rollout.trajectories, rollout.rows, strict=True)
                if t.end == "terminated"]  # fmt: skip
    table = rollout.table
    for row in terminal:
        table = with_cell(table, "next_value", int(row), data.draw(BAD))
    found = []
    with small_blocks(rows_per_block, dtype=np.float64) as folder:
        for cells in (rollout.table, table):
            pq.write_table(cells, folder / "r.parquet", row_group_size=5)
            found.append(computed(folder / "r.parquet")[1])
    assert found[0]["advantage"].tobytes() == found[1]["advantage"].tobytes()
    assert np.isfinite(found[0]["advantage"]).all()


@pytest.mark.pairs
@pytest.mark.parametrize("cell", [float("nan"), float("inf"), None])
@pytest.mark.parametrize("name", ["reward", "value"])
@pytest.mark.parametrize("rows_per_block", [2, 100])
def test_without_leave_to_drop_it_is_an_error_that_names_the_first_row_and_the_count(
    cell: float | None, name: str, rows_per_block: int
) -> None:
    numbers = [float(row) for row in range(20)]
    table = pa.table({"reward": numbers, "value": numbers, "terminated": [row % 5 == 4 for row in range(20)]})
    table = with_cell(with_cell(table, name, 7, cell), name, 13, cell)
    with small_blocks(rows_per_block) as folder:
        path = folder / "r.parquet"
        pq.write_table(table, path, row_group_size=6)
        before = path.read_bytes()
        with pytest.raises(gaecli.DataError, match=rf"`{name}` is .* at row 7 .*; 2 such in all"):
            gaecli.compute(path)
        assert path.read_bytes() == before
        assert [entry.name for entry in folder.iterdir()] == ["r.parquet"]


def test_an_infinite_next_value_at_a_cut_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    table = pa.table(
        {
            "reward": [1.0, 1.0],
            "value": [0.0, 0.0],
            "next_value": [0.0, float("inf")],
            "truncated": [False, True],
        }
    )
    pq.write_table(table, path)
    with pytest.raises(gaecli.DataError, match="`next_value` is infinite at row 1"):
        gaecli.compute(path)


@pytest.mark.parametrize("rows_per_block", [1, 3, 100])
def test_a_cut_without_a_value_is_an_error_where_it_is_asked_for(rows_per_block: int) -> None:
    table = pa.table(
        {"reward": [1.0] * 5, "value": [0.5] * 5, "truncated": [False, True, False, False, False]}
    )
    with small_blocks(rows_per_block) as folder:
        path = folder / "r.parquet"
        pq.write_table(table, path, row_group_size=2)
        with pytest.raises(gaecli.DataError, match="ends at row 1 ") as caught:
            gaecli.compute(path, bootstrap="error")
    assert "--next-value-column" in str(caught.value.hint)
