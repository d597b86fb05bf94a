"""New columns for a Parquet file, without decoding or encoding those it has.

    new file = bytes [0, p) of the source · pages of the new columns · merged footer · its length · "PAR1"

where p is the size of the source (or, when columns of an earlier run are replaced, its size before them). So
the footer of the source stays where it was, and no reader looks for it there: cut off at p, the new file is
the source again (`parquet.strip`). pyarrow writes the new columns as a Parquet stream of their own, with the
row counts of the source's row groups. That stream goes straight into the new file at p - 4: its magic, the
first four bytes, is left out, so what pyarrow believes to be at offset x is at x + p - 4, and p - 4 is all that
has to be added to the offsets in the new chunks and in their offset indexes. The old ones stand where they stood.

Columns to be left out that stand among the others are taken out first (`relocate`), and a footer that
cannot be edited byte by byte is made anew with its file (`rewrite`).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from gaecli.errors import FileError
from gaecli.formats.base import SPLICE, LeftOut
from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.column_stream import ColumnStream, create_like
from gaecli.formats.parquet.copy_range import Copier, Copy, changed, identity, write_at
from gaecli.formats.parquet.footer import (
    MAGIC,
    FileMetaData,
    Footer,
    RowGroup,
    data_extent,
    fingerprint,
    parse_footer,
    read_open_footer,
    stands_behind,
)
from gaecli.formats.parquet.keys import (
    ARROW_SCHEMA,
    encode_schema,
    needs_arrow_schema,
    to_thrift,
    updated_keys,
)
from gaecli.formats.parquet.mark import marked, payload_fingerprint
from gaecli.formats.parquet.merge import Base, with_columns, without_columns, without_empty_head
from gaecli.records import dataclass

if TYPE_CHECKING:
    from gaecli.formats.parquet.parts import PartStream

__all__ = ["SOURCE_FOOTER", "ParquetAppender", "choose_method", "digest_of", "fingerprint"]

#: In the provenance, beside `payload_end`: the digest of the footer that ends there.
SOURCE_FOOTER = "source_footer"


def digest_of(footer: Footer) -> str:
    """Of the bytes of a footer."""
    return hashlib.sha256(footer.raw).hexdigest()


class ParquetAppender:
    """Writes a copy of a Parquet file with new columns at the end of its schema, under a temporary name.

    The caller renames it. Nothing of the size of the file, or of one of its columns, is held in memory.

    Args:
        source: the file, which is only read.
        temporary: written from its beginning; deleted by `abort`.
        new_schema: the new columns. A name may be that of a dropped or own column, and of no other.
        drop_columns: top-level columns to be left out. Their bytes would stay in a spliced file, so the file
            is rewritten.
        own_columns: top-level columns of an earlier run, to be left out. Where they, and nothing else, stand
            behind `payload_end`, the copy simply ends there; otherwise they count as `drop_columns`.
        payload_end: the attribute of the same name when `own_columns` were written.
        leaves_head: where the file is spliced, its old bytes are left out: somebody else puts them there.
        replaces_source: the new file takes its place, and nobody reads it any more where rows were written.
        has_parts: the new columns come by `place`, not by `write`.

    Attributes:
        method: "splice", or "rewrite: " and the reason.
        payload_end: where the old columns end in the new file; to be given again with `own_columns`.
        source_footer: the digest of the source's footer, where the new file begins with the whole source.
        row_group_rows: the row counts of the row groups, in the source as in the new file.
        left_out: what somebody else has to put into the new file, complete after `finish`.

    Raises:
        FileError: if the source is no Parquet file, is damaged or encrypted.
        ValueError: if a new name collides with one that stays.
    """

    method: str
    payload_end: int
    source_footer: str | None
    row_group_rows: Sequence[int]

    def __init__(
        self,
        source: Path,
        temporary: Path,
        new_schema: pa.Schema,
        *,
        drop_columns: Sequence[str] = (),
        own_columns: Sequence[str] = (),
        payload_end: int | None = None,
        leaves_head: bool = False,
        replaces_source: bool = False,
        has_parts: bool = False,
    ) -> None:
        self._source_path = source
        self._temporary = temporary
        self._schema = new_schema
        with contextlib.ExitStack() as undo:
            self._source = undo.enter_context(source.open("rb", buffering=0))
            self._identity = identity(self._source)
            self._footer = read_open_footer(self._source, str(source))
            choice = choose_method(self._footer, drop_columns, own_columns, payload_end)
            self.method, self._dropped = choice.method, choice.foreign | choice.own
            _check_names(self._footer, self._dropped, new_schema)
            self._target = undo.enter_context(create_like(temporary, self._source))
            undo.callback(temporary.unlink, missing_ok=True)
            self._base = self._lay_base(choice)
            self.left_out: list[LeftOut] = []
            if leaves_head and choice.method == SPLICE:
                self.left_out.append(LeftOut(source, 0, choice.end, 0))
            copies = [] if self.left_out else self._base.copies
            self._rows = RowsWritten(self._footer)
            self._copier = Copier(
                self._source,
                str(source),
                temporary,
                copies,
                follows=replaces_source and choice.method == SPLICE,
                largest_group=self._rows.largest_group,
            )
            undo.callback(self._copier.stop)
            self._stream = self._begun(has_parts=has_parts)
            undo.callback(self._stream.abandon)
            self._undo = undo.pop_all()
        self.payload_end = self._base.payload_end
        is_behind_all = choice.method == SPLICE and not choice.own
        self.source_footer = digest_of(self._footer) if is_behind_all else None
        self.row_group_rows = self._footer.row_group_rows

    def write(self, columns: pa.RecordBatch | pa.Table) -> None:
        """Add rows of the new columns, in the order of the file and in chunks of any size.

        Raises:
            ValueError: if the columns are not those of `new_schema`, or more rows come than the source has.
            OSError: if copying the old columns failed meanwhile.
        """
        table = pa.Table.from_batches([columns]) if isinstance(columns, pa.RecordBatch) else columns
        self._copier.check()
        assert isinstance(self._stream, ColumnStream)
        self._stream.write(table)
        self._copier.read_to(self._rows.read_to(table.num_rows))

    def place(self, part: Path, *, leaves_pages: bool) -> None:
        """Add the rows of a part that a `RowGroupsWriter` of the same source has written, in the order of the file.

        `leaves_pages`: its pages are left out, and need not be there.

        Raises:
            ValueError: if the columns are not those of `new_schema`.
        """
        self._copier.check()
        assert not isinstance(self._stream, ColumnStream)
        self._stream.place(part, leaves_pages=leaves_pages)

    def finish(self, metadata: Mapping[str, str]) -> None:
        """Complete the file. It is flushed, not synced. After an error only `abort` is left.

        Args:
            metadata: pairs to be added to the file's, in place of those with the same key.

        Raises:
            ValueError: if there were fewer rows than in the source.
            FileError: if the source was changed meanwhile.
            OSError: if copying or writing failed.
        """
        added, chunks, end = self._stream.finish(self._target)
        if not isinstance(self._stream, ColumnStream):
            self.left_out += self._stream.left_out
        self._copier.join()
        if identity(self._source) != self._identity:
            raise changed(str(self._source_path))
        tree = without_empty_head(with_columns(self._base.tree, added, marked(chunks)))
        if pairs := self._pairs({key.encode(): value.encode() for key, value in metadata.items()}):
            tree.put(FileMetaData.KEY_VALUE_METADATA, thrift.LIST, to_thrift(pairs))
        footer = thrift.encode_again(tree)
        write_at(self._target, footer + len(footer).to_bytes(4, "little") + MAGIC, end)
        self._target.truncate(self._target.tell())
        self._stream.close()
        self._target.close()
        self._source.close()
        self._undo.pop_all()

    def payload_fingerprint(self, ignore_columns: Sequence[str] = ()) -> str:
        """What `payload_fingerprint` will say of the new file without its new columns and without these."""
        base = self._base.tree
        is_as_read = base is self._footer.tree
        footer = self._footer if is_as_read else parse_footer(thrift.encode(base), self._base.payload_end)
        return payload_fingerprint(footer, ignore_columns)

    def abort(self) -> None:
        """Stop, close what is open and delete the temporary file. Does nothing after `finish`."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Also without an error: what was not finished is not a file.
        self.abort()

    def _begun(self, *, has_parts: bool) -> ColumnStream | PartStream:
        start = self._base.payload_end
        if has_parts:
            from gaecli.formats.parquet.parts import PartStream

            return PartStream(start, self._schema, self._footer)
        behind = self._copier if self._copier.is_at_work else None
        return ColumnStream(self._temporary, start, self._schema, self._footer, behind=behind)

    def _lay_base(self, choice: MethodChoice) -> Base:
        """What the new columns are put behind, by the method that was chosen."""
        footer = self._footer
        if choice.method == SPLICE:
            tree = without_columns(footer, choice.own) if choice.own else footer.tree
            return Base(tree, choice.end, [Copy(0, 0, choice.end)])
        if not footer.is_canonical:
            from gaecli.formats.parquet.rewrite import reencode

            new = reencode(self._source_path, self._source, footer, self._dropped, self._temporary)
            return Base(new.tree, new.start, [])
        from gaecli.formats.parquet.relocate import relocate

        return relocate(self._source, str(self._source_path), footer, self._dropped, self._target)

    def _pairs(self, extra: Mapping[bytes, bytes]) -> Mapping[bytes, bytes | None]:
        """The key-value metadata of the new file."""
        footer = self._footer
        try:
            pairs = updated_keys(footer.pairs, footer.columns, self._dropped, self._schema, extra)
            if ARROW_SCHEMA not in footer.pairs and any(needs_arrow_schema(f.type) for f in self._schema):
                stored = pq.read_schema(self._source_path)
                kept = [field for index, field in enumerate(stored) if index not in self._dropped]
                # With ARROW:schema there, pyarrow shows no other pairs than those inside it.
                inside = {key: value for key, value in pairs.items() if value is not None}
                schema = pa.schema([*kept, *self._schema], metadata=inside)
                pairs[ARROW_SCHEMA] = encode_schema(schema)
        except ValueError as error:
            raise FileError(f"the metadata of `{self._source_path}` is damaged: {error}") from error
        return pairs


