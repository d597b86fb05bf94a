"""Messages for whoever calls from Python: keyword arguments where the command line has flags."""

from __future__ import annotations

import re

from gaecli.errors import GaeError

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
    return _FLAG.sub(lambda found: f"`{_keyword(found['flag'], found['value'])}`", text)


def told_in_keywords(error: GaeError) -> GaeError:
    """The same error in these words."""
    error.message = in_keywords(error.message)
    error.hint = None if error.hint is None else in_keywords(error.hint)
    error.args = (error.message,)
    return error


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
