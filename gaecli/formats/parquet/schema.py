"""The schema of a Parquet footer: a flattened tree, checked, with the leaves and their levels.

And what every part of a footer is checked with: a field is there, of its type, and not negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.thrift_compact import List, Struct

#: Physical types: boolean, int32, int64, int96, float, double, texts, texts of one length.
BYTE_ARRAY = 6
_NUM_TYPES = 8
_INTEGERS = (thrift.I32, thrift.I64)
_OPTIONAL, _REPEATED = 1, 2


class SchemaElement:
    TYPE, TYPE_LENGTH, REPETITION, NAME, NUM_CHILDREN, CONVERTED_TYPE, SCALE = range(1, 8)


class Extent(NamedTuple):
    """Bytes [start, end) of the file."""

    start: int
    end: int


class Leaf(NamedTuple):
    """A primitive column: its path of names, and the position of its top-level column."""

    path: tuple[str, ...]
    column: int
    type: int
    #: The deepest levels: how many parts of the path may be null or repeated, and how many are repeated.
    max_definition: int
    max_repetition: int
    scale: int  # of decimals; 0 for all others


class MalformedError(ValueError):
    """A struct is not what the format says; the message completes a sentence on the file."""


def require(tree: Struct, field_id: int, types: Sequence[int], what: str) -> None:
    if field_id not in tree:
        raise MalformedError(f"{what} is missing")
    if tree[field_id][0] not in types:
        raise MalformedError(f"{what} is of a wrong type")


def integer(tree: Struct, field_id: int, what: str, default: int | None = None) -> int:
    """A size, count or offset: never negative."""
    if default is not None and field_id not in tree:
        return default
    require(tree, field_id, _INTEGERS, what)
    value: int = tree[field_id][1]
    if value < 0:
        raise MalformedError(f"{what} is negative ({value})")
    return value


def check_integers(tree: Struct, fields: Sequence[int], what: str, *, may_lack: bool = False) -> None:
    """`integer` of each of these: a footer has a dozen for every chunk."""
    for field_id in fields:
        found = tree.get(field_id)
        if found is None and may_lack:
            continue
        if found is None or found[0] not in _INTEGERS or found[1] < 0:
            integer(tree, field_id, what)  # which says what is wrong


def structs(tree: Struct, field_id: int, what: str) -> list[Struct]:
    require(tree, field_id, (thrift.LIST,), what)
    values: List = tree[field_id][1]
    if values and values.element_type != thrift.STRUCT:
        raise MalformedError(f"{what} is of a wrong type")
    return values


def integers(tree: Struct, field_id: int, what: str) -> List:
    require(tree, field_id, (thrift.LIST,), what)
    values: List = tree[field_id][1]
    if values and values.element_type not in _INTEGERS:
        raise MalformedError(f"{what} is of a wrong type")
    return values


class _Open(NamedTuple):
    """A group of the schema whose children are being read."""

    path: tuple[str, ...]
    num_missing: int
    definition: int
    repetition: int


#: The slice of each top-level column in the schema list, the leaves, the names.
WalkedSchema = tuple[tuple[Extent, ...], tuple[Leaf, ...], tuple[str, ...]]

#: By the bytes of their elements: of thousands of files most are alike.
_last_walked: dict[tuple[bytes, ...], WalkedSchema] = {}
_MOST_KEPT_SCHEMAS, _MOST_KEPT_ELEMENTS = 8, 200


def walk_schema(schema: list[Struct]) -> WalkedSchema:
    """The flattened, depth-first schema list, checked."""
    encoded = tuple(getattr(element, "encoded", b"") for element in schema)
    if len(schema) > _MOST_KEPT_ELEMENTS or not all(encoded):
        return _walked(schema)
    found = _last_walked.get(encoded)
    if found is None:
        found = _walked(schema)
        if len(_last_walked) >= _MOST_KEPT_SCHEMAS:
            _last_walked.clear()
        _last_walked[encoded] = found
    return found


def _walked(schema: list[Struct]) -> WalkedSchema:
    if not schema:
        raise MalformedError("the schema is empty")
    elements: list[Extent] = []
    leaves: list[Leaf] = []
    columns: list[str] = []
    position = 1
    for _ in range(_num_children(schema[0], len(schema))):
        first = position
        open_groups = [_Open((), 1, 0, 0)]
        while open_groups:
            group = open_groups.pop()
            if not group.num_missing:
                continue
            open_groups.append(group._replace(num_missing=group.num_missing - 1))
            if position == len(schema):
                raise MalformedError("the schema ends early")
            element = schema[position]
            position += 1
            path = (*group.path, _name(element))
            definition, repetition = _levels(element, group)
            if SchemaElement.TYPE in element:
                if element.value(SchemaElement.NUM_CHILDREN):
                    raise MalformedError("a column of the schema has both a type and columns of its own")
                scale = integer(element, SchemaElement.SCALE, "the scale of a decimal", 0)
                leaves.append(Leaf(path, len(columns), _type(element), definition, repetition, scale))
            else:
                children = _num_children(element, len(schema))
                open_groups.append(_Open(path, children, definition, repetition))
            if len(open_groups) > thrift.MAX_DEPTH:
                raise MalformedError(f"columns are nested more than {thrift.MAX_DEPTH} deep")
        elements.append(Extent(first, position))
        columns.append(_name(schema[first]))
    if position != len(schema):
        raise MalformedError("the schema has elements that belong to no column")
    return tuple(elements), tuple(leaves), tuple(columns)


def _name(element: Struct) -> str:
    require(element, SchemaElement.NAME, (thrift.BINARY,), "the name of a column")
    name: bytes = element.value(SchemaElement.NAME)
    return name.decode("utf-8", "surrogateescape")


def _levels(element: Struct, group: _Open) -> tuple[int, int]:
    """The levels of what stands in a group: one more where it may be null or repeated."""
    repetition = integer(element, SchemaElement.REPETITION, "the repetition of a column", 0)
    if repetition > _REPEATED:
        raise MalformedError(f"a column is neither required nor optional nor repeated ({repetition})")
    return group.definition + (repetition >= _OPTIONAL), group.repetition + (repetition == _REPEATED)


def _type(element: Struct) -> int:
    code = integer(element, SchemaElement.TYPE, "the type of a column")
    if code >= _NUM_TYPES:
        raise MalformedError(f"a column is of an unknown type ({code})")
    return code


def _num_children(element: Struct, limit: int) -> int:
    count = integer(element, SchemaElement.NUM_CHILDREN, "the number of children in the schema", 0)
    if count > limit:
        raise MalformedError("the schema ends early")
    return count
