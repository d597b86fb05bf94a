"""New columns as pyarrow's Parquet stream, regrouped to the row groups of a file that has the others."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from gaecli.formats.parquet.copy_range import Copier, write_at
from gaecli.formats.parquet.footer import (
    MAGIC,
    TAIL_SIZE,
    ColumnChunk,
    Footer,
    codec_name,
    parse_footer,
)
from gaecli.formats.parquet.pieces import PieceStream, merge_pieces, piece_rows, placed_chunks, spool_file
from gaecli.formats.parquet.thrift_compact import Struct

#: Pages of numbers have 80 kB: put together, there are few calls from pyarrow into Python.
_WRITE_BUFFER_BYTES = 1 << 20
#: pyarrow encodes so many numbers at a time, 1,024 as it comes: as many as make a page, so that pages are the same.
_BATCH_ROWS = 20_000
_USABLE_CODECS = ("SNAPPY", "GZIP", "BROTLI", "ZSTD", "LZ4")


class ColumnStream:
    """The new columns as pyarrow's Parquet stream, regrouped to the row groups of the source.

    pyarrow writes a row group from a table at once. One with more values than fit in memory is written
    in pieces, to a spool file, and its pages are put together in `finish`.
    """

    def __init__(
        self,
        path: Path,
        start: int,
        schema: pa.Schema,
        footer: Footer,
        groups: Sequence[int] = (),
        behind: Copier | None = None,
    ) -> None:
        """
        Args:
            groups: of these row groups alone, which leaves what is encoded of each of them as it is.
            behind: writes into the file, in its thread. None: nobody else writes into it.
        """
        self._schema = schema
        self._start = start
        wanted = [footer.row_groups[index] for index in groups] if groups else footer.row_groups
        self._pieces = [piece_rows(group, schema) for group in wanted]
        self._is_direct = all(len(pieces) == 1 for pieces in self._pieces)
        self._expected = [rows for pieces in self._pieces for rows in pieces]
        self._num_missing = sum(self._expected)
        self._expected.reverse()
        self._pending: list[pa.Table] = []
        self._num_pending = 0
        self._file = path.open("r+b", buffering=0) if self._is_direct else spool_file(path)
        self._behind = behind if self._is_direct else None
        put = partial(write_at, self._file) if self._behind is None else self._behind.put
        self._sink = _Sink(put, start, len(MAGIC)) if self._is_direct else _Sink(put, 0, 0)
        self._buffered = pa.BufferedOutputStream(pa.PythonFile(self._sink, "w"), _WRITE_BUFFER_BYTES)
        self._writer = pq.ParquetWriter(
            self._buffered,
            schema,
            compression=_codec(footer),
            use_dictionary=False,  # of numbers that hardly repeat; a third of the time
            write_statistics=True,
            write_batch_size=_BATCH_ROWS,
            write_page_index=footer.has_page_index,
            store_schema=False,
        )
        self._write_complete()

    def write(self, table: pa.Table) -> None:
        if not table.schema.equals(self._schema):
            raise ValueError(f"columns {table.schema.names} are not the announced {self._schema.names}")
        if table.num_rows > self._num_missing:
            raise ValueError("there are more rows than in the source")
        self._num_missing -= table.num_rows
        self._pending.append(table)
        self._num_pending += table.num_rows
        self._write_complete()

    def _write_complete(self) -> None:
        """Write the pieces that have all their rows; one of no rows has."""
        while self._expected and self._num_pending >= self._expected[-1]:
            num_rows = self._expected.pop()
            pending = pa.concat_tables(self._pending) if self._pending else self._schema.empty_table()
            self._writer.write_table(pending.slice(0, num_rows), row_group_size=max(num_rows, 1))
            self._num_pending -= num_rows
            self._pending = [pending.slice(num_rows)] if self._num_pending else []

    def finish(self, target: BinaryIO) -> tuple[Struct, list[list[Struct]], int]:
        """The stream's tree, its chunks by row group as they are in the target, and where they end there."""
        if self._num_missing:
            raise ValueError(f"{self._num_missing} rows are missing of those in the source")
        self._writer.close()
        self._buffered.close()  # left to its destructor, which calls into Python, it would swallow an interrupt
        if self._behind is not None:
            self._behind.put_all()
        self._file.flush()
        stream = self._read_footer()
        if not self._is_direct:
            pieces = PieceStream(self._file, "the spool file", stream, self._pieces)
            return stream.tree, *merge_pieces([pieces], target, self._start)
        return stream.tree, *placed_chunks(stream, target, self._start - len(MAGIC))

    def _read_footer(self) -> Footer:
        """The footer that pyarrow wrote; it has offsets of the stream."""
        end = self._sink.num_written - TAIL_SIZE
        tail = self._sink.position - TAIL_SIZE
        self._file.seek(tail)
        size = int.from_bytes(self._file.read(4), "little")
        self._file.seek(tail - size)
        return parse_footer(self._file.read(size), end - size)

    def abandon(self) -> None:
        """Close what may be broken: pyarrow's writer writes a footer now, or else when it is collected."""
        for close in (self._writer.close, self._buffered.close, self.close):
            with contextlib.suppress(Exception):
                close()

    def close(self) -> None:
        self._file.close()


class _Sink:
    """What pyarrow writes to: a file from `position` on, less the first `skip` bytes."""

    closed = False

    def __init__(self, put: Callable[[bytes, int], None], position: int, skip: int) -> None:
        self._put = put
        self._skip = skip
        self.position = position
        self.num_written = 0

    def write(self, block: bytes) -> int:
        size = len(block)
        kept = block[max(0, self._skip - self.num_written) :]
        self._put(kept, self.position)
        self.position += len(kept)
        self.num_written += size
        return size

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def create_like(path: Path, source: BinaryIO) -> BinaryIO:
    """A new file that no more people can read than the source, and its owner can write."""
    mode = os.fstat(source.fileno()).st_mode & 0o777 | 0o600
    return open(path, "w+b", buffering=0, opener=lambda name, flags: os.open(name, flags, mode))


def _codec(footer: Footer) -> str:
    """The codec of most of the source's chunks, if pyarrow can write it."""
    counts = Counter(codec_name(chunk.value(ColumnChunk.META_DATA)) for chunk in footer.chunks())
    name = counts.most_common(1)[0][0] if counts else "NONE"
    return name if name in _USABLE_CODECS else "SNAPPY"
