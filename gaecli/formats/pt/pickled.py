"""A pickle as the tree of what it says, none of it carried out: no name in it is looked up, nothing is called.

`torch.save` makes a pickle of dicts, numbers, texts, and calls that stand for tensors. `parse` reads it into nodes,
`emit` writes them again; what a node stands for is told by its names alone.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Collection, Sequence
from dataclasses import field
from typing import Any, NamedTuple

from gaecli.records import dataclass

#: Longer ones hold more than a dict of tensors.
MOST_BYTES = 16 << 20
_MOST_STEPS = 1_000_000
_MOST_LEVELS = 64
#: Of the names of dicts in dicts: every tensor in them has it before its own.
_LONGEST_PATH = 256
_PLAIN = (
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
)
_DAMAGED = "its pickle is damaged"
_WORDS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_OBJECTS = {"REDUCE": "call", "NEWOBJ": "new"}


class PickleError(ValueError):
    """Not a pickle, or one that says more than is read."""


class Symbol(NamedTuple):
    """The name of a class or function."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Persistent(NamedTuple):
    """What stands elsewhere in the archive."""

    id: Any


@dataclass(eq=False)
class PickledNode:
    """A dict or list; or the result of a call, or of a class, with what was put into it afterwards."""

    kind: str
    function: Any = None
    args: Any = ()
    items: list[tuple[Any, Any]] = field(default_factory=list)
    members: list[Any] = field(default_factory=list)
    states: list[Any] = field(default_factory=list)

    @property
    def is_dict(self) -> bool:
        is_ordered = self.kind == "call" and self.function == ORDERED_DICT and self.args == ()
        return self.kind == "dict" or is_ordered


ORDERED_DICT = Symbol("collections", "OrderedDict")


