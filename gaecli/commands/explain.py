"""One advantage taken apart: where its sum is cut, what bootstraps it, which step gives how much."""

from __future__ import annotations

from dataclasses import field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gaecli.commands.single_rows import episode_keys
from gaecli.errors import DataError, UsageError
from gaecli.estimators.decomposition import Decomposition, decompose
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.header_notes import stored_settings
from gaecli.pipeline.reading_errors import told
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.results import BootstrapSource, End, ExplainedStep, Explanation
from gaecli.rollouts import Block, BoolArray, FloatArray, IndexArray
from gaecli.settings import RunOptions, Settings
from gaecli.storage.places import Places
from gaecli.studies.locate import Place, StepQuery, locate
from gaecli.studies.reading import SettledStream, check_is_gae, only_stream, read_stream
from gaecli.studies.stored_advantage import stored_advantage


def explain(
    source: str | Path,
    query: StepQuery,
    settings: Settings | None = None,
    *,
    top: int | None = None,
    memory_bytes: int = 1 << 30,
) -> Explanation:
    """The advantage of one step as the sum that it is.

    Args:
        source: one file, or one stream of files.
        query: which step.
        settings: γ, λ and how the file is to be read.
        top: keep the `top` steps that contribute most; None keeps all.
        memory_bytes: as for `compute`.

    Raises:
        GaeError: as `compute` would, or because there is no such step.
    """
    settings = settings or Settings()
    check_is_gae(settings, "gae explain")
    _check_is_plain(settings)
    with Places(RunOptions(dry_run=True)) as places:
        (local,) = places.inputs.fetched([source])
        plan = only_stream(local, settings, "gae explain")
        with told(plan.paths[0]):
            reading = read_stream(plan, settings, memory_bytes)
            place = locate(reading.stream, query)
            return places.shown_in(_explanation(reading, place, _tail(reading, place), top))


def _check_is_plain(settings: Settings) -> None:
    if settings.convention.recursion != "gae":
        who = f"preset `{settings.preset}`"
    elif settings.lam_alpha is not None:
        who = f"`--lam-alpha {settings.lam_alpha:g}`"
    elif settings.mask_mode == "gated":
        who = "`--mask-mode gated`"
    else:
        return
    raise UsageError(
        f"{who} is not the sum of (γλ)ˡ δ that `gae explain` takes apart",
        hint=f"`gae presets {settings.preset}` has its formulas",
    )


@dataclass(eq=False)
class _LastStep:
    """The steps of one trajectory from some step on, piece by piece as blocks come by."""

    recursion: float = 0.0
    pieces: list[Block] = field(default_factory=list)
    rows: list[IndexArray] = field(default_factory=list)
    #: Number of the trajectory if it goes on in a later block; -1 once it is complete.
    chain: int = -1

    @property
    def is_begun(self) -> bool:
        return bool(self.pieces)


def _tail(reading: SettledStream, place: Place) -> _LastStep:
    tail = _LastStep()

    def look(file: int, start: int, settled: Settled, carry: Carry) -> None:
        if not tail.is_begun:
            step = _step_at(file, start, settled, place)
            if step is not None:
                _check_has_advantage(settled, step, place)
                tail.recursion = float(settled.advantages[step])
                _collect(tail, settled, carry, start, step)
        elif tail.chain >= 0:
            lanes = np.flatnonzero(carry.head_chains == tail.chain)
            if len(lanes):
                _collect(tail, settled, carry, start, int(settled.prepared.lanes.starts[lanes[0]]))

    for _ in reading.stream.visit(reading.context, look):
        if tail.is_begun and tail.chain < 0:
            break
    if not tail.is_begun:
        raise DataError(f"row {place.row:,} of `{place.path}` holds no step that has an advantage")
    return tail


def _step_at(file: int, start: int, settled: Settled, place: Place) -> int | None:
    """The step of this block that is meant, if it is here."""
    block = settled.block
    if file != place.file or place.row < start:
        return None
    slot = place.row - start
    if block.list_offsets is not None:
        if slot >= len(block.list_offsets) - 1:
            return None
        slot = int(block.list_offsets[slot]) + place.item
    if slot >= block.placement.num_rows:
        return None
    found = np.flatnonzero(block.placement.rows_of_steps(np.arange(block.num_steps)) == slot)
    return int(found[0]) if len(found) else None


def _check_has_advantage(settled: Settled, step: int, place: Place) -> None:
    if settled.estimated is None or settled.estimated[step]:
        return
    block = settled.block
    why = "is padding: it holds a state, and no action"
    if block.dropped is not None and block.dropped[step]:
        why = "belongs to an episode that is left out (`--on-nan drop-episode`)"
    elif block.masked is not None and block.masked[step]:
        why = "is masked"
    elif block.is_step is None or block.is_step[step]:
        why = "gets no advantage under these rules"
    raise DataError(f"row {place.row:,} of `{place.path}` {why}")


