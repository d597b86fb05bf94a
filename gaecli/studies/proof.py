"""What a search has found on a part of the trajectories, held against every row in one walk over the stream.

A row is an equation in its own cells and those of the row after it. So the last two steps of each lane whose
trajectory goes on wait until the block comes that has the next ones: the last for its equation, and the one before
for whether it is off by itself or because of the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import field, replace

import numpy as np

from gaecli.array_types import BoolArray, FloatArray, IndexArray
from gaecli.decay_settings import with_decays
from gaecli.estimators.bootstrap import fill_bootstrap
from gaecli.estimators.gae_variants import following_values
from gaecli.moments import Moments
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.results import Attempt, Deviation
from gaecli.studies.asked import Asked
from gaecli.studies.candidates import Candidate
from gaecli.studies.column import Holds
from gaecli.studies.column_walk import ColumnWalk
from gaecli.studies.deviations import Deviations
from gaecli.studies.parts import Part, joined
from gaecli.studies.reading import settled_blocks, with_lane_ends
from gaecli.studies.readings import CandidateReading, Readings, as_read, largest_term, stream_of
from gaecli.studies.row_equations import ColumnEvidence
from gaecli.studies.trials import Trial, bound_of, decays_of, is_alike_to
from gaecli.summary import WarningNote

#: Of steps that no equation can be asked of it is kept how far off they are, of so many of them.
_MOST_ALONE = 1 << 20


@dataclass(eq=False)
class _RowTally:
    """What the rows say of one convention, block after block."""

    deviations: Deviations = field(default_factory=Deviations)
    num_rows: int = 0
    num_deviating: int = 0
    num_equations: int = 0
    cost: float = 0.0
    #: The largest residual, in units of the column.
    largest: float = 0.0
    #: Of steps that no equation can be asked of.
    alone: list[FloatArray] = field(default_factory=list)
    num_alone: int = 0

    def add(
        self, line: _ProofLine, part: Part, seen: _ColumnView, open_ends: IndexArray, counted: BoolArray
    ) -> None:
        theta, reading = line.trial.theta, seen.reading(line, part)
        assert theta is not None
        evidence = reading.gathered(open_ends)
        turn = counted[evidence.steps]
        residuals = np.abs(evidence.residuals(theta))
        ratios = residuals / evidence.tolerances(theta)
        strays = ratios > 1.0
        self.num_deviating += int(np.count_nonzero(strays & turn))
        self.num_equations += int(np.count_nonzero(turn))
        self.cost += float(np.minimum(ratios, 1e6)[turn].sum())
        self.largest = max(self.largest, float(residuals.max(initial=0.0)) / abs(theta.scale))
        self.deviations.add(reading, evidence, theta, strays, turn)
        self._add_alone(line, part, reading, evidence, open_ends, counted)

    def _add_alone(
        self,
        line: _ProofLine,
        part: Part,
        reading: CandidateReading,
        evidence: ColumnEvidence,
        open_ends: IndexArray,
        counted: BoolArray,
    ) -> None:
        """Where the next row is masked, or has no number, the equation cannot be asked."""
        if len(evidence) + len(open_ends) >= part.num_steps:
            return
        alone = reading.held & counted
        alone[evidence.steps] = False
        alone[open_ends] = False
        if alone.any() and self.num_alone < _MOST_ALONE:
            self.alone.append(line.errors(part, reading)[alone])
            self.num_alone += len(self.alone[-1])


@dataclass(eq=False)
class _ProofLine:
    """Candidates that have read all blocks alike so far, under one fit."""

    trial: Trial
    members: list[Candidate]
    tally: _RowTally = field(default_factory=_RowTally)
    #: Steps that wait for those after them.
    waiting: Part | None = None

    @property
    def slope(self) -> float:
        return 1 / self.trial.attempt.scale

    @property
    def offset(self) -> float:
        return -self.trial.attempt.shift / self.trial.attempt.scale

    def errors(self, part: Part, reading: CandidateReading) -> FloatArray:
        """[N] how far off the column is, in its units."""
        found: FloatArray = np.abs(self.slope * part.computed + self.offset - reading.column)
        return found

    def branch(self, members: list[Candidate]) -> _ProofLine:
        return _ProofLine(self.trial, members, deepcopy(self.tally), self.waiting)


@dataclass(frozen=True, eq=False)
class _ColumnView:
    """How the column is looked at."""

    holds: Holds
    rounding: float

    def reading(self, line: _ProofLine, part: Part) -> CandidateReading:
        return CandidateReading(line.members[0], part, self.holds, self.rounding)


@dataclass(frozen=True, eq=False)
class Proof:
    """What became of each convention at all rows; the first is that of the trial that led the walk."""

    trials: Sequence[Trial]
    deviations: Sequence[Deviation]
    warnings: Sequence[WarningNote]
    #: Of the advantages that the leader makes, of what enters mean and standard deviation.
    moments: Moments
    #: Rows that hold the number that was asked for, and rows that hold any.
    num_constant: int


class Walk:
    """Over all rows, under the settings of one trial with the γ and λ that it has; others look on.

    Those are trials of candidates that take the file alike.
    """

    def __init__(
        self, asked: Asked, readings: Readings, trials: Sequence[Trial], constant: float | None = None
    ) -> None:
        self._asked, self._readings, self._constant = asked, readings, constant
        self._holds = holds = readings.holds
        self._seen = _ColumnView(holds, asked.against.rounding)
        self._leader = trials[0]
        self._gamma, self._lam = decays_of(self._leader.attempt, self._leader.candidate)
        settings = with_decays(self._leader.candidate.settings, self._gamma, self._lam)
        self._reading = stream_of(asked, settings)
        self._lines = [_ProofLine(trial, list(trial.members)) for trial in trials]
        self._num_steps = self._num_rows = self._num_missing = self._num_constant = 0
        self._largest_term = self._largest_error = self._squares = 0.0
        self._moments = Moments()

    def proof(self) -> Proof:
        for part, settled, carry in self._parts():
            self._look(part, settled, carry)
        off = self._num_beyond_bound() if self._leader.theta is None else 0
        first, *others = self._lines
        return Proof(
            [
                self._proven(first, off, is_leader=True),
                *(self._proven(line, 0, is_leader=False) for line in others),
            ],
            first.tally.deviations.result(),
            self._reading.stream.warnings,
            self._moments,
            self._num_constant,
        )

    @property
    def bound(self) -> float:
        """What the rounding of single steps can add up to along a sum, under the leader."""
        return self._bound(self._lines[0])

    def _bound(self, line: _ProofLine) -> float:
        gamma, lam = decays_of(line.trial.attempt, line.trial.candidate)
        return bound_of(
            self._seen.rounding, self._largest_term, self._num_steps, gamma * lam, line.slope, line.offset
        )

    def largest_errors(self, maps: Sequence[Callable[[FloatArray], FloatArray]]) -> list[float]:
        """By how much each map from the advantages is off from the column, at most; one more walk."""
        errors = [0.0] * len(maps)
        reading = _reader(self._lines[0], self._seen)

        for part, _, _ in self._parts():
            one = reading(part)
            held = one.held
            for index, made in enumerate(maps):
                off = np.abs(made(part.computed[held]) - one.column[held])
                errors[index] = max(errors[index], float(off.max(initial=0.0)))
        return errors

    def _num_beyond_bound(self) -> int:
        """Known only once the largest term is; nothing is, where the largest error is not."""
        bound, count = self.bound, 0
        if self._largest_error <= bound:
            return 0
        line, reading = self._lines[0], _reader(self._lines[0], self._seen)

        for part, _, _ in self._parts():
            one = reading(part)
            count += int(np.count_nonzero(line.errors(part, one)[one.held] > bound))
        return count

    def _parts(self) -> Iterator[tuple[Part, Settled, Carry]]:
        walk, settings = ColumnWalk(self._asked, self._reading, "read"), self._leader.candidate.settings
        for file, start, block, carry in settled_blocks(self._reading):
            part = walk.part(file, start, block, carry)
            if part.num_steps:
                filled = fill_bootstrap(part.block, settings.bootstrap, is_whole_stream=True)
                yield replace(part, block=filled, computed=self._computed(block, part)), block, carry
        walk.check_end()

    def _computed(self, settled: Settled, part: Part) -> FloatArray:
        """[N] the advantages; of returns, what they have beyond V."""
        if self._holds == "advantage" or not settled.has_own_returns:
            return settled.advantages.astype(np.float64)
        made: FloatArray = settled.returns.astype(np.float64) - part.block.values
        return made

    def _look(self, part: Part, settled: Settled, carry: Carry) -> None:
        first = self._seen.reading(self._lines[0], part)
        off = self._lines[0].errors(part, first)[first.held]
        self._num_steps += part.num_steps
        self._num_rows += len(off) + len(first.missing)
        self._num_missing += len(first.missing)
        self._largest_error = max(self._largest_error, float(off.max(initial=0.0)))
        self._squares += float(np.square(off).sum())
        self._note_size(part, settled)
        self._note_numbers(first, part, settled)
        if self._leader.theta is None:
            return
        for line in list(self._lines):
            for index, (own, members) in enumerate(self._readers(line, part, settled, carry)):
                if index:
                    self._lines.append(line.branch(members))
                else:
                    line.members = members
                _hold_against(self._lines[-1] if index else line, own, settled, carry, self._seen)

    def _note_size(self, part: Part, settled: Settled) -> None:
        settings = self._leader.candidate.settings
        others = [one.prepared for one in list(settled.streams.values())[1:]]
        self._largest_term = max(
            self._largest_term, largest_term([part.block, *others], settings, self._gamma)
        )

    def _note_numbers(self, first: CandidateReading, part: Part, settled: Settled) -> None:
        entering = settled.entering("steps")
        if self._leader.attempt.is_affine:
            counted = part.computed if entering is None else part.computed[entering]
            self._moments = self._moments.merge(Moments.of(counted))
        if self._constant is not None:
            numbers = (first.column + first.baseline)[first.held]
            alike = is_alike_to(numbers, self._constant, self._seen.rounding)
            self._num_constant += int(np.count_nonzero(alike))

    def _readers(
        self, line: _ProofLine, part: Part, settled: Settled, carry: Carry
    ) -> list[tuple[Part, list[Candidate]]]:
        """The block as the members of a line read it: those together that read it alike."""
        found: list[tuple[Part, list[Candidate]]] = []
        for member in line.members:
            own = part if member is self._leader.candidate else self._read_by(member, part, settled, carry)
            for known, members in found:
                if _reads_alike(known, own):
                    members.append(member)
                    break
            else:
                found.append((own, [member]))
        return found

    def _read_by(self, member: Candidate, part: Part, settled: Settled, carry: Carry) -> Part:
        own = as_read(
            replace(part, block=with_lane_ends(settled.block, carry)), self._readings.spoken(member.settings)
        )
        return replace(own, block=fill_bootstrap(own.block, member.settings.bootstrap, is_whole_stream=True))

    def _proven(self, line: _ProofLine, off: int, *, is_leader: bool) -> Trial:
        tally, trial = line.tally, line.trial
        deviating = tally.num_deviating + off + self._num_missing
        if tally.alone:
            deviating += int(np.count_nonzero(np.concatenate(tally.alone) > self._bound(line)))
        num_held = self._num_rows - self._num_missing
        largest = self._largest_error if is_leader else max(tally.largest, 0.0)
        rms = (self._squares / num_held) ** 0.5 if is_leader and num_held else trial.attempt.rms_error
        attempt: Attempt = replace(
            trial.attempt,
            num_rows=self._num_rows,
            num_deviating=deviating,
            max_error=largest if num_held else None,
            rms_error=rms,
            is_sampled=False,
        )
        cost = tally.cost / tally.num_equations if tally.num_equations else trial.cost
        proven = replace(trial, attempt=attempt, cost=cost)
        return proven if line.members == list(trial.members) else proven.of_members(line.members)


def _reader(line: _ProofLine, seen: _ColumnView) -> Callable[[Part], CandidateReading]:
    return lambda part: seen.reading(line, part)


def _hold_against(line: _ProofLine, part: Part, settled: Settled, carry: Carry, seen: _ColumnView) -> None:
    """The rows of a block that have what follows them, and those of earlier blocks that it follows."""
    block, carry = part.block, carry.as_read
    lanes = block.lanes
    lasts = lanes.stops[carry.tail_chains >= 0] - 1
    befores = np.maximum(lasts - 1, lanes.starts[carry.tail_chains >= 0])
    late = np.unique(np.concatenate((lasts, befores)))
    counted = np.ones(part.num_steps, np.bool_)
    counted[late] = False
    line.tally.deviations.add_missing(seen.reading(line, part))
    line.tally.add(line, part, seen, lasts, counted)
    heads = lanes.starts[carry.head_chains >= 0]
    if line.waiting is not None and len(heads):
        _hold_seam(line, part, heads, lanes.stops[carry.head_chains >= 0], seen)
    if len(late):
        left = part.take(late)
        line.waiting = left if line.waiting is None else joined([line.waiting, left])


def _hold_seam(line: _ProofLine, part: Part, heads: IndexArray, stops: IndexArray, seen: _ColumnView) -> None:
    """The steps that wait, each with the two that come after them."""
    assert line.waiting is not None
    come = np.isin(line.waiting.trajectories, part.trajectories[heads])
    if not come.any():
        return
    firsts = np.unique(np.concatenate((heads, np.minimum(heads + 1, stops - 1))))
    waited = line.waiting.take(come)
    seam = joined([waited, part.take(firsts)])
    order = np.argsort(np.concatenate((waited.trajectories, part.trajectories[firsts])), kind="stable")
    counted = order < waited.num_steps
    is_last = np.append(seam.trajectories[1:] != seam.trajectories[:-1], True)
    open_ends = np.flatnonzero(is_last & ~seam.block.cuts)
    line.tally.add(line, seam, seen, open_ends, counted)
    line.waiting = None if come.all() else line.waiting.take(~come)


def _reads_alike(one: Part, other: Part) -> bool:
    first, second = one.block, other.block
    if not _are_equal(one.estimated, other.estimated):
        return False
    if first is second:
        return True
    steps = [
        np.ones(block.num_steps, np.bool_) if block.is_step is None else block.is_step
        for block in (first, second)
    ]
    if not _are_equal(*steps) or not _are_equal(first.cuts, second.cuts):
        return False
    pairs = [(getattr(first, name), getattr(second, name)) for name in ("rewards", "values")]
    ends = (first.terminated, second.terminated), (first.next_values, second.next_values)
    if not all(one is other for one, other in ends):
        pairs.append((following_values(first), following_values(second)))
    return all(one is other or not ((one != other) & steps[0]).any() for one, other in pairs)


def _are_equal(one: BoolArray, other: BoolArray) -> bool:
    return one is other or bool(np.array_equal(one, other))
