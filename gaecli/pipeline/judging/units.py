"""Units of several steps that say nothing: told before anything is computed over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gaecli.pipeline.blocks import BlockSummary
from gaecli.pipeline.notes import counted
from gaecli.summary import WarningNote


def unit_notes(paths: Sequence[Path], summaries: Sequence[BlockSummary]) -> list[WarningNote]:
    """Every trajectory is one single unit; rewards stand where no unit is."""
    facts = [summary.facts.units for summary in summaries if summary.facts.units is not None]
    file = str(paths[0]) if len(paths) == 1 else None
    notes = []
    count = sum(fact.units for fact in facts)
    if 0 < count == sum(fact.episodes for fact in facts) < sum(fact.steps for fact in facts):
        hint = "look at the column: an id that is 0 at every token (AReaL#1666), or a flag that is never set"
        notes.append(counted("single-units", (count,), file, hint=hint))
    outside = sum(fact.rewards_outside for fact in facts)
    if outside:
        hint = "give them to a token of the turn that earned them"
        notes.append(counted("rewards-outside-units", (outside,), file, hint=hint))
    return notes
