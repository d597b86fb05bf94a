"""Parquet: read a projection in blocks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from gaecli.array_types import Array
from gaecli.errors import DataError, FileError
from gaecli.formats.arrow.columns import SchemaColumns, SharedSchema, pick
from gaecli.formats.base import NO_REMARKS, NO_ROLES, Column, Structure, Unit, WritePlan, unreadable
from gaecli.formats.parquet.footer import FileMetaData, Footer, encrypted, is_encrypted, read_footer
from gaecli.formats.parquet.mark import payload_fingerprint
from gaecli.formats.parquet.statistics import groups_with, leaf_facts
from gaecli.formats.stored import PROVENANCE_KEY, parse_document

if TYPE_CHECKING:
    from gaecli.formats.parquet.output import ParquetOutput, ParquetPart
    from gaecli.formats.parquet.strip import StrippedParquet

#: Column chunks are streamed through a buffer of this size: a row group may be larger than memory.
READ_BUFFER_BYTES = 1 << 20

#: Longer footers are read again.
_KEPT_FOOTER_BYTES = 16 << 10

#: Keys of libraries, which say nothing of trajectories.
_KEYS_OF_LIBRARIES = frozenset(
    (PROVENANCE_KEY, b"ARROW:schema", b"pandas", b"huggingface", b"org.apache.spark.sql.parquet.row.metadata")
)

#: Of what is converted, at a time, by what it takes in the file before compression.
_TABLE_ROWS, _TABLE_BYTES = 1 << 17, 32 << 20


class ParquetInput(SchemaColumns):
    """One Parquet file, opened by its footer."""

    format_name = "parquet"
    structure: Structure = "table"
    known_roles = NO_ROLES
    remarks = NO_REMARKS

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            status = path.stat()
            footer = read_footer(path)
            self._facts = leaf_facts(footer)  # checked before pyarrow is given the file
            metadata, shared = _described(path, footer, self._facts.num_rows)
            self.schema, self.columns, self.num_rows = shared
            pairs = footer.pairs
            self._stored, self._told = pairs.get(PROVENANCE_KEY), _told_in(pairs)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(path, error) from error
        self.identity = (status.st_size, status.st_mtime_ns, status.st_ino)
        #: For the rows. Those of one row group are mostly read once, and less than this: it is given up then.
        self._metadata: pq.FileMetaData | None = metadata
        #: For the fingerprint that is asked for next, if any is before rows are read: parsed it takes a lot.
        self._footer: Footer | None = footer if len(footer.raw) <= _KEPT_FOOTER_BYTES else None
        #: By the columns that they leave out.
        self._fingerprints: dict[tuple[str, ...], str] = {}

    @cached_property
    def provenance(self) -> dict[str, Any] | None:
        return parse_document(self._stored)

    @property
    def row_group_rows(self) -> Sequence[int]:
        return read_footer(self.path).row_group_rows

    def fingerprint(self, own_columns: Sequence[str]) -> str:
        own = tuple(own_columns)
        if own not in self._fingerprints:
            footer, self._footer = self._footer, None
            self._fingerprints[own] = payload_fingerprint(footer or read_footer(self.path), own)
        return self._fingerprints[own]

    @property
    def may_hold_short_arrays(self) -> bool:
        return bool(self._told)

    def short_arrays(self, num_rows: int) -> Mapping[str, Array]:
        from gaecli.formats.told_entries import entries_in

        found = {
            path: entries
            for name, text in self._told.items()
            for path, entries in entries_in(name, text).items()
        }
        return {path: entries for path, entries in found.items() if path not in self.columns}

    def may_hold_flags(self, name: str) -> bool:
        leaf = self._facts.leaf_of_list(self._leaf(name))
        return leaf is not None and self._facts.allow_flags[leaf]

    def units_with(self, units: Sequence[Unit], labels: Mapping[str, str]) -> Sequence[Unit]:
        """By the statistics of row groups, for columns of whole numbers and of texts."""
        found = {name: _in_statistics(self.schema, name, label) for name, label in labels.items()}
        told = {name: label for name, label in found.items() if label is not None}
        if not told:
            return units
        may_hold = groups_with(read_footer(self.path), told)
        return [unit for unit in units if any(may_hold[group] for group in unit.parts)]

    def tables(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """In as many rows as fit in some memory, by what they take in the file."""
        try:
            with _parquet_file(self.path) as file:
                groups = range(file.metadata.num_row_groups)
                num_bytes = sum(file.metadata.row_group(index).total_byte_size for index in groups)
                rows = min(_TABLE_ROWS, _TABLE_BYTES * self.num_rows // max(num_bytes, 1))
                for batch in file.iter_batches(max(rows, 1), columns=list(names), use_threads=False):
                    yield pa.Table.from_batches([batch]).select(list(names))
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(self.path, error) from error

    def units(self, rows_per_block: int, like: str) -> Sequence[Unit]:
        """Small row groups are read together, a large one is a unit of its own. Items of lists count as rows."""
        units: list[Unit] = []
        start = row = cells = 0
        parts: list[int] = []
        facts, leaf = self._facts, self._leaf_index(like)
        for index, num_rows in enumerate(facts.group_rows):
            size = num_rows if leaf is None else max(num_rows, int(facts.num_values[index, leaf]))
            if row > start and cells + size > rows_per_block:  # a group without rows is no unit
                units.append(Unit(start, row, tuple(parts)))
                start, cells, parts = row, 0, []
            parts.append(index)
            row += num_rows
            cells += size
        if row > start:
            units.append(Unit(start, row, tuple(parts)))
        return units

    def blocks(
        self, unit: Unit, names: Sequence[str], rows_per_block: int
    ) -> Iterator[tuple[int, int, dict[str, Column]]]:
        """Opens the file anew, so that several threads can read units of one input."""
        metadata, self._footer = self._metadata, None
        if len(self._facts.group_rows) == 1:
            self._metadata = None
        try:
            with _parquet_file(self.path, metadata) as file:
                row = unit.start
                rows_per_block = max(1, int(rows_per_block / self._cells_per_row(unit, names)))
                for batch in _batches(file, unit, [self._leaf(name) for name in names], rows_per_block):
                    stop = row + batch.num_rows
                    yield row, stop, {name: pick(batch, name, self.path) for name in names}
                    row = stop
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(self.path, error) from error
        if row != unit.stop:
            raise FileError(
                f"`{self.path}` is damaged: rows {unit.start} to {unit.stop} should be there, but only "
                f"{row - unit.start} could be read",
                hint="write the file again from its source",
            )

    def _leaf_index(self, name: str) -> int | None:
        """The number of the leaf column of a list, whose items may be many more than its rows."""
        info = self.find(name)
        if info is None or not info.is_list:
            return None
        return self._facts.leaf_of_list(self._leaf(name))

    def _cells_per_row(self, unit: Unit, names: Sequence[str]) -> float:
        """Of the column with the longest lists."""
        leaves = [leaf for name in names if (leaf := self._leaf_index(name)) is not None]
        if not leaves:
            return 1.0
        cells = self._facts.num_values[list(unit.parts)][:, leaves].sum(axis=0).tolist()
        return float(max([unit.num_rows, *cells]) / max(unit.num_rows, 1))

    def _leaf(self, name: str) -> str:
        """What pyarrow calls a column: in a list of structs, levels of the file's own stand between."""
        if "." not in name or self.schema.get_all_field_indices(name) or self._facts.has_leaf(name):
            return name
        wanted = name.split(".")
        paths = (path.split(".") for path in self._facts.paths if path.startswith(f"{wanted[0]}."))
        found = [begin for path in paths if (begin := _beginning(path, wanted)) is not None]
        found.sort(key=len)
        return ".".join(found[0] if found else wanted)

    def has_single_items(self, name: str) -> bool:
        """The footer tells: a row of a leaf has an entry for every item, and one where there is none."""
        leaf = self._leaf_index(name)
        return leaf is not None and self._facts.num_values[:, leaf].tolist() == list(self._facts.group_rows)

    def read_whole(self, name: str) -> Column:
        pieces = list(self.blocks(Unit(0, self.num_rows, self._all_groups()), [name], max(self.num_rows, 1)))
        if len(pieces) != 1:
            raise DataError(f"column `{name}` of `{self.path}` is empty")
        return pieces[0][2][name]

    def _all_groups(self) -> tuple[int, ...]:
        return tuple(range(len(self._facts.group_rows)))

    @property
    def payload_end(self) -> Any:
        """Where the columns that are not gaecli's end, as it is recorded, so it may be anything."""
        return (self.provenance or {}).get("payload_end")

    def planned_method(
        self, own_columns: Sequence[str], drop_columns: Sequence[str], *, adds: bool = True
    ) -> str:
        if not adds:
            from gaecli.formats.parquet.strip import stripped_method

            return stripped_method(self.path, own_columns, self.provenance)
        from gaecli.formats.parquet.splice import choose_method

        return choose_method(read_footer(self.path), drop_columns, own_columns, self.payload_end).method

    def writer(self, temporary: Path, plan: WritePlan) -> ParquetOutput | ParquetPart | StrippedParquet:
        if not plan.new_columns:
            from gaecli.formats.parquet.strip import StrippedParquet

            return StrippedParquet(self.path, temporary, plan.own_columns, self.provenance)
        from gaecli.formats.parquet.output import ParquetOutput, ParquetPart

        return (ParquetPart if plan.row_groups else ParquetOutput)(self, temporary, plan)


