"""CSV as records: bytes from one line end outside quotes to the next, and the cells in them.

Strictly as RFC 4180 has it: a quote begins or ends a cell, and one within is doubled. Whatever else a quote could
mean would move the borders of rows, so it is refused with its line. All of it takes time in proportion to the text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import IO, NamedTuple

import numpy as np

from gaecli.array_types import IndexArray

#: A record is parsed as one piece, which takes a few times its length.
MOST_RECORD_BYTES = 64 << 20
#: Records are parsed in pieces of about this size.
_PIECE_BYTES = 8 << 20
_NEWLINE, _RETURN, _QUOTE = b'\n\r"'


class BadRecordError(ValueError):
    """Text that is no CSV, or more than is read."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class RecordPiece(NamedTuple):
    """Whole records: bytes `start` up to `stop` of the file."""

    start: int
    content: bytes
    #: Where each record ends in `content`, its line end included.
    ends: IndexArray
    #: Of its first line, from 1 on.
    line: int

    @property
    def stop(self) -> int:
        return self.start + len(self.content)

    def records(self) -> Iterator[bytes]:
        """With their line ends."""
        start = 0
        for end in self.ends.tolist():
            yield self.content[start:end]
            start = end


def record_pieces(file: IO[bytes], delimiter: bytes, line: int) -> Iterator[RecordPiece]:
    """From where the file stands, which is the beginning of a record. `BadRecordError` at what cannot be read."""
    start, rest = file.tell(), b""
    while True:
        more = file.read(_PIECE_BYTES)
        content = rest + more
        if not content:
            return
        # What is left over ends no record: so it is not looked at again each time, however long the record is.
        ends = len(rest) + _record_ends(more, is_open=bool(rest.count(b'"') % 2))
        if not more:
            ends = np.append(ends, len(content)) if not len(ends) or ends[-1] < len(content) else ends
        stop = int(ends[-1]) if len(ends) else 0
        if len(content) - stop > MOST_RECORD_BYTES:
            raise _too_long(content[stop:], line + content.count(b"\n", 0, stop))
        content, rest = content[:stop], content[stop:]
        if content:
            check_text(content, line)
            _check_quotes(content, delimiter, line)
            yield RecordPiece(start, content, ends, line)
            start += stop
            line += content.count(b"\n")


def _record_ends(content: bytes, *, is_open: bool) -> IndexArray:
    """Line ends outside quotes. `is_open`: it begins within them."""
    codes = np.frombuffer(content, np.uint8)
    newlines = np.flatnonzero(codes == _NEWLINE)
    if is_open or b'"' in content:
        quotes = np.flatnonzero(codes == _QUOTE)
        newlines = newlines[np.searchsorted(quotes, newlines) % 2 == is_open]
    return newlines + 1


def _too_long(content: bytes, line: int) -> BadRecordError:
    size = f"{MOST_RECORD_BYTES >> 20} MiB"
    if content.count(b'"') % 2:
        opening = line + content.count(b"\n", 0, content.index(b'"'))
        return BadRecordError(
            f"a quote of the record from line {line:,} on is not closed within {size}",
            f"look for it from line {opening:,} on; a quote within a cell is doubled",
        )
    return BadRecordError(
        f"line {line:,} is more than {size} long",
        "write one row per line, and episodes of this size as Parquet",
    )


def check_text(content: bytes, line: int) -> None:
    """Raise where it is no text in UTF-8, or its lines end as those of no current system do."""
    if b"\0" in content:
        where = line + content.count(b"\n", 0, content.index(b"\0"))
        raise BadRecordError(
            f"line {where:,} has a NUL byte", "the file may be damaged, or UTF-16: write it again as UTF-8"
        )
    try:
        content.decode()
    except UnicodeDecodeError as error:
        where = line + content.count(b"\n", 0, error.start)
        raise BadRecordError(
            f"line {where:,} is not UTF-8 (byte {content[error.start]:#04x})",
            "write it again as UTF-8, for example with `iconv -f LATIN1 -t UTF-8`",
        ) from error
    if content.count(b"\r") > content.count(b"\r\n"):
        _check_returns(content, line)


