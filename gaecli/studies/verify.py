"""Which convention, γ and λ reproduce a column of advantages, or where it first does something else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gaecli.errors import GaeError
from gaecli.formats.registry import open_file
from gaecli.pipeline.inputs import StreamPlan
from gaecli.pipeline.places import Places
from gaecli.results import Verification
from gaecli.settings import RunOptions, Settings
from gaecli.studies.candidates import (
    Candidate,
    Reading,
    candidates,
    leaves_ends_open,
    read_candidate,
    signature,
    with_bootstrap,
)
from gaecli.studies.column import Against, load_column
from gaecli.studies.deviations import deviations
from gaecli.studies.evidence import ROUNDINGS
from gaecli.studies.reading import only_stream
from gaecli.studies.trials import Constants, Trial, descend, solve


def verify(
    source: str | Path,
    column: str = "advantage",
    settings: Settings | None = None,
    *,
    column_source: str | Path | None = None,
    preset: str | None = None,
    memory_bytes: int = 1 << 30,
) -> Verification:
    """Try every preset, with the γ and λ that fit its rules to the column.

    Args:
        source: one rollout file.
        column: the advantages that are to be explained.
        settings: how the file is to be read; its γ and λ are of no account.
        column_source: the file with the column, if it is another one with the same rows.
        preset: try this one only.
        memory_bytes: the file is held in memory as a whole.

    Raises:
        GaeError: the file cannot be read under any preset, or there is no such column.
    """
    settings = settings or Settings()
    given = [source] if column_source is None else [source, column_source]
    with Places(RunOptions(dry_run=True)) as places:
        local = [Path(path) for path in places.fetched(given)]
        plan = only_stream(local[0], settings, "verify")
        files = [open_file(local[1])] if len(local) > 1 else [plan.open(path) for path in plan.paths]
        against = load_column(files, column)
        found = _verify(plan, against, settings, preset, memory_bytes)
        return places.shown_in(found)


def _verify(
    plan: StreamPlan, against: Against, settings: Settings, preset: str | None, memory_bytes: int
) -> Verification:
    readings, unreadable = _readings(list(candidates(settings, preset)), plan, against, memory_bytes)
    trials = _ranked([solve(reading) for reading in readings if reading.is_linear])
    if not trials or not trials[0].attempt.is_reproduced:
        trials = _beyond_noise(trials)
        searched = _ranked([descend(reading) for reading in readings if not reading.is_linear])
        trials = _in_order(trials, searched)
    best = trials[0]
    normalization = best.normalization() if best.attempt.is_affine else None
    found = [] if best.attempt.is_reproduced or best.theta is None else deviations(best.reading, best.theta)
    return Verification(
        path=str(plan.paths[0]),
        column=against.column,
        column_path=str(against.path),
        attempts=[trial.attempt for trial in trials],
        normalization=normalization.words if normalization is not None else None,
        deviations=found,
        tolerance=ROUNDINGS * against.rounding,
        flags=_flags(best, normalization),
        equivalent=_equivalent(trials),
        unreadable=unreadable,
        warnings=list(best.reading.warnings),
    )


def _ranked(trials: Sequence[Trial]) -> list[Trial]:
    return sorted(trials, key=lambda trial: trial.rank)


def _beyond_noise(trials: list[Trial]) -> list[Trial]:
    """A column in half precision is off a little everywhere: count the rows that are off by much more."""
    limit = 20 * max(min((trial.noise for trial in trials), default=0.0), 1.0)
    return sorted(trials, key=lambda trial: (trial.num_beyond(limit), *trial.rank))


def _in_order(solved: list[Trial], searched: list[Trial]) -> list[Trial]:
    """Rows that deviate are counted in two ways, which do not compare; errors do."""
    if not solved or not searched:
        return solved or searched
    first, other = solved[0].attempt, searched[0].attempt
    is_nearer = (other.rms_error or 0.0) < 0.5 * (first.rms_error or 0.0)
    if other.is_reproduced or (is_nearer and other.num_deviating < first.num_deviating):
        return searched + solved
    return solved + searched


def _readings(
    tried: Sequence[Candidate], plan: StreamPlan, against: Against, memory_bytes: int
) -> tuple[list[Reading], dict[str, str]]:
    """What the candidates make of the file; those of one mind only once, under all their names."""
    readings: dict[bytes, Reading] = {}
    unreadable: dict[str, str] = {}
    first_error: GaeError | None = None
    for candidate in tried:
        try:
            reading = read_candidate(candidate, plan, against, memory_bytes)
            variants = [reading]
            if leaves_ends_open(reading):
                other = "current" if candidate.settings.bootstrap != "current" else "zero"
                variants.append(read_candidate(with_bootstrap(candidate, other), plan, against, memory_bytes))
        except GaeError as error:
            first_error = first_error or error
            unreadable.update(dict.fromkeys(candidate.presets, error.message))
            continue
        for variant in variants:
            key = signature(variant)
            if key in readings:
                readings[key] = _merged(readings[key], variant)
            else:
                readings[key] = variant
    if not readings:
        assert first_error is not None
        raise first_error
    return list(readings.values()), unreadable


def _merged(first: Reading, second: Reading) -> Reading:
    names = first.candidate.presets
    if not second.candidate.flags or second.candidate.flags == first.candidate.flags:
        names = tuple(dict.fromkeys([*names, *second.candidate.presets]))
    return replace(first, candidate=replace(first.candidate, presets=names))


def _equivalent(trials: Sequence[Trial]) -> list[str]:
    reproducing = [trial for trial in trials if trial.attempt.is_reproduced]
    names = [name for trial in reproducing for name in trial.attempt.presets if not trial.attempt.flags]
    first = trials[0].attempt.presets[0]
    return [name for name in dict.fromkeys(names) if name != first]


def _flags(best: Trial, normalization: Constants | None) -> list[str]:
    """As one would type them to `gae compute`."""
    attempt = best.attempt
    words = [f"--preset {attempt.presets[0]}"] if attempt.presets[0] != "exact" else []
    words += [f"--gamma {_typed(attempt.gamma)}", f"--lam {_typed(attempt.lam)}"]
    words += [f"--{name.replace('_', '-')} {value}" for name, value in attempt.flags.items()]
    return [*words, *(normalization.flags if normalization is not None else ())]


def _typed(number: float) -> str:
    return repr(number).removesuffix(".0")
