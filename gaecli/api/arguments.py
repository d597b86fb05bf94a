"""Whether arguments of the functions are what their annotations say: one place for all functions and keywords.

A value of another type than its keyword takes is told with what it takes and an example. What NumPy and the like have
in the place of a number, a flag or a list becomes one; whether a number is in range is left to whoever uses it.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import (
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from gaecli.api.keyword_words import errors_in_keywords
from gaecli.api.tables import ArrowStream
from gaecli.errors import UsageError
from gaecli.setting_fields import DEFAULTS

P = ParamSpec("P")
R = TypeVar("R")

#: Of keywords whose usual value shows nothing, or that have none.
_EXAMPLES: Mapping[str, str] = {
    "column_source": '"other.parquet"',
    "columns": '{"reward": "rew"}',
    "device": '"cuda:0"',
    "engine": '"ray"',
    "estimator": '"gae"',
    "failure_cost": "300.0",
    "force_positive": '"is_human"',
    "expectile": "0.7",
    "group_ddof": "1",
    "group_eps": "1e-8",
    "ignore": '["GAE101"]',
    "jobs": "2",
    "label_by": '"task"',
    "label_quantile": "0.3",
    "label_rule": '"kai0"',
    "layout": '"time-major"',
    "lam_alpha": "0.2",
    "memory_bytes": "1 << 30",
    "n_steps": "10",
    "normalize": '"all"',
    "normalize_by": '"prompt"',
    "output": '"new.parquet"',
    "preset": '"sb3"',
    "ray_address": '"auto"',
    "reward": '{"correct": 1.0, "format": 0.2}',
    "rewards": '{"correct": 1.0, "format": 0.2}',
    "sample_of": '"rollout"',
    "select": '["GAE0", "GAE101"]',
    "stream": '["ext=reward,value", "int=bonus,bonus_value"]',
    "to": '"csv"',
    "top": "12",
    "turn_gamma": "0.99",
    "unit": '"turn"',
}
_NOTHING: Any = inspect.Parameter.empty


def public_function(function: Callable[P, R]) -> Callable[P, R]:
    """A function of the Python API: arguments are of their types, and errors speak of keywords."""

    @errors_in_keywords
    @wraps(function)
    def checked(*args: P.args, **given: P.kwargs) -> R:
        _, settings = _parameters(function)
        bound = inspect.signature(function).bind(*args, **given)
        more = bound.arguments.pop(settings, {}) if settings else {}
        return function(**checked_arguments(function, {**bound.arguments, **more}))  # type: ignore[call-arg]

    return checked


def checked_arguments(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as `function` takes them; None says that one is not given, where it is no value of its own.

    Sources, which have no default, are told by whoever reads them.

    Raises:
        UsageError: of one of another type: what it takes, and an example.
    """
    known, _ = _parameters(function)
    found = {}
    for name, value in given.items():
        hint, usual = known.get(name, (Any, _NOTHING))
        if value is None and usual is not _NOTHING and type(None) not in _kinds(hint):
            continue
        fitting = value if usual is _NOTHING else _fitting(value, hint)
        if fitting is _NOTHING:
            raise _other_type(name, value, hint, usual)
        found[name] = fitting
    return found


@cache
def _parameters(function: Callable[..., Any]) -> tuple[Mapping[str, tuple[Any, Any]], str | None]:
    """Keyword -> its type and what it is where it is not given, None of a setting; and the name of `**settings`."""
    hints = get_type_hints(function)
    known: dict[str, tuple[Any, Any]] = {}
    rest = None
    for name, one in inspect.signature(function).parameters.items():
        if one.kind is one.VAR_KEYWORD:
            rest = name
            (typed,) = get_args(hints[name])
            assert is_typeddict(typed)
            known |= {setting: (hint, None) for setting, hint in get_type_hints(typed).items()}
        else:
            known[name] = hints[name], one.default
    return known, rest


def _kinds(hint: Any) -> tuple[Any, ...]:
    """What a union is of; of all else itself."""
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(kind for one in get_args(hint) for kind in _kinds(one))
    return (hint,)


def _fitting(value: Any, hint: Any) -> Any:
    """The value as one of this type, or `_NOTHING`."""
    found = (_as(value, kind) for kind in _kinds(hint))
    return next((one for one in found if one is not _NOTHING), _NOTHING)


