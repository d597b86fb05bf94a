"""Options that a project or an environment has its own defaults for: `[tool.gaecli]` and `GAE_*`.

    [tool.gaecli]               # in the nearest pyproject.toml above the working directory that has it
    gamma = 0.98
    reward-column = "rew"

    [tool.gaecli.compute]       # for one command
    normalize = "all"

`GAE_GAMMA=0.98` is the same from the environment, and wins over the file; what is typed wins over both, and a preset
gives way to all of them, as it does to what is typed. What took effect is told.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_PREFIX = "GAE_"
_TABLE = b"tool.gaecli"
_MOST_BYTES = 1 << 20
#: From where on a variable is taken for a slip of the pen.
_CLOSE = 0.85
#: What one run reads and writes, and what it may replace, is said to that run.
_NEVER = frozenset(
    {"inputs", "input", "files_from", "output", "overwrite", "force", "dry_run", "quiet", "json"}
)


class Default(NamedTuple):
    """Text, or a switch, or texts of an option that is given several times; and where it is from."""

    value: Any
    origin: str


#: Those that took effect in this process, by the names of their parameters.
used: dict[str, Default] = {}


def defaults_of(command: str, names: Sequence[str], commands: Sequence[str]) -> dict[str, Default]:
    """Of a command with these parameters, one of `commands`. Raises `UsageError` for what says nothing to any."""
    found = _of_project(command, names, commands)
    for name in names:
        text = os.environ.get(_PREFIX + name.upper())
        if text and name not in _NEVER:  # empty is how a shell takes a variable back
            found[name] = Default(text, _PREFIX + name.upper())
    return {name: default._replace(value=_as_typed(name, default)) for name, default in found.items()}


def told() -> list[str]:
    """What took effect, in a line; and variables that look as if they were to."""
    return [*_effects(), *_slips()]


def _effects() -> list[str]:
    if not used:
        return []
    by_origin: dict[str, list[str]] = {}
    for name, (value, origin) in used.items():
        by_origin.setdefault(origin, []).append(f"{name.replace('_', '-')} {_shown(value)}")
    parts = [f"{', '.join(some)} from {origin}" for origin, some in by_origin.items()]
    return [f"defaults: {'; '.join(parts)}"]


def _slips() -> list[str]:
    """Others have variables of that beginning too (App Engine), so that only what is close to an option is told."""
    named = [name for name in os.environ if name.startswith(_PREFIX) and os.environ[name]]
    if not named:
        return []
    import difflib

    from gaecli.cli.options import OPTIONS

    lines = []
    for variable in sorted(named):
        name = variable.removeprefix(_PREFIX).lower()
        near = difflib.get_close_matches(name, OPTIONS, n=1, cutoff=_CLOSE)
        if name in _NEVER:
            lines.append(f"`{variable}` has no effect: it is said to each run")
        elif name not in OPTIONS and near:
            lines.append(f"`{variable}` has no effect: did you mean `{_PREFIX}{near[0].upper()}`?")
    return lines


def as_document() -> dict[str, Any]:
    """What a JSON document says of them."""
    return {"defaults": {name: {"value": value, "from": origin} for name, (value, origin) in used.items()}}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(value) if isinstance(value, list) else str(value)


def _of_project(command: str, names: Sequence[str], commands: Sequence[str]) -> dict[str, Default]:
    place = _project()
    if place is None:
        return {}
    table = _table(place)
    own = {key: value for key, value in table.items() if not isinstance(value, dict)}
    unknown = [key for key, value in table.items() if isinstance(value, dict) and key not in commands]
    if unknown:
        raise _refused(place, f"{unknown[0]}", unknown[0], commands)
    found: dict[str, Default] = {}
    for where, said in (("", own), (f"{command}.", table.get(command, {}))):
        for key, value in said.items():
            name = key.replace("-", "_")
            _check(place, where + key, name, None if not where else names)
            if name in names:
                found[name] = Default(value, str(place))
    return found


def _project() -> Path | None:
    """The nearest pyproject.toml that speaks of gaecli."""
    try:
        here = Path.cwd()
    except OSError:
        return None
    for folder in (here, *here.parents):
        place = folder / "pyproject.toml"
        try:
            if place.is_file() and place.stat().st_size <= _MOST_BYTES and _TABLE in place.read_bytes():
                return place
        except OSError:
            continue
    return None


def _table(place: Path) -> Mapping[str, Any]:
    import tomllib

    from gaecli.errors import UsageError

    try:
        document = tomllib.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"`{place}` cannot be read as TOML: {error}", hint="mend it, or run elsewhere"
        ) from error
    tool = document.get("tool")
    table = tool.get("gaecli") if isinstance(tool, dict) else None
    if table is None:
        return {}
    if not isinstance(table, dict):
        raise UsageError(f"`tool.gaecli` of `{place}` is no table", hint="write `[tool.gaecli]`")
    return table


def _check(place: Path, key: str, name: str, names: Sequence[str] | None) -> None:
    """A name of no option is a slip of the pen. `names`: those of the one command, where it is said to one."""
    from gaecli.cli.options import OPTIONS
    from gaecli.errors import UsageError

    if name in _NEVER:
        raise UsageError(
            f"`{key}` in `[tool.gaecli]` of `{place}` cannot have a default: it is said to each run",
            hint="take it out",
        )
    known = list(OPTIONS) if names is None else list(names)
    if name not in known:
        raise _refused(place, key, name, known)


def _refused(place: Path, key: str, name: str, known: Sequence[str]) -> Exception:
    import difflib

    from gaecli.errors import UsageError

    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean `{near[0].replace('_', '-')}`?" if near else "names are those of the flags"
    return UsageError(f"`{key}` in `[tool.gaecli]` of `{place}` is no option of gae", hint=hint)


def _as_typed(name: str, default: Default) -> Any:
    """As the command line gives it: text, texts, or whether a switch is on."""
    from gaecli.cli.options import OPTIONS
    from gaecli.errors import UsageError

    kind, value = OPTIONS[name].kind, default.value
    if kind is bool:
        word = str(value).lower()
        if word not in ("true", "false", "1", "0", "yes", "no", "on", "off"):
            raise UsageError(f"`{name}` from {default.origin} is `{value}`; it is true or false")
        return word in ("true", "1", "yes", "on")
    if kind == list[str]:
        return [str(one) for one in value] if isinstance(value, list) else [str(value)]
    if isinstance(value, list | dict | bool):
        raise UsageError(f"`{name}` from {default.origin} is `{value}`; it is one text or number")
    return str(value)
