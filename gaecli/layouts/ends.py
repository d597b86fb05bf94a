"""How trajectories end: terminated and truncated out of whatever flags there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from gaecli.array_types import BoolArray, IndexArray
from gaecli.block_facts import InvertedFacts
from gaecli.columns import Roles
from gaecli.errors import UsageError
from gaecli.formats.base import Column
from gaecli.layouts.agreement import check_agreement
from gaecli.layouts.arrange import Arrangement
from gaecli.layouts.behind import Behind, final_flags
from gaecli.layouts.cells import Cells, level_of
from gaecli.layouts.flag_columns import FLAGS, FlagColumns
from gaecli.records import dataclass
from gaecli.shell_words import word


@dataclass(frozen=True, eq=False)
class Flags:
    """Flags of the steps of a block, in file order: 1 for yes, `done` still at its own end of the step."""

    terminated: BoolArray | None
    truncated: BoolArray | None
    done: BoolArray | None
    not_done: BoolArray | None
    not_truncated: BoolArray | None
    bad: BoolArray | None

    def moved(self, move: Callable[[BoolArray], BoolArray]) -> dict[str, BoolArray | None]:
        found = {role: getattr(self, role) for role in FLAGS}
        return {role: None if flag is None else move(flag) for role, flag in found.items()}


def read_flags(columns: Mapping[str, Column], names: FlagColumns, cells: Cells) -> Flags:
    bad: BoolArray | None = None
    found: dict[str, BoolArray | None] = {}
    for role in FLAGS:
        name = getattr(names, role)
        if name is None:
            found[role] = None
            continue
        found[role], missing = cells.flags(columns[name], name)
        if missing is not None:
            bad = missing if bad is None else bad | missing
    return Flags(**found, bad=bad)


def inverted_of(columns: Mapping[str, Column], names: FlagColumns) -> InvertedFacts | None:
    """What a block holds of `not_done`, in whichever place it is used."""
    for name, role in names.inverted.items():
        if role == "not_done":
            values = columns[name].values
            is_number = values.dtype.kind == "f"
            level = level_of(columns[name]) if is_number else 1.0
            rounding = float(np.finfo(values.dtype).eps) if is_number else 0.0
            return InvertedFacts(level, rounding, bool((values == 0).any()))
    return None


def ends_in_lanes(
    flags: Mapping[str, BoolArray | None],
    names: FlagColumns,
    roles: Roles,
    behind: Behind,
    arrangement: Arrangement,
    cells: Cells,
) -> tuple[BoolArray, BoolArray, BoolArray | None]:
    """(terminated, truncated, starts) of `flags` in lane order. A start flag ends the step before it."""
    num_steps = arrangement.placement.num_rows
    moved = dict(flags)
    last = behind.steps(arrangement.in_lane_order, num_steps)
    final = final_flags(behind, roles, last, cells)
    starts = told = None
    if names.done_at == "start":
        told = np.zeros(num_steps, np.bool_)
        told[:-1] = True if arrangement.adjacent is None else arrangement.adjacent
        starts = moved["done"]
        for role in ("done", "not_done"):
            moved[role] = _ends_of_starts(moved[role], told)
    if final is not None and (told is not None or not names.any):
        moved["done"] = np.zeros(num_steps, np.bool_) if moved["done"] is None else moved["done"]
        for role in ("done", "not_done"):
            moved[role] = _with_last(moved[role], last, final)
        if told is not None:
            told[last] = True
    terminated, truncated = split_ends(moved, num_steps, names, cells, told)
    if final is not None:
        name = roles.names["final_done"]
        check_final(name, final, (terminated | truncated)[last], last, names, cells)
    return terminated, truncated, starts


def _with_last(ends: BoolArray | None, last: IndexArray, final: BoolArray) -> BoolArray | None:
    if ends is None:
        return None
    ends = ends.copy()
    ends[last] = final
    return ends


def _ends_of_starts(starts: BoolArray | None, told: BoolArray) -> BoolArray | None:
    """A flag that begins an episode ends the step before it. `told`: steps that another one follows."""
    if starts is None:
        return None
    ends = np.zeros_like(starts)
    ends[:-1] = starts[1:]
    return ends & told


def split_ends(
    flags: Mapping[str, BoolArray | None],
    num_steps: int,
    names: FlagColumns,
    cells: Cells,
    told: BoolArray | None = None,
) -> tuple[BoolArray, BoolArray]:
    """(terminated, truncated) from whatever end flags there are; terminated wins where both are set.

    terminated + done: truncated = done and not terminated. truncated + done: terminated = done and
    not truncated. A lone done counts as terminated. All must agree.

    `told`: steps whose end the done flag speaks of; start flags know nothing of the last one. None: all.
    """
    terminated, truncated, done = flags["terminated"], flags["truncated"], flags["done"]
    check_agreement(flags, names, cells, told)
    if terminated is None:
        if done is None or (truncated is None and names.done_is_truncated):
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
            hint=f"say which one is meant: `--done-column {word(name)} --done-at start{_without(names)}`, or "
            f"`{_as_end(names)} --done-at end`",
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
        hint=f"say which one is meant: `--done-column {word(names.done or names.names[0])} --done-at start` if it "
        "says that an observation begins an episode, or `--final-done-column none`",
    )


def _without(names: FlagColumns) -> str:
    return "".join(f" {names.flag_of(name)} none" for name in names.inverted if name in names.names)


def _as_end(names: FlagColumns) -> str:
    if names.done is None:
        return "--done-column none"
    return f"{names.flag_of(names.done)} {word(names.done)}"