def _check_returns(content: bytes, line: int) -> None:
    """Within quotes any may stand."""
    codes = np.frombuffer(content + b"\n", np.uint8)
    lone = np.flatnonzero((codes[:-1] == _RETURN) & (codes[1:] != _NEWLINE))
    lone = lone[np.searchsorted(np.flatnonzero(codes == _QUOTE), lone) % 2 == 0]
    if len(lone):
        where = line + content.count(b"\n", 0, int(lone[0]))
        raise BadRecordError(
            f"line {where:,} holds a carriage return without a line feed",
            "write line ends as LF or CRLF, for example with `tr '\\r' '\\n'`",
        )


def _check_quotes(content: bytes, delimiter: bytes, line: int) -> None:
    """Raise at the first quote that is neither the border of a cell nor doubled."""
    if b'"' not in content:
        return
    codes = np.frombuffer(b"\n" + content + b"\n", np.uint8)
    quotes = np.flatnonzero(codes == _QUOTE)
    opens, closes = quotes[::2], quotes[1::2]
    mark = delimiter[0]
    before, behind = codes[opens - 1], codes[closes + 1]
    bad_opens = opens[(before != mark) & (before != _NEWLINE) & (before != _QUOTE)]
    bad_closes = closes[(behind != mark) & (behind != _NEWLINE) & (behind != _RETURN) & (behind != _QUOTE)]
    places = sorted([*bad_opens[:1].tolist(), *bad_closes[:1].tolist()])
    if places:
        where, opened = _line_at(content, places[0], line), ""
        if places[0] in bad_closes[:1]:
            first = _line_at(content, int(opens[np.searchsorted(opens, places[0]) - 1]), line)
            opened = "" if first == where else f", where one from line {first:,} on is open"
        raise BadRecordError(
            f"line {where:,} has a quote in the middle of a cell{opened}",
            'a cell with quotes in it stands in quotes, and they are doubled: `"say ""hi"""` '
            "(Spark: `escape='\"'`)",
        )
    if len(opens) > len(closes):
        where = _line_at(content, int(opens[-1]), line)
        raise BadRecordError(
            f"the quote that opens in line {where:,} is never closed",
            "the file may be cut off; a quote within a cell is doubled",
        )


def _line_at(content: bytes, place: int, line: int) -> int:
    """`place` counts the line feed that was put before the content."""
    return line + content.count(b"\n", 0, place - 1)


def line_of_row(piece: RecordPiece, row: int) -> int:
    """The line in which a row of the piece begins; blank lines are none."""
    line = piece.line
    for record in piece.records():
        if record.strip(b"\r\n"):
            if row == 0:
                return line
            row -= 1
        line += record.count(b"\n")
    return line


def body_of(record: bytes) -> bytes:
    """Without its line end."""
    return record.removesuffix(b"\n").removesuffix(b"\r")


def raw_cells(body: bytes, delimiter: bytes) -> list[bytes]:
    """The cells of a record as they are written."""
    parts = body.split(delimiter)
    if b'"' not in body:
        return parts
    cells: list[bytes] = []
    waiting: list[bytes] = []
    is_open = False
    for part in parts:
        waiting.append(part)
        is_open ^= bool(part.count(b'"') % 2)
        if not is_open:
            cells.append(delimiter.join(waiting))
            waiting = []
    return [*cells, delimiter.join(waiting)] if waiting else cells


def without(record: bytes, removed: Collection[int], delimiter: bytes) -> bytes:
    """A record without some of its cells."""
    body = body_of(record)
    if not removed or not body:
        return record
    cells = raw_cells(body, delimiter)
    kept = delimiter.join(cell for index, cell in enumerate(cells) if index not in removed)
    return kept + record[len(body) :]


def text_of(cell: bytes) -> str:
    """What a cell holds, without its quotes."""
    if cell.startswith(b'"') and cell.endswith(b'"') and len(cell) > 1:
        return cell[1:-1].replace(b'""', b'"').decode()
    return cell.decode()


def as_cell(text: str, delimiter: str) -> str:
    """A text as a cell: in quotes where it would be read as something else. An empty one is not a missing one."""
    if text and not any(mark in text for mark in (delimiter, '"', "\n", "\r")) and text == text.strip():
        return text
    return '"' + text.replace('"', '""') + '"'
