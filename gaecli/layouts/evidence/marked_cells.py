"""Columns beside the steps in which some cells say that there is no step: asked about where no mask is known.

Labels of -100, tokens behind the end of a response, log-probabilities that are missing, 0 where a token is of the
prompt or of a tool: whoever trains on tokens marks so what does not count, and writes no other mask. The first rows
are looked at, as what is padded is so from the beginning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from gaecli.array_types import BoolArray
from gaecli.errors import UsageError
from gaecli.formats.base import Column, ColumnInfo, RolloutFile, Unit
from gaecli.formats.stored import own_columns
from gaecli.layouts.base import Layout
from gaecli.layouts.evidence.packed_rows import check_packed, is_open, may_pack
from gaecli.layouts.evidence.padded_rows import check_counts_by_rewards
from gaecli.layouts.evidence.rows_of_steps import RowsOfSteps
from gaecli.layouts.evidence.unused_flags import flags_in
from gaecli.names import RETURN_NAMES, speaks_of_ends, word_set, words_of
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.shell_words import word

#: What libraries put where a token has no label (`ignore_index`), and where a log-probability is none (TRL's PPO).
_NO_LABEL, _NO_LOG_PROB = -100, 1


_TOKEN_WORDS = word_set(
    "token tokens label labels target targets input inputs output outputs response responses completion completions "
    "sequence sequences answer generated version versions"
)
#: Of names that number tokens, or tell of what kind they are.
_NO_TOKEN_WORDS = word_set(
    "position positions segment type turn turns index idx len length lengths reward rewards"
)
_LOG_PROB = re.compile(r"(^|[_.])(log_?probs?|logps?)(_|$)")
#: What is exactly 0 where nothing was computed, and hardly anywhere else.
_MEASURE_WORDS = word_set("kl kls entropy entropys entropies advantage advantages adv advs")
_MASK_WORDS = word_set("mask masks")
#: `is_action`, `is_prompt`.
_KINDS = word_set(
    "action actions prompt response completion assistant generated model tool label pad padding"
)
#: Whose 1 says that a token is no step.
_INVERSE_WORDS = word_set(
    "pad padding prompt special tool tools ignore ignored context observation obs input masked"
)
#: The language model among those that speak in a dialogue.
_SPEAKERS = ("assistant", "gpt", "model")
#: Of tokens without a log-probability so many stand together.
_SHORTEST_RUN = 3
#: Ids of tokens are many, those of roles few, and numbers of actions in between.
_FEWEST_TOKENS, _FEWEST_OTHERS = 8, 32


@dataclass(frozen=True, eq=False)
class Mark:
    """How steps are told by one column: the cells that are, or are not, of one value."""

    column: str
    operator: str
    value: str
    #: [steps] those that are none, and an end of the sentence that says so.
    where: BoolArray
    why: str

    @property
    def count(self) -> int:
        return int(np.count_nonzero(self.where))

    @property
    def test(self) -> str:
        return f"{self.column}{self.operator}{self.value}" if self.operator else self.column


def check_rows_of_steps(file: RolloutFile, layout: Layout, settings: Settings, units: Sequence[Unit]) -> None:
    """`UsageError` where columns beside the steps say that some are none, or are of another trajectory."""
    if layout.kind.name == "long":
        _check_labels(file, layout, settings, units)
    if not layout.has_steps or not _has_rows_of_steps(layout):
        return
    may_hold_marks, may_be_packed = not _is_told(layout, settings), is_open(layout, settings)
    names = [
        info.name
        for info in _beside(file, layout, settings)
        if (may_hold_marks and (info.kind == "int" or _may_mark(info.name, info)))
        or (may_be_packed and (info.kind == "int" or may_pack(info.name)))
    ]
    like = layout.like_column or layout.roles.names["reward"]
    has_own_rewards = like == layout.roles.names["reward"]
    counts = _per_row(file, layout, settings) if may_hold_marks and has_own_rewards else []
    names += counts
    if not names:
        return
    rows = RowsOfSteps.of(file, like, names, units)
    if rows is None or rows.num_steps == 0:
        return
    if may_be_packed:
        check_packed(file, rows)
    mark = next(_marks(rows), None) if may_hold_marks else None
    if mark is not None:
        raise _question(mark, file, rows.num_steps, _use(mark, rows, has_own_rewards=has_own_rewards))
    if counts:
        check_counts_by_rewards(file, rows)


def _check_labels(file: RolloutFile, layout: Layout, settings: Settings, units: Sequence[Unit]) -> None:
    """The same of a row per token: by labels of -100 alone, as -1 may be that of a step without a label."""
    columns = [] if _is_told(layout, settings) else _per_row(file, layout, settings)
    names = [name for name in columns if _is_of_tokens(name)]
    rows = RowsOfSteps.of(file, layout.roles.names["reward"], names, units) if names else None
    for name, column in {} if rows is None else rows.of_rows.items():
        mark = _label(name, column)
        if mark is not None and mark.value == str(_NO_LABEL) and mark.count < len(column.values):
            flags = f"pass `--mask-column {word(mark.test)} --mask-mode zero` if these are none"
            raise _question(mark, file, len(column.values), flags)


def _use(mark: Mark, rows: RowsOfSteps, *, has_own_rewards: bool) -> str:
    is_token = mark.operator == "!=" and mark.value.isdigit() and not _is_log_prob(mark.column)
    if is_token and has_own_rewards and _has_rewards(rows, mark):
        return (
            f"some of them have a reward: where `{mark.value}` ends a response as well, write how many steps each "
            "row has, and name that column with `--mask-column`"
        )
    return f"pass `--mask-column {word(mark.test)}` if these are none"


def _question(mark: Mark, file: RolloutFile, num_steps: int, use: str) -> UsageError:
    return UsageError(
        f"`{mark.column}` of `{file.path}` {mark.why} {mark.count:,} of the first {num_steps:,} steps, and nothing "
        "says which of them count",
        hint=f"{use}, or pass `--mask-column none` if all are steps",
    )


def _has_rewards(rows: RowsOfSteps, mark: Mark) -> bool:
    rewards = rows.like
    return bool(((rewards != 0) & (rewards == rewards))[mark.where].any())


def _is_told(layout: Layout, settings: Settings) -> bool:
    return "mask" in settings.columns or any(layout.roles.get(role) for role in ("mask", "padding"))


def _beside(file: RolloutFile, layout: Layout, settings: Settings) -> Iterator[ColumnInfo]:
    """Columns that nothing uses, with a cell per step."""
    reward = file.find(layout.like_column or layout.roles.names["reward"])
    assert reward is not None
    known = _known(file, layout, settings)
    return (info for name, info in file.columns.items() if name not in known and _is_beside(info, reward))


def _per_row(file: RolloutFile, layout: Layout, settings: Settings) -> list[str]:
    """The same with a whole number per row."""
    reward = file.find(layout.roles.names["reward"])
    assert reward is not None
    known = _known(file, layout, settings)
    return [
        name
        for name, info in file.columns.items()
        if name not in known
        and (info.kind, info.is_list, info.unusable, info.damage) == ("int", False, None, None)
        and info.shape == reward.shape[:1]
    ]


def _known(file: RolloutFile, layout: Layout, settings: Settings) -> set[str]:
    named = {*layout.roles.names.values(), *settings.columns.values(), *settings.stream_columns}
    ours = {*own_columns(file.provenance), *settings.output_columns}
    return {*named, *ours, *layout.roles.row_columns, *RETURN_NAMES}


def _has_rows_of_steps(layout: Layout) -> bool:
    return layout.kind.name == "batch-major" or layout.kind.row_is == "trajectory"


def _is_beside(info: ColumnInfo, reward: ColumnInfo) -> bool:
    if info.unusable is not None or info.damage is not None or info.is_deep:
        return False
    is_list = reward.is_list
    return info.is_list if is_list else info.shape == reward.shape and len(info.shape) == 2


def _may_mark(name: str, info: ColumnInfo) -> bool:
    if info.kind == "id":
        return info.is_list
    is_float = _is_log_prob(name) or _is_of_tokens(name) or _is_measure(name)
    return info.kind in ("bool", "float") and (_is_mask(name) or is_float)


def _marks(rows: RowsOfSteps) -> Iterator[Mark]:
    """Those that say it surest before others."""
    for find in (_label, _zero_or_one, _speaker, _log_prob, _missing_token, _padding, _measure):
        for name, column in rows.columns.items():
            mark = find(name, column, rows)
            if mark is not None and 0 < mark.count < rows.num_steps:
                yield mark


def _label(name: str, column: Column, _: RowsOfSteps | None = None) -> Mark | None:
    """-100 beside numbers that are not negative; of what is called tokens, any other negative one."""
    if column.values.dtype.kind not in "if":
        return None
    negative = np.unique(column.values[column.values < 0])
    if len(negative) != 1 or not (negative[0] == _NO_LABEL or _is_of_tokens(name)):
        return None
    return _unlike(name, column.values == negative[0], f"{negative[0]:g}")


def _zero_or_one(name: str, column: Column, rows: RowsOfSteps) -> Mark | None:
    if not _is_mask(name) or (flags := flags_in(column)) is None:
        return None
    words = set(words_of(name))
    if words & _INVERSE_WORDS:
        return Mark(name, "=", "0", flags, "is 1 at")
    return Mark(name, "", "", ~flags, "is 0 at")


def _speaker(name: str, column: Column, rows: RowsOfSteps) -> Mark | None:
    if column.values.dtype.kind != "U":
        return None
    there = set(np.unique(column.values).tolist())
    speaker = next((text for text in _SPEAKERS if text in there), None)
    if speaker is None:
        return None
    return Mark(name, "=", speaker, column.values != speaker, f"is another than `{speaker}` at")


def _log_prob(name: str, column: Column, rows: RowsOfSteps) -> Mark | None:
    """Missing, infinite, 1 where all others are negative, or 0 in padding, in prompts and in answers of tools."""
    values = column.values
    if not _is_log_prob(name) or values.dtype.kind != "f":
        return None
    if (missing := column.missing) is not None:
        return _unlike(name, missing, "null" if column.is_null is not None else "nan")
    if np.isneginf(values).any():
        return _unlike(name, np.isneginf(values), "-inf")
    positive = values > 0
    if positive.any():
        return _unlike(name, positive, "1") if (values[positive] == _NO_LOG_PROB).all() else None
    is_zero = values == 0
    is_none = _pads(is_zero, rows) or _are_heads(is_zero, rows) or _are_runs(is_zero, rows)
    return _unlike(name, values == 0, "0") if is_none else None


def _measure(name: str, column: Column, rows: RowsOfSteps) -> Mark | None:
    """0 in padding."""
    values = column.values
    if not _is_measure(name) or values.dtype.kind != "f" or not _pads(values == 0, rows):
        return None
    return _unlike(name, values == 0, "0")


def _missing_token(name: str, column: Column, rows: RowsOfSteps) -> Mark | None:
    missing = column.missing
    if not _is_of_tokens(name) or missing is None:
        return None
    return _unlike(name, missing, "null" if column.is_null is not None else "nan")


def _padding(name: str, column: Column, rows: RowsOfSteps) -> Mark | None:
    """One id fills rows up to one length, and stands nowhere else."""
    values = column.values
    if values.dtype.kind not in "iu" or column.is_null is not None or not rows.are_equally_long:
        return None
    if len(np.unique(values)) < (_FEWEST_TOKENS if _is_of_tokens(name) else _FEWEST_OTHERS):
        return None
    by_row = values.reshape(len(rows.lengths), -1)
    for edge, inner in ((by_row[:, -1], by_row[:, -2:-1]), (by_row[:, 0], by_row[:, 1:2])):
        repeated = edge[(inner == edge[:, None]).any(axis=1)]
        if len(repeated) and (repeated == repeated[0]).all() and _pads(values == repeated[0], rows):
            return _unlike(name, values == repeated[0], str(repeated[0]))
    return None


def _pads(where: BoolArray, rows: RowsOfSteps) -> bool:
    """These cells fill up rows of one length from their ends, some more than others, and are nowhere else."""
    if not rows.are_equally_long or not where.any() or where.all():
        return False
    heads, tails = rows.runs_at_ends(where)
    is_full = heads == rows.lengths
    filled = heads + tails
    is_varied = len(np.unique(filled[~is_full])) > 1 and int(filled[~is_full].max()) > 1
    return is_varied and int(np.where(is_full, heads, filled).sum()) == int(np.count_nonzero(where))


def _are_heads(where: BoolArray, rows: RowsOfSteps) -> bool:
    """These cells begin every row, some more than others as prompts do, and are nowhere else."""
    if (rows.lengths < 1).any() or where.all():
        return False
    others = np.flatnonzero(~where)
    first = np.searchsorted(others, rows.offsets[:-1])
    stops = np.append(others, rows.num_steps)[first]
    heads = np.minimum(stops, rows.offsets[1:]) - rows.offsets[:-1]
    is_varied = len(np.unique(heads)) > 1 and int(heads.max()) > 2 and int(heads.min()) > 0
    return is_varied and int(heads.sum()) == int(np.count_nonzero(where))


def _are_runs(where: BoolArray, rows: RowsOfSteps) -> bool:
    """These cells stand in runs, and none alone, as tokens of tools do: where a token is certain, its neighbours are
    less so.
    """
    begins, stops = np.ones(rows.num_steps, np.bool_), np.ones(rows.num_steps, np.bool_)
    begins[1:], stops[:-1] = ~where[:-1], ~where[1:]
    edges = rows.offsets[(rows.offsets > 0) & (rows.offsets < rows.num_steps)]
    begins[edges], stops[edges - 1] = True, True
    lengths = np.flatnonzero(where & stops) - np.flatnonzero(where & begins) + 1
    return len(lengths) > 1 and int(lengths.min()) >= _SHORTEST_RUN


def _unlike(name: str, where: BoolArray, value: str) -> Mark:
    return Mark(name, "!=", value, where, f"is {value} at")


def _is_log_prob(name: str) -> bool:
    return bool(_LOG_PROB.search(name.lower()))


def _is_measure(name: str) -> bool:
    return not _MEASURE_WORDS.isdisjoint(words_of(name))


def _is_of_tokens(name: str) -> bool:
    words = set(words_of(name))
    return bool(words & _TOKEN_WORDS) and not words & _NO_TOKEN_WORDS


def _is_mask(name: str) -> bool:
    words = set(words_of(name))
    is_kind = "is" in words and bool(words & _KINDS)
    return (is_kind or bool(words & _MASK_WORDS)) and not speaks_of_ends(name)
