"""A column that counts the steps of every trajectory, beside slots of which there are more: the rest is padding.

`lengths`, `seq_lens`, `episode_length`: without it padding is computed with like steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray
from gaecli.columns import Roles
from gaecli.errors import UsageError
from gaecli.formats.base import Column, RolloutFile
from gaecli.layouts.evidence.rows_of_steps import RowsOfSteps
from gaecli.names import ALIASES, word_set, words_of
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.shell_words import word

#: A name has one of the first words and beside it none but the others: `prompt_length`, `max_len` are other counts.
_LENGTH_WORDS = "len lens length lengths count counts seqlen seqlens"
_STEPS_WORDS = """
seq seqs sequence sequences episode episodes ep eps traj trajs trajectory trajectories rollout rollouts
response responses resp completion completions output outputs generation generated gen ac answer
valid real actual true token tokens step steps
"""
_TOKENS = frozenset(("token", "tokens"))
_LENGTHS, _STEPS = word_set(_LENGTH_WORDS), word_set(_STEPS_WORDS)
#: So many rows with a reward agree by no accident.
_FEWEST_REWARDED = 4
#: `num_steps`, `n_valid_tokens`.
_NUMBERS = frozenset(("num", "n"))


@dataclass(frozen=True)
class CountedSlots:
    """What a block has of one such column."""

    #: Every trajectory has as many slots or more.
    fits: bool
    #: Fewest and most slots of a trajectory.
    widths: tuple[int, int]
    #: The first trajectory with fewer steps than slots: where it is, and how many.
    short: tuple[int, int] | None

    @classmethod
    def of(
        cls, counts: Array, is_null: BoolArray | None, widths: IndexArray, start: int
    ) -> CountedSlots | None:
        if not len(widths):
            return None
        fits = is_null is None and bool(((counts >= 0) & (counts <= widths)).all())
        shorter = np.flatnonzero((counts < widths) & fits)
        short = None
        if len(shorter):
            first = int(shorter[0])
            short = (start + first, int(counts[first]))
        return cls(fits, (int(widths.min()), int(widths.max())), short)


def names_of_counts(file: RolloutFile, roles: Roles, settings: Settings) -> tuple[str, ...]:
    """Columns with a number per trajectory that go by the name of its length, where nothing says what is padding."""
    if "mask" in settings.columns or roles.get("mask") is not None or roles.get("padding") is not None:
        return ()
    known = {*roles.row_columns, *(alias for aliases in ALIASES.values() for alias in aliases)}
    return tuple(
        name
        for name, info in file.columns.items()
        if name not in known and info.kind == "int" and not info.is_list and info.unusable is None
        if is_count(name)
    )


def is_count(name: str) -> bool:
    words = set(words_of(name))
    # `completion_tokens`: those of a row are many, and this is a number.
    counts = words & _LENGTHS or (words & _NUMBERS and words & _STEPS) or (words & _TOKENS and len(words) > 1)
    return bool(counts) and words <= _LENGTHS | _NUMBERS | _STEPS


def check_counts_by_rewards(file: RolloutFile, rows: RowsOfSteps) -> None:
    """`UsageError` where a column, whatever its name, counts the slots up to the last reward of every row, or has the
    index of that slot.
    """
    if not rows.are_equally_long or rows.like.dtype.kind not in "iuf":
        return
    width = int(rows.lengths[0])
    by_row = np.nan_to_num(rows.like).reshape(len(rows.lengths), width) != 0
    rewarded = by_row.any(axis=1)
    last = width - np.argmax(by_row[:, ::-1], axis=1)
    if np.count_nonzero(rewarded) < _FEWEST_REWARDED or len(np.unique(last[rewarded])) < 2:
        return
    for name, column in rows.of_rows.items():
        counts = column.values
        if column.is_null is not None or counts.dtype.kind not in "iu":
            continue
        row = int(np.argmax(rewarded & (last < width)))
        if (counts == last)[rewarded].all():
            raise _question(name, file.path, row, int(last[row]), width)
        if (counts == last - 1)[rewarded].all():
            raise _question_of_index(name, file.path, row, int(counts[row]), width)


def counted_slots(
    columns: Mapping[str, Column], names: Sequence[str], offsets: IndexArray, start: int
) -> Mapping[str, CountedSlots]:
    """`start`: the first row of the block."""
    widths = np.diff(offsets)
    found = {
        name: CountedSlots.of(columns[name].values, columns[name].is_null, widths, start) for name in names
    }
    return {name: slots for name, slots in found.items() if slots is not None}


def check_counted_slots(found: Sequence[tuple[Path, Mapping[str, CountedSlots]]]) -> None:
    """`UsageError` where all trajectories have equally many slots, and a column counts fewer steps in some.

    Lists of different lengths hold no padding: such a column is of something else there.
    """
    blocks = [(path, slots) for path, slots in found if slots]
    for name in dict.fromkeys(name for _, slots in blocks for name in slots):
        told = [(path, slots[name]) for path, slots in blocks if name in slots]
        widths = {width for _, slots in told for width in slots.widths}
        short = [(path, slots.short) for path, slots in told if slots.short is not None]
        if len(widths) != 1 or not short or not all(slots.fits for _, slots in told):
            continue
        path, first = short[0]
        assert first is not None
        row, count = first
        raise _question(name, path, row, count, widths.pop())


def _question(name: str, path: Path, row: int, count: int, width: int) -> UsageError:
    return UsageError(
        f"`{name}` of `{path}` is {count} in row {row}, which has {width} slots like all others, and nothing says "
        "which of them are padding",
        hint=f"pass `--mask-column {word(name)}` if it counts the steps, which padding follows, or "
        "`--mask-column none` if all are steps",
    )


def _question_of_index(name: str, path: Path, row: int, index: int, width: int) -> UsageError:
    return UsageError(
        f"`{name}` of `{path}` is {index} in row {row}, where the last of {width} slots with a reward has this "
        "index, as in all other rows, and nothing says which of them are padding",
        hint=f"if `{name}` is the index of the last step, write how many steps each row has, which is one more, and "
        "name that column with `--mask-column`; `--mask-column none` if all are steps",
    )
