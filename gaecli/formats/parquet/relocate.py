"""A Parquet file without some of its columns, as the base that new ones are put behind.

Column chunks are independent, so taking columns out needs no decoding either: the chunks that stay are
copied as bytes, closer together, and each of their offsets is lowered by as much as its chunk moved.
Codec, encodings, pages, statistics, page indexes and bloom filters stay as they are.

    pages of row group 0 · pages of row group 1 · ... · bloom filters and page indexes
"""

from __future__ import annotations

from collections.abc import Collection
from typing import BinaryIO, NamedTuple

from gaecli.errors import FileError
from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.copy_range import Copy, write_at
from gaecli.formats.parquet.footer import (
    MAGIC,
    ColumnChunk,
    ColumnMetaData,
    FileMetaData,
    Footer,
    RowGroup,
    data_extent,
)
from gaecli.formats.parquet.merge import Base, shifted, without_columns
from gaecli.formats.parquet.pieces import OffsetIndex, moved_locations
from gaecli.formats.parquet.schema import MalformedError, integer
from gaecli.formats.parquet.thrift_compact import List, Struct


def relocate(source: BinaryIO, name: str, footer: Footer, dropped: Collection[int], target: BinaryIO) -> Base:
    """Plan the file without the dropped top-level columns; nothing is decoded.

    Pages come first, in the order of the row groups, then bloom filters and page indexes. Only the offset
    indexes are written here, since they hold the offsets of pages and so change.

    Raises:
        FileError: if chunks overlap or an index of theirs cannot be read.
    """
    tree = without_columns(footer, dropped)
    planner = _Relocation(source, footer.start, target)
    try:
        groups = [planner.move_pages(group) for group in tree.value(FileMetaData.ROW_GROUPS)]
        for group in groups:
            for moved in group.moved:
                planner.move_indexes(*moved)
    except ValueError as error:
        raise FileError(f"`{name}` is damaged: {error}", hint="write the file again") from error
    tree.put(FileMetaData.ROW_GROUPS, thrift.LIST, List(thrift.STRUCT, [group.tree for group in groups]))
    return Base(tree, planner.position, planner.copies)


class _Moved(NamedTuple):
    old: Struct
    new: Struct
    delta: int  # of its pages


class _MovedGroup(NamedTuple):
    tree: Struct
    moved: list[_Moved]


class _Relocation:
    """The new file as it is laid out: where the next byte goes, and what has to be copied."""

    def __init__(self, source: BinaryIO, payload_end: int, target: BinaryIO) -> None:
        self._payload_end = payload_end
        self._source = source
        self._target = target
        self.position = len(MAGIC)
        self.copies = [Copy(0, 0, len(MAGIC))]

    def move_pages(self, group: Struct) -> _MovedGroup:
        group = Struct(group)
        if RowGroup.FILE_OFFSET in group:
            group.put(RowGroup.FILE_OFFSET, thrift.I64, self.position)
        moved: list[_Moved] = []
        for chunk in group.value(RowGroup.COLUMNS):
            start, end = data_extent(chunk)
            delta = self._take(start, end - start) - start
            copied = shifted(chunk, delta)
            if ColumnChunk.FILE_OFFSET in copied:  # deprecated, and its meaning differed between writers
                copied.put(ColumnChunk.FILE_OFFSET, thrift.I64, 0)
            moved.append(_Moved(chunk, copied, delta))
        chunks = List(thrift.STRUCT, [chunk.new for chunk in moved])
        group.put(RowGroup.COLUMNS, thrift.LIST, chunks)
        return _MovedGroup(group, moved)

    def move_indexes(self, old: Struct, new: Struct, delta: int) -> None:
        """Bloom filter and column index as they are, the offset index with the pages' new offsets."""
        old_meta, new_meta = (chunk.value(ColumnChunk.META_DATA) for chunk in (old, new))
        if start := old_meta.value(ColumnMetaData.BLOOM_FILTER_OFFSET, 0):
            length = old_meta.value(ColumnMetaData.BLOOM_FILTER_LENGTH) or self._bloom_filter_length(start)
            new_meta.put(ColumnMetaData.BLOOM_FILTER_OFFSET, thrift.I64, self._take(start, length))
        if start := old.value(ColumnChunk.COLUMN_INDEX_OFFSET, 0):
            length = old.value(ColumnChunk.COLUMN_INDEX_LENGTH, 0)
            new.put(ColumnChunk.COLUMN_INDEX_OFFSET, thrift.I64, self._take(start, length))
        if start := old.value(ColumnChunk.OFFSET_INDEX_OFFSET, 0):
            index = self._read_struct(start, old.value(ColumnChunk.OFFSET_INDEX_LENGTH, 0))
            locations = List(thrift.STRUCT, moved_locations(index, delta))
            index.put(OffsetIndex.PAGE_LOCATIONS, thrift.LIST, locations)
            raw = thrift.encode(index)
            new.put(ColumnChunk.OFFSET_INDEX_OFFSET, thrift.I64, self.position)
            new.put(ColumnChunk.OFFSET_INDEX_LENGTH, thrift.I32, len(raw))
            write_at(self._target, raw, self._advance(len(raw)))

    def _take(self, start: int, length: int) -> int:
        """Put bytes of the source next, and return where that is."""
        if start + length > self._payload_end:
            raise MalformedError("a part of a column chunk lies outside the file")
        position = self._advance(length)
        last = self.copies[-1]
        if last.source + last.length == start and last.target + last.length == position:
            self.copies[-1] = last._replace(length=last.length + length)
        elif length:
            self.copies.append(Copy(start, position, length))
        return position

    def _advance(self, length: int) -> int:
        """Reserve the next bytes, and return where they are."""
        position = self.position
        self.position += length
        # A part of the file is smaller than the file, but for offset indexes, which may grow by some bytes.
        if self.position > 2 * self._payload_end:
            raise MalformedError("its column chunks overlap")
        return position

    def _read_struct(self, start: int, length: int) -> Struct:
        self._source.seek(start)
        return thrift.decode(self._source.read(length))[0]

    def _bloom_filter_length(self, start: int) -> int:
        """Of the header and the bitset, whose size is the header's first field."""
        self._source.seek(start)
        header, length = thrift.decode(self._source.read(256))
        return length + integer(header, 1, "the size of a bloom filter")
