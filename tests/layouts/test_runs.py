"""Flat rows beside an array with an entry per trajectory: asked about, told, and taken as ids when it is named."""

from __future__ import annotations

import numpy as np
import pytest
from traps.passed_over import notes_of, plain_gae

import gaecli
from gaecli.commands import compute as run
from gaecli.errors import UsageError
from gaecli.layouts.runs import starts_of

LENGTHS = np.array([5, 7, 4, 6, 5, 3])
ENDS = np.cumsum(LENGTHS)
STARTS = np.concatenate(([0], ENDS[:-1]))
LAST = np.isin(np.arange(30), ENDS - 1)
RNG = np.random.default_rng(0)
STEPS = {"reward": RNG.normal(size=30), "value": RNG.normal(size=30)}
WANTED = plain_gae(STEPS["reward"], STEPS["value"], LAST)

ARRAYS = {
    "lengths": LENGTHS,
    "traj_lens": LENGTHS.astype(np.uint8),
    "episode_ends": ENDS,
    "row_splits": np.concatenate(([0], ENDS)),
    "cu_seqlens": np.concatenate(([0], ENDS)).astype(np.int32),
    "traj_starts": STARTS,
    "dones_idx": ENDS - 1,
    "indices": ENDS[:-1],
}
OTHERS = {
    "traj_ids": np.arange(6),
    "seeds": np.array([7, 3, 9, 4, 4, 8]),
    "lengths": LENGTHS + 1,
    "episode_ends": ENDS[::-1],
    "split": ENDS[:3] - 40,
}


def write(folder, columns, suffix):
    path = folder / f"flat{suffix}"
    if suffix == ".npz":
        np.savez(path, **columns)
    elif suffix == ".pt":
        torch = pytest.importorskip("torch")
        torch.save({name: torch.from_numpy(np.asarray(cells)) for name, cells in columns.items()}, path)
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            for name, cells in columns.items():
                file.create_dataset(name, data=cells)
    return path


def advantages(path):
    if path.suffix == ".npz":
        return np.load(path)["advantage"]
    if path.suffix == ".pt":
        import torch

        return torch.load(path)["advantage"].numpy()
    import h5py

    with h5py.File(path) as file:
        return (file["advantage"] if "advantage" in file else file["data/advantage"])[()]


def test_their_numbers_tell_where_trajectories_begin():
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(starts_of(name, array, 30), STARTS, err_msg=name)
    # All rows belong to a trajectory; without a word that says so, a number below theirs is none of an end.
    assert starts_of("x", ENDS - 1, 30) is starts_of("x", STARTS, 30) is starts_of("x", ENDS[:-1], 30) is None
    assert starts_of("starts", STARTS + 1, 30) is starts_of("splits", STARTS, 30) is None
    np.testing.assert_array_equal(starts_of("x", np.array([2, 0, 28]), 30), [0, 2])  # one has no rows


@pytest.mark.turns
@pytest.mark.parametrize("suffix", [".npz", ".h5", ".pt"])
@pytest.mark.parametrize("name", ARRAYS)
class TestArraysWithAnEntryPerTrajectory:
    @pytest.mark.few(4)
    def test_are_named_by_the_refusal_and_do_what_it_says(self, tmp_path, name, suffix):
        path = write(tmp_path, STEPS | {name: ARRAYS[name]}, suffix)
        with pytest.raises(UsageError, match="tells where a trajectory ends") as refused:
            gaecli.compute(path)
        assert f"--episode-column {name}" in refused.value.hint
        summary = gaecli.compute(path, episode_column=name)
        assert summary.totals.episodes == len(LENGTHS)
        # float32 columns of float64 numbers
        np.testing.assert_allclose(advantages(path), WANTED, rtol=1e-5, atol=1e-6)

    @pytest.mark.few(4)
    def test_are_told_beside_flags_that_miss_some_ends(self, tmp_path, name, suffix):
        columns = STEPS | {"terminated": LAST & (np.arange(30) < 12), name: ARRAYS[name]}
        (note,) = notes_of(write(tmp_path, columns, suffix), "unused-id")
        assert note.count == 3
        assert f"--episode-column {name}" in note.hint

    @pytest.mark.few(4)
    def test_are_silent_beside_flags_of_all_ends(self, tmp_path, name, suffix):
        path = write(tmp_path, STEPS | {"done": LAST, name: ARRAYS[name]}, suffix)
        assert notes_of(path, "unused-id") == []


@pytest.mark.parametrize("num_rows", [4, 9])
def test_blocks_change_nothing(tmp_path, num_rows, monkeypatch):
    monkeypatch.setattr(run, "rows_per_block", lambda memory_bytes: num_rows)
    path = write(tmp_path, STEPS | {"lengths": LENGTHS}, ".npz")
    gaecli.compute(path, episode_column="lengths")
    np.testing.assert_allclose(advantages(path), WANTED, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.load(path)["lengths"], LENGTHS)


@pytest.mark.parametrize("name", OTHERS)
def test_other_short_arrays_are_no_columns(tmp_path, name):
    path = write(tmp_path, STEPS | {"terminated": LAST & (np.arange(30) < 12), name: OTHERS[name]}, ".npz")
    assert notes_of(path, "unused-id") == []


def test_hdf5_may_have_its_arrays_in_data_and_their_ends_in_meta(tmp_path):
    """As the zarr of diffusion policies has them."""
    columns = {f"data/{name}": cells for name, cells in STEPS.items()} | {"meta/episode_ends": ENDS}
    path = write(tmp_path, columns, ".h5")
    with pytest.raises(UsageError) as refused:
        gaecli.compute(path)
    assert "--episode-column meta/episode_ends" in refused.value.hint
    gaecli.compute(path, episode_column="meta/episode_ends")
    np.testing.assert_allclose(advantages(path), WANTED, rtol=1e-5, atol=1e-6)
