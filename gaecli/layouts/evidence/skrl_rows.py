"""skrl's memories as CSV: a row per step and environment, the environments in turn, and nothing tells how many."""

from __future__ import annotations

import re

from gaecli.columns import Roles
from gaecli.errors import UsageError
from gaecli.formats.base import RolloutFile
from gaecli.formats.stored import own_columns

#: skrl 2.1, skrl/memories/torch/base.py, `Memory.save`: every tensor is as many columns as it has numbers.
_NUMBERED = re.compile(r".+\.\d+")


def check_environments(file: RolloutFile, roles: Roles) -> None:
    """Raise `UsageError` where rows of several environments would be taken for one after the other.

    Nobody but the user knows: `--env-column none` says that there is one.
    """
    told = {"env", "episode"}
    written = [name for name in file.columns if name not in own_columns(file.provenance)]
    if told & (roles.explicit | roles.names.keys()) or not all(map(_NUMBERED.fullmatch, written)):
        return
    raise UsageError(
        f"all columns of `{file.path}` are numbered, as skrl saves a memory: its environments take turns row by row, "
        "and nothing tells how many there are",
        hint='pass `--env-column none` if there is one; else save it with `format="npz"` and pass `--layout '
        "time-major`, or add a column (row number modulo their number) and name it with `--env-column`",
    )
