"""Rows behind the last one that was recorded: a buffer at its capacity, padding without a mask."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline.running import small_blocks

import gaecli
from gaecli.commands import compute as run
from gaecli.errors import DataError

RECORDED, CAPACITY = 60, 100


def padded(cells: np.ndarray, filler: float = 0) -> np.ndarray:
    return np.concatenate((cells, np.full(CAPACITY - RECORDED, filler, cells.dtype)))


@pytest.fixture
def buffer() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    done = np.arange(1, RECORDED + 1) % 13 == 0
    return {"reward": rng.normal(size=RECORDED), "value": rng.normal(size=RECORDED), "done": done}


def notes_of(path: Path, **settings: Any) -> dict[str, int]:
    summary = gaecli.compute(path, path.parent / f"out{path.suffix}", overwrite=True, **settings)
    return {note.code: note.count for note in summary.warnings}


def table(path: Path, columns: dict[str, Any], row_group_size: int = 10) -> Path:
    pq.write_table(
        pa.table({name: pa.array(cells) for name, cells in columns.items()}),
        path,
        row_group_size=row_group_size,
    )
    return path


@pytest.mark.few(2)
@pytest.mark.parametrize("rows", [None, 7, 10, 40], ids=lambda rows: f"blocks-{rows}")
def test_zeros_behind_the_last_step_are_counted_in_blocks_of_any_size(tmp_path, buffer, monkeypatch, rows):
    if rows is not None:
        monkeypatch.setattr(run, "rows_per_block", lambda memory_bytes: rows)
    path = table(tmp_path / "run.parquet", {name: padded(cells) for name, cells in buffer.items()})
    assert notes_of(path)["unfilled-tail"] == CAPACITY - RECORDED


def test_each_environment_has_a_tail_of_its_own(tmp_path, buffer):
    columns = {name: padded(cells) for name, cells in buffer.items()}
    columns["env_id"] = np.arange(CAPACITY) % 4
    assert notes_of(table(tmp_path / "run.parquet", columns))["unfilled-tail"] == CAPACITY - RECORDED
    dense = {
        f"{name}s": cells.reshape(-1, 4) for name, cells in columns.items() if name in ("reward", "value")
    }
    np.savez(tmp_path / "run.npz", **dense, terminated=columns["done"].reshape(-1, 4))
    assert notes_of(tmp_path / "run.npz", layout="time-major")["unfilled-tail"] == CAPACITY - RECORDED


def test_flags_of_what_goes_on_are_0_there_as_well(tmp_path, buffer):
    """Read as ends, they are set on every row of the tail."""
    columns = {name: padded(cells) for name, cells in buffer.items()}
    columns["done"][RECORDED:] = True
    assert notes_of(table(tmp_path / "run.parquet", columns))["unfilled-tail"] == CAPACITY - RECORDED


@pytest.mark.parametrize("layout", ["nested", "batch-major"])
def test_padding_of_lists_without_a_mask_is_told(tmp_path, layout):
    rng = np.random.default_rng(2)
    kept = np.arange(12) < np.array([12, 9, 5, 11])[:, None]
    columns = {name: rng.normal(size=(4, 12)) * kept for name in ("rewards", "values")}
    if layout == "nested":
        path = table(tmp_path / "run.parquet", {name: cells.tolist() for name, cells in columns.items()})
    else:
        path = tmp_path / "run.npz"
        np.savez(path, **columns)
    # A tail of one step is no tail.
    assert notes_of(path, layout=layout)["unfilled-tail"] == 3 + 7


@pytest.mark.few(2)
@pytest.mark.parametrize("layout", ["time-major", "batch-major"])
@pytest.mark.parametrize("blocks", [False, True])
def test_lanes_padded_with_nan_are_refused_with_the_mask_that_takes_them(tmp_path, layout, blocks):
    """Every lane has a length of its own; flags are NaN behind it as well."""
    rng = np.random.default_rng(3)
    lengths = np.array([12, 9, 4, 11])
    kept = np.arange(12) < lengths[:, None]
    rewards, values = (np.where(kept, rng.normal(size=(4, 12)), np.nan) for _ in range(2))
    ends = np.where(kept, np.arange(12) == lengths[:, None] - 1, np.nan)
    turned = np.transpose if layout == "time-major" else np.asarray
    path = tmp_path / "run.npz"
    np.savez(path, rewards=turned(rewards), values=turned(values), terminated=turned(ends))
    options = {"layout": layout}
    for flag, test in (("mask_column", "rewards!=nan"), ("terminated_column", "terminated=1")):
        with pytest.raises(DataError, match="no other behind them") as raised:
            gaecli.compute(path, **options)
        assert f"`--{flag.replace('_', '-')} {shlex.quote(test)}`" in raised.value.hint
        options[flag] = test
    with small_blocks(5 if blocks else None):
        gaecli.compute(path, **options)
    with np.load(path) as arrays:
        found = turned(arrays["advantage"])
    for row, length in enumerate(lengths):
        running = next_value = 0.0
        for step in reversed(range(length)):
            running = rewards[row, step] + 0.99 * next_value - values[row, step] + 0.99 * 0.95 * running
            next_value = values[row, step]
            assert found[row, step] == pytest.approx(running, abs=1e-5)
        assert np.isnan(found[row, length:]).all()


@pytest.mark.few(5)
@pytest.mark.parametrize("filler", [-999.0, -1.0, 1e9])
@pytest.mark.parametrize("layout", ["nested", "batch-major", "time-major"])
def test_other_numbers_than_0_are_fillers_where_reward_and_value_hold_them(tmp_path, layout, filler):
    kept = np.arange(12) < np.array([12, 9, 11, 5])[:, None]
    path = filled(tmp_path, layout, kept, filler)
    assert notes_of(path, layout=layout)["unfilled-tail"] == 3 + 7


@pytest.mark.parametrize("layout", ["nested", "batch-major"])
def test_rows_that_are_padded_on_the_left_are_told(tmp_path, layout):
    kept = np.arange(12) >= np.array([0, 3, 1, 7])[:, None]
    assert notes_of(filled(tmp_path, layout, kept, 0.0), layout=layout)["unfilled-tail"] == 3 + 7


def filled(folder: Path, layout: str, kept: np.ndarray, filler: float) -> Path:
    rng = np.random.default_rng(2)
    columns = {name: np.where(kept, rng.normal(size=kept.shape), filler) for name in ("rewards", "values")}
    if layout == "nested":
        return table(folder / "run.parquet", {name: cells.tolist() for name, cells in columns.items()})
    turned = {name: cells.T if layout == "time-major" else cells for name, cells in columns.items()}
    np.savez(folder / "run.npz", **turned)
    return folder / "run.npz"


class TestNoTail:
    def test_sparse_rewards_and_a_critic_that_says_0_everywhere(self, tmp_path, buffer):
        columns = {**buffer, "reward": buffer["done"].astype(float), "value": np.zeros(RECORDED)}
        assert "unfilled-tail" not in notes_of(table(tmp_path / "run.parquet", columns))

    @pytest.mark.parametrize("layout", ["nested", "long"])
    def test_a_critic_that_is_clipped_at_the_reward(self, tmp_path, layout):
        values = np.clip(np.random.default_rng(3).normal(size=(6, 20)), 0, None)
        values[0, :4] = values[2, -4:] = values[3, 5:10] = 0
        columns = {"value": values, "reward": np.zeros((6, 20))}
        if layout == "long":
            columns = {name: cells.ravel() for name, cells in columns.items()} | {"env": np.arange(120) // 20}
        else:
            columns = {name: cells.tolist() for name, cells in columns.items()}
        assert "unfilled-tail" not in notes_of(table(tmp_path / "run.parquet", columns), layout=layout)

    def test_two_steps_of_0(self, tmp_path, buffer):
        for name in ("reward", "value"):
            buffer[name][-2:] = 0
        assert "unfilled-tail" not in notes_of(table(tmp_path / "run.parquet", buffer))

    def test_an_episode_that_ends_there(self, tmp_path, buffer):
        for name in ("reward", "value"):
            buffer[name][-5:] = 0
        buffer["done"][-1] = True
        assert "unfilled-tail" not in notes_of(table(tmp_path / "run.parquet", buffer))

    @pytest.mark.parametrize("rows", [None, 10], ids=["one-block", "blocks"])
    def test_zeros_before_an_id_changes(self, tmp_path, buffer, monkeypatch, rows):
        if rows is not None:
            monkeypatch.setattr(run, "rows_per_block", lambda memory_bytes: rows)
        columns = {**buffer, "episode_id": np.arange(RECORDED) // 10}
        del columns["done"]
        for name in ("reward", "value"):
            columns[name][15:20] = 0
        assert "unfilled-tail" not in notes_of(table(tmp_path / "run.parquet", columns))

    @pytest.mark.parametrize("layout", ["time-major", "batch-major"])
    @pytest.mark.parametrize("length", [3, 5])
    def test_lanes_too_short_to_tell_it_from_a_critic_that_is_clipped(self, tmp_path, layout, length):
        """One state of few is beyond the clip for as long as the lane is seen, or from its second step on."""
        rng = np.random.default_rng(4)
        values = rng.normal(2, 0.3, size=(length, 8))
        values[:, 3] = 0
        values[1 if length > 3 else 0 :, 5] = 0
        arrays = {"rewards": np.zeros((length, 8)), "values": values}
        turned = {name: cells if layout == "time-major" else cells.T for name, cells in arrays.items()}
        np.savez(tmp_path / "run.npz", **turned)
        assert "unfilled-tail" not in notes_of(tmp_path / "run.npz", layout=layout)


class TestNoNumbers:
    @pytest.mark.parametrize("shape", [(-1,), (-1, 4)], ids=["flat", "dense"])
    def test_a_tail_of_nan_says_what_it_looks_like(self, tmp_path, buffer, shape):
        names = {"reward": "rewards", "value": "values", "done": "terminated"}
        filled = {
            names[name]: padded(cells, np.nan if name != "done" else 0) for name, cells in buffer.items()
        }
        np.savez(tmp_path / "run.npz", **{name: cells.reshape(shape) for name, cells in filled.items()})
        with pytest.raises(DataError, match="saved before it was full") as caught:
            gaecli.compute(
                tmp_path / "run.npz", layout="auto" if len(shape) == 1 else "time-major", dry_run=True
            )
        assert "leave these rows out" in str(caught.value.hint)

    @pytest.mark.parametrize("where", [slice(20, 30), slice(58, 60)], ids=["inside", "two"])
    def test_other_cells_that_are_no_numbers_do_not(self, tmp_path, buffer, where):
        buffer["value"][where] = np.nan
        with pytest.raises(DataError) as caught:
            gaecli.compute(table(tmp_path / "run.parquet", buffer), dry_run=True)
        assert "saved before it was full" not in caught.value.message


class TestRepeatedValues:
    """V of the last step over and over, with one reward."""

    LENGTHS = np.array([12, 9, 5, 8])
    KEPT = np.arange(12) < LENGTHS[:, None]

    def rows(self, reward: float = 0.0) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(2)
        rewards, values = (rng.normal(size=self.KEPT.shape) for _ in range(2))
        last = np.take_along_axis(values, self.LENGTHS[:, None] - 1, axis=1)
        return {
            "rewards": np.where(self.KEPT, rewards, reward),
            "values": np.where(self.KEPT, values, last),
        }

    @pytest.mark.turns
    @pytest.mark.parametrize("reward", [0.0, -1.0])
    @pytest.mark.parametrize("layout", ["nested", "batch-major", "time-major", "ids"])
    def test_at_the_ends_of_rows_of_one_length(self, tmp_path, layout, reward):
        columns = self.rows(reward)
        if layout == "nested":
            path = table(tmp_path / "r.parquet", {name: list(cells) for name, cells in columns.items()})
        elif layout == "ids":
            columns = {name.rstrip("s"): cells.ravel() for name, cells in columns.items()}
            path = table(tmp_path / "r.parquet", columns | {"episode_id": np.repeat(np.arange(4), 12)}, 48)
        else:
            path = tmp_path / "r.npz"
            np.savez(
                path, **{name: cells.T if "time" in layout else cells for name, cells in columns.items()}
            )
        how = {} if layout == "ids" else {"layout": layout}
        assert notes_of(path, **how)["unfilled-tail"] == 3 + 7 + 4

    @pytest.mark.parametrize("rows", [None, 24])
    @pytest.mark.parametrize("flag", ["once", "on"])
    def test_behind_a_flag(self, tmp_path, monkeypatch, flag, rows):
        if rows is not None:
            monkeypatch.setattr(run, "rows_per_block", lambda memory_bytes: rows)
        ends = np.arange(12) >= self.LENGTHS[:, None] - 1
        if flag == "once":
            ends &= np.arange(12) < self.LENGTHS[:, None]
        columns = {name.rstrip("s"): cells.ravel() for name, cells in self.rows().items()}
        path = table(tmp_path / "r.parquet", columns | {"terminated": ends.ravel()}, row_group_size=24)
        assert notes_of(path)["unfilled-tail"] == 3 + 7 + 4

    def test_not_of_a_critic_that_says_the_same_of_many_states(self, tmp_path):
        columns = self.rows()
        columns["values"] = columns["values"].round()
        path = table(tmp_path / "r.parquet", {name: list(cells) for name, cells in columns.items()})
        assert "unfilled-tail" not in notes_of(path, layout="nested")

    @pytest.mark.parametrize("share", [0.2, 0.9])
    def test_not_of_episodes_that_begin_alike(self, tmp_path, share):
        """Many of one step, with V of the first state each time."""
        rng = np.random.default_rng(3)
        ends = rng.random(200) < share
        first = np.append(True, ends[:-1])
        columns = {"reward": np.zeros(200), "value": np.where(first, 0.4, rng.normal(size=200))}
        path = table(tmp_path / "r.parquet", columns | {"terminated": ends}, 200)
        assert "unfilled-tail" not in notes_of(path)

    def test_not_of_bandits(self, tmp_path):
        columns = {"reward": np.zeros(60), "value": np.ones(60), "terminated": np.ones(60, bool)}
        assert "unfilled-tail" not in notes_of(table(tmp_path / "r.parquet", columns, 60))
