"""Where nothing is known to say where trajectories end: a column that by its first rows is an id, or a counter."""

from __future__ import annotations

from collections.abc import Iterator

from gaecli.columns import Roles
from gaecli.errors import GaeError
from gaecli.formats.base import Column, RolloutFile
from gaecli.layouts.evidence.breaks import first_break
from gaecli.layouts.evidence.counters import flag_in, use_of_counter
from gaecli.layouts.evidence.unused_flags import may_break
from gaecli.names import is_something_else
from gaecli.settings import Settings
from gaecli.shell_words import word

_ROWS = 1 << 10


def border_in_first_rows(file: RolloutFile, roles: Roles, settings: Settings) -> str | None:
    """What to pass if the first such column says where trajectories end; ids are surer than counters."""
    counter = None
    for name, column in _columns(file, roles, settings):
        reading = first_break(column.values, column.is_null)
        if reading == "changes":
            return f"pass `--episode-column {word(name)}` if it tells trajectories apart"
        if reading == "restarts" and counter is None:
            flag = flag_in(name, column.values, column.values[1:] == column.values[1:])
            counter = None if flag is None else use_of_counter(name, flag)
    return counter


def _columns(file: RolloutFile, roles: Roles, settings: Settings) -> Iterator[tuple[str, Column]]:
    reward = file.columns[roles.names["reward"]]
    numbers = {roles.get(role) for role in ("reward", "value", "next_value", "bootstrap_value", "mask")}
    known = {*numbers, *settings.columns.values(), *settings.output_columns}
    for name, info in file.columns.items():
        is_step = name == roles.get("step")
        if name in known or not (is_step or (may_break(info) and not is_something_else(name))):
            continue
        if info.is_list or info.shape != reward.shape:
            continue
        try:
            _, _, columns = next(iter(file.blocks(file.units(_ROWS, reward.name)[0], [name], _ROWS)))
        except (GaeError, StopIteration, IndexError):
            continue
        column = columns[name].as_ids()
        if column.values.ndim == 1 and column.values.dtype.kind in "iuf":
            yield name, column
