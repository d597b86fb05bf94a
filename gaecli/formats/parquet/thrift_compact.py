"""Thrift's compact protocol, read into a tree and written back byte for byte.

A Parquet footer is one Thrift struct. To add a column to a file, a handful of its fields change and all
the others, those of future format versions included, must stay as they are. So nothing here knows what
a field means: a struct is a mapping of field id to (type, value), in the order found, and a tree that was
not edited encodes to the bytes it came from (unless those were not in the shortest form; callers compare).

    field header    delta << 4 | type      0 < delta < 16 is the distance to the previous field id
                    type, zigzag id        otherwise
    integer         zigzag varint          n -> (n << 1) ^ (n >> 63), 7 bits a byte, low bits first
    boolean field   the type itself        1 true, 2 false
    list, set       size << 4 | type       size < 15; otherwise 0xF0 | type, varint size
    map             varint size, key type << 4 | value type; an empty one is the byte 0
    binary          varint size, bytes     double: 8 bytes little-endian; UUID: 16 bytes

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md

The bytes may be hostile. Nesting is limited, no element takes less than one byte, so no size may exceed
what is left of the input, and the tree as a whole has a budget, since an element of one byte becomes
an object of fifty. Whatever is wrong with them, the caller sees one `ThriftError`.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple, TypeAlias

BOOL = 1
BYTE = 3
I16 = 4
I32 = 5
I64 = 6
DOUBLE = 7
BINARY = 8
LIST = 9
SET = 10
MAP = 11
STRUCT = 12
UUID = 13

_FALSE = 2  # the second code of BOOL
_INTEGERS = (I32, I64, I16)

#: A footer nests about eight levels deep.
MAX_DEPTH = 48

#: In units of roughly 32 bytes of memory: 1.5 GiB, or some 200,000 column chunks.
MAX_TREE_UNITS = 48_000_000

# bool, int, float, bytes, Struct, List or Map. A recursive alias would make every reader narrow each value
# by hand; `gaecli.formats.parquet.footer` has checked accessors instead.
Value: TypeAlias = Any


class ThriftError(ValueError):
    """The bytes are not a struct in the compact protocol, or one too large to hold."""


class Struct(dict[int, tuple[int, Value]]):
    """Field id -> (type, value), in the order in which the fields are written."""

    __slots__ = ("encoded",)

    #: Of an element of a list as it was read, its bytes, where they are of the shortest form. A copy has none.
    encoded: bytes

    def value(self, field_id: int, default: Value = None) -> Value:
        """The field's value, or `default` where the field is absent."""
        found = self.get(field_id)
        return default if found is None else found[1]

    def put(self, field_id: int, field_type: int, value: Value) -> None:
        """Set a field. A new one takes its place in ascending order, as generated writers do."""
        if hasattr(self, "encoded"):
            del self.encoded
        is_last = field_id in self or not self or field_id > max(self)
        self[field_id] = (field_type, value)
        if not is_last:
            fields = sorted(self.items())
            self.clear()
            self.update(fields)


class List(list[Value]):
    """A list or a set, with the type code of its elements as found (booleans: 1 or 2)."""

    __slots__ = ("element_type",)

    def __init__(self, element_type: int, values: Any = ()) -> None:
        super().__init__(values)
        self.element_type = element_type


class Map(list[tuple[Value, Value]]):
    """A map as its pairs, so that the order and any repeated key survive."""

    __slots__ = ("key_type", "value_type")

    def __init__(self, key_type: int, value_type: int, pairs: Any = ()) -> None:
        super().__init__(pairs)
        self.key_type = key_type
        self.value_type = value_type


class Decoded(NamedTuple):
    """A struct, where it ends, and whether it encodes to the very bytes that it was read from."""

    tree: Struct
    end: int
    is_shortest: bool


def decode(data: bytes, start: int = 0) -> tuple[Struct, int]:
    """Read the struct that begins at `start`; also where it ends.

    Raises:
        ThriftError: if the bytes are no such struct.
    """
    return decoded(data, start)[:2]


