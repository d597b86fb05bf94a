"""A Parquet footer as a Thrift tree, checked against itself and against the size of its file.

    file = "PAR1" · column chunks, page indexes, bloom filters · footer · footer length (4 bytes) · "PAR1"

Whatever a footer says of a file is checked in `read_footer`, and code that is given a `Footer` relies on it:
fields are there and of their type, sizes and offsets are not negative and lie within the file, every row
group has a chunk for every leaf of the schema, and rows add up.

https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection
from dataclasses import field
from pathlib import Path
from typing import BinaryIO

from gaecli.errors import FileError
from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.schema import (
    BYTE_ARRAY,
    Extent,
    Leaf,
    MalformedError,
    check_integers,
    integer,
    integers,
    require,
    structs,
    walk_schema,
)
from gaecli.formats.parquet.thrift_compact import Struct
from gaecli.records import dataclass

MAGIC = b"PAR1"
ENCRYPTED_MAGIC = b"PARE"
TAIL_SIZE = 8
#: Twice what `thrift_compact.MAX_TREE_UNITS` lets through of footers that are met.
MAX_FOOTER_BYTES = 256 << 20
_FIRST_READ = 64 << 10
#: Of footers that are kept, as they are in their files: parsed they take a hundred times as much.
_KEPT_BYTES = 32 << 10


class FileMetaData:
    """Field ids of the footer."""

    VERSION, SCHEMA, NUM_ROWS, ROW_GROUPS, KEY_VALUE_METADATA, CREATED_BY, COLUMN_ORDERS = range(1, 8)
    ENCRYPTION_ALGORITHM = 8


class RowGroup:
    COLUMNS, TOTAL_BYTE_SIZE, NUM_ROWS, SORTING_COLUMNS, FILE_OFFSET, TOTAL_COMPRESSED_SIZE = range(1, 7)


class ColumnChunk:
    FILE_PATH, FILE_OFFSET, META_DATA, OFFSET_INDEX_OFFSET, OFFSET_INDEX_LENGTH = range(1, 6)
    COLUMN_INDEX_OFFSET, COLUMN_INDEX_LENGTH, CRYPTO_METADATA, ENCRYPTED_META_DATA = range(6, 10)


class ColumnMetaData:
    TYPE, ENCODINGS, PATH_IN_SCHEMA, CODEC, NUM_VALUES, TOTAL_UNCOMPRESSED_SIZE = range(1, 7)
    TOTAL_COMPRESSED_SIZE, KEY_VALUE_METADATA, DATA_PAGE_OFFSET, INDEX_PAGE_OFFSET = range(7, 11)
    DICTIONARY_PAGE_OFFSET, STATISTICS, ENCODING_STATS, BLOOM_FILTER_OFFSET = range(11, 15)
    BLOOM_FILTER_LENGTH, SIZE_STATISTICS = range(15, 17)


class Statistics:
    MAX, MIN, NULL_COUNT, DISTINCT_COUNT, MAX_VALUE, MIN_VALUE = range(1, 7)


class SizeStatistics:
    UNENCODED_BYTES, REPETITION_LEVELS, DEFINITION_LEVELS = range(1, 4)


class SortingColumn:
    COLUMN_INDEX = 1


class KeyValue:
    KEY, VALUE = 1, 2


#: The codecs by their number in a footer, under the names that pyarrow's writer takes ("LZ4" means LZ4_RAW).
CODECS = ("NONE", "SNAPPY", "GZIP", "LZO", "BROTLI", "LZ4_HADOOP", "ZSTD", "LZ4")

_SIZES = (
    ColumnMetaData.CODEC,
    ColumnMetaData.NUM_VALUES,
    ColumnMetaData.TOTAL_UNCOMPRESSED_SIZE,
    ColumnMetaData.TOTAL_COMPRESSED_SIZE,
    ColumnMetaData.DATA_PAGE_OFFSET,
)
_INDEX_LENGTHS = (ColumnChunk.OFFSET_INDEX_LENGTH, ColumnChunk.COLUMN_INDEX_LENGTH)
_FINGERPRINTED = (
    ColumnMetaData.DATA_PAGE_OFFSET,
    ColumnMetaData.DICTIONARY_PAGE_OFFSET,
    ColumnMetaData.TOTAL_COMPRESSED_SIZE,
    ColumnMetaData.NUM_VALUES,
    ColumnMetaData.ENCODINGS,
    ColumnMetaData.CODEC,
)
CHUNK_OFFSETS = (ColumnChunk.FILE_OFFSET, ColumnChunk.OFFSET_INDEX_OFFSET, ColumnChunk.COLUMN_INDEX_OFFSET)
META_DATA_OFFSETS = (
    ColumnMetaData.DATA_PAGE_OFFSET,
    ColumnMetaData.INDEX_PAGE_OFFSET,
    ColumnMetaData.DICTIONARY_PAGE_OFFSET,
    ColumnMetaData.BLOOM_FILTER_OFFSET,
)


@dataclass(frozen=True, eq=False)
class Footer:
    """A footer that was checked against itself and against the size of its file."""

    tree: Struct
    raw: bytes
    start: int
    columns: tuple[str, ...]
    elements: tuple[Extent, ...]  # for each top-level column, its slice of the schema list
    leaves: tuple[Leaf, ...]
    #: Whether the tree encodes to the very bytes that it was read from.
    is_canonical: bool
    #: By the positions of the columns that are ignored: see `fingerprint`.
    _fingerprints: dict[frozenset[int], str] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """Of the file that ends in it."""
        return self.start + len(self.raw) + TAIL_SIZE

    @property
    def row_groups(self) -> list[Struct]:
        groups: list[Struct] = self.tree.value(FileMetaData.ROW_GROUPS)
        return groups

    @property
    def row_group_rows(self) -> list[int]:
        return [group.value(RowGroup.NUM_ROWS) for group in self.row_groups]

    @property
    def pairs(self) -> dict[bytes, bytes | None]:
        """The key-value metadata; of a repeated key the last, as readers see it."""
        found = self.tree.value(FileMetaData.KEY_VALUE_METADATA, ())
        return {pair.value(KeyValue.KEY): pair.value(KeyValue.VALUE) for pair in found}

    @property
    def has_page_index(self) -> bool:
        return any(ColumnChunk.OFFSET_INDEX_OFFSET in chunk for chunk in self.chunks())

    def chunks(self) -> list[Struct]:
        return [chunk for group in self.row_groups for chunk in group.value(RowGroup.COLUMNS)]

    def positions(self, names: Collection[str]) -> set[int]:
        """The positions of the top-level columns with one of these names."""
        return {index for index, name in enumerate(self.columns) if name in names}


def read_footer(path: Path) -> Footer:
    """Read and check the footer of a file.

    Raises:
        FileError: as `read_open_footer`.
        OSError: if the file cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        return read_open_footer(file, str(path))


