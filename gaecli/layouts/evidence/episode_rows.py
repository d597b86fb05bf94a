"""Tables with a row per episode: its return, its length. Such rows are no steps, whatever they are called."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gaecli.columns import Roles
from gaecli.errors import GaeError, UsageError
from gaecli.formats.base import Column, RolloutFile
from gaecli.names import word_set, words_of

#: A name of these words alone is that of the length of an episode.
_LENGTH_WORDS = word_set(
    "l len length lengths num n number of episode ep eps traj trajectory rollout step steps timesteps"
)
#: One of them has to be there.
_COUNTS = word_set("l len length lengths steps timesteps")
#: What Stable-Baselines3's `Monitor` writes of every episode: its return, its length, the time.
_MONITOR = frozenset(("r", "l", "t"))
_ROWS = 1 << 8


def lengths_in(file: RolloutFile, roles: Roles) -> list[str]:
    """Columns of whole numbers that by their names are lengths of episodes."""
    used = {*roles.row_columns}
    return [
        name
        for name, info in file.columns.items()
        if name not in used and info.kind == "int" and not info.is_list and info.unusable is None
        if (words := set(words_of(name))) <= _LENGTH_WORDS and words & _COUNTS
    ]


def check_rows_are_steps(file: RolloutFile, roles: Roles, names: Sequence[str]) -> None:
    """`UsageError` where each row is an episode by its id or its flag, and a column counts more steps in it."""
    is_monitor = file.columns.keys() >= _MONITOR and roles.names["reward"] == "r"
    first = _first_rows(file, roles, names)
    lengths = [name for name in names if name in first and _counts_more(first[name])]
    if lengths and (is_monitor or _are_episodes(roles, first)):
        raise UsageError(
            f"each row of `{file.path}` is an episode, of which `{lengths[0]}` counts the steps: a log of returns, "
            "and none of rewards",
            hint="name the file that has a row per step; if each row is a step after all, pass `--layout long`",
        )


def _first_rows(file: RolloutFile, roles: Roles, names: Sequence[str]) -> dict[str, Column]:
    flags = [roles.get(role) for role in ("episode", "done", "terminated")]
    wanted = list(dict.fromkeys([*names, *filter(None, flags)]))
    try:
        units = file.units(_ROWS, roles.names["reward"])
        _, _, columns = next(iter(file.blocks(units[0], wanted, _ROWS)))
    except (GaeError, StopIteration, IndexError):
        return {}
    return dict(columns)


def _counts_more(column: Column) -> bool:
    numbers = column.values
    return column.is_null is None and bool((numbers >= 1).all()) and bool((numbers > 1).any())


def _are_episodes(roles: Roles, first: dict[str, Column]) -> bool:
    """Two rows or more, each with an id of its own; or of which each ends one."""
    episode = roles.get("episode")
    if episode is not None and episode in first:
        ids = first[episode].as_ids().values
        return len(ids) > 1 and len(np.unique(ids)) == len(ids)
    flags = [first[name].values for role in ("done", "terminated") if (name := roles.get(role)) in first]
    return any(len(flag) > 1 and flag.dtype.kind in "biuf" and bool((flag == 1).all()) for flag in flags)
