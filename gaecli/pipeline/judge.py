"""Facts that only all blocks together can judge: refusals and warnings about a whole stream."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gaecli.columns import Roles
from gaecli.errors import DataError, UsageError
from gaecli.layouts.ends import flag_columns
from gaecli.layouts.keys import has_duplicates
from gaecli.pipeline.blocks import BlockSummary
from gaecli.pipeline.combine import Combined
from gaecli.rollouts import Array
from gaecli.settings import Settings
from gaecli.summary import WarningNote


@dataclass(frozen=True)
class Case:
    """One stream as it was summarised."""

    paths: Sequence[Path]
    roles: Roles
    settings: Settings
    summaries: Sequence[BlockSummary]
    combined: Combined


def judge(case: Case) -> list[WarningNote]:
    """Raises what makes the numbers meaningless; returns what makes them doubtful."""
    if not case.summaries:
        return []
    _check_done_reading(case)
    _check_flags_inside(case)
    _check_ids_do_not_return(case)
    _check_steps_at_borders(case)
    return _filler_rows(case)


def _check_done_reading(case: Case) -> None:
    """Start flags read as end flags move every boundary by one row (hill-a/stable-baselines#385)."""
    flags = flag_columns(case.roles, case.settings)
    if flags.done is None or flags.done_at != "end" or case.settings.done_at is not None:
        return
    facts = [summary.facts for summary in case.summaries]
    steps = sum(summary.num_rows for summary in case.summaries)
    flagged = sum(fact.flagged_steps for fact in facts)
    first = case.summaries[0]
    id_starts = sum(fact.id_starts for fact in facts)
    on_id_starts = sum(fact.flagged_id_starts for fact in facts)
    if flagged == steps:
        return
    looks_like_start = (
        on_id_starts == id_starts
        if id_starts
        else bool(first.lanes.count) and first.facts.flagged_lane_starts == first.lanes.count
    )
    if looks_like_start:
        where = "every episode" if id_starts else "the file"
        raise UsageError(
            f"`{flags.done}` of `{case.paths[0]}` is set on the first row of {where}, as a flag is that says "
            "`this observation begins an episode`",
            hint="pass `--done-at start` if so, or `--done-at end` if that step really ended an episode",
        )


def _check_flags_inside(case: Case) -> None:
    inside = [summary for summary in case.summaries if summary.facts.flags_inside]
    if not inside:
        return
    count = sum(summary.facts.flags_inside for summary in inside)
    first = inside[0]
    raise DataError(
        f"row {first.facts.first_flag_inside} of `{case.paths[first.address.file]}` ends an episode, but the next "
        f"row has the same episode id; {count:,} such in all",
        hint="rows may be repeated, or the flag belongs to the start of its step (`--done-at start`); to go "
        "by the flags alone, pass `--episode-column none`",
    )


def _check_ids_do_not_return(case: Case) -> None:
    """Where rows of one id stand together, an id that comes back means that something is mixed up."""
    labels: list[Hashable] = []
    arrays: list[Array] = []
    previous: Hashable = None
    for summary in case.summaries:
        found = summary.facts.run_labels
        if found is None:
            return
        goes_on = bool(len(found)) and found[0] == previous
        if isinstance(found, np.ndarray):
            arrays.append(found[1:] if goes_on else found)
        else:
            labels.extend(found[1:] if goes_on else found)
        previous = found[-1] if len(found) else previous
    everything = np.concatenate(arrays) if arrays else labels
    if not has_duplicates(everything):
        return
    seen: set[Hashable] = set()
    for label in list(everything):
        if label in seen:
            raise DataError(
                f"episode id {label!r} of `{case.paths[0]}` comes back after other episodes",
                hint="sort the rows by episode, name the environment with `--env-column`, or pass "
                "`--episode-column none` to go by the flags alone",
            )
        seen.add(label)


def _check_steps_at_borders(case: Case) -> None:
    strides = {fact.facts.step_stride for fact in case.summaries} - {None}
    if not strides:
        return
    name = case.roles.get("step")
    stride = min(step for step in strides if step is not None)
    if len(strides) > 1:
        raise DataError(
            f"`{name}` of `{case.paths[0]}` advances by {sorted(map(str, strides))} in different places",
            hint="steps are missing; restore them, or pass `--step-column none` if it does not count steps",
        )
    for block, lane, next_block, next_lane in reversed(case.combined.links):
        last = case.summaries[block].lanes.last_steps
        first = case.summaries[next_block].lanes.first_steps
        if last is None or first is None or first[next_lane] - last[lane] == stride:
            continue
        path = case.paths[case.summaries[next_block].address.file]
        what = "repeated" if first[next_lane] == last[lane] else "missing or out of order"
        raise DataError(
            f"`{name}` goes from {last[lane]} to {first[next_lane]} at row {case.summaries[next_block].start} of "
            f"`{path}`: steps are {what}",
            hint="sort the rows by trajectory and step, or pass `--step-column none` if it does not count steps",
        )


def _filler_rows(case: Case) -> list[WarningNote]:
    """Gymnasium's next-step autoreset puts a row without an action after every end."""
    if case.roles.get("episode") is not None or case.roles.get("step") is not None:
        return []
    followed = sum(summary.facts.followed_ends for summary in case.summaries)
    zero = sum(summary.facts.zero_after_end for summary in case.summaries)
    total = sum(summary.num_rows for summary in case.summaries)
    if followed < 3 or zero < followed or followed > total // 4:
        return []
    return [
        WarningNote(
            "filler-rows",
            "every end of an episode is followed by a step with reward 0: these may be filler rows of "
            "Gymnasium's next-step autoreset, which are no steps",
            file=str(case.paths[0]),
            count=zero,
            hint="leave them out when recording (`autoreset_mode=SAME_STEP`), or add an episode column",
        )
    ]
