"""Arrays of an NPZ archive in blocks of a few rows: the numbers are those of the double sum.

However the arrays are stored (C or Fortran order, stored or deflated), whatever stands beside them (last
values, one time more, start flags), and wherever a block ends.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from covers import pairs
from hypothesis import example, given
from hypothesis import strategies as st
from pipeline.rollout_tables import Trajectory, double_sum
from pipeline.running import STORES, small_blocks
from profiles import examples

import gaecli

GAMMA, LAM = 0.97, 0.9
#: Sums of up to a hundred terms of size 10, in another order than the definition.
TOLERANCE = 1e-11


@dataclass(frozen=True)
class Arrays:
    """[N, T] by lane, whatever way they are written, and one last value per lane or none."""

    rewards: np.ndarray
    values: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    last_values: np.ndarray | None

    @property
    def ends(self) -> np.ndarray:
        return self.terminated | self.truncated

    def advantages(self) -> np.ndarray:
        found = np.empty(self.rewards.shape)
        num_lanes, num_times = found.shape
        for lane in range(num_lanes):
            cuts = sorted({*np.flatnonzero(self.ends[lane]).tolist(), num_times - 1})
            start = 0
            for last in cuts:
                steps = slice(start, last + 1)
                found[lane, steps] = double_sum(self._trajectory(lane, steps), GAMMA, LAM)
                start = last + 1
        return found

    def _trajectory(self, lane: int, steps: slice) -> Trajectory:
        next_values = np.full(steps.stop - steps.start, np.nan)
        last = steps.stop - 1
        if last == self.rewards.shape[1] - 1 and self.last_values is not None:
            next_values[-1] = self.last_values[lane]
        end = "terminated" if self.terminated[lane, last] else "truncated"
        return Trajectory(self.rewards[lane, steps], self.values[lane, steps], next_values, end)


@st.composite
def rollout_arrays(draw: st.DrawFn) -> Arrays:
    shape = draw(st.integers(1, 4)), draw(st.integers(1, 24))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    terminated = random.random(shape) < draw(st.sampled_from([0.0, 0.15, 1.0]))
    truncated = (random.random(shape) < draw(st.sampled_from([0.0, 0.1]))) & ~terminated
    last_values = random.normal(size=shape[0]) if draw(st.booleans()) else None
    return Arrays(
        random.normal(size=shape) * 10, random.normal(size=shape) * 10, terminated, truncated, last_values
    )


def save(path: Path, by_lane: dict[str, Any], *, time_major: bool, fortran: bool, deflated: bool) -> Path:
    order = "F" if fortran else "C"
    content = {}
    for name, array in by_lane.items():
        turned = array.T if time_major and array.ndim == 2 else array
        content[name] = np.array(turned, order=order)
    (np.savez_compressed if deflated else np.savez)(path, **content)
    return path


def assert_labelled(path: Path, wanted: np.ndarray, values: np.ndarray) -> None:
    """The arrays that were written, and that the archive is whole."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    with np.load(path) as archive:
        np.testing.assert_allclose(archive["advantage"], wanted, rtol=TOLERANCE, atol=TOLERANCE * 100)
        np.testing.assert_allclose(archive["return"], wanted + values, rtol=TOLERANCE, atol=TOLERANCE * 100)


STORED = {"fortran": st.booleans(), "deflated": st.booleans(), "store_bytes": STORES}


@examples(60)
@given(
    arrays=rollout_arrays(), time_major=st.booleans(), longer=st.booleans(), rows=st.integers(1, 40), **STORED
)
def test_dense_arrays_in_any_blocks_give_the_double_sum(
    arrays: Arrays,
    time_major: bool,
    longer: bool,
    rows: int,
    fortran: bool,
    deflated: bool,
    store_bytes: int | None,
) -> None:
    """`longer`: the last value of each lane stands behind its other values, not in an array of its own."""
    content = {"rewards": arrays.rewards, "values": arrays.values, "terminated": arrays.terminated,
               "truncated": arrays.truncated}  # fmt: skip
    if arrays.last_values is not None and longer:
        content["values"] = np.hstack((arrays.values, arrays.last_values[:, None]))
    elif arrays.last_values is not None:
        content["last_values"] = arrays.last_values
    with small_blocks(rows, store_bytes=store_bytes, dtype=np.float64) as folder:
        path = save(folder / "r.npz", content, time_major=time_major, fortran=fortran, deflated=deflated)
        gaecli.compute(path, gamma=GAMMA, lam=LAM, layout="time-major" if time_major else "batch-major")
        wanted, values = arrays.advantages(), arrays.values
        assert_labelled(path, wanted.T if time_major else wanted, values.T if time_major else values)