def decoded(data: bytes, start: int = 0) -> Decoded:
    """`decode`, and whether `encode` gives the same bytes."""
    decoder = _Decoder(data, start)
    try:
        tree = decoder.struct(0)
    except IndexError as error:  # data[position] past the end: the only index that is not checked
        raise ThriftError("the bytes end inside a value") from error
    return Decoded(tree, decoder.position, decoder.num_long == 0)


def encode(tree: Struct) -> bytes:
    """The tree as bytes, every value in its shortest form."""
    out = bytearray()
    _write_struct(out, tree)
    return bytes(out)


def encode_again(tree: Struct) -> bytes:
    """The same for a tree that is made of parts of trees as they were read, none of which was edited in place.

    What was not copied is not encoded: most of a footer that gains a column.
    """
    out = bytearray()
    _write_struct(out, tree, again=True)
    return bytes(out)


class _Decoder:
    __slots__ = ("data", "num_long", "position", "units_left")

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position
        self.units_left = MAX_TREE_UNITS
        #: Values in another form than `encode` gives them.
        self.num_long = 0

    def struct(self, depth: int) -> Struct:
        # One loop with integers and strings read in place: a call for each would double the time.
        if depth > MAX_DEPTH:
            raise ThriftError(f"values are nested more than {MAX_DEPTH} deep")
        data = self.data
        position = self.position
        fields = Struct()
        field_id = 0
        while header := data[position]:
            position += 1
            field_type = header & 15
            if header > 15:
                field_id += header >> 4
            else:
                self.position = position
                delta = -field_id
                field_id = _unzigzag(self.varint())
                delta += field_id
                self.num_long += 0 < delta < 16
                position = self.position
            value: Value
            if field_type in _INTEGERS:
                raw = data[position]
                position += 1
                if raw > 127:
                    self.position = position - 1
                    raw = self.varint()
                    position = self.position
                value = (raw >> 1) ^ -(raw & 1)
            elif field_type == BINARY:
                size = data[position]
                position += 1
                if size > 127:
                    self.position = position - 1
                    size = self.varint()
                    position = self.position
                value = data[position : position + size]
                position += size
                if position > len(data):
                    raise ThriftError("a string is longer than the bytes")
            elif field_type <= _FALSE:
                value = field_type == BOOL
                field_type = BOOL if field_type else 0
            else:
                self.position = position
                if field_type == STRUCT:
                    value = self.struct(depth + 1)
                elif field_type == LIST:
                    value = self.list(depth + 1)
                else:
                    value = self.value(field_type, depth + 1)
                position = self.position
            if field_id in fields or not field_type:
                raise ThriftError(f"field {field_id} is there twice, or has no type")
            fields[field_id] = (field_type, value)
        if fields and not -32768 <= min(fields) <= max(fields) <= 32767:
            raise ThriftError("a field id is out of range")
        self.position = position + 1
        self.spend(8 + 4 * len(fields))
        return fields

    def value(self, code: int, depth: int) -> Value:
        """Any value but a boolean field, whose header is its value."""
        if code == STRUCT:
            return self.struct(depth)
        if code in (LIST, SET):
            return self.list(depth)
        if code in _INTEGERS:
            return _unzigzag(self.varint())
        if code == BINARY:
            return self.raw(self.varint())
        if code in (BOOL, _FALSE):  # an element of a list or map: a byte of its own
            byte = self.raw(1)[0]
            self.num_long += byte not in (BOOL, _FALSE)
            return byte == BOOL
        if code == BYTE:
            return int.from_bytes(self.raw(1), "little", signed=True)
        if code == DOUBLE:
            raw = self.raw(8)
            value = struct.unpack("<d", raw)[0]
            self.num_long += struct.pack("<d", value) != raw  # a NaN of another kind
            return value
        if code == UUID:
            return self.raw(16)
        if code == MAP:
            return self.map(depth)
        raise ThriftError(f"unknown type {code}")

    def list(self, depth: int) -> List:
        if depth > MAX_DEPTH:
            raise ThriftError(f"values are nested more than {MAX_DEPTH} deep")
        header = self.data[self.position]
        self.position += 1
        element_type = header & 15
        size = header >> 4
        if size == 15:
            size = self.varint()
            self.num_long += size < 15
        if size > len(self.data) - self.position:
            raise ThriftError(f"a list of {size} elements is longer than the bytes")
        self.spend(8 + size)
        values = List(element_type)
        if element_type == STRUCT:
            for _ in range(size):
                start, num_long = self.position, self.num_long
                found = self.struct(depth + 1)
                if self.num_long == num_long:
                    found.encoded = self.data[start : self.position]
                values.append(found)
        else:
            values += [self.value(element_type, depth + 1) for _ in range(size)]
        return values

    def map(self, depth: int) -> Map:
        size = self.varint()
        if not size:
            return Map(0, 0)
        if 2 * size > len(self.data) - self.position:
            raise ThriftError(f"a map of {size} pairs is longer than the bytes")
        self.spend(8 + 4 * size)
        types = self.raw(1)[0]
        pairs = Map(types >> 4, types & 15)
        for _ in range(size):
            key = self.value(pairs.key_type, depth + 1)
            pairs.append((key, self.value(pairs.value_type, depth + 1)))
        return pairs

    def varint(self) -> int:
        data = self.data
        position = self.position
        value = shift = 0
        while (byte := data[position]) > 127:
            value |= (byte & 127) << shift
            shift += 7
            position += 1
            if shift > 63:
                raise ThriftError("an integer is longer than 64 bits")
        value |= byte << shift
        if value >> 64:
            raise ThriftError("an integer is longer than 64 bits")
        self.num_long += byte == 0 < shift
        self.position = position + 1
        return value

    def raw(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.data):
            raise ThriftError("a value is longer than the bytes")
        value = self.data[self.position : end]
        self.position = end
        return value

    def spend(self, units: int) -> None:
        self.units_left -= units
        if self.units_left < 0:
            raise ThriftError("it holds more values than fit in memory")


