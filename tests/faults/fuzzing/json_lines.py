"""Damage to JSON lines token by token: brackets, quotes, escapes, numbers, names, line ends."""

from __future__ import annotations

import re
from random import Random

from faults.fuzzing.drawing import raw

_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|[\[\]{},:]|\s+')
_VALUES = (
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e999",
    b"-0",
    b"01",
    b"1.",
    b".5",
    b"1e5",
    b"0x10",
    b"9223372036854775808",
    b"-170141183460469231731687303715884105728",
    b"1" * 400,
    b"0." + b"1" * 400,
    b"null",
    b"true",
    b"[]",
    b"{}",
    b'""',
    b'"1.5"',
    b'"\\ud800"',
    b'"\\u0000"',
    b'"\\x"',
    b"[[1.0]]",
    b"[null]",
    b'{"reward": 1.0}',
    b'[{"reward": 1.0}]',
    b"[" * 60 + b"]" * 60,
    b"[" * 3000,
    b'{"a":' * 400 + b"1" + b"}" * 400,
    b"2020-01-01",
    b"\xff",
    b"'x'",
)
_NAMES = (b'"reward"', b'"value"', b'"done"', b'"advantage"', b'"gaecli"', b'"rewar\\u0064"', b'""', b'"a.b"')
_BETWEEN = (
    b",",
    b"",
    b"\n",
    b"\r",
    b"\0",
    b"\xef\xbb\xbf",
    b":",
    b"{",
    b"}",
    b"[",
    b"]",
    b"// x\n",
    b" " * 500,
)


def damage(draw: Random, data: bytes) -> tuple[bytes, str]:
    told = []
    for _ in range(draw.choice((1, 1, 2, 3))):
        tokens = [(match.start(), match.end()) for match in _TOKENS.finditer(data)]
        if not tokens:
            break
        start, end = draw.choice(tokens)
        token = data[start:end]
        match draw.randrange(8):
            case 0:
                new, what = b"", "gone"
            case 1:
                new, what = token * 2, "twice"
            case 2:
                new, what = token + draw.choice(_BETWEEN), "followed"
            case 3:
                new, what = raw(draw, token), "bytes"
            case 4:
                data, what = data[:start], "cut"
                told.append(f"{what} at {start}")
                continue
            case 5 if token.startswith(b'"'):
                new, what = draw.choice(_NAMES), "named"
            case 6:
                other = draw.choice(tokens)
                new, what = data[other[0] : other[1]], "another"
            case _:
                new, what = draw.choice(_VALUES), "value"
        data = data[:start] + new + data[end:]
        told.append(f"token at {start} {what}")
    return data, ", ".join(told)
