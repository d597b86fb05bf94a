"""Rollout files read for a study: opened, checked and settled by the pipeline, nothing written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gaecli.engines.local import LocalEngine
from gaecli.engines.threads import Threads
from gaecli.errors import UsageError
from gaecli.estimators.base import Estimator
from gaecli.estimators.conventions import crosses_trajectories
from gaecli.estimators.ends_only import for_ends_only, is_for_ends_only
from gaecli.estimators.registry import make_estimator
from gaecli.formats.base import RolloutFile
from gaecli.kernels.devices import choose_device
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.opening import OpenStream, open_stream
from gaecli.pipeline.settle import Settled
from gaecli.pipeline.stream import RunContext, SummarisedStream, summarised, with_numbers, with_outcomes
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.settings import Settings
from gaecli.sources.inputs import StreamPlan, plan_streams

#: What makes rewards of success.
SUCCESS_SETTINGS = ("success_column", "success_reward", "failure_cost", "success_at")

#: Share of the memory limit for blocks that are kept from the first look to the second.
STORE_SHARE = 0.4


#: Settings of how files are read, whatever is computed of them.
_OF_FILES = ("layout", "token_column", "columns", "join", "on_nan", "done_at", *SUCCESS_SETTINGS)

#: Settings of how masks are read.
OF_MASKS = ("mask_mode", "mask_fill", "masked_reward")
#: What conventions say of how rows are read, how arrays are, and how masks.
_READ_BY = ("over_units",)
_READ_BY_ARRAYS = ("dense_layout", "done_at")
_READ_BY_MASKS = ("mask_shift", "mask_reach", "masks_rewards", "masked_returns")


class Tried(Protocol):
    """Gives what the call gives, or None and makes a note of why the stream is left out."""

    def __call__(self, plan: StreamPlan, look: Callable[[], Any]) -> Any: ...


@dataclass(frozen=True, eq=False)
class SettledStream:
    """A stream after its first look: every cell is checked, every carry known."""

    stream: SummarisedStream
    context: RunContext


def read_stream(
    plan: StreamPlan,
    settings: Settings,
    memory_bytes: int,
    *,
    estimator: Estimator | None = None,
    block_rows: int | None = None,
    number: int = 0,
    longest_episode: int = 0,
    threads: Threads | None = None,
) -> SettledStream:
    """Open and summarise one stream. Blocks come one after the other, in order; without `threads` in this one.

    `longest_episode`: of other streams, where success makes the rewards.
    """
    opened = open_stream(plan, settings, memory_bytes, number=number, block_rows=block_rows)
    return settled(replace(opened, longest_episode=longest_episode), estimator, threads)


def longest_episode(plans: Sequence[StreamPlan], settings: Settings, memory_bytes: int, tried: Tried) -> int:
    """Steps of the longest one of all streams, where success makes the rewards by it; else 0."""
    if settings.success_column is None or len(plans) < 2:
        return 0

    def look(plan: StreamPlan) -> int:
        opened = open_stream(plan, settings, memory_bytes)
        return with_outcomes(opened, RunContext.plain(plain_estimator(settings), 0)).longest_episode

    found = [tried(plan, partial(look, plan)) for plan in plans]
    return max((longest for longest in found if longest is not None), default=0)


def read_by(settings: Settings, file: RolloutFile, *, has_mask: bool) -> tuple[object, ...]:
    """What the convention says of how rows of such a file are read: two that say the same read them alike."""
    rules = [*_READ_BY, *(_READ_BY_MASKS if has_mask else ())]
    rules += _READ_BY_ARRAYS if file.structure != "table" else ()
    return (settings.reward_at, *(getattr(settings.convention, name) for name in rules))


def plain_estimator(settings: Settings) -> Estimator:
    return make_estimator(settings, choose_device("auto", 0))


def settled(
    opened: OpenStream,
    estimator: Estimator | None = None,
    threads: Threads | None = None,
    *,
    store_share: float = STORE_SHARE,
) -> SettledStream:
    """Summarise what is open."""
    estimator = estimator or plain_estimator(opened.settings)
    context = RunContext.plain(estimator, int(opened.memory_bytes * store_share), threads)
    return SettledStream(summarised(opened, context), context)


def settled_blocks(reading: SettledStream) -> Iterator[tuple[int, int, Settled, Carry]]:
    """(file, first row, block, what it is told), in order: the next ones are read while one is looked at."""
    return reading.stream.visit(reading.context, lambda *block: block)


def needs_all_rows(settings: Settings) -> bool:
    """The number of a step rests on those of other trajectories."""
    return settings.normalizes or crosses_trajectories(settings)


def read_for_ends(opened: OpenStream, threads: Threads) -> SettledStream:
    """As `read_stream`, without the numbers: those of one row are for `numbers_around`.

    Every cell is checked, and all that can be refused or warned of is.
    """
    estimator = plain_estimator(opened.settings)
    if needs_all_rows(opened.settings) or for_ends_only(estimator) is estimator:
        return _one_by_one(settled(opened, estimator, threads))
    context = RunContext.plain(for_ends_only(estimator), 0, threads)
    return _one_by_one(SettledStream(summarised(opened, context), context))


def numbers_around(
    reading: SettledStream, file: int, row: int, threads: Threads, *, is_whole: bool
) -> SettledStream:
    """The numbers of the trajectories that the block with this row has a part of, from there on.

    `is_whole`: those before it as well.
    """
    stream = reading.stream
    estimator = plain_estimator(stream.settings)
    if not is_for_ends_only(reading.context.worker.estimator):
        return reading
    context = RunContext.plain(estimator, int(stream.opened.memory_bytes * STORE_SHARE), threads)
    units = _units_around(stream, file, row, is_whole=is_whole)
    return _one_by_one(SettledStream(with_numbers(stream, units, context), context))


def _one_by_one(reading: SettledStream) -> SettledStream:
    """Looks at its blocks may know of those before them."""
    worker = reading.context.worker
    return replace(reading, context=RunContext(LocalEngine(worker, Threads(1)), worker))


def _units_around(stream: SummarisedStream, file: int, row: int, *, is_whole: bool) -> set[tuple[int, int]]:
    """(file, unit) of those that the trajectories of a block go on in."""
    addresses = [one.address for one in stream.summaries if one.address.file == file and one.start <= row]
    if not addresses:
        return set()
    here = addresses[-1]
    carries = {address: carry for unit in stream.carries.values() for address, carry in unit.items()}
    chains = np.concatenate((carries[here].tail_chains, carries[here].head_chains))
    chains = chains[chains >= 0]
    found = {(here.file, here.unit)}
    for address, carry in carries.items():
        is_before = (address.file, address.unit, address.part) < (here.file, here.unit, here.part)
        if is_before and not is_whole:
            continue
        if np.isin(np.concatenate((carry.head_chains, carry.tail_chains)), chains).any():
            found.add((address.file, address.unit))
    return found


def with_lane_ends(prepared: Block, carry: Carry) -> Block:
    """The block with V(s') at the ends of its lanes among its next values, where they are known."""
    last = prepared.lanes.stops - 1
    values = carry.as_read.values
    is_known = prepared.cuts[last] & ~prepared.terminated[last] & (values != 0)
    if not is_known.any():
        return prepared
    next_values = np.full(prepared.num_steps, np.nan)
    if prepared.next_values is not None:
        next_values[:] = prepared.next_values
    next_values[last[is_known]] = values[is_known]
    return replace(prepared, next_values=next_values)


def of_stream(settled: Settled, carry: Carry, number: int | None) -> tuple[Settled, Carry]:
    """With one stream of rewards; None: with what all of them add up to, and the ends of the first."""
    if number is None or not settled.streams:
        return settled, carry
    return list(settled.streams.values())[number], carry if number == 0 else carry.others[number - 1]


def file_settings(settings: Settings) -> dict[str, Any]:
    """How the user says that files are to be read, for other settings of what is computed of them."""
    found = {name: getattr(settings, name) for name in _OF_FILES}
    if settings.arrives:  # else presets say where their libraries have rewards
        found["reward_at"] = settings.reward_at
    return found


def only_stream(source: str | Path, settings: Settings, command: str) -> StreamPlan:
    """The one stream that a source is; `command` is who wants it, for the message."""
    plans = plan_streams([source], settings.join)
    if len(plans) != 1:
        raise UsageError(
            f"`{source}` is {len(plans)} independent inputs, and `{command}` looks at one",
            hint=f"name one of them, such as `{plans[0].paths[0]}`" if plans else None,
        )
    return plans[0]
