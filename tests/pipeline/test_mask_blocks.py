"""Masks and gaps of arrays and rows, in blocks of a few: the numbers of a loop over the rows of each lane."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from covers import pairs
from pipeline.running import small_blocks

import gaecli

GAMMA, LAM = 0.97, 0.9


def masked_recursion(given: dict[str, np.ndarray], mode: str, decay: float) -> np.ndarray:
    """[T, N] A by a loop over the rows of each lane. What merely stops has nothing beyond it."""
    rewards, values, mask = given["rewards"], given["values"], given["mask"]
    counts = np.ones_like(mask) if mode == "keep" else mask
    found = np.zeros(rewards.shape)
    for lane in range(rewards.shape[1]):
        later = following = 0.0
        for t in range(len(rewards) - 1, -1, -1):
            if given["terminated"][t, lane] or t == len(rewards) - 1:
                later = following = 0.0
            value = values[t, lane] if counts[t, lane] else 0.0
            reward = rewards[t, lane] if counts[t, lane] else 0.0
            passes = mode == "gated" and not mask[t, lane]
            found[t, lane] = reward + GAMMA * following - value + (1.0 if passes else decay) * later
            following, later = value, found[t, lane]
    return found


@pytest.mark.few(5)
@pytest.mark.parametrize(
    ("table", "mode", "estimator", "block_rows"),
    pairs(["time-major", "long"], ["zero", "keep", "gated"], ["gae", "td-lambda", "q-lambda"], [None, 3, 16]),
)
def test_a_mask_is_applied_block_by_block_wherever_no_step_goes_out_of_time(
    table: str, mode: str, estimator: str, block_rows: int | None
) -> None:
    random = np.random.default_rng(7)
    shape = (40, 3)
    content = {"rewards": random.normal(size=shape), "values": random.normal(size=shape),
               "terminated": random.random(shape) < 0.1, "mask": random.random(shape) < 0.6}  # fmt: skip
    content["q"] = content["values"]
    how = {"gamma": GAMMA, "lam": LAM, "estimator": estimator, "mask_column": "mask", "mask_mode": mode}
    output, decay = "advantage", GAMMA * LAM
    if estimator == "mc":  # the return alone, which V says nothing to
        del how["lam"], content["values"]
        output, decay = "return", GAMMA
    if estimator == "q-lambda":
        how["q_column"] = "q"
    with small_blocks(block_rows, store_bytes=400, dtype=np.float64) as folder:
        if table == "long":
            path = folder / "r.parquet"
            columns = {name: array.T.reshape(-1) for name, array in content.items()}
            columns["env_id"] = np.repeat(np.arange(shape[1]), shape[0])
            pq.write_table(pa.table(columns), path, row_group_size=17)
            gaecli.compute(path, layout="long", **how)
            found = pq.read_table(path)[output].to_numpy().reshape(shape[::-1]).T
        else:
            path = folder / "r.npz"
            np.savez(path, **content)
            gaecli.compute(path, layout="time-major", memory_bytes=100_000, **how)
            found = np.load(path)[output]
    given = {"values": np.zeros(shape), **content}
    wanted = np.where(content["mask"], masked_recursion(given, mode, decay), np.nan)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("block_rows", [None, 3])
@pytest.mark.parametrize("mode", ["zero", "gated"])
def test_rewards_to_go_are_masked_so_too(mode: str, block_rows: int | None) -> None:
    test_a_mask_is_applied_block_by_block_wherever_no_step_goes_out_of_time(
        "time-major", mode, "mc", block_rows
    )


@pytest.mark.few(5)
@pytest.mark.parametrize(
    "seed",
    [pytest.param(seed, marks=() if seed < 12 else pytest.mark.slow, id=str(seed)) for seed in range(200)],
)
def test_a_gap_ends_a_trajectory_wherever_rows_are_cut(seed: int) -> None:
    """Terminally, whatever stands behind it; what a flag or an id ends before a gap keeps its own end."""
    random = np.random.default_rng(seed)
    num_times, num_lanes = int(random.integers(1, 40)), int(random.integers(1, 4))
    shape = (num_times, num_lanes)
    ends, is_terminal = random.random((2, *shape)) < [[[0.15]], [[0.5]]]
    content = {"rewards": random.normal(size=shape), "values": random.normal(size=shape),
               "terminated": ends & is_terminal, "truncated": ends & ~is_terminal,
               "mask": random.random(shape) < random.choice([0.5, 0.9]),
               "next_values": random.normal(size=shape)}  # fmt: skip
    has_next = random.random(shape) < random.choice([0.0, 0.6])
    table = str(random.choice(["time-major", "long", "ids"]))
    new_ids = np.vstack((np.zeros((1, num_lanes), bool), ends[:-1] | (random.random(shape)[1:] < 0.1)))
    ids = new_ids.cumsum(axis=0)
    wanted = np.full(shape, np.nan)
    for lane in range(num_lanes):
        later = following = 0.0
        for t in range(num_times - 1, -1, -1):
            is_last = t == num_times - 1 or (table == "ids" and ids[t + 1, lane] != ids[t, lane])
            given = content["next_values"][t, lane] if has_next[t, lane] and table != "time-major" else None
            if not content["mask"][t, lane]:
                continue
            if content["terminated"][t, lane]:
                later = following = 0.0
            elif ends[t, lane] or is_last:
                later, following = 0.0, given or 0.0
            elif not content["mask"][t + 1, lane]:
                later = following = 0.0
            elif given is not None:
                following = given
            value = content["values"][t, lane]
            later = content["rewards"][t, lane] + GAMMA * following - value + GAMMA * LAM * later
            wanted[t, lane], following = later, value
    how = {"gamma": GAMMA, "lam": LAM, "mask_column": "mask", "mask_mode": "cut"}
    block_rows = [None, 1, 2, 3, 7][random.integers(0, 5)]
    with small_blocks(block_rows, store_bytes=400, dtype=np.float64) as folder:
        if table == "time-major":
            path = folder / "r.npz"
            np.savez(path, **{name: array for name, array in content.items() if name != "next_values"})
            summary = gaecli.compute(path, layout="time-major", memory_bytes=100_000, **how)
            found = np.load(path)["advantage"]
        else:
            path = folder / "r.parquet"
            content["rewards"][~content["mask"]] = np.nan  # nobody reads them
            columns = {name: array.T.reshape(-1) for name, array in content.items()}
            columns["env_id"] = np.repeat(np.arange(num_lanes), num_times)
            columns["next_values"] = np.where(has_next.T.reshape(-1), columns["next_values"], np.nan)
            if table == "ids":
                columns["episode"] = ids.T.reshape(-1)
            pq.write_table(pa.table(columns), path, row_group_size=int(random.integers(1, 20)))
            summary = gaecli.compute(path, layout="long", next_value_column="next_values", **how)
            found = pq.read_table(path)["advantage"].to_numpy().reshape(shape[::-1]).T
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
    assert summary.totals.steps == content["mask"].sum()


def test_a_mask_that_takes_steps_out_of_time_major_arrays_needs_all_rows_in_memory(tmp_path: Path) -> None:
    """Kept in one block while that fits; else refused, with what would do."""
    random = np.random.default_rng(0)
    shape = (300, 4)
    content = {"rewards": random.normal(size=shape), "values": random.normal(size=shape),
               "terminated": random.random(shape) < 0.1, "mask": random.random(shape) < 0.8}  # fmt: skip
    path = tmp_path / "r.npz"
    np.savez(path, **content)
    whole = np.load(path)["rewards"].shape
    with small_blocks(16, dtype=np.float64):
        gaecli.compute(path, layout="time-major", mask_column="mask", mask_mode="skip")
        assert np.load(path)["advantage"].shape == whole
    np.savez(path, **content)
    with small_blocks(16), pytest.raises(gaecli.UsageError, match="applied to all of them at once"):
        gaecli.compute(path, layout="time-major", mask_column="mask", mask_mode="skip", memory_bytes=100_000)


@pytest.mark.parametrize("layout", ["time-major", "batch-major"])
def test_next_values_inside_of_runs_count_where_a_gap_ends_a_trajectory(layout: str, tmp_path: Path) -> None:
    """δ = r + γ V' - V with V' of the row, which a step keeps that stands beside the next one; 0 before a gap."""
    rows = {
        "reward": np.ones((3, 3)),
        "value": np.zeros((3, 3)),
        "next_value": np.array([[10.0, 20.0, 30.0]] * 3),
        "mask": np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]]),
    }
    turned = {name: rows[name].T if layout == "time-major" else rows[name] for name in rows}
    np.savez(tmp_path / "r.npz", **turned)
    gaecli.compute(
        tmp_path / "r.npz",
        **{"estimator": "td0", "gamma": 1.0, "mask_mode": "cut", "mask_column": "mask", "layout": layout},
        done_column="none",
    )
    found = np.load(tmp_path / "r.npz")["advantage"]
    wanted = [[11, 21, 31], [1, np.nan, 31], [11, 1, np.nan]]
    np.testing.assert_array_equal(found.T if layout == "time-major" else found, wanted)


@pytest.mark.parametrize("table", ["batch-major", "time-major", "lists"])
@pytest.mark.parametrize("estimator", ["gae", "td-lambda"])
def test_next_values_of_their_own_rows_count_where_nothing_is_skipped_behind_them(
    table: str, estimator: str, tmp_path: Path
) -> None:
    """Behind the last kept step of a run stands V of the next kept one; behind the last of all what its row gives."""
    random = np.random.default_rng(5)
    shape, lengths = (5, 9), (9, 6, 1, 7, 4)
    mask = (np.arange(9) < np.array(lengths)[:, None]) & (random.random(shape) < 0.8)
    mask[np.arange(5), np.array(lengths) - 1] = True
    content = {name: random.normal(size=shape) for name in ("rewards", "values", "next_values")}
    content["rewards"][~mask] = 0.0
    truncated = np.zeros(shape, np.bool_)
    truncated[np.arange(5), np.array(lengths) - 1] = True
    wanted = np.full(shape, np.nan)
    for lane in range(5):
        kept = np.flatnonzero(mask[lane])
        advantage = behind = 0.0
        for place in range(len(kept) - 1, -1, -1):
            t, is_last = kept[place], place == len(kept) - 1
            value = content["values"][lane, t]
            is_followed = is_last or kept[place + 1] == t + 1
            following = content["next_values" if is_followed else "values"][
                lane, t if is_followed else kept[place + 1]
            ]
            reward = content["rewards"][lane, t]
            if estimator == "gae":
                advantage = reward + GAMMA * following - value + GAMMA * LAM * advantage
            else:
                behind = following if is_last else (1 - LAM) * following + LAM * behind
                behind = reward + GAMMA * behind
                advantage = behind - value
            wanted[lane, t] = advantage
    content |= {"mask": mask, "truncated": truncated}
    how = {"gamma": GAMMA, "lam": LAM, "estimator": estimator, "mask_column": "mask", "mask_mode": "skip"}
    with small_blocks(dtype=np.float64):
        if table == "lists":
            path = tmp_path / "r.parquet"
            pq.write_table(pa.table({name: list(cells) for name, cells in content.items()}), path)
            gaecli.compute(path, **how)
            cells = pq.read_table(path)["advantage"].to_pylist()
            found = np.array([[np.nan if item is None else item for item in row] for row in cells])
        else:
            turned = (lambda cells: cells.T) if table == "time-major" else (lambda cells: cells)
            path = tmp_path / "r.npz"
            np.savez(path, **{name: turned(cells) for name, cells in content.items()})
            gaecli.compute(path, layout=table, **how)
            found = turned(np.load(path)["advantage"])
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


TAILS = {"zeros": (0.0, 0.0), "one number": (-1.0, -1.0), "nothing": (0.0, np.nan)}


def padded_rows(tail: str) -> tuple[dict[str, np.ndarray], tuple[int, ...]]:
    """Rows that no flag ends, with a next value of their own in every step."""
    random, lengths = np.random.default_rng(6), (9, 6, 1, 8)
    mask = np.arange(9) < np.array(lengths)[:, None]
    content = {name: random.normal(size=mask.shape) for name in ("rewards", "values", "next_values")}
    content["rewards"][~mask] = 0.0
    if tail in TAILS:
        content["values"][~mask], content["next_values"][~mask] = TAILS[tail]
    elif tail == "last value":
        for row, length in enumerate(lengths):
            content["values"][row, length:] = content["values"][row, length - 1]
            content["next_values"][row, length:] = 0.0
    return content | {"mask": mask}, lengths


def masked_outcome(folder: Path, layout: str, content: dict[str, np.ndarray]) -> tuple[np.ndarray, list[int]]:
    how = {"lam": 1.0, "gamma": 1.0, "mask_column": "mask", "mask_mode": "skip", "overwrite": True}
    if layout == "nested":
        path = folder / "r.parquet"
        pq.write_table(pa.table({name: list(cells) for name, cells in content.items()}), path)
        summary = gaecli.compute(path, **how)
        cells = pq.read_table(path)["advantage"].to_pylist()
        found = np.array([[np.nan if item is None else item for item in row] for row in cells])
    else:
        path = folder / "r.npz"
        np.savez(path, **content)
        summary = gaecli.compute(path, layout=layout, **how)
        found = np.load(path)["advantage"]
    return found, [note.count for note in summary.warnings if note.code == "masked-ends"]


@pytest.mark.parametrize("layout", ["batch-major", "nested"])
@pytest.mark.parametrize("tail", [*TAILS, "last value"])
def test_padding_behind_a_row_says_nothing_of_the_value_beyond_it(
    layout: str, tail: str, tmp_path: Path
) -> None:
    """At γ = λ = 1 the first advantage is the sum of rewards and the next value of the last step, less V."""
    content, lengths = padded_rows(tail)
    found, warned = masked_outcome(tmp_path, layout, content)
    for row, length in enumerate(lengths):
        beyond = content["next_values"][row, length - 1]
        total = content["rewards"][row].sum()
        if length > 1:  # next values of inner steps are other numbers than V of the row below
            total += (content["next_values"][row, : length - 1] - content["values"][row, 1:length]).sum()
        assert found[row, 0] == pytest.approx(total + beyond - content["values"][row, 0], abs=1e-5)
    assert warned == []


@pytest.mark.parametrize("layout", ["batch-major", "nested"])
def test_numbers_of_slots_behind_a_row_that_stand_for_the_value_beyond_it_are_told(
    layout: str, tmp_path: Path
) -> None:
    """They may be those of an answer of a tool; where a flag says that the row is over, they are of no use."""
    content, lengths = padded_rows("numbers")
    found, warned = masked_outcome(tmp_path, layout, content)
    assert warned == [3]
    last = content["rewards"][2, 0] + content["next_values"][2, -1] - content["values"][2, 0]
    assert found[2, 0] == pytest.approx(last, abs=1e-5)
    ends = np.arange(9) == np.array(lengths)[:, None] - 1
    for flag in ("terminated", "truncated"):
        assert masked_outcome(tmp_path, layout, content | {flag: ends})[1] == []


@pytest.mark.parametrize("mode", ["zero", "keep", "gated"])
@pytest.mark.parametrize("rows", [None, 4])
def test_trajectories_of_masked_rows_alone_are_no_episodes(mode: str, rows: int | None) -> None:
    """Five of six rows: two that end, one that stays open, and two of padding, one of which goes over a border."""
    episode = np.repeat(np.arange(5), 6)
    is_real = ~np.isin(episode, [1, 4])
    ended = (np.arange(30) % 6 == 5) & np.isin(episode, [0, 2])
    columns = {
        "reward": np.where(is_real, 1.0, 0.0),
        "value": np.full(30, 0.5) * is_real,
        "terminated": ended,
    }
    with small_blocks(rows) as folder:
        path = folder / "r.parquet"
        pq.write_table(pa.table({**columns, "episode_id": episode, "mask": is_real}), path)
        summary = gaecli.compute(path, mask_column="mask", mask_mode=mode)
    totals = summary.totals
    assert (totals.episodes, totals.terminated, totals.open) == (3, 2, 1)
    assert [note.count for note in summary.warnings if note.code == "bootstrap-zero"] == [1]
