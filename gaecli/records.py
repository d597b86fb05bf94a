"""`dataclass` as in the standard library, but made when a class is first used, not when its module is imported.

The standard one compiles up to seven methods for each class, about a millisecond; a run imports two hundred
classes and uses some of them. This one compiles `__init__` alone, once it is called; all else is the same for all.
`fields`, `replace`, `asdict` and subclasses take these classes as what they are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError
from dataclasses import dataclass as _standard
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

_Fields = dict[str, "Field[Any]"]

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - exported
else:

    def dataclass(cls=None, /, *, frozen=False, eq=True, kw_only=False):
        """Of the standard options those that are used here."""
        if cls is None:
            return lambda cls: dataclass(cls, frozen=frozen, eq=eq, kw_only=kw_only)
        later = _Later(cls, {"frozen": frozen, "eq": eq, "kw_only": kw_only})
        methods = {name: _Pending(name, later) for name in _MADE}
        methods["__repr__"] = _repr
        if eq:
            methods |= {"__eq__": _eq, "__hash__": _hash if frozen else None}
        if frozen:
            methods |= {
                "__setattr__": _refusing_to("assign to", cls),
                "__delattr__": _refusing_to("delete", cls),
            }
        for name, method in methods.items():
            if name not in cls.__dict__:
                setattr(cls, name, method)
        return cls


_MADE = ("__init__", "__dataclass_fields__", "__dataclass_params__", "__match_args__")


class _Pending:
    """Stands in a class for what is made once it is asked for."""

    def __init__(self, name: str, later: _Later) -> None:
        self._name = name
        self._later = later

    def __get__(self, instance: object, owner: type) -> Any:
        self._later.make()
        made = vars(self._later.cls)[self._name]
        return made.__get__(instance, owner) if callable(made) else made


class _Later:
    """A class, and how it is to be made."""

    _lock = threading.RLock()

    def __init__(self, cls: type, options: dict[str, bool]) -> None:
        self.cls = cls
        self._options = options

    def make(self) -> None:
        """Once, whichever thread comes first; what is asked for meanwhile waits."""
        with self._lock:
            pending = [name for name in _MADE if isinstance(vars(self.cls).get(name), _Pending)]
            if not pending:
                return
            fields, params = self._fields_and_params()
            positional = tuple(name for name, one in fields.items() if not one.kw_only)
            init = _init(self.cls, fields)
            for name, one in fields.items():
                if isinstance(vars(self.cls).get(name), Field):  # as written: `names: list[str] = field(...)`
                    if one.default is MISSING:
                        delattr(self.cls, name)
                    else:
                        setattr(self.cls, name, one.default)
            for name, made in zip(_MADE, (init, fields, params, positional), strict=True):
                if name in pending:
                    setattr(self.cls, name, made)

    def _fields_and_params(self) -> tuple[_Fields, Any]:
        """What a field is the standard decorator says, by a class of nothing but fields."""
        annotations = self.cls.__annotations__
        own = {name: vars(self.cls)[name] for name in annotations if name in vars(self.cls)}
        names = {"__module__": self.cls.__module__, "__annotations__": annotations}
        alone: Any = type(self.cls.__name__, (), {**names, "__doc__": "of fields alone", **own})
        _standard(init=False, repr=False, eq=False, match_args=False, kw_only=self._options["kw_only"])(alone)
        params = alone.__dataclass_params__
        params.init = params.repr = True
        params.frozen, params.eq = self._options["frozen"], self._options["eq"]
        fields: _Fields = {}
        for base in reversed(self.cls.__mro__[1:]):
            if "__dataclass_fields__" in vars(base):
                fields |= base.__dataclass_fields__  # type: ignore[attr-defined]
        return fields | alone.__dataclass_fields__, params


def _init(cls: type, fields: _Fields) -> Callable[..., None]:
    """`def __init__(self, gamma=default_gamma, ...)`, which fills the dictionary of the instance, frozen or not."""
    # A field may have any other name than these, which begin with two underscores.
    space: dict[str, Any] = {"__missing": MISSING}
    positional, body = ["self"], ["__values = self.__dict__"]
    keyword: list[str] = []
    for name, one in fields.items():
        parameter, value = name, name
        if one.default is not MISSING:
            parameter += f"=__default_{name}"
            space[f"__default_{name}"] = one.default
        elif one.default_factory is not MISSING:
            parameter += "=__missing"
            space[f"__make_{name}"] = one.default_factory
            value = f"__make_{name}() if {name} is __missing else {name}"
        (keyword if one.kw_only else positional).append(parameter)
        body.append(f"__values[{name!r}] = {value}")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    parameters = ", ".join([*positional, *(["*", *keyword] if keyword else [])])
    exec(f"def __init__({parameters}):\n    " + "\n    ".join(body), space)
    init: Callable[..., None] = space["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__annotations__ = {name: one.type for name, one in fields.items()} | {"return": None}
    return init


def _compared(record: Any) -> tuple[Any, ...]:
    fields: _Fields = record.__dataclass_fields__
    return tuple(getattr(record, name) for name, one in fields.items() if one.compare)


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return _compared(self) == _compared(other)


def _hash(self: Any) -> int:
    return hash(_compared(self))


@recursive_repr()
def _repr(self: Any) -> str:
    fields: _Fields = self.__dataclass_fields__
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name, one in fields.items() if one.repr)
    return f"{self.__class__.__qualname__}({shown})"


def _refusing_to(do: str, cls: Any) -> Callable[..., None]:
    """`__setattr__` or `__delattr__` of a frozen class; one that inherits from it may have more attributes."""
    usual = "__setattr__" if do == "assign to" else "__delattr__"

    def refuse(self: Any, name: str, *value: Any) -> None:
        if type(self) is cls or name in cls.__dataclass_fields__:
            raise FrozenInstanceError(f"cannot {do} field {name!r}")
        getattr(super(cls, self), usual)(name, *value)

    return refuse