def _unzigzag(raw: int) -> int:
    return (raw >> 1) ^ -(raw & 1)


def _write_struct(out: bytearray, tree: Struct, *, again: bool = False) -> None:
    previous = 0
    for field_id, (field_type, value) in tree.items():
        code = (BOOL if value else _FALSE) if field_type == BOOL else field_type
        delta = field_id - previous
        if 0 < delta < 16:
            out.append(delta << 4 | code)
        else:
            out.append(code)
            _write_varint(out, (field_id << 1) ^ (field_id >> 63))
        previous = field_id
        if field_type in _INTEGERS:
            raw = (value << 1) ^ (value >> 63)
            if raw < 128:
                out.append(raw)
            else:
                _write_varint(out, raw)
        elif field_type == BINARY:
            _write_varint(out, len(value))
            out += value
        elif field_type == STRUCT:
            _write_struct(out, value, again=again)
        elif field_type == LIST:
            _write_list(out, value, again=again)
        elif field_type != BOOL:
            _write_value(out, field_type, value)
    out.append(0)


def _write_value(out: bytearray, code: int, value: Value) -> None:
    if code == STRUCT:
        _write_struct(out, value)
    elif code == BINARY:
        _write_varint(out, len(value))
        out += value
    elif code in _INTEGERS:
        _write_varint(out, (value << 1) ^ (value >> 63))
    elif code in (LIST, SET):
        _write_list(out, value)
    elif code in (BOOL, _FALSE):
        out.append(BOOL if value else _FALSE)
    elif code == BYTE:
        out.append(value & 255)
    elif code == DOUBLE:
        out += struct.pack("<d", value)
    elif code == UUID:
        out += value
    elif code == MAP:
        _write_map(out, value)
    else:
        raise ThriftError(f"unknown type {code}")


def _write_list(out: bytearray, values: List, *, again: bool = False) -> None:
    if len(values) < 15:
        out.append(len(values) << 4 | values.element_type)
    else:
        out.append(0xF0 | values.element_type)
        _write_varint(out, len(values))
    if values.element_type == STRUCT:
        for value in values:
            if again and hasattr(value, "encoded"):
                out += value.encoded
            else:
                _write_struct(out, value, again=again)
        return
    for value in values:
        _write_value(out, values.element_type, value)


def _write_map(out: bytearray, pairs: Map) -> None:
    _write_varint(out, len(pairs))
    if pairs:
        out.append(pairs.key_type << 4 | pairs.value_type)
    for key, value in pairs:
        _write_value(out, pairs.key_type, key)
        _write_value(out, pairs.value_type, value)


def _write_varint(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
