"""Columns of a few values that no role uses, some of which stand where trajectories end, or speak of it: told."""

from __future__ import annotations

from collections.abc import Collection

from gaecli.columns import flag_of
from gaecli.layouts.evidence.flags import FlagEvidence
from gaecli.layouts.evidence.unused_flags import is_answered
from gaecli.layouts.evidence.valued import says_last
from gaecli.layouts.value_flags import value_flag_of
from gaecli.names import holds_kinds, suggests_end, word_set, words_of
from gaecli.pipeline.judging.unseen_ends import FEW, MOST, RUNS, Unseen, answering, says_nothing_new
from gaecli.shell_words import word
from gaecli.summary import WarningNote

#: Columns of which each kind of end is a value, and the rest says that it goes on.
_ONE_OF_EACH_END = word_set("status outcome reason result")


def valued_notes(unseen: Unseen, known: Collection[str]) -> list[WarningNote]:
    """One per column, with the values that may be ends; of those that are `known` to be counters more is told."""
    if is_answered(unseen.settings):
        return []
    notes = []
    for name, values in unseen.valued.items():
        if name in known:
            continue
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
    if name in _tested(unseen):
        # Another value of the column that says where trajectories end, and no end that is known.
        return bool(set(words_of(name)) & _ONE_OF_EACH_END) and flag.on.steps != flag.on.last
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


def _tested(unseen: Unseen) -> dict[str, tuple[str, str]]:
    """Columns of which a value is a flag, `--done-column status=crashed`: (the role, the value)."""
    tests = {role: value_flag_of(name) for role, name in unseen.roles.names.items() if "=" in name}
    return {test.column: (role, test.value) for role, test in tests.items() if test is not None}


def _with_the_others(
    name: str, test: tuple[str, str], values: dict[str, FlagEvidence], unseen: Unseen
) -> str | None:
    """The flag that takes all of them, where the column has one value beside."""
    role, value = test
    rest = [label for label in unseen.valued[name] if label not in values and label != value]
    return f"`{flag_of(role)} {word(f'{name}!={rest[0]}')}`" if len(rest) == 1 else None


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
    others = ", which no role uses,"
    if (test := _tested(unseen).get(name)) is not None:
        others, use = (
            ", another value of which is a flag,",
            _with_the_others(name, test, values, unseen) or use,
        )
    return WarningNote(
        "unused-flag",
        f"`{name}`{others} is {listed} of {unseen.counts.steps:,}, {like}",
        unseen.path,
        sum(flag.on.steps for flag in values.values()),
        hint=f"pass {use}, if that is what it says{silence}",
    )
