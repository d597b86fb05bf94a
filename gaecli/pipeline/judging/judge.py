"""Facts that only all blocks together can judge: refusals and warnings about a whole stream."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gaecli.array_types import Array, IndexArray
from gaecli.columns import Roles, flag_of
from gaecli.errors import DataError, UsageError
from gaecli.layout_kinds import LayoutKind
from gaecli.layouts.dense import IN_LANES, env_changes
from gaecli.layouts.evidence.id_holes import check_id_holes
from gaecli.layouts.evidence.rows import check_pieces, check_rows
from gaecli.layouts.flag_columns import EndsOnFirstRow, FlagColumns, flag_columns
from gaecli.layouts.keys import as_labels, first_duplicate, has_duplicates
from gaecli.layouts.long import id_comes_back
from gaecli.layouts.row_order import NeedsKeys
from gaecli.names import speaks_of_next_state
from gaecli.pipeline.blocks import BlockSummary
from gaecli.pipeline.combine import Combined
from gaecli.pipeline.judging.filler_rows import filler_rows
from gaecli.pipeline.judging.ids import unused_ids
from gaecli.pipeline.judging.missed_rewards import missed_rewards
from gaecli.pipeline.judging.unseen_ends import judge_ends, unseen_of
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.shell_words import word
from gaecli.summary import WarningNote


@dataclass(frozen=True)
class StreamEvidence:
    """One stream as it was summarised."""

    paths: Sequence[Path]
    roles: Roles
    settings: Settings
    summaries: Sequence[BlockSummary]
    combined: Combined
    layout: LayoutKind
    #: Rows were taken key by key, so that ids may come back.
    by_key: bool = False

    @cached_property
    def flags(self) -> FlagColumns:
        return flag_columns(self.roles, self.settings)


def judge(case: StreamEvidence) -> list[WarningNote]:
    """Raises what makes the numbers meaningless; returns what makes them doubtful."""
    if not case.summaries:
        return []
    _check_rows(case)
    _check_id_holes(case)
    _check_counted_slots(case)
    _check_done_reading(case)
    masked = _mask_notes(case)
    _check_flags_inside(case)
    _check_ids_do_not_return(case)
    _check_lanes_keep_their_env(case)
    _check_steps_at_borders(case)
    ids = unused_ids(case.paths, case.roles, case.summaries, case.combined)
    borders = _unused_borders(case)
    return [
        *_inverted_flags(case),
        *_unseen_ends(case, borders),
        *masked,
        *_unfilled_tails(case),
        *_chains(case),
        *filler_rows(case.summaries, case.roles, str(case.paths[0])),
        *_clock_falls(case),
        *missed_rewards(case.paths, case.roles, case.settings, case.summaries),
        *_unit_notes(case),
        *ids,
        *borders.values(),
    ]


def _unfilled_tails(case: StreamEvidence) -> list[WarningNote]:
    if not any(part.tails or (part.held and part.held.may_be_padding) for part in case.summaries):
        return []
    from gaecli.pipeline.judging.unfilled import unfilled_tails

    return unfilled_tails(str(case.paths[0]), case.summaries)


def _chains(case: StreamEvidence) -> list[WarningNote]:
    found = [part.chain for part in case.summaries if part.chain is not None]
    if all(one.is_whole for one in found):
        return []
    from gaecli.pipeline.judging.chains import unchained_values

    return unchained_values(str(case.paths[0]), found, case.settings)


def _unit_notes(case: StreamEvidence) -> list[WarningNote]:
    name = case.roles.get("unit")
    if name is None:
        return []
    from gaecli.pipeline.judging.units import check_readings, unit_notes

    check_readings(name, case.paths, case.summaries, case.combined.carries)
    return unit_notes(case.paths, case.summaries, case.combined.carries)


def _unused_borders(case: StreamEvidence) -> dict[str, WarningNote]:
    if not case.summaries[0].ends.breaks:
        return {}
    from gaecli.pipeline.judging.breaks import unused_borders

    return unused_borders(
        case.paths,
        case.summaries,
        case.combined,
        case.summaries[0].facts.suspects,
        has_ids=case.roles.get("episode") is not None,
    )


def _unseen_ends(case: StreamEvidence, borders: Collection[str]) -> list[WarningNote]:
    unseen = unseen_of(
        str(case.paths[0]),
        case.layout,
        case.roles,
        case.settings,
        case.flags,
        case.summaries,
        case.combined,
    )
    notes = judge_ends(unseen)
    if unseen.valued:
        from gaecli.pipeline.judging.valued_ends import valued_notes

        notes += valued_notes(unseen, borders)
    return notes


def _check_rows(case: StreamEvidence) -> None:
    facts = [(case.paths[part.address.file], part.facts.rows) for part in case.summaries]
    check_rows(
        [(path, rows) for path, rows in facts if rows is not None],
        case.flags.names,
    )
    pieces = [(case.paths[part.address.file], part.facts.pieces) for part in case.summaries]
    if case.settings.layout == "auto":
        check_pieces([(path, found) for path, found in pieces if found is not None])


def _check_id_holes(case: StreamEvidence) -> None:
    found = [(str(case.paths[part.address.file]), part.facts.id_holes) for part in case.summaries]
    check_id_holes(found, case.roles)


def _check_counted_slots(case: StreamEvidence) -> None:
    found = [(case.paths[part.address.file], part.facts.slots) for part in case.summaries]
    if any(slots for _, slots in found):
        from gaecli.layouts.evidence.padded_rows import check_counted_slots

        check_counted_slots(found)


def _check_done_reading(case: StreamEvidence) -> None:
    """Start flags read as end flags move every boundary by one row (hill-a/stable-baselines#385)."""
    flags = case.flags
    if flags.done is None or flags.done_at != "end" or case.settings.done_at is not None:
        return
    facts = [summary.facts for summary in case.summaries]
    steps = sum(summary.num_rows for summary in case.summaries)
    flagged = sum(fact.flagged_steps for fact in facts)
    first = case.summaries[0]
    id_starts = sum(fact.id_starts for fact in facts)
    on_id_starts = sum(fact.flagged_id_starts for fact in facts)
    is_told = speaks_of_next_state(flags.done) and not id_starts and first.lanes.count == 1
    if flagged == steps or is_told:  # one episode of a single step says less than the name
        return
    looks_like_start = (
        on_id_starts == id_starts
        if id_starts
        else bool(first.lanes.count) and first.facts.flagged_lane_starts == first.lanes.count
    )
    if looks_like_start:
        from gaecli.pipeline.judging.shown_ends import ends_are_shown

        if not id_starts and ends_are_shown(case.roles, case.summaries, case.combined):
            return
        where, kind = ("every episode", UsageError) if id_starts else ("the file", EndsOnFirstRow)
        raise kind(
            f"`{flags.done}` of `{case.paths[0]}` is set on the first row of {where}, as a flag is that says "
            "`this observation begins an episode`",
            hint="pass `--done-at start` if so, or `--done-at end` if that step really ended an episode",
        )


def _mask_notes(case: StreamEvidence) -> list[WarningNote]:
    facts = [summary.facts.mask for summary in case.summaries if summary.facts.mask is not None]
    if not facts:
        return []
    from gaecli.pipeline.judging.masks import check_reading, masked_ends, never_masked

    check_reading(case.paths[0], facts, case.roles, case.settings)
    count = sum(summary.facts.masked_ends for summary in case.summaries)
    return [
        *never_masked(case.paths[0], facts, case.roles, case.settings),
        *masked_ends(case.paths[0], count, case.roles),
    ]


def _check_flags_inside(case: StreamEvidence) -> None:
    """An unroll, or the rows of an agent, may hold several episodes; an episode ends once."""
    if case.roles.get("episode") is None:
        return
    inside = [
        (summary.address.file, summary.facts.first_flag_inside)
        for summary in case.summaries
        if summary.facts.flags_inside
    ]
    at_borders = [(case.summaries[block], lane) for block, lane in case.combined.conflicts]
    inside += [(summary.address.file, int(summary.last_rows[lane])) for summary, lane in at_borders]
    if not inside:
        return
    # Of agents that take turns within an episode each has an end of its own: that is asked about first.
    unused_ids(case.paths, case.roles, case.summaries, case.combined)
    count = sum(summary.facts.flags_inside for summary in case.summaries) + len(at_borders)
    file, row = min(inside, key=lambda place: (place[0], place[1] or 0))
    other = "start" if case.flags.done_at == "end" else "end"
    is_masked = case.roles.get("mask") is not None and case.settings.mask_mode != "cut"
    in_cuts = "pass `--mask-mode cut` if the mask leaves out what follows; " if is_masked else ""
    raise DataError(
        f"row {row} of `{case.paths[file]}` ends an episode, but the next "
        f"row has the same episode id; {count:,} such in all",
        hint=f"rows may be repeated, or the flag belongs to the {other} of its step (`--done-at {other}`); "
        f"{in_cuts}to go by the flags alone, pass `--episode-column none`",
    )


def _check_ids_do_not_return(case: StreamEvidence) -> None:
    """Raises `NeedsKeys` where an id comes back after others, so that its rows do not stand together."""
    if case.by_key or case.summaries[0].facts.run_labels is None:
        return
    has_fixed_lanes = case.summaries[0].facts.has_fixed_lanes
    in_lanes = has_fixed_lanes or case.roles.get("env") is not None
    returning = _returning_in_lanes(case) if in_lanes else _returning(case)
    if returning is None:
        return
    if has_fixed_lanes:
        raise id_comes_back(returning, str(case.paths[0]), IN_LANES)
    has_flags = case.flags.any
    if not has_flags and case.roles.get("step") is None:
        raise id_comes_back(returning, str(case.paths[0]))
    raise NeedsKeys


def _check_lanes_keep_their_env(case: StreamEvidence) -> None:
    """A lane of arrays is one environment, in all blocks of a file."""
    known: dict[tuple[int, Hashable], Hashable] = {}
    for summary in case.summaries:
        if not summary.facts.has_fixed_lanes or isinstance(summary.lanes.keys, np.ndarray):
            return
        for key in summary.lanes.keys:
            assert isinstance(key, tuple)
            if known.setdefault((summary.address.file, key[0]), key) != key:
                path = case.paths[summary.address.file]
                raise env_changes(case.roles.names["env"], path, f"row {summary.start}")


def _returning(case: StreamEvidence) -> Hashable:
    """An id whose rows do not stand together in the file; None if there is none."""
    parts: list[Any] = [summary.facts.run_labels for summary in case.summaries]
    are_arrays = all(isinstance(part, np.ndarray) for part in parts)
    new: list[Any] = []
    previous: Hashable = None
    for part in parts:
        found = part if are_arrays else as_labels(part)
        goes_on = bool(len(found)) and found[0] == previous
        new.append(found[1:] if goes_on else found)
        previous = found[-1] if len(found) else previous
    everything = np.concatenate(new) if are_arrays else [label for part in new for label in part]
    return first_duplicate(everything) if has_duplicates(everything) else None


def _returning_in_lanes(case: StreamEvidence) -> Hashable:
    """The same within each environment."""
    seen: set[Hashable] = set()
    last: dict[Hashable, Hashable] = {}
    for summary in case.summaries:
        before: Hashable = None
        runs: Any = summary.facts.run_labels
        for lane, identity in runs:
            goes_on = lane != before and lane in last and last[lane] == identity
            before = lane
            if goes_on:
                continue
            if (lane, identity) in seen:
                returning: Hashable = identity
                return returning
            seen.add((lane, identity))
        last.update(zip(as_labels(summary.lanes.keys), as_labels(summary.lanes.last_ids), strict=True))
    return None


def _check_steps_at_borders(case: StreamEvidence) -> None:
    strides = {found for summary in case.summaries if (found := summary.facts.step_stride) is not None}
    name = case.roles.get("step") or case.roles.clock
    lanes, last, first = _steps_at_borders(case)
    if not strides and not (first != last).any() and "step" not in case.roles.explicit:
        return  # it stands still, and counts something else
    counts = first.dtype.kind == "i"
    # Where no block holds two steps of one trajectory, the borders alone tell.
    stride = min([*strides, *(first - last).tolist()], default=None) if counts else 0
    if stride is None:
        return
    if counts and len(strides) > 1:
        raise DataError(
            f"`{name}` of `{case.paths[0]}` advances by {sorted(map(str, strides))} in different places",
            hint="steps are missing; restore them, or pass `--step-column none` if it does not count steps",
        )
    wrong = np.flatnonzero((first - last != stride) | (stride <= 0) if counts else first < last)
    if not len(wrong):
        return
    index = int(wrong[0])
    here, there = last[index], first[index]
    following = case.summaries[
        int(case.combined.block_of(case.combined.successors[lanes[index : index + 1]])[0])
    ]
    what = "repeated" if there == here else "missing or out of order"
    raise DataError(
        f"`{name}` goes from {here} to {there} at row {following.start} of "
        f"`{case.paths[following.address.file]}`: steps are {what}",
        hint="sort the rows by trajectory and step, or pass `--step-column none` if it does not count steps",
    )


def _steps_at_borders(case: StreamEvidence) -> tuple[IndexArray, Array, Array]:
    """Lanes whose trajectory goes on in another block, its step on this side of the border, and on the other.

    float64 if any block has steps that only order.
    """
    counts = [summary.lanes.count for summary in case.summaries]
    found = [(summary.lanes.first_steps, summary.lanes.last_steps) for summary in case.summaries]
    is_known = np.repeat([first is not None for first, _ in found], counts)
    lanes = np.flatnonzero((case.combined.successors >= 0) & is_known)
    lanes = lanes[is_known[case.combined.successors[lanes]]]
    if not len(lanes):
        return lanes, lanes, lanes
    first_steps, last_steps = (
        np.concatenate(
            [
                np.zeros(count, np.int64) if steps is None else steps
                for steps, count in zip(side, counts, strict=True)
            ]
        )
        for side in zip(*found, strict=True)
    )
    return lanes, last_steps[lanes], first_steps[case.combined.successors[lanes]]


def _inverted_flags(case: StreamEvidence) -> list[WarningNote]:
    """An inverted flag may hold γ (1 - d): one γ in all blocks, and that of the run."""
    found = [summary.facts.inverted for summary in case.summaries if summary.facts.inverted is not None]
    name = case.roles.get("not_done")
    levels = sorted({fact.level for fact in found if fact.level is not None})
    if name is None or not levels:
        return []
    path, option = case.paths[0], flag_of("not_done")
    if len(levels) > 1:
        raise DataError(
            f"`{name}` of `{path}` holds {levels[0]} and {levels[1]}: an inverted flag is 0 where it ends, and "
            "one number elsewhere",
            hint=f"pass `--gamma-column {word(name)}` if it is a discount that changes by the step, or "
            f"`{option} none` if the column does not say where episodes end",
        )
    notes = []
    gamma = case.settings.gamma
    if (
        case.settings.gamma_column is None
        and levels[0] != 1
        and not math.isclose(levels[0], gamma, rel_tol=max(fact.rounding for fact in found))
    ):
        notes.append(
            WarningNote(
                "discount-differs",
                f"`{name}` holds {levels[0]:.6g} where nothing ends: a discount, and not this run's γ of {gamma:g}",
                file=str(path),
                hint=f"pass `--gamma {levels[0]:.6g}`, or `{option} none` if it says nothing of ends",
            )
        )
    flags = case.flags
    if flags.terminated == name and not any(fact.has_ends for fact in found):
        notes.append(
            WarningNote(
                "discount-never-0",
                f"`{name}` is never 0, so that no end of `{flags.done}` counts as terminal",
                file=str(path),
                hint=f"pass `{option} none` if it says nothing of ends",
            )
        )
    return notes


def _clock_falls(case: StreamEvidence) -> list[WarningNote]:
    """Nothing orders the rows but what the file calls its time, and they were sorted by that."""
    found = [summary for summary in case.summaries if summary.facts.clock_falls]
    name = case.roles.clock
    if name is None or not found:
        return []
    first = found[0]
    count = sum(summary.facts.clock_falls for summary in found)
    return [
        WarningNote(
            "unsorted-rows",
            f"`{name}` falls within an episode at row {first.facts.first_clock_fall} of "
            f"`{case.paths[first.address.file]}`, {count:,} such in all, and no column counts the steps: the rows "
            f"were taken in the order of `{name}`",
            file=str(case.paths[0]),
            count=count,
            hint=f"pass `--step-column {word(name)}` if that is right, or `--step-column none` for the "
            "order of the file",
        )
    ]
