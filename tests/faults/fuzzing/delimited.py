"""Damage to CSV cell by cell: quotes, delimiters, line ends, numbers, names, encodings, records of other lengths."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from faults.fuzzing.drawing import Span, changed_tokens, slipped

_TOKENS = re.compile(rb'"(?:[^"]|"")*"|[,;\t|]|\r?\n|[^,;\t|"\r\n]+')
_VALUES = (
    *(b"NaN", b"nan", b"inf", b"-Infinity", b"1e999", b"-0", b"+1.5", b"01", b"1.", b".5", b"0x10", b"1_000"),
    *(b"1,5", b'"1,5"', b"1.234.567", b"1e5", b"9223372036854775808", b"1" * 400, b"0." + b"1" * 400),
    *(
        b"",
        b'""',
        b'" "',
        b" 1.5",
        b"1.5 ",
        b"NA",
        b"<NA>",
        b"null",
        b"None",
        b"true",
        b"FALSE",
        b"yes",
        b"1",
        b"0",
    ),
    *(
        b'"a\nb"',
        b'"a""b"',
        b'"',
        b'a"b',
        b"'x'",
        b"[1.0, 2.0]",
        b"2020-01-01",
        b"\xff\xfe",
        b"\0",
        "ä\u2028".encode(),
    ),
    b"x" * 70_000,
)
_NAMES = (
    b"reward",
    b"value",
    b"done",
    b"advantage",
    b"return",
    b"",
    b'""',
    b'"reward"',
    b"Reward",
    b"#reward",
    b"a.b",
)
_BETWEEN = (
    *(
        b",",
        b";",
        b"\t",
        b"|",
        b"",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\0",
        b'"',
        b'""',
        b"\\",
        b"\xef\xbb\xbf",
        b" " * 500,
    ),
    *(b"# x\n", b"sep=;\n", b"," * 300, b"\n" * 300),
)


def damage(draw: Random, data: bytes) -> tuple[bytes, str]:
    if draw.random() < 0.05:
        encoding = draw.choice(("utf-16", "utf-8-sig", "utf-32"))
        return data.decode("utf-8", "replace").encode(encoding), encoding
    return changed_tokens(draw, data, _TOKENS, _changed)


def _changed(draw: Random, data: bytes, tokens: Sequence[Span]) -> tuple[bytes, str]:
    # The header decides what all the rest is.
    start, end = draw.choice(tokens[: draw.choice((8, len(tokens), len(tokens), len(tokens)))])
    match kind := draw.randrange(9):
        case 0 | 1 | 2 | 3:
            new, what = slipped(draw, data[start:end], kind, _BETWEEN)
        case 4:
            return data[:start], f"cut at {start}"
        case 5:
            new, what = draw.choice(_NAMES), "named"
        case 6:
            first, last = draw.choice(tokens)
            new, what = data[first:last], "another"
        case 7:
            old, other = draw.sample((b",", b";", b"\t", b"|", b"\n", b"\r\n"), 2)
            return data.replace(old, other), f"{old!r} are {other!r}"
        case _:
            new, what = draw.choice(_VALUES), "value"
    return data[:start] + new + data[end:], f"token at {start} {what}"
