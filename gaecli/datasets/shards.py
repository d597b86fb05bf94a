"""Shards of Hugging Face `datasets`: `train-00000-of-00003.parquet`. They cut episodes, so they are one stream."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from pathlib import Path

from gaecli.datasets.base import DataSet, natural_key
from gaecli.datasets.folders import rollout_files
from gaecli.errors import UsageError
from gaecli.records import dataclass

_SHARD = re.compile(r"(?P<name>.*)-(?P<index>\d{5,})-of-(?P<total>\d{5,})(?P<rest>\..*)?", re.DOTALL)


@dataclass(frozen=True)
class Shards(DataSet):
    """A stream per split; `datasets` finds its files by pattern, so a sidecar stands outside their folder."""

    is_copied_whole = True

    def sidecar(self, stream: Sequence[Path], tag: str) -> Path:
        folder = stream[0].absolute().parent
        match = _SHARD.fullmatch(stream[0].name)
        assert match is not None
        return folder.parent / f"{match['name']}.gae.parquet"


def recognise(directory: Path) -> Shards | None:
    """A folder in which every rollout file is a shard."""
    files = rollout_files(directory)
    if not files or not all(_SHARD.fullmatch(path.name) for path in files):
        return None
    return Shards(directory, "sharded data set", tuple(group_shards(files)))


def root_of(path: Path) -> Path | None:
    """The folder of a shard whose siblings are there too."""
    match = _SHARD.fullmatch(path.name)
    if match is None or int(match["total"]) < 2:
        return None
    folder = path.absolute().parent
    siblings = [other for other in rollout_files(folder) if shard_key(other) == shard_key(path.absolute())]
    return folder if len(siblings) > 1 else None


def is_shard(path: Path) -> bool:
    """Whether its name says that there are others."""
    return _SHARD.fullmatch(path.name) is not None


def shard_key(path: Path) -> Hashable:
    """Equal for shards that belong together; None for other files."""
    match = _SHARD.fullmatch(path.name)
    return (path.parent, match["name"], match["total"], match["rest"]) if match else None


def group_shards(files: Sequence[Path]) -> list[tuple[Path, ...]]:
    """Files as streams: shards that belong together, and every other file alone."""
    groups: dict[Hashable, list[Path]] = {}
    for path in files:
        key = shard_key(path)
        groups.setdefault(path if key is None else key, []).append(path)
    streams = []
    for group in groups.values():
        ordered = tuple(sorted(group, key=natural_key))
        _check_complete(ordered)
        streams.append(ordered)
    return streams


def _check_complete(stream: tuple[Path, ...]) -> None:
    """A shard that is missing in the middle would join two trajectories that do not touch."""
    if len(stream) < 2:
        return
    matches = [_SHARD.fullmatch(path.name) for path in stream]
    numbers = [int(match["index"]) for match in matches if match]
    missing = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
    if missing:
        raise UsageError(
            f"shard {missing[0]:05d} is missing between `{stream[0]}` and `{stream[-1].name}`; "
            f"{len(missing):,} such in all",
            hint="trajectories run on from shard to shard: get the missing ones, or pass `--no-join`",
        )
