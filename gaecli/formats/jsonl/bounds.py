"""What JSON lines may ask of a parser, looked at before one reads them.

pyarrow takes quadratic time over deep nesting and ends the process where it is deeper still, and a table has a
cell for every field of every line, be there one or none. So depth, length and the number of cells are bounded
here, in time in proportion to the text.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.json as pj

#: Rollouts have lists within lists, and messages of a chat a few levels more.
MOST_LEVELS = 64
#: A line is parsed as one piece, which takes a few times its length.
MOST_LINE_BYTES = 256 << 20
#: Different fields of a piece: pyarrow takes quadratic time over those of an object.
MOST_FIELDS = 10_000
#: Cells of the table of one piece, filled or not; pyarrow takes some seconds for them.
_MOST_CELLS = 1 << 25
_PART_BYTES = 16 << 10

#: Lines are parsed in pieces of about this size.
_PIECE_BYTES = 8 << 20
#: What looks like the name of a field; some may stand in texts.
_NAME = re.compile(rb'"([^"]*)"\s*:')
#: A text, and whether it is the name of a field.
_TEXT = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)(?:"|\\?\Z)(?:[ \t\r\n]*(:))?', re.DOTALL)
_FEW = 16
#: A string, or the beginning of one that never ends: the scan never goes back.
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_OPEN, _CLOSE = 0x7B, 0x7D  # `{` and `}`, and with this bit `[` and `]`
_SAME_BIT = 0x20


class BoundError(ValueError):
    """JSON that could be read, given any time and memory."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def whole_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """(position, bytes) of pieces of whole lines. `BoundError` at a line that is too long."""
    position = 0
    while content := file.read(_PIECE_BYTES):
        rest = file.readline(MOST_LINE_BYTES)
        content += rest
        if len(rest) == MOST_LINE_BYTES and not rest.endswith(b"\n"):
            raise BoundError(
                f"a line from byte {position:,} on is longer than {MOST_LINE_BYTES >> 20} MiB",
                hint="write one object per line, and episodes of this size as Parquet",
            )
        yield position, content
        position += len(content)


def check_depth(lines: Sequence[bytes], first_row: int) -> None:
    """Raise `BoundError` for objects that are nested too deep."""
    for index, line in enumerate(lines):
        if line.count(b"[") + line.count(b"{") > MOST_LEVELS and _depth(line) > MOST_LEVELS:
            raise BoundError(
                f"row {first_row + index:,} is nested more than {MOST_LEVELS} levels deep",
                hint="leave out the field that is, or write it as a text",
            )


def _depth(line: bytes) -> int:
    folded = np.frombuffer(_STRING.sub(b"", line), np.uint8) | _SAME_BIT
    marks = folded[(folded == _OPEN) | (folded == _CLOSE)]
    steps = np.where(marks == _OPEN, np.int64(1), np.int64(-1))
    return int(np.cumsum(steps).max(initial=0))


def check_cells(content: bytes, num_lines: int, first_row: int) -> None:
    """Raise `BoundError` where most lines lack most of the fields: a table has a cell for every one of them."""
    most = min(MOST_FIELDS, _MOST_CELLS // max(num_lines, 1))
    num_colons = content.count(b":")
    if num_colons <= most:
        return  # were every field another one
    if content.count(b"{") > num_lines:
        is_more = _has_more_paths(content, most)
    elif _has_names_of_its_beginning(content, num_colons):
        return
    else:
        is_more = len(set(_NAME.findall(content))) > most and len(_names(content)) > most
    if is_more:
        raise BoundError(
            f"{num_lines:,} lines from row {first_row:,} on have more than {most:,} different fields between them",
            hint="leave out those that few lines have, or write them as a text",
        )


def _has_names_of_its_beginning(content: bytes, num_colons: int) -> bool:
    """Whether all colons stand behind a few names that the first lines have."""
    names = set(_NAME.findall(content[:_PART_BYTES]))
    return len(names) <= _FEW and sum(content.count(b'"%b":' % name) for name in names) == num_colons


def _names(content: bytes) -> set[bytes]:
    return {name for name, colon in _TEXT.findall(content) if colon}


def _has_more_paths(content: bytes, most: int) -> bool:
    """Of objects within objects."""
    found: set[str] = set()
    last = None
    for part in _small_parts(content):
        if part.count(b":") > MOST_FIELDS and _is_wide(part):
            return True
        schema = parse(part).schema
        if schema != last:
            found.update(_paths(schema))
            last = schema
        if len(found) > most:
            return True
    return False


def _is_wide(line: bytes) -> bool:
    """Whether one object alone has more fields than pyarrow should be given."""
    found: set[tuple[str, ...]] = set()
    waiting: list[tuple[tuple[str, ...], Any]] = [((), json.loads(line, parse_int=str, parse_float=str))]
    while waiting and len(found) <= MOST_FIELDS:
        path, value = waiting.pop()
        if isinstance(value, list):
            waiting += [(path, item) for item in value if isinstance(item, dict | list)]
        elif isinstance(value, dict):
            found.update((*path, name) for name in value)
            waiting += [
                ((*path, name), item) for name, item in value.items() if isinstance(item, dict | list)
            ]
    return len(found) > MOST_FIELDS


def _small_parts(content: bytes) -> Iterator[bytes]:
    """Lines that take a few kilobytes together, and longer ones alone."""
    start = 0
    while start < len(content):
        stop = content.rfind(b"\n", start, start + _PART_BYTES) + 1
        if stop <= start:
            stop = content.find(b"\n", start) + 1 or len(content)
        yield content[start:stop]
        start = stop


def _paths(schema: pa.Schema) -> Iterator[str]:
    waiting: list[tuple[str, pa.DataType]] = [(field.name, field.type) for field in schema]
    while waiting:
        path, data_type = waiting.pop()
        yield path
        children = [data_type.field(index) for index in range(data_type.num_fields)]
        waiting += [(f"{path}.{child.name}", child.type) for child in children]


def parse(content: bytes, schema: pa.Schema | None = None) -> pa.Table:
    """Objects as a table; with a schema, only those of its columns."""
    options = pj.ParseOptions()
    if schema is not None:
        options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    reading = pj.ReadOptions(use_threads=False, block_size=len(content) + 1)
    table = pj.read_json(io.BytesIO(content), read_options=reading, parse_options=options)
    hollow = [index for index, field in enumerate(table.schema) if _has_lists_of_nothing(field.type)]
    for index in hollow:
        field = table.schema.field(index)
        chunks = [_filled(chunk) for chunk in table.column(index).chunks]
        table = table.set_column(index, field, pa.chunked_array(chunks, field.type))
    return table


def _has_lists_of_nothing(data_type: pa.DataType) -> bool:
    if pa.types.is_list(data_type):
        return pa.types.is_null(data_type.value_type) or _has_lists_of_nothing(data_type.value_type)
    children = range(data_type.num_fields) if pa.types.is_struct(data_type) else ()
    return any(_has_lists_of_nothing(data_type.field(index).type) for index in children)


def _filled(array: pa.Array) -> pa.Array:
    """With as many nulls as the lists have items: of lists that hold nothing else, pyarrow keeps fewer."""
    if not _has_lists_of_nothing(array.type):
        return array
    is_null = array.is_null()
    if pa.types.is_struct(array.type):
        fields = [array.type.field(index) for index in range(array.type.num_fields)]
        children = [_filled(array.field(index)) for index in range(array.type.num_fields)]
        return pa.StructArray.from_arrays(children, fields=fields, mask=is_null)
    items = array.values
    is_hollow = pa.types.is_null(array.type.value_type)
    items = pa.nulls(array.offsets[-1].as_py() if len(array) else 0) if is_hollow else _filled(items)
    return pa.ListArray.from_arrays(array.offsets, items, type=array.type, mask=is_null)
