"""Damage to JSON lines token by token: brackets, quotes, escapes, numbers, names, line ends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from faults.fuzzing.drawing import Span, changed_tokens, slipped

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
    return changed_tokens(draw, data, _TOKENS, _changed)


def _changed(draw: Random, data: bytes, tokens: Sequence[Span]) -> tuple[bytes, str]:
    start, end = draw.choice(tokens)
    token = data[start:end]
    match kind := draw.randrange(8):
        case 0 | 1 | 2 | 3:
            new, what = slipped(draw, token, kind, _BETWEEN)
        case 4:
            return data[:start], f"cut at {start}"
        case 5 if token.startswith(b'"'):
            new, what = draw.choice(_NAMES), "named"
        case 6:
            first, last = draw.choice(tokens)
            new, what = data[first:last], "another"
        case _:
            new, what = draw.choice(_VALUES), "value"
    return data[:start] + new + data[end:], f"token at {start} {what}"
