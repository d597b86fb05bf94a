"""Units of several steps that say nothing: told before anything is computed over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gaecli.errors import DataError, UsageError
from gaecli.pipeline.blocks import BlockSummary
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.notes import counted
from gaecli.summary import WarningNote


def check_readings(
    name: str, paths: Sequence[Path], summaries: Sequence[BlockSummary], carries: Sequence[Carry]
) -> None:
    """What all blocks together hold is ids, or flags; `UsageError` where it may be either, and it matters."""
    facts = [
        (paths[summary.address.file], summary.facts.units, carry.units)
        for summary, carry in zip(summaries, carries, strict=True)
        if summary.facts.units is not None and summary.facts.units.steps
    ]
    found = {fact.reading: path for path, fact, _ in reversed(facts)}
    if len(found) > 1:
        raise DataError(
            f"`{name}` holds flags in `{found['end']}` and ids in `{found['id']}`, and they belong to one stream",
            hint="pass `--unit-is id` or `--unit-is end`, or `--no-join` if the files are independent",
        )
    doubts = [(path, fact.doubt) for path, fact, _ in facts if fact.doubt is not None]
    differs = any(doubt.differs for _, doubt in doubts) or any(
        entries is not None and entries.doubtful.any() for _, _, entries in facts
    )
    if not facts or len(doubts) < len(facts) or not differs:
        return
    path, first = next(((path, one.first_one) for path, one in doubts if one.first_one), (paths[0], None))
    raise UsageError(
        f"`{name}` of `{path}` holds nothing but 0 and 1: the first two turns, or flags at the last token of "
        f"each, which makes other units of it{'' if first is None else f'; the first 1 is at {first}'}",
        hint="pass `--unit-is id` or `--unit-is end`",
    )


def unit_notes(
    paths: Sequence[Path], summaries: Sequence[BlockSummary], carries: Sequence[Carry]
) -> list[WarningNote]:
    """Every trajectory is one single unit; rewards stand where no unit is."""
    facts = [summary.facts.units for summary in summaries if summary.facts.units is not None]
    entries = [carry.units for carry in carries if carry.units is not None]
    again = sum(int(np.count_nonzero(one.same)) for one in entries)
    later = sum(int(np.count_nonzero(one.other)) for one in entries)
    file = str(paths[0]) if len(paths) == 1 else None
    notes = []
    count = sum(fact.units for fact in facts) - again
    episodes = sum(fact.episodes for fact in facts) - again - later
    if 0 < count == episodes < sum(fact.steps for fact in facts):
        hint = "look at the column: an id that is 0 at every token (AReaL#1666), or a flag that is never set"
        notes.append(counted("single-units", (count,), file, hint=hint))
    outside = sum(fact.rewards_outside for fact in facts)
    outside += sum(int(np.count_nonzero(one.ahead.lost)) for one in entries if one.ahead is not None)
    if outside:
        hint = "give them to a token of the turn that earned them"
        notes.append(counted("rewards-outside-units", (outside,), file, hint=hint))
    return notes
