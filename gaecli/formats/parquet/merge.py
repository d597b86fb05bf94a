"""Columns taken out of a footer's tree, and columns put behind those it has.

Every offset in a footer counts from the start of the file. So the bytes before the footer may stay as they
are, whatever is put behind them, and a chunk that moves by `delta` bytes needs `delta` added to each of its
offsets and nothing else (except in its offset index, see `relocate`).

A tree is never edited in place: what changes is copied, what does not is shared.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.copy_range import Copy
from gaecli.formats.parquet.footer import (
    CHUNK_OFFSETS,
    META_DATA_OFFSETS,
    ColumnChunk,
    ColumnMetaData,
    FileMetaData,
    Footer,
    RowGroup,
    SortingColumn,
)
from gaecli.formats.parquet.schema import SchemaElement
from gaecli.formats.parquet.thrift_compact import List, Struct


class Base(NamedTuple):
    """What new columns are put behind: the old ones, where they end, and the bytes to be copied."""

    tree: Struct
    payload_end: int
    copies: Sequence[Copy]


def without_columns(footer: Footer, dropped: Collection[int]) -> Struct:
    """The tree without these top-level columns; the bytes of their chunks become unreferenced."""
    tree = Struct(footer.tree)
    schema = tree.value(FileMetaData.SCHEMA)
    root = Struct(schema[0])
    root.put(SchemaElement.NUM_CHILDREN, thrift.I32, len(footer.columns) - len(dropped))
    spans = [span for index, span in enumerate(footer.elements) if index not in dropped]
    kept = [element for span in spans for element in schema[span.start : span.end]]
    tree.put(FileMetaData.SCHEMA, thrift.LIST, List(thrift.STRUCT, [root, *kept]))

    kept_leaves = [index for index, leaf in enumerate(footer.leaves) if leaf.column not in dropped]
    groups = [_without_leaves(group, kept_leaves) for group in footer.row_groups]
    tree.put(FileMetaData.ROW_GROUPS, thrift.LIST, List(thrift.STRUCT, groups))
    if orders := tree.value(FileMetaData.COLUMN_ORDERS):
        orders = List(thrift.STRUCT, [orders[index] for index in kept_leaves])
        tree.put(FileMetaData.COLUMN_ORDERS, thrift.LIST, orders)
    return tree


def _without_leaves(group: Struct, kept: Sequence[int]) -> Struct:
    group = Struct(group)
    chunks = group.value(RowGroup.COLUMNS)
    gone = [chunks[index] for index in set(range(len(chunks))).difference(kept)]
    _resize(group, [chunks[index] for index in kept], gone, -1)
    if sorting := group.value(RowGroup.SORTING_COLUMNS):
        moved_to = {old: new for new, old in enumerate(kept)}
        columns: list[Struct] = []
        for column in sorting:
            # A sort order holds up to the first column that is gone: those behind it only broke its ties.
            if column.value(SortingColumn.COLUMN_INDEX) not in moved_to:
                break
            columns.append(Struct(column))
            index = moved_to[column.value(SortingColumn.COLUMN_INDEX)]
            columns[-1].put(SortingColumn.COLUMN_INDEX, thrift.I32, index)
        group.put(RowGroup.SORTING_COLUMNS, thrift.LIST, List(thrift.STRUCT, columns))
    return group


def _resize(group: Struct, chunks: Sequence[Struct], changed: Sequence[Struct], sign: int) -> None:
    """Set a row group's chunks, and add the sizes of the `changed` ones to its totals, or take them off."""
    metas = [chunk.value(ColumnChunk.META_DATA) for chunk in changed]
    group.put(RowGroup.COLUMNS, thrift.LIST, List(thrift.STRUCT, chunks))
    for total, part in (
        (RowGroup.TOTAL_BYTE_SIZE, ColumnMetaData.TOTAL_UNCOMPRESSED_SIZE),
        (RowGroup.TOTAL_COMPRESSED_SIZE, ColumnMetaData.TOTAL_COMPRESSED_SIZE),
    ):
        if total in group:
            size = group.value(total) + sign * sum(meta.value(part) for meta in metas)
            group.put(total, thrift.I64, max(0, size))


def with_columns(tree: Struct, added: Struct, added_chunks: Sequence[Sequence[Struct]]) -> Struct:
    """The tree with the columns of the tree `added` behind its own.

    `added_chunks` has the new chunks of each row group, their offsets already those of the merged file.
    """
    tree = Struct(tree)
    schema = tree.value(FileMetaData.SCHEMA)
    added_schema = added.value(FileMetaData.SCHEMA)
    num_columns = sum(root.value(SchemaElement.NUM_CHILDREN, 0) for root in (schema[0], added_schema[0]))
    root = Struct(schema[0])
    root.put(SchemaElement.NUM_CHILDREN, thrift.I32, num_columns)
    tree.put(FileMetaData.SCHEMA, thrift.LIST, List(thrift.STRUCT, [root, *schema[1:], *added_schema[1:]]))

    groups: list[Struct] = []
    for group, chunks in zip(tree.value(FileMetaData.ROW_GROUPS), added_chunks, strict=True):
        groups.append(Struct(group))
        _resize(groups[-1], [*group.value(RowGroup.COLUMNS), *chunks], chunks, +1)
    tree.put(FileMetaData.ROW_GROUPS, thrift.LIST, List(thrift.STRUCT, groups))
    # A list of orders has one for each leaf. Where the source has none, statistics of min_value and max_value
    # are undefined for its readers; adding the list would vouch for those of the source.
    if FileMetaData.COLUMN_ORDERS in tree:
        orders = [*tree.value(FileMetaData.COLUMN_ORDERS), *added.value(FileMetaData.COLUMN_ORDERS, ())]
        tree.put(FileMetaData.COLUMN_ORDERS, thrift.LIST, List(thrift.STRUCT, orders))
    return tree


def without_empty_head(tree: Struct) -> Struct:
    """The tree without row groups that have no rows and come before all others.

    They hold nothing, and `datasets` takes the rows of the first one for the size of its batches: it refuses a
    file where that is 0.
    """
    groups = tree.value(FileMetaData.ROW_GROUPS)
    rows = (index for index, group in enumerate(groups) if group.value(RowGroup.NUM_ROWS))
    first = next(rows, len(groups))
    if first == 0:
        return tree
    tree = Struct(tree)
    tree.put(FileMetaData.ROW_GROUPS, thrift.LIST, List(thrift.STRUCT, groups[first:]))
    return tree


def shifted(chunk: Struct, delta: int) -> Struct:
    """The chunk after its pages, page indexes and bloom filter moved by `delta` bytes."""
    chunk = Struct(chunk)
    meta = Struct(chunk.value(ColumnChunk.META_DATA))
    for tree, fields in ((meta, META_DATA_OFFSETS), (chunk, CHUNK_OFFSETS)):
        for field_id in fields:
            if offset := tree.value(field_id, 0):  # 0 is where the magic is: not set
                tree.put(field_id, thrift.I64, offset + delta)
    chunk.put(ColumnChunk.META_DATA, thrift.STRUCT, meta)
    return chunk
