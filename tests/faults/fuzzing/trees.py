"""Damage to one value of a Thrift tree: another number, text or type, a field that is gone, an element too many."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from faults.fuzzing.drawing import number, raw

from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.thrift_compact import List, Struct

_BITS = {thrift.BYTE: 8, thrift.I16: 16, thrift.I32: 32, thrift.I64: 64}
_SAMPLES: dict[int, Any] = {
    thrift.BOOL: True,
    thrift.I32: 1,
    thrift.I64: 1,
    thrift.DOUBLE: 1.0,
    thrift.BINARY: b"x",
    thrift.LIST: List(thrift.I32, [0]),
    thrift.STRUCT: Struct(),
}


class Slot(NamedTuple):
    """A field of a struct, or an element of a list; `path` is that of field ids."""

    holder: Any
    key: int
    path: str

    @property
    def kind(self) -> int:
        if isinstance(self.holder, Struct):
            return self.holder[self.key][0]
        return self.holder.element_type

    @property
    def content(self) -> Any:
        found = self.holder[self.key]
        return found[1] if isinstance(self.holder, Struct) else found

    def put(self, kind: int, content: Any) -> None:
        if isinstance(self.holder, Struct):
            self.holder[self.key] = (kind, content)
        elif kind == self.holder.element_type:
            self.holder[self.key] = content


def slots(tree: Any, path: str = "") -> Iterator[Slot]:
    """All values of a tree, at every depth."""
    if isinstance(tree, Struct):
        keys = [(key, f"{path}.{key}") for key in tree]
    elif isinstance(tree, List):
        keys = [(key, f"{path}[]") for key in range(len(tree))]
    else:
        return
    for key, name in keys:
        slot = Slot(tree, key, name)
        yield slot
        yield from slots(slot.content, name)


def damage(draw: Random, tree: Struct) -> str:
    """Change one value of the tree; each kind of field is as likely as any other, however often it is there."""
    by_path = defaultdict(list)
    for slot in slots(tree):
        by_path[slot.path].append(slot)
    if not by_path:
        tree.put(draw.randrange(1, 20), thrift.I32, 1)
        return "a field put into an empty struct"
    slot = draw.choice(by_path[draw.choice(sorted(by_path))])
    same_kind = [other for found in by_path.values() for other in found if other.kind == slot.kind]
    what = draw.choices(("value", "gone", "type", "copy", "id"), (60, 12, 8, 15, 5))[0]
    if what == "gone":
        del slot.holder[slot.key]
    elif what == "copy":
        # A copy: what is put into itself has no end.
        slot.put(slot.kind, copy.deepcopy(draw.choice(same_kind).content))
    elif what == "type":
        kind = draw.choice(sorted(_SAMPLES))
        slot.put(kind, copy.deepcopy(_SAMPLES[kind]))
    elif what == "id" and isinstance(slot.holder, Struct):
        slot.holder[draw.randrange(1, 24)] = slot.holder.pop(slot.key)
    else:
        slot.put(slot.kind, _other(draw, slot))
    return f"{what} of {slot.path}"


def _other(draw: Random, slot: Slot) -> Any:
    kind, content = slot.kind, slot.content
    if kind in _BITS:
        return number(draw, content, _BITS[kind])
    if kind == thrift.BINARY:
        return draw.choice(
            (b"", content[:-1], content + b"\0", content * 40, b"\xff\xfe", raw(draw, content))
        )
    if kind == thrift.DOUBLE:
        return draw.choice((0.0, float("nan"), -1e308))
    if kind in (thrift.LIST, thrift.SET):
        return _other_list(draw, content)
    if kind == thrift.STRUCT:
        content = Struct(content)
        content[draw.randrange(1, 24)] = (thrift.I64, number(draw, 1))
        return content
    return not content


def _other_list(draw: Random, content: List) -> List:
    values = list(content)
    match draw.randrange(5):
        case 0:
            values = []
        case 1:
            values = values[: len(values) // 2]
        case 2:
            values = values + values[:1]
        case 3:
            values = values * draw.choice((2, 3, 100))
        case _:
            draw.shuffle(values)
    return List(content.element_type, values)