def named(items: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    """Items of a dict by their keys: texts, as others name no column. Of one that comes twice the last counts.

    Those of a dict in it go by their path (`next.reward`), behind all that have such a name themselves; a dict that
    stands in several places, by the first one.
    """
    found: dict[str, Any] = {}
    level: list[tuple[str, Sequence[tuple[Any, Any]]]] = [("", items)]
    seen: set[int] = set()
    while level:
        inner: list[tuple[str, Sequence[tuple[Any, Any]]]] = []
        for prefix, pairs in level:
            for key, value in {key: value for key, value in pairs if isinstance(key, str)}.items():
                is_inner = isinstance(value, PickledNode) and value.is_dict and bool(value.items)
                if not is_inner or len(prefix) + len(key) > _LONGEST_PATH:
                    found.setdefault(prefix + key, value)
                elif id(value) not in seen:
                    seen.add(id(value))
                    inner.append((f"{prefix}{key}.", value.items))
        level = inner
    return found


def storage_keys(tree: Any) -> set[str]:
    """The keys of all storages that a tree speaks of."""
    found: set[str] = set()
    waiting: list[Any] = [tree]
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen or not isinstance(value, PickledNode | tuple):
            continue
        seen.add(id(value))
        if isinstance(value, Persistent):
            parts = value.id if isinstance(value.id, tuple) else (value.id,)
            found.update(part for part in parts if isinstance(part, str))
        elif isinstance(value, tuple):
            waiting += value
        else:
            pairs = [one for pair in value.items for one in pair]
            waiting += [value.function, value.args, *pairs, *value.members, *value.states]
    return found


def items_without(items: Sequence[tuple[Any, Any]], names: Collection[str]) -> list[tuple[Any, Any]]:
    """Those of other keys than these texts; a key of another kind may take an age to compare."""
    return [(key, value) for key, value in items if not (isinstance(key, str) and key in names)]


def parse(content: bytes) -> Any:
    """The tree of a pickle. `PickleError` where it is none, or takes more steps than a dict of tensors does."""
    if len(content) > MOST_BYTES:
        raise PickleError(f"its pickle is longer than {MOST_BYTES >> 20} MiB")
    machine = _Machine()
    try:
        for number, (op, value, _) in enumerate(pickletools.genops(content)):
            if number == _MOST_STEPS:
                raise PickleError(f"its pickle takes more than {_MOST_STEPS:,} steps")
            if op.name == "STOP":
                return machine.result()
            machine.step(op.name, value)
    except (IndexError, KeyError, AttributeError, TypeError, struct.error, UnicodeDecodeError) as error:
        raise PickleError(_DAMAGED) from error
    except ValueError as error:
        raise error if isinstance(error, PickleError) else PickleError(_DAMAGED) from error
    raise PickleError(_DAMAGED)


class _Machine:
    """The stack and the memo of the pickle machine, with nodes on them."""

    def __init__(self) -> None:
        #: Above the last mark.
        self._stack: list[Any] = []
        #: Below each mark.
        self._waiting: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def result(self) -> Any:
        return self._stack.pop()

    def step(self, name: str, value: Any) -> None:
        if name in ("PROTO", "FRAME"):
            return
        if name in _PLAIN:
            self._stack.append(value)
        elif name in _WORDS:
            self._stack.append(_WORDS[name])
        elif name in _TUPLES:
            self._stack.append(self._taken(_TUPLES[name]))
        elif name in _OBJECTS:
            args, function = self._stack.pop(), self._stack.pop()
            if not isinstance(args, tuple):
                raise PickleError(_DAMAGED)
            self._stack.append(PickledNode(_OBJECTS[name], function, args))
        else:
            getattr(self, f"_{name.lower()}", self._unknown)(value)

    def _unknown(self, value: Any) -> None:
        raise PickleError("its pickle is of a kind that `torch.save` does not write")

    def _mark(self, value: Any) -> None:
        self._waiting.append(self._stack)
        self._stack = []

    def _empty_dict(self, value: Any) -> None:
        self._stack.append(PickledNode("dict"))

    def _empty_list(self, value: Any) -> None:
        self._stack.append(PickledNode("list"))

    def _tuple(self, value: Any) -> None:
        members = self._marked()
        self._stack.append(tuple(members))

    def _setitem(self, value: Any) -> None:
        item, key = self._stack.pop(), self._stack.pop()
        self._holder("list").items.append((key, item))

    def _setitems(self, value: Any) -> None:
        flat = self._marked()
        self._holder("list").items += zip(flat[::2], flat[1::2], strict=True)

    def _append(self, value: Any) -> None:
        member = self._stack.pop()
        self._holder("dict").members.append(member)

    def _appends(self, value: Any) -> None:
        members = self._marked()
        self._holder("dict").members += members

    def _holder(self, other: str) -> PickledNode:
        """What is added to: an object, or no `other`."""
        node: PickledNode = self._stack[-1]
        if node.kind == other:
            raise PickleError(_DAMAGED)
        return node

    def _build(self, value: Any) -> None:
        state = self._stack.pop()
        self._stack[-1].states.append(state)

    def _global(self, value: Any) -> None:
        module, _, name = value.partition(" ")
        self._stack.append(Symbol(module, name))

    def _stack_global(self, value: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        # A line break would end the name where it is written again, and what follows it would be steps.
        if not all(isinstance(text, str) and "\n" not in text for text in (module, name)):
            raise PickleError(_DAMAGED)
        self._stack.append(Symbol(module, name))

    def _binpersid(self, value: Any) -> None:
        self._stack.append(Persistent(self._stack.pop()))

    def _memoize(self, value: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _binput(self, value: Any) -> None:
        self._memo[value] = self._stack[-1]

    _long_binput = _binput

    def _binget(self, value: Any) -> None:
        self._stack.append(self._memo[value])

    _long_binget = _binget

    def _marked(self) -> list[Any]:
        found, self._stack = self._stack, self._waiting.pop()
        return found

    def _taken(self, number: int) -> tuple[Any, ...]:
        return tuple([self._stack.pop() for _ in range(number)][::-1])


def emit(tree: Any) -> bytes:
    """A pickle of protocol 2 that says the same. What is there twice is written once."""
    writer = _Emitter()
    writer.put(tree, 0)
    return b"\x80\x02" + b"".join(writer.parts) + b"."


class _Emitter:
    def __init__(self) -> None:
        self.parts: list[bytes] = []
        #: By identity; kept alive, so that none of these is that of another one.
        self._memo: dict[int, tuple[int, Any]] = {}

    def put(self, value: Any, level: int) -> None:
        if level > _MOST_LEVELS:
            raise PickleError(f"its dict is nested more than {_MOST_LEVELS} levels deep")
        if isinstance(value, PickledNode):
            self._put_node(value, level + 1)
        elif isinstance(value, Symbol):
            self._shared(value, lambda: self.parts.append(f"c{value.module}\n{value.name}\n".encode()))
        elif isinstance(value, Persistent):
            self.put(value.id, level + 1)
            self.parts.append(b"Q")
        elif isinstance(value, tuple):
            self._shared(value, lambda: self._put_tuple(value, level + 1))
        else:
            self.parts.append(_plain(value))

    def _shared(self, value: Any, put: Any) -> None:
        known = self._memo.get(id(value))
        if known is not None:
            self.parts.append(b"j" + struct.pack("<I", known[0]))
            return
        put()
        self._remember(value)

    def _remember(self, value: Any) -> None:
        number = len(self._memo)
        self._memo[id(value)] = number, value
        self.parts.append(b"r" + struct.pack("<I", number))

    def _put_tuple(self, value: tuple[Any, ...], level: int) -> None:
        if not value:
            self.parts.append(b")")
            return
        self.parts.append(b"(")
        for one in value:
            self.put(one, level)
        self.parts.append(b"t")

    def _put_node(self, node: PickledNode, level: int) -> None:
        if id(node) in self._memo:
            self._shared(node, None)
            return
        if node.kind in ("dict", "list"):
            self.parts.append(b"}" if node.kind == "dict" else b"]")
        else:
            self.put(node.function, level)
            self.put(node.args, level)
            self.parts.append(b"R" if node.kind == "call" else b"\x81")
        self._remember(node)
        self._put_all([one for pair in node.items for one in pair], b"u", level)
        self._put_all(node.members, b"e", level)
        for state in node.states:
            self.put(state, level)
            self.parts.append(b"b")

    def _put_all(self, values: list[Any], op: bytes, level: int) -> None:
        if values:
            self.parts.append(b"(")
            for one in values:
                self.put(one, level)
            self.parts.append(op)


def _plain(value: Any) -> bytes:
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        if -(2**31) <= value < 2**31:
            return b"J" + struct.pack("<i", value)
        digits = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        is_short = len(digits) < 256
        return (
            b"\x8a" + bytes([len(digits)]) if is_short else b"\x8b" + struct.pack("<i", len(digits))
        ) + digits
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    text = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return (b"X" if isinstance(value, str) else b"B") + struct.pack("<I", len(text)) + text
