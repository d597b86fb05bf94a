"""Damaged, hostile and encrypted Parquet files: one clear error each, or a right result."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from formats.parquet_files import (
    NEW_SCHEMA,
    append,
    flat_table,
    new_columns,
    put_footer,
)

from gaecli.errors import FileError
from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.footer import (
    ColumnChunk,
    ColumnMetaData,
    FileMetaData,
    RowGroup,
    SizeStatistics,
    read_footer,
)
from gaecli.formats.parquet.reader import ParquetInput
from gaecli.formats.parquet.schema import SchemaElement
from gaecli.formats.parquet.splice import ParquetAppender
from gaecli.formats.parquet.thrift_compact import List, Struct


def test_what_is_no_parquet_file_is_refused(source: Path, target: Path) -> None:
    pq.write_table(flat_table(10), source)
    data = source.read_bytes()
    for content in (b"", b"PAR1", b"PAR1PAR1", b"x" * 100, data[:-1], data[: len(data) // 2], data + b"x"):
        source.write_bytes(content)
        with pytest.raises(FileError, match=r"`.*source\.parquet`"):
            ParquetAppender(source, target, NEW_SCHEMA)
        assert not target.exists()


@pytest.mark.parametrize("length", [2**32 - 1, 2**31, 10**6, 0, 3])
def test_a_footer_length_that_does_not_fit_is_refused(length: int, source: Path, target: Path) -> None:
    pq.write_table(flat_table(10), source)
    source.write_bytes(source.read_bytes()[:-8] + length.to_bytes(4, "little") + b"PAR1")
    with pytest.raises(FileError, match=r"footer of `.*source\.parquet` is damaged"):
        ParquetAppender(source, target, NEW_SCHEMA)


def _edit(change: Callable[[Struct], None]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        footer = deepcopy(read_footer(path))
        change(footer.tree)
        put_footer(path, thrift.encode(footer.tree))

    return edit


def _set_meta(field_id: int, value: int) -> Callable[[Path], None]:
    def change(tree: Struct) -> None:
        chunk = tree.value(FileMetaData.ROW_GROUPS)[0].value(RowGroup.COLUMNS)[0]
        chunk.value(ColumnChunk.META_DATA).put(field_id, thrift.I64, value)

    return _edit(change)


def _set_chunk(field_id: int, value: int) -> Callable[[Path], None]:
    def change(tree: Struct) -> None:
        tree.value(FileMetaData.ROW_GROUPS)[0].value(RowGroup.COLUMNS)[0].put(field_id, thrift.I64, value)

    return _edit(change)


def _set_group(field_id: int, value: int) -> Callable[[Path], None]:
    return _edit(lambda tree: tree.value(FileMetaData.ROW_GROUPS)[0].put(field_id, thrift.I64, value))


def _set_children(element: int, count: int) -> Callable[[Path], None]:
    def change(tree: Struct) -> None:
        tree.value(FileMetaData.SCHEMA)[element].put(SchemaElement.NUM_CHILDREN, thrift.I32, count)

    return _edit(change)


def _nest(tree: Struct) -> None:
    group = Struct({4: (thrift.BINARY, b"g"), 5: (thrift.I32, 1)})
    schema = tree.value(FileMetaData.SCHEMA)
    leaf = schema[1]
    schema[1:] = [*[group] * 20_000, leaf]
    schema[0].put(SchemaElement.NUM_CHILDREN, thrift.I32, 1)


def _set_sizes(field_id: int, kind: int, value: object) -> Callable[[Path], None]:
    def change(tree: Struct) -> None:
        chunk = tree.value(FileMetaData.ROW_GROUPS)[0].value(RowGroup.COLUMNS)[0]
        sizes = Struct({field_id: (kind, value)})
        chunk.value(ColumnChunk.META_DATA).put(ColumnMetaData.SIZE_STATISTICS, thrift.STRUCT, sizes)

    return _edit(change)


def _set_element(field_id: int, value: int) -> Callable[[Path], None]:
    return _edit(lambda tree: tree.value(FileMetaData.SCHEMA)[1].put(field_id, thrift.I32, value))


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "negative offset": (_set_meta(ColumnMetaData.DATA_PAGE_OFFSET, -5), "negative"),
    "offset beyond the file": (_set_meta(ColumnMetaData.DATA_PAGE_OFFSET, 10**9), "outside the file"),
    "negative size": (_set_meta(ColumnMetaData.TOTAL_COMPRESSED_SIZE, -1), "negative"),
    "size beyond the file": (_set_meta(ColumnMetaData.TOTAL_COMPRESSED_SIZE, 2**62), "outside the file"),
    "negative count": (_set_meta(ColumnMetaData.NUM_VALUES, -(2**63)), "negative"),
    "dictionary beyond the file": (_set_meta(ColumnMetaData.DICTIONARY_PAGE_OFFSET, 10**9), "outside"),
    "bloom filter beyond the file": (_set_meta(ColumnMetaData.BLOOM_FILTER_OFFSET, 10**9), "outside"),
    "page index beyond the file": (_set_chunk(ColumnChunk.COLUMN_INDEX_OFFSET, 10**9), "outside"),
    "negative page index": (_set_chunk(ColumnChunk.OFFSET_INDEX_LENGTH, -1), "negative"),
    "negative rows": (_set_group(RowGroup.NUM_ROWS, -10), "negative"),
    "other row count": (_set_group(RowGroup.NUM_ROWS, 2**40), "counts 10 rows"),
    "too few children": (_set_children(0, 1), "belong to no column"),
    "too many children": (_set_children(0, 5), "ends early"),
    "very many children": (_set_children(0, 2**31 - 1), "ends early"),
    "negative children": (_set_children(0, -1), "negative"),
    "a deep schema": (_edit(_nest), "nested"),
    "no row groups": (_edit(lambda tree: tree.pop(FileMetaData.ROW_GROUPS)), "missing"),
    "an empty schema": (_edit(lambda tree: tree.value(FileMetaData.SCHEMA).clear()), "schema is empty"),
    "a column too few": (
        _edit(lambda tree: tree.value(FileMetaData.ROW_GROUPS)[0].value(RowGroup.COLUMNS).pop()),
        "a row group has 3 columns, the schema 4",
    ),
    "an order too few": (_edit(lambda tree: tree.value(FileMetaData.COLUMN_ORDERS).pop()), "column orders"),
    "integers for structs": (
        _edit(lambda tree: tree.put(FileMetaData.ROW_GROUPS, thrift.LIST, List(thrift.I32, [1]))),
        "wrong type",
    ),
    "a histogram of too many levels": (
        _set_sizes(SizeStatistics.DEFINITION_LEVELS, thrift.LIST, List(thrift.I64, [1, 2, 3])),
        "counts 3 levels of `step`, which has 2",
    ),
    "a histogram of texts": (
        _set_sizes(SizeStatistics.REPETITION_LEVELS, thrift.LIST, List(thrift.BINARY, [b"x"])),
        "wrong type",
    ),
    "bytes of texts that are numbers": (
        _set_sizes(SizeStatistics.UNENCODED_BYTES, thrift.I64, 1),
        "`step` counts the bytes of texts",
    ),
    "another type in a row group": (_set_meta(ColumnMetaData.TYPE, 5), "`step` is of another type"),
    "an unknown type": (_set_element(SchemaElement.TYPE, 8), "unknown type"),
    "an unknown repetition": (_set_element(SchemaElement.REPETITION, 3), "neither required nor optional"),
    "a column that is a group as well": (_set_element(SchemaElement.NUM_CHILDREN, 1), "of its own"),
    "columns in another file": (
        _edit(
            lambda tree: (
                tree.value(FileMetaData.ROW_GROUPS)[0]
                .value(RowGroup.COLUMNS)[0]
                .put(ColumnChunk.FILE_PATH, thrift.BINARY, b"x")
            )
        ),
        "another file",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_footer_that_contradicts_itself_or_the_file_is_refused(
    damage: str, source: Path, target: Path
) -> None:
    pq.write_table(flat_table(10), source)
    break_it, reason = DAMAGES[damage]
    break_it(source)
    started = time.process_time()
    with pytest.raises(FileError, match=reason) as caught:
        ParquetAppender(source, target, NEW_SCHEMA)
    assert str(source) in caught.value.message
    assert not target.exists()
    assert time.process_time() - started < 5, "a damaged file must not cost much"


@pytest.mark.parametrize("damage", DAMAGES)
def test_such_a_footer_is_refused_before_pyarrow_sees_it(
    damage: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(flat_table(10), source)
    break_it, reason = DAMAGES[damage]
    break_it(source)
    monkeypatch.setattr(pq, "ParquetFile", None)
    with pytest.raises(FileError, match=reason):
        ParquetInput(source)


def test_counts_come_from_the_footer_that_was_checked(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = flat_table(10).append_column("items", pa.array([[1.0, 2.0], [], None, [3.0], [4.0]] * 2))
    pq.write_table(table, source, row_group_size=5)
    file = ParquetInput(source)
    # Whoever asked pyarrow for the chunks of a column would fail here.
    monkeypatch.setattr(file, "_metadata", None)
    assert file.num_rows == 10
    assert [unit.parts for unit in file.units(5, "step")] == [(0,), (1,)]
    assert [unit.parts for unit in file.units(11, "items")] == [(0,), (1,)]  # six entries each
    assert [unit.parts for unit in file.units(12, "items")] == [(0, 1)]
    assert not file.has_single_items("items")
    assert not file.may_hold_flags("step")


@pytest.mark.parametrize(
    ("cells", "may_be_flags"),
    [
        ([0, 1, 0, 1], True),
        ([0.0, 1.0, None, 0.0], True),
        ([False, True, False, None], True),
        ([1, None, 1, 1], True),  # nothing says "not set"
        ([1, 1, 1, 1], False),
        ([0, 2, 1, 0], False),
        ([0.0, 0.5, 1.0, 0.0], False),
        ([-1, 0, 1, 0], False),
        (["a", "b", "a", "b"], True),  # bytes, which may be those of a decimal: only numbers are asked about
    ],
)
def test_statistics_tell_columns_that_may_hold_flags(cells: list, may_be_flags: bool, source: Path) -> None:
    pq.write_table(pa.table({"x": cells}), source, row_group_size=2)
    assert ParquetInput(source).may_hold_flags("x") == may_be_flags
    pq.write_table(pa.table({"x": cells}), source, write_statistics=False)
    assert ParquetInput(source).may_hold_flags("x")  # nobody knows


def test_chunks_that_overlap_do_not_make_a_larger_file(source: Path, target: Path) -> None:
    pq.write_table(flat_table(1000), source)
    footer = deepcopy(read_footer(source))
    for chunk in footer.chunks():
        meta = chunk.value(ColumnChunk.META_DATA)
        meta.pop(ColumnMetaData.DICTIONARY_PAGE_OFFSET, None)
        meta.put(ColumnMetaData.DATA_PAGE_OFFSET, thrift.I64, 4)
        meta.put(ColumnMetaData.TOTAL_COMPRESSED_SIZE, thrift.I64, footer.start - 4)
    put_footer(source, thrift.encode(footer.tree))
    with pytest.raises(FileError, match="overlap"):
        append(source, target, pa.table({"x": pa.nulls(1000, pa.float32())}), drop_columns=["word"])
    assert not target.exists()


BLOOM_FILTER_HEADERS = {
    "outside the file": b"\x15\xfe\xff\xff\xff\x0f\x00",  # 2 GiB
    "negative": b"\x15\x01\x00",
    "64 bits": b"\x16" + b"\xff" * 11,
    "missing": b"\x00",
    "unknown type": b"\xff" * 300,
}


@pytest.mark.parametrize("reason", BLOOM_FILTER_HEADERS)
def test_a_bloom_filter_that_cannot_be_measured_is_refused(reason: str, source: Path, target: Path) -> None:
    """Its size is in its header if it is not in the footer."""
    header = BLOOM_FILTER_HEADERS[reason]
    pq.write_table(flat_table(1000), source)
    footer = deepcopy(read_footer(source))
    meta = footer.chunks()[0].value(ColumnChunk.META_DATA)
    meta.put(ColumnMetaData.BLOOM_FILTER_OFFSET, thrift.I64, footer.start)
    source.write_bytes(source.read_bytes()[: footer.start] + header + bytes(12))
    put_footer(source, thrift.encode(footer.tree))
    with pytest.raises(FileError, match=rf"`.*source\.parquet` is damaged: .*{reason}"):
        append(source, target, pa.table({"x": pa.nulls(1000, pa.float32())}), drop_columns=["word"])
    assert not target.exists()


@pytest.mark.parametrize("field_id", [FileMetaData.ENCRYPTION_ALGORITHM, None])
def test_an_encrypted_file_is_named_as_such(field_id: int | None, source: Path, target: Path) -> None:
    pq.write_table(flat_table(10), source)
    if field_id is None:
        source.write_bytes(b"PARE" + source.read_bytes()[4:-4] + b"PARE")
    else:
        algorithm = Struct({1: (thrift.STRUCT, Struct({2: (thrift.BINARY, b"unique")}))})
        _edit(lambda tree: tree.put(field_id, thrift.STRUCT, algorithm))(source)
    with pytest.raises(FileError, match=r"`.*source\.parquet` is encrypted"):
        ParquetAppender(source, target, NEW_SCHEMA)


def test_a_file_encrypted_by_pyarrow_is_named_as_such(source: Path, target: Path) -> None:
    encryption = pytest.importorskip("pyarrow.parquet.encryption")

    class Keys(encryption.KmsClient):  # type: ignore[misc,name-defined]
        def wrap_key(self, key_bytes: bytes, _: str) -> bytes:
            return key_bytes.hex().encode()

        def unwrap_key(self, wrapped_key: bytes, _: str) -> bytes:
            return bytes.fromhex(wrapped_key.decode())

    factory = encryption.CryptoFactory(lambda _: Keys())
    for plaintext_footer in (True, False):
        configuration = encryption.EncryptionConfiguration(
            footer_key="k", column_keys={"k": ["step"]}, plaintext_footer=plaintext_footer
        )
        properties = factory.file_encryption_properties(encryption.KmsConnectionConfig(), configuration)
        with pq.ParquetWriter(source, flat_table(10).schema, encryption_properties=properties) as writer:
            writer.write_table(flat_table(10))
        with pytest.raises(FileError, match="is encrypted"):
            ParquetAppender(source, target, NEW_SCHEMA)
        with pytest.raises(FileError, match=r"`.*source\.parquet` is encrypted") as caught:
            ParquetInput(source).read_whole("step")
        assert caught.value.hint == "decrypt it first"


CHANGES: tuple[Callable[[int], int], ...] = (
    lambda byte: byte ^ 1,
    lambda byte: (byte + 16) & 0xFF,
    lambda _: 0,
)


@pytest.mark.parametrize(
    ("drop", "changes", "step"),
    [(["x"], CHANGES[:1], 10), pytest.param([], CHANGES, 1, marks=pytest.mark.slow)],
    ids=["each tenth", "each"],
)
def test_a_changed_byte_of_a_footer_is_refused_or_harmless(
    drop: list[str], changes: tuple[Callable[[int], int], ...], step: int, source: Path, target: Path
) -> None:
    """Thousands of files: each either a FileError, or the old columns as pyarrow reads them, and the new."""
    table = pa.table(
        {
            "x": pa.array([1, 2, 3, 4], pa.int32()),
            "list": pa.array([[1.0, 2.0], [], None, [3.0]], pa.list_(pa.float32())),
            "word": pa.array(["a", "b", "a", None]).dictionary_encode(),
        }
    )
    pq.write_table(table, source, row_group_size=3, write_page_index=True)
    data = source.read_bytes()
    outcomes: Counter[str] = Counter()
    for position in range(read_footer(source).start, len(data), step):
        for change in changes:
            changed = bytearray(data)
            changed[position] = change(data[position])
            if changed != data:
                source.write_bytes(changed)
                outcomes[_outcome(source, target, drop)] += 1
    assert outcomes["harmless"] > 100 // step
    assert outcomes["refused"] > 500 // step
    assert "refused badly" not in outcomes
    assert outcomes.total() > 1000 * len(changes) // step


def _outcome(source: Path, target: Path, drop: list[str]) -> str:
    """Append to a file that may be damaged, and see that a file that comes out is right."""
    columns = new_columns(4)
    target.unlink(missing_ok=True)
    try:
        with ParquetAppender(source, target, NEW_SCHEMA, drop_columns=drop) as appender:
            if sum(appender.row_group_rows) != 4:
                return "other rows"
            appender.write(columns)
            appender.finish({"gaecli": "{}"})
    except FileError as error:
        return "refused" if str(source) in error.message and not target.exists() else "refused badly"
    try:
        before = pq.ParquetFile(source).read()
    except (pa.ArrowException, OSError, ValueError):
        return "unreadable"  # nor could it be read before
    after = pq.ParquetFile(target).read()
    num_old = after.num_columns - 2
    assert after.select(range(num_old, num_old + 2)).equals(columns)
    kept = [index for index, name in enumerate(before.column_names) if name not in drop]
    assert num_old == len(kept)
    try:
        assert after.select(range(num_old)).equals(before.select(kept))
    except pa.ArrowInvalid:
        return "unreadable"  # pyarrow read indices beyond a dictionary and now stumbles over them
    return "harmless"
