"""What a rule is: a function that looks at a piece of the data, and a row that says what that means.

The function returns evidence. Evidence of one rule merges from piece to piece, in the order of the
data, and is weighed once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray
from gaecli.checks.past import Past
from gaecli.columns import Roles
from gaecli.diagnosis import RuleInfo, Severity
from gaecli.errors import GaeError
from gaecli.formats.base import Column, RolloutFile
from gaecli.layout_kinds import LayoutKind
from gaecli.layouts.flag_columns import FlagColumns
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.summary import WarningNote

#: What a rule is shown: cells of a block as stored, steps in the order of time, a file, or all inputs; what
#: `compute` found in a stream, or between one stream and the next; the groups of responses of all inputs.
Scope = Literal["cells", "steps", "file", "inputs", "run", "between", "groups"]


class Observation(Protocol):
    def merge(self, later: Any) -> Any: ...

    def weigh(self) -> Hits | None:
        """What is wrong, if anything is."""


@dataclass(frozen=True)
class Hits:
    """So many places, and the first of them. As evidence: any one is enough."""

    #: 0 where it is no number of things.
    count: int
    message: str
    row: int | None = None
    place: str | None = None
    file: str | None = None
    fix: str | None = None
    unit: str = "row"

    def merge(self, later: Hits) -> Hits:
        # What a block finds of the last step of the one before may be the first of that.
        is_first = self.file == later.file and None not in (self.row, later.row) and later.row < self.row  # type: ignore[operator]
        return replace(later if is_first else self, count=self.count + later.count)

    def weigh(self) -> Hits | None:
        return self


@dataclass(frozen=True)
class Context:
    """What the rules know of the file beside its data."""

    file: RolloutFile
    roles: Roles
    settings: Settings
    flags: FlagColumns
    layout: LayoutKind

    @property
    def path(self) -> Path:
        return self.file.path

    def name(self, role: str) -> str:
        return self.roles.names[role]

    @property
    def ends(self) -> str:
        """The flag columns, as a message names them."""
        return " or ".join(f"`{name}`" for name in self.flags.names) or "no flag"


@dataclass(frozen=True, eq=False)
class CellBlock:
    """The cells of the columns of a block, as stored."""

    context: Context
    start: int
    columns: Mapping[str, Column]
    num_rows: int

    def place(self, column: Column, index: int) -> tuple[int, str]:
        """(row, where that is) of a cell."""
        if column.offsets is not None:
            row = int(np.searchsorted(column.offsets, index, side="right")) - 1
            return self.start + row, f"row {self.start + row}, item {index - int(column.offsets[row])}"
        if column.values.ndim > 1:
            row = self.start + index
            return row, str([int(part) for part in np.divmod(row, column.values.shape[1])])
        return self.start + index, self._row_label(index)

    def _row_label(self, index: int) -> str:
        return row_label(self.context, self.columns, self.start, index, self.num_rows)

    def hits(self, column: Column, where: BoolArray, message: Callable[[int], str]) -> Hits | None:
        """One hit per cell that `where` marks."""
        flat = where.reshape(-1)
        if not flat.any():
            return None
        first = int(np.argmax(flat))
        row, place = self.place(column, first)
        return Hits(int(np.count_nonzero(flat)), message(first), row, place, str(self.context.path))


def row_label(context: Context, columns: Mapping[str, Column], start: int, index: int, num_rows: int) -> str:
    """`row 48213 (episode 17, step 212)`, as far as the columns of the block tell."""
    known = []
    for role in ("episode", "step"):
        column = columns.get(context.roles.get(role) or "")
        if column is not None and column.values.shape == (num_rows,) and 0 <= index < num_rows:
            known.append(f"{role} {column.label(index)}")
    return f"row {start + index}" + (f" ({', '.join(known)})" if known else "")


@dataclass(frozen=True, eq=False)
class Window:
    """Steps of a block in the order of time, lane after lane. [N] each.

    Where a lane goes on from the block before, its last step there comes first once more: `is_new`
    is False for it. So each step, and each pair of neighbours, is new exactly once.
    """

    context: Context
    rewards: Array
    values: Array
    #: NaN where not given, and where the step is terminal.
    next_values: Array
    terminated: BoolArray
    truncated: BoolArray
    #: The step before is the one before in time.
    in_lane: BoolArray
    #: The step before has the same id, whatever the flags say.
    follows: BoolArray
    is_new: BoolArray
    #: Cells that cannot be used are in this trajectory.
    is_bad: BoolArray
    #: The end of this step becomes known here.
    end_is_new: BoolArray
    #: The trajectory of the step before goes on here, by ids and by flags; of a carried step the past knows.
    goes_on: BoolArray
    past: Past
    steps: Array | None
    #: The first step of a lane that nothing came before.
    lane_starts: BoolArray
    #: Lanes that may go on in a later block, and where each ends here.
    lanes: Sequence[tuple[Hashable, int]]
    #: Lanes that go on from the block before -> their carried step.
    heads: Mapping[Hashable, int]
    #: Carried steps -> (where that is, file).
    carried: Mapping[int, tuple[str, str]]
    has_ids: bool
    #: How many neighbours stood in the wrong order in the file, before they were sorted for this.
    num_unsorted: int
    first_unsorted: int | None
    #: Of steps their rows in the file, of the file of a carried one; and how a message calls a row of this one.
    rows_of: Callable[[IndexArray], IndexArray]
    place_of: Callable[[int], str]
    #: A mask says that this is no step, or none that counts. Of a carried step nothing.
    is_masked: BoolArray | None = None

    @property
    def has_values(self) -> bool:
        return "value" in self.context.roles.names

    @cached_property
    def ended(self) -> BoolArray:
        return self.terminated | self.truncated

    @cached_property
    def usable(self) -> BoolArray:
        return self.is_new & ~self.is_bad

    def hits(self, where: BoolArray, message: Callable[[int], str]) -> Hits | None:
        if not where.any():
            return None
        first, row = self._first(where)
        place, path = self.carried.get(first) or (self.place_of(row), str(self.context.path))
        return Hits(int(np.count_nonzero(where)), message(first), row, place, path)

    def _first(self, where: BoolArray) -> tuple[int, int]:
        """(step, row) of the first row that holds one of these, which is the first one of some lane."""
        hits = np.flatnonzero(where)
        begins = np.searchsorted(hits, [0, *(stop for _, stop in self.lanes)])
        firsts = hits[np.unique(begins[begins < len(hits)])]
        rows = self.rows_of(firsts)
        is_earlier = np.array([int(step) in self.carried for step in firsts.tolist()], np.bool_)
        index = int(np.lexsort((rows, ~is_earlier))[0])
        return int(firsts[index]), int(rows[index])


@dataclass(frozen=True)
class FirstLook:
    """What `compute` found when it looked at a stream before writing: why it refuses, or what it warns of."""

    path: Path
    error: GaeError | None = None
    notes: Sequence[WarningNote] = ()

    def told(self, code: str, unit: str = "row") -> Hits | None:
        """The warnings with this code, in the words of `compute`."""
        notes = [note for note in self.notes if note.code == code]
        if not notes:
            return None
        first = notes[0]
        message = "; ".join(note.message for note in notes)
        return Hits(
            sum(note.count for note in notes),
            message,
            file=first.file or str(self.path),
            fix=first.hint,
            unit=unit,
        )


@dataclass(frozen=True)
class CheckRule:
    """A row of the table."""

    code: str
    name: str
    severity: Severity
    scope: Scope
    find: Callable[[Any], Observation | None]
    #: What it finds, in one line.
    summary: str
    #: Why that matters.
    why: str
    #: The flag, or the change to the file, that mends it.
    fix: str
    bugs: tuple[str, ...] = ()
    #: Rules that already say it: where one of these is broken, this one says nothing.
    unless: tuple[str, ...] = ()

    @property
    def info(self) -> RuleInfo:
        return RuleInfo(self.code, self.name, self.severity, self.summary, self.why, self.bugs, self.fix)
