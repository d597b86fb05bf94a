"""What the derivation of an estimator's number is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from functools import cached_property

from gaecli.explanation import BootstrapSource, Cell, DerivationTable
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.studies.derivations.steps import RecursionSteps, steps_of
from gaecli.studies.final_numbers import Finisher
from gaecli.studies.locate import Place
from gaecli.studies.reading import SettledStream
from gaecli.studies.tail import Tail

#: A table has so many lines at most, whatever it is a table of.
MOST_LINES = 10_000


@dataclass(frozen=True, eq=False)
class Question:
    """One step of a stream, with the rest of its trajectory."""

    reading: SettledStream
    place: Place
    tail: Tail
    #: Keep so many lines of a table; None: all.
    top: int | None
    #: What becomes of the numbers of the stream, where they are compared with one another.
    finish: Finisher
    #: Those of one stream of rewards; None: those of the reading.
    of_stream: Settings | None = None
    #: What the recursion goes over where that is not the steps of the tail.
    over: RecursionSteps | None = None

    @property
    def settings(self) -> Settings:
        return self.reading.stream.settings if self.of_stream is None else self.of_stream

    @cached_property
    def steps(self) -> RecursionSteps:
        return steps_of(self.tail, self.settings) if self.over is None else self.over

    @property
    def rows(self) -> Sequence[int | None]:
        """Of the steps of the tail; items of lists have none of their own."""
        if self.tail.is_in_lists:
            return [None] * self.tail.num_steps
        return [int(row) for row in self.tail.rows]

    def table(
        self,
        title: str,
        lines: Sequence[Mapping[str, Cell]],
        total: float | None = None,
        *,
        by: str = "contribution",
    ) -> DerivationTable:
        """The lines, or the `top` ones by the size of what is called `by` and the marked one, in their order."""
        most = min(MOST_LINES, MOST_LINES if self.top is None else max(self.top, 0))
        if len(lines) <= most:
            return DerivationTable(title, lines, len(lines), total)

        def rank(index: int) -> tuple[bool, float]:
            line = lines[index]
            return not line.get("is_this"), -abs(float(line.get(by) or 0.0))

        largest = sorted(range(len(lines)), key=rank)
        return DerivationTable(title, [lines[index] for index in sorted(largest[:most])], len(lines), total)


@dataclass(frozen=True, eq=False)
class Derived:
    """As in a `Derivation`: numbers before any normalisation."""

    computed: float
    tables: Sequence[DerivationTable]
    equation: str | None = None
    numbers: Mapping[str, float | int | None] = field(default_factory=dict)
    derived: float | None = None
    bootstrap: BootstrapSource | None = None
    bootstrap_value: float | None = None
    #: Of several streams the return of each, by output.
    returns: Mapping[str, float] = field(default_factory=dict)
    remarks: Sequence[str] = ()


#: None where the estimator's equation is another one under these settings.
Derive = Callable[[Question], Derived | None]
