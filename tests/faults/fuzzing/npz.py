"""Damage to an NPZ archive: fields of its zip headers, of the headers of its arrays, the packed bytes."""

from __future__ import annotations

import struct
import zlib
from random import Random
from typing import Any

from faults.fuzzing.drawing import number, raw, with_number

#: Fields of the headers as (offset, size).
_LOCAL = ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2))
_CENTRAL = ((6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (34, 2), (42, 4))
_END = ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2))
_HEADERS = {b"PK\3\4": _LOCAL, b"PK\1\2": _CENTRAL, b"PK\5\6": _END}
_TYPES = (
    "'<f4'",
    "'<f8'",
    "'>f4'",
    "'|b1'",
    "'|u1'",
    "'|O'",
    "'<U5'",
    "'|S0'",
    "'<M8[ns]'",
    "'<c16'",
    "'<f2'",
    "'|V4'",
)
_TYPES += (
    "'<i9'",
    "''",
    "None",
    "[('a', '<f4')]",
    "[('a', '<f4', (3,))]",
    "'<f16'",
    "'<m8'",
    "'<U0'",
    "(" * 90,
)
_SHAPES = (
    "()",
    "(0,)",
    "(1,)",
    "(12, 1)",
    "(-1,)",
    "(12,)",
    "(6, 2)",
    "(2, 6)",
    "(9223372036854775807,)",
    "(12.0,)",
)
_SHAPES += (
    "(4294967296, 4294967296)",
    "(True,)",
    "12",
    "(12, 0)",
    "('12',)",
    "(1,) * 9",
    "(1, " * 30,
    "(1,12)",
)


def damage(draw: Random, data: bytes) -> tuple[bytes, str]:
    what = draw.choices(
        ("fields", "array", "content", "zip64", "descriptor", "bytes"), (35, 35, 12, 8, 5, 5)
    )[0]
    if what == "fields":
        return other_fields(draw, data)
    if what == "bytes":
        return raw(draw, data), "bytes anywhere"
    members = members_of(data)
    name = draw.choice(sorted(members))
    told = f"{what} of {name}"
    packed: dict[str, Any] = {}
    if what == "array":
        members[name], told = _other_array(draw, members[name]), f"header of {name}"
    elif what == "content":
        packed[name] = draw
    return archive_of(draw, members, packed, zip64=what == "zip64", descriptor=what == "descriptor"), told


def other_fields(draw: Random, data: bytes) -> tuple[bytes, str]:
    changed = bytearray(data)
    told = []
    for _ in range(draw.choice((1, 1, 2))):
        kind = draw.choice(sorted(_HEADERS))
        places = [at for at in range(len(data) - 3) if data[at : at + 4] == kind]
        offset, size = draw.choice(_HEADERS[kind])
        told.append(f"{kind!r} {with_number(draw, changed, draw.choice(places) + offset, size)}")
    return bytes(changed), ", ".join(told)


def members_of(data: bytes) -> dict[str, bytes]:
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _other_array(draw: Random, content: bytes) -> bytes:
    """Another header before the same numbers."""
    version, size = content[6], int.from_bytes(content[8:10], "little")
    text, numbers = content[10 : 10 + size].decode("latin-1"), content[10 + size :]
    fields = eval(text, {"__builtins__": {}})
    told = {"descr": repr(fields["descr"]), "fortran_order": "False", "shape": repr(fields["shape"])}
    match draw.randrange(8):
        case 0 | 1:
            told["shape"] = draw.choice(_SHAPES)
        case 2 | 3:
            told["descr"] = draw.choice(_TYPES)
        case 4:
            told["fortran_order"] = draw.choice(("True", "1", "None", "'x'"))
        case 5:
            told["more"] = "1"
        case 6:
            del told[draw.choice(sorted(told))]
        case _:
            version = draw.choice((0, 1, 2, 3, 4, 255))
    text = "{" + ", ".join(f"'{name}': {value}" for name, value in told.items()) + "}"
    if draw.random() < 0.1:
        text = draw.choice((text * 2, "", "[" * 2000, "{**x}", text[:-1], "\0", "9" * 9000, "-" * 5000 + "1"))
    text += " " * (-(len(text) + 11) % 64) + "\n"
    if draw.random() < 0.1:
        numbers = draw.choice((numbers[:-1], numbers + b"\0", b"", raw(draw, numbers)))
    length = len(text) if draw.random() < 0.9 else number(draw, len(text), 16)
    form = "<H" if version < 2 else "<I"
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack(form, length & 65535) + text.encode() + numbers


def archive_of(
    draw: Random, members: dict[str, bytes], packed: dict[str, Any], *, zip64: bool, descriptor: bool
) -> bytes:
    """A zip of these members, made by hand so that it can be wrong in one place."""
    out, central = bytearray(), bytearray()
    for name, content in members.items():
        method = draw.choice((0, 8))
        deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        body = deflate.compress(content) + deflate.flush() if method else content
        if name in packed:
            body = raw(draw, body)
        crc, size, stored = zlib.crc32(content), len(content), len(body)
        flags, extra = (8 if descriptor else 0), b""
        at = len(out)
        if zip64:
            numbers = [_maybe_other(draw, value, 0.2) for value in (size, stored)]
            extra = struct.pack("<HHqq", 1, 16 if draw.random() < 0.8 else draw.randrange(32), *numbers)
            size = stored = 0xFFFFFFFF
        shown = (0, 0, 0) if descriptor else (crc, stored, size)
        head = struct.pack("<HHHHH", 45, flags, method, 0, 33)
        raw_name = name.encode()
        local = head + struct.pack("<IIIHH", *shown, len(raw_name), len(extra))
        out += b"PK\3\4" + local + raw_name + extra + body
        if descriptor:
            values = [
                number(draw, value, 32) & 0xFFFFFFFF if draw.random() < 0.3 else value
                for value in (crc, stored, size)
            ]
            out += b"PK\7\10" + struct.pack("<III", *values)
        sizes = struct.pack("<IIIHHHHHII", crc, stored, size, len(raw_name), len(extra), 0, 0, 0, 0, at)
        central += b"PK\1\2" + struct.pack("<H", 45) + head + sizes + raw_name + extra
    start, count = len(out), len(members)
    out += central
    if zip64:
        fields = [
            number(draw, value) if draw.random() < 0.2 else value
            for value in (count, count, len(central), start)
        ]
        out += b"PK\6\6" + struct.pack("<qHHIIqqqq", 44, 45, 45, 0, 0, *fields)
        out += b"PK\6\7" + struct.pack("<IqI", 0, start + len(central), 1)
        return bytes(
            out + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        )
    return bytes(out + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count, count, len(central), start, 0))


def _maybe_other(draw: Random, value: int, chance: float) -> int:
    return number(draw, value) if draw.random() < chance else value