def read_open_footer(file: BinaryIO, name: str) -> Footer:
    """Read and check the footer of an open file; `name` is for messages.

    Raises:
        FileError: if it is no Parquet file, or is encrypted, or its footer contradicts itself or the file.
    """
    return read_footer_ending_at(file, file.seek(0, 2), name)


def read_footer_ending_at(file: BinaryIO, size: int, name: str) -> Footer:
    """The footer of what the file would be if it ended at `size`. Raises as `read_open_footer`."""
    tail = _read_at(file, max(0, size - _FIRST_READ), size)
    if tail[-4:] == ENCRYPTED_MAGIC:
        raise encrypted(name) from _EncryptedError()
    if size < TAIL_SIZE + len(MAGIC) or tail[-4:] != MAGIC:
        raise FileError(
            f"`{name}` is not a Parquet file, or is cut short: it does not end in `PAR1`",
            hint="write or download the file again",
        )
    start = size - TAIL_SIZE - int.from_bytes(tail[-TAIL_SIZE:-4], "little")
    if start < len(MAGIC):
        raise _damaged(name, "the footer is said to be longer than the file")
    if start >= size - len(tail):
        raw = tail[start - (size - len(tail)) : -TAIL_SIZE]
    elif size - start > MAX_FOOTER_BYTES:
        raise _damaged(name, f"it is longer than {MAX_FOOTER_BYTES >> 20} MiB")
    else:
        raw = _read_at(file, start, size - TAIL_SIZE)
    try:
        return _footers.parsed(raw, start)
    except _EncryptedError as error:
        raise encrypted(name) from error
    except ValueError as error:
        raise _damaged(name, str(error)) from error


