"""The conventions that a column may follow: the presets, joined where a file cannot tell them apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gaecli.errors import DataError, UsageError
from gaecli.estimators.bootstrap import needs_bootstrap
from gaecli.estimators.variants import make_estimator
from gaecli.formats.base import Column
from gaecli.formats.registry import open_file
from gaecli.kernels.devices import choose_device
from gaecli.pipeline.apply import Settled
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.inputs import StreamPlan
from gaecli.presets import PRESETS
from gaecli.rollouts import Block, BoolArray, FloatArray, IndexArray
from gaecli.settings import Settings
from gaecli.studies.evidence import Evidence, closed, gather
from gaecli.studies.reading import read_stream, with_lane_ends
from gaecli.studies.search import Model

#: A row takes about so many bytes while it is held against the conventions.
BYTES_PER_ROW = 400
_TRUNCATIONS = ("exact", "current", "zero", "drop", "leak")


@dataclass(frozen=True)
class Candidate:
    """One way to read the file. `settings` are those of the first of `presets`, with `flags` on top."""

    presets: tuple[str, ...]
    settings: Settings
    flags: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Reading:
    """A file under one candidate, with the column beside it."""

    candidate: Candidate
    block: Block
    estimated: BoolArray | None
    column: FloatArray
    evidence: Evidence
    #: Steps that should have a number and have none.
    missing: IndexArray
    rows: IndexArray
    warnings: Sequence[Any] = ()

    @property
    def is_linear(self) -> bool:
        """One recursion in A itself, so that γ and γλ can be solved for."""
        settings = self.candidate.settings
        is_gated = settings.mask_mode == "gated" and self.block.masked is not None
        return settings.convention.recursion == "gae" and settings.lam_alpha is None and not is_gated

    @property
    def held(self) -> BoolArray:
        """[N] steps that should have a number and have one."""
        has_number = np.isfinite(self.column)
        return has_number if self.estimated is None else has_number & self.estimated

    def model(self) -> Model:
        """(γ, λ) -> the advantages of all steps."""

        def advantages(gamma: float, lam: float) -> FloatArray:
            alpha = self.candidate.settings.lam_alpha
            settings = self.candidate.settings.replace(gamma=gamma, lam=lam, lam_alpha=alpha)
            return make_estimator(settings, choose_device("auto", 0)).estimate(self.block).advantages

        return advantages


@dataclass(frozen=True)
class Against:
    """The column to be verified, and the file it stands in."""

    column: str
    path: Path
    #: [rows] or [T, N] or the items of lists, one after the other; NaN where there is no number.
    numbers: FloatArray
    rounding: float


def load_column(path: Path, name: str) -> Against:
    file = open_file(path)
    info = file.find(name)
    if info is None or info.unusable is not None:
        raise UsageError(
            f"column `{name}` not found in `{path}`\n       columns there: {', '.join(list(file.columns)[:24])}",
            hint="`--against` names the column of advantages that is to be explained",
        )
    if info.kind not in ("float", "int"):
        raise UsageError(f"`{name}` of `{path}` is {info.type_name}, and advantages are numbers")
    column: Column = file.read_whole(name)
    values = column.values
    rounding = float(np.finfo(np.float32).eps)
    if values.dtype.kind == "f":
        rounding = max(rounding, float(np.finfo(values.dtype).eps))
    numbers = values.reshape(-1).astype(np.float64)
    if column.is_null is not None:
        numbers[column.is_null.reshape(-1)] = np.nan
    return Against(name, path, numbers, rounding)


def candidates(settings: Settings, only: str | None = None) -> Iterator[Candidate]:
    """Every preset, those of one convention as one; then the exact rules with other ideas of truncation."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for name, preset in PRESETS.items():
        if only is not None and name != only:
            continue
        key = (
            preset.truncation,
            preset.lam_alpha,
            preset.mask_mode,
            preset.done_at,
            preset.recursion,
            preset.open_ends,
            preset.arrival_rows,
            preset.mask_shift,
            preset.mask_reach,
        )
        groups.setdefault(key, []).append(name)
    seen = set()
    for names in groups.values():
        made = _settings(names[0], settings)
        seen.add((made.preset, made.truncation))
        yield Candidate(tuple(names), made)
    if only is None:
        for truncation in _TRUNCATIONS:
            if ("exact", truncation) not in seen:
                flags = {"truncation": truncation}
                yield Candidate(("exact",), _settings("exact", settings, **flags), flags)


