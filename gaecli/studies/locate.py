"""Which row a person means: by its number, or by episode, environment and step as the file calls them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np

from gaecli.array_types import BoolArray
from gaecli.columns import Roles
from gaecli.errors import DataError, UsageError
from gaecli.formats.base import Column, RolloutFile
from gaecli.layouts.frames import Frame
from gaecli.pipeline.opening import OpenFile
from gaecli.pipeline.stream import SummarisedStream
from gaecli.records import dataclass
from gaecli.studies.typed_ids import spellings

#: What a listing puts in the place of the middle of a long id.
CUTS = ("…", "...")
_MOST_NAMED = 4
#: Rows of which ids are compared at a time.
ROWS_AT_A_TIME = 1 << 18


@dataclass(frozen=True)
class StepQuery:
    """One step. `row` counts over all files of the stream; `step` is what the step column says, or counts from 0."""

    row: int | None = None
    episode: str | None = None
    step: int | None = None
    env: str | None = None

    def __post_init__(self) -> None:
        if self.row is None and self.episode is None and self.env is None:
            raise UsageError(
                "which step is meant?",
                hint="pass `--row N`, or `--episode ID --step T`, or `--env E --step T`",
            )
        if self.row is not None and (self.episode is not None or self.env is not None):
            raise UsageError("`--row` already says which step is meant", hint="drop `--episode` and `--env`")
        if self.row is None and self.step is None:
            raise UsageError("`--episode` and `--env` need the step as well", hint="pass `--step T`")
        for flag, number in (("--row", self.row), ("--step", self.step)):
            if number is not None and number < 0 and flag == "--row":
                raise UsageError(f"`{flag}` is {number}; it counts from 0")

    @property
    def words(self) -> list[str]:
        """As it was typed."""
        given = {"--row": self.row, "--episode": self.episode, "--env": self.env, "--step": self.step}
        return [word for flag, value in given.items() if value is not None for word in (flag, str(value))]


@dataclass(frozen=True)
class Place:
    """A step: the file of the stream, the row in it, and in nested tables the item of the row's lists."""

    file: int
    path: Path
    row: int
    item: int = 0
    key: Mapping[str, Any] = field(default_factory=dict)


def locate(stream: SummarisedStream, query: StepQuery) -> Place:
    """`UsageError` where several rows, `DataError` where none is meant."""
    if stream.layout.row_is == "trajectory":
        return _in_lists(stream, query)
    if query.row is not None:
        if query.step is not None:
            raise UsageError("`--row` already says which step is meant", hint="drop `--step`")
        return _by_number(stream, query.row)
    frame = stream.files[0].layout.frame
    if frame is not None:
        return _in_array(stream, query, frame)
    return _by_keys(stream, query)


def _by_number(stream: SummarisedStream, row: int) -> Place:
    first = 0
    for index, opened in enumerate(stream.files):
        # Not `num_rows`: of dense arrays every cell is a row here.
        num_rows = _num_cells(opened.file, opened.layout.roles)
        if row < first + num_rows:
            return Place(index, opened.file.path, row - first)
        first += num_rows
    name = stream.plan.paths[0] if len(stream.files) == 1 else f"{len(stream.files)} files"
    hint = f"rows go from 0 to {first - 1:,}" if first else "there are no rows at all"
    raise UsageError(f"there is no row {row:,} in `{name}`", hint=hint)


def _num_cells(file: RolloutFile, roles: Roles) -> int:
    info = file.find(roles.names["reward"])
    assert info is not None
    return int(np.prod(info.shape))


def _in_array(stream: SummarisedStream, query: StepQuery, frame: Frame) -> Place:
    """[T, N] or [B, T]: environment (or row) and time are the two indices."""
    path = stream.files[0].file.path
    rows, columns = frame.flat_shape
    if query.env is None or query.step is None or query.episode is not None:
        raise UsageError(
            f"`{path}` is {rows} by {columns} and has no episode ids",
            hint="pass `--env E --step T`, or `--row N` of the flattened array",
        )
    env = _index(query.env, frame.num_lanes, "--env")
    step = _index(query.step, frame.num_times, "--step")
    return Place(0, path, frame.cell_of(time=step, lane=env), key={"env": env, "step": step})


def _index(given: str | int, size: int, flag: str) -> int:
    text = str(given)
    if not text.isdecimal() or int(text) >= size:
        raise UsageError(f"`{flag}` is {text}; it goes from 0 to {size - 1:,}")
    return int(text)


def _in_lists(stream: SummarisedStream, query: StepQuery) -> Place:
    """A row is an episode: `--row N --step T`, or `--episode ID --step T` where there are ids.

    `--row N` alone says which step is meant where there is but one, or all of them have one number.
    """
    if query.row is not None:
        place = _by_number(stream, query.row)
    else:
        place = _only(stream, query, {"episode": query.episode, "env": query.env})
    length = _list_length(stream, place)
    if query.step is None and not stream.files[place.file].layout.has_steps:
        return place
    if query.step is None and length and (length == 1 or stream.settings.kind.is_grouped):
        return Place(place.file, place.path, place.row, 0, {**place.key, "step": 0})
    if query.step is None:
        raise UsageError(
            f"every row of `{stream.plan.paths[0]}` holds a whole episode", hint="pass `--step T` as well"
        )
    step = _index(query.step, length, "--step")
    return Place(place.file, place.path, place.row, step, {**place.key, "step": step})


def _list_length(stream: SummarisedStream, place: Place) -> int:
    """1 where the row is a trajectory without steps."""
    opened = stream.files[place.file]
    name = opened.layout.like_column or opened.layout.roles.names["reward"]
    if not opened.layout.has_steps:
        return 1
    for start, stop, columns in _blocks(opened.file, [name], around=place.row):
        offsets = columns[name].offsets
        if start <= place.row < stop and offsets is not None:
            return int(offsets[place.row - start + 1] - offsets[place.row - start])
    return 0


