"""A new snapshot of an Iceberg table: files with more columns take the place of those that are live.

The files are ours, spliced, with the ids in them that the table gives its new columns; schema and snapshot are one
transaction of `pyiceberg`, through the table's catalog. Not `Table.overwrite`: that takes the rows from memory
and writes them in an order of its own. Not `Table.add_files`: it refuses files that have ids.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gaecli.datasets.iceberg.log import TITLE, Snapshot, told
from gaecli.errors import FileError, UnknownOutcomeError, UsageError

_COMMIT_ID = "gaecli.commit-id"
#: What a data file says of its columns, by their ids.
_COUNTS = (
    "column_sizes",
    "value_counts",
    "null_value_counts",
    "nan_value_counts",
    "lower_bounds",
    "upper_bounds",
)


def column_ids(table: Snapshot, items: Mapping[str, str], *, is_list: bool) -> dict[str, tuple[int, ...]]:
    """The ids of columns, and of the items of lists, once they are in the schema. Nothing is changed."""
    with told(table.root):
        transaction = _transaction(table)
        _add_columns(table, transaction, items, is_list=is_list)
        return _ids(transaction.table_metadata.schema(), list(items))


def commit(table: Snapshot, new_files: Mapping[Path, Path], columns: Mapping[str, str]) -> None:
    """Make `new_files` the table in place of the old ones. If it raises, they are not.

    Raises:
        FileError: if somebody else has committed since the table was read, or the catalog refuses.
    """
    from pyiceberg.exceptions import CommitFailedException

    files = table.files
    files.created.clear()
    try:
        with told(table.root, "written"):
            try:
                _commit(table, new_files, columns)
            except CommitFailedException as error:
                raise FileError(
                    f"somebody else committed to the {TITLE} `{table.root}` meanwhile; nothing was written",
                    hint="run the command again: it reads what they wrote",
                ) from error
    except FileError as error:
        is_there = _is_there(table)
        if is_there:  # what failed came after the commit
            return
        if is_there is None:
            raise UnknownOutcomeError(
                f"the catalog of the {TITLE} `{table.root}` answers no more, and may have taken the new version or "
                f"not: {error.message}",
                hint="run the command again when it answers; nothing was removed, and files that no version "
                "refers to are for its own `remove_orphan_files`",
            ) from error
        for path in files.created:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        raise


def _commit(table: Snapshot, new_files: Mapping[Path, Path], columns: Mapping[str, str]) -> None:
    transaction = _transaction(table)
    is_list = any(table.ids[name][1:] for name in columns)
    _add_columns(table, transaction, columns, is_list=is_list)
    if _ids(transaction.table_metadata.schema(), list(columns)) != {
        name: table.ids[name] for name in columns
    }:
        raise FileError(f"the columns of the {TITLE} `{table.root}` have got other ids than their files have")
    replaced = {number for name in columns for number in table.ids[name]}
    with transaction.update_snapshot(snapshot_properties={_COMMIT_ID: table.commit_id}).overwrite() as update:
        for old, new in new_files.items():
            data_file = table.live[old].entry.data_file
            update.delete_data_file(data_file)
            update.append_data_file(_data_file(data_file, new, replaced))
    transaction.commit_transaction()


def _transaction(table: Snapshot) -> Any:
    from pyiceberg.table import Table, Transaction

    # No retry: what somebody has committed meanwhile was not looked at here.
    once = {**table.metadata.properties, "commit.retry.num-retries": "0"}
    handle = table.handle
    metadata = table.metadata.model_copy(update={"properties": once})
    return Transaction(
        Table(handle.name(), metadata, handle.metadata_location, table.files, handle.catalog, handle.config)
    )


def _add_columns(table: Snapshot, transaction: Any, items: Mapping[str, str], *, is_list: bool) -> None:
    """`items`: name -> `float32`, `bool` or `string`."""
    from pyiceberg.types import BooleanType, FloatType, ListType, StringType

    kinds: Mapping[str, Any] = {"float32": FloatType(), "bool": BooleanType(), "string": StringType()}
    wanted = {
        name: ListType(element_id=0, element_type=kinds[item], element_required=False)
        if is_list
        else kinds[item]
        for name, item in items.items()
    }
    there = {field.name: field.field_type for field in table.metadata.schema().fields}
    for name, kind in wanted.items():
        if name in there and not _is_alike(there[name], kind):
            raise UsageError(
                f"column `{name}` of the {TITLE} `{table.root}` is {there[name]}, which cannot become {kind}",
                hint="write under another name with `--advantage-column`, `--return-column` and the like",
            )
    with transaction.update_schema() as update:
        for name, kind in wanted.items():
            if name not in there:
                update.add_column((name,), kind)


def _is_alike(found: Any, wanted: Any) -> bool:
    """The same but for ids."""
    from pyiceberg.types import ListType

    are_lists = isinstance(found, ListType), isinstance(wanted, ListType)
    return (
        _is_alike(found.element_type, wanted.element_type) if all(are_lists) else type(found) is type(wanted)
    )


def _ids(schema: Any, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for field in schema.fields:
        if field.name in names:
            element = getattr(field.field_type, "element_id", None)
            found[field.name] = (field.field_id,) if element is None else (field.field_id, element)
    return found


def _data_file(old: Any, path: Path, replaced: set[int]) -> Any:
    """What is said of the old file is true of the new one, but for columns that are new."""
    import pyarrow.parquet as pq
    from pyiceberg.manifest import DataFile

    footer = pq.read_metadata(path)
    counts: dict[str, Any] = {
        name: {
            number: value for number, value in (getattr(old, name) or {}).items() if number not in replaced
        }
        for name in _COUNTS
    }
    folder, _, _ = old.file_path.rpartition("/")
    new = DataFile.from_args(
        content=old.content,
        file_path=f"{folder}/{path.name}",
        file_format=old.file_format,
        partition=old.partition,
        record_count=footer.num_rows,
        file_size_in_bytes=path.stat().st_size,
        key_metadata=None,
        split_offsets=[_start(footer.row_group(index)) for index in range(footer.num_row_groups)],
        equality_ids=None,
        sort_order_id=old.sort_order_id,
        **counts,
    )
    new.spec_id = old.spec_id
    return new


def _start(row_group: Any) -> int:
    first = row_group.column(0)
    offsets = (first.dictionary_page_offset, first.data_page_offset)
    return min(int(offset) for offset in offsets if offset is not None)


def _is_there(table: Snapshot) -> bool | None:
    """Whether the catalog's table has our snapshot; None where the catalog does not say."""
    try:
        metadata = table.handle.catalog.load_table(table.handle.name()).metadata
    except Exception:  # of whatever kind: each catalog has its own
        return None
    return any(
        _COMMIT_ID in _properties(s) and _properties(s)[_COMMIT_ID] == table.commit_id
        for s in metadata.snapshots
    )


def _properties(snapshot: Any) -> Mapping[str, str]:
    return {} if snapshot.summary is None else snapshot.summary.additional_properties
