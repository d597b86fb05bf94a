"""One line of JSON as text: fields taken out and put in, with every other byte left as it was.

A field is known by its decoded name: `"\\u0061dvantage"` is `advantage`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence

_WHITESPACE = " \t\r\n"
#: Only where a value ends is of interest: numbers of any length are left as texts.
_decoder = json.JSONDecoder(parse_int=str, parse_float=str)


def edited(line: str, removed: Collection[str], added: Sequence[tuple[str, str]]) -> str:
    """The object in `line` without some fields and with others (names and JSON texts) behind all that stay.

    Raises ValueError where `line` is not one JSON object.
    """
    if removed and _may_have(line, removed):
        line = _without(line, removed)
    if not added:
        return line
    inner = line.rstrip(_WHITESPACE)
    if not inner.endswith("}"):
        raise ValueError("not a JSON object")
    body = inner[:-1]
    last = len(body.rstrip(_WHITESPACE))
    comma, colon = (", ", ": ") if '": ' in line else (",", ":")
    fields = comma.join(f"{json.dumps(name)}{colon}{text}" for name, text in added)
    separator = "" if body[:last].strip(_WHITESPACE) == "{" else comma
    return body[:last] + separator + fields + body[last:] + line[len(inner) - 1 :]


def field_texts(line: str, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """(name, JSON text) of those fields of the object in `line` that have one of these names."""
    if _may_have(line, names):
        for name, start, end in _fields(line):
            if name in names:
                yield name, line[_decoder.raw_decode(line, start)[1] : end].lstrip(_WHITESPACE + ":")


def is_compact(line: str) -> bool:
    """Whether the object is written without spaces after its marks."""
    return '": ' not in line


def _may_have(line: str, names: Collection[str]) -> bool:
    """Any character of a name may be escaped."""
    return "\\" in line or any(name in line for name in names)


def _without(line: str, removed: Collection[str]) -> str:
    fields = list(_fields(line))
    kept = [field for field in fields if field[0] not in removed]
    if len(kept) == len(fields):
        return line
    if not kept:
        return line[: fields[0][1]] + line[fields[-1][2] :]
    # What goes, goes with what stands between it and the field before; at the front, and the field after.
    pieces = [line[: fields[0][1]], line[kept[0][1] : kept[0][2]]]
    by_end = {field[2]: index for index, field in enumerate(fields)}
    for field in kept[1:]:
        before = fields[by_end[field[2]] - 1]
        pieces.append(line[before[2] : field[2]])
    pieces.append(line[fields[-1][2] :])
    return "".join(pieces)


def _fields(line: str) -> Iterator[tuple[str, int, int]]:
    """(name, start, end) of the fields of the object in `line`, in order."""
    position = _skip(line, 0)
    if position >= len(line) or line[position] != "{":
        raise ValueError("not a JSON object")
    position = _skip(line, position + 1)
    while position < len(line) and line[position] == '"':
        start = position
        name, position = _decoder.raw_decode(line, position)
        position = _skip(line, position)
        if position >= len(line) or line[position] != ":":
            raise ValueError("a field without a value")
        _, end = _decoder.raw_decode(line, _skip(line, position + 1))
        yield name, start, end
        position = _skip(line, end)
        if position < len(line) and line[position] == ",":
            position = _skip(line, position + 1)


def _skip(line: str, position: int) -> int:
    while position < len(line) and line[position] in _WHITESPACE:
        position += 1
    return position
