"""A group per episode, by whatever usual name and in whatever group, where rewards stand in each."""

from __future__ import annotations

import numpy as np
import pytest
from traps.passed_over import plain_gae

import gaecli

h5py = pytest.importorskip("h5py")

LENGTHS = [5, 3, 7, 4, 6, 2, 3, 4, 5, 6, 2]  # the natural order of names counts: 10 behind 9
RNG = np.random.default_rng(5)
EPISODES = [(RNG.normal(size=length), RNG.normal(size=length)) for length in LENGTHS]


def written(path, names):
    with h5py.File(path, "w") as file:
        for name, (rewards, values) in zip(names, EPISODES, strict=True):
            group = file.create_group(name)
            group["rewards"], group["values"] = rewards, values
            group["dones"] = np.arange(len(rewards)) == len(rewards) - 1
            group["obs/0"] = np.zeros((len(rewards), 2))
    return path


def check_computed(path, names, episodes=EPISODES, **settings):
    gaecli.compute(path, **settings)
    with h5py.File(path) as file:
        for name, (rewards, values) in zip(names, episodes, strict=True):
            wanted = plain_gae(rewards, values, np.arange(len(rewards)) == len(rewards) - 1)
            # float32 columns of float64 numbers
            np.testing.assert_allclose(file[name]["advantage"], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.few(4)
@pytest.mark.parametrize(
    "pattern",
    [
        "ep{}",
        "EP_{:03}",
        "rollout-{}",
        "{}",
        "{:06}",
        "Episode {}",
        "data/path_{}",
        "episodes/{}",
        "train/demo_{}",
    ],
)
def test_episodes_have_many_names(tmp_path, pattern):
    names = [pattern.format(number) for number in range(len(LENGTHS))]
    check_computed(written(tmp_path / "a.hdf5", names), names)


def test_episodes_in_several_groups_are_all_of_the_file(tmp_path):
    names = [f"{'train' if number < 8 else 'val'}/traj_{number}" for number in range(len(LENGTHS))]
    check_computed(written(tmp_path / "a.hdf5", names), names)


@pytest.mark.parametrize("pattern", ["env_{}", "t{}", "epoch_{}", "layer{}"])
def test_groups_of_something_else_are_refused(tmp_path, pattern):
    names = [pattern.format(number) for number in range(len(LENGTHS))]
    with pytest.raises(gaecli.FileError, match="neither a group per episode"):
        gaecli.compute(written(tmp_path / "a.hdf5", names))


def test_a_group_without_rewards_among_others_is_missed(tmp_path):
    names = [f"rollout_{number}" for number in range(len(LENGTHS))]
    path = written(tmp_path / "a.hdf5", names)
    with h5py.File(path, "a") as file:
        del file["rollout_4/rewards"]
    with pytest.raises(gaecli.DataError, match="not in `rollout_4`"):
        gaecli.compute(path)


def test_a_link_among_them_is_refused(tmp_path):
    path = written(tmp_path / "a.hdf5", [f"rollout_{number}" for number in range(len(LENGTHS))])
    with h5py.File(path, "a") as file:
        file["rollout_99"] = h5py.SoftLink("/rollout_0")
    with pytest.raises(gaecli.FileError, match="soft link in place of episode `rollout_99`"):
        gaecli.compute(path)


def test_groups_of_several_episodes_are_cut_by_their_flags(tmp_path):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        for number in range(2):
            parts = EPISODES[2 * number : 2 * number + 2]
            group = file.create_group(f"rollout_{number}")
            group["rewards"], group["values"] = (np.concatenate(cells) for cells in zip(*parts, strict=True))
            ends = np.cumsum([len(rewards) for rewards, _ in parts]) - 1
            group["dones"] = np.isin(np.arange(ends[-1] + 1), ends)
    gaecli.compute(path, layout="long")
    with h5py.File(path) as file:
        found = np.concatenate([file[f"rollout_{number}/advantage"] for number in range(2)])
    wanted = [
        plain_gae(rewards, values, np.arange(len(rewards)) == len(rewards) - 1)
        for rewards, values in EPISODES[:4]
    ]
    np.testing.assert_allclose(found, np.concatenate(wanted), rtol=1e-5, atol=1e-6)
