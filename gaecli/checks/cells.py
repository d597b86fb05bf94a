"""Rules about single cells and the types of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from gaecli.array_types import Array, BoolArray
from gaecli.checks.base import CellBlock, CheckRule, Context, Hits
from gaecli.columns import flag_of
from gaecli.formats.base import Column
from gaecli.layouts.cells import DROP_HINT
from gaecli.layouts.evidence.missing_rows import are_padding, padding_mask
from gaecli.records import dataclass

_FLAG_ROLES = ("terminated", "truncated", "done", "done_start", "final_done")
_NUMBER_ROLES = ("reward", "value")
_HALF_TYPES = ("float16", "halffloat", "bfloat16")


@dataclass(frozen=True)
class _Unusable:
    """Cells that cannot be used, and the flags that leave them out where they are whole rows of padding."""

    hits: Hits | None
    #: None: they are not.
    padding: str | None

    def merge(self, later: _Unusable) -> _Unusable:
        is_other = later.hits is not None and later.padding is None
        return _Unusable(_merged(self.hits, later.hits), None if is_other else self.padding or later.padding)

    def weigh(self) -> Hits | None:
        if self.hits is None or self.padding is None:
            return self.hits
        fix = f"pass `{self.padding}` if such cells are padding; else {DROP_HINT}"
        return replace(self.hits, fix=fix)


def null_cells(block: CellBlock) -> _Unusable | None:
    """Nulls in columns that need a number or a flag in every row."""
    found: Hits | None = None
    padding = _padding(block)
    for name in [*_used_names(block.context, _NUMBER_ROLES), *block.context.flags.names]:
        column = block.columns[name]
        if column.is_null is None:
            continue
        hits = block.hits(column, column.is_null & _used(block, column), _is_null(name))
        found = _merged(found, hits)
        if hits is not None and name in block.context.flags.names:
            padding = None  # a mask leaves no flag out
    return None if found is None else _Unusable(found, padding)


def non_finite_cells(block: CellBlock) -> _Unusable | None:
    """NaN and infinite rewards and values."""
    found: Hits | None = None
    for name in _used_names(block.context, _NUMBER_ROLES):
        column = block.columns[name]
        if column.values.dtype.kind != "f":
            continue
        where = ~np.isfinite(column.values)
        if column.is_null is not None:
            where = where & ~column.is_null
        where = where & _used(block, column)
        flat = column.values.reshape(-1)
        found = _merged(
            found,
            block.hits(column, where, _is(name, flat)),
        )
    return None if found is None else _Unusable(found, _padding(block))


def _padding(block: CellBlock) -> str | None:
    names = block.context.roles.names
    if "value" not in names or list(_used_names(block.context, _NUMBER_ROLES))[:1] != [names["reward"]]:
        return None
    reward = block.columns[names["reward"]]
    if not are_padding(reward, block.columns[names["value"]]):
        return None
    return padding_mask(names["reward"], reward, is_table=block.context.layout.row_is == "step")


def half_precision(context: Context) -> Hits | None:
    """Rewards or values of 16 bits."""
    names = []
    for role in (*_NUMBER_ROLES, "next_value", "bootstrap_value"):
        name = context.roles.get(role)
        info = context.file.find(name) if name is not None else None
        if name is not None and info is not None and any(half in info.type_name for half in _HALF_TYPES):
            names.append(name)
    if not names:
        return None
    listed = ", ".join(f"`{name}`" for name in names)
    message = f"{listed} {'is' if len(names) == 1 else 'are'} of 16 bits: about 3 digits"
    return Hits(len(names), message, file=str(context.path), unit="column")


def number_flags(context: Context) -> Hits | None:
    """Flag columns that are integers."""
    found = []
    for role in _FLAG_ROLES:
        name = context.roles.get(role)
        info = context.file.find(name) if name is not None else None
        if name is not None and info is not None and info.kind == "int":
            found.append(f"`{name}` is {info.type_name}")
    if not found:
        return None
    return Hits(len(found), ", ".join(found), file=str(context.path), unit="column")


def unused_columns(context: Context) -> Hits | None:
    """Columns that have the name of a role and a type that cannot play it."""
    unused = context.roles.unused
    if not unused:
        return None
    found = [
        f"`{column.name}` is not used as the {column.role.replace('_', ' ')}: {column.why}"
        for column in unused
    ]
    flags = [f"`{flag_of(column.role)} none`" for column in unused]
    fix = f"name another column, or pass {' and '.join(flags)} if it is none"
    return Hits(len(found), "; ".join(found), file=str(context.path), unit="column", fix=fix)


def _used_names(context: Context, roles: tuple[str, ...]) -> Iterator[str]:
    """But for rewards of which some may be missing: whether one is that has to be there, `compute` knows."""
    may_be_missing = context.settings.rewards or context.settings.unscored != "error"
    for role in roles:
        name = context.roles.get(role)
        if name is not None and not (role == "reward" and may_be_missing):
            yield name


def _used(block: CellBlock, column: Column) -> BoolArray:
    """Cells that a mask does not leave out."""
    everything = np.ones(column.values.shape, np.bool_)
    name = block.context.roles.get("mask")
    if name is None or block.columns[name].values.shape != column.values.shape:
        return everything
    used: BoolArray = block.columns[name].values == 1
    return used


def _is_null(name: str) -> Callable[[int], str]:
    return lambda index: f"`{name}` is null"


def _is(name: str, cells: Array) -> Callable[[int], str]:
    return lambda index: f"`{name}` is {cells[index]!s}"


def _merged(found: Hits | None, more: Hits | None) -> Hits | None:
    """The first in the order of rows."""
    if found is None or more is None:
        return found or more
    first, second = (found, more) if (found.row or 0) <= (more.row or 0) else (more, found)
    return first.merge(second)


RULES = (
    CheckRule(
        "GAE006",
        "number-flags",
        "warning",
        "file",
        number_flags,
        summary="end-of-episode flags are stored as integers, not as booleans",
        why="`~1` is -2: code that negates an integer flag with `~` multiplies by -2 where it means 0; errors of "
        "22.7 and 41.8 were seen in torchrl 0.14.1. gaecli reads 0 and 1 of any type. Of a float "
        "`~` is an error, which nobody overlooks",
        fix="store flags as booleans",
    ),
    CheckRule(
        "GAE301",
        "null-cells",
        "error",
        "cells",
        null_cells,
        summary="a reward, value or flag is null",
        why="a null becomes NaN on the way to NumPy, or 0, and either way an advantage that nobody asked about",
        fix=DROP_HINT,
        bugs=("huggingface/trl#5773", "OpenRLHF/OpenRLHF#1239"),
    ),
    CheckRule(
        "GAE302",
        "non-finite-cells",
        "error",
        "cells",
        non_finite_cells,
        summary="a reward or value is NaN or infinite",
        why="one NaN makes NaN of every advantage before it in its episode, and, where flags are multiplied "
        "rather than selected, of all episodes before",
        fix=DROP_HINT,
        bugs=("huggingface/trl#7024", "OpenRLHF/OpenRLHF#1240"),
    ),
    CheckRule(
        "GAE505",
        "unused-column",
        "warning",
        "file",
        unused_columns,
        summary="a column has the name of a role and a type that cannot play it",
        why="what orders the rows, tells trajectories apart or gives the value after an end is then missing, and "
        "the numbers are others",
        fix="store it as numbers, name another column with its `--…-column`, or pass that flag with `none`",
    ),
    CheckRule(
        "GAE203",
        "half-precision",
        "warning",
        "file",
        half_precision,
        summary="rewards or values are stored in 16 bits",
        why="float16 and bfloat16 keep 2 to 3 digits: differences of neighbouring values, which advantages are, "
        "come out as rounding",
        fix="record values in float32",
        bugs=("huggingface/trl#6626", "huggingface/trl#6635"),
    ),
)
