"""The conventions that a column may follow: the presets, joined where a file cannot tell them apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, get_args

import numpy as np

from gaecli.choices import Truncation
from gaecli.columns import find_roles
from gaecli.decay_settings import with_decays
from gaecli.errors import DataError, GaeError, UsageError
from gaecli.estimators.base import Beyond, FinalEstimates
from gaecli.estimators.bootstrap import fill_bootstrap, needs_bootstrap
from gaecli.estimators.gae_variants import following_values
from gaecli.estimators.pooling import pool
from gaecli.estimators.registry import make_estimator
from gaecli.formats.base import RolloutFile
from gaecli.kernels.devices import choose_device
from gaecli.pipeline.opening import open_stream
from gaecli.presets import PRESETS, Preset
from gaecli.records import dataclass
from gaecli.rollouts import Block, BoolArray, FloatArray, IndexArray
from gaecli.settings import Settings
from gaecli.sources.inputs import StreamPlan
from gaecli.studies.assembly import Whole, whole_stream
from gaecli.studies.column import Against, Holds, check_fits
from gaecli.studies.reading import SettledStream, file_settings, settled
from gaecli.studies.row_equations import ColumnEvidence, gather
from gaecli.studies.search import Model
from gaecli.studies.tested import has_one_scan, searched, unit_rules

#: Products of four numbers have to be less than the largest of float64, in sums of millions.
LARGEST = 1e70
#: Rows, or items of lists, of a piece: a table of a few long lists is no reason to read them one by one.
_LEAST_ROWS = 1 << 16
_TRUNCATIONS = tuple(word for word in get_args(Truncation) if word != "ask")


@dataclass(frozen=True)
class Candidate:
    """One way to read the file. `settings` are those of the first of `presets`, with `flags` on top."""

    presets: tuple[str, ...]
    settings: Settings
    flags: Mapping[str, Any] = field(default_factory=dict)
    #: The number of steps is open.
    finds_window: bool = False


@dataclass(frozen=True, eq=False)
class CandidateReading:
    """A file under one candidate, with the column beside it."""

    candidate: Candidate
    block: Block
    estimated: BoolArray | None
    #: What enters mean and standard deviation.
    measured: BoolArray | None
    #: What the column holds, and of each step the advantage that this makes of it.
    holds: Holds
    column: FloatArray
    evidence: ColumnEvidence
    #: Steps that should have a number and have none.
    missing: IndexArray
    rows: IndexArray
    #: [N] V(s') as far as the file gives it, whether or not the convention uses it.
    given: FloatArray
    warnings: Sequence[Any] = ()
    #: Of other streams of rewards: the steps, and where among them each step of `block` is.
    others: Sequence[tuple[Block, IndexArray]] = ()

    @property
    def is_linear(self) -> bool:
        """One recursion in A itself, so that γ and γλ can be solved for."""
        settings = self.candidate.settings
        convention = settings.convention
        is_gated = settings.mask_mode == "gated" and self.block.masked is not None
        is_sum = self.holds == "advantage" or convention.returns == "sum"
        is_gae = settings.estimator == "gae" and convention.recursion == "gae"
        return is_gae and has_one_scan(settings) and is_sum and not is_gated

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

    @property
    def held(self) -> BoolArray:
        """[N] steps that should have a number and have one."""
        has_number = np.isfinite(self.column)
        return has_number if self.estimated is None else has_number & self.estimated

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
        settings, total = self.candidate.settings, 0.0
        blocks = [self.block, *(block for block, _ in self.others)]
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


def candidates(
    settings: Settings,
    holds: Holds,
    file: RolloutFile,
    only: str | None = None,
    tested: Mapping[str, Any] | None = None,
) -> Iterator[Candidate]:
    """Every preset, those of one convention as one; then the exact rules with other ideas of truncation.

    Over units: presets that are, and the exact rules with every idea of what a unit is. `tested` are settings that
    hold for all of them.
    """
    tested = tested or {}
    if settings.is_over_units and only in (None, "exact"):
        for rule in unit_rules(tested):
            yield Candidate(("exact",), _settings("exact", settings, **{**tested, **rule}), rule)
        if only is not None:
            return
    groups: dict[tuple[object, ...], list[str]] = {}
    rules: dict[tuple[object, ...], Mapping[str, Any]] = {}
    for name, preset in PRESETS.items():
        if only is not None and name != only:
            continue
        if (
            only is None
            and preset.over_units != settings.is_over_units
            and not _finds_units(file, name, settings)
        ):
            continue
        for flags in _options(preset, settings):
            try:
                made = _settings(name, settings, **{**tested, **flags})
            except UsageError:
                if only is not None or not tested:
                    raise
                continue  # it has rules that these settings say nothing to
            key = (*_convention(preset, made, holds), *_columns(file, made))
            groups.setdefault(key, []).append(name)
            rules[key] = flags
    seen = set()
    # The name alone before one with a flag: where the file has no such end, the flag says nothing.
    for key, names in sorted(groups.items(), key=lambda group: bool(rules[group[0]])):
        made = _settings(names[0], settings, **{**tested, **rules[key]})
        seen.add((made.preset, made.truncation))
        yield Candidate(tuple(names), made, rules[key])
    if only is None and settings.success_column is None and not settings.is_over_units:
        for truncation in _TRUNCATIONS:
            if ("exact", truncation) not in seen:
                flags = {"truncation": truncation}
                yield Candidate(("exact",), _settings("exact", settings, **{**tested, **flags}), flags)


def _finds_units(file: RolloutFile, name: str, settings: Settings) -> bool:
    """A preset over units knows a column of this file by its library's own name."""
    preset = PRESETS[name]
    if not preset.over_units or settings.stream:
        return False
    try:
        return "unit" in find_roles(file, _settings(name, settings)).names
    except GaeError:
        return False


