"""Ends that a file may hold and that nothing reads: columns of 0 and 1 that no role uses, flags that are never set.

Where nothing known ends a trajectory, such a column is asked about. Where ends are known, one that stands
beside them, or is called as ends are, is told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from gaecli.array_types import BoolArray
from gaecli.columns import Roles, flag_of
from gaecli.layout_kinds import LayoutKind
from gaecli.layouts.evidence.flags import EndCounts, FlagEvidence
from gaecli.layouts.evidence.unused_flags import END_ROLES, EndsUnrecognised
from gaecli.layouts.flag_columns import FlagColumns
from gaecli.names import INVERTED_ROLES, all_words_of, speaks_of_limits, suggests_end, suggests_mask, word_set
from gaecli.pipeline.blocks import BlockSummary
from gaecli.pipeline.combine import Combined
from gaecli.pipeline.notes import counted
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.shell_words import word
from gaecli.summary import WarningNote

#: So much of one thing goes with another, where it goes with it at all.
MOST = 0.9
#: Ends are fewer than this share of the steps, or everything stands beside one.
FEW = 0.45
#: Ends stand alone: of a flag, at most this share is followed by another.
RUNS = 0.05
#: Steps without any end from which on it is odd that a flag is never set.
_MANY_STEPS = 1_000
#: Words of flags that stand on the first step of an episode.
_BEGINNINGS = word_set("start starts begin begins first new")


@dataclass(frozen=True)
class Unseen:
    """All that a stream tells of its ends."""

    path: str
    layout: LayoutKind
    roles: Roles
    settings: Settings
    flags: FlagColumns
    counts: EndCounts
    #: Columns that no role uses, hold 0 and 1 throughout, and both of them.
    unused: Mapping[str, FlagEvidence]
    #: Columns of a few values -> what each would say as a flag.
    valued: Mapping[str, Mapping[str, FlagEvidence]]

    @property
    def are_known(self) -> bool:
        """Some end is flagged."""
        return self.counts.flagged > 0

    @property
    def are_complete(self) -> bool:
        """Not truncations alone, which leave open where the others end."""
        says_all = self.flags.terminated is not None or self.flags.done is not None or self.counts.padding > 0
        return self.are_known and says_all

    @property
    def lacks_truncations(self) -> bool:
        """Terminations alone: where a limit cuts, nothing says so."""
        is_discount = self.flags.is_terminal_only and self.flags.done in self.flags.inverted
        return (self.flags.done is None or is_discount) and self.flags.truncated is None

    @property
    def has_ids(self) -> bool:
        """Something beside flags says where one trajectory ends and the next begins."""
        return self.layout.row_is == "trajectory" or self.roles.get("episode") is not None

    @property
    def is_named(self) -> bool:
        """The user named a column of ends."""
        return any(role in self.roles.explicit for role in END_ROLES)


def unseen_of(
    path: str,
    layout: LayoutKind,
    roles: Roles,
    settings: Settings,
    flags: FlagColumns,
    summaries: Sequence[BlockSummary],
    combined: Combined,
) -> Unseen:
    counts, unused, valued = _merged(summaries, combined)
    two_valued = {
        name: found
        for name, found in unused.items()
        if 0 < found.on.steps < counts.steps and not _counts_two_steps(name, counts)
    }
    return Unseen(path, layout, roles, settings, flags, counts, two_valued, valued)


def _counts_two_steps(name: str, counts: EndCounts) -> bool:
    """0 and 1 of two steps are their numbers, where a name says that it counts."""
    if counts.steps > 2:
        return False
    from gaecli.layouts.evidence.breaks import is_time

    return is_time(name)


#: The labels of what flags are where they are set, in columns of other numbers (`gaecli.layouts.evidence.flags`).
_ZERO, _ONE, _NOT_0 = "0", "1", "!=0"


def _merged(
    summaries: Sequence[BlockSummary], combined: Combined
) -> tuple[EndCounts, dict[str, FlagEvidence], dict[str, dict[str, FlagEvidence]]]:
    """Of all blocks. What stands at the borders of blocks is an end or a beginning if nothing goes on there."""
    goes_on = combined.successors >= 0
    is_reached = np.zeros(len(goes_on), np.bool_)
    is_reached[combined.successors[goes_on]] = True
    counts = EndCounts()
    no_flags: set[str] = set()
    #: Of columns that are flags in some blocks: what 1 and 0 would say, should they be none in others.
    ones: dict[str, FlagEvidence] = {}
    zeros: dict[str, FlagEvidence] = {}
    valued: dict[str, dict[str, FlagEvidence]] = {}
    many: set[str] = set()
    for index, summary in enumerate(summaries):
        lanes = slice(int(combined.offsets[index]), int(combined.offsets[index + 1]))
        ends = summary.lanes.open_ends & ~summary.borders.last_cut & ~goes_on[lanes]
        begins = ~is_reached[lanes] & (summary.lanes.first_padding < 0)
        counts += summary.ends.counts + EndCounts.of(
            terminated=combined.carries[index].ends_terminated, last=ends, first=begins
        )
        for name, found in summary.ends.unused.items():
            if found is None:
                no_flags.add(name)
                continue
            here = _settled(found, ends, begins)
            ones[name] = _sum(ones.get(name, FlagEvidence()), here)
            there = _settled(_inverse(found, summary.ends.counts), ends, begins)
            zeros[name] = _sum(zeros.get(name, FlagEvidence()), there)
        for name, values in summary.ends.valued.items():
            if values is None:
                many.add(name)
                continue
            known = valued.setdefault(name, {})
            for label, flag in values.items():
                known[label] = _sum(known.get(label, FlagEvidence()), _settled(flag, ends, begins))
    for name in valued.keys() & ones.keys():
        values, labels = valued[name], {_ONE: ones[name], _ZERO: zeros[name]}
        if _NOT_0 in values:
            labels = {_NOT_0: ones[name]}
        for label, flag in labels.items():
            if flag.on.steps:
                values[label] = _sum(values.get(label, FlagEvidence()), flag)
        valued[name] = dict(sorted(values.items(), key=lambda one: _number(one[0])))
    if valued:
        from gaecli.layouts.evidence.valued import MOST_VALUES

        many |= {name for name, values in valued.items() if len(values) > MOST_VALUES}
    flags = {name: found for name, found in ones.items() if name not in no_flags}
    return counts, flags, {name: found for name, found in valued.items() if name not in many}


def _number(label: str) -> float:
    try:
        return float(label)
    except ValueError:
        return math.inf


def _inverse(found: FlagEvidence, counts: EndCounts) -> FlagEvidence:
    """Of a column that is set where this one is not; `counts` of all steps of the block."""
    firsts, lasts = (None if side is None else ~side for side in (found.lane_firsts, found.lane_lasts))
    return FlagEvidence(counts - found.on, found.pairs_clear, found.pairs_set, firsts, lasts)


def _settled(found: FlagEvidence, ends: BoolArray, begins: BoolArray) -> FlagEvidence:
    assert found.lane_firsts is not None
    assert found.lane_lasts is not None
    return replace(
        found,
        on=found.on + EndCounts.of(last=found.lane_lasts & ends, first=found.lane_firsts & begins),
    )


def _sum(one: FlagEvidence, other: FlagEvidence) -> FlagEvidence:
    return FlagEvidence(
        one.on + other.on, one.pairs_set + other.pairs_set, one.pairs_clear + other.pairs_clear
    )


def judge_ends(unseen: Unseen) -> list[WarningNote]:
    """Raises `EndsUnrecognised` where unused columns may say what nothing else does; else what is to be told."""
    notes = []
    if unseen.are_known:
        found = [name for name, flag in unseen.unused.items() if _is_plausible(name, flag, unseen)]
    else:
        found = [name for name, flag in unseen.unused.items() if _may_decide(name, flag, unseen)]
    if found and not unseen.are_complete and not unseen.is_named:
        raise _question(found, unseen)
    notes += [_told(name, unseen) for name in found]
    notes += [
        _mask_told(name, unseen)
        for name in unseen.unused
        if name not in found and _is_called_mask(name, unseen)
    ]
    notes += _never_there(unseen)
    if not unseen.are_known:
        notes += _never_set(unseen)
    return notes


def _may_decide(name: str, found: FlagEvidence, unseen: Unseen) -> bool:
    """No end is flagged: whether the column may be what flags them.

    Where ids tell trajectories apart, an end inside of one is none: what is left is a flag on their last rows,
    or on their first, which says that they end terminally. A row of lists may also have a mask.
    """
    if not unseen.has_ids:
        return True
    counts = unseen.counts
    if _lacks_mask(unseen):
        return True
    is_at_border = _is_at_borders(found, counts)
    if counts.last > FEW * counts.steps or counts.last <= 1:
        # Nearly every row is one, or an id that never changes tells nothing.
        return (is_at_border or unseen.layout.row_is != "trajectory") and suggests_end(name)
    return is_at_border


def _is_at_borders(found: FlagEvidence, counts: EndCounts) -> bool:
    """Set on last rows of trajectories alone or on first rows alone; or clear there alone."""
    return any(on.steps in (on.last, on.first) for on in (found.on, counts - found.on))


def _is_plausible(name: str, found: FlagEvidence, unseen: Unseen) -> bool:
    """Ends are flagged: whether the column looks like a flag of ends, and says something new."""
    counts = unseen.counts
    inverse = FlagEvidence(counts - found.on, found.pairs_clear)
    if any(says_nothing_new(name, flag, unseen) for flag in (found, inverse)):
        return False
    return suggests_end(name) or any(_goes_with_ends(flag, unseen) for flag in (found, inverse))


def says_nothing_new(name: str, flag: FlagEvidence, unseen: Unseen) -> bool:
    """It is set exactly where ends are known: all of them, those of one kind, or one step later."""
    counts, flags = unseen.counts, unseen.flags
    ended = counts.terminated + counts.truncated
    if flag.on.steps == flag.on.terminated == counts.terminated:
        # Alone, `done` counts as terminal; a column that calls the same ends a time limit says otherwise.
        is_lone_done = flags.done is not None and flags.terminated is None and flags.truncated is None
        return not (is_lone_done and speaks_of_limits(name))
    if flag.on.steps == flag.on.truncated == counts.truncated:
        return True
    is_told = flags.terminated is not None or flags.done is not None or not ended
    return is_told and (
        flag.on.steps == flag.on.terminated + flag.on.truncated == ended
        or flag.on.steps == flag.on.last == counts.last
        or flag.on.steps == flag.on.first == counts.first
    )


def _goes_with_ends(flag: FlagEvidence, unseen: Unseen) -> bool:
    """Nearly all of it stands on ends or right behind them, or nearly all ends have it and little else does."""
    counts = unseen.counts
    if not flag.on.steps or not counts.last or counts.last > FEW * counts.steps:
        return False
    if max(flag.on.last, flag.on.first) >= MOST * flag.on.steps:
        return True
    is_alone = flag.pairs_set <= RUNS * flag.on.steps and flag.on.steps <= FEW * counts.steps
    if not unseen.are_complete or unseen.lacks_truncations:
        return is_alone
    return is_alone and (
        flag.on.last >= MOST * counts.last
        or (counts.terminated > 0 and flag.on.terminated >= MOST * counts.terminated)
        or (counts.truncated > 0 and flag.on.truncated >= MOST * counts.truncated)
    )


def _question(names: Sequence[str], unseen: Unseen) -> EndsUnrecognised:
    listed = ", ".join(f"`{name}`" for name in names)
    one = len(names) == 1
    likely = min(names, key=lambda name: (not _may_be_flag(name, unseen), not suggests_end(name)))
    uses = [_as_flag(likely, unseen)] if _may_be_flag(likely, unseen) else []
    masks = sorted(
        (name for name in names if _may_be_mask(name, unseen)), key=lambda name: not suggests_mask(name)
    )
    if masks:
        uses.insert(0 if suggests_mask(masks[0]) else len(uses), _as_mask(masks[0]))
    return EndsUnrecognised(
        f"{_what_is_open(unseen)}: {listed} may, which {'holds' if one else 'hold'} 0 and 1 and no role uses",
        hint=f"pass {', or '.join(uses)}, whichever it is; or `{flag_of(answering(unseen))} none` if "
        f"{'it is' if one else 'they are'} something else",
    )


def _as_flag(name: str, unseen: Unseen) -> str:
    is_inverted = unseen.unused[name].on.steps > unseen.counts.steps / 2
    roles = INVERTED_ROLES if is_inverted else ("done", "terminated", "truncated")
    return " or ".join(f"`{flag_of(role)} {word(name)}`" for role in roles)


def _may_be_flag(name: str, unseen: Unseen) -> bool:
    """A row of lists is one trajectory, and ends once."""
    is_list = unseen.layout.row_is == "trajectory"
    return not is_list or _is_at_borders(unseen.unused[name], unseen.counts)


def _what_is_open(unseen: Unseen) -> str:
    names = [f"`{name}`" for name in unseen.flags.names]
    told = f"{' and '.join(names)} of `{unseen.path}`"
    if unseen.are_known:
        return f"{told} says where trajectories are truncated, and nothing where they are over"
    question = "how" if unseen.has_ids else "where"
    if not names and _lacks_mask(unseen) and any(_may_be_mask(name, unseen) for name in unseen.unused):
        return f"nothing known in `{unseen.path}` says {question} a trajectory ends, or which steps count"
    if names:
        return f"{told} {_never(names, unseen)}, so that nothing says {question} a trajectory ends"
    return f"nothing known in `{unseen.path}` says {question} a trajectory ends"


def _never(names: Sequence[str], unseen: Unseen) -> str:
    if unseen.flags.inverted:
        return "flags no end" if len(names) == 1 else "flag no end"
    return "is never set" if len(names) == 1 else "are never set"


def _may_be_mask(name: str, unseen: Unseen) -> bool:
    """Set inside of rows that are trajectories, where no mask is known; or called so."""
    is_inside = _lacks_mask(unseen) and not _is_at_borders(unseen.unused[name], unseen.counts)
    return is_inside or _is_called_mask(name, unseen)


def _is_called_mask(name: str, unseen: Unseen) -> bool:
    return suggests_mask(name) and not _has_mask(unseen)


def _has_mask(unseen: Unseen) -> bool:
    """Or the user said that there is none."""
    return unseen.roles.get("mask") is not None or unseen.settings.columns.get("mask") == "none"


def _lacks_mask(unseen: Unseen) -> bool:
    is_row = unseen.layout.row_is == "trajectory" or unseen.layout.name == "batch-major"
    return is_row and not _has_mask(unseen)


def _told(name: str, unseen: Unseen) -> WarningNote:
    use = " or ".join(f"`{flag_of(role)} {word(name)}`" for role in ("terminated", "truncated"))
    use += f", or `{flag_of('done')} {word(name)}`, if it is one"
    if not all_words_of(name).isdisjoint(_BEGINNINGS) and not unseen.unused[name].on.last:
        use = f"`{flag_of('done')} {word(name)} --done-at start` if it says that an episode begins"
    answer = answering(unseen)
    silence = (
        f"; `{flag_of(answer)} none` if it is something else" if unseen.roles.get(answer) is None else ""
    )
    return WarningNote(
        "unused-flag",
        f"`{name}` holds 0 and 1, looks like a flag of the ends of episodes, and no role uses it",
        unseen.path,
        unseen.unused[name].on.steps,
        hint=f"pass {use}{silence}",
    )


def _mask_told(name: str, unseen: Unseen) -> WarningNote:
    return WarningNote(
        "unused-flag",
        f"`{name}` holds 0 and 1, is called as masks are, and no role uses it",
        unseen.path,
        unseen.unused[name].on.steps,
        hint=f"pass {_as_mask(name)}; `--mask-column none` if every step counts",
    )


def _as_mask(name: str) -> str:
    inverse = word(f"{name}=0")
    return f"`--mask-column {word(name)}` if its 1 says which steps count, `--mask-column {inverse}` if its 0 does"


def answering(unseen: Unseen) -> str:
    """The role that can be said to have no column without taking one that is used."""
    free = [role for role in ("done", "terminated", "truncated") if unseen.roles.get(role) is None]
    return free[0] if free else "done"


def _never_there(unseen: Unseen) -> list[WarningNote]:
    """A value that stands for an end (`--done-column status=finished`) and that no step has."""
    counts, flags = unseen.counts, unseen.flags
    ended = {"terminated": counts.terminated, "truncated": counts.truncated, "done": counts.flagged}
    return [
        WarningNote(
            "flag-never-set",
            f"no step that ends has the value of `{name}`",
            unseen.path,
            counts.steps,
            hint=f"`gae inspect` tells what is in the file; name a value that is there with `{flag_of(role)}`",
        )
        for role, count in ended.items()
        if not count and "=" in (name := getattr(flags, role) or "") and name in unseen.roles.names.values()
    ]


def _never_set(unseen: Unseen) -> list[WarningNote]:
    """Flags that are there and say nothing, over more steps than an episode usually has."""
    counts, roles = unseen.counts, unseen.roles
    padding = [name for role in ("padding", "padding_terminal") if (name := roles.get(role))]
    names = list(dict.fromkeys([*unseen.flags.names, *padding]))
    if not names or counts.steps < _MANY_STEPS or _never_there(unseen):
        return []
    if not unseen.has_ids and counts.steps < _MANY_STEPS * max(counts.last, 1):
        return []  # many environments, each for a short while
    if padding and counts.last > 1 and not unseen.has_ids:
        return []  # the first rows of episodes are marked
    listed = ", ".join(f"`{name}`" for name in names)
    return [
        counted(
            "flag-never-set",
            (counts.steps, counts.last),
            unseen.path,
            names=(f"{listed} {_never(names, unseen)}",),
            hint="if episodes end in there, name what says where: `--done-column`, `--terminated-column`, "
            "`--truncated-column`, or `--episode-column`",
        )
    ]