class _Footers:
    """The last footers that were read.

    A file is opened, fingerprinted and written one after the other, several of them at a time, and the footer of a
    wide one takes seconds to parse. Nobody changes a tree that was read.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[bytes, int], Footer] = {}
        self._num_bytes = 0
        self._lock = threading.Lock()

    def parsed(self, raw: bytes, start: int) -> Footer:
        key = raw, start
        with self._lock:
            found = self._kept.get(key)
        if found is not None:
            return found
        found = parse_footer(raw, start)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = found
                self._num_bytes += len(raw)
            while self._num_bytes > _KEPT_BYTES and len(self._kept) > 1:
                oldest = next(iter(self._kept))
                del self._kept[oldest]
                self._num_bytes -= len(oldest[0])
        return found


_footers = _Footers()


def parse_footer(raw: bytes, start: int) -> Footer:
    """The footer in `raw`, which stands at offset `start` of its file. Raises ValueError."""
    tree, length, is_shortest = thrift.decoded(raw)
    if FileMetaData.ENCRYPTION_ALGORITHM in tree:
        raise _EncryptedError
    elements, leaves, columns = walk_schema(structs(tree, FileMetaData.SCHEMA, "the schema"))
    groups = structs(tree, FileMetaData.ROW_GROUPS, "the list of row groups")
    for group in groups:
        _check_row_group(group, leaves, start)
    num_rows = integer(tree, FileMetaData.NUM_ROWS, "the number of rows")
    in_groups = sum(group.value(RowGroup.NUM_ROWS) for group in groups)
    if num_rows != in_groups:
        raise MalformedError(f"the footer counts {num_rows} rows, its row groups {in_groups}")
    if FileMetaData.KEY_VALUE_METADATA in tree:
        for pair in structs(tree, FileMetaData.KEY_VALUE_METADATA, "the key-value metadata"):
            require(pair, KeyValue.KEY, (thrift.BINARY,), "a metadata key")
            if KeyValue.VALUE in pair:
                require(pair, KeyValue.VALUE, (thrift.BINARY,), "a metadata value")
    if FileMetaData.COLUMN_ORDERS in tree:
        orders = structs(tree, FileMetaData.COLUMN_ORDERS, "the list of column orders")
        if len(orders) != len(leaves):
            raise MalformedError(f"there are {len(orders)} column orders for {len(leaves)} columns")
    # Bytes behind the struct are part of `raw`.
    return Footer(tree, raw, start, columns, elements, leaves, is_shortest and length == len(raw))


class _EncryptedError(MalformedError):
    pass


def is_encrypted(path: Path) -> bool:
    """Whether a file is encrypted, in part or with its footer."""
    try:
        read_footer(path)
    except FileError as error:
        return isinstance(error.__cause__, _EncryptedError)
    except OSError:
        pass
    return False


def encrypted(name: str) -> FileError:
    return FileError(f"`{name}` is encrypted, which gaecli cannot read", hint="decrypt it first")


def _damaged(name: str, reason: str) -> FileError:
    return FileError(f"the Parquet footer of `{name}` is damaged: {reason}", hint="write the file again")


def _read_at(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def _check_row_group(group: Struct, leaves: tuple[Leaf, ...], payload_end: int) -> None:
    chunks = structs(group, RowGroup.COLUMNS, "the list of columns of a row group")
    if len(chunks) != len(leaves):
        raise MalformedError(f"a row group has {len(chunks)} columns, the schema {len(leaves)}")
    integer(group, RowGroup.NUM_ROWS, "the number of rows of a row group")
    integer(group, RowGroup.TOTAL_BYTE_SIZE, "the size of a row group")
    for field_id in (RowGroup.FILE_OFFSET, RowGroup.TOTAL_COMPRESSED_SIZE):
        integer(group, field_id, "the size of a row group", 0)
    if RowGroup.SORTING_COLUMNS in group:
        for column in structs(group, RowGroup.SORTING_COLUMNS, "the sorting columns"):
            integer(column, SortingColumn.COLUMN_INDEX, "a sorting column")
    for chunk, leaf in zip(chunks, leaves, strict=True):
        _check_chunk(chunk, leaf, payload_end)


def _check_chunk(chunk: Struct, leaf: Leaf, payload_end: int) -> None:
    if ColumnChunk.CRYPTO_METADATA in chunk or ColumnChunk.ENCRYPTED_META_DATA in chunk:
        raise _EncryptedError
    if ColumnChunk.FILE_PATH in chunk:
        raise MalformedError("its columns lie in another file")
    require(chunk, ColumnChunk.META_DATA, (thrift.STRUCT,), "the metadata of a column chunk")
    meta: Struct = chunk.value(ColumnChunk.META_DATA)
    if integer(meta, ColumnMetaData.TYPE, "the type of a column chunk") != leaf.type:
        raise MalformedError(f"`{'.'.join(leaf.path)}` is of another type in a row group than in the schema")
    integers(meta, ColumnMetaData.ENCODINGS, "the list of encodings")
    check_integers(meta, _SIZES, "a size or offset of a column chunk")
    for tree, fields in ((meta, META_DATA_OFFSETS), (chunk, CHUNK_OFFSETS)):
        check_integers(tree, fields, "an offset of a column chunk", may_lack=True)
        for field_id in fields:
            # The file offset is deprecated, unused, and was taken to mean several things.
            if tree.value(field_id, 0) > payload_end and field_id != ColumnChunk.FILE_OFFSET:
                raise MalformedError("a column chunk lies outside the file")
    bloom = (ColumnMetaData.BLOOM_FILTER_LENGTH,)
    check_integers(meta, bloom, "the length of a bloom filter", may_lack=True)
    check_integers(chunk, _INDEX_LENGTHS, "the length of a page index", may_lack=True)
    if ColumnMetaData.ENCODING_STATS in meta:
        structs(meta, ColumnMetaData.ENCODING_STATS, "the encoding statistics")
    if ColumnMetaData.STATISTICS in meta:
        require(meta, ColumnMetaData.STATISTICS, (thrift.STRUCT,), "the statistics of a column chunk")
    if ColumnMetaData.SIZE_STATISTICS in meta:
        require(
            meta, ColumnMetaData.SIZE_STATISTICS, (thrift.STRUCT,), "the size statistics of a column chunk"
        )
        _check_sizes(meta.value(ColumnMetaData.SIZE_STATISTICS), leaf)
    if any(extent.end > payload_end for extent in chunk_extents(chunk)):
        raise MalformedError("a column chunk lies outside the file")


def _check_sizes(sizes: Struct, leaf: Leaf) -> None:
    """Levels that are counted have to be those of the column: readers take their number on trust, or end."""
    if SizeStatistics.UNENCODED_BYTES in sizes:
        integer(sizes, SizeStatistics.UNENCODED_BYTES, "the size of texts")
        if leaf.type != BYTE_ARRAY:
            raise MalformedError(f"`{'.'.join(leaf.path)}` counts the bytes of texts, and holds none")
    for field_id, deepest in (
        (SizeStatistics.REPETITION_LEVELS, leaf.max_repetition),
        (SizeStatistics.DEFINITION_LEVELS, leaf.max_definition),
    ):
        if field_id in sizes:
            counts = integers(sizes, field_id, "a histogram of levels")
            if counts and len(counts) != deepest + 1:
                name = ".".join(leaf.path)
                raise MalformedError(
                    f"a histogram counts {len(counts)} levels of `{name}`, which has {deepest + 1}"
                )


def codec_name(meta: Struct) -> str:
    """The codec of a chunk, given its metadata; empty for one that this version of the format lacks."""
    code: int = meta.value(ColumnMetaData.CODEC)
    return CODECS[code] if code < len(CODECS) else ""


def data_extent(chunk: Struct) -> Extent:
    """Where a chunk's pages are: its dictionary comes first where there is one."""
    meta: Struct = chunk.value(ColumnChunk.META_DATA)
    start: int = meta.value(ColumnMetaData.DATA_PAGE_OFFSET)
    dictionary: int = meta.value(ColumnMetaData.DICTIONARY_PAGE_OFFSET, 0)
    # 0 stands for "none": some writers put it for no dictionary, pyarrow for no data page (without rows).
    if dictionary and (dictionary < start or not start):
        start = dictionary
    return Extent(start, start + meta.value(ColumnMetaData.TOTAL_COMPRESSED_SIZE))


