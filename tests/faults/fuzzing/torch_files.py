"""Damage to files of `torch.save`: opcodes of the pickle and what they take, members of the archive, its headers."""

from __future__ import annotations

import pickletools
import struct
from random import Random

from faults.fuzzing import npz
from faults.fuzzing.drawing import number, raw

_PICKLE = "data.pkl"
_NAMES = (
    *(
        "FloatStorage",
        "LongStorage",
        "BoolStorage",
        "UntypedStorage",
        "_rebuild_tensor_v2",
        "_rebuild_parameter",
    ),
    *(
        "torch._utils",
        "torch",
        "collections",
        "OrderedDict",
        "os",
        "system",
        "storage",
        "cpu",
        "cuda:0",
        "meta",
    ),
    *("rewards", "values", "dones", "advantage", "0", "1", "..", "../0", "", "\ud800", "x" * 300),
)
#: What may be put between two others.
_OPCODES = (
    *(
        b"N",
        b"\x88",
        b"\x89",
        b"(",
        b")",
        b"]",
        b"}",
        b"0",
        b"2",
        b"1",
        b"t",
        b"\x85",
        b"\x86",
        b"\x87",
        b"R",
        b"b",
    ),
    *(
        b"s",
        b"u",
        b"a",
        b"e",
        b"Q",
        b"o",
        b"\x81",
        b"\x92",
        b".",
        b"h\0",
        b"q\0",
        b"\x94",
        b"K\x05",
        b"J\xff\xff\xff\x7f",
    ),
    *(
        b"G" + struct.pack(">d", 1.5),
        b"\x8a\x01\x05",
        b"\x8a\xff" + b"\x7f" * 255,
        b"cos\nsystem\n",
        b"X\1\0\0\0a",
        b"(" * 300,
    ),
    *(b"]" * 2000, b"]\x94" + b"]" * 50, b"(" + b"N" * 3000 + b"t", b"\x8e" + struct.pack("<Q", 1 << 60)),
)


def damage(draw: Random, data: bytes) -> tuple[bytes, str]:
    what = draw.choices(
        ("pickle", "members", "fields", "bytes", "zip64", "descriptor"), (55, 15, 15, 5, 5, 5)
    )[0]
    if what == "fields":
        return npz.other_fields(draw, data)
    if what == "bytes":
        return raw(draw, data), "bytes anywhere"
    members, told = npz.members_of(data), what
    if what == "pickle":
        name = next(name for name in members if name.endswith(_PICKLE))
        members[name], told = _other_pickle(draw, members[name])
    elif what == "members":
        members, told = _other_members(draw, members)
    return npz.archive_of(draw, members, {}, zip64=what == "zip64", descriptor=what == "descriptor"), told


def _other_pickle(draw: Random, data: bytes) -> tuple[bytes, str]:
    told = []
    for _ in range(draw.choice((1, 1, 2, 3))):
        spans = _opcodes(data)
        if not spans:
            break
        start, end, argument = draw.choice(spans)
        code = data[start:end]
        match draw.randrange(7):
            case 0:
                new, what = b"", "gone"
            case 1:
                new, what = code * 2, "twice"
            case 2:
                new, what = code + draw.choice(_OPCODES), "followed"
            case 3:
                first, last, _ = draw.choice(spans)
                new, what = data[first:last], "another"
            case 4:
                new, what = raw(draw, code), "bytes"
            case 5 if isinstance(argument, str):
                text = draw.choice(_NAMES).encode("utf-8", "surrogatepass")
                new, what = b"X" + struct.pack("<I", len(text)) + text, "named"
            case _ if isinstance(argument, int):
                new, what = _whole(number(draw, argument)), "numbered"
            case _:
                new, what = draw.choice(_OPCODES), "other"
        data = data[:start] + new + data[end:]
        told.append(f"opcode at {start} {what}")
    return data, ", ".join(told)


def _opcodes(data: bytes) -> list[tuple[int, int, object]]:
    """(start, end, argument) of those that can be read."""
    found: list[tuple[int, object]] = []
    try:
        for _, argument, position in pickletools.genops(data):
            found.append((position or 0, argument))
    except (ValueError, IndexError, struct.error, MemoryError):
        pass
    ends = [position for position, _ in found[1:]] + [len(data)]
    return [(start, end, argument) for (start, argument), end in zip(found, ends, strict=True)]


def _whole(value: int) -> bytes:
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def _other_members(draw: Random, members: dict[str, bytes]) -> tuple[dict[str, bytes], str]:
    name = draw.choice(sorted(members))
    content = members.pop(name)
    root = name.partition("/")[0]
    match draw.randrange(5):
        case 0:
            return members, f"{name} gone"
        case 1:
            size = draw.choice(
                (0, 1, len(content) // 2, len(content) - 1, len(content) + 1, 4 * len(content))
            )
            return {**members, name: (content * 5)[:size]}, f"{name} of {size} bytes"
        case 2:
            other = draw.choice(
                ("../x", f"{root}/data/99", "data.pkl", f"{root}/x/data.pkl", f"/{name}", name.upper())
            )
            return {**members, other: content}, f"{name} is {other}"
        case 3:
            order = draw.choice((b"big", b"little", b"", b"little\n", b"x" * 99))
            return {**members, name: content, f"{root}/byteorder": order}, f"byteorder {order[:9]!r}"
        case _:
            return {**members, name: raw(draw, content)}, f"bytes of {name}"
