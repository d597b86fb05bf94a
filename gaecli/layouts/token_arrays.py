"""Arrays of responses with one reward each: [B] beside arrays [B, T] of their tokens.

The reward of a response is that of its last token, or of the last one that the mask keeps, as with lists.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from gaecli.array_types import Array, BoolArray
from gaecli.columns import Roles
from gaecli.errors import UsageError
from gaecli.formats.base import Column, ColumnInfo, RolloutFile, Unit
from gaecli.formats.wrapped import WrappedFile
from gaecli.layouts.demands import tells_ends
from gaecli.layouts.frames import core
from gaecli.layouts.tokens import TOKEN_MASKS
from gaecli.settings import Settings
from gaecli.shell_words import word


def array_of_tokens(file: RolloutFile) -> str | None:
    """That of the file itself whose rows are the responses; None of a file with a reward for each step."""
    if not isinstance(file, _WithTokenRewards):
        return None
    from gaecli.layouts.value_flags import column_behind

    return column_behind(file.behind, file.tokens)


def with_token_rewards(file: RolloutFile, roles: Roles, settings: Settings) -> RolloutFile:
    """The file with a reward for each token, where it has one for each response.

    Raises:
        UsageError: `--token-column` names no array with a number for each token of these responses.
    """
    reward = file.find(roles.names["reward"])
    assert reward is not None
    name = _token_array(file, roles, settings, reward)
    if name is None:
        return file
    info = file.find(name)
    assert info is not None
    mask = file.find(roles.get("mask") or "")
    return _WithTokenRewards(file, reward, info, None if mask is None else mask.name)


def _token_array(file: RolloutFile, roles: Roles, settings: Settings, reward: ColumnInfo) -> str | None:
    given, mask = settings.token_column, roles.get("mask")
    if given is not None:
        if not _has_tokens(file.find(given), reward):
            raise UsageError(
                f"`--token-column {word(given)}` spreads one reward of each response over its tokens, and "
                f"`{given}` of `{file.path}` is no array with some numbers for each of `{reward.name}`",
                hint="name an array [B, T] beside rewards [B], or drop `--token-column`",
            )
        return given
    if settings.kind.is_scored or settings.layout not in ("auto", "batch-major"):
        return None
    if settings.layout == "auto" and (tells_ends(roles) or not _is_of_tokens(mask, roles)):
        return None
    names = [name for name in (mask, roles.get("value")) if name is not None]
    return next((name for name in names if _has_tokens(file.find(name), reward)), None)


def _is_of_tokens(mask: str | None, roles: Roles) -> bool:
    return mask is not None and ("mask" in roles.explicit | roles.by_preset or mask.lower() in TOKEN_MASKS)


def _has_tokens(info: ColumnInfo | None, reward: ColumnInfo) -> bool:
    """[B, T] beside [B] or [B, 1]."""
    if info is None or info.unusable is not None or info.damage is not None:
        return False
    axes = core(info.shape)
    return len(axes) == 2 and reward.shape[:1] == axes[:1] == (math.prod(reward.shape),)


class _WithTokenRewards(WrappedFile):
    def __init__(self, file: RolloutFile, reward: ColumnInfo, tokens: ColumnInfo, mask: str | None) -> None:
        super().__init__(file)
        self.tokens = tokens.name
        self._mask, self._num_tokens = mask, core(tokens.shape)[1]
        self._reward = replace(reward, shape=core(tokens.shape), kind="float")
        self.columns = {**file.columns, reward.name: self._reward}

    def find(self, name: str) -> ColumnInfo | None:
        return self._reward if name == self._reward.name else self._file.find(name)

    def units(self, rows_per_block: int, like: str) -> Sequence[Unit]:
        return self._file.units(rows_per_block, self.tokens if like == self._reward.name else like)

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        asked = self._asked(names)
        for start, stop, columns in self._file.blocks(unit, asked, rows_per_block):
            yield start, stop, self._told({name: columns[name] for name in asked}, names)

    def read_whole(self, name: str) -> Column:
        asked = self._asked([name])
        return self._told({name: self._file.read_whole(name) for name in asked}, [name])[name]

    def _asked(self, names: Sequence[str]) -> list[str]:
        beside = [self._mask] if self._reward.name in names and self._mask is not None else []
        return list(dict.fromkeys([*names, *beside]))

    def _told(self, columns: dict[str, Column], names: Sequence[str]) -> dict[str, Column]:
        name = self._reward.name
        if name in names:
            mask = None if self._mask is None else columns[self._mask].values
            columns[name] = _at_last(columns[name], mask, self._num_tokens)
        return {one: columns[one] for one in names}


def _at_last(rewards: Column, mask: Array | None, num_tokens: int) -> Column:
    """[B, T] each reward at the last token that the mask keeps, or at the last one of all."""
    numbers = rewards.values.reshape(-1)
    places = np.full(len(numbers), num_tokens - 1)
    if mask is not None:
        kept = _kept(mask, len(numbers), num_tokens)
        last = num_tokens - 1 - np.argmax(kept[:, ::-1], axis=1)
        places = np.where(kept.any(axis=1), last, places)
    values = np.zeros((len(numbers), num_tokens), numbers.dtype)
    values[np.arange(len(numbers)), places] = numbers
    if rewards.is_null is None:
        return Column(values)
    is_null = np.zeros(values.shape, np.bool_)
    is_null[np.arange(len(numbers)), places] = rewards.is_null.reshape(-1)
    return Column(values, is_null)


def _kept(mask: Array, num_rows: int, num_tokens: int) -> BoolArray:
    """A mask of tokens, or their number in each row."""
    if mask.size == num_rows:
        counted: BoolArray = np.arange(num_tokens) < mask.reshape(-1, 1)
        return counted
    flags: BoolArray = mask.reshape(num_rows, -1)[:, :num_tokens] != 0
    return flags
