"""`dataclass` as in the standard library, but with next to nothing done when a module is imported.

The standard one compiles up to seven methods for each class, about a millisecond; a run imports two hundred classes,
uses half of them, and most of these once. Here one `__eq__`, `__hash__` and `__repr__` serve all classes, and an
`__init__` is compiled for those that many instances are made of. `fields`, `replace`, `asdict`, signatures, patterns
and subclasses take these classes as what they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, field, fields
from dataclasses import dataclass as _standard
from functools import cache
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

_Fields = dict[str, "Field[Any]"]

#: As many instances are made without compiling `__init__`: that takes as long as some hundred of them.
_FEW = 100

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - exported
else:

    def dataclass(cls=None, /, *, frozen=False, eq=True, kw_only=False):
        """Of the standard options those that are used here."""
        if cls is None:
            return lambda cls: dataclass(cls, frozen=frozen, eq=eq, kw_only=kw_only)
        own = _own_defaults(cls)
        methods = {
            "__init__": _Init(cls),
            "__repr__": _repr,
            "__dataclass_fields__": _Later(lambda: _fields(cls, own, kw_only)),
            "__dataclass_params__": _Later(lambda: _params(frozen, eq)),
            "__match_args__": _Later(lambda: tuple(one.name for one in fields(cls) if not one.kw_only)),
        }
        if eq:
            methods |= {"__eq__": _eq, "__hash__": _hash if frozen else None}
        if frozen:
            methods |= {
                "__setattr__": _refusing_to("assign to", cls),
                "__delattr__": _refusing_to("delete", cls),
            }
        if cls.__repr__ is not object.__repr__:
            del methods["__repr__"]  # unlike a standard one: what it is derived from says how it is shown
        for name, method in methods.items():
            if name not in cls.__dict__:
                setattr(cls, name, method)
        return cls


def shallow(record: Any) -> dict[str, Any]:
    """The fields of a record that holds no others: `asdict` copies what nobody is going to change."""
    values, names = vars(record), record.__dataclass_fields__
    # Most records keep nothing beside their fields.
    return dict(values) if len(values) == len(names) else {name: values[name] for name in names}


class _Later:
    """An attribute of a class that is made once it is asked for."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __get__(self, instance: object, owner: type) -> Any:
        if not hasattr(self, "made"):
            self.made = self._make()
        return self.made


def _own_defaults(cls: type) -> dict[str, Any]:
    """What stands behind the annotations. `names: list[str] = field(...)` is no attribute of the class."""
    own = {name: vars(cls)[name] for name in cls.__annotations__ if name in vars(cls)}
    for name, default in own.items():
        if isinstance(default, Field):
            if default.default is MISSING:
                delattr(cls, name)
            else:
                setattr(cls, name, default.default)
    return own


@_standard
class _Sample:
    any: int


#: What the standard functions tell a field by, from a class variable for example: there are no others here.
_IS_FIELD = fields(_Sample)[0]._field_type  # type: ignore[attr-defined]


def _fields(cls: type, own: dict[str, Any], kw_only: bool) -> _Fields:
    """Those of the classes above, then its own."""
    found: _Fields = {}
    for base in reversed(cls.__mro__[1:]):
        if "__dataclass_fields__" in vars(base):
            found |= base.__dataclass_fields__  # type: ignore[attr-defined]
    for name, kind in cls.__annotations__.items():
        default = own.get(name, MISSING)
        one: Any = default if isinstance(default, Field) else field(default=default)
        one.name, one.type, one._field_type = name, kind, _IS_FIELD
        if one.kw_only is MISSING:
            one.kw_only = kw_only
        found[name] = one
    return found


def _params(frozen: bool, eq: bool) -> Any:
    """What a standard dataclass below one of ours asks it for."""
    params: Any = vars(_standard(type("_Empty", (), {"__doc__": "for its params"})))["__dataclass_params__"]
    params.frozen, params.eq = frozen, eq
    return params


class _Init:
    """`__init__` of a class, until there are more than a few instances, or somebody asks for its signature."""

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self._num_made = 0

    def __get__(self, instance: Any, owner: type) -> Any:
        self._num_made += 1
        # From Python 3.13 on `inspect.signature` binds it to the class.
        if instance is None or isinstance(instance, type) or self._num_made > _FEW:
            return self._compiled().__get__(instance, owner)
        return lambda *args, **given: self._fill(instance, args, given)

    def _fill(self, instance: Any, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        """The dictionary of the instance, frozen or not."""
        values: dict[str, Any] = {}
        num_given, num_args = 0, 0
        for name, one in self._cls.__dataclass_fields__.items():
            if num_args < len(args) and not one.kw_only:
                values[name] = args[num_args]
                num_args += 1
            elif name in given:
                values[name] = given[name]
                num_given += 1
            elif one.default is not MISSING:
                values[name] = one.default
            elif one.default_factory is not MISSING:
                values[name] = one.default_factory()
        if (
            len(values) < len(self._cls.__dataclass_fields__)
            or num_args < len(args)
            or num_given < len(given)
        ):
            self._compiled()(instance, *args, **given)  # which says what is wrong
            return
        instance.__dict__.update(values)
        if hasattr(instance, "__post_init__"):
            instance.__post_init__()

    def _compiled(self) -> Callable[..., None]:
        """`def __init__(self, gamma=default_gamma, ...)`, in its place from now on."""
        cls = self._cls
        init = _init(cls, cls.__dataclass_fields__)
        if vars(cls).get("__init__") is self:
            cls.__init__ = init
        return init


def _init(cls: type, fields: _Fields) -> Callable[..., None]:
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


@cache
def _compared(cls: Any) -> Callable[[Any], Any]:
    """What gets all that counts of an instance, as a tuple: in one of those a NaN is equal to itself."""
    names = [name for name, one in cls.__dataclass_fields__.items() if one.compare]
    if len(names) > 1:
        return attrgetter(*names)
    return lambda record: tuple(getattr(record, name) for name in names)


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    compared = _compared(self.__class__)
    return compared(self) == compared(other)


def _hash(self: Any) -> int:
    return hash(_compared(self.__class__)(self))


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