def _options(preset: Preset, settings: Settings) -> list[Mapping[str, Any]]:
    """Of a preset that asks what a time limit does, one for each answer; none is left where success is known."""
    if settings.success_column is not None:
        return [{}] if preset.truncation != "ask" else []
    if preset.truncation != "ask":
        return [{}]
    return [{"truncation": rule} for rule in preset.truncation_options]


def _convention(preset: Preset, settings: Settings, holds: Holds) -> tuple[object, ...]:
    """Equal for presets that say the same of the same columns."""
    return (
        settings.truncation,
        preset.truncation == "ask",
        preset.lam_alpha,
        preset.mask_mode,
        preset.done_at,
        preset.recursion,
        preset.open_ends,
        preset.arrival_rows,
        preset.early_ends,
        preset.mask_shift,
        preset.mask_reach,
        preset.masks_rewards,
        preset.over_units,
        (settings.unit_reward, settings.unit_value, settings.turn_gamma) if preset.over_units else None,
        (preset.returns, preset.masked_returns) if holds == "return" else None,
    )


def _columns(file: RolloutFile, settings: Settings) -> tuple[object, ...]:
    """What a preset takes for what: it knows its library's names."""
    try:
        names = find_roles(file, settings).names
    except GaeError as error:
        return (error.message,)
    # Whether a flag is of starts is what the rules of the preset say.
    return tuple(sorted(("done" if role == "done_start" else role, name) for role, name in names.items()))


def _settings(preset: str, settings: Settings, **flags: Any) -> Settings:
    """How the user says that the file is to be read, under a preset's rules; nothing is normalised."""
    return Settings.from_preset(
        preset,
        **file_settings(settings),
        bootstrap=settings.bootstrap,
        normalize="none",
        advantage_column=settings.advantage_column,
        return_column=settings.return_column,
        **flags,
    )


def with_bootstrap(candidate: Candidate, policy: str) -> Candidate:
    return replace(
        candidate,
        settings=candidate.settings.replace(bootstrap=policy),
        flags={**candidate.flags, "bootstrap": policy},
    )


def read_candidate(
    candidate: Candidate, plan: StreamPlan, against: Against, holds: Holds, memory_bytes: int
) -> CandidateReading:
    """The whole stream as one block, as the candidate reads it."""
    opened = open_stream(plan, candidate.settings, memory_bytes)
    check_fits(plan.paths[0], opened.num_rows, memory_bytes)
    block_rows = max(opened.num_rows, _LEAST_ROWS)
    if opened.rows_per_block < block_rows:
        opened = open_stream(plan, candidate.settings, memory_bytes, block_rows=block_rows)
    reading = settled(opened)
    whole = whole_stream(reading)
    if not whole.num_slots:
        raise DataError(f"`{plan.paths[0]}` has no steps: there is nothing to verify")
    if len(against.numbers) != whole.num_slots:
        raise DataError(
            f"`{against.column}` of `{against.path}` has {len(against.numbers):,} numbers, and "
            f"`{plan.paths[0]}` has {whole.num_slots:,} steps",
            hint="the column must have one number per step, in the order of the rows",
        )
    _check_range(whole.block, against, str(plan.paths[0]))
    if holds == "return" and candidate.settings.stream and "advantage" in candidate.settings.kind.outputs:
        raise UsageError(
            "returns are those of one stream of rewards, and `--stream` names several",
            hint="drop `--stream`, and name its columns with `--reward-column` and `--value-column`",
        )
    column = against.numbers[whole.slots]
    if holds == "return":
        column = column - whole.block.values
    block = fill_bootstrap(whole.block, candidate.settings.bootstrap, is_whole_stream=True)
    evidence, missing = gather(block, whole.estimated, column, whole.rows, against.rounding)
    return CandidateReading(
        candidate,
        block,
        whole.estimated,
        whole.measured,
        holds,
        column,
        evidence,
        missing,
        whole.rows,
        whole.given,
        reading.stream.warnings,
        _others(reading, whole),
    )


def _others(reading: SettledStream, first: Whole) -> list[tuple[Block, IndexArray]]:
    """Of the other streams of rewards, whose trajectories may be other ones."""
    found = []
    for number, settings in enumerate(reading.stream.settings.of_streams[1:], start=1):
        other = whole_stream(reading, number)
        order = np.argsort(other.slots)
        places = order[np.searchsorted(other.slots[order], first.slots)]
        found.append((fill_bootstrap(other.block, settings.bootstrap, is_whole_stream=True), places))
    return found


def _check_range(block: Block, against: Against, path: str) -> None:
    """γ and λ are found by least squares: nothing can be said of numbers whose products are beyond float64."""
    numbers = {
        f"the rewards of `{path}`": block.rewards,
        f"the values of `{path}`": block.values,
        f"`{against.column}` of `{against.path}`": against.numbers[np.isfinite(against.numbers)],
    }
    for name, found in numbers.items():
        if len(found) and max(float(found.max()), -float(found.min())) > LARGEST:
            raise DataError(
                f"{name} go beyond {LARGEST:g} in size: there are no sums of squares to compare conventions by",
                hint="`gae check` shows where; a filler value is left out by `--mask-column`",
            )


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
    for flags in (block.cuts, block.is_step, reading.estimated):
        digest.update((np.ones(block.num_steps, np.bool_) if flags is None else flags).tobytes())
    digest.update(reading.rows.tobytes())
    digest.update(reading.missing.tobytes())
    return digest.digest()
