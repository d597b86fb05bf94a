"""Responses of tokens whose reward is one number of the row: which of the lists beside it has an item per token.

The reward of a row is that of its last token, or of the last one that the mask keeps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray
from gaecli.columns import Roles
from gaecli.errors import DataError, UsageError
from gaecli.formats.base import Column, ColumnInfo, RolloutFile
from gaecli.layouts.demands import tells_ends
from gaecli.layouts.rewards import Rewards
from gaecli.settings import Settings
from gaecli.shell_words import word

#: Masks that are of tokens by their names; other masks tell which actions are legal in some files.
TOKEN_MASKS = ("response_mask", "loss_mask", "token_loss_mask")
_LOG_PROBS = re.compile(r"(^|[_.])(log_?probs?|logps?)$")


def token_column(file: RolloutFile, roles: Roles, settings: Settings) -> str | None:
    """The list whose items are the tokens. None: the reward is a list itself, or the row is no response of tokens.

    `UsageError` where one is asked for and none, or more than one, may be it.
    """
    reward = file.find(roles.names["reward"])
    assert reward is not None
    given = settings.token_column
    if given is not None:
        _check_given(file, given, reward)
    if reward.is_list or file.structure != "table" or settings.layout not in ("auto", "nested"):
        return None
    if given is not None:
        return given
    is_asked = settings.layout == "nested"
    if not is_asked and tells_ends(roles):
        return None
    mask = roles.get("mask")
    if mask is not None and _is_list(file, mask) and (is_asked or _is_of_tokens(mask, roles)):
        from gaecli.layouts.value_flags import column_behind

        return column_behind(file, mask)
    return _log_probs(file) or (_only_list(file, roles) if is_asked else None)


def names_tokens(file: RolloutFile) -> bool:
    """A list is named as those of tokens are."""
    return any(_is_list(file, name) for name in TOKEN_MASKS) or _log_probs(file) is not None


def _log_probs(file: RolloutFile) -> str | None:
    for name in file.columns:
        lower = name.lower()
        if _LOG_PROBS.search(lower) and "prompt" not in lower and _is_list(file, name, ("float",)):
            return name
    return None


def _is_of_tokens(mask: str, roles: Roles) -> bool:
    is_named = "mask" in roles.explicit | roles.by_preset
    return is_named or mask.rpartition(".")[2].lower() in TOKEN_MASKS


def _is_list(file: RolloutFile, name: str, kinds: tuple[str, ...] = ("float", "int", "bool")) -> bool:
    info = file.find(name)
    return info is not None and info.is_list and info.unusable is None and info.kind in kinds


def _only_list(file: RolloutFile, roles: Roles) -> str | None:
    value = roles.get("value")
    if value is not None and _is_list(file, value):
        return value
    found = [name for name in file.columns if _is_list(file, name)]
    if len(found) > 1:
        raise UsageError(
            f"`{roles.names['reward']}` of `{file.path}` is one number per row, and several lists may hold its "
            f"tokens: {', '.join(found)}",
            hint=f"pass `--token-column {word(found[0])}` if it has an item for each token of the response",
        )
    return found[0] if found else None


def _check_given(file: RolloutFile, name: str, reward: ColumnInfo) -> None:
    if file.find(name) is None:
        from gaecli.missing_columns import not_found

        raise not_found(name, "--token-column", file)
    if reward.is_list or not _is_list(file, name):
        why = f"`{reward.name}` has its own items" if reward.is_list else f"`{name}` is no list of numbers"
        raise UsageError(
            f"`--token-column {word(name)}` spreads one reward of a row over a list, and {why} in `{file.path}`",
            hint="drop `--token-column`" if reward.is_list else "name a list with an item for each token",
        )


def check_functions(file: RolloutFile, settings: Settings) -> None:
    """Where one reward is of the row, all are."""
    for name in settings.rewards:
        if _is_list(file, name):
            first = next(iter(settings.rewards))
            raise UsageError(
                f"`{name}` of `{file.path}` holds lists, but `{first}` one number per row",
                hint="rewards that are added up are all of rows, or all of tokens",
            )


def check_tokens(
    reward: Column,
    name: str,
    tokens: str,
    offsets: IndexArray,
    start: int,
    kept: BoolArray | None,
    *,
    is_scored: bool,
) -> None:
    """A response without tokens has nowhere to have its reward, and would be missing among those of its group.

    `kept`: the tokens that the mask lets be steps; None: all.
    """
    is_empty = np.diff(offsets) == 0
    has_none = is_empty
    if kept is not None:
        until = np.concatenate(([0], np.cumsum(kept)))
        has_none = np.diff(until[offsets]) == 0
    if not is_scored:
        has_none = has_none & (reward.values != 0) & is_empty  # rewards on masked tokens are warned of
    if reward.is_null is not None:
        has_none = has_none & ~reward.is_null
    if has_none.any():
        row = int(np.argmax(has_none))
        what = f"`{tokens}` is empty" if is_empty[row] else "the mask keeps no token"
        or_keep = (
            "" if is_empty[row] else ", or pass `--mask-mode keep`, under which its score counts in its group"
        )
        raise DataError(
            f"{what} at row {start + row}, where `{name}` is {reward.values[row]}; "
            f"{int(has_none.sum()):,} such rows in all",
            hint=f"leave such rows out of the file{or_keep}; `--layout responses` gives each row one advantage, "
            "whatever its tokens",
        )


def ends_of(offsets: IndexArray, mask: BoolArray | None) -> tuple[IndexArray, IndexArray]:
    """(rows with tokens, the item of each that has its reward: the last one that the mask keeps, if it keeps any)."""
    rows = np.flatnonzero(np.diff(offsets) > 0)
    if mask is None:
        return rows, offsets[rows + 1] - 1
    places = np.where(mask, np.arange(len(mask)), -1)
    last = np.maximum.reduceat(places, offsets[rows]) if len(rows) else np.zeros(0, np.int64)
    return rows, np.where(last >= offsets[rows], last, offsets[rows + 1] - 1)


def spread(of_rows: Rewards, offsets: IndexArray, mask: BoolArray | None) -> Rewards:
    """Rewards of rows as rewards of tokens. What is missing of a row is missing of all its tokens."""
    rows, ends = ends_of(offsets, mask)
    lengths = np.diff(offsets)

    def at_ends(cells: Array) -> Array:
        found = np.zeros(int(offsets[-1]), cells.dtype)
        found[ends] = cells[rows]
        return found

    return Rewards(
        at_ends(of_rows.numbers),
        None if of_rows.bad is None else at_ends(of_rows.bad),
        None if of_rows.missing is None else np.repeat(of_rows.missing, lengths),
    )


def spread_functions(
    columns: Mapping[str, Column], names: tuple[str, ...], offsets: IndexArray, mask: BoolArray | None
) -> dict[str, Column]:
    """The same of single reward functions: NaN throughout where one said nothing of a row."""
    rows, ends = ends_of(offsets, mask)
    found = {}
    for name in names:
        column = columns[name]
        cells = column.values.astype(np.float64)
        if column.is_null is not None:
            cells = np.where(column.is_null, np.nan, cells)
        values = np.repeat(np.where(np.isnan(cells), np.nan, 0.0), np.diff(offsets))
        values[ends] = cells[rows]
        found[name] = Column(values)
    return found
