"""Flags that speak of the same ends have to say the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from gaecli.array_types import BoolArray
from gaecli.errors import DataError
from gaecli.layouts.cells import Cells
from gaecli.layouts.flag_columns import FlagColumns

FlagsByPlace = Mapping[str, BoolArray | None]
#: (steps at which they differ, the place of a flag, the places of those that it contradicts)
Difference = tuple[BoolArray, str, tuple[str, ...]]


def check_agreement(flags: FlagsByPlace, names: FlagColumns, cells: Cells, told: BoolArray | None) -> None:
    """`flags`: by place, 1 for yes. `told`: steps whose end the done flag speaks of; None: all."""
    for differs, one, others in (*_of_done(flags, names, told), *_of_echoes(flags, names, told)):
        if differs.any():
            raise _disagreement(differs, one, others, names, cells)


def _of_done(flags: FlagsByPlace, names: FlagColumns, told: BoolArray | None) -> Iterator[Difference]:
    terminated, truncated, done = flags["terminated"], flags["truncated"], flags["done"]
    if done is None:
        return
    if terminated is not None and truncated is not None:
        yield _within(told, done != (terminated | truncated)), "done", ("terminated", "truncated")
    elif terminated is not None and names.inverted.keys() & {names.done, names.terminated}:
        yield _within(told, terminated & ~done), "done", ("terminated",)
    elif truncated is not None and _holds_truncations(names):
        yield _within(told, truncated & ~done), "done", ("truncated",)


def _holds_truncations(names: FlagColumns) -> bool:
    """The done flag is set where an episode was cut by a limit.

    A plain one may be of terminal states alone, as Gym's was once. Where it begins an episode and the
    other ends one, a row between them would pass for an end that nobody recorded.
    """
    is_of_terminal_states = names.done in names.inverted and names.is_terminal_only
    is_inverted = bool(names.inverted.keys() & {names.done, names.truncated})
    return names.done_at == "start" or (is_inverted and not is_of_terminal_states)


def _of_echoes(flags: FlagsByPlace, names: FlagColumns, told: BoolArray | None) -> Iterator[Difference]:
    """Inverted flags beside plain ones. What is of terminal states alone may be silent where a limit cut."""
    terminated, truncated, done = flags["terminated"], flags["truncated"], flags["done"]
    stop, cut = flags["not_done"], flags["not_truncated"]
    if cut is not None and truncated is not None:
        differs = cut != truncated
        yield differs if terminated is None else differs & ~terminated, "not_truncated", ("truncated",)
    if stop is None:
        return
    others = tuple(role for role in ("done", "terminated", "truncated") if flags[role] is not None)
    ended = done
    if ended is None:
        ended = np.zeros_like(stop)
        for flag in (terminated, truncated):
            ended = ended if flag is None else ended | flag
    if not names.is_terminal_only:
        yield _within(told, stop != ended), "not_done", others
    elif stop.any():  # a discount that is never 0 does not speak of ends
        terminal = terminated
        if terminal is None:
            terminal = ended if truncated is None else ended & ~truncated
        yield _within(told, (stop & ~ended) | (terminal & ~stop)), "not_done", others


def _within(told: BoolArray | None, differs: BoolArray) -> BoolArray:
    return differs if told is None else differs & told


def _disagreement(
    differs: BoolArray, one: str, others: tuple[str, ...], names: FlagColumns, cells: Cells
) -> DataError:
    column, *beside = (getattr(names, place) for place in (one, *others))
    options = [f"`{names.flag_of(name)} none`" for name in (column, *beside)]
    inverse = (
        f" (inverted: 0 says that it {_SAYS[names.inverted[column]]})" if column in names.inverted else ""
    )
    return DataError(
        f"`{column}`{inverse} of `{cells.path}` disagrees with {' or '.join(f'`{name}`' for name in beside)} at "
        f"{cells.locate(int(np.argmax(differs)))}; {int(differs.sum()):,} such in all",
        hint=f"leave one of them out: {', or '.join(options)}",
    )


_SAYS = {"not_done": "ended", "not_truncated": "was cut by a limit"}
