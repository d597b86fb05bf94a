"""Rows that hold neither a reward nor a value: padding that was written as NaN, where no mask is known."""

from __future__ import annotations

from gaecli.formats.base import Column
from gaecli.shell_words import word

#: One cell may be a fault of the recording.
_FEWEST = 2


def are_padding(reward: Column, value: Column | None) -> bool:
    """The cells without a reward are those without a value, and there are others."""
    lacking = None if value is None else value.missing
    missing = reward.missing
    if missing is None or lacking is None or missing.shape != lacking.shape:
        return False
    return _FEWEST <= int(missing.sum()) < missing.size and bool((missing == lacking).all())


def padding_mask(name: str, reward: Column, *, is_table: bool) -> str:
    """The flags that leave such cells out. `is_table`: with a row per step, which cannot be skipped."""
    what = "null" if reward.is_null is not None and reward.is_null.any() else "nan"
    flags = f"--mask-column {word(f'{name}!={what}')}"
    return f"{flags} --mask-mode zero" if is_table else flags
