"""A Parquet file read and encoded anew with pyarrow, for a footer in a form that is not edited byte by byte.

What pyarrow does not keep by itself is asked for through the arguments of its writer, or put back into the
footer that it wrote:

    asked for   row groups, codec, dictionary and bloom filter of each leaf, page index, version of the pages
    put back    key-value metadata, format version, sort order
    as read     types (`ARROW:schema` decides them), field metadata and field ids
    pyarrow's   encodings other than plain and dictionary, page sizes, compression levels, statistics

One row group is held in memory at a time: pyarrow writes them whole.
"""

from __future__ import annotations

import inspect
import io
import math
import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from gaecli.errors import FileError
from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.footer import (
    ColumnChunk,
    ColumnMetaData,
    FileMetaData,
    Footer,
    RowGroup,
    codec_name,
    read_open_footer,
)
from gaecli.formats.parquet.merge import without_columns
from gaecli.formats.parquet.schema import SchemaElement
from gaecli.formats.parquet.thrift_compact import List, Struct

_READ_BUFFER_BYTES = 8 << 20
_INT96 = 3
_PLAIN_DICTIONARY, _RLE_DICTIONARY = 2, 8
_DATA_PAGE_V2 = 3


def reencode(
    path: Path, source: BinaryIO, footer: Footer, dropped: Collection[int], temporary: Path
) -> Footer:
    """Write the file without the dropped columns to `temporary`; returns the new footer.

    Raises:
        FileError: if pyarrow cannot read or write a column.
    """
    if not os.path.samestat(os.fstat(source.fileno()), path.stat()):
        raise FileError(f"`{path}` was changed while it was read", hint="run again once nothing writes to it")
    kept = [index for index in range(len(footer.columns)) if index not in dropped]
    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=_READ_BUFFER_BYTES) as reader:
            schema = pa.schema([reader.schema_arrow.field(index) for index in kept])
            options = _writer_options(source, footer, dropped, schema)
            with pq.ParquetWriter(temporary, schema, **options) as writer:
                for group in range(reader.metadata.num_row_groups):
                    table = reader.read_row_group(group)
                    columns = [table.column(index) for index in kept]
                    kept_table = pa.Table.from_arrays(columns, schema=schema)
                    writer.write_table(kept_table, row_group_size=max(table.num_rows, 1))
    except (pa.ArrowException, OSError, OverflowError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FileError(f"`{path}` cannot be written anew: {error}", hint="use `--sidecar`") from error
    with temporary.open("rb", buffering=0) as written:
        return _with_facts_of(footer, dropped, read_open_footer(written, str(temporary)))


class _RewrittenLeaf:
    """A leaf column of the source with its chunks, under the path that it has in the new file."""

    def __init__(self, path: str, old_path: tuple[str, ...], chunks: Sequence[Struct]) -> None:
        self.path = path
        self.old_path = old_path
        self.metas: list[Struct] = [chunk.value(ColumnChunk.META_DATA) for chunk in chunks]

    @property
    def codec(self) -> str:
        counts = Counter(codec_name(meta) for meta in self.metas)
        return counts.most_common(1)[0][0] if counts else "SNAPPY"

    @property
    def has_dictionary(self) -> bool:
        codes = chain.from_iterable(meta.value(ColumnMetaData.ENCODINGS) for meta in self.metas)
        return any(code in (_PLAIN_DICTIONARY, _RLE_DICTIONARY) for code in codes)

    @property
    def bloom_filter(self) -> dict[str, float] | None:
        """The arguments that give a filter of the same size.

        A filter for n distinct values and false positives at rate f has -8 n / ln(1 - f^(1/8)) bits, rounded
        up to a power of two. The header stores the bits alone, so f is taken at its usual value.
        """
        metas = [meta for meta in self.metas if meta.value(ColumnMetaData.BLOOM_FILTER_OFFSET)]
        if not metas:
            return None
        num_bytes = max(meta.value(ColumnMetaData.BLOOM_FILTER_LENGTH, 0) for meta in metas)
        if not num_bytes:
            return {}
        rate = 0.05
        num_bits = 8 << (num_bytes.bit_length() - 1)  # less the header, which is far shorter than the bits
        return {"ndv": max(1, int(-num_bits * math.log(1 - rate ** (1 / 8)) / 8)), "fpp": rate}


def _writer_options(
    source: BinaryIO, footer: Footer, dropped: Collection[int], schema: pa.Schema
) -> dict[str, Any]:
    """Arguments of `ParquetWriter` that keep what can be kept."""
    kept = [index for index, leaf in enumerate(footer.leaves) if leaf.column not in dropped]
    chunks = [group.value(RowGroup.COLUMNS) for group in footer.row_groups]
    old_paths = [footer.leaves[index].path for index in kept]
    # The same Arrow schema makes the same leaves in the same order.
    paths = _leaf_paths(schema)
    options: dict[str, Any] = {
        "version": "2.6",  # physical types stay as they are; the number itself is put back
        "use_compliant_nested_type": False,  # names within lists stay as read, compliant or not
        "write_page_index": footer.has_page_index,
        "store_schema": False,  # the old one is put back
        "data_page_version": "2.0" if _has_pages_v2(source, footer) else "1.0",
        "use_deprecated_int96_timestamps": _has_int96(footer, dropped),
    }
    if len(paths) != len(old_paths):
        return options
    leaves = [
        _RewrittenLeaf(path, old_path, [group[index] for group in chunks])
        for path, old_path, index in zip(paths, old_paths, kept, strict=True)
    ]
    options["compression"] = {leaf.path: _writable(leaf.codec) for leaf in leaves}
    options["use_dictionary"] = [leaf.path for leaf in leaves if leaf.has_dictionary]
    filters = {leaf.path: leaf.bloom_filter for leaf in leaves if leaf.bloom_filter is not None}
    if filters and "bloom_filter_options" in inspect.signature(pq.ParquetWriter).parameters:
        options["bloom_filter_options"] = filters
    return options


def _writable(codec: str) -> str:
    """LZO and Hadoop's LZ4 can only be read."""
    return {"LZO": "SNAPPY", "LZ4_HADOOP": "LZ4"}.get(codec, codec)


def _leaf_paths(schema: pa.Schema) -> list[str]:
    """The dotted leaf paths that pyarrow's writer makes of a schema."""
    sink = io.BytesIO()
    pq.ParquetWriter(sink, schema, use_compliant_nested_type=False, store_schema=False).close()
    written = pq.ParquetFile(sink).schema
    return [written.column(index).path for index in range(len(written))]


def _has_int96(footer: Footer, dropped: Collection[int]) -> bool:
    """pyarrow writes all timestamps as INT96, or none."""
    schema = footer.tree.value(FileMetaData.SCHEMA)
    spans = [span for index, span in enumerate(footer.elements) if index not in dropped]
    types = {element.value(SchemaElement.TYPE) for span in spans for element in schema[span.start : span.end]}
    return _INT96 in types


def _has_pages_v2(source: BinaryIO, footer: Footer) -> bool:
    """Whether the first data page of the file says so in its header."""
    for chunk in footer.chunks():
        meta = chunk.value(ColumnChunk.META_DATA)
        if meta.value(ColumnMetaData.NUM_VALUES):
            source.seek(meta.value(ColumnMetaData.DATA_PAGE_OFFSET))
            try:
                header, _ = thrift.decode(source.read(1 << 16))
            except thrift.ThriftError:
                return False
            return bool(header.value(1) == _DATA_PAGE_V2)
    return False


def _with_facts_of(old: Footer, dropped: Collection[int], new: Footer) -> Footer:
    """The new footer with the format version and the sort order of the old one.

    Key-value metadata is put there by whoever adds the columns, from the old file's.
    """
    expected = without_columns(old, dropped)
    tree = Struct(new.tree)
    version = FileMetaData.VERSION
    if version in expected:
        tree[version] = expected[version]
    groups: list[Struct] = []
    for group, old_group in zip(new.row_groups, expected.value(FileMetaData.ROW_GROUPS), strict=True):
        groups.append(Struct(group))
        if RowGroup.SORTING_COLUMNS in old_group:
            groups[-1].put(RowGroup.SORTING_COLUMNS, *old_group[RowGroup.SORTING_COLUMNS])
    tree.put(FileMetaData.ROW_GROUPS, thrift.LIST, List(thrift.STRUCT, groups))
    return replace(new, tree=tree, is_canonical=False, _fingerprints={})
