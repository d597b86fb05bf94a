"""Columns that no role uses and that may say where trajectories end: of 0 and 1, and of the shape of the rewards; or
ids and counters, which break off there.

Names decide nothing here but what a column surely is not (a success flag, an action, a mask of the prompt).
Headers rule out most of the others before any row is read; what is left is read along with the rows, once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from gaecli.array_types import Array
from gaecli.columns import Roles
from gaecli.errors import GaeError, UsageError
from gaecli.formats.base import Column, ColumnInfo, RolloutFile, Unit
from gaecli.formats.stored import own_columns
from gaecli.layouts.base import Layout
from gaecli.layouts.evidence.ids import suspects
from gaecli.names import (
    INVERTED_ROLES,
    all_words_of,
    holds_kinds,
    is_something_else,
    may_hold_marks,
    suggests_end,
    tells_at_ends,
    word_set,
    words_of,
)
from gaecli.settings import Settings

#: Roles of columns that say where a trajectory ends.
END_ROLES = ("done", "terminated", "truncated", *INVERTED_ROLES)


#: Of a column of fractions the name has to say that it measures how far an episode is.
_PROGRESS_WORDS = word_set(
    "time timestamp timestamps clock elapsed progress phase remaining left step steps timestep timesteps frame "
    "frames tick ticks turn count counter index idx t id ids episode episodes seconds secs ms sec dt"
)
#: Of lists it has to be time: positions and turns of tokens begin anew within a response.
_TIME_WORDS = word_set(
    "time timestamp timestamps elapsed step steps timestep timesteps frame frames tick ticks t"
)
#: Rows of the first look at a column.
_PEEK_ROWS = 256
#: Columns of which the first rows are read in one go: they are in memory together.
_PEEK_COLUMNS = 64


class EndsUnrecognised(UsageError):
    """Nothing known says where trajectories end, and there are columns that may."""


def is_answered(settings: Settings) -> bool:
    """The user said that no column plays one of the roles of ends, and so has thought about them."""
    return any(settings.columns.get(role) == "none" for role in END_ROLES)


def unused_flags(file: RolloutFile, layout: Layout, settings: Settings) -> tuple[str, ...]:
    """The columns that may be flags of ends, going by names, types, shapes and statistics in headers."""
    if is_answered(settings) or not layout.has_steps:
        return ()
    roles = layout.roles
    reward = file.find(layout.like_column or roles.names["reward"])
    assert reward is not None
    named = {*settings.columns.values(), *settings.stream_columns}
    known = {*_used(layout, roles), *named, *settings.output_columns}
    all_count = settings.columns.get("mask") == "none"
    return tuple(
        info.name
        for info in _numbers(file, known)
        if _fits(info, reward, layout)
        and file.may_hold_flags(info.name)
        and not (all_count and not all_words_of(info.name).isdisjoint(("mask", "masks")))
    )


def likely_ends(file: RolloutFile, roles: Roles) -> list[str]:
    """Columns that a person may mean where nothing is known to say where trajectories end, the likeliest first."""
    found = [
        info.name
        for info in _numbers(file, set(roles.row_columns))
        if not info.is_list
        and (suggests_end(info.name) or info.kind == "bool")
        and file.may_hold_flags(info.name)
    ]
    return sorted(found, key=lambda name: not suggests_end(name))


def _numbers(file: RolloutFile, known: Collection[str]) -> Iterator[ColumnInfo]:
    """Columns that hold numbers and are not known; of what stands in structs, only what is called as ends are."""
    inner = [name for name in file.struct_fields() if suggests_end(name.rpartition(".")[2])]
    ours = own_columns(file.provenance)
    for name in (*file.columns, *inner):
        # By the name first: to know more of a list may take a look at its cells.
        if name in known or name in ours or is_something_else(name):
            continue
        info = file.find(name)
        if info is None or info.unusable is not None or info.damage is not None:
            continue
        if info.kind in ("bool", "int", "float"):
            yield info


def _used(layout: Layout, roles: Roles) -> set[str]:
    """Columns that decide something. A last flag per environment decides nothing where it has a flag per step."""
    names = {role: name for role, name in roles.names.items() if role != "final_done"}
    others = [name for others in roles.alternates.values() for name in others]
    final = roles.get("final_done")
    used = {*layout.row_columns, *names.values(), *others}
    return used - {final} if final is not None and final not in names.values() else used


def _fits(info: ColumnInfo, reward: ColumnInfo, layout: Layout) -> bool:
    """Of the shape of the rewards, or one time longer; in a nested table also one flag per row, if it says so."""
    if layout.kind.row_is == "trajectory":
        return info.is_list or suggests_end(info.name)
    if info.is_list:
        return False
    time_axis = 0 if layout.frame is None or layout.frame.is_time_major else 1
    shape, like = _squeezed(info.shape), _squeezed(reward.shape)
    if shape == like:
        return True
    if time_axis >= len(like):
        return False
    return shape == (*like[:time_axis], like[time_axis] + 1, *like[time_axis + 1 :])


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def breaking_columns(file: RolloutFile, layout: Layout, settings: Settings) -> tuple[str, ...]:
    """Columns of a number, a text or a time per step, of fractions if the name speaks of time.

    None where ids tell trajectories apart, or where the user said that no column does. Lists of rows that are
    trajectories only if the name speaks of time: turns and phases change within one.
    """
    roles = layout.roles
    is_told = (
        roles.get("episode") is not None or "episode" in settings.columns or roles.get("padding") is not None
    )
    if is_told or not layout.has_steps:
        return ()
    in_lists = layout.kind.row_is == "trajectory"
    reward = file.find(layout.like_column or roles.names["reward"])
    assert reward is not None
    known = {*layout.row_columns, *roles.row_columns, *settings.columns.values(), *settings.stream_columns}
    known |= {*settings.output_columns, *own_columns(file.provenance), *(one.name for one in roles.unused)}
    return tuple(
        name
        for name, info in file.columns.items()
        if name not in known
        and not is_something_else(name.rpartition("/")[2])  # `rewards/bounds` is an attribute of these
        and info.is_list == in_lists
        and may_break(info)
        and info.shape == reward.shape
    )


def numbering_columns(file: RolloutFile, layout: Layout, settings: Settings) -> tuple[str, ...]:
    """Of a table whose rows nothing orders: what may number them and `breaking_columns` leave out.

    Where ids tell trajectories apart these are all columns of whole numbers, times and texts, elsewhere those that
    are called as ids are: `id`.
    """
    roles = layout.roles
    is_ordered = roles.get("step") is not None or "step" in settings.columns
    is_silenced = settings.columns.get("episode") == "none"
    if is_ordered or is_silenced or layout.kind.name != "long" or not layout.has_steps:
        return ()
    named_ids = suspects(file, roles, settings)
    if roles.get("episode") is not None and roles.clock is not None:
        return ()
    reward = file.find(layout.like_column or roles.names["reward"])
    assert reward is not None
    known = {*layout.row_columns} - {*named_ids}
    known |= {*roles.row_columns, *settings.columns.values(), *settings.stream_columns}
    known |= {*settings.output_columns, *own_columns(file.provenance), *(one.name for one in roles.unused)}
    return tuple(
        name
        for name, info in file.columns.items()
        if name not in known
        and (name in named_ids or (roles.get("episode") is not None and not is_something_else(name)))
        and not info.is_list
        and may_break(info)
        and info.shape == reward.shape
    )


def may_break(info: ColumnInfo) -> bool:
    if info.is_deep or info.unusable is not None or info.damage is not None:
        return False
    if info.is_list:
        return info.kind != "id" and not _TIME_WORDS.isdisjoint(words_of(info.name))
    if info.kind == "float":
        return not _PROGRESS_WORDS.isdisjoint(words_of(info.name))
    return info.kind in ("int", "id", "time")


def valued_columns(file: RolloutFile, layout: Layout, settings: Settings) -> tuple[str, ...]:
    """Columns of texts and whole numbers per step whose name speaks of ends, or of what may be one among others; and
    of numbers that are told where an episode ended.
    """
    if is_answered(settings) or not layout.has_steps:
        return ()
    in_lists = layout.kind.row_is == "trajectory"
    reward = file.find(layout.like_column or layout.roles.names["reward"])
    assert reward is not None
    known = {*_used(layout, layout.roles), *settings.columns.values(), *settings.stream_columns}
    known |= {*settings.output_columns, *own_columns(file.provenance)}
    known |= {column.name for column in layout.roles.unused}
    return tuple(
        name
        for name, info in file.columns.items()
        if name not in known
        and (
            (tells_at_ends(name) and info.kind in ("int", "float"))
            or (
                not is_something_else(name)
                and (suggests_end(name) or holds_kinds(name))
                and info.kind in ("int", "id")
            )
            or (may_hold_marks(name) and info.kind == "id")
        )
        and info.is_list == in_lists
        and not (info.is_deep or info.unusable or info.damage)
        and info.shape == reward.shape
    )


def first_rows_break(column: Column) -> bool:
    """Whether the first rows of a column speak for either: not every other row has something of its own."""
    values = column.values
    if values.dtype.kind not in "biuf" or len(values) < 2:
        return False
    if column.categories is None:
        return True
    from gaecli.layouts.evidence.moments import moments_in

    return len(np.unique(values)) * 2 <= len(values) + 1 or moments_in(column) is not None


def first_rows_are_scattered(name: str, column: Column) -> bool:
    """Whether the first rows stand in another order than that of the column."""
    from gaecli.layouts.evidence.breaks import is_time
    from gaecli.layouts.evidence.moments import moments_in
    from gaecli.layouts.evidence.scattered import scatter_in

    moments = moments_in(column)
    if column.is_null is not None or (moments is None and column.categories is not None):
        return False
    numbers = column.values if moments is None else moments
    follow = np.ones(max(len(numbers) - 1, 0), np.bool_)
    nowhere = (np.zeros(0, np.int64), np.zeros(0, np.int64))
    found = scatter_in(numbers, follow, nowhere, is_time=is_time(name), holds_dates=moments is not None)
    return found is not None and found.falls > 0


def peek(
    file: RolloutFile, names: Sequence[str], units: Sequence[Unit], fits: Callable[[str, Column], bool]
) -> tuple[str, ...]:
    """The columns whose first rows fit."""
    if not units:
        return ()
    found: set[str] = set()
    for some in _together(file, names):
        found.update(_peeked(file, some, units[0], fits))
    return tuple(name for name in names if name in found)


def _together(file: RolloutFile, names: Sequence[str]) -> Iterator[Sequence[str]]:
    """A file is opened for each of these: lists alone, as of longer ones fewer rows are read."""
    some: list[str] = []
    for name in names:
        info = file.find(name)
        if info is None or info.is_list:
            yield [name]
            continue
        some.append(name)
        if len(some) == _PEEK_COLUMNS:
            yield some
            some = []
    if some:
        yield some


def _peeked(
    file: RolloutFile, names: Sequence[str], unit: Unit, fits: Callable[[str, Column], bool]
) -> list[str]:
    try:
        _, _, columns = next(iter(file.blocks(unit, names, _PEEK_ROWS)))
    except (GaeError, StopIteration):
        if len(names) == 1:
            return []  # nobody asked for it: what is wrong with it is no matter here
        half = len(names) // 2
        return [*_peeked(file, names[:half], unit, fits), *_peeked(file, names[half:], unit, fits)]
    return [name for name in names if fits(name, columns[name])]


def flags_in(column: Column) -> Array | None:
    """The cells as bool, null and NaN as not set; None if there is any other number than 0 and 1."""
    values = column.values
    if values.dtype.kind not in "biuf" or column.categories is not None:
        return None
    absent = column.is_null
    if values.dtype != bool:
        if values.dtype.kind == "f":
            nan = values != values
            absent = nan if absent is None else absent | nan
        odd = (values != 0) & (values != 1)
        if absent is not None:
            odd &= ~absent
        if odd.any():
            return None
        values = values == 1
    return values if absent is None else values & ~absent
