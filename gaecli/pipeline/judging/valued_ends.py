"""Columns of a few values that no role uses, some of which stand where trajectories end, or speak of it: told."""

from __future__ import annotations

from gaecli.columns import flag_of
from gaecli.layouts.evidence.flags import FlagEvidence
from gaecli.layouts.evidence.unused_flags import is_answered
from gaecli.layouts.evidence.valued import says_last
from gaecli.names import holds_kinds, suggests_end, words_of
from gaecli.pipeline.judging.unseen_ends import FEW, MOST, RUNS, Unseen, answering, says_nothing_new
from gaecli.shell_words import word
from gaecli.summary import WarningNote


def valued_notes(unseen: Unseen) -> list[WarningNote]:
    """One per column, with the values that may be ends."""
    if is_answered(unseen.settings):
        return []
    notes = []
    for name, values in unseen.valued.items():
        found = {label: flag for label, flag in values.items() if _may_be_end(name, label, flag, unseen)}
        if found:
            notes.append(_note(name, found, unseen))
    return notes


def _may_be_end(name: str, label: str, flag: FlagEvidence, unseen: Unseen) -> bool:
    """Now and then, never in a row, and no end that is known: by the words, or at the ends or beginnings known."""
    counts = unseen.counts
    is_told = label.startswith("!=")  # of which there may be episodes of one step
    most_pairs = (FEW if is_told else RUNS) * flag.on.steps
    is_alone = 0 < flag.on.steps <= FEW * counts.steps and flag.pairs_set <= most_pairs
    if not is_alone or says_nothing_new(f"{name} {label}", flag, unseen):
        return False
    if (
        is_told
        or suggests_end(name)
        or suggests_end(label)
        or (_may_say_it(name, label, unseen) and not unseen.are_known)
    ):
        return True
    if not unseen.are_known:
        return False
    is_at_ends = counts.last > 1 and flag.on.last >= MOST * counts.last
    return is_at_ends or (counts.first > 1 and flag.on.first >= MOST * counts.first)


def _may_say_it(name: str, label: str, unseen: Unseen) -> bool:
    """A column of kinds; of lists, which are a trajectory each, `step_type`, or one that says `last`."""
    if unseen.layout.row_is == "trajectory":
        return set(words_of(name)) == {"step", "type"} or (holds_kinds(name) and says_last(label))
    return holds_kinds(name)


def _what(label: str) -> str:
    return f"other than {label.removeprefix('!=')}" if label.startswith("!=") else f"`{label}`"


def _note(name: str, values: dict[str, FlagEvidence], unseen: Unseen) -> WarningNote:
    listed = " and ".join(f"{_what(label)} at {flag.on.steps:,} steps" for label, flag in values.items())
    # What stands at the first row begins something.
    likely = max(
        values, key=lambda label: (suggests_end(label), values[label].on.last - values[label].on.first)
    )
    named = word(f"{name}{likely}" if likely.startswith("!=") else f"{name}={likely}")
    use = " or ".join(f"`{flag_of(role)} {named}`" for role in ("terminated", "truncated", "done"))
    is_told = likely.startswith("!=")
    like = "as what is told where an episode ended" if is_told else "never in a row, as flags of ends are"
    answer = answering(unseen)
    silence = f"; `{flag_of(answer)} none` if it is none" if unseen.roles.get(answer) is None else ""
    return WarningNote(
        "unused-flag",
        f"`{name}`, which no role uses, is {listed} of {unseen.counts.steps:,}, {like}",
        unseen.path,
        sum(flag.on.steps for flag in values.values()),
        hint=f"pass {use}, if that is what it says{silence}",
    )
