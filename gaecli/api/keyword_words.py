"""Messages for whoever calls from Python: keyword arguments where the command line has flags."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from gaecli.errors import GaeError

P = ParamSpec("P")
R = TypeVar("R")

#: A flag in backticks, with what stands behind it there.
_FLAG = re.compile(r"`--(?P<flag>[a-z][a-z0-9-]*)(?:[ =](?P<value>[^`]+))?`")
#: Flags whose keyword has another name.
_NAMES = {"memory": "memory_bytes"}
#: What stands for a value, and is none.
_PLACEHOLDER = re.compile(r"[A-Z][A-Z_]*|…")
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")


def in_keywords(text: str) -> str:
    """`--done-at end` becomes `done_at="end"`, `--no-join` `join=False`, and `--overwrite` `overwrite=True`.

    A flag that takes a value and is named without one becomes the name of its keyword.
    """
    if "`--" not in text:
        return text
    return _FLAG.sub(lambda found: f"`{_keyword(found['flag'], found['value'])}`", text)


def errors_in_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, whose errors are in these words."""

    @wraps(function)
    def told(*args: P.args, **given: P.kwargs) -> R:
        try:
            return function(*args, **given)
        except GaeError as error:
            error.message = in_keywords(error.message)
            error.hint = None if error.hint is None else in_keywords(error.hint)
            error.args = (error.message,)
            raise

    return told


#: Fields of results that are messages, or hold what has some.
_MESSAGES = frozenset({"message", "error", "hint", "problem", "fix"})
_HOLDERS = frozenset(
    {"warnings", "failures", "failure", "files", "findings", "rule", "plan", "infos", "inputs"}
)


def messages_in_keywords(result: Any) -> Any:
    """The same result, whose messages are in these words; what is a number or a table of them is not looked at."""
    if isinstance(result, list | tuple):
        changed = [messages_in_keywords(one) for one in result]
        same = all(one is other for one, other in zip(changed, result, strict=True))
        return result if same else type(result)(changed)
    if not is_dataclass(result) or isinstance(result, type):
        return result
    changes: dict[str, Any] = {}
    for field in fields(result):
        before = getattr(result, field.name)
        if field.name in _MESSAGES and isinstance(before, str):
            after: Any = in_keywords(before)
        elif field.name in _HOLDERS:
            after = messages_in_keywords(before)
        else:
            continue
        if after is not before:
            changes[field.name] = after
    return replace(result, **changes) if changes else result


def _keyword(flag: str, value: str | None) -> str:
    if flag.startswith("no-"):
        return f"{flag.removeprefix('no-').replace('-', '_')}=False"
    name = _NAMES.get(flag, flag.replace("-", "_"))
    if value is None:
        return f"{name}=True" if flag in SWITCHES else name
    if _NUMBER.fullmatch(value) or _PLACEHOLDER.fullmatch(value):
        return f"{name}={value}"
    return f'{name}="{value}"'


#: Flags without a value.
SWITCHES = frozenset({"dry-run", "force", "join", "keep-raw", "overwrite", "sidecar", "strict"})