def chunk_extents(chunk: Struct) -> list[Extent]:
    """All bytes that belong to a chunk: pages, page indexes, bloom filter (its length may be unknown: 0)."""
    meta: Struct = chunk.value(ColumnChunk.META_DATA)
    extents = [extent for extent in (data_extent(chunk),) if extent.end > extent.start]
    for tree, offset, length in (
        (chunk, ColumnChunk.OFFSET_INDEX_OFFSET, ColumnChunk.OFFSET_INDEX_LENGTH),
        (chunk, ColumnChunk.COLUMN_INDEX_OFFSET, ColumnChunk.COLUMN_INDEX_LENGTH),
        (meta, ColumnMetaData.BLOOM_FILTER_OFFSET, ColumnMetaData.BLOOM_FILTER_LENGTH),
    ):
        if start := tree.value(offset, 0):
            extents.append(Extent(start, start + tree.value(length, 0)))
    return extents


def stands_behind(footer: Footer, columns: Collection[int], payload_end: int) -> bool:
    """Whether the chunks of these top-level columns, and no others, lie behind `payload_end`."""
    for group in footer.row_groups:
        for leaf, chunk in zip(footer.leaves, group.value(RowGroup.COLUMNS), strict=True):
            for extent in chunk_extents(chunk):
                if leaf.column in columns and extent.start < payload_end:
                    return False
                if leaf.column not in columns and extent.end > payload_end:
                    return False
    return True


