"""Texts for people: with the names that they gave, where a run works on local paths below its stage."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from gaecli.errors import GaeError, without_secrets
from gaecli.storage.pipes import PIPE

T = TypeVar("T")


class ShownTexts:
    """`stage`: where what is no local file has its path; None if there is nothing of the kind."""

    def __init__(self, stage: Path | None) -> None:
        self._paths: re.Pattern[str] | None = None
        if stage is not None:
            self._paths = re.compile(rf"{re.escape(str(stage))}/(?:(in/(?:-|stdin\.\w+)|out/-)|([a-z0-9]+)/)")

    def shown(self, text: str) -> str:
        if self._paths is None:
            return text
        return without_secrets(self._paths.sub(lambda match: PIPE if match[1] else f"{match[2]}://", text))

    def shown_in(self, result: T) -> T:
        """The same for all texts of a summary."""
        return result if self._paths is None else with_texts(result, self.shown)

    def put_right(self, error: GaeError) -> None:
        error.message = self.shown(error.message)
        error.hint = None if error.hint is None else self.shown(error.hint)
        error.args = (error.message,)


def with_texts(value: Any, change: Callable[[str], str]) -> Any:
    """A copy of plain data, down to its dataclasses, with every text changed."""
    if isinstance(value, str):
        return change(value)
    if is_dataclass(value) and not isinstance(value, type):
        inner = {field.name: getattr(value, field.name) for field in fields(value)}
        return replace(value, **{name: with_texts(part, change) for name, part in inner.items()})
    if isinstance(value, Mapping):
        return {with_texts(key, change): with_texts(part, change) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(with_texts(part, change) for part in value)
    return value
