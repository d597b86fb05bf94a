"""One number taken apart: where its sum is cut, what bootstraps it, which step or trajectory gives how much."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np

from gaecli.array_types import FloatArray, IndexArray
from gaecli.commands.single_rows import episode_keys
from gaecli.decay_settings import OPTIONAL
from gaecli.engines.threads import Threads, default_jobs
from gaecli.errors import UsageError
from gaecli.estimators.decomposition import Decomposition, decompose
from gaecli.explanation import Derivation, ExplainedStep, Explanation
from gaecli.pipeline.header_notes import stored_settings
from gaecli.pipeline.opening import OpenStream, open_stream
from gaecli.pipeline.reading_errors import told
from gaecli.progress import Progress
from gaecli.response_logs import ResponseLogError
from gaecli.settings import RunOptions, Settings
from gaecli.sources.inputs import watched
from gaecli.storage.places import Places
from gaecli.studies.final_numbers import finisher
from gaecli.studies.locate import Place, StepQuery, locate
from gaecli.studies.near_rows import FoundTail, near_tail
from gaecli.studies.normalized import normalized_number
from gaecli.studies.reading import SettledStream, numbers_around, only_stream, read_for_ends
from gaecli.studies.stored_advantage import stored_advantage
from gaecli.studies.tail import tail_from

#: Estimators that are the sum of (γλ)ˡ δ, and the λ of those that have but one.
_SUMS_OF_DELTAS = {"gae": None, "td-lambda": None, "td0": 0.0}


def explain(
    source: str | Path,
    query: StepQuery,
    settings: Settings | None = None,
    *,
    top: int | None = None,
    memory_bytes: int = 1 << 30,
    progress: Progress | None = None,
) -> Explanation | Derivation:
    """The number of one step as what it is made of.

    Args:
        source: one file, or one stream of files.
        query: which step.
        settings: the estimator, γ, λ and how the file is to be read.
        top: keep the `top` lines that contribute most; None keeps all.
        memory_bytes, progress: as for `compute`.

    Returns:
        An `Explanation` where the number is a sum of (γλ)ˡ δ: of gae, td-lambda and td0 with one γ and one λ; a
        `Derivation` of all else.

    Raises:
        GaeError: as `compute` would, or because there is no such step.
    """
    if top is not None and top < 0:
        raise UsageError(f"`--top` is {top}; it must be 0 or more")
    settings = settings or Settings()
    is_plain = is_sum_of_deltas(settings)
    threads = Threads(default_jobs())
    with closing(threads), Places(RunOptions(dry_run=True)) as places:
        (local,) = places.inputs.fetched([source])
        (plan,) = watched([only_stream(local, settings, "gae explain")], progress, "explaining")
        with told(plan.paths[0]):
            try:
                opened = open_stream(plan, settings, memory_bytes)
            except ResponseLogError as error:
                raise error.of_command("gae explain", query.words) from error
            found = near_tail(opened, query, threads) if is_plain else None
            found = found or _tail_among_all(opened, query, threads, is_whole=not is_plain)
            if is_plain and settings.estimator == "td-lambda" and found.tail.has_second_values:
                is_plain = False
                found = _tail_among_all(opened, query, threads, is_whole=True)
            if not is_plain:
                return places.shown_in(_derivation(found, top))
            return places.shown_in(_explanation(found, top))


def _tail_among_all(opened: OpenStream, query: StepQuery, threads: Threads, *, is_whole: bool) -> FoundTail:
    """`is_whole`: all of its trajectory is asked for."""
    try:
        reading = read_for_ends(opened, threads)
    except ResponseLogError as error:
        raise error.of_command("gae explain", query.words) from error
    place = locate(reading.stream, query)
    reading = numbers_around(reading, place.file, place.row, threads, is_whole=is_whole)
    return FoundTail(reading, place, tail_from(reading, place, is_whole=is_whole))


def is_sum_of_deltas(settings: Settings) -> bool:
    """The number is Σ (γλ)ˡ δ with one γ and one λ, over the steps of the file."""
    has_one_lam = not any(getattr(settings, name) is not None for name in (*OPTIONAL, "lam_alpha"))
    is_gae = not settings.uses("recursion") or settings.convention.recursion == "gae"
    return (
        settings.estimator in _SUMS_OF_DELTAS
        and (has_one_lam or (not settings.uses("lam") and settings.gamma_column is None))
        and is_gae
        and settings.mask_mode != "gated"
        and not settings.stream
        and not settings.is_over_units
    )


def _key(reading: SettledStream, place: Place) -> dict[str, object]:
    """What the file calls the step."""
    opened = reading.stream.files[place.file]
    block_rows = reading.stream.opened.rows_per_block
    found = episode_keys(opened.file, opened.layout.roles, [place.row], opened.units, block_rows)
    return dict(place.key) or found[0]


def _explanation(found: FoundTail, top: int | None) -> Explanation:
    reading, place, tail = found.reading, found.place, found.tail
    settings, stream = reading.stream.settings, reading.stream
    only_lam = _SUMS_OF_DELTAS[settings.estimator]
    gamma, lam = settings.gamma, settings.lam if only_lam is None else only_lam
    rewards, values = tail.rewards, tail.values
    following = tail.following(settings)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is shown as infinite
        deltas = np.where(tail.is_step, rewards + gamma * following - values, 0.0)
    parts = decompose(deltas, gamma, lam)
    rows = tail.rows
    has_rows = stream.layout.row_is != "trajectory"
    recursion = float(tail.advantages[0])
    normalized = normalized_number(reading, place, finisher(reading))
    return Explanation(
        path=str(place.path),
        row=place.row,
        key=_key(reading, place),
        settings=settings.to_dict(),
        gamma=gamma,
        lam=lam,
        reward=float(rewards[0]),
        value=float(values[0]),
        num_steps=len(rewards),
        end=tail.end,
        end_row=int(rows[-1]) if has_rows else None,
        bootstrap=tail.bootstrap(settings),
        bootstrap_value=float(following[-1]),
        mixture=float(parts.k_step_sums[-1]),
        delta_sum=float(parts.running_sums[-1]),
        recursion=recursion,
        steps=_steps(parts, rewards, values, following, deltas, rows if has_rows else None, top),
        normalized=normalized,
        stored=stored_advantage(reading, place, recursion, normalized),
        rows_seen=found.seen,
        warnings=[*stream.warnings, *stored_settings(stream.opened)],
    )


def _derivation(tail_found: FoundTail, top: int | None) -> Derivation:
    from gaecli.studies.derivations import Question, derive

    reading, place, tail = tail_found.reading, tail_found.place, tail_found.tail
    question = Question(reading, place, tail, top, finisher(reading))
    stream, settings = reading.stream, reading.stream.settings
    found = derive(question)
    normalized = normalized_number(reading, place, question.finish)
    written = found.computed if normalized is None else normalized.written
    outputs = {"advantage": written, "return": float(tail.returns[0])}
    if settings.kind.outputs[0] == "return":
        outputs["return"] = found.computed
    outputs = {name: outputs[name] for name in settings.kind.outputs}
    if found.returns:
        outputs = {settings.kind.outputs[0]: written, **found.returns}
    return Derivation(
        path=str(place.path),
        row=place.row,
        key=_key(reading, place),
        settings=settings.to_dict(),
        estimator=settings.estimator,
        output=settings.kind.outputs[0],
        equation=found.equation,
        numbers=found.numbers,
        tables=found.tables,
        derived=found.derived,
        computed=found.computed,
        outputs=outputs,
        num_steps=tail.num_steps,
        end=tail.end,
        end_row=question.rows[-1],
        bootstrap=found.bootstrap,
        bootstrap_value=found.bootstrap_value,
        remarks=found.remarks,
        normalized=normalized,
        stored=stored_advantage(reading, place, found.computed, normalized),
        warnings=[*stream.warnings, *stored_settings(stream.opened)],
    )


def _steps(
    parts: Decomposition,
    rewards: FloatArray,
    values: FloatArray,
    following: FloatArray,
    deltas: FloatArray,
    rows: IndexArray | None,
    top: int | None,
) -> list[ExplainedStep]:
    chosen = np.arange(len(deltas))
    if top is not None and top < len(deltas):
        largest = np.argsort(-np.abs(parts.contributions), kind="stable")[: max(top, 0)]
        chosen = np.sort(largest)
    return [
        ExplainedStep(
            lag=lag,
            row=None if rows is None else int(rows[lag]),
            reward=float(rewards[lag]),
            value=float(values[lag]),
            next_value=float(following[lag]),
            delta=float(deltas[lag]),
            weight=float(parts.weights[lag]),
            contribution=float(parts.contributions[lag]),
            running_sum=float(parts.running_sums[lag]),
            k_step_advantage=float(parts.k_step_advantages[lag]),
            k_step_return=float(parts.k_step_advantages[lag] + values[0]),
            k_step_weight=float(parts.k_step_weights[lag]),
            k_step_sum=float(parts.k_step_sums[lag]),
        )
        for lag in chosen.tolist()
    ]
