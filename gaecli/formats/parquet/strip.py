"""A Parquet file without gaecli's columns: as it was before them, byte for byte where they were spliced to it.

A spliced file begins with the whole file that it was made of, footer and all (`splice`), and its provenance says
where that ends and what its footer was. Where that still holds, the bytes up to there are the answer. Where it
does not (the file was written anew since, or columns of somebody else were replaced among others), the columns
are taken out without decoding the others, and the content is the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from gaecli.errors import FileError
from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.column_stream import create_like
from gaecli.formats.parquet.copy_range import Copy, changed, copy_range, identity, write_at
from gaecli.formats.parquet.footer import (
    MAGIC,
    TAIL_SIZE,
    FileMetaData,
    Footer,
    fingerprint,
    read_footer_ending_at,
    read_open_footer,
)
from gaecli.formats.parquet.keys import to_thrift, updated_keys, without_key
from gaecli.formats.parquet.merge import Base
from gaecli.formats.parquet.relocate import relocate
from gaecli.formats.parquet.rewrite import reencode
from gaecli.formats.parquet.splice import SOURCE_FOOTER, digest_of
from gaecli.formats.stored import PROVENANCE_KEY, own_entries
from gaecli.names import LANGUAGE

#: `FileWriter.method` where the file is what it was.
RESTORED = "restored: byte for byte"
_TAKEN_OUT = "rewrite: columns taken out"
_ENCODED_ANEW = "rewrite: the footer is in an unusual form"


def end_of_source(
    file: BinaryIO, footer: Footer, provenance: Mapping[str, Any] | None, own: Collection[str]
) -> int | None:
    """The size that the file had before gaecli's columns; None where that file is not in this one any more.

    Args:
        provenance: as stored, so that nothing in it is believed: the bytes have to be a footer with the digest that
            was noted, of the columns that are not gaecli's, with the chunks that they have in this file.
    """
    kept = [name for name in footer.columns if name not in own]
    found = fingerprint(footer, own)
    for end, digest in sorted(_noted(provenance)):
        if not len(MAGIC) + TAIL_SIZE <= end <= footer.start:
            continue
        try:
            old = read_footer_ending_at(file, end, "")
        except FileError:
            continue
        is_noted = digest_of(old) == digest
        if is_noted and list(old.columns) == kept and fingerprint(old) == found:
            return end
    return None


def _noted(provenance: Mapping[str, Any] | None) -> Iterator[tuple[int, str]]:
    """(end, digest of the footer) of every run that has columns in the file."""
    for entry in own_entries(None if provenance is None else dict(provenance)):
        end, digest = entry.get("payload_end"), entry.get(SOURCE_FOOTER)
        if isinstance(end, int) and not isinstance(end, bool) and isinstance(digest, str):
            yield end, digest


def stripped_method(path: Path, own: Collection[str], provenance: dict[str, Any] | None) -> str:
    """`StrippedParquet.method`, told without writing."""
    with path.open("rb", buffering=0) as source:
        footer = read_open_footer(source, str(path))
        if end_of_source(source, footer, provenance, own) is not None:
            return RESTORED
    return _TAKEN_OUT if footer.is_canonical else _ENCODED_ANEW


class StrippedParquet:
    """A copy of a Parquet file without these columns, and without what gaecli stored in it.

    Raises:
        FileError: if the file is damaged, or is changed while it is copied.
    """

    def __init__(
        self, source: Path, temporary: Path, own: Collection[str], provenance: dict[str, Any] | None
    ) -> None:
        self._path, self._temporary, self._own, self._provenance = source, temporary, own, provenance
        self.method = ""

    def write(self, columns: Mapping[str, Any]) -> None:
        raise AssertionError("there are no new columns")

    def finish(self, provenance: dict[str, Any] | None) -> None:
        assert provenance is None
        name = str(self._path)
        with self._path.open("rb", buffering=0) as source:
            as_read = identity(source)
            footer = read_open_footer(source, name)
            with create_like(self._temporary, source) as target:
                end = end_of_source(source, footer, self._provenance, self._own)
                if end is not None:
                    copy_range(source, target, Copy(0, 0, end), name)
                    self.method = RESTORED
                else:
                    self._take_out(source, footer, target)
            if identity(source) != as_read:
                raise changed(name)

    def abort(self) -> None:
        self._temporary.unlink(missing_ok=True)

    def _take_out(self, source: BinaryIO, footer: Footer, target: BinaryIO) -> None:
        """The columns and what is stored of them are gone; the others stand as they stood, or are encoded anew."""
        name, dropped = str(self._path), footer.positions(self._own)
        if LANGUAGE in self._own:
            raise FileError(
                f"`{LANGUAGE}` of `{name}` has rows of others beside gaecli's labels: they are not told apart",
                hint="restore the file from where it came from",
            )
        if footer.is_canonical:
            base = relocate(source, name, footer, dropped, target)
            self.method = _TAKEN_OUT
        else:
            new = reencode(self._path, source, footer, dropped, self._temporary)
            base = Base(new.tree, new.start, [])
            self.method = _ENCODED_ANEW
        for copy in base.copies:
            copy_range(source, target, copy, name)
        tree = base.tree
        pairs = without_key(_pairs(footer, dropped, name), PROVENANCE_KEY)
        if pairs:
            tree.put(FileMetaData.KEY_VALUE_METADATA, thrift.LIST, to_thrift(pairs))
        else:
            tree.pop(FileMetaData.KEY_VALUE_METADATA, None)
        raw = thrift.encode(tree)
        write_at(target, raw + len(raw).to_bytes(4, "little") + MAGIC, base.payload_end)
        target.truncate(target.tell())


def _pairs(footer: Footer, dropped: Collection[int], name: str) -> dict[bytes, bytes | None]:
    import pyarrow as pa

    try:
        return updated_keys(footer.pairs, footer.columns, dropped, pa.schema([]), {})
    except ValueError as error:
        raise FileError(f"the metadata of `{name}` is damaged: {error}") from error
