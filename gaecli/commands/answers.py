"""The flags that a message says to pass, and settings made of them.

Hints of errors, and what rules of `gae check` say to do, name flags between backticks, with their value where it is
known. That is the one place where it stands what decides a question, so it is read there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from gaecli.advice import Answer
from gaecli.columns import flag_of
from gaecli.errors import UsageError
from gaecli.setting_fields import DEFAULTS, ROLES, setting_flag
from gaecli.settings import Settings
from gaecli.shell_words import joined, split

#: The settings of the user with further fields of `Settings`.
MakeSettings = Callable[[Mapping[str, Any]], Settings]

_SPAN = re.compile(r"`([^`]+)`")
_COMMAND = "gae compute "
_CLAUSE_END = re.compile(r";|(?<=\w)\. ")
#: Words before a flag that say to do without it, or that it stands beside another.
_NOT_TO_PASS = re.compile(r"\b(drop|leave|without|beside|than|no|instead of)\s*$")
_CONDITION = re.compile(r"\b(if|where|unless|else)\b")
_ROLE_OF = {flag_of(role): role for role in ROLES}
_NAME_OF = {setting_flag(name): name for name in DEFAULTS if name != "columns"} | {"--reward": "rewards"}
_SEVERAL = ("rewards", "group_column", "order_column", "stream")
_OF_JOIN = {"--join": True, "--no-join": False}


def answers_in(text: str | None) -> list[Answer]:
    """Settings that the text says to pass, in its order."""
    found: dict[str, Answer] = {}
    for span in _SPAN.finditer(text or ""):
        words = _words(span[1])
        if words is None or _NOT_TO_PASS.search((text or "")[: span.start()]):
            continue
        is_open = _takes_value(words[-1])
        flags = joined(words)
        found.setdefault(flags, Answer(flags, is_open, bool(_CONDITION.search(_clause(text or "", span)))))
    complete = [answer for answer in found.values() if not answer.is_open]
    named = {split(answer.flags)[0] for answer in complete if not answer.flags.endswith(" none")}
    return [answer for answer in found.values() if not answer.is_open or answer.flags not in named]


def keywords_of(flags: str) -> dict[str, Any]:
    """Fields of `Settings`; columns of roles together in `columns`.

    Raises:
        UsageError: if a word is no flag of a setting, or its value is missing or none of its type.
    """
    words = _split(flags)
    found: dict[str, Any] = {}
    while words:
        flag, *words = words
        if "=" in flag and flag.startswith("--"):
            flag, _, value = flag.partition("=")
            words = [value, *words]
        if flag in _OF_JOIN:
            found["join"] = _OF_JOIN[flag]
            continue
        name = _ROLE_OF.get(flag) or _NAME_OF.get(flag)
        if name is None:
            raise UsageError(
                f"`{flag}` is no flag of a setting", hint="type flags as `gae compute` takes them"
            )
        if not _takes_value(flag):
            found[name] = True
            continue
        if not words:
            raise UsageError(f"`{flag}` needs a value")
        value, *words = words
        if flag in _ROLE_OF:
            found.setdefault("columns", {})[name] = value
        elif name in _SEVERAL:
            found[name] = (*found.get(name, ()), value)
        else:
            found[name] = _typed(flag, name, value)
    return found


def merged(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of two answers; the second wins."""
    columns = {**before.get("columns", {}), **after.get("columns", {})}
    return {**before, **after, **({"columns": columns} if columns else {})}


def named_in(keywords: Mapping[str, Any]) -> set[str]:
    """Names of what they set: fields, and roles of columns."""
    return {*(keywords.keys() - {"columns"}), *(f"columns.{role}" for role in keywords.get("columns", {}))}


def _words(span: str) -> list[str] | None:
    """Those of settings alone, also of a whole command; None for what has none, or has one of the run."""
    if "…" in span or not span.startswith(("--", _COMMAND)):
        return None
    try:
        words = split(span.removeprefix(_COMMAND))
    except ValueError:
        return None
    if span.startswith(_COMMAND):
        words = words[1:]  # behind the file
    if not words:
        return None
    flags = [word for word in words if word.startswith("--")]
    return words if all(flag in _ROLE_OF or flag in _NAME_OF or flag in _OF_JOIN for flag in flags) else None


def _split(flags: str) -> list[str]:
    try:
        return split(flags)
    except ValueError as error:
        raise UsageError(f"`{flags}` has a quote that is not closed") from error


def _takes_value(word: str) -> bool:
    if word in _OF_JOIN:
        return False
    return word in _ROLE_OF or (word in _NAME_OF and not isinstance(DEFAULTS.get(_NAME_OF[word]), bool))


def _clause(text: str, span: re.Match[str]) -> str:
    start = max([match.end() for match in _CLAUSE_END.finditer(text, 0, span.start())], default=0)
    end = _CLAUSE_END.search(text, span.end())
    return _SPAN.sub("", text[start : len(text) if end is None else end.start()])


def _typed(flag: str, name: str, value: str) -> Any:
    kind = type(DEFAULTS[name])
    if kind not in (int, float):
        return value
    try:
        return kind(value)
    except ValueError as error:
        raise UsageError(f"`{flag}` is `{value}`; it must be a number") from error
