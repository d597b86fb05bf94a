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
