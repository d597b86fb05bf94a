"""Columns that by their name tell trajectories apart, and that no role uses.

`player`, `rank`, `traj`: what published writers call these things has no end, and a name alone is no reason to cut by
it. The rows say more: where such a column changes from one step of a trajectory to the next, either the trajectory is
none, or the column says something else. It is read only where it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from gaecli.array_types import BoolArray, IndexArray, Names
from gaecli.columns import Roles
from gaecli.errors import UsageError
from gaecli.formats.base import Column, RolloutFile
from gaecli.layouts.keys import has_duplicates, names_at
from gaecli.names import ALIASES, KEY_PARTS, word_set, words_of
from gaecli.records import dataclass
from gaecli.settings import Settings

#: What is told apart, as the first word of a name: by `--env-column`, and by `--episode-column`.
_ENV_WORDS = """
agent agents player players robot robots env envs environment environments actor actors worker workers rank
process proc pid tid thread client host node replica module policy entity id uuid seed run sim simulation
simulator instance slot lane uid world arena vehicle car drone character bot envid agentid
"""
_EPISODE_WORDS = """
traj trajs trajectory trajectories episode episodes ep eps rollout rollouts sequence seq game match session fragment
conversation dialogue dialog epid episodeid trajid
"""
#: What else such a name may hold; `agent_pos` and `episode_length` are no ids.
_SUFFIX_WORDS = "id ids idx index no nr num number name key uid uuid hash tag label"
_ENVS, _EPISODES, _SUFFIXES = map(word_set, (_ENV_WORDS, _EPISODE_WORDS, _SUFFIX_WORDS))


class RowsAlternate(UsageError):
    """Rows of several trajectories stand between each other, and nothing that is used tells them apart."""


@dataclass(frozen=True, eq=False)
class IdTrace:
    """How a column runs through what would be the trajectories of a block."""

    #: Neighbours within one of them, and those between which the column changes.
    num_pairs: int
    num_changes: int
    #: The row of the file at which it changes first.
    first_row: int | None
    #: A value is there again after another one, within one of them.
    comes_back: bool
    #: Its value at the first and at the last step of every lane.
    firsts: Names
    lasts: Names


def role_of_suspect(name: str, roles: Roles) -> str | None:
    """The role of a column that would tell trajectories apart by its name; None for a name that is none of an id."""
    words = words_of(name)
    kinds = [kind for kind in (_ENVS, _EPISODES) if words and words[0] in kind]
    if not kinds or any(word not in _SUFFIXES for word in words[1:]):
        return None
    return "episode" if kinds[0] is _EPISODES and roles.get("episode") is None else "env"


def is_named_id(name: str, roles: Roles) -> bool:
    """Whether a name is that of an id of trajectories, rather than of who acts in them."""
    return role_of_suspect(name, roles) == "episode"


def suspects(
    file: RolloutFile, roles: Roles, settings: Settings, *, in_lists: bool = False
) -> tuple[str, ...]:
    """Columns of a table, one cell a step, or of lists with an item a step, that nothing uses and whose name is that
    of an id.

    Whoever names the environment, or the episode where it is about one, has said what tells trajectories apart.
    """
    if "env" in settings.columns:
        return ()
    known = {*roles.row_columns, *KEY_PARTS, *(column.name for column in roles.unused)}
    known |= {alias for aliases in ALIASES.values() for alias in aliases}
    reward = file.find(roles.names["reward"])
    found = []
    for name, info in file.columns.items():
        role = role_of_suspect(name, roles) if name not in known else None
        is_plain = info.kind in ("int", "float", "id") and info.is_list == in_lists and info.unusable is None
        is_beside = reward is not None and info.shape == reward.shape
        if role is not None and role not in settings.columns and is_plain and is_beside:
            found.append(name)
    return tuple(found)


def traces(
    columns: Mapping[str, Column],
    names: tuple[str, ...],
    in_lanes: Callable[[np.ndarray], np.ndarray],
    inside: BoolArray,
    lanes: tuple[IndexArray, IndexArray],
    row_of: Callable[[int], int],
) -> dict[str, IdTrace]:
    """`inside`: [N - 1] the steps t and t + 1 are of one trajectory. `lanes`: the first and the last step of each."""
    return {name: _trace(columns[name].as_ids(), in_lanes, inside, lanes, row_of) for name in names}


def _trace(
    column: Column,
    in_lanes: Callable[[np.ndarray], np.ndarray],
    inside: BoolArray,
    lanes: tuple[IndexArray, IndexArray],
    row_of: Callable[[int], int],
) -> IdTrace:
    is_null = None if column.is_null is None else in_lanes(column.is_null)
    moved = Column(in_lanes(column.values), is_null, categories=column.categories)
    _, codes = np.unique(moved.values, return_inverse=True)
    if is_null is not None:
        codes = np.where(is_null, -1, codes)
    changes = (codes[1:] != codes[:-1]) & inside
    places = np.flatnonzero(changes)
    return IdTrace(
        num_pairs=int(np.count_nonzero(inside)),
        num_changes=len(places),
        first_row=row_of(int(places[0]) + 1) if len(places) else None,
        comes_back=bool(len(places)) and _comes_back(codes, inside, changes),
        firsts=names_at([moved], lanes[0]),
        lasts=names_at([moved], lanes[1]),
    )


def _comes_back(codes: IndexArray, inside: BoolArray, changes: BoolArray) -> bool:
    """Of the runs of one code within a trajectory, two have the same code."""
    starts = np.flatnonzero(np.concatenate(([True], changes | ~inside)))
    trajectories = np.concatenate(([0], np.cumsum(~inside)))[starts]
    keys: IndexArray = trajectories * (int(codes.max()) + 2) + codes[starts] + 1
    return has_duplicates(keys)
