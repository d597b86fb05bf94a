"""Which bytes of a file are there, and which are needed: half-open ranges in order."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from gaecli.formats.parquet.footer import ColumnChunk, RowGroup, chunk_extents, read_footer

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


def column_extents(path: Path, names: Collection[str]) -> list[Range]:
    """Where a Parquet file keeps columns; `infos.value` is in the top-level column `infos`."""
    footer = read_footer(path)
    wanted = {
        index
        for index, column in enumerate(footer.columns)
        if any(name == column or name.startswith(f"{column}.") for name in names)
    }
    return [
        (extent.start, extent.end)
        for group in footer.row_groups
        for leaf, chunk in zip(footer.leaves, group.value(RowGroup.COLUMNS), strict=True)
        if leaf.column in wanted and ColumnChunk.META_DATA in chunk
        for extent in chunk_extents(chunk)
    ]