def _settings(preset: str, settings: Settings, **flags: Any) -> Settings:
    """How the user says that the file is to be read, under a preset's rules; nothing is normalised."""
    return Settings.from_preset(
        preset,
        done_at=settings.done_at,
        layout=settings.layout,
        columns=settings.columns,
        join=settings.join,
        on_nan=settings.on_nan,
        bootstrap=settings.bootstrap,
        normalize="none",
        advantage_column=settings.advantage_column,
        return_column=settings.return_column,
        **flags,
    )


def with_bootstrap(candidate: Candidate, policy: str) -> Candidate:
    return Candidate(
        candidate.presets,
        candidate.settings.replace(bootstrap=policy),
        {**candidate.flags, "bootstrap": policy},
    )


def read_candidate(candidate: Candidate, plan: StreamPlan, against: Against, memory_bytes: int) -> Reading:
    """The whole file as one block, as the candidate reads it."""
    num_rows = sum(_num_rows(path, plan) for path in plan.paths)
    if num_rows * BYTES_PER_ROW > memory_bytes:
        raise UsageError(
            f"`{plan.paths[0]}` with {num_rows:,} rows takes more than `--memory` to verify",
            hint=f"raise `--memory` to {num_rows * BYTES_PER_ROW / (1 << 30):.1f}GiB or more",
        )
    settings = candidate.settings
    reading = read_stream(plan, settings, memory_bytes, block_rows=max(num_rows, 1))
    found: list[tuple[Settled, int]] = []

    def look(file: int, start: int, settled: Settled, carry: Carry) -> None:
        ended = with_lane_ends(settled.prepared, carry, settings.gamma)
        found.append((replace(settled, prepared=ended), start))

    for _ in reading.stream.visit(reading.shop, look):
        pass
    if len(found) != 1:
        raise UsageError(
            f"`{plan.paths[0]}` is read in {len(found)} pieces, and `gae verify` looks at one",
            hint="verify one file at a time",
        )
    settled, start = found[0]
    block = settled.block
    if len(against.numbers) != block.placement.num_rows:
        raise DataError(
            f"`{against.column}` of `{against.path}` has {len(against.numbers):,} numbers, and "
            f"`{plan.paths[0]}` has {block.placement.num_rows:,} steps",
            hint="the column must have one number per step, in the order of the rows",
        )
    column = block.placement.to_steps(against.numbers)
    prepared = closed(settled.prepared, settings.bootstrap)
    rows = start + _rows_of(block)
    evidence, missing = gather(prepared, settled.estimated, column, rows, against.rounding)
    return Reading(
        candidate, prepared, settled.estimated, column, evidence, missing, rows, reading.stream.warnings
    )


def leaves_ends_open(reading: Reading) -> bool:
    """Whether a bootstrap policy makes a difference here."""
    return bool(needs_bootstrap(reading.block).any()) or (
        reading.block.filled is not None and bool(reading.block.filled.any())
    )


def signature(reading: Reading) -> bytes:
    """Equal for readings that no column could tell apart."""
    settings, evidence = reading.candidate.settings, reading.evidence
    digest = hashlib.sha256(repr((settings.lam_alpha, reading.is_linear)).encode())
    digest.update(settings.convention.recursion.encode())
    for array in (evidence.rewards, evidence.values, evidence.following, evidence.goes_on, evidence.steps):
        digest.update(array.tobytes())
    digest.update(reading.missing.tobytes())
    return digest.digest()


def _rows_of(block: Block) -> IndexArray:
    """Row of every step; of nested tables the row of its list."""
    rows = block.placement.rows_of_steps(np.arange(block.num_steps))
    if block.list_offsets is not None:
        return np.searchsorted(block.list_offsets, rows, side="right").astype(np.int64) - 1
    return rows


def _num_rows(path: Path, plan: StreamPlan) -> int:
    return plan.open(path).num_rows
