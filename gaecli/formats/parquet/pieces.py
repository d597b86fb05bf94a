"""Column chunks put together from what was encoded in pieces, be it for the memory or by several machines.

pyarrow encodes a row group from a table, so one of 10⁸ rows would have to be held whole. Instead it encodes
pieces of it as small row groups of a stream on disk. Without a dictionary pages do not depend on each
other, so a chunk is the pages of its pieces one after the other, and its metadata is theirs added up:

    sizes, value and null counts, histograms     sums
    minimum, maximum                             of the pieces that have one
    page locations                               offset + where the piece went - where it was,
                                                 first row + rows of the pieces before
    column index                                 one after the other; its order is no longer known

A chunk that is of one piece stays as pyarrow made it, but for where it is: streams that have some of the row
groups each become what one stream of all of them would have been.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa

from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.copy_range import Copy, copy_range, write_at
from gaecli.formats.parquet.footer import (
    ColumnChunk,
    ColumnMetaData,
    Footer,
    RowGroup,
    Statistics,
    data_extent,
)
from gaecli.formats.parquet.merge import shifted
from gaecli.formats.parquet.schema import integer, structs
from gaecli.formats.parquet.thrift_compact import List, Struct

#: What a table of new columns may take before it is encoded.
PIECE_BYTES = 64 << 20


class OffsetIndex:
    PAGE_LOCATIONS, UNENCODED_BYTES = 1, 2


class PageLocation:
    OFFSET, COMPRESSED_PAGE_SIZE, FIRST_ROW_INDEX = 1, 2, 3


class _ColumnIndex:
    BOUNDARY_ORDER = 4
    REQUIRED = (1, 2, 3)  # null pages, minima, maxima
    OPTIONAL = (5, 6, 7)  # null counts, histograms
    UNORDERED = 0


class _PageEncodingStats:
    PAGE_TYPE, ENCODING, COUNT = 1, 2, 3


_INDEX_FIELDS = (
    ColumnChunk.OFFSET_INDEX_OFFSET,
    ColumnChunk.OFFSET_INDEX_LENGTH,
    ColumnChunk.COLUMN_INDEX_OFFSET,
    ColumnChunk.COLUMN_INDEX_LENGTH,
)
_FLOAT_FORMATS = {4: "<f", 5: "<d"}  # by the number of the physical type


class PieceStream(NamedTuple):
    """New columns of some row groups, in a Parquet file that holds nothing else."""

    file: BinaryIO
    #: For messages.
    name: str
    footer: Footer
    #: For each row group of the target, the row counts of the stream's row groups that make it up.
    pieces: Sequence[Sequence[int]]
    #: Somebody else puts its pages where they belong.
    leaves_pages: bool = False


class RowRange(NamedTuple):
    """One chunk of a stream, and the offset in the target to which its pages were copied."""

    file: BinaryIO
    chunk: Struct
    num_rows: int
    target: int

    @property
    def meta(self) -> Struct:
        meta: Struct = self.chunk.value(ColumnChunk.META_DATA)
        return meta


def piece_rows(group: Struct, schema: pa.Schema) -> list[int]:
    """The row counts of the pieces in which new columns for this row group are encoded: mostly one."""
    num_rows: int = group.value(RowGroup.NUM_ROWS)
    num_values = num_rows
    if any(pa.types.is_nested(field.type) for field in schema):
        # The new lists are as long as lists that are there.
        chunks = group.value(RowGroup.COLUMNS)
        metas = [chunk.value(ColumnChunk.META_DATA) for chunk in chunks]
        num_values = max([num_rows, *(meta.value(ColumnMetaData.NUM_VALUES) for meta in metas)])
    bytes_per_value = sum(_value_bytes(field.type) for field in schema)
    num_pieces = max(1, min(num_rows, -(-num_values * bytes_per_value // PIECE_BYTES)))
    rows, longer = divmod(num_rows, num_pieces)
    return [rows + (index < longer) for index in range(num_pieces)]


def _value_bytes(data_type: pa.DataType) -> int:
    while pa.types.is_nested(data_type) and hasattr(data_type, "value_type"):
        data_type = data_type.value_type
    return max(1, data_type.bit_width // 8) if pa.types.is_primitive(data_type) else 16


def spool_file(beside: Path) -> BinaryIO:
    """A file without a name on the disk of `beside`: gone when it is closed, however that comes about."""
    return tempfile.TemporaryFile(dir=beside.parent, buffering=1 << 18)  # type: ignore[return-value]


def placed_chunks(stream: Footer, target: BinaryIO, delta: int) -> tuple[list[list[Struct]], int]:
    """The chunks of a stream that stands in the target as it is, `delta` bytes from where it believes.

    An offset index has offsets of pages, so these are written anew, in their place: pyarrow puts them last.

    Returns:
        The chunks of each row group, and the offset behind them.
    """
    groups = [
        [shifted(chunk, delta) for chunk in group.value(RowGroup.COLUMNS)] for group in stream.row_groups
    ]
    indexed = [chunk for group in groups for chunk in group if ColumnChunk.OFFSET_INDEX_OFFSET in chunk]
    indexes: list[bytes] = []
    for chunk in indexed:
        target.seek(chunk.value(ColumnChunk.OFFSET_INDEX_OFFSET))
        index = thrift.decode(target.read(chunk.value(ColumnChunk.OFFSET_INDEX_LENGTH)))[0]
        index.put(OffsetIndex.PAGE_LOCATIONS, thrift.LIST, List(thrift.STRUCT, moved_locations(index, delta)))
        indexes.append(thrift.encode(index))
    end = stream.start + delta
    if indexed:
        first = min(chunk.value(ColumnChunk.OFFSET_INDEX_OFFSET) for chunk in indexed)
        others = [data_extent(chunk).end for group in groups for chunk in group]
        others += [
            chunk.value(ColumnChunk.COLUMN_INDEX_OFFSET, 0) + chunk.value(ColumnChunk.COLUMN_INDEX_LENGTH, 0)
            for chunk in indexed
        ]
        end = first if max(others) <= first else end
    for chunk, raw in zip(indexed, indexes, strict=True):
        end = _put_index(target, chunk, ColumnChunk.OFFSET_INDEX_OFFSET, raw, end)
    return groups, end


def _put_index(target: BinaryIO, chunk: Struct, field_id: int, raw: bytes, position: int) -> int:
    """Write a page index and enter it in its chunk, offset and length; returns where it ends."""
    write_at(target, raw, position)
    chunk.put(field_id, thrift.I64, position)
    chunk.put(field_id + 1, thrift.I32, len(raw))
    return position + len(raw)


def merge_pieces(
    streams: Sequence[PieceStream], target: BinaryIO, start: int
) -> tuple[list[list[Struct]], int]:
    """Copy the streams' pages to `start` of the target, chunk by chunk, then their page indexes.

    Returns:
        The chunks of each row group, and the offset behind them.
    """
    merged: list[tuple[Struct, list[RowRange]]] = []
    num_chunks: list[int] = []
    for stream in streams:
        rest = iter(stream.footer.row_groups)
        for counts in stream.pieces:
            parts = [next(rest).value(RowGroup.COLUMNS) for _ in counts]
            num_chunks.append(len(parts[0]))
            for chunks in zip(*parts, strict=True):
                placed: list[RowRange] = []
                for chunk, num_rows in zip(chunks, counts, strict=True):
                    begin, end = data_extent(chunk)
                    if not stream.leaves_pages:
                        copy_range(stream.file, target, Copy(begin, start, end - begin), stream.name)
                    placed.append(RowRange(stream.file, chunk, num_rows, start))
                    start += end - begin
                merged.append((_merged_chunk(placed), placed))
    for merge, offset, length in (
        (_merged_column_index, ColumnChunk.COLUMN_INDEX_OFFSET, ColumnChunk.COLUMN_INDEX_LENGTH),
        (_merged_offset_index, ColumnChunk.OFFSET_INDEX_OFFSET, ColumnChunk.OFFSET_INDEX_LENGTH),
    ):
        for chunk, placed in merged:
            if index := _merged_index(placed, merge, offset, length):
                start = _put_index(target, chunk, offset, index, start)
    chunks_in_order = iter(chunk for chunk, _ in merged)
    return [[next(chunks_in_order) for _ in range(count)] for count in num_chunks], start


def _merged_chunk(pieces: Sequence[RowRange]) -> Struct:
    """The chunk of all pages, without its page index."""
    if len(pieces) == 1:
        chunk = shifted(pieces[0].chunk, pieces[0].target - data_extent(pieces[0].chunk).start)
        for field_id in _INDEX_FIELDS:
            chunk.pop(field_id, None)
        return chunk
    metas = [piece.meta for piece in pieces]
    meta = Struct(metas[0])
    for field_id in (
        ColumnMetaData.NUM_VALUES,
        ColumnMetaData.TOTAL_UNCOMPRESSED_SIZE,
        ColumnMetaData.TOTAL_COMPRESSED_SIZE,
    ):
        meta.put(field_id, thrift.I64, sum(part.value(field_id) for part in metas))
    meta.put(ColumnMetaData.DATA_PAGE_OFFSET, thrift.I64, pieces[0].target)
    encodings = dict.fromkeys(code for part in metas for code in part.value(ColumnMetaData.ENCODINGS))
    meta.put(ColumnMetaData.ENCODINGS, thrift.LIST, List(thrift.I32, encodings))
    for field_id, merge in (
        (ColumnMetaData.STATISTICS, _merged_statistics),
        (ColumnMetaData.ENCODING_STATS, _merged_encoding_stats),
        (ColumnMetaData.SIZE_STATISTICS, _merged_size_statistics),
    ):
        parts = [part.value(field_id) for part in metas]
        if None in parts:
            meta.pop(field_id, None)
        else:
            meta.put(field_id, meta[field_id][0], merge(parts, meta.value(ColumnMetaData.TYPE)))
    return Struct(
        {
            ColumnChunk.FILE_OFFSET: (thrift.I64, 0),
            ColumnChunk.META_DATA: (thrift.STRUCT, meta),
        }
    )


def _merged_statistics(parts: Sequence[Struct], physical_type: int) -> Struct:
    """Pieces without a minimum hold only nulls or NaN, neither of which counts."""
    fullest: Struct = max(parts, key=len)
    merged = Struct(fullest)
    merged.pop(Statistics.DISTINCT_COUNT, None)
    if all(Statistics.NULL_COUNT in part for part in parts):
        null_count = sum(part.value(Statistics.NULL_COUNT) for part in parts)
        merged.put(Statistics.NULL_COUNT, thrift.I64, null_count)
    else:
        merged.pop(Statistics.NULL_COUNT, None)
    number = _FLOAT_FORMATS.get(physical_type)
    for field_id, pick in (
        (Statistics.MAX, max),
        (Statistics.MIN, min),
        (Statistics.MAX_VALUE, max),
        (Statistics.MIN_VALUE, min),
    ):
        found: list[bytes] = [part.value(field_id) for part in parts if field_id in part]
        if number is None or not found:
            merged.pop(field_id, None)
        else:
            merged.put(field_id, thrift.BINARY, pick(found, key=lambda raw: struct.unpack(number, raw)[0]))
    return merged


def _merged_encoding_stats(parts: Sequence[List], _: int) -> List:
    counts: dict[tuple[int, int], int] = {}
    for stats in (stats for part in parts for stats in part):
        key = stats.value(_PageEncodingStats.PAGE_TYPE), stats.value(_PageEncodingStats.ENCODING)
        counts[key] = counts.get(key, 0) + stats.value(_PageEncodingStats.COUNT)
    return List(
        thrift.STRUCT,
        [
            Struct({1: (thrift.I32, page_type), 2: (thrift.I32, encoding), 3: (thrift.I32, count)})
            for (page_type, encoding), count in counts.items()
        ],
    )


def _merged_size_statistics(parts: Sequence[Struct], _: int) -> Struct:
    merged = Struct()
    for field_id, (field_type, first) in parts[0].items():
        values = [part.value(field_id) for part in parts]
        if None in values:
            continue
        if field_type == thrift.LIST:
            total = List(thrift.I64, [sum(column) for column in zip(*values, strict=True)])
            merged[field_id] = (thrift.LIST, total if len(total) == len(first) else first)
        else:
            merged[field_id] = (field_type, sum(values))
    return merged


def _merged_index(
    pieces: Sequence[RowRange],
    merge: Callable[[Sequence[Struct], Sequence[RowRange]], Struct],
    offset: int,
    length: int,
) -> bytes | None:
    """A page index of all pieces; None where one has none (a page without a minimum has no column index)."""
    if any(offset not in piece.chunk for piece in pieces):
        return None
    parts: list[Struct] = []
    for piece in pieces:
        piece.file.seek(piece.chunk.value(offset))
        parts.append(thrift.decode(piece.file.read(piece.chunk.value(length)))[0])
    return thrift.encode(merge(parts, pieces))


def _merged_column_index(parts: Sequence[Struct], _: Sequence[RowRange]) -> Struct:
    if len(parts) == 1:
        return parts[0]
    merged = Struct()
    for field_id in (*_ColumnIndex.REQUIRED, *_ColumnIndex.OPTIONAL):
        if all(field_id in part for part in parts):
            values = [value for part in parts for value in part.value(field_id)]
            element_type = parts[0].value(field_id).element_type
            merged.put(field_id, thrift.LIST, List(element_type, values))
    merged.put(_ColumnIndex.BOUNDARY_ORDER, thrift.I32, _ColumnIndex.UNORDERED)
    return merged


def _merged_offset_index(parts: Sequence[Struct], pieces: Sequence[RowRange]) -> Struct:
    locations = List(thrift.STRUCT)
    rows_before = 0
    for part, piece in zip(parts, pieces, strict=True):
        delta = piece.target - data_extent(piece.chunk).start
        for location in moved_locations(part, delta):
            first_row = location.value(PageLocation.FIRST_ROW_INDEX) + rows_before
            location.put(PageLocation.FIRST_ROW_INDEX, thrift.I64, first_row)
            locations.append(location)
        rows_before += piece.num_rows
    merged = Struct({OffsetIndex.PAGE_LOCATIONS: (thrift.LIST, locations)})
    if all(OffsetIndex.UNENCODED_BYTES in part for part in parts):
        sizes = [size for part in parts for size in part.value(OffsetIndex.UNENCODED_BYTES)]
        merged.put(OffsetIndex.UNENCODED_BYTES, thrift.LIST, List(thrift.I64, sizes))
    return merged


def moved_locations(index: Struct, delta: int) -> list[Struct]:
    """The page locations of an offset index after its pages moved by `delta` bytes."""
    locations: list[Struct] = []
    for found in structs(index, OffsetIndex.PAGE_LOCATIONS, "the list of pages"):
        location = Struct(found)
        offset = integer(location, PageLocation.OFFSET, "the offset of a page") + delta
        location.put(PageLocation.OFFSET, thrift.I64, offset)
        locations.append(location)
    return locations