def _in_statistics(schema: pa.Schema, name: str, label: str) -> int | bytes | None:
    """A cell that reads as `label`, where statistics of a column compare such cells."""
    if schema.names.count(name) != 1:
        return None
    kind = schema.field(name).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    try:
        if pa.types.is_signed_integer(kind):
            return int(label)
        return label.encode() if pa.types.is_string(kind) or pa.types.is_large_string(kind) else None
    except ValueError:
        return None


class _Described(NamedTuple):
    """What pyarrow says of a file by all that its footer says beside the row groups."""

    schema: tuple[bytes, ...]
    pairs: Mapping[bytes, bytes | None]
    shared: SharedSchema


_last_described: _Described | None = None


def _described(path: Path, footer: Footer, num_rows: int) -> tuple[pq.FileMetaData | None, SharedSchema]:
    """The schema, and what pyarrow made of the footer, unless the file before says the very same of itself."""
    global _last_described
    elements = footer.tree.value(FileMetaData.SCHEMA)
    encoded, pairs = tuple(getattr(element, "encoded", b"") for element in elements), footer.pairs
    last = _last_described
    if last is not None and all(encoded) and (last.schema, last.pairs) == (encoded, pairs):
        return None, SharedSchema.of(last.shared.schema, num_rows)
    # Closed again: a data set may have more files than a process may have open.
    with _parquet_file(path) as file:
        metadata = file.metadata
        shared = SharedSchema.of(file.schema_arrow, num_rows)
    _last_described = _Described(encoded, pairs, shared)
    return metadata, shared


