"""Warnings whose words hold numbers: code and numbers travel, the words stand in one table.

So they can be sent from where a block was looked at to where they are told, and the same warning about many
inputs becomes one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gaecli.records import dataclass
from gaecli.summary import WarningNote


@dataclass(frozen=True)
class CountedNote(WarningNote):
    """A warning whose words hold numbers, which add up over inputs."""

    numbers: tuple[int, ...] = ()
    #: What else its words hold: columns, presets. Those of the first input speak for all.
    names: tuple[str, ...] = ()


def counted(
    code: str,
    numbers: tuple[int, ...],
    file: str | None,
    *,
    names: tuple[str, ...] = (),
    hint: str | None = None,
) -> WarningNote:
    """The words are those of `WORDS`; the first of the numbers is the count."""
    return CountedNote(code, WORDS[code](*numbers, *names), file, numbers[0], hint, numbers, names)


def merged(notes: Sequence[WarningNote]) -> list[WarningNote]:
    """The same warning about a thousand inputs is one warning, with the numbers of all of them."""
    together: dict[tuple[str, str | None], list[WarningNote]] = {}
    for note in notes:
        words = None if isinstance(note, CountedNote) else note.message
        together.setdefault((note.code, words), []).append(note)
    return [_sum(same) for same in together.values()]


def _sum(same: Sequence[WarningNote]) -> WarningNote:
    first = same[0]
    message = first.message
    if isinstance(first, CountedNote):
        numbers = [note.numbers for note in same if isinstance(note, CountedNote)]
        message = WORDS[first.code](*map(sum, zip(*numbers, strict=True)), *first.names)
    if len(same) > 1:
        message = f"{message} (in {len(same):,} inputs)"
    file = first.file if len({note.file for note in same}) == 1 else None
    return WarningNote(first.code, message, file, sum(note.count for note in same), first.hint)


#: What a rule makes of ends that are truncated.
_TRUNCATION_TEXTS = {
    "zero": "treats {ends} as terminal: V of the state after them counts as 0",
    "current": "takes V of the last state for V of the state after it at {ends}",
    "undiscounted": "adds V of the last state, without γ, to the reward at {ends}",
    "reset": "takes V of the next episode's first state for V of the state after {ends}",
    "drop": "gives the last step of an episode no advantage at {ends}: it is 0",
    "leak": "does not cut at {ends}: V and A of the next episode's first step flow in",
}


def _preset_truncation(count: int, who: str, rule: str) -> str:
    ends = f"{count:,} truncated {'end' if count == 1 else 'ends'}"
    return f"{who} {_TRUNCATION_TEXTS[rule].format(ends=ends)}"


def _last_rows(count: int, who: str, what: str) -> str:
    rows, it, they = (
        ("1 last row has", "its", "it is")
        if count == 1
        else (
            f"{count:,} last rows have",
            "their",
            "they are",
        )
    )
    told = f", and {they} taken for the last state of a trajectory" if what == "states" else ""
    return (
        f"{who} takes the reward of a step from the next row: {rows} no transition{told}; {it} advantage is 0, and "
        "left out of statistics"
    )


def _first_row_rewards(count: int) -> str:
    they = "1 reward that is not 0 stands" if count == 1 else f"{count:,} rewards that are not 0 stand"
    verb = "is" if count == 1 else "are"
    return f"{they} in first rows of trajectories, where no step is that earned them, and {verb} left out"


def _preset_early_ends(count: int, preset: str) -> str:
    ends = f"{count:,} {'end' if count == 1 else 'ends'}"
    return (
        f"preset `{preset}` reads the flag of an end with the step before it: at {ends} the step before the last is "
        "cut, and V and A of the next episode flow into the last one"
    )


def _bootstrap_zero(count: int, num_episodes: int) -> str:
    return f"{_open_ends(count, num_episodes)}: 0 was used for V of the state after them"


def _bootstrap_current(count: int, num_episodes: int) -> str:
    return f"{_open_ends(count, num_episodes)}: V of their last state was used for the state after it"


def _open_ends(count: int, num_episodes: int) -> str:
    return f"{count:,} of {num_episodes:,} episodes end without a terminal flag and without a next value"


def _zero_variance(count: int, whose: str) -> str:
    what = "the advantages have" if count == 1 and whose == "all" else f"{count:,} groups have"
    return f"{what} no variance, or a single step: normalised to 0"


def _masked_ends(count: int, next_value: str, mask: str) -> str:
    trajectories = "1 trajectory ends" if count == 1 else f"{count:,} trajectories end"
    return (
        f"{trajectories} in slots that `{mask}` leaves out: V of the state after the last step is `{next_value}` of "
        "the last of these slots, which is another number than that of the step"
    )


def _flat_groups(count: int, alone: int) -> str:
    groups = "1 group has" if count == 1 else f"{count:,} groups have"
    single = f" ({alone:,} with a single response)" if alone else ""
    return f"{groups} no spread of scores{single}: nothing sets their responses apart"


def _no_lengths(count: int, column: str = "") -> str:
    groups = "1 group has" if count == 1 else f"{count:,} groups have"
    named = f" in `{column}`" if column else ""
    return f"{groups} no response of a length above 0{named}: there is no mean, and the advantages are 0"


def _unscored(count: int) -> str:
    responses = "1 response has" if count == 1 else f"{count:,} responses have"
    return f"{responses} no reward: compared with no other, and given an advantage of 0"


def _scored_as_zero(count: int) -> str:
    responses = "1 response has" if count == 1 else f"{count:,} responses have"
    return f"{responses} no reward: taken for a score of 0, and compared with the others"


def _dropped_episodes(episodes: int, steps: int) -> str:
    return (
        f"{episodes:,} episodes ({steps:,} steps) hold cells that cannot be used; "
        "their new columns are null, and they are left out of all statistics"
    )


def _unchained_values(count: int, pairs: int, what: str) -> str:
    return (
        f"{count:,} of {pairs:,} next values looked at inside trajectories are not V of the next row: {what}"
    )


def _unfilled_tail(steps: int, total: int, what: str = "hold one number for reward and value alike") -> str:
    which = f"{steps:,} of {total:,} steps are behind all others, or before them, and {what}"
    return f"{which}, as rows do of a buffer that was saved before it was full, or padding"


def _flag_never_set(steps: int, episodes: int, flags: str) -> str:
    count = "episode counts" if episodes == 1 else "episodes count"
    return f"{flags} in {steps:,} steps: {episodes:,} {count} as still going on at the end"


def _stream_bootstrap_zero(count: int) -> str:
    ends, them = ("1 end", "it") if count == 1 else (f"{count:,} ends", "them")
    verb = "has" if count == 1 else "have"
    return f"{ends} of the later streams {verb} no value after {them}: 0 was used for V of the state after {them}"


def _second_values(count: int, estimator: str) -> str:
    is_one = count == 1
    values = f"{count:,} next {'value' if is_one else 'values'} inside trajectories {'is' if is_one else 'are'} not V"
    return (
        f"{values} of the next row, and `{estimator}` is defined with one V of each state: TD errors go by the next "
        "values, and what later steps add is counted from V of the rows, so that the difference of the two stays in "
        "the numbers"
    )


def _single_units(count: int) -> str:
    which = "the only episode is" if count == 1 else f"each of {count:,} episodes is"
    return f"{which} one single unit, so that nothing is discounted or traced over turns"


def _rewards_outside_units(count: int) -> str:
    they = "1 reward that is not 0 stands" if count == 1 else f"{count:,} rewards that are not 0 stand"
    return f"{they} in rows of no unit, and {'is' if count == 1 else 'are'} left out"


#: Code -> words, given the numbers and then the names.
WORDS: Mapping[str, Callable[..., str]] = {
    "bootstrap-current": _bootstrap_current,
    "bootstrap-zero": _bootstrap_zero,
    "dropped-episodes": _dropped_episodes,
    "flag-never-set": _flag_never_set,
    "first-row-rewards": _first_row_rewards,
    "flat-groups": _flat_groups,
    "last-rows": _last_rows,
    "masked-ends": _masked_ends,
    "no-lengths": _no_lengths,
    "preset-early-ends": _preset_early_ends,
    "preset-truncation": _preset_truncation,
    "rewards-outside-units": _rewards_outside_units,
    "scored-as-zero": _scored_as_zero,
    "second-values": _second_values,
    "single-units": _single_units,
    "stream-bootstrap-zero": _stream_bootstrap_zero,
    "unchained-values": _unchained_values,
    "unfilled-tail": _unfilled_tail,
    "unscored": _unscored,
    "zero-variance": _zero_variance,
}
