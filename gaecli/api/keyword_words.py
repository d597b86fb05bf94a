"""Messages for whoever calls from Python: keyword arguments where the command line has flags."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from gaecli.errors import GaeError
from gaecli.shell_words import split

P = ParamSpec("P")
R = TypeVar("R")

#: Flags in backticks, or the whole of a `gae compute`.
_SPAN = re.compile(r"`(?P<call>gae compute [^`]*|--[a-z][^`]*)`")
#: Flags whose keyword has another name.
_NAMES = {"memory": "memory_bytes"}
#: What stands for a value, and is none.
_PLACEHOLDER = re.compile(r"[A-Z][A-Z_]*|…")
_FLAG = re.compile(r"--(?P<name>[a-z][a-z0-9-]*)(?:=(?P<value>.*))?$", re.DOTALL)
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")


def in_keywords(text: str) -> str:
    """`--done-at end` becomes `done_at="end"`, `--no-join` `join=False`, and `--overwrite` `overwrite=True`.

    A flag that takes a value and is named without one becomes the name of its keyword; several are several keywords,
    and what `gae compute` is called with is what `gaecli.compute` is.
    """
    return _SPAN.sub(lambda found: f"`{called(found['call'])}`", text)


def errors_in_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, whose errors are in these words, and have their hints in tracebacks."""

    @wraps(function)
    def told(*args: P.args, **given: P.kwargs) -> R:
        try:
            return function(*args, **given)
        except GaeError as error:
            error.message = in_keywords(error.message)
            error.hint = None if error.hint is None else in_keywords(error.hint)
            error.args = (error.message,)
            if error.hint is not None and not getattr(error, "__notes__", None):
                error.add_note(f"hint: {error.hint}")  # a traceback shows it
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


def called(text: str) -> str:
    """Flags, or a command with them, as Python has them; what is neither stays."""
    try:
        words = split(text)
    except ValueError:
        return text
    first = next((place for place, word in enumerate(words) if _FLAG.match(word)), len(words))
    keywords = _keywords(words[first:])
    files = words[2:first]
    if not files:
        return ", ".join(keywords) or text
    return f"gaecli.compute({', '.join([_listed(files), *keywords])})"


def _keywords(words: Sequence[str]) -> list[str]:
    """Each flag with what stands behind it; one that is given several times takes a list."""
    given: dict[str, list[str]] = {}
    values: list[str] = []
    for word in words:
        if (flag := _FLAG.match(word)) is not None:
            values = given.setdefault(flag["name"], [])
            values += [flag["value"]] if flag["value"] is not None else []
        else:
            values.append(word)
    return [_keyword(flag, values) for flag, values in given.items()]


def _keyword(flag: str, values: Sequence[str]) -> str:
    if flag.startswith("no-"):
        return f"{flag.removeprefix('no-').replace('-', '_')}=False"
    name = _NAMES.get(flag, flag.replace("-", "_"))
    if not values:
        return f"{name}=True" if flag in SWITCHES else name
    return f"{name}={_listed(values)}"


def _listed(values: Sequence[str]) -> str:
    shown = [_value(value) for value in values]
    return shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"


def _value(text: str) -> str:
    if _NUMBER.fullmatch(text) or _PLACEHOLDER.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=False) if text.isprintable() else repr(text)


#: Flags without a value.
SWITCHES = frozenset({"dry-run", "force", "join", "keep-raw", "overwrite", "sidecar", "strict"})
