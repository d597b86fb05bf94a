"""Which bytes of a file are there, and which are needed: half-open ranges in order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from gaecli.formats.parquet.footer import ColumnChunk, RowGroup, chunk_extents, read_footer
from gaecli.formats.parquet.thrift_compact import Struct

Range = tuple[int, int]


def merged(extents: Iterable[Range]) -> list[Range]:
    """The same bytes in as few ranges as possible."""
    whole: list[Range] = []
    for start, end in sorted(extents):
        if whole and start <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(end, whole[-1][1]))
        elif end > start:
            whole.append((start, end))
    return whole


def missing(wanted: Iterable[Range], present: Iterable[Range]) -> list[Range]:
    """The wanted bytes that are not there."""
    left = merged(wanted)
    for start, end in merged(present):
        left = [
            part
            for first, last in left
            for part in ((first, min(last, start)), (max(first, end), last))
            if part[0] < part[1]
        ]
    return left


class Chunks(NamedTuple):
    """Where a Parquet file keeps its columns."""

    #: Name of each column chunk of a row group; of leaves, that of the column at the top.
    names: Sequence[str]
    #: By row group, then as `names`: pages, page indexes, bloom filter.
    extents: Sequence[Sequence[Sequence[Range]]]


def chunks_of(path: Path) -> Chunks:
    footer = read_footer(path)
    return Chunks(
        [footer.columns[leaf.column] for leaf in footer.leaves],
        [[_extents(chunk) for chunk in group.value(RowGroup.COLUMNS)] for group in footer.row_groups],
    )


def _extents(chunk: Struct) -> list[Range]:
    """None are here where the bytes are in another file."""
    if ColumnChunk.META_DATA not in chunk:
        return []
    return [(extent.start, extent.end) for extent in chunk_extents(chunk)]


def column_extents(chunks: Chunks, names: Collection[str], row_groups: Collection[int] = ()) -> list[Range]:
    """Those of these columns, of some row groups or of all; `infos.value` is in the top-level column `infos`."""
    wanted = [
        any(name == column or name.startswith(f"{column}.") for name in names) for column in chunks.names
    ]
    return [
        extent
        for number in row_groups or range(len(chunks.extents))
        for extents, is_wanted in zip(chunks.extents[number], wanted, strict=True)
        if is_wanted
        for extent in extents
    ]
