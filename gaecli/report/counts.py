"""What is worth counting: steps, episodes and their ends; of scores no ends, and of responses no steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from gaecli.estimator_kinds import ESTIMATORS
from gaecli.report.charts import format_count
from gaecli.report.text import Canvas
from gaecli.summary import EpisodeCounts

if TYPE_CHECKING:
    from gaecli.inspection import FileInfo


class Counted(NamedTuple):
    """One of the numbers of `EpisodeCounts`."""

    field: str
    heading: str
    #: Where there is little room.
    short: str
    #: Of things; the others are properties.
    singular: str = ""

    def of(self, counts: EpisodeCounts | None, canvas: Canvas) -> str:
        found = None if counts is None else getattr(counts, self.field)
        return format_count(found, missing=canvas.glyphs.missing)

    def phrase(self, counts: EpisodeCounts) -> str:
        """`12 episodes`, `9 terminated`"""
        number = getattr(counts, self.field)
        return f"{number:,} {self.singular if self.singular and number == 1 else self.heading}"


_OF_STEPS = (
    Counted("steps", "steps", "steps", "step"),
    Counted("episodes", "episodes", "episodes", "episode"),
    Counted("terminated", "terminated", "term."),
    Counted("truncated", "truncated", "trunc."),
    Counted("open", "open", "open"),
)
_OF_SCORES = (
    Counted("steps", "steps", "steps", "step"),
    Counted("episodes", "trajectories", "traj.", "trajectory"),
)
_OF_RESPONSES = (Counted("episodes", "responses", "responses", "response"),)


def compares_scores(estimator: object) -> bool:
    """Of trajectories as a whole: nothing is bootstrapped at their ends, whatever these are."""
    kind = ESTIMATORS.get(str(estimator))
    return kind is not None and kind.is_scored


def estimator_of(info: FileInfo) -> object:
    """That of the run that `gae inspect` foresees, or that a log of responses takes."""
    if info.log is not None and info.problem is not None:
        return "grpo"
    return None if info.plan is None else info.plan.settings.get("estimator")


def are_responses(layouts: Iterable[str | None]) -> bool:
    """Those of files; None where one is not known."""
    return {layout for layout in layouts if layout is not None} == {"responses"}


def all_responses(infos: Iterable[FileInfo]) -> bool:
    return are_responses(info.layout for info in infos)


def what_counts(estimator: object, layouts: Iterable[str | None]) -> tuple[Counted, ...]:
    if are_responses(layouts):
        return _OF_RESPONSES
    return _OF_SCORES if compares_scores(estimator) else _OF_STEPS