def _as(value: Any, kind: Any) -> Any:
    origin = get_origin(kind)
    if kind in (Any, object, ArrowStream):  # whoever reads tables tells what is none
        return value
    if kind is type(None):
        return None if value is None else _NOTHING
    if kind is bool:
        is_flag = isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")  # NumPy's
        return bool(value) if is_flag else _NOTHING
    if kind in (int, float):
        is_flag, is_plain = isinstance(value, bool), isinstance(value, int | float)
        if is_flag or not isinstance(value, Integral if kind is int else Real):
            return _NOTHING
        return value if is_plain else kind(value)
    if kind is str or origin is Literal:  # which words there are is told by whoever knows them
        return value if isinstance(value, str) and value else _NOTHING
    if kind is Path:
        return value if isinstance(value, PathLike) else _NOTHING
    if _is_of(origin, Mapping):
        return _mapping(value, *get_args(kind))
    if origin is tuple:
        items = _items(value, *(get_args(kind)[:1]))
        return tuple(items) if items is not _NOTHING and len(items) == len(get_args(kind)) else _NOTHING
    if _is_of(origin, Sequence):
        return _items(value, *get_args(kind))
    return value if isinstance(value, kind) else _NOTHING


def _mapping(value: Any, key_kind: Any, item_kind: Any) -> Any:
    if not isinstance(value, Mapping):
        return _NOTHING
    items = {key: _fitting(item, item_kind) for key, item in value.items()}
    fits = all(
        _fitting(key, key_kind) is not _NOTHING and item is not _NOTHING for key, item in items.items()
    )
    return items if fits else _NOTHING


def _items(value: Any, kind: Any) -> Any:
    """Lists, tuples, ranges; arrays and series of one axis, which have `tolist` or `to_list`."""
    listed = getattr(value, "tolist", None) or getattr(value, "to_list", None)
    value = listed() if listed is not None else value
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
        return _NOTHING
    items = [_fitting(item, kind) for item in value]
    return _NOTHING if any(item is _NOTHING for item in items) else items


def _other_type(name: str, value: Any, hint: Any, usual: Any) -> UsageError:
    shown = repr(value)
    shown = "an empty name" if isinstance(value, str) and not value else shown
    shown = f"a `{type(value).__name__}`" if len(shown) > 60 or "\n" in shown else shown
    return UsageError(
        f"`{name}` is {shown}; it must be {_said(name, hint)}",
        hint=f"such as `{name}={_example(name, hint, usual)}`",
    )


def _said(name: str, hint: Any) -> str:
    """What a keyword takes, in words."""
    kinds = [kind for kind in _kinds(hint) if kind is not type(None)]
    single = [kind for kind in kinds if get_origin(kind) in (None, Literal)]
    said = [_word(name, kind) for kind in single[:1]]
    origins = [get_origin(kind) for kind in kinds]
    if tuple in origins:
        said.append("a pair of them")
    if any(_is_of(origin, Sequence) and origin is not tuple for origin in origins):
        said.append("a list of them")
    if any(_is_of(origin, Mapping) for origin in origins):
        said.append(_MAPPINGS[name])
    return ", or ".join(said)


_MAPPINGS: Mapping[str, str] = {
    "columns": "a mapping of roles to columns",
    "reward": "a mapping of columns to their weights",
    "rewards": "a mapping of columns to their weights",
    "stream": "a mapping of its fields",
}


def _is_of(origin: Any, kind: type) -> bool:
    return isinstance(origin, type) and issubclass(origin, kind)


def _word(name: str, kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(repr, get_args(kind)))}"
    if kind is str and (name == "output" or name.endswith("_source")):
        return "a path"
    if kind is str and (name.endswith("_column") or name in _COLUMNS):
        return "the name of a column"
    if name in ("select", "ignore"):
        return "the code of a rule"
    if name == "stream":
        return "a text"
    words = {bool: "True or False", int: "a whole number", float: "a number", str: "one name"}
    return words[kind]


_COLUMNS = frozenset(
    {
        "column",
        "columns",
        "unit",
        "normalize_by",
        "label_by",
        "sample_of",
        "force_positive",
        "reward",
        "rewards",
    }
)


def _example(name: str, hint: Any, usual: Any) -> str:
    if any(get_origin(kind) is tuple for kind in _kinds(hint)):
        return '("advantage", "gae")'
    if name in _EXAMPLES:
        return _EXAMPLES[name]
    for default in (usual, DEFAULTS.get(name)):
        if default is not _NOTHING and default not in (None, (), "", {}) and not isinstance(default, bool):
            return repr(default).replace("'", '"')
    if name.endswith("_column"):
        return f'"{name.removesuffix("_column")}"'
    kind = next(kind for kind in _kinds(hint) if kind is not type(None))
    if get_origin(kind) is Literal:
        return f'"{get_args(kind)[0]}"'
    return {bool: "True", int: "3", float: "0.5"}.get(kind, '"name"')
