"""The head of a CSV file: what stands before its rows, and how they are written.

The delimiter is the one by which the first row has as many cells as the header. A file without names of columns is
refused: rows are found by them.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import IO

from gaecli.formats.csv.records import (
    BadRecordError,
    RecordPiece,
    body_of,
    check_text,
    raw_cells,
    record_pieces,
    text_of,
)
from gaecli.records import dataclass

#: More of them, and it is another kind of file.
MOST_COLUMNS = 10_000
#: What the head may take: comments, the header and one row.
_HEAD_BYTES = 8 << 20
#: As much of a file without a name is looked at to find out whether it is CSV.
_LOOK_BYTES = 64 << 10
_BOM = b"\xef\xbb\xbf"
_COMMENT = b"#"
_DELIMITERS = (b",", b"\t", b";", b"|")
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)


@dataclass(frozen=True)
class CsvHead:
    """How the rows are written, and what stands before them."""

    delimiter: bytes
    names: tuple[str, ...]
    #: Mark of the encoding, comments, blank lines: all before the header.
    before: bytes
    #: The header as it is written, its line end included.
    header: bytes
    #: Of the first line behind it.
    line: int

    @property
    def stop(self) -> int:
        """Where the rows begin."""
        return len(self.before) + len(self.header)


def read_head(file: IO[bytes], suffix: str) -> CsvHead:
    """Of a file from its beginning; `suffix` of its name decides where several delimiters are possible."""
    content = file.read(_HEAD_BYTES)
    if content.startswith(_WIDE_BOMS) or b"\0" in content[:2]:
        raise BadRecordError(
            "it is UTF-16", "write it again as UTF-8, for example with `iconv -f UTF-16 -t UTF-8`"
        )
    head = content[: len(_BOM)] if content.startswith(_BOM) else b""
    lines, rest = [], content[len(head) :]
    while rest.startswith((_COMMENT, b"\n", b"\r")):
        comment, mark, rest = rest.partition(b"\n")
        lines.append(comment + mark)
    named = _named_by_comment(lines, rest, suffix)
    if named is not None:
        lines.pop()
        rest = named + rest
    before = head + b"".join(lines)
    check_text(before, 1)
    line = 1 + before.count(b"\n")
    if not rest:
        raise BadRecordError("it has no line with the names of columns", "write a header as its first line")
    delimiter = _delimiter(rest, suffix)
    header = _first_record(rest, delimiter, line)
    names = _names(header, delimiter, line)
    return CsvHead(delimiter, names, before, header, line + header.count(b"\n"))


def looks_like_csv(path: Path) -> bool:
    """Whether its name says so, or what is in it: a header of two names or more, and a row of as many cells."""
    if path.suffix.lower() in (".csv", ".tsv"):
        return True
    with path.open("rb") as file:
        content = file.read(_LOOK_BYTES)
    if b"\n" not in content or content.startswith((b"[", b"<", b"%")):
        return False
    if len(content) == _LOOK_BYTES:
        content = content[: content.rindex(b"\n") + 1]
    try:
        head = read_head(io.BytesIO(content), "")
        rows = content[head.stop :].split(b"\n", 1)[0]
    except (BadRecordError, ValueError):
        return False
    is_named = all(name and len(name) < 200 for name in head.names[1:])
    return len(head.names) > 1 and is_named and _num_cells(rows, head.delimiter) == len(head.names)


def _delimiter(content: bytes, suffix: str) -> bytes:
    """The one by which header and first row have as many cells; where none is, the likeliest for the message."""
    in_order = sorted(_DELIMITERS, key=lambda mark: (mark == b"\t") != (suffix == ".tsv"))
    lines = content.split(b"\n", 2)
    header, row = body_of(lines[0]), body_of(lines[1]) if len(lines) > 1 else b""
    possible = [mark for mark in in_order if _num_cells(header, mark) > 1]
    fitting = [mark for mark in possible if _num_cells(row, mark) == _num_cells(header, mark)]
    return (fitting or possible or in_order)[0]


def _num_cells(body: bytes, delimiter: bytes) -> int:
    return len(raw_cells(body_of(body), delimiter))


def _first_record(content: bytes, delimiter: bytes, line: int) -> bytes:
    piece: RecordPiece | None = next(record_pieces(io.BytesIO(content), delimiter, line), None)
    if piece is None or (len(content) >= _HEAD_BYTES - len(_BOM) and piece.ends[0] == len(content)):
        raise BadRecordError(
            f"line {line:,}, with the names of columns, is more than {_HEAD_BYTES >> 20} MiB long",
            "write one row per line",
        )
    return content[: int(piece.ends[0])]


def _names(header: bytes, delimiter: bytes, line: int) -> tuple[str, ...]:
    cells = raw_cells(body_of(header), delimiter)
    if len(cells) > MOST_COLUMNS:
        raise BadRecordError(
            f"line {line:,} names {len(cells):,} columns, more than {MOST_COLUMNS:,}",
            "write wide observations apart, as Parquet or NPZ",
        )
    names = tuple(
        text_of(cell)
        if cell.startswith(b'"')
        else cell.lstrip(_COMMENT if not index else b"").decode().strip()
        for index, cell in enumerate(cells)
    )
    if all(_NUMBER.fullmatch(name) for name in names):
        shown = body_of(header)[:40].decode(errors="replace")
        raise BadRecordError(
            f"line {line:,} holds numbers where the names of columns have to stand: `{shown}`",
            "write a header as its first line, for example `reward,value,done`",
        )
    return names


def _named_by_comment(comments: list[bytes], rest: bytes, suffix: str) -> bytes | None:
    """The last comment, where it is the header: as `numpy.savetxt` writes it, before rows of nothing but numbers."""
    row = body_of(rest.split(b"\n", 1)[0])
    if not comments or not comments[-1].startswith(_COMMENT) or not row:
        return None
    header = body_of(comments[-1])
    mark = _delimiter(header + b"\n" + row, suffix)
    cells = [cell.strip().decode(errors="replace") for cell in raw_cells(row, mark)]
    is_row = all(_NUMBER.fullmatch(cell) for cell in cells)
    return comments[-1] if is_row and _num_cells(header, mark) == len(cells) else None
