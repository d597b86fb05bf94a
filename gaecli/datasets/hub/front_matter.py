"""The YAML at the head of a `README.md`: the part of the language that writers of data sets use, with places.

A list of features is changed in the text, so that every other byte stays as it is; a parser that forgets the
places could not do that, and would be a dependency. What is not plainly understood (flow collections, anchors,
texts over several lines) is `NotPlainError`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from gaecli.records import dataclass

_FENCE = re.compile(r"---[ \t]*")
_TOP_KEY = re.compile(r"(?P<key>[A-Za-z_][\w-]*)[ \t]*:(?=\s|$)")
_QUOTED = r"""'(?P<single>(?:[^']|'')*)'|"(?P<double>[^"\\]*)\""""
_KEY = re.compile(rf"""(?:{_QUOTED}|(?P<plain>[^\s'"#\-][^'"#:]*))\s*:(?:\s+(?P<rest>.*))?$""")
_DASH = re.compile(r"-(\s+|$)")
_TEXT = re.compile(rf"(?:{_QUOTED})(?:\s+#.*)?$")
#: What begins something else than a plain text.
_NOT_PLAIN = tuple("{}[]&*!|>%@`?,")
_EMPTY = ("[]", "{}")
_MOST_DEPTH = 64
#: Plain texts that mean something else than themselves.
_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")


class NotPlainError(ValueError):
    """This is YAML that a few lines of code cannot read for certain."""


@dataclass(frozen=True)
class Node:
    """A text, a mapping or a sequence; `start` up to `stop` are its lines in the file."""

    value: str | dict[str, Node] | list[Node]
    start: int
    stop: int
    #: Column of its keys, or of its dashes; of a mapping in a sequence, behind the dash.
    column: int = 0

    @property
    def text(self) -> str | None:
        return self.value if isinstance(self.value, str) else None

    @property
    def items(self) -> list[Node]:
        """Those of a sequence."""
        return self.value if isinstance(self.value, list) else []

    def get(self, key: str) -> Node | None:
        return self.value.get(key) if isinstance(self.value, dict) else None

    def plain(self) -> object:
        """The same without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        return [node.plain() for node in self.value] if isinstance(self.value, list) else self.value


def head(lines: Sequence[str]) -> Sequence[str]:
    """All lines up to the end of the YAML; none where there is none."""
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None or not _is_fence(lines[first]):
        return []
    last = next((number for number in range(first + 1, len(lines)) if _is_fence(lines[number])), None)
    return [] if last is None else lines[:last]


def front_matter(lines: Sequence[str], wanted: Sequence[str]) -> dict[str, Node]:
    """The values of these top-level keys, of those that are there. `NotPlainError` where one is not plain."""
    lines = head(lines)
    starts = [number for number, line in enumerate(lines) if _TOP_KEY.match(line)]
    found: dict[str, Node] = {}
    for start, stop in pairwise([*starts, len(lines)]):
        match = _TOP_KEY.match(lines[start])
        if match is None or match["key"] not in wanted:
            continue
        if match["key"] in found:
            raise NotPlainError(f"line {start + 1}: `{match['key']}` is there twice")
        said = [line for number in range(start, stop) if (line := _line(number, lines[number])) is not None]
        node = _Parser(said).mapping(0).get(match["key"])
        if node is not None:
            found[match["key"]] = node
    return found


def quoted(text: str) -> str:
    """As a value, plain where nothing else could be meant."""
    is_plain = re.fullmatch(r"[A-Za-z_]([\w.\-/ ]*\w)?", text, re.ASCII) and text.lower() not in _WORDS
    return text if is_plain else "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True)
class _Line:
    number: int
    column: int
    text: str


def _is_fence(line: str) -> bool:
    return _FENCE.fullmatch(line.rstrip("\r\n")) is not None


def _line(number: int, text: str) -> _Line | None:
    """None for a line that says nothing."""
    bare = text.strip()
    if not bare or bare.startswith("#"):
        return None
    column = len(text) - len(text.lstrip(" "))
    if text[column] == "\t":
        raise NotPlainError(f"line {number + 1} is indented with a tab")
    return _Line(number, column, bare)


class _Parser:
    """Block mappings and sequences of one-line texts, by their columns."""

    def __init__(self, lines: list[_Line]) -> None:
        self.lines = lines
        self.place = 0
        self.depth = 0

    @property
    def line(self) -> _Line | None:
        return self.lines[self.place] if self.place < len(self.lines) else None

    def block(self, column: int) -> Node:
        self.depth += 1
        if self.depth > _MOST_DEPTH:
            raise NotPlainError("it is nested too deep")
        is_sequence = _DASH.match(self.lines[self.place].text)
        node = self.sequence(column) if is_sequence else self.mapping(column)
        self.depth -= 1
        return node

    def mapping(self, column: int) -> Node:
        found: dict[str, Node] = {}
        start = self.lines[self.place].number
        while (line := self.line) is not None and line.column == column and not _DASH.match(line.text):
            match = _KEY.fullmatch(line.text)
            if match is None or (match["plain"] or "").startswith(_NOT_PLAIN):
                raise NotPlainError(f"line {line.number + 1} is no `key: value`")
            key = _unquoted(match)
            if key in found:
                raise NotPlainError(f"line {line.number + 1}: `{key}` is there twice")
            self.place += 1
            found[key] = self.value(line, match["rest"] or "", column, may_share_column=True)
        return self.ended(found, start, column)

    def sequence(self, column: int) -> Node:
        items: list[Node] = []
        start = self.lines[self.place].number
        while (line := self.line) is not None and line.column == column and (dash := _DASH.match(line.text)):
            rest = line.text[dash.end() :]
            if rest and (_KEY.fullmatch(rest) or _DASH.match(rest)):
                self.lines[self.place] = _Line(line.number, column + dash.end(), rest)
                items.append(self.block(column + dash.end()))
            else:
                self.place += 1
                items.append(self.value(line, rest, column))
        return self.ended(items, start, column)

    def value(self, line: _Line, rest: str, column: int, *, may_share_column: bool = False) -> Node:
        if rest in _EMPTY:
            return Node([] if rest == "[]" else {}, line.number, line.number + 1, column)
        if rest and not rest.startswith("#"):
            return Node(_scalar(line, rest), line.number, line.number + 1, column)
        below = self.line
        if below is not None and below.column > column:
            return self.block(below.column)
        if may_share_column and below is not None and below.column == column and _DASH.match(below.text):
            return self.block(column)
        return Node("", line.number, line.number + 1, column)

    def ended(self, value: dict[str, Node] | list[Node], start: int, column: int) -> Node:
        if self.line is not None and self.line.column > column:
            raise NotPlainError(f"line {self.line.number + 1} is indented more than what it belongs to")
        return Node(value, start, self.lines[self.place - 1].number + 1, column)


def _scalar(line: _Line, text: str) -> str:
    if text.startswith(("'", '"')):
        match = _TEXT.fullmatch(text)
        if match is None:
            raise NotPlainError(f"line {line.number + 1} has a text with escapes, or over several lines")
        return _unquoted(match)
    if text.startswith(_NOT_PLAIN) or ": " in text:
        raise NotPlainError(f"line {line.number + 1} is no plain text")
    return re.split(r"\s+#", text)[0]


def _unquoted(match: re.Match[str]) -> str:
    groups = match.groupdict()
    if groups["single"] is not None:
        return str(groups["single"]).replace("''", "'")
    return str(groups["double"] if groups["double"] is not None else groups["plain"]).rstrip()
