"""A mark on the column chunks that gaecli wrote, by which it knows that nobody wrote the file anew since.

Other writers carry the key-value metadata of a file over to what they make of it, provenance and all, and
where a column of numbers does not compress, what they write may have the very sizes and offsets of what was
there before. The metadata of a single chunk they do not carry over.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.footer import (
    ColumnChunk,
    ColumnMetaData,
    FileMetaData,
    Footer,
    KeyValue,
    RowGroup,
    fingerprint,
)
from gaecli.formats.parquet.thrift_compact import List, Struct

_KEY = b"gaecli"


def marked(chunks: Sequence[Sequence[Struct]]) -> list[list[Struct]]:
    """The chunks of each row group with the mark in their metadata."""
    return [[_marked(chunk) for chunk in group] for group in chunks]


def with_marked_columns(footer: Footer, columns: Collection[str]) -> Struct:
    """The tree with the mark on the chunks of these top-level columns."""
    positions = footer.positions(columns)
    groups = []
    for group in footer.row_groups:
        chunks = [
            _marked(chunk) if leaf.column in positions else chunk
            for leaf, chunk in zip(footer.leaves, group.value(RowGroup.COLUMNS), strict=True)
        ]
        groups.append(Struct(group))
        groups[-1].put(RowGroup.COLUMNS, thrift.LIST, List(thrift.STRUCT, chunks))
    tree = Struct(footer.tree)
    tree.put(FileMetaData.ROW_GROUPS, thrift.LIST, List(thrift.STRUCT, groups))
    return tree


def payload_fingerprint(footer: Footer, own_columns: Collection[str]) -> str:
    """A digest of all but gaecli's own columns; another one where these are not as gaecli wrote them."""
    found = fingerprint(footer, own_columns)
    return found if is_marked(footer, own_columns) else f"{found} rewritten"


def is_marked(footer: Footer, columns: Collection[str]) -> bool:
    """Whether every chunk of these top-level columns has the mark."""
    positions = footer.positions(columns)
    return all(
        _has_mark(chunk)
        for group in footer.row_groups
        for leaf, chunk in zip(footer.leaves, group.value(RowGroup.COLUMNS), strict=True)
        if leaf.column in positions
    )


def _marked(chunk: Struct) -> Struct:
    chunk, meta = Struct(chunk), Struct(chunk.value(ColumnChunk.META_DATA))
    pair = Struct({KeyValue.KEY: (thrift.BINARY, _KEY), KeyValue.VALUE: (thrift.BINARY, b"spliced")})
    meta.put(ColumnMetaData.KEY_VALUE_METADATA, thrift.LIST, List(thrift.STRUCT, [pair]))
    chunk.put(ColumnChunk.META_DATA, thrift.STRUCT, meta)
    return chunk


def _has_mark(chunk: Struct) -> bool:
    pairs = chunk.value(ColumnChunk.META_DATA).value(ColumnMetaData.KEY_VALUE_METADATA, ())
    return isinstance(pairs, List) and any(
        isinstance(pair, Struct) and pair.value(KeyValue.KEY) == _KEY for pair in pairs
    )
