"""Row groups that a reader may pass over, by the least and the greatest cells that the footer tells."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gaecli.formats.parquet import reader
from gaecli.formats.parquet.footer import ColumnChunk, ColumnMetaData, Statistics, read_footer
from gaecli.formats.parquet.reader import ParquetInput

LONG = "x" * 300
NUMBERS = [-3, -1, 2, 7, 7, 9, None, None, 40, 256]
TEXTS = ["a", "é", "b", "b", LONG + "a", LONG + "c", None, None, "", "ab"]


def kept(path: Path, **labels: str) -> list[int]:
    """The first rows of the groups of two rows that are left."""
    file = ParquetInput(path)
    return [unit.start for unit in file.units_with(file.units(2, "x"), labels)]


@pytest.mark.parametrize("kind", [pa.int8(), pa.int32(), pa.int64()])
def test_whole_numbers_are_in_no_group_whose_least_and_greatest_they_lie_beyond(
    tmp_path: Path, kind: pa.DataType
) -> None:
    cells = [cell if cell != 256 else 90 for cell in NUMBERS]
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": pa.array(cells).cast(kind)}), path, row_group_size=2)
    for label in range(-5, 100):
        between = [
            start
            for start in range(0, 10, 2)
            if None not in cells[start : start + 2] and cells[start] <= label <= cells[start + 1]
        ]
        assert kept(path, x=str(label)) == between


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_a_group_with_a_text_is_never_left_out_and_one_beyond_it_is(
    tmp_path: Path, kind: pa.DataType
) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": pa.array(TEXTS).cast(kind)}), path, row_group_size=2)
    for row, text in enumerate(TEXTS):
        if text is not None:
            assert row // 2 * 2 in kept(path, x=text)
    assert kept(path, x="d") == [0]  # é comes after all that is plain, byte by byte
    assert kept(path, x="0") == [8]
    assert kept(path, x="\U0001f600") == []


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([1, 2, 250, 251], pa.uint8()),
        pa.array([1.0, 2.0, 8.0, 9.0]),
        pa.array([1, 2, 8, 9], pa.timestamp("us")),
        pa.array([1, 2, 8, 9], pa.date32()),
        pa.array([b"1", b"2", b"8", b"9"]),
        pa.array([[1], [2], [8], [9]]),
        pa.array([1, 2, 8, 9]).cast(pa.decimal128(20, 0)),
    ],
    ids=lambda cells: str(cells.type),
)
def test_of_all_other_types_every_group_is_kept(tmp_path: Path, cells: pa.Array) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": cells}), path, row_group_size=2)
    assert kept(path, x="5") == [0, 2]


def test_every_column_has_to_agree_and_what_is_no_column_of_the_file_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": [0, 1, 2, 3], "y": [5, 5, 4, 5]}), path, row_group_size=2)
    assert kept(path, x="1", y="5") == [0]
    assert kept(path, x="1", y="4") == []
    assert kept(path, z="1") == [0, 2]
    assert kept(path, x="one") == [0, 2]


def test_a_unit_of_several_groups_is_kept_for_any_of_them(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": [0, 1, 2, 3, 4, 5, 6, 7]}), path, row_group_size=2)
    file = ParquetInput(path)
    units = file.units(4, "x")
    assert [list(file.units_with(units, {"x": str(cell)})) for cell in (3, 4, 8)] == [
        [units[0]],
        [units[1]],
        [],
    ]


def _without(chunk: Any, *fields: int) -> None:
    found = chunk.value(ColumnChunk.META_DATA).value(ColumnMetaData.STATISTICS)
    for field_id in fields:
        del found[field_id]


def _turned(chunk: Any) -> None:
    found = chunk.value(ColumnChunk.META_DATA).value(ColumnMetaData.STATISTICS)
    low, high = found[Statistics.MIN_VALUE], found[Statistics.MAX_VALUE]
    found[Statistics.MIN_VALUE], found[Statistics.MAX_VALUE] = high, low


def _of_another_size(chunk: Any) -> None:
    found = chunk.value(ColumnChunk.META_DATA).value(ColumnMetaData.STATISTICS)
    for field_id in (Statistics.MIN_VALUE, Statistics.MAX_VALUE):
        found[field_id] = (found[field_id][0], found[field_id][1][:3])


@pytest.mark.parametrize(
    "changed",
    [
        lambda chunk: _without(chunk, Statistics.MAX_VALUE),  # the older fields are there
        lambda chunk: _without(chunk, Statistics.MIN_VALUE),
        _turned,
        _of_another_size,
    ],
    ids=["no greatest", "no least", "least above greatest", "of three bytes"],
)
def test_statistics_that_cannot_be_right_leave_nothing_out(
    tmp_path: Path, changed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": [0, 1, 8, 9]}), path, row_group_size=2)
    assert kept(path, x="4") == []
    footer = deepcopy(read_footer(path))
    changed(footer.chunks()[0])
    monkeypatch.setattr(reader, "read_footer", lambda _: footer)
    assert kept(path, x="4") == [0]


def test_a_file_without_statistics_leaves_nothing_out(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": [0, 1, 8, 9]}), path, row_group_size=2, write_statistics=False)
    assert kept(path, x="4") == [0, 2]


@pytest.mark.parametrize(
    "kind", [pa.float16(), pa.decimal128(4, 0), pa.decimal256(40, 2), pa.float32(), pa.int8()]
)
@pytest.mark.parametrize(("cells", "may"), [([0, 1, 0], True), ([0, 2, 1], False)])
def test_flags_of_every_type_of_number_may_be_some(
    tmp_path: Path, kind: pa.DataType, cells: list[int], may: bool
) -> None:
    """Halves of floats and decimals are stored as texts are, of which the footer does not tell the number."""
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": pa.array(cells).cast(pa.float32()).cast(kind)}), path)
    is_told = not (pa.types.is_float16(kind) or pa.types.is_decimal(kind))
    assert ParquetInput(path).may_hold_flags("x") == (may or not is_told)
