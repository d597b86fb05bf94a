"""The arrays of a file as columns with a number per step, whatever their shapes.

Each has a form (`Frame`) that its role allows. What stands behind the last step of a lane is kept apart: the
last of T + 1 values, `last_value`, `last_dones`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray
from gaecli.columns import Roles, flag_of, mask_may_count
from gaecli.errors import DataError, UsageError
from gaecli.formats.base import Column, RolloutFile
from gaecli.layouts.behind import NOTHING_BEHIND, Behind
from gaecli.layouts.flag_columns import FlagColumns
from gaecli.layouts.frames import Form, Frame, FramePart, forms_of
from gaecli.layouts.longer import split_off_first, split_off_last
from gaecli.records import dataclass
from gaecli.settings import Settings

#: Ids of trajectories: in lanes that they name as a whole they are labels.
ID_ROLES = ("episode", "env", "key part")


@dataclass(frozen=True, eq=False)
class ArrayTable:
    """A block with a number per row in every column."""

    columns: Mapping[str, Column]
    #: Column -> [lanes] what it has of each lane as a whole.
    labels: Mapping[str, Column] = field(default_factory=dict)
    behind: Behind = NOTHING_BEHIND
    #: Of arrays: which part of them.
    piece: FramePart | None = None

    def changes_behind(self, ids: Iterable[str | None]) -> BoolArray:
        """[lanes] the state behind the last step is of another trajectory, by an id of states."""
        changes = np.zeros(len(self.behind.rows), np.bool_)
        for name in ids:
            if name in self.behind.columns and name not in self.labels:
                assert name is not None
                changes |= self.behind.columns[name].values != self.columns[name].values[self.behind.rows]
        return changes

    def with_labels(self, names: Iterable[str | None]) -> ArrayTable:
        """Labels of lanes repeated in every row."""
        if self.piece is None:
            return self
        piece = self.piece
        repeated = {
            name: mapped(self.labels[name], lambda cells: _over_times(cells, piece))
            for name in names
            if name is not None and name in self.labels
        }
        return replace(self, columns={**self.columns, **repeated})


class ArrayColumns:
    """Which arrays of a file are used, and in which form."""

    def __init__(
        self,
        file: RolloutFile,
        roles: Roles,
        flags: FlagColumns,
        frame: Frame,
        beside: Sequence[str],
    ) -> None:
        self.frame = frame
        self._file = file
        self._flags = flags
        self._reward = roles.names["reward"]
        self._has_own_mask = "mask" in roles.by_preset
        self._has_counts = frame.lane_shape != () and mask_may_count(file, roles)
        self._forms: dict[str, Form] = {}
        alternates = {role: names for role, names in roles.alternates.items() if role in roles.names}
        for role, name in roles.names.items():
            for each in (name, *alternates.get(role, ())):
                self._forms[each] = self._form(each, role)
        for name in roles.key_parts:
            self._forms[name] = self._form(name, "key part")
        for name in beside:
            self._forms.setdefault(name, self._form(name, "group"))

    @property
    def row_columns(self) -> tuple[str, ...]:
        return tuple(name for name in self._forms if self._is_by_rows(name))

    def takes(self, name: str | None) -> bool:
        """Whether an array that plays no role is of each step; if it is, it comes along."""
        info = self._file.find(name) if name is not None else None
        if name is None or info is None or self.frame.form(info.shape, "reward") is None:
            return False
        return self._forms.setdefault(name, "steps") == "steps"

    def form(self, name: str) -> Form:
        return self._forms[name]

    def told(self, flags: FlagColumns, settings: Settings) -> FlagColumns:
        """The flags as the columns have them: one of states comes as what it says of the step before."""
        done = [name for name in (flags.done, flags.not_done) if name is not None]
        of_states = [name for name in done if self._forms[name] == "states"]
        if not of_states:
            return flags
        longer = f"`{of_states[0]}` of `{self._file.path}` has one entry more than there are rewards"
        if settings.done_at == "end":
            raise UsageError(
                f"{longer}, so that entry t + 1 speaks of step t",
                hint="drop `--done-at end`; or drop its last entry, if it speaks of the step that it stands beside",
            )
        if len(of_states) < len(done) and flags.done_at == "start":
            others = ", ".join(f"`{name}`" for name in done if name not in of_states)
            raise UsageError(
                f"{longer}, and {others} has not, so that they speak of steps in two ways",
                hint=f"leave one of them out, for example with `{flags.flag_of(of_states[0])} none`",
            )
        return replace(flags, done_at="end")

    def table(self, start: int, columns: Mapping[str, Column]) -> ArrayTable:
        """A block of the arrays: `start` is its first cell."""
        piece = FramePart.of(self.frame, start, columns[self._reward].values.size)
        per_row, labels, behind = {}, {}, {}
        for name, form in self._forms.items():
            # A column that is read for another purpose may be here too, and not whole.
            column = columns[name] if self._is_by_rows(name) else self._whole[name]
            if form == "lanes":
                labels[name] = mapped(column, lambda cells: _part(cells, piece))
            elif form == "times":
                per_row[name] = mapped(column, lambda cells: _over_lanes(cells, piece))
            elif form == "steps":
                per_row[name] = mapped(column, lambda cells: cells.reshape(-1))
            else:
                states = mapped(column, lambda cells: _states(cells, piece))
                per_row[name] = mapped(states, self._of_steps(name, piece))
                behind[name] = mapped(states, lambda cells: _behind(cells, piece))
        if not piece.reaches_the_end:
            return ArrayTable(per_row, labels, piece=piece)
        return ArrayTable(per_row, labels, Behind(_last_rows(piece), {**behind, **labels}), piece)

    @cached_property
    def _whole(self) -> dict[str, Column]:
        """Arrays that are not read row by row with the rewards. They are small, and every block needs them."""
        return {name: self._file.read_whole(name) for name in self._forms if name not in self.row_columns}

    def _of_steps(self, name: str, piece: FramePart) -> Callable[[Array], Array]:
        """A flag of a state speaks of the step that led to it."""
        if name in self._flags.names:
            return lambda cells: split_off_first(cells, piece.num_times, piece.time_axis).reshape(-1)
        return lambda cells: split_off_last(cells, piece.num_times, piece.time_axis)[0].reshape(-1)

    def _is_by_rows(self, name: str) -> bool:
        """Its rows are those of the rewards, so that it can be read with them."""
        frame, form = self.frame, self._forms[name]
        if form == "steps":
            return True
        if form == "states":  # of one time, those of all lanes stand in two rows
            return frame.num_times > 1 or frame.num_lanes == 1 or not frame.is_time_major
        return form == "times" and frame.is_time_major and frame.num_times > 1

    def _form(self, name: str, role: str) -> Form:
        info = self._file.find(name)
        assert info is not None
        form = self.frame.form(info.shape, role)
        if form == "lanes" and role == "mask" and not self._has_counts:
            form = None
        if form is None and role == "mask" and self._has_own_mask:
            form = self.frame.form(info.shape, "value")  # of each state that a step begins in
        if form is None and role in (*ID_ROLES, "step") and math.prod(info.shape) == 1:
            return "lanes"  # one for all of them
        if form is None:
            raise self._unfitting(name, role)
        return form

    def _unfitting(self, name: str, role: str) -> DataError:
        info, reward = self._file.find(name), self._file.find(self._reward)
        assert info is not None
        assert reward is not None
        expected = ", or ".join(_described(form, self.frame) for form in forms_of(role))
        option = "`--normalize-by`" if role == "group" else f"`{flag_of(role)}`"
        way_out = f"name another one with {option}"
        if role not in ("reward", "value", "group", "key part"):
            way_out += f", or pass `{flag_of(role)} none` to do without"
        return DataError(
            f"`{name}` of `{self._file.path}` has shape {info.shape}, but `{reward.name}` has {reward.shape}: "
            f"expected {expected}",
            hint=f"arrays of one rollout must have the same length; {way_out}",
        )


def _described(form: Form, frame: Frame) -> str:
    if form == "steps":
        return f"{frame.with_times(frame.num_times)}"
    if form == "states":
        return f"{frame.with_times(frame.num_times + 1)} with one for the state behind the last step"
    count = frame.num_lanes if form == "lanes" else frame.num_times
    what = "number" if count == 1 else "numbers"
    return f"{count:,} {what}, one per {'lane' if form == 'lanes' else 'time'}"


def mapped(column: Column, change: Callable[[Array], Array]) -> Column:
    is_null = None if column.is_null is None else change(column.is_null)
    coded = column.coded
    return Column(
        change(column.values),
        is_null,
        categories=column.categories,
        coded=None if coded is None else lambda: mapped(coded(), change),
    )


def _part(cells: Array, piece: FramePart) -> Array:
    """[lanes] of this piece."""
    if cells.size == 1:
        return np.repeat(cells.reshape(-1), piece.num_lanes)
    return cells.reshape(-1)[piece.first_lane : piece.first_lane + piece.num_lanes]


def _over_times(cells: Array, piece: FramePart) -> Array:
    """A number per lane, at all times."""
    row = cells.reshape((1, -1) if piece.frame.is_time_major else (-1, 1))
    return np.broadcast_to(row, piece.shape).reshape(-1)


def _over_lanes(cells: Array, piece: FramePart) -> Array:
    """A number per time, in all lanes."""
    column = cells.reshape((-1, 1) if piece.frame.is_time_major else (1, -1))
    return np.broadcast_to(column, piece.shape).reshape(-1)


def _states(cells: Array, piece: FramePart) -> Array:
    if piece.frame.is_time_major and piece.frame.num_times == 1:  # all lanes, whichever the piece has
        return cells.reshape(2, -1)[:, piece.first_lane : piece.first_lane + piece.num_lanes]
    return cells.reshape(piece.with_times(piece.num_times + 1))


def _behind(cells: Array, piece: FramePart) -> Array:
    _, behind = split_off_last(cells, piece.num_times, piece.time_axis)
    assert behind is not None
    return behind


def _last_rows(piece: FramePart) -> IndexArray:
    lanes = np.arange(piece.num_lanes, dtype=np.int64)
    if piece.frame.is_time_major:
        return (piece.num_times - 1) * piece.num_lanes + lanes
    return lanes * piece.num_times + piece.num_times - 1
