"""The steps of a file under one convention after the other: read once for all that take the file alike."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from gaecli.array_types import BoolArray, FloatArray, IndexArray
from gaecli.columns import Roles, find_roles
from gaecli.decay_settings import with_decays
from gaecli.engines.threads import Threads, default_jobs
from gaecli.errors import GaeError, UsageError
from gaecli.estimators.base import Beyond, FinalEstimates
from gaecli.estimators.bootstrap import fill_bootstrap, needs_bootstrap
from gaecli.estimators.conventions import crosses_trajectories
from gaecli.estimators.ends_only import for_ends_only
from gaecli.estimators.gae_variants import following_values
from gaecli.estimators.pooling import pool
from gaecli.estimators.registry import make_estimator
from gaecli.kernels.devices import choose_device
from gaecli.layouts.flag_columns import FlagColumns, flag_columns
from gaecli.layouts.row_order import RowOrder
from gaecli.pipeline.memory import rows_per_block
from gaecli.pipeline.opening import open_stream
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.setting_fields import said
from gaecli.settings import Settings
from gaecli.studies import sampling
from gaecli.studies.asked import Asked
from gaecli.studies.assembly import assembled
from gaecli.studies.candidates import Candidate
from gaecli.studies.column import BYTES_PER_STEP, Holds, too_many
from gaecli.studies.column_walk import ColumnWalk
from gaecli.studies.parts import Part
from gaecli.studies.reading import OF_MASKS, SettledStream, read_by, settled, settled_blocks
from gaecli.studies.row_equations import ColumnEvidence, gather
from gaecli.studies.sampling import TrajectoryPieces, TrajectorySample
from gaecli.studies.search import Model
from gaecli.studies.tested import has_one_scan, searched
from gaecli.summary import WarningNote

#: Rows of a block: more of them at a time are no faster, and take more memory.
_MOST_ROWS = 1 << 17
#: Share of the memory limit for blocks from one look to the next; columns are kept beside them.
_STORE_SHARE = 0.15
#: Where λ depends on the length of a trajectory, the end of one is not as it was without its beginning.
_BY_LENGTH = ("lam_alpha", "lam_retain", "lam_value_alpha", "lam_value_retain")
#: Settings that say nothing of which steps there are, and what the files say of them.
_OF_NUMBERS = (
    *("preset", "estimator", "gamma", "lam", "truncation", "bootstrap", "precision", "n_steps"),
    *("lam_alpha", "lam_retain", "unit_reward", "unit_value", "turn_gamma"),
    *("normalize", "normalize_by", "norm_ddof", "norm_eps", "norm_floor", "keep_raw"),
)
#: Roles that tell in which order rows are taken.
_OF_ORDER = ("env", "episode", "step")
#: Roles that say more where the library itself calls its column so.
_TOLD_BY_NAME = frozenset(("mask", "not_done"))


@dataclass(frozen=True, eq=False)
class CandidateReading:
    """Steps of a file under one candidate, with the column beside them."""

    candidate: Candidate
    #: The block is as the convention reads it, ends and all.
    part: Part
    #: What the column holds.
    holds: Holds
    rounding: float
    #: No step of the file is truncated.
    is_uncut: bool = False
    #: Of other streams of rewards: the steps, and where among them each step of `block` is.
    others: Sequence[tuple[Block, IndexArray]] = ()

    @property
    def block(self) -> Block:
        return self.part.block

    @cached_property
    def column(self) -> FloatArray:
        """[N] of each step the advantage that the column makes of it."""
        return self.part.column - self.block.values if self.holds == "return" else self.part.column

    @cached_property
    def missing(self) -> IndexArray:
        """Steps that should have a number and have none."""
        return np.flatnonzero(self.part.estimated & ~np.isfinite(self.column))

    @cached_property
    def evidence(self) -> ColumnEvidence:
        return self.gathered()

    def gathered(self, open_ends: IndexArray | None = None) -> ColumnEvidence:
        """`open_ends`: steps whose trajectory goes on in another block."""
        part = self.part
        return gather(part.block, part.estimated, self.column, part.rows, self.rounding, open_ends)

    @property
    def is_linear(self) -> bool:
        """One recursion in A itself, so that γ and γλ can be solved for."""
        settings = self.candidate.settings
        convention = settings.convention
        is_gated = settings.mask_mode == "gated" and self.block.masked is not None
        is_sum = self.holds == "advantage" or convention.returns == "sum"
        is_gae = settings.estimator == "gae" and convention.recursion == "gae"
        return is_gae and not is_gated and is_sum and has_one_scan(settings)

    @property
    def axes(self) -> tuple[int, ...]:
        """Of γ and λ (0 and 1), those that are searched for."""
        return searched(self.candidate.settings, self.holds)

    @property
    def has_gamma(self) -> bool:
        return 0 in self.axes

    @property
    def has_lam(self) -> bool:
        return 1 in self.axes

    @property
    def baseline(self) -> FloatArray:
        """[N] what the column has beside the advantage: V in returns."""
        values = self.block.values.astype(np.float64)
        return values if self.holds == "return" else np.zeros_like(values)

    @cached_property
    def held(self) -> BoolArray:
        """[N] steps that should have a number and have one."""
        has_number: BoolArray = np.isfinite(self.column) & self.part.estimated
        return has_number

    def model(self) -> Model:
        """(γ, λ) -> the advantages of all steps; of returns, what they have beyond V."""

        def advantages(gamma: float, lam: float) -> FloatArray:
            settings = with_decays(self.candidate.settings, gamma, lam)
            if settings.stream:
                total = self._of_streams(settings)
                return total if self.holds == "advantage" else total - self.baseline
            made, returns = _estimated(self.block, settings)
            return made if self.holds == "advantage" or returns is None else returns - self.baseline

        return advantages

    def _of_streams(self, settings: Settings) -> FloatArray:
        """What they add up to."""
        first, *others = settings.of_streams
        total = settings.stream[0].weight * _estimated(self.block, first).advantages
        for one, own, (block, places) in zip(settings.stream[1:], others, self.others, strict=True):
            total = total + one.weight * _estimated(block, own).advantages[places]
        return total

    def largest_term(self, gamma: float) -> float:
        """The size of what is added up at one step; of units at one of them, of streams over all of them."""
        return largest_term(
            [self.block, *(block for block, _ in self.others)], self.candidate.settings, gamma
        )


def largest_term(blocks: Sequence[Block], settings: Settings, gamma: float) -> float:
    """`blocks`: of each stream of rewards."""
    total = 0.0
    for weight, block in zip([one.weight for one in settings.stream] or [1.0], blocks, strict=True):
        sized = replace(block, rewards=np.abs(block.rewards))
        sized = pool(sized, settings).block if settings.is_over_units else sized
        size = sized.rewards + np.abs(sized.values) * (1 + gamma)
        total += abs(weight) * float(size.max(initial=0.0))
    return total


def _estimated(block: Block, settings: Settings) -> FinalEstimates:
    estimator = make_estimator(settings, choose_device("auto", 0))
    made, returns, _ = estimator.estimate(block)
    return (
        FinalEstimates(made, returns)
        if returns is not None
        else estimator.outputs(block, made, Beyond.nothing(block))
    )


@dataclass(frozen=True, eq=False)
class _Sampled:
    """Steps of a file, as all conventions have them that take the file alike."""

    part: Part
    #: As their own convention reads them, which nobody else shares.
    is_read: bool
    is_whole: bool
    is_uncut: bool
    warnings: Sequence[WarningNote]
    others: Sequence[tuple[Block, IndexArray]] = ()


class Readings:
    """Of a stream and the column beside it."""

    def __init__(self, asked: Asked, holds: Holds, *, is_head: bool = False) -> None:
        """`is_head`: the column goes on behind the rows of the stream."""
        self.asked, self.holds, self._is_head = asked, holds, is_head
        #: Or why they cannot be taken so.
        self._found: dict[object, _Sampled | GaeError] = {}
        #: By what rows stand in order, as they were found to.
        self._in_order: set[tuple[str | None, ...]] = set()

    def of(self, candidate: Candidate) -> CandidateReading:
        """Of whole trajectories from all over the stream, or of all of it where that is not large."""
        settings = self.spoken(candidate.settings)
        sampled = self._sampled(settings)
        part = sampled.part if sampled.is_read else as_read(sampled.part, settings)
        block = fill_bootstrap(part.block, candidate.settings.bootstrap, is_whole_stream=True)
        return CandidateReading(
            candidate,
            replace(part, block=block),
            self.holds,
            self.asked.against.rounding,
            sampled.is_uncut,
            sampled.others,
        )

    def spoken(self, settings: Settings) -> Settings:
        """Without a rule of truncated ends that reaches beyond them, where there are none."""
        if settings.end_rule not in ("leak", "reset") or not settings.uses("truncation"):
            return settings
        plain = settings.replace(truncation="exact")
        known = None if crosses_trajectories(plain) else self._found.get(self._key_of(plain))
        return plain if isinstance(known, _Sampled) and known.is_uncut else settings

    def key(self, settings: Settings) -> object:
        """Equal where files are taken alike."""
        return self._key_of(self.spoken(settings))

    def _key_of(self, settings: Settings) -> object:
        if not _is_shared(settings):
            return repr(settings)
        try:
            found = find_roles(self.asked.file, settings)
            flags = flag_columns(found, settings)
        except GaeError:  # told where it is opened
            return repr(settings)
        roles = {"done" if role == "done_start" else role: name for role, name in found.names.items()}
        key = self._key(settings, found, roles, flags)
        if self.asked.file.structure == "table" and flags.names == (flags.terminated,):
            # A lone flag of terminal states is read as one of ends is, of which more is asked.
            name = roles.pop("terminated", None)
            plain = replace(flags, terminated=None, done=name)
            other = self._key(settings, found, {**roles, "done": name or ""}, plain)
            key = other if isinstance(self._found.get(other), _Sampled) else key
        return key

    def _key(
        self, settings: Settings, found: Roles, roles: Mapping[str, str], flags: FlagColumns
    ) -> tuple[object, ...]:
        has_mask = "mask" in roles
        left_out = {*_OF_NUMBERS, *(() if has_mask else OF_MASKS)}
        if settings.is_over_units:  # what its library has for units may be flags, of another the ids of them
            left_out.remove("preset")
        theirs = [*read_by(settings, self.asked.file, has_mask=has_mask)]
        kind = settings.kind
        theirs.append(kind.name if kind.own_roles else kind.roles)  # what it cannot do without is asked for
        by_name = tuple(sorted(found.by_preset & _TOLD_BY_NAME))
        key = (said(settings, left_out), tuple(theirs), tuple(sorted(roles.items())), repr(flags), by_name)
        # With the values beyond ends one can do without them, and not the other way round.
        is_terminal = settings.open_ends == "terminal" and (False, *key) not in self._found
        return (is_terminal, *key)

    def knows(self, candidate: Candidate) -> bool:
        """The file was taken as it takes it, or could not be."""
        return self.key(candidate.settings) in self._found

    @property
    def are_whole(self) -> bool:
        return all(one.is_whole for one in self._found.values() if isinstance(one, _Sampled))

    def num_steps(self, settings: Settings) -> int:
        """Of the sample."""
        return self._sampled(self.spoken(settings)).part.num_steps

    def warnings(self, settings: Settings) -> Sequence[WarningNote]:
        return self._sampled(self.spoken(settings)).warnings

    def _sampled(self, settings: Settings) -> _Sampled:
        key = self._key_of(settings)
        if key not in self._found:
            is_shared = _is_shared(settings)
            plain = settings.replace(truncation="exact", bootstrap="zero") if is_shared else settings
            try:
                self._found[key] = self._read(plain, is_read=not is_shared)
            except GaeError as error:
                self._found[key] = error
        found = self._found[key]
        if isinstance(found, GaeError):
            raise found
        return found

    def _read(self, settings: Settings, *, is_read: bool) -> _Sampled:
        asked = self.asked
        order = self._order_of(settings)
        reading = stream_of(asked, settings, for_ends=not is_read, is_in_order=order in self._in_order)
        if reading.stream.opened.row_order == RowOrder():
            self._in_order.add(order)
        sample = _new_sample(settings)
        walk = ColumnWalk(asked, reading, "read" if is_read else "ended")
        is_uncut = True
        for file, start, block, carry in settled_blocks(reading):
            part = walk.part(file, start, block, carry)
            is_uncut &= not block.block.truncated.any()
            if part.num_steps:
                lanes, ends = (block.prepared, carry.as_read) if is_read else (block.block, carry)
                sample.add(part, TrajectoryPieces.of(part, lanes, ends))
                _check_room(asked, sample)
        if not self._is_head:
            walk.check_end()
        if self.holds == "return" and settings.stream and "advantage" in settings.kind.outputs:
            raise UsageError(
                "returns are those of one stream of rewards, and `--stream` names several",
                hint="drop `--stream`, and name its columns with `--reward-column` and `--value-column`",
            )
        part = sample.result()
        warnings, others = reading.stream.warnings, _others(reading, part)
        return _Sampled(part, is_read, sample.is_whole, is_uncut, warnings, others)

    def _order_of(self, settings: Settings) -> tuple[str | None, ...]:
        names = find_roles(self.asked.file, settings).names
        return tuple(names.get(role) for role in _OF_ORDER)


def _is_shared(settings: Settings) -> bool:
    """Others may read the same steps by rules of their own: none reaches beyond trajectories."""
    return not crosses_trajectories(settings) and settings.bootstrap != "error" and not settings.stream


def as_read(part: Part, settings: Settings) -> Part:
    """Steps of whole trajectories, or of a block whose ends are known, under the rules of these settings."""
    prepared = make_estimator(settings, choose_device("auto", 0)).prepare(part.block)
    if prepared is part.block:
        return replace(part, estimated=part.counts)
    estimated = part.counts if prepared.is_step is None else part.counts & prepared.is_step
    return replace(part, block=prepared, estimated=estimated)


def stream_of(
    asked: Asked, settings: Settings, *, for_ends: bool = False, is_in_order: bool = False
) -> SettledStream:
    """The stream under these settings, summarised. `for_ends`: without the numbers that an estimator makes."""
    block_rows = min(rows_per_block(asked.memory_bytes), _MOST_ROWS)
    opened = open_stream(asked.plan, settings, asked.memory_bytes, block_rows=block_rows)
    opened = replace(opened, is_in_order=is_in_order)
    threads = Threads(default_jobs()) if opened.num_blocks > 1 else None
    estimator = for_ends_only(make_estimator(settings, choose_device("auto", 0))) if for_ends else None
    return settled(opened, estimator, threads, store_share=_STORE_SHARE)


def _new_sample(settings: Settings) -> TrajectorySample:
    may_cut = not settings.is_over_units and all(getattr(settings, name) is None for name in _BY_LENGTH)
    # One of several streams of rewards may never end.
    most = sys.maxsize if settings.stream else sampling.SEARCH_STEPS
    return TrajectorySample(most, may_cut=may_cut)


def _check_room(asked: Asked, sample: TrajectorySample) -> None:
    num_steps = sample.num_steps
    if num_steps > sampling.SEARCH_STEPS and num_steps * BYTES_PER_STEP > asked.memory_bytes:
        raise too_many(asked.plan.paths[0], num_steps, asked.memory_bytes)


def _others(reading: SettledStream, first: Part) -> list[tuple[Block, IndexArray]]:
    """Of the other streams of rewards, whose trajectories may be other ones."""
    found = []
    for number, settings in enumerate(reading.stream.settings.of_streams[1:], start=1):
        other = assembled(reading, "read", number)
        order = np.argsort(other.slots)
        places = order[np.searchsorted(other.slots[order], first.slots)]
        found.append((fill_bootstrap(other.block, settings.bootstrap, is_whole_stream=True), places))
    return found


def leaves_ends_open(reading: CandidateReading) -> bool:
    """Whether a bootstrap policy makes a difference here."""
    return bool(needs_bootstrap(reading.block).any()) or (
        reading.block.filled is not None and bool(reading.block.filled.any())
    )


def signature(reading: CandidateReading) -> bytes:
    """Equal for readings that no column could tell apart.

    Of all steps, not of those with evidence: where the column has no number, advantages flow through all the same.
    """
    settings, block = reading.candidate.settings, reading.block
    digest = hashlib.sha256(repr((settings.lam_alpha, reading.is_linear, settings.estimator)).encode())
    digest.update(settings.convention.recursion.encode())
    if settings.is_over_units:
        assert block.units is not None
        rule = (settings.unit_reward, settings.unit_value, settings.turn_gamma)
        digest.update(repr(rule).encode() + block.units.numbers.tobytes())
    for array in (block.rewards, block.values, following_values(block)):
        numbers = array.astype(np.float64)
        if block.is_step is not None:
            numbers[~block.is_step] = 0.0
        digest.update((numbers + 0.0).tobytes())  # -0.0 is 0
    for flags in (block.cuts, block.is_step, reading.part.estimated):
        digest.update((np.ones(block.num_steps, np.bool_) if flags is None else flags).tobytes())
    digest.update(reading.part.rows.tobytes())
    digest.update(reading.missing.tobytes())
    return digest.digest()
