"""New columns that are encoded in parts, each of some row groups, before one writer puts them together.

A part is a Parquet file that holds nothing but the new columns of its row groups:

    "PAR1" · pages of its row groups · their page indexes · numbers · footer · its length · "PAR1"

The new file has the pages of all parts one after the other, then the page indexes of all of them: that is what one
stream would have been (`pieces`). The pages of a part are one run of bytes, so that a store can put them there
itself, and whoever makes the file reads no more of a part than what comes behind them. The numbers are whatever
else it needs of those rows: samples of columns, which are too many to be told by a task.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from gaecli.array_types import FloatArray
from gaecli.formats.base import LeftOut
from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.column_stream import ColumnStream, create_like
from gaecli.formats.parquet.copy_range import write_at
from gaecli.formats.parquet.footer import (
    MAGIC,
    ColumnChunk,
    ColumnMetaData,
    FileMetaData,
    Footer,
    RowGroup,
    data_extent,
    read_footer,
    read_open_footer,
)
from gaecli.formats.parquet.pieces import PieceStream, merge_pieces
from gaecli.formats.parquet.schema import Extent
from gaecli.formats.parquet.thrift_compact import List, Struct


class RowGroupsWriter:
    """Writes the part of some row groups, from the rows of the new columns in their order.

    Args:
        source: the file that will have the new columns.
        temporary: written from its beginning; deleted by `abort`.
        groups: numbers of row groups, one after the other.
    """

    def __init__(self, source: Path, temporary: Path, schema: pa.Schema, groups: Sequence[int]) -> None:
        footer = read_footer(source)
        self._rows = [footer.row_group_rows[index] for index in groups]
        with contextlib.ExitStack() as undo:
            with source.open("rb") as file:
                self._target = undo.enter_context(create_like(temporary, file))
            undo.callback(temporary.unlink, missing_ok=True)
            self._target.write(MAGIC)
            self._stream = ColumnStream(temporary, len(MAGIC), schema, footer, groups)
            undo.callback(self._stream.abandon)
            self._undo = undo.pop_all()

    def write(self, columns: pa.RecordBatch) -> None:
        self._stream.write(pa.Table.from_batches([columns]))

    def finish(self, numbers: FloatArray) -> None:
        """Complete the part. After an error only `abort` is left."""
        added, chunks, end = self._stream.finish(self._target)
        tree = Struct(added)
        groups = [_row_group(*one) for one in zip(chunks, self._rows, strict=True)]
        tree.put(FileMetaData.ROW_GROUPS, thrift.LIST, List(thrift.STRUCT, groups))
        tree.put(FileMetaData.NUM_ROWS, thrift.I64, sum(self._rows))
        footer = thrift.encode(tree)
        write_at(self._target, numbers.tobytes(), end)
        end += numbers.nbytes
        write_at(self._target, footer + len(footer).to_bytes(4, "little") + MAGIC, end)
        self._target.truncate(self._target.tell())
        self._stream.close()
        self._target.close()
        self._undo.pop_all()

    def abort(self) -> None:
        """Stop, close what is open and delete the part. Does nothing after `finish`."""
        self._undo.close()


def _row_group(chunks: Sequence[Struct], num_rows: int) -> Struct:
    sizes = [
        chunk.value(ColumnChunk.META_DATA).value(ColumnMetaData.TOTAL_UNCOMPRESSED_SIZE) for chunk in chunks
    ]
    return Struct(
        {
            RowGroup.COLUMNS: (thrift.LIST, List(thrift.STRUCT, chunks)),
            RowGroup.TOTAL_BYTE_SIZE: (thrift.I64, sum(sizes)),
            RowGroup.NUM_ROWS: (thrift.I64, num_rows),
        }
    )


class PartStream:
    """The new columns of a file, from parts that come in the order of its rows: in the place of `ColumnStream`."""

    def __init__(self, start: int, schema: pa.Schema, footer: Footer) -> None:
        self._start = start
        self._names = schema.names
        self._rows = footer.row_group_rows
        self._streams: list[PieceStream] = []
        self._paths: list[Path] = []
        self._files = contextlib.ExitStack()
        #: Once it is finished: the pages that are put there by somebody else.
        self.left_out: list[LeftOut] = []

    def place(self, path: Path, *, leaves_pages: bool) -> None:
        file: BinaryIO = self._files.enter_context(path.open("rb", buffering=0))
        footer = read_open_footer(file, str(path))
        if list(footer.columns) != self._names:
            raise ValueError(f"columns {footer.columns} are not the announced {self._names}")
        pieces = [[count] for count in footer.row_group_rows]
        self._streams.append(PieceStream(file, str(path), footer, pieces, leaves_pages))
        self._paths.append(path)

    def finish(self, target: BinaryIO) -> tuple[Struct, list[list[Struct]], int]:
        """As of `ColumnStream`."""
        if [rows for stream in self._streams for rows in stream.footer.row_group_rows] != list(self._rows):
            raise ValueError("the parts have other row groups than the source")
        position = self._start
        for stream, path in zip(self._streams, self._paths, strict=True):
            pages = pages_of(stream.footer)
            if stream.leaves_pages and pages.end > pages.start:
                self.left_out.append(LeftOut(path, pages.start, pages.end - pages.start, position))
            position += pages.end - pages.start
        return self._streams[0].footer.tree, *merge_pieces(self._streams, target, self._start)

    def abandon(self) -> None:
        self.close()

    def close(self) -> None:
        self._files.close()


def pages_of(part: Footer) -> Extent:
    """Where the pages of a part are, in one run."""
    extents = [extent for chunk in part.chunks() if (extent := data_extent(chunk)).end > extent.start]
    if not extents:
        return Extent(len(MAGIC), len(MAGIC))
    whole = Extent(extents[0].start, extents[-1].end)
    if sum(extent.end - extent.start for extent in extents) != whole.end - whole.start:
        raise ValueError("the pages of a part do not follow each other")
    return whole


def numbers_of(part: Path, count: int) -> FloatArray:
    """As many as its writer was given."""
    with part.open("rb") as file:
        file.seek(read_open_footer(file, str(part)).start - count * np.dtype(np.float64).itemsize)
        return np.fromfile(file, np.float64, count)


def behind_pages(part: Path) -> int:
    """From where on whoever puts parts together reads a part."""
    return pages_of(read_footer(part)).end
