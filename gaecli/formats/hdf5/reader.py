"""Which of the two shapes of HDF5 a file has."""

from __future__ import annotations

from pathlib import Path

from gaecli.errors import FileError
from gaecli.formats.base import RolloutFile
from gaecli.formats.hdf5.episodes import Hdf5Input, episode_groups
from gaecli.formats.hdf5.flat import FlatHdf5Input, flat_container, is_of_d3rlpy, longest_table
from gaecli.formats.hdf5.objects import reading

#: What TorchRL's `H5StorageCheckpointer` says of rows that it splits into trajectories, those without a step as well.
_CHECKPOINT_OF_TORCHRL = ("_len", "_storage_shape", "is_full", "shift")


def open_hdf5(path: Path) -> RolloutFile:
    """A file with a group per episode, or else one of flat arrays."""
    with reading(path) as file:
        if all(name in file for name in _CHECKPOINT_OF_TORCHRL):
            from gaecli.formats.ways_on import unread_buffer

            raise unread_buffer(path)
        groups = episode_groups(file, path)
        container = None if groups else flat_container(file)
        table = None if groups else longest_table(file, container)
        is_by_number = container == "" and is_of_d3rlpy(file)
    if table is not None or is_by_number:
        from gaecli.formats.ways_on import HDF5_EPISODES, HDF5_TABLE, unread_hdf5

        raise unread_hdf5(path, HDF5_EPISODES) if table is None else unread_hdf5(path, HDF5_TABLE, table)
    if groups:
        return Hdf5Input(path)
    if container is not None:
        return FlatHdf5Input(path, container)
    raise FileError(
        f"`{path}` is HDF5 with neither a group per episode nor arrays at the top",
        hint="groups are named `episode_0` (Minari), `data/demo_0` (robomimic), `traj_0` (ManiSkill), or `rollout_0` "
        "and `train/0` with rewards in each; flat arrays `rewards`, `terminals` and so on stand at the top (D4RL)",
    )
