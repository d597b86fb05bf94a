"""Blocks that are finished while others are looked at: the same file and summary, whenever each is finished."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline.rollout_tables import Rollout, rollouts, write
from pipeline.running import STORES, small_blocks
from profiles import examples

import gaecli
from gaecli.commands import inspect as inspecting
from gaecli.errors import DataError, GaeError
from gaecli.pipeline.tasks import FinishUnit, LookUnit, SummariseUnit


def episodes(lengths: list[int], *, next_ids: list[int] | None = None) -> pa.Table:
    """Rows of whole episodes, one after the other."""
    random = np.random.default_rng(len(lengths))
    ids = np.repeat(next_ids or range(len(lengths)), lengths)
    done = np.zeros(len(ids), np.bool_)
    done[np.cumsum(lengths) - 1] = True
    numbers = random.normal(size=(2, len(ids)))
    return pa.table({"reward": numbers[0], "value": numbers[1], "done": done, "episode_id": ids})


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What is done with which unit, in the order in which it is done."""
    found: list[tuple[str, int]] = []
    look, finish = SummariseUnit.of_block, FinishUnit.of_settled

    def looked(task: SummariseUnit, worker: Any, address: Any, scanned: Any) -> Any:
        found.append(("look", task.unit))
        return look(task, worker, address, scanned)

    def finished(task: FinishUnit, worker: Any, start: Any, settled: Any, carry: Any) -> Any:
        found.append(("finish", task.unit))
        return finish(task, worker, start, settled, carry)

    monkeypatch.setattr(SummariseUnit, "of_block", looked)
    monkeypatch.setattr(FinishUnit, "of_settled", finished)
    return found


def test_a_block_is_finished_once_the_next_one_has_been_looked_at(order: list[tuple[str, int]]) -> None:
    with small_blocks(10) as folder:
        pq.write_table(episodes([4] * 15), folder / "r.parquet", row_group_size=10)
        gaecli.compute(folder / "r.parquet", jobs=1)
    looks = [("look", 0), ("look", 1)]
    for unit in range(4):
        looks += [("finish", unit), ("look", unit + 2)]
    assert order == [*looks, ("finish", 4), ("finish", 5)]


@pytest.mark.parametrize(
    "settings",
    [{"normalize": "all"}, {"on_nan": "drop-episode"}, {"truncation": "leak"}, {"lam_alpha": 0.2}],
    ids=lambda settings: next(iter(settings)),
)
def test_nothing_is_finished_before_all_is_known_that_enters_it(
    order: list[tuple[str, int]], settings: dict[str, Any]
) -> None:
    with small_blocks(10) as folder:
        pq.write_table(episodes([4] * 15), folder / "r.parquet", row_group_size=10)
        gaecli.compute(folder / "r.parquet", jobs=1, **settings)
    steps = [what for what, _ in order]
    assert steps[:6] == ["look"] * 6
    assert "look" not in steps[6:]


def test_what_an_episode_goes_through_waits_for_its_end(order: list[tuple[str, int]]) -> None:
    with small_blocks(10) as folder:
        pq.write_table(episodes([4, 4, 45, 7]), folder / "r.parquet", row_group_size=10)
        gaecli.compute(folder / "r.parquet", jobs=1)
        found = pq.read_table(folder / "r.parquet")
        pq.write_table(found.select(range(4)), folder / "whole.parquet")
        gaecli.compute(folder / "whole.parquet", memory_bytes=1 << 30)
        whole = pq.read_table(folder / "whole.parquet")
    assert order[: order.index(("finish", 0))] == [("look", unit) for unit in range(6)]
    np.testing.assert_allclose(found["advantage"], whole["advantage"], rtol=1e-6)


def outcome(rollout: Rollout, row_group_size: int, folder: Path, jobs: int, bootstrap: str) -> Any:
    path = write(rollout, folder / "r.parquet", row_group_size)
    try:
        summary = gaecli.compute(path, jobs=jobs, bootstrap=bootstrap)
    except GaeError as error:
        return str(error).replace(str(folder), "")
    columns = pq.read_table(path).select(["advantage", "return"])
    return columns, summary.totals, summary.columns, summary.explained_variance


@examples(30)
@given(
    rollout=rollouts(),
    row_group_size=st.integers(1, 25),
    rows_per_block=st.integers(1, 25),
    bootstrap=st.sampled_from(["zero", "current", "error"]),
    store_bytes=STORES,
)
def test_columns_and_summary_are_the_same_to_the_last_bit(
    rollout: Rollout, row_group_size: int, rows_per_block: int, bootstrap: str, store_bytes: int | None
) -> None:
    def found(jobs: int, *, ahead: bool) -> Any:
        with small_blocks(rows_per_block, store_bytes=store_bytes, dtype=np.float64, ahead=ahead) as folder:
            return outcome(rollout, row_group_size, folder, jobs, bootstrap)

    expected = found(1, ahead=False)
    assert found(1, ahead=True) == expected
    assert found(3, ahead=True) == expected