def _collect(tail: _LastStep, settled: Settled, carry: Carry, start: int, first: int) -> None:
    """Steps from `first` to the end of the trajectory, or to that of the block."""
    block = settled.prepared
    stop = first + int(np.argmax(block.cuts[first:])) + 1 if block.cuts[first:].any() else block.num_steps
    lane = np.flatnonzero((block.lanes.starts <= first) & (first < block.lanes.stops))
    stop = min(stop, int(block.lanes.stops[lane[0]])) if len(lane) else stop
    tail.chain = -1 if block.cuts[stop - 1] or not len(lane) else int(carry.tail_chains[lane[0]])
    steps = slice(first, stop)
    tail.pieces.append(_part(block, steps))
    tail.rows.append(start + block.placement.rows_of_steps(np.arange(first, stop)))


def _part(block: Block, steps: slice) -> Block:
    """As much of a block as is needed here; its lanes and its placement are left as they are."""

    def part(array: Any) -> Any:
        return None if array is None else array[steps]

    return replace(
        block,
        rewards=part(block.rewards),
        values=part(block.values),
        terminated=part(block.terminated),
        truncated=part(block.truncated),
        cuts=part(block.cuts),
        next_values=part(block.next_values),
        is_step=part(block.is_step),
        filled=part(block.filled),
        dropped=None,
        masked=None,
    )


def _explanation(reading: SettledStream, place: Place, tail: _LastStep, top: int | None) -> Explanation:
    settings, stream = reading.stream.settings, reading.stream
    gamma, lam = settings.gamma, settings.lam
    rewards = _joined(tail, "rewards")
    values = _joined(tail, "values")
    last = tail.pieces[-1]
    following = _following(tail, values, settings)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is shown as infinite
        deltas = np.where(_is_step(tail), rewards + gamma * following - values, 0.0)
    parts = decompose(deltas, gamma, lam)
    rows = np.concatenate(tail.rows)
    has_rows = stream.layout.row_is != "trajectory"
    opened = stream.files[place.file]
    key = dict(place.key) or episode_keys(opened.file, opened.layout.roles, [place.row])[0]
    return Explanation(
        path=str(place.path),
        row=place.row,
        key=key,
        settings=settings.to_dict(),
        gamma=gamma,
        lam=lam,
        reward=float(rewards[0]),
        value=float(values[0]),
        num_steps=len(rewards),
        end=_end(last),
        end_row=int(rows[-1]) if has_rows else None,
        bootstrap=_bootstrap(last, float(following[-1]), settings),
        bootstrap_value=float(following[-1]),
        mixture=float(parts.k_step_sums[-1]),
        delta_sum=float(parts.running_sums[-1]),
        recursion=tail.recursion,
        steps=_steps(parts, rewards, values, following, deltas, rows if has_rows else None, top),
        stored=stored_advantage(reading, place, tail.recursion),
        warnings=[*stream.warnings, *stored_settings(stream.opened)],
    )


def _joined(tail: _LastStep, name: str) -> FloatArray:
    return np.concatenate([getattr(piece, name) for piece in tail.pieces]).astype(np.float64)


def _is_step(tail: _LastStep) -> BoolArray:
    """[K] False for a step that the convention drops: its δ is 0."""
    parts = [
        np.ones(piece.num_steps, np.bool_) if piece.is_step is None else piece.is_step
        for piece in tail.pieces
    ]
    return np.concatenate(parts)


def _following(tail: _LastStep, values: FloatArray, settings: Settings) -> FloatArray:
    """V(s'): given, or that of the next step, or what the policy puts at the end; 0 where terminal."""
    following = np.append(values[1:], 0.0)
    position = 0
    for piece in tail.pieces:
        steps = slice(position, position + piece.num_steps)
        if piece.next_values is not None:
            given = piece.next_values
            following[steps] = np.where(np.isnan(given), following[steps], given)
        following[steps][piece.terminated] = 0.0
        position += piece.num_steps
    last = tail.pieces[-1]
    is_given = last.next_values is not None and not np.isnan(last.next_values[-1])
    if not last.terminated[-1] and not is_given and settings.bootstrap == "current":
        following[-1] = values[-1]
    return following


def _end(last: Block) -> End:
    if last.truncated[-1]:
        return "truncated"
    return "terminated" if last.terminated[-1] else "open"


def _bootstrap(last: Block, following: float, settings: Settings) -> BootstrapSource:
    if last.terminated[-1]:
        return "none"
    is_given = last.next_values is not None and not np.isnan(last.next_values[-1])
    if is_given:
        return "current" if last.filled is not None and last.filled[-1] else "next value"
    return "current" if settings.bootstrap == "current" else "zero"


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