def _by_keys(stream: SummarisedStream, query: StepQuery) -> Place:
    roles = stream.roles
    wanted: dict[str, Any] = {"episode": query.episode, "env": query.env}
    if roles.get("step") is not None:
        return _only(stream, query, {**wanted, "step": query.step})
    first = _matches(stream, wanted)
    rows = [row for row in first if row[0] == first[0][0]] if first else []
    if not rows:
        raise _no_such(stream, wanted)
    assert query.step is not None
    if query.step >= len(rows) or query.step < 0:
        raise UsageError(f"`--step` is {query.step}; it goes from 0 to {len(rows) - 1:,} there")
    file, row = rows[query.step]
    return Place(file, stream.plan.paths[file], row, key=_given(wanted) | {"step": query.step})


def _only(stream: SummarisedStream, query: StepQuery, wanted: Mapping[str, Any]) -> Place:
    found = _matches(stream, wanted)
    if not found:
        raise _no_such(stream, wanted)
    if len(found) > 1:
        flag = "--env" if query.env is None and stream.roles.get("env") else "--episode"
        rows = ", ".join(f"{row:,}" for _, row in found[:4])
        raise UsageError(
            f"{len(found):,} rows are {_described(wanted)}: {rows}{', …' if len(found) > 4 else ''}",
            hint=f"pass `{flag}` as well, or `--row`",
        )
    file, row = found[0]
    return Place(file, stream.plan.paths[file], row, key=_given(wanted))


def _no_such(stream: SummarisedStream, wanted: Mapping[str, Any]) -> DataError:
    return DataError(
        f"no row of `{stream.plan.paths[0]}` is {_described(wanted)}",
        hint="`gae inspect --episodes` lists the episodes",
    )


def _described(wanted: Mapping[str, Any]) -> str:
    return ", ".join(f"{role} {value}" for role, value in _given(wanted).items())


def _given(wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {role: value for role, value in wanted.items() if value is not None}


def _matches(stream: SummarisedStream, wanted: Mapping[str, Any]) -> list[tuple[int, int]]:
    """(file, row) of every row whose ids are those, compared as text."""
    found = []
    wanted = {role: _whole(stream, role, str(text)) for role, text in _given(wanted).items()}
    for index, opened in enumerate(stream.files):
        names = {role: _column_of(opened.file, opened.layout.key_roles, role) for role in _given(wanted)}
        for start, columns in _cells(opened, list(names.values())):
            is_it: BoolArray | None = None
            for role, name in names.items():
                here = equals(columns[name], wanted[role])
                is_it = here if is_it is None else is_it & here
            if is_it is not None:
                found += [(index, start + row) for row in np.flatnonzero(is_it).tolist()]
    return found


def _whole(stream: SummarisedStream, role: str, text: str) -> str:
    """An id that a listing has cut in its middle. `UsageError` where several are cut so."""
    cut = next((mark for mark in CUTS if mark in text), None)
    if cut is None:
        return text
    head, _, tail = text.partition(cut)
    found: set[str] = set()
    for opened in stream.files:
        name = _column_of(opened.file, opened.layout.key_roles, role)
        for _, columns in _cells(opened, [name]):
            labels = map(str, columns[name].as_ids().categories or ())
            found |= {one for one in labels if one.startswith(head) and one.endswith(tail)}
    if text in found or not found:
        return text
    if len(found) > 1:
        listed = ", ".join(f"`{one}`" for one in sorted(found)[:_MOST_NAMED])
        raise UsageError(
            f"{len(found):,} ids read {text}: {listed}", hint="pass one of them whole, or `--row`"
        )
    return found.pop()


def _column_of(file: RolloutFile, roles: Roles, role: str) -> str:
    name = roles.get(role)
    if name is None:
        raise UsageError(
            f"`{file.path}` has no {role} column", hint=f"name it with `--{role}-column`, or pass `--row N`"
        )
    return name


def equals(column: Column, text: str) -> BoolArray:
    """[n] whether the cell reads as `text`: `17` is 17, and `17.0` where the column holds floats.

    So is a moment, a span or a decimal, however it is written.
    """
    names = {text} if column.coded is None else spellings(text)
    column = column.as_ids()
    values = column.values
    if column.categories is not None:
        codes = [code for code, label in enumerate(column.categories) if str(label) in names]
        is_it = np.isin(values, codes)
    else:
        try:
            is_it = values == values.dtype.type(text)
        except (ValueError, TypeError, OverflowError):
            is_it = np.zeros(len(values), np.bool_)
    result: BoolArray = is_it if column.is_null is None else is_it & ~column.is_null
    return result


def _cells(opened: OpenFile, names: list[str]) -> Iterator[tuple[int, Mapping[str, Column]]]:
    """(first row, columns with a cell per row) of all blocks. Arrays may have one more, or one for all."""
    layout, file = opened.layout, opened.file
    if file.structure != "arrays":
        yield from ((start, columns) for start, _, columns in _blocks(file, names))
        return
    for unit in file.units(ROWS_AT_A_TIME, layout.roles.names["reward"]):
        for start, _, columns in file.blocks(unit, layout.row_columns, ROWS_AT_A_TIME):
            yield start, layout.cells(start, columns)


def _blocks(
    file: RolloutFile, names: list[str], around: int | None = None
) -> Iterator[tuple[int, int, dict[str, Column]]]:
    """`around`: only of the unit with this row."""
    for unit in file.units(ROWS_AT_A_TIME, names[0]):
        if around is None or unit.start <= around < unit.stop:
            yield from file.blocks(unit, list(dict.fromkeys(names)), ROWS_AT_A_TIME)