def fingerprint(footer: Footer, ignore_columns: Collection[str] = ()) -> str:
    """A digest of where and what the data is, apart from the ignored top-level columns.

    It stays the same when columns are spliced to a file, and changes when the others are written anew.
    Row groups without rows before all others hold no data.
    """
    ignored = frozenset(footer.positions(ignore_columns))
    known = footer._fingerprints
    if ignored not in known:
        known[ignored] = _fingerprint(footer, ignored)
    return known[ignored]


def _fingerprint(footer: Footer, ignored: Collection[int]) -> str:
    rows = footer.row_group_rows
    first = next((index for index, count in enumerate(rows) if count), len(rows))
    digest = hashlib.sha256(repr(rows[first:]).encode())
    schema = footer.tree.value(FileMetaData.SCHEMA)
    for column, span in enumerate(footer.elements):
        if column not in ignored:
            for element in schema[span.start : span.end]:
                digest.update(getattr(element, "encoded", None) or thrift.encode(element))
    for group in footer.row_groups[first:]:
        for leaf, chunk in zip(footer.leaves, group.value(RowGroup.COLUMNS), strict=True):
            if leaf.column not in ignored:
                meta = chunk.value(ColumnChunk.META_DATA)
                facts = [meta.value(field_id) for field_id in _FINGERPRINTED]
                digest.update(repr((leaf.path, facts)).encode("utf-8", "surrogateescape"))
                statistics = meta.value(ColumnMetaData.STATISTICS)
                if isinstance(statistics, Struct):  # new numbers can take the very space of the old ones
                    digest.update(thrift.encode(statistics))
    return digest.hexdigest()
