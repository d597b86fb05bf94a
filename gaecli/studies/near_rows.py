"""The rows near one step that its number rests on, where it is sure without a look at the numbers of the others.

That is so in a long table whose trajectories stand together, in which no rule needs all rows: the number of a step is
made of those from it to the end of its trajectory. Of all other rows the ids alone are looked at, which say that the
trajectory is nowhere else, and not even those where the statistics of a row group say so. What there is to refuse or
to warn of in those rows is for `compute` and `check`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from gaecli.array_types import IndexArray
from gaecli.engines.threads import Threads
from gaecli.errors import GaeError
from gaecli.estimators.ends_only import for_ends_only
from gaecli.explanation import RowsSeen
from gaecli.formats.base import Unit
from gaecli.formats.kept import KeptFile, Room
from gaecli.layouts.flag_columns import flag_columns
from gaecli.layouts.row_order import NeedsKeys, NeedsWholeStream
from gaecli.layouts.steps import steps_of
from gaecli.pipeline.opening import OpenFile, OpenStream
from gaecli.records import dataclass
from gaecli.studies.locate import ROWS_AT_A_TIME, Place, StepQuery, equals, locate
from gaecli.studies.reading import (
    SettledStream,
    needs_all_rows,
    numbers_around,
    plain_estimator,
    read_for_ends,
)
from gaecli.studies.tail import Tail, tail_from

#: Of the memory limit, for the columns of rows that are gone over several times.
_KEPT_SHARE = 0.2
#: Under these, or beside a step column without ids, rows elsewhere may say which steps there are.
_FAR_REACHING = ("mask", "padding")


@dataclass(frozen=True, eq=False)
class FoundTail:
    """The steps that a number is made of, and what was read for them."""

    reading: SettledStream
    place: Place
    tail: Tail
    #: None: all rows.
    seen: RowsSeen | None = None


def near_tail(opened: OpenStream, query: StepQuery, threads: Threads) -> FoundTail | None:
    """Of the step in a row, from its own unit on; None: all rows have to be looked at."""
    if query.row is None or query.step is not None or not _may_be_near(opened):
        return None
    units = opened.files[0].units
    first = _unit_of(units, query.row)
    if first is None:
        return None
    # The rows at hand are gone over for their ends, for the numbers, and for what they are called.
    room = Room(int(opened.memory_bytes * _KEPT_SHARE))
    whole = replace(opened.files[0], file=KeptFile(opened.files[0].file, room))
    for count in _doubled(len(units) - first):
        chosen = units[first : first + count]
        if len(chosen) == len(units):
            return None
        file = replace(whole, units=chosen)
        try:
            found = _read(replace(opened, files=[file], warnings=list(opened.warnings)), query, threads)
        except (GaeError, NeedsKeys, NeedsWholeStream):
            return None  # all rows together may say something else
        if found.reading.stream.opened.row_order != opened.row_order or len(
            found.reading.stream.warnings
        ) > len(opened.warnings):
            return None
        if not _ends_here(found.tail, whole, chosen[-1], is_last=chosen[-1] == units[-1]):
            continue
        if _is_elsewhere(whole, query.row, chosen, opened.rows_per_block):
            return None
        return replace(found, seen=RowsSeen(chosen[0].start, chosen[-1].stop - 1, units[-1].stop))
    return None


def _may_be_near(opened: OpenStream) -> bool:
    settings, roles, layout = opened.settings, opened.roles, opened.files[0].layout
    estimator = plain_estimator(settings)
    has_ids = bool(roles.get("episode") or roles.key_parts)
    return (
        len(opened.files) == 1
        and len(opened.files[0].units) > 1
        and opened.layout.row_is == "step"
        and layout.frame is None
        and opened.files[0].file.structure != "arrays"
        and not needs_all_rows(settings)
        and for_ends_only(estimator) is not estimator
        and settings.success_column is None
        and not any(roles.get(role) for role in _FAR_REACHING)
        and (has_ids or not (roles.get("step") or roles.clock))
        # Which row follows that tells of the end, depends on whether any id comes back.
        and not (has_ids and flag_columns(roles, settings).done_at == "start")
    )


def _unit_of(units: Sequence[Unit], row: int) -> int | None:
    return next((index for index, unit in enumerate(units) if unit.start <= row < unit.stop), None)


def _doubled(most: int) -> Iterator[int]:
    count = 1
    while count < most:
        yield count
        count *= 2
    yield most


def _read(opened: OpenStream, query: StepQuery, threads: Threads) -> FoundTail:
    reading = read_for_ends(opened, threads)
    place = locate(reading.stream, query)
    reading = numbers_around(reading, place.file, place.row, threads, is_whole=False)
    return FoundTail(reading, place, tail_from(reading, place))


def _ends_here(tail: Tail, opened: OpenFile, last: Unit, *, is_last: bool) -> bool:
    """And not because the rows end that were read."""
    if is_last or tail.end != "open":
        return True
    is_one_lane = opened.layout.roles.get("env") is None
    return is_one_lane and tail.last_row < last.stop - 1


def _is_elsewhere(opened: OpenFile, row: int, chosen: Sequence[Unit], block_rows: int) -> bool:
    """Rows that are not at hand have the ids of this one, and do not lead up to those that are.

    They lead up to them where they stand right before them, and their steps are earlier ones. Those at hand are read
    in blocks of `block_rows`.
    """
    roles, file = opened.layout.roles, opened.file
    ids = [name for name in (roles.get("episode"), *roles.key_parts) if name is not None]
    if not ids:
        return False
    env = roles.get("env")
    names = [*([env] if env is not None else []), *ids]
    labels = _labels_at(opened, names, row, block_rows)
    if labels is None:
        return True
    before: list[IndexArray] = []
    others = [unit for unit in opened.units if unit not in chosen]
    for unit in file.units_with(others, dict(zip(names, labels, strict=True))):
        for start, _, columns in file.blocks(unit, names, ROWS_AT_A_TIME):
            there = [equals(columns[name], label) for name, label in zip(names, labels, strict=True)]
            rows = start + np.flatnonzero(np.logical_and.reduce(there))
            if len(rows) and unit.start >= chosen[-1].stop:
                return True
            before.append(rows)
    leading = np.concatenate([np.zeros(0, np.int64), *before])
    if not len(leading):
        return False
    return len(leading) != chosen[0].start - int(leading[0]) or not _is_in_order(
        opened, int(leading[0]), chosen[0].start
    )


def _is_in_order(opened: OpenFile, first: int, stop: int) -> bool:
    """Whatever tells steps rises over the rows `first` to `stop`, which is the first one at hand."""
    roles = opened.layout.roles
    names = [*filter(None, [roles.get("step"), roles.clock]), *roles.alternates.get("step", ())]
    last: dict[str, Any] = {}
    for unit in opened.units if names else ():
        if unit.stop <= first or unit.start > stop:
            continue
        for start, _, columns in opened.file.blocks(unit, names, ROWS_AT_A_TIME):
            for name in names:
                column = columns[name]
                steps = steps_of(column) if column.is_null is None else None
                if steps is None:
                    return False
                numbers = steps.numbers[max(first - start, 0) : max(stop + 1 - start, 0)].tolist()
                known = [*last.get(name, []), *numbers]
                if any(later <= earlier for earlier, later in pairwise(known)):
                    return False
                last[name] = known[-1:]
    return True


def _labels_at(opened: OpenFile, names: Sequence[str], row: int, block_rows: int) -> list[str] | None:
    """As texts by which other rows are compared; None where that would not find the row itself."""
    for unit in opened.units:
        if unit.start <= row < unit.stop:
            for start, stop, columns in opened.file.blocks(unit, names, block_rows):
                if start <= row < stop:
                    labels = [str(columns[name].as_ids().label(row - start)) for name in names]
                    found = zip(names, labels, strict=True)
                    is_found = all(equals(columns[name], label)[row - start] for name, label in found)
                    return labels if is_found else None
    return None