@contextlib.contextmanager
def _parquet_file(path: Path, metadata: pq.FileMetaData | None = None) -> Iterator[pq.ParquetFile]:
    # By bytes: given a name, pyarrow wants UTF-8, and looks for a file system each time.
    with (
        pa.OSFile(os.fsencode(path)) as source,
        pq.ParquetFile(source, metadata=metadata, pre_buffer=False, buffer_size=READ_BUFFER_BYTES) as file,
    ):
        yield file


def _batches(
    file: pq.ParquetFile, unit: Unit, names: Sequence[str], rows_per_block: int
) -> Iterator[pa.Table | pa.RecordBatch]:
    """Small row groups as one table; a large one as a stream, so that it need not fit into memory."""
    if unit.num_rows <= rows_per_block:
        yield file.read_row_groups(list(unit.parts), columns=list(names), use_threads=False)
        return
    yield from file.iter_batches(
        rows_per_block, row_groups=list(unit.parts), columns=list(names), use_threads=False
    )


def _told_in(pairs: Mapping[bytes, bytes | None]) -> Mapping[str, str]:
    """The metadata that may be JSON of whoever wrote the file."""
    return {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in pairs.items()
        if value is not None and value[:1] in (b"[", b"{") and key not in _KEYS_OF_LIBRARIES
    }


def _unreadable(path: Path, error: Exception) -> FileError:
    if not isinstance(error, FileNotFoundError | PermissionError) and is_encrypted(path):
        return encrypted(str(path))
    hint = "the file may be truncated or of another format; `parquet-tools` or pyarrow show more"
    return unreadable(path, error, "Parquet", hint)


def _beginning(path: Sequence[str], wanted: Sequence[str]) -> Sequence[str] | None:
    """As much of a path as leads to what is wanted, past two levels (`list.element`) for each list on the way."""
    stops = {1} if path[0] == wanted[0] else set()  # so much of the path leads to this part of what is wanted
    for part in wanted[1:]:
        behind = {at for stop in stops for at in range(stop, len(path), 2)}
        stops = {at + 1 for at in behind if path[at] == part}
    return path[: min(stops)] if stops else None