@examples(40)
@given(
    arrays=rollout_arrays(), final=st.sampled_from(["none", "last_dones", "longer"]), rows=st.integers(1, 40),
    **STORED,
)  # fmt: skip
@example(
    arrays=Arrays(np.ones((1, 2)), np.ones((1, 2)), np.array([[True, True]]), np.zeros((1, 2), bool), np.ones(1)),
    final="last_dones", rows=1, fortran=False, deflated=False, store_bytes=0,
)  # fmt: skip
def test_start_flags_end_the_step_before_them_across_blocks(
    arrays: Arrays, final: str, rows: int, fortran: bool, deflated: bool, store_bytes: int | None
) -> None:
    ends = arrays.ends
    starts = np.hstack((np.ones((len(ends), 1), bool), ends))
    if final == "none":  # nothing tells that the last step is an end
        ends = ends.copy()
        ends[:, -1] = False
    read = Arrays(arrays.rewards, arrays.values, ends, np.zeros_like(ends), arrays.last_values)
    content = {"rewards": arrays.rewards, "values": arrays.values,
               "episode_starts": starts if final == "longer" else starts[:, :-1]}  # fmt: skip
    if final == "last_dones":
        content["last_dones"] = ends[:, -1]
    if arrays.last_values is not None:
        content["last_values"] = arrays.last_values
    with small_blocks(rows, store_bytes=store_bytes, dtype=np.float64) as folder:
        path = save(folder / "r.npz", content, time_major=True, fortran=fortran, deflated=deflated)
        gaecli.compute(path, gamma=GAMMA, lam=LAM, layout="time-major")
        assert_labelled(path, read.advantages().T, arrays.values.T)


@examples(30)
@given(arrays=rollout_arrays(), rows=st.integers(1, 40), **STORED)
def test_flat_arrays_in_any_blocks_give_the_double_sum(
    arrays: Arrays, rows: int, fortran: bool, deflated: bool, store_bytes: int | None
) -> None:
    ends = arrays.ends.copy()
    ends[:, -1] = True
    terminated = ends & ~arrays.truncated
    content = {name: array.reshape(-1) for name, array in (
        ("rewards", arrays.rewards), ("values", arrays.values), ("terminals", terminated),
        ("timeouts", arrays.truncated))}  # fmt: skip
    read = Arrays(arrays.rewards, arrays.values, terminated, arrays.truncated, None)
    with small_blocks(rows, store_bytes=store_bytes, dtype=np.float64) as folder:
        path = save(folder / "r.npz", content, time_major=False, fortran=fortran, deflated=deflated)
        gaecli.compute(path, gamma=GAMMA, lam=LAM)
        assert_labelled(path, read.advantages().reshape(-1), arrays.values.reshape(-1))


@examples(30)
@given(arrays=rollout_arrays(), bad=st.integers(0, 10_000), rows=st.integers(1, 20), time_major=st.booleans())
def test_a_bad_cell_drops_its_trajectory_in_all_its_blocks_and_no_bit_of_another(
    arrays: Arrays, bad: int, rows: int, time_major: bool
) -> None:
    lane, time = np.unravel_index(bad % arrays.rewards.size, arrays.rewards.shape)
    ends = np.flatnonzero(arrays.ends[lane])
    first = int(ends[ends < time].max(initial=-1)) + 1
    last = int(ends[ends >= time].min(initial=arrays.rewards.shape[1] - 1))
    layout = "time-major" if time_major else "batch-major"
    found = {}
    for kind in ("whole", "damaged"):
        rewards = arrays.rewards.copy()
        if kind == "damaged":
            rewards[lane, time] = np.nan
        content = {"rewards": rewards, "values": arrays.values, "terminated": arrays.terminated,
                   "truncated": arrays.truncated}  # fmt: skip
        with small_blocks(rows, store_bytes=0, dtype=np.float64) as folder:
            path = save(folder / "r.npz", content, time_major=time_major, fortran=False, deflated=False)
            gaecli.compute(path, layout=layout, on_nan="drop-episode")
            with np.load(path) as archive:
                found[kind] = archive["advantage"].T if time_major else archive["advantage"]
    dropped = np.zeros(arrays.rewards.shape, bool)
    dropped[lane, first : last + 1] = True
    assert np.isnan(found["damaged"][dropped]).all()
    assert np.array_equal(found["damaged"][~dropped], found["whole"][~dropped])


