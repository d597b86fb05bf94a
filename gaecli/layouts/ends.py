"""How trajectories end: terminated and truncated out of whatever flags there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from gaecli.columns import Roles, done_at
from gaecli.errors import DataError, UsageError
from gaecli.formats.base import Column
from gaecli.layouts.cells import Cells
from gaecli.rollouts import BoolArray, IndexArray
from gaecli.settings import DoneAt, Settings


@dataclass(frozen=True)
class FlagColumns:
    """Which flag columns are used, and to which end of a step the done flag belongs."""

    terminated: str | None
    truncated: str | None
    done: str | None
    done_at: DoneAt

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in (self.terminated, self.truncated, self.done) if name is not None)

    @property
    def any(self) -> bool:
        return bool(self.names)


def flag_columns(roles: Roles, settings: Settings) -> FlagColumns:
    """End flags are preferred to start flags: they need no look at the next row."""
    at = done_at(roles, settings)
    terminated, truncated = roles.get("terminated"), roles.get("truncated")
    done = roles.get("done")
    if settings.convention.arrival_rows and settings.done_at is None:
        # All flags came with the observation that follows their action, whatever they are called.
        return FlagColumns(None, None, done or terminated or roles.get("done_start"), "start")
    if done is None and terminated is None and truncated is None:
        done = roles.get("done_start")
    return FlagColumns(terminated, truncated, done, at)


@dataclass(frozen=True, eq=False)
class Flags:
    """Flags of the steps of a block, in file order, as stored: `done` still at its own end of the step."""

    terminated: BoolArray | None
    truncated: BoolArray | None
    done: BoolArray | None
    bad: BoolArray | None


def read_flags(columns: Mapping[str, Column], names: FlagColumns, cells: Cells) -> Flags:
    bad: BoolArray | None = None
    found: dict[str, BoolArray | None] = {}
    for role in ("terminated", "truncated", "done"):
        name = getattr(names, role)
        if name is None:
            found[role] = None
            continue
        found[role], missing = cells.flags(columns[name], name)
        if missing is not None:
            bad = missing if bad is None else bad | missing
    return Flags(found["terminated"], found["truncated"], found["done"], bad)


def split_ends(
    terminated: BoolArray | None,
    truncated: BoolArray | None,
    done: BoolArray | None,
    num_steps: int,
    names: FlagColumns,
    cells: Cells,
) -> tuple[BoolArray, BoolArray]:
    """(terminated, truncated) from two or three end flags; terminated wins where both are set.

    terminated + done: truncated = done and not terminated. truncated + done: terminated = done and
    not truncated. A lone done counts as terminated. All three must agree.
    """
    if done is not None and terminated is not None and truncated is not None:
        differs = done != (terminated | truncated)
        if differs.any():
            first = int(np.argmax(differs))
            raise DataError(
                f"`{names.done}` of `{cells.path}` disagrees with `{names.terminated}` or "
                f"`{names.truncated}` at {cells.locate(first)}; {int(differs.sum()):,} such in all",
                hint="leave one of them out, for example with `--done-column none`",
            )
    if terminated is None:
        if done is None:
            terminated = np.zeros(num_steps, np.bool_)
        else:
            terminated = done if truncated is None else done & ~truncated
    if truncated is None:
        truncated = np.zeros(num_steps, np.bool_) if done is None else done & ~terminated
    else:
        truncated = truncated & ~terminated
    return terminated, truncated


def check_starts(
    columns: Mapping[str, Column],
    roles: Roles,
    names: FlagColumns,
    ended: BoolArray,
    follows: BoolArray,
    id_changes: BoolArray | None,
    in_lanes: Callable[[BoolArray], BoolArray],
    cells: Cells,
) -> None:
    """End flags and start flags in one file must tell the same story.

    `follows`: [N - 1] step t + 1 is the next row of the same stream. Where the id changes no end flag is
    needed, for the trajectory may be cut.
    """
    name = roles.get("done_start")
    reads_starts = names.done is not None and names.done_at == "start"
    if name is None or not names.any or name in names.names or reads_starts:
        return
    starts = in_lanes(cells.flags(columns[name], name)[0])
    differs = follows & (starts[1:] != ended[:-1])
    if id_changes is not None:
        differs &= ~id_changes
    if differs.any():
        first = int(np.argmax(differs))
        ends_there = "ends" if ended[first] else "does not end"
        begins = "begins" if starts[first + 1] else "does not begin"
        raise UsageError(
            f"`{names.names[0]}` of `{cells.path}` {ends_there} an episode at {cells.locate(first)}, and `{name}` "
            f"{begins} one right after it; {int(differs.sum()):,} such in all",
            hint=f"say which one is meant: `--done-column {name} --done-at start`, or "
            f"`--done-column {names.done or 'none'} --done-at end`",
        )


def check_final(
    name: str, final: BoolArray, ended: BoolArray, last: IndexArray, names: FlagColumns, cells: Cells
) -> None:
    """`last_dones` beside flags that already say how the last steps end: [lanes] each."""
    differs = final != ended
    if not names.any or not differs.any():
        return
    lane = int(np.argmax(differs))
    what, other = ("ends an episode", "it does not") if final[lane] else ("ends none", "it does")
    raise UsageError(
        f"by `{name}` of `{cells.path}` the last step, {cells.locate(int(last[lane]))}, {what}, and by "
        f"`{names.names[0]}` {other}; {int(differs.sum()):,} such in all",
        hint=f"say which one is meant: `--done-column {names.done or names.names[0]} --done-at start` if it says "
        "that an observation begins an episode, or `--final-done-column none`",
    )
