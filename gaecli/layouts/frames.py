"""What the shape of an array says beside that of the rewards: a number per step, per state, per lane, per time."""

from __future__ import annotations

import math
from typing import Literal

from gaecli.records import dataclass

Shape = tuple[int, ...]

#: A number for each step; for each state, the one behind the last step included; for each lane; for each time,
#: the same in all lanes.
Form = Literal["steps", "states", "lanes", "times"]

#: The forms in which a role can be played. Where a shape has two of them, the first one counts.
FORMS: dict[str, tuple[Form, ...]] = {
    "reward": ("steps",),
    "next_value": ("steps",),
    "mask": ("steps", "lanes"),
    "unit": ("steps",),
    "bootstrap_value": ("lanes", "steps"),
    "final_done": ("lanes",),
    "group": ("steps", "lanes"),
    "episode": ("steps", "states", "lanes", "times"),
    "env": ("steps", "states", "lanes", "times"),
    "key part": ("steps", "states", "lanes", "times"),
    "step": ("steps", "states", "times", "lanes"),
}
#: Values and flags.
_OF_STATES: tuple[Form, ...] = ("steps", "states")


@dataclass(frozen=True)
class Frame:
    """The rectangle of the rewards: T times, and lanes that may have more than one axis ([T, N, agents])."""

    num_times: int
    lane_shape: Shape
    is_time_major: bool

    @property
    def num_lanes(self) -> int:
        return math.prod(self.lane_shape)

    @property
    def num_cells(self) -> int:
        return self.num_times * self.num_lanes

    def with_times(self, num_times: int) -> Shape:
        return (num_times, *self.lane_shape) if self.is_time_major else (*self.lane_shape, num_times)

    @property
    def flat_shape(self) -> tuple[int, int]:
        """Rows and columns, the lanes as one axis."""
        return (self.num_times, self.num_lanes) if self.is_time_major else (self.num_lanes, self.num_times)

    def place_of(self, cell: int) -> dict[str, int]:
        """The indices of a cell, counted row by row."""
        names = ("time", "env") if self.is_time_major else ("row", "step")
        return dict(zip(names, divmod(cell, self.flat_shape[1]), strict=True))

    def cell_of(self, *, time: int, lane: int) -> int:
        first, second = (time, lane) if self.is_time_major else (lane, time)
        return first * self.flat_shape[1] + second

    def form(self, shape: Shape, role: str) -> Form | None:
        """What an array of this shape is in a role; None if it cannot play it."""
        fitting = self._forms(shape)
        if role in ("episode", "env", "key part", "step") and len(fitting & {"lanes", "times"}) == 2:
            fitting -= self._excluded(shape)
        return next((form for form in forms_of(role) if form in fitting), None)

    def _forms(self, shape: Shape) -> set[Form]:
        """Axes of length 1 say nothing: [T, N, 1] is [T, N]."""
        shapes: dict[Form, Shape] = {
            "steps": self.with_times(self.num_times),
            "states": self.with_times(self.num_times + 1),
            "lanes": self.lane_shape,
            "times": (self.num_times,),
        }
        found = {form for form, axes in shapes.items() if core(axes) == core(shape)}
        return found | {"lanes"} if core(shape) == core((self.num_lanes,)) else found

    def _excluded(self, shape: Shape) -> set[Form]:
        """As many lanes as times: two axes say which it is, one says nothing."""
        if "steps" in self._forms(shape):
            return set()
        if len(shape) != 2:
            return {"lanes", "times"}
        is_per_lane = shape[0 if self.is_time_major else 1] == 1
        return {"times"} if is_per_lane else {"lanes"}


@dataclass(frozen=True)
class FramePart:
    """The part of a frame that a block holds: all lanes at some times, or some lanes at all times."""

    frame: Frame
    first_time: int
    num_times: int
    first_lane: int
    num_lanes: int

    @classmethod
    def of(cls, frame: Frame, first_cell: int, num_cells: int) -> FramePart:
        if frame.num_lanes == 1:
            return cls(frame, first_cell, num_cells, 0, 1)
        if frame.num_times == 1:
            return cls(frame, 0, 1, first_cell, num_cells)
        if frame.is_time_major:
            return cls(frame, first_cell // frame.num_lanes, num_cells // frame.num_lanes, 0, frame.num_lanes)
        return cls(frame, 0, frame.num_times, first_cell // frame.num_times, num_cells // frame.num_times)

    @property
    def time_axis(self) -> int:
        return 0 if self.frame.is_time_major else 1

    @property
    def shape(self) -> tuple[int, int]:
        return self.with_times(self.num_times)

    @property
    def reaches_the_end(self) -> bool:
        """Its lanes end where the arrays do."""
        return self.first_time + self.num_times == self.frame.num_times

    def with_times(self, num_times: int) -> tuple[int, int]:
        return (num_times, self.num_lanes) if self.frame.is_time_major else (self.num_lanes, num_times)

    def index(self, row: int) -> tuple[int, int]:
        """The index in the whole array of a cell of this block."""
        first, second = divmod(row, self.shape[1])
        if self.frame.is_time_major:
            return self.first_time + first, self.first_lane + second
        return self.first_lane + first, self.first_time + second


def forms_of(role: str) -> tuple[Form, ...]:
    return FORMS.get(role, _OF_STATES)


def core(shape: Shape) -> Shape:
    """The axes that say something."""
    return tuple(axis for axis in shape if axis != 1)