class RowsWritten:
    """What of a file is not read any more once so many of its rows are written."""

    def __init__(self, footer: Footer) -> None:
        extents = [
            [data_extent(chunk) for chunk in group.value(RowGroup.COLUMNS)] for group in footer.row_groups
        ]
        self.largest_group = max((sum(end - start for start, end in group) for group in extents), default=0)
        #: Where the pages of each row group and of all behind it begin, the last ones first.
        self._starts = [footer.start]
        for group in reversed(extents):
            self._starts.append(min([self._starts[-1], *(start for start, _ in group)]))
        #: Of row groups that are not written yet, the last ones first.
        self._rows = list(reversed(footer.row_group_rows))
        self._num_written = 0

    def read_to(self, num_rows: int) -> int:
        """The offset, once so many more are written."""
        self._num_written += num_rows
        while self._rows and self._num_written >= self._rows[-1]:
            self._num_written -= self._rows.pop()
        return self._starts[len(self._rows)]


@dataclass(frozen=True)
class MethodChoice:
    """How a file is written that loses columns. `foreign`, `own`: their positions among the top-level ones."""

    method: str
    foreign: set[int]
    own: set[int]
    #: Where the bytes that a splice copies end.
    end: int


def choose_method(
    footer: Footer, drop_columns: Collection[str], own_columns: Collection[str], payload_end: Any = None
) -> MethodChoice:
    """The way to write a file that loses these columns, without writing it.

    Args:
        payload_end: as recorded, so it may be anything.
    """
    foreign = footer.positions(drop_columns)
    own = footer.positions(own_columns) - foreign
    if not footer.is_canonical:
        return MethodChoice("rewrite: the footer is in an unusual form", foreign, own, footer.end)
    displaced = foreign or own
    if not displaced:
        return MethodChoice(SPLICE, foreign, own, footer.end)
    is_offset = isinstance(payload_end, int) and len(MAGIC) <= payload_end <= footer.start
    if is_offset and not foreign and stands_behind(footer, own, payload_end):
        return MethodChoice(SPLICE, foreign, own, payload_end)
    names = ", ".join(f"`{footer.columns[index]}`" for index in sorted(displaced))
    plural = "s" if len(displaced) > 1 else ""
    reason = "foreign" if foreign else "displaced"
    return MethodChoice(f"rewrite: {reason} column{plural} {names} replaced", foreign, own, footer.end)


def _check_names(footer: Footer, dropped: set[int], new_schema: pa.Schema) -> None:
    kept = {name for index, name in enumerate(footer.columns) if index not in dropped}
    for name, count in Counter(new_schema.names).items():
        if count > 1 or name in kept:
            raise ValueError(f"column `{name}` would be there twice")