@examples(50)
@given(
    arrays=rollout_arrays(), time_major=st.booleans(), text=st.booleans(), longer=st.booleans(),
    num_files=st.integers(1, 2), rows=st.integers(1, 40), **STORED,
)  # fmt: skip
def test_ids_cut_lanes_wherever_a_block_or_a_file_ends(
    arrays: Arrays,
    time_major: bool,
    text: bool,
    longer: bool,
    num_files: int,
    rows: int,
    fortran: bool,
    deflated: bool,
    store_bytes: int | None,
) -> None:
    """No flag is set: where the id changes the trajectory is open. `longer`: the state behind has an id, too."""
    cuts = arrays.ends.copy()
    cuts[:, -1] = False
    ids = np.cumsum(np.hstack((np.zeros((len(cuts), 1), int), cuts)), axis=1)
    if text:
        ids = np.char.add("episode ", ids.astype(str))
    num_times = cuts.shape[1]
    halves = [slice(0, num_times)]
    if num_files > 1 and time_major and num_times > 1:
        halves = [slice(0, num_times // 2), slice(num_times // 2, num_times)]
    last_values = None if len(halves) > 1 else arrays.last_values
    no_flag = np.zeros(cuts.shape, bool)
    cut = Arrays(arrays.rewards, arrays.values, no_flag, cuts, last_values)
    with small_blocks(rows, store_bytes=store_bytes, dtype=np.float64) as folder:
        for number, half in enumerate(halves):
            content = {"rewards": arrays.rewards[:, half], "values": arrays.values[:, half],
                       "terminated": no_flag[:, half], "truncated": no_flag[:, half],
                       "episode_id": ids[:, half.start : half.stop + longer]}  # fmt: skip
            if last_values is not None:
                content["last_values"] = last_values
            path = folder / f"r-{number:05d}-of-{len(halves):05d}.npz"
            save(path, content, time_major=time_major, fortran=fortran, deflated=deflated)
        gaecli.compute(folder, gamma=GAMMA, lam=LAM, layout="time-major" if time_major else "batch-major")
        found = []
        for path in sorted(folder.iterdir()):
            with np.load(path) as archive:
                found.append(archive["advantage"].T if time_major else archive["advantage"])
    np.testing.assert_allclose(np.hstack(found), cut.advantages(), rtol=TOLERANCE, atol=TOLERANCE * 100)


@examples(30)
@given(
    arrays=rollout_arrays(), layout=st.sampled_from(["time-major", "flat", "table"]), rows=st.integers(1, 40)
)
def test_a_start_flag_behind_a_border_ends_the_step_before_it_whatever_its_next_value(
    arrays: Arrays, layout: str, rows: int
) -> None:
    """Its next state is terminal, so that the value that the row gives of it does not count."""
    shape = arrays.rewards.shape
    next_values = np.random.default_rng(rows).normal(size=shape)
    starts = np.hstack((np.ones((shape[0], 1), bool), arrays.ends[:, :-1]))
    content = {"rewards": arrays.rewards, "values": arrays.values, "next_values": next_values,
               "is_first": starts}  # fmt: skip
    wanted = np.empty(shape)
    for lane in range(shape[0]):
        following = 0.0
        for time in reversed(range(shape[1])):
            is_end = time + 1 < shape[1] and bool(starts[lane, time + 1])
            # Flat, the next lane begins with a start flag.
            is_end |= time + 1 == shape[1] and layout != "time-major" and lane + 1 < shape[0]
            beyond = 0.0 if is_end else next_values[lane, time]
            trace = 0.0 if is_end or time + 1 == shape[1] else following
            delta = arrays.rewards[lane, time] + GAMMA * beyond - arrays.values[lane, time]
            following = delta + GAMMA * LAM * trace
            wanted[lane, time] = following
    with small_blocks(rows, store_bytes=0, dtype=np.float64) as folder:
        path = folder / "r.npz"
        if layout == "time-major":
            save(path, content, time_major=True, fortran=False, deflated=False)
            gaecli.compute(path, gamma=GAMMA, lam=LAM, layout=layout)
        elif layout == "flat":
            np.savez(path, **{name: array.reshape(-1) for name, array in content.items()})
            gaecli.compute(path, gamma=GAMMA, lam=LAM)
        else:
            path = folder / "r.parquet"
            table = pa.table({name: array.reshape(-1) for name, array in content.items()})
            pq.write_table(table, path, row_group_size=rows)
            gaecli.compute(path, gamma=GAMMA, lam=LAM)
        found = np.load(path)["advantage"] if path.suffix == ".npz" else pq.read_table(path)["advantage"]
    found = np.asarray(found).T if layout == "time-major" else np.asarray(found).reshape(shape)
    np.testing.assert_allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE * 100)


@examples(25)
@given(arrays=rollout_arrays(), rows=st.integers(1, 20), labels=st.sampled_from(["lane", "step"]))
def test_normalisation_by_labels_of_steps_or_lanes(arrays: Arrays, rows: int, labels: str) -> None:
    shape = arrays.rewards.shape
    per_step = np.arange(arrays.rewards.size).reshape(shape) % 3 if labels == "step" else None
    per_lane = np.array([f"task {lane % 2}" for lane in range(shape[0])])
    content = {"rewards": arrays.rewards, "values": arrays.values, "terminated": arrays.terminated,
               "truncated": arrays.truncated, "task": per_lane if per_step is None else per_step}  # fmt: skip
    with small_blocks(rows, store_bytes=0, dtype=np.float64) as folder:
        path = save(folder / "r.npz", content, time_major=True, fortran=False, deflated=False)
        if shape[0] == shape[1]:
            return  # nothing would tell labels of lanes from those of times
        gaecli.compute(path, gamma=GAMMA, lam=LAM, layout="time-major", normalize_by="task")
        with np.load(path) as archive:
            found = archive["advantage"].T
    raw = Arrays(arrays.rewards, arrays.values, arrays.terminated, arrays.truncated, None).advantages()
    groups = np.repeat(per_lane[:, None], shape[1], axis=1) if per_step is None else per_step
    for group in np.unique(groups):
        mine = raw[groups == group]
        if len(mine) > 1 and mine.std() > 1e-6:
            wanted = (mine - mine.mean()) / (mine.std(ddof=1) + 1e-8)
            np.testing.assert_allclose(found[groups == group], wanted, rtol=1e-7, atol=1e-7)


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


@pytest.mark.parametrize(
    ("table", "mode", "estimator", "block_rows"),
    pairs(["time-major", "long"], ["zero", "keep", "gated"], ["gae", "td-lambda", "q-lambda"], [None, 3, 16]),
)
def test_a_mask_is_applied_block_by_block_wherever_no_step_goes_out_of_time(
    table: str, mode: str, estimator: str, block_rows: int | None
) -> None:
    random = np.random.default_rng(7)
    shape = (60, 3)
    content = {"rewards": random.normal(size=shape), "values": random.normal(size=shape),
               "terminated": random.random(shape) < 0.1, "mask": random.random(shape) < 0.6}  # fmt: skip
    content["q"] = content["values"]
    how = {"gamma": GAMMA, "lam": LAM, "estimator": estimator, "mask_column": "mask", "mask_mode": mode}
    if estimator == "q-lambda":
        how["q_column"] = "q"
    with small_blocks(block_rows, store_bytes=400, dtype=np.float64) as folder:
        if table == "long":
            path = folder / "r.parquet"
            columns = {name: array.T.reshape(-1) for name, array in content.items()}
            columns["env_id"] = np.repeat(np.arange(shape[1]), shape[0])
            pq.write_table(pa.table(columns), path, row_group_size=17)
            gaecli.compute(path, layout="long", **how)
            found = pq.read_table(path)["advantage"].to_numpy().reshape(shape[::-1]).T
        else:
            path = folder / "r.npz"
            np.savez(path, **content)
            gaecli.compute(path, layout="time-major", memory_bytes=100_000, **how)
            found = np.load(path)["advantage"]
    wanted = np.where(content["mask"], masked_recursion(content, mode, GAMMA * LAM), np.nan)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


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


def test_a_deflated_array_damaged_behind_its_first_blocks_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """The checksum stands behind the last byte, and all of it is read before anything is written."""
    random = np.random.default_rng(1)
    path = tmp_path / "r.npz"
    np.savez(
        path, rewards=random.normal(size=5000), values=np.zeros(5000), terminated=random.random(5000) < 0.1
    )
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("rewards.npy")
    content[info.header_offset + info.compress_size - 9] ^= 1  # the lowest bit of a number
    path.write_bytes(content)
    with small_blocks(100), pytest.raises(gaecli.FileError, match=r"`rewards` of .* cannot be read .*CRC"):
        gaecli.compute(path)
    assert path.read_bytes() == bytes(content)
    assert list(tmp_path.iterdir()) == [path]


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
