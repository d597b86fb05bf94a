"""Rules about the order of rows: what is missing, what is there twice, what stands elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from gaecli.array_types import Array, BoolArray
from gaecli.checks.base import CheckRule, Hits, Window
from gaecli.records import dataclass

#: Different distances between neighbouring steps that are told apart; a file has one or two.
_MOST_STRIDES = 64


@dataclass(frozen=True)
class _Strides:
    """Distances between neighbours of a trajectory -> how often, and where first."""

    found: Mapping[int, Hits]

    def merge(self, later: _Strides) -> _Strides:
        found = dict(self.found)
        for distance, hits in later.found.items():
            if distance in found:
                found[distance] = found[distance].merge(hits)
            elif len(found) < _MOST_STRIDES:
                found[distance] = hits
        return _Strides(found)

    def weigh(self) -> Hits | None:
        """Anything above the usual distance."""
        if not self.found:
            return None
        usual = max(self.found, key=lambda distance: self.found[distance].count)
        wider = [hits for distance, hits in self.found.items() if distance > usual]
        if not wider:
            return None
        first = min(wider, key=lambda hits: hits.row or 0)
        message = f"{first.message}, {usual} apart elsewhere"
        return replace(first, count=sum(hits.count for hits in wider), message=message)


def missing_steps(window: Window) -> _Strides | None:
    """The step column skips numbers inside a trajectory."""
    if window.steps is None or not _counts(window):
        return None
    name, steps = window.context.name("step"), window.steps
    pairs = window.goes_on & window.is_new
    distances = np.diff(steps, prepend=steps[:1])
    seen, counts = np.unique(distances[pairs], return_counts=True)
    found = {}
    for distance in seen[np.argsort(-counts)][:_MOST_STRIDES].tolist():
        hits = window.hits(pairs & (distances == distance), _jump(name, steps))
        if distance > 0 and hits is not None:
            found[distance] = hits
    return _Strides(found)


def duplicated_steps(window: Window) -> Hits | None:
    """The same step number twice in one trajectory."""
    if window.steps is None or not _counts(window):
        return None
    name, steps = window.context.name("step"), window.steps
    return window.hits(
        _pairs(window, lambda now, before: now == before),
        lambda step: f"`{name}` is {steps[step]} twice in one episode",
    )


def unsorted_rows(window: Window) -> Hits | None:
    """Rows of one id are not in the order of their steps."""
    roles = window.context.roles
    if window.num_unsorted:
        message = f"`{roles.get('step') or roles.clock}` falls within an episode"
        row = window.first_unsorted
        return Hits(window.num_unsorted, message, row, f"row {row}", str(window.context.path))
    if window.steps is None or not window.has_ids:
        return None
    name = window.context.name("step")
    return window.hits(
        _pairs(window, lambda now, before: now < before), lambda step: f"`{name}` falls within an episode"
    )


def reset_without_flag(window: Window) -> Hits | None:
    """The step counter begins again, and nothing says that an episode ended."""
    if window.steps is None or window.has_ids:
        return None
    name, steps = window.context.name("step"), window.steps
    return window.hits(_pairs(window, lambda now, before: now < before), _jump(name, steps))


def _counts(window: Window) -> bool:
    """Steps that only order may be apart by anything, and the same."""
    return window.steps is not None and window.steps.dtype.kind == "i"


def _pairs(window: Window, differs: Callable[[Array, Array], Array]) -> BoolArray:
    """New steps that go on from the step before, and of which `differs(step, step before)` holds."""
    assert window.steps is not None
    where = window.goes_on & window.is_new
    where[1:] &= differs(window.steps[1:], window.steps[:-1])
    return where


def _jump(name: str, steps: Array) -> Callable[[int], str]:
    return lambda step: f"`{name}` goes from {steps[step - 1]} to {steps[step]}"


RULES = (
    CheckRule(
        "GAE401",
        "duplicated-steps",
        "error",
        "steps",
        duplicated_steps,
        summary="a step is there twice in one episode",
        why="the repeated row counts its reward twice and pushes every earlier step one discount further away; "
        "RLlib writes the rows of earlier runs again, and merged logs overlap",
        fix="remove the repeated rows, or name what tells the streams apart with `--env-column` or "
        "`--episode-column`",
    ),
    CheckRule(
        "GAE402",
        "missing-steps",
        "error",
        "steps",
        missing_steps,
        summary="the step column skips numbers inside an episode",
        why="across a gap the value of a later state stands in for that of the next one, and the rewards between "
        "are lost",
        fix="restore the rows, or pass `--step-column none` if the column does not count steps",
    ),
    CheckRule(
        "GAE403",
        "unsorted-rows",
        "warning",
        "steps",
        unsorted_rows,
        summary="rows of an episode are not in the order of their steps",
        why="a tool that takes `the row below` for `the next step` computes with other states; gaecli sorts by the "
        "step column, which takes the file as a whole into memory",
        fix="sort the rows by episode and step",
        bugs=("Mikyx-1/Reinforcement-Learning#50",),
    ),
    CheckRule(
        "GAE404",
        "reset-without-flag",
        "error",
        "steps",
        reset_without_flag,
        summary="the step column begins again where no flag ends an episode",
        why="the environment was reset without saying so: values and rewards of the next episode flow into the "
        "one before",
        fix="name the end flag with `--done-column`, or what tells episodes apart with `--episode-column`",
        bugs=("Emerge-Lab/PufferDrive#207", "Emerge-Lab/PufferDrive#208"),
    ),
)
