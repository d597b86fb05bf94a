"""Whether rows that would each be a response count the steps of longer trajectories.

Names alone say nothing here: `step` of TRL is the step of the training, the same in many rows, and `rollout_id` of
slime that of a batch. The rows say it: numbers that go up by one from row to row and begin again, or an id of a
trajectory that several rows of one group share while others of the group have another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray
from gaecli.columns import Roles
from gaecli.errors import UsageError
from gaecli.formats.base import Column, RolloutFile
from gaecli.layouts.evidence.ids import role_of_suspect
from gaecli.layouts.keys import codes
from gaecli.names import ALIASES, words_of
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.shell_words import word

#: What a column that counts steps may be called; `global_step` and `train_step` count those of a training.
_STEPS = frozenset(("step", "t", "timestep", "frame", "turn", "tick", "time", "token"))
_SUFFIXES = frozenset(
    ("id", "ids", "idx", "index", "no", "nr", "num", "number", "count", "in", "of", "episode", "env")
)


@dataclass(frozen=True)
class Suspects:
    """Columns that may speak of steps, of which nothing takes any notice."""

    steps: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.steps, *self.ids, *(self.groups if self.ids else ()))

    @classmethod
    def of(cls, file: RolloutFile, roles: Roles, settings: Settings) -> Suspects:
        """None where the user has said what a row is, or where a row holds several responses."""
        reward = file.find(roles.names["reward"])
        is_said = settings.layout != "auto" or settings.sample_of is not None
        if is_said or reward is None or reward.is_list:
            return cls()
        used = {*settings.label_columns, *(name for role, name in roles.names.items() if role != "step")}
        beside = {
            name: info
            for name, info in file.columns.items()
            if name not in used
            and not info.is_list
            and info.unusable is None
            and info.shape == reward.shape
            and info.kind in ("int", "float", "id")
        }
        steps = [
            name
            for name, info in beside.items()
            if settings.columns.get("step") != "none" and info.kind != "id" and _counts(name, roles)
        ]
        ids = [name for name in beside if settings.columns.get("episode") != "none" and _is_id(name, roles)]
        return cls(tuple(steps), tuple(ids), settings.group_columns)

    def check(self, columns: Mapping[str, Column], path: Path) -> None:
        """`UsageError` where the rows are steps."""
        ids = {name: _codes(columns[name]) for name in self.ids}
        groups = [columns[name].as_ids() for name in self.groups] if self.ids else []
        for name in self.steps:
            if any(_go_up(columns[name], one) for one in [None, *ids.values()]):
                said = f"`{name}` counts up by one and begins again"
                raise _doubt(path, said, next(iter(self.ids), None), name)
        for name, one in ids.items():
            if _are_shared(one, groups):
                raise _doubt(path, f"`{name}` is the same in several rows of a group", name, None)


def _doubt(path: Path, said: str, episode: str | None, step: str | None) -> UsageError:
    flags = [f"`--episode-column {word(episode)}`"] if episode is not None else []
    flags += [f"`--step-column {word(step)}`"] if step is not None else []
    more = (
        "" if episode is not None else ", with the column that tells trajectories apart (`--episode-column`)"
    )
    samples = (
        ""
        if episode is None
        else f"; `--sample-of {word(episode)}` if they are samples of a rollout, each with its score"
    )
    return UsageError(
        f"{said} in `{path}`: its rows may be steps of longer trajectories, or a response each",
        hint=f"pass {' and '.join(flags)}{more} if rows are steps{samples}; "
        "if each row is a trajectory, `--layout responses`",
    )


def _counts(name: str, roles: Roles) -> bool:
    words = words_of(name)
    is_of_step = any(one in _STEPS for one in words) and all(one in _STEPS | _SUFFIXES for one in words)
    return name == roles.get("step") or name.lower() in ALIASES["step"] or is_of_step


def _is_id(name: str, roles: Roles) -> bool:
    return role_of_suspect(name, roles) == "episode"


def _codes(column: Column) -> Array:
    return codes([column.as_ids()], len(column.values)).astype(np.int64)


def _go_up(column: Column, ids: Array | None) -> bool:
    """By one from row to row, again and again; `ids`: in the rows of each, wherever they are."""
    if column.is_null is not None or column.values.ndim != 1 or len(column.values) < 3:
        return False
    numbers = column.values.astype(np.float64)
    is_same: BoolArray = np.ones(len(numbers) - 1, np.bool_)
    if ids is not None:
        order = np.argsort(ids, kind="stable")
        numbers, is_same = numbers[order], np.diff(ids[order]) == 0
    differences = np.diff(numbers)
    with_next: BoolArray = is_same & (differences == 1.0)
    begins = ~is_same | ((differences < 0) & (numbers[1:] == numbers.min()))
    return bool((with_next | begins).all() and with_next.any() and begins.any())


def _are_shared(ids: Array, groups: Sequence[Column]) -> bool:
    """Adjacent rows have one, others of their group another, and no id is in two groups, as that of a batch is."""
    if len(ids) < 3 or not (ids[1:] == ids[:-1]).any():
        return False
    if not groups:
        return bool((ids != ids[0]).any())
    group = codes(groups, len(ids)).astype(np.int64)
    pairs: IndexArray = np.unique(np.stack([ids, group]), axis=1)
    num_ids, num_groups, num_pairs = len(np.unique(ids)), len(np.unique(group)), pairs.shape[1]
    return bool(num_pairs == num_ids > num_groups)
