"""The Thrift codec: what it reads it writes back, and what it cannot read it refuses in one way."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.thrift_compact import (
    List,
    Map,
    Struct,
    ThriftError,
    decode,
    decoded,
    encode,
    encode_again,
)

INTEGERS = st.integers(-(2**63), 2**63 - 1)
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    thrift.BOOL: st.booleans(),
    thrift.BYTE: st.integers(-128, 127),
    thrift.I16: st.integers(-(2**15), 2**15 - 1),
    thrift.I32: st.integers(-(2**31), 2**31 - 1),
    thrift.I64: INTEGERS,
    thrift.DOUBLE: st.floats(allow_nan=False),
    thrift.BINARY: st.binary(max_size=200),
    thrift.UUID: st.binary(min_size=16, max_size=16),
}


def typed_values(depth: int = 3) -> st.SearchStrategy[tuple[int, Any]]:
    """Pairs of a type code and a value of that type."""
    scalars = st.one_of(
        [st.tuples(st.just(code), values) for code, values in SCALARS.items() if code != thrift.BOOL]
    )
    choices = [scalars, st.tuples(st.just(thrift.BOOL), st.booleans())]
    if depth:
        choices += [
            st.tuples(st.just(thrift.STRUCT), structs(depth - 1)),
            st.tuples(st.sampled_from([thrift.LIST, thrift.SET]), lists(depth - 1)),
            st.tuples(st.just(thrift.MAP), maps(depth - 1)),
        ]
    return st.one_of(choices)


def structs(depth: int = 3) -> st.SearchStrategy[Struct]:
    field_ids = st.integers(-(2**15), 2**15 - 1) | st.integers(1, 20)
    return st.dictionaries(field_ids, typed_values(depth), max_size=5).map(Struct)


@st.composite
def lists(draw: st.DrawFn, depth: int) -> List:
    code, first = draw(typed_values(depth))
    same = SCALARS.get(code, st.just(first))
    return List(code, [first, *draw(st.lists(same, max_size=20))])


@st.composite
def maps(draw: st.DrawFn, depth: int) -> Map:
    key_type, key = draw(typed_values(0))
    value_type, value = draw(typed_values(depth))
    return Map(key_type, value_type, [(key, value)] * draw(st.integers(1, 3)))


@examples(100)
@given(structs())
def test_a_struct_survives_the_round_trip_byte_for_byte(tree: Struct) -> None:
    raw = encode(tree)
    again, end = decode(raw)
    assert end == len(raw)
    assert again == tree
    assert list(again) == list(tree), "the order of the fields is part of the bytes"
    assert encode(again) == raw


def test_bytes_worked_out_by_hand() -> None:
    # Field 1, i32, -3: header 1 << 4 | 5, zigzag 5. Field 2, true: 1 << 4 | 1.
    # Field 20, binary "ab": 20 - 2 = 18 does not fit in 4 bits, so the type 8 and zigzag 40.
    # Field 21, list of three i64: 1 << 4 | 9, then 3 << 4 | 6.
    raw = bytes([0x15, 5, 0x11, 0x08, 40, 2, 97, 98, 0x19, 0x36, 2, 1, 0x80, 2, 0])
    tree, end = decode(raw)
    assert tree == {
        1: (thrift.I32, -3),
        2: (thrift.BOOL, True),
        20: (thrift.BINARY, b"ab"),
        21: (thrift.LIST, [1, -1, 128]),
    }
    assert end == len(raw)
    assert encode(tree) == raw


@pytest.mark.parametrize(
    ("field_id", "header"), [(1, b"\x15"), (15, b"\xf5"), (16, b"\x05\x20"), (-1, b"\x05\x01")]
)
def test_field_ids_take_the_shortest_form(field_id: int, header: bytes) -> None:
    assert encode(Struct({field_id: (thrift.I32, 0)})) == header + b"\x00\x00"


@pytest.mark.parametrize(
    ("size", "header"), [(0, b"\x05"), (14, b"\xe5"), (15, b"\xf5\x0f"), (128, b"\xf5\x80\x01")]
)
def test_list_sizes_take_the_shortest_form(size: int, header: bytes) -> None:
    raw = encode(Struct({1: (thrift.LIST, List(thrift.I32, [0] * size))}))
    assert raw == b"\x19" + header + b"\x00" * size + b"\x00"


@examples(100)
@given(structs().filter(bool), st.binary(max_size=3))
def test_a_struct_ends_where_it_ends(tree: Struct, rest: bytes) -> None:
    raw = encode(tree)
    assert decode(b"xy" + raw + rest, 2) == (tree, 2 + len(raw))


@examples(100)
@given(structs().filter(bool))
def test_every_truncation_is_refused(tree: Struct) -> None:
    raw = encode(tree)
    for length in range(len(raw)):
        with pytest.raises(ThriftError):
            decode(raw[:length])


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_a_struct_or_refused(raw: bytes) -> None:
    try:
        tree, end = decode(raw)
    except ThriftError:
        return
    assert 0 < end <= len(raw)
    assert decode(encode(tree))[0] == tree or b"nan" in repr(tree).encode()


@examples(100)
@given(structs(), st.data())
def test_a_changed_byte_is_read_or_refused(tree: Struct, data: st.DataObject) -> None:
    raw = bytearray(encode(tree))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ThriftError):
        decode(bytes(raw))


@examples(100)
@given(structs(), st.data())
def test_bytes_are_known_for_those_that_the_tree_encodes_to(tree: Struct, data: st.DataObject) -> None:
    raw = bytearray(encode(Struct({1: (thrift.LIST, List(thrift.STRUCT, [tree, tree])), **tree})))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decoded(bytes(raw))
    except ThriftError:
        return
    assert found.is_shortest == (encode(found.tree) == raw[: found.end])
    assert encode_again(found.tree) == encode(found.tree)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "end inside"),
        (b"\x1c" * 10_000, "nested"),  # structs within structs
        (b"\x19" + b"\x19" * 10_000, "nested"),  # lists of lists
        (b"\x1b\x01\xcc" + b"\x1b\x01\xcc" * 10_000, "nested"),  # maps within structs
        (b"\x19\xfc\xff\xff\xff\xff\x0f", "longer than the bytes"),  # 2^32 - 1 structs
        (b"\x19\xf8\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "longer than the bytes"),
        (b"\x18\xff\xff\xff\xff\x0f", "longer than the bytes"),  # a string of 4 GiB
        (b"\x1b\xff\xff\xff\xff\x0f\x88", "longer than the bytes"),  # a map
        (b"\x16" + b"\xff" * 10 + b"\x01\x00", "64 bits"),
        (b"\x16" + b"\xff" * 9 + b"\x02\x00", "64 bits"),
        (b"\x16" + b"\xff" * 10_000, "64 bits"),
        (b"\x15\x02\x05\x02\x04\x00", "twice"),  # field 1 again, by its number
        (b"\x1e\x00", "unknown type"),
        (b"\x10\x00", "no type"),
        (b"\x05\x80\x80\x04\x02\x00", "out of range"),  # field 32768
        (b"\x19\x1e\x00", "unknown type"),  # a list of a type that does not exist
    ],
)
def test_hostile_bytes_are_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(ThriftError, match=reason):
        decode(raw)


def test_the_tree_as_a_whole_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    # One byte makes an empty struct, an object of many.
    raw = b"\x19\xfc\xe8\x07" + b"\x00" * 1000 + b"\x00"
    assert len(decode(raw)[0].value(1)) == 1000
    monkeypatch.setattr(thrift, "MAX_TREE_UNITS", 2000)
    with pytest.raises(ThriftError, match="memory"):
        decode(raw)


def test_a_longer_form_of_the_same_struct_is_read_but_not_written() -> None:
    short = b"\x15\x04\x19\x16\x02\x00"
    for raw in (
        b"\x05\x02\x04\x19\x16\x02\x00",  # field id spelled out
        b"\x15\x84\x00\x19\x16\x02\x00",  # varint with a leading zero
        b"\x15\x04\x19\xf6\x01\x02\x00",  # list size as a varint
    ):
        tree, end = decode(raw)
        assert end == len(raw)
        assert encode(tree) == short
        assert not decoded(raw).is_shortest
    assert decoded(short).is_shortest
    nested = thrift.List(thrift.STRUCT, [decode(short)[0]])
    longer = encode(Struct({1: (thrift.LIST, nested)})).replace(short, b"\x15\x84\x00\x19\x16\x02\x00")
    assert encode_again(decode(longer)[0]) == encode(Struct({1: (thrift.LIST, nested)}))


def test_a_part_that_changed_is_encoded_as_it_is_now() -> None:
    inner = Struct({1: (thrift.I32, 7)})
    tree = decode(encode(Struct({1: (thrift.LIST, List(thrift.STRUCT, [inner, inner]))})))[0]
    first, second = tree.value(1)
    copied = Struct(first)
    copied.put(1, thrift.I32, 8)
    second.put(1, thrift.I32, 9)
    tree.put(1, thrift.LIST, List(thrift.STRUCT, [copied, second]))
    assert [one.value(1) for one in decode(encode_again(tree))[0].value(1)] == [8, 9]


def test_put_keeps_fields_in_ascending_order() -> None:
    tree = Struct({1: (thrift.I32, 1), 5: (thrift.I32, 5)})
    tree.put(3, thrift.I32, 3)
    tree.put(5, thrift.I64, 6)
    tree.put(9, thrift.I32, 9)
    assert list(tree.items()) == [
        (1, (thrift.I32, 1)),
        (3, (thrift.I32, 3)),
        (5, (thrift.I64, 6)),
        (9, (thrift.I32, 9)),
    ]


def test_value_of_an_absent_field_is_the_default() -> None:
    tree = Struct({1: (thrift.I32, 0)})
    assert tree.value(1, 7) == 0
    assert tree.value(2, 7) == 7
    assert tree.value(2) is None
