"""Damage to CSV cell by cell: quotes, delimiters, line ends, numbers, names, encodings, records of other lengths."""

from __future__ import annotations

import re
from random import Random

from faults.fuzzing.drawing import raw

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
    told = []
    for _ in range(draw.choice((1, 1, 2, 3))):
        tokens = [match.span() for match in _TOKENS.finditer(data)]
        if not tokens:
            break
        # The header decides what all the rest is.
        start, end = draw.choice(tokens[: draw.choice((8, len(tokens), len(tokens), len(tokens)))])
        token = data[start:end]
        match draw.randrange(9):
            case 0:
                new, what = b"", "gone"
            case 1:
                new, what = token * 2, "twice"
            case 2:
                new, what = token + draw.choice(_BETWEEN), "followed"
            case 3:
                new, what = raw(draw, token), "bytes"
            case 4:
                data = data[:start]
                told.append(f"cut at {start}")
                continue
            case 5:
                new, what = draw.choice(_NAMES), "named"
            case 6:
                first, last = draw.choice(tokens)
                new, what = data[first:last], "another"
            case 7:
                old, other = draw.sample((b",", b";", b"\t", b"|", b"\n", b"\r\n"), 2)
                data = data.replace(old, other)
                told.append(f"{old!r} are {other!r}")
                continue
            case _:
                new, what = draw.choice(_VALUES), "value"
        data = data[:start] + new + data[end:]
        told.append(f"token at {start} {what}")
    return data, ", ".join(told)