def test_rows_that_turn_out_to_be_interleaved_are_written_anew() -> None:
    """An id comes back in the last block, when the first ones are written."""
    ids = [0, 1, 2, 3, 4, 5, 6, 7, 2]
    table = episodes([4] * 9, next_ids=ids)
    done = np.array(table["done"])
    done[11] = False  # episode 2 goes on in the last rows
    table = table.set_column(2, "done", pa.array(done))
    with small_blocks(8, dtype=np.float64) as folder:
        pq.write_table(table, folder / "r.parquet", row_group_size=8)
        gaecli.compute(folder / "r.parquet", gamma=0.9, lam=1.0)
        assert [path.name for path in folder.iterdir()] == ["r.parquet"]
        found = pq.read_table(folder / "r.parquet")
    assert found.select(range(4)).equals(table)
    rows = [8, 9, 10, 11, 32, 33, 34, 35]
    rewards = np.array(table["reward"])[rows]
    returns = [sum(0.9 ** (late - t) * rewards[late] for late in range(t, 8)) for t in range(8)]
    np.testing.assert_allclose(np.array(found["return"])[rows], returns, rtol=1e-12)


def test_a_bad_cell_in_the_last_block_leaves_nothing_of_those_before_it() -> None:
    table = episodes([4] * 9)
    rewards = np.array(table["reward"]).copy()
    rewards[-1] = np.nan
    with small_blocks(8) as folder:
        path = folder / "r.parquet"
        pq.write_table(table.set_column(0, "reward", pa.array(rewards)), path, row_group_size=8)
        before = path.read_bytes()
        with pytest.raises(DataError, match="`reward` is NaN at row 35"):
            gaecli.compute(path)
        assert [path.name for path in folder.iterdir()] == ["r.parquet"]
        assert path.read_bytes() == before


def test_a_dry_run_tells_the_same(order: list[tuple[str, int]]) -> None:
    with small_blocks(10) as folder:
        path = folder / "r.parquet"
        pq.write_table(episodes([4] * 15), path, row_group_size=10)
        dry = gaecli.compute(path, dry_run=True, jobs=1)
        assert order.index(("finish", 0)) < order.index(("look", 5))
        wet = gaecli.compute(path)
    assert (dry.totals, dry.columns) == (wet.totals, wet.columns)


def looked_into(path: Path, rows_per_block: int, store_bytes: int | None, *, jobs: int, ahead: bool) -> Any:
    """All that `gae inspect` tells of a file, every episode included."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspecting, "rows_per_block", lambda memory_bytes: rows_per_block)
        if store_bytes is not None:
            patch.setattr(inspecting, "_STORE_SHARE", store_bytes / (1 << 30))
        if not ahead:
            patch.setattr(inspecting, "can_be_ahead", lambda estimator: False)
        return gaecli.inspect(path, episodes=True, jobs=jobs)


@examples(30)
@given(
    rollout=rollouts(),
    row_group_size=st.integers(1, 25),
    rows_per_block=st.integers(1, 25),
    store_bytes=STORES,
)
def test_inspect_tells_the_same_to_the_last_bit(
    rollout: Rollout, row_group_size: int, rows_per_block: int, store_bytes: int | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(rollout, Path(folder) / "r.parquet", row_group_size)
        expected = looked_into(path, rows_per_block, store_bytes, jobs=1, ahead=False)
        assert looked_into(path, rows_per_block, store_bytes, jobs=1, ahead=True) == expected
        assert looked_into(path, rows_per_block, store_bytes, jobs=3, ahead=True) == expected


@pytest.mark.parametrize(
    "lengths",
    [[4, 9, 4, 9, 8, 9, 7, 10], [4, 9, 4, 9, 8, 29, 4, 9, 3, 2], [4, 9, 4, 9]],
    ids=["of two blocks", "of three", "to the last block"],
)
def test_inspect_joins_episodes_over_the_borders_of_blocks(lengths: list[int], tmp_path: Path) -> None:
    """Of two blocks, which know each other's numbers; or of more, from where on all blocks are waited for."""
    table = episodes(lengths)
    pq.write_table(table, tmp_path / "r.parquet", row_group_size=10)
    found = looked_into(tmp_path / "r.parquet", 10, None, jobs=2, ahead=True)
    starts = np.cumsum([0, *lengths[:-1]])
    assert [(one.row, one.length) for one in found.episodes] == list(zip(starts, lengths, strict=True))
    sums = np.add.reduceat(np.array(table["reward"]), starts)
    np.testing.assert_allclose([one.total_reward for one in found.episodes], sums, rtol=1e-12)


def test_inspect_looks_at_a_block_once_the_next_one_is_known(
    monkeypatch: pytest.MonkeyPatch, order: list[tuple[str, int]], tmp_path: Path
) -> None:
    look = LookUnit.of_settled

    def looked(task: LookUnit, worker: Any, start: int, settled: Any, carry: Any) -> Any:
        order.append(("told", task.unit))
        return look(task, worker, start, settled, carry)

    monkeypatch.setattr(LookUnit, "of_settled", looked)
    pq.write_table(episodes([4] * 15), tmp_path / "r.parquet", row_group_size=10)
    looked_into(tmp_path / "r.parquet", 10, None, jobs=1, ahead=True)
    looks = [("look", 0), ("look", 1)]
    for unit in range(4):
        looks += [("told", unit), ("look", unit + 2)]
    assert order == [*looks, ("told", 4), ("told", 5)]
