"""Which of the two shapes of HDF5 a file has."""

from __future__ import annotations

from pathlib import Path

from gaecli.errors import FileError
from gaecli.formats.base import RolloutFile
from gaecli.formats.hdf5.episodes import Hdf5Input, episode_groups
from gaecli.formats.hdf5.flat import FlatHdf5Input, flat_container
from gaecli.formats.hdf5.objects import reading


def open_hdf5(path: Path) -> RolloutFile:
    """A file with a group per episode, or else one of flat arrays."""
    with reading(path) as file:
        groups = episode_groups(file, path)
        container = None if groups else flat_container(file)
    if groups:
        return Hdf5Input(path)
    if container is not None:
        return FlatHdf5Input(path, container)
    raise FileError(
        f"`{path}` is HDF5 with neither a group per episode nor arrays at the top",
        hint="groups are named `episode_0` (Minari), `data/demo_0` (robomimic), `traj_0` (ManiSkill), or `rollout_0` "
        "and `train/0` with rewards in each; flat arrays `rewards`, `terminals` and so on stand at the top (D4RL)",
    )
