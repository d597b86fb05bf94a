"""Types that Arrow files have and others lack: as columns that nobody asks for, and in the roles they can play."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from formats.arrow_writers import STEPS, advantages

import gaecli
from gaecli.errors import DataError
from gaecli.formats.arrow.columns import to_column
from gaecli.formats.base import Column
from gaecli.formats.registry import open_file

FLOATS = pa.array([1.0, None, 2.0, 2.0, 2.0, None, None, 0.5])
WORDS = ["a", "a", None, "b", "b", "b" * 20, "b" * 20, ""]
LISTS = [[1.0, 2.0], None, [], [3.0], [4.0], [None], [5.0, 6.0], [7.0]]
CODES = pa.array([0, 1, 0, 1, 0, 1, 0, 1], pa.int8())


def runs(values: pa.Array, ends: list[int], index: pa.DataType = pa.int32()) -> pa.Array:  # noqa: B008 - a constant
    return pa.RunEndEncodedArray.from_arrays(pa.array(ends, index), values)


def lists_of(items: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(range(9), pa.int32()), items)


PASSENGERS: dict[str, pa.Array] = {
    "runs of numbers": pc.run_end_encode(FLOATS),
    "runs of texts": pc.run_end_encode(pa.array(WORDS)),
    "runs of text views": runs(pa.array(["a", None, "b" * 20], pa.string_view()), [2, 3, 8]),
    "runs of lists": runs(pa.array([[1.0], None]), [3, 8], pa.int16()),
    "runs of a dictionary": runs(pa.array(["x", "y"]).dictionary_encode(), [2, 8], pa.int64()),
    "lists of runs": lists_of(pc.run_end_encode(FLOATS)),
    "list views": pa.array(LISTS, pa.list_view(pa.float32())),
    "large list views": pa.array(LISTS, pa.large_list_view(pa.float32())),
    "list views that share": pa.ListViewArray.from_arrays(
        pa.array([4, 0, 2, 1, 1, 3, 0, 0], pa.int32()), pa.array([1, 3, 0, 2, 2, 2, 5, 5], pa.int32()), FLOATS
    ),
    "list views of text views": pa.array([[w] for w in WORDS], pa.list_view(pa.string_view())),
    "text views": pa.array(WORDS, pa.string_view()),
    "binary views": pa.array([None if w is None else w.encode() for w in WORDS], pa.binary_view()),
    "large texts": pa.array(WORDS, pa.large_string()),
    "large lists": pa.array(LISTS, pa.large_list(pa.float32())),
    "null lists that hold items": pa.ListArray.from_arrays(
        pa.array([0, 2, 3, 3, 4, 6, 7, 8, 8], pa.int32()),
        FLOATS,
        mask=pa.array([False, True, True, False, True, False, True, False]),
    ),
    "lists of two": pa.array([[1.0, 2.0]] * 4 + [None] * 4, pa.list_(pa.float32(), 2)),
    "nulls": pa.nulls(8),
    "halves": pa.array(np.arange(8).astype(np.float16)),
    **{
        f"decimals of {kind(9, 2).bit_width} bits": pa.array([Decimal("1.5"), None] * 4, kind(9, 2))
        for kind in (pa.decimal32, pa.decimal64, pa.decimal128, pa.decimal256)
    },
    "a dictionary": pa.array(WORDS).dictionary_encode(),
    "a dictionary of numbers": FLOATS.dictionary_encode(),
    "lists of a dictionary": lists_of(pa.array(WORDS).dictionary_encode()),
    "a dictionary of structs": pa.DictionaryArray.from_arrays(
        CODES, pa.StructArray.from_arrays([pa.array(["a", "b"]).dictionary_encode()], ["d"])
    ),
    "a dense union": pa.UnionArray.from_dense(
        CODES, pa.array([0, 0, 1, 1, 2, 2, 3, 3], pa.int32()), [pa.array([1, 2, 3, 4]), pa.array(WORDS[:4])]
    ),
    "a sparse union": pa.UnionArray.from_sparse(CODES, [FLOATS, pa.array(WORDS)]),
    "maps": pa.array([[("a", 1)], None, [], [("b", None)]] * 2, pa.map_(pa.string(), pa.int64())),
    "months, days and nanoseconds": pa.array([(1, 2, 3), None] * 4, pa.month_day_nano_interval()),
    "uuids": pa.array([bytes(range(16))] * 8, pa.uuid()),
    "tensors": pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.float32(), (2,)), pa.array([[1.0, 2.0]] * 8, pa.list_(pa.float32(), 2))
    ),
}


def write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    table = pa.table(columns)
    opened = pa.ipc.new_stream if path.suffix == ".arrows" else pa.ipc.new_file
    with opened(path, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=5)
    return path


def read(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as source:
        opened = pa.ipc.open_stream if path.suffix == ".arrows" else pa.ipc.open_file
        return opened(source).read_all()


@pytest.mark.few(12)
@pytest.mark.parametrize("suffix", [".arrow", ".arrows"])
@pytest.mark.parametrize("name", PASSENGERS)
def test_a_column_that_nobody_asks_for_stays(name: str, suffix: str, tmp_path: Path) -> None:
    options = {"compression": "zstd"} if suffix == ".arrow" else {}
    path = write(tmp_path / f"rollouts{suffix}", {**STEPS, "x": PASSENGERS[name]}, **options)
    before = read(path)
    gaecli.compute(path)
    after = read(path)
    after.validate(full=True)
    assert after.select(before.column_names).equals(before)
    assert after.column("x").to_pylist() == PASSENGERS[name].to_pylist()
    np.testing.assert_allclose(after.column("advantage").to_pylist(), advantages(), rtol=1e-6)
    assert gaecli.compute(path).files[0].status == "up to date"


def test_unions_of_files_older_than_arrow_1_stay(tmp_path: Path) -> None:
    """pyarrow reads other cells from them where it skips a column."""
    union = PASSENGERS["a sparse union"]
    path = write(tmp_path / "old.arrow", {**STEPS, "x": union}, metadata_version=pa.ipc.MetadataVersion.V4)
    gaecli.compute(path)
    assert read(path).column("x").to_pylist() == union.to_pylist()


#: One way to store the cells of a column -> the array.
ENCODINGS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "runs": pc.run_end_encode,
    "runs of 16 bits": lambda array: pc.run_end_encode(array, run_end_type=pa.int16()),
    "dictionary": lambda array: array.dictionary_encode(),
    "list views of one": lambda array: pa.ListViewArray.from_arrays(
        pa.array(range(8), pa.int32()), pa.array([1] * 8, pa.int32()), array
    ),
    "list views of one, from the last": lambda array: pa.ListViewArray.from_arrays(
        pa.array(range(7, -1, -1), pa.int32()), pa.array([1] * 8, pa.int32()), array[::-1]
    ),
    "runs of lists of one": lambda array: runs(lists_of(array), list(range(1, 9))),
}


@pytest.mark.few(12)
@pytest.mark.parametrize("suffix", [".arrow", ".arrows"])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("role", [*STEPS, "all"])
def test_columns_are_decoded_in_every_role(role: str, encoding: str, suffix: str, tmp_path: Path) -> None:
    columns = {
        name: ENCODINGS[encoding](pa.array(cells)) if role in (name, "all") else pa.array(cells)
        for name, cells in STEPS.items()
    }
    path = write(tmp_path / f"rollouts{suffix}", columns)
    gaecli.compute(path)
    np.testing.assert_allclose(read(path).column("advantage").to_pylist(), advantages(), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("episode_id", runs(pa.array(["x", "y"], pa.string_view()), [3, 8])),
        ("episode_id", runs(pa.array(["x", "y"]).dictionary_encode(), [3, 8])),
        ("episode_id", pa.array([b"a" * 20] * 3 + [b"b" * 20] * 5, pa.binary_view())),
        ("infos.value", pa.StructArray.from_arrays([pc.run_end_encode(pa.array(STEPS["value"]))], ["value"])),
    ],
    ids=["runs of text views", "runs of a dictionary", "binary views", "runs in structs"],
)
def test_other_types_play_their_role(name: str, cells: pa.Array, tmp_path: Path) -> None:
    head, *path = name.split(".")
    others = {key: value for key, value in STEPS.items() if key not in (head, *path)}
    place = write(tmp_path / "rollouts.arrow", {**others, head: cells})
    gaecli.compute(place, **({"value_column": name} if path else {}))
    np.testing.assert_allclose(read(place).column("advantage").to_pylist(), advantages(), rtol=1e-6)


ORDER = (3, 5)
#: Lists of the two episodes, stored in several ways -> the type that the new columns then have.
NESTED: dict[str, tuple[Callable[[pa.Array], pa.Array], pa.DataType]] = {
    "list views": (
        lambda items: pa.ListViewArray.from_arrays(
            pa.array([0, 3], pa.int32()), pa.array(ORDER, pa.int32()), items
        ),
        pa.list_(pa.float32()),
    ),
    "list views, the last first": (
        lambda items: pa.ListViewArray.from_arrays(
            pa.array([5, 0], pa.int32()),
            pa.array(ORDER, pa.int32()),
            pa.concat_arrays([items[3:], items[:3]]),
        ),
        pa.list_(pa.float32()),
    ),
    "large list views": (
        lambda items: pa.LargeListViewArray.from_arrays(
            pa.array([0, 3], pa.int64()), pa.array(ORDER, pa.int64()), items
        ),
        pa.large_list(pa.float32()),
    ),
    "lists of runs": (
        lambda items: pa.ListArray.from_arrays(pa.array([0, 3, 8], pa.int32()), pc.run_end_encode(items)),
        pa.list_(pa.float32()),
    ),
    "list views of runs": (
        lambda items: pa.ListViewArray.from_arrays(
            pa.array([0, 3], pa.int32()), pa.array(ORDER, pa.int32()), pc.run_end_encode(items)
        ),
        pa.list_(pa.float32()),
    ),
    "runs of large lists": (
        lambda items: runs(pa.LargeListArray.from_arrays(pa.array([0, 3, 8], pa.int64()), items), [1, 2]),
        pa.large_list(pa.float32()),
    ),
}


@pytest.mark.few(5)
@pytest.mark.parametrize("suffix", [".arrow", ".arrows"])
@pytest.mark.parametrize("name", NESTED)
def test_lists_of_steps_are_trajectories_in_every_encoding(name: str, suffix: str, tmp_path: Path) -> None:
    encode, wanted = NESTED[name]
    columns = {key: encode(pa.array(cells)) for key, cells in STEPS.items() if key != "episode_id"}
    path = write(tmp_path / f"rollouts{suffix}", columns)
    before = read(path)
    gaecli.compute(path)
    after = read(path)
    found = after.column("advantage")
    assert found.type == wanted
    assert [len(row) for row in found.to_pylist()] == list(ORDER)
    np.testing.assert_allclose(found.combine_chunks().flatten().to_pylist(), advantages(), rtol=1e-6)
    assert after.select(before.column_names).equals(before)


def test_list_views_in_parquet_are_lists(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    encode, _ = NESTED["list views, the last first"]
    columns = {key: encode(pa.array(cells)) for key, cells in STEPS.items() if key != "episode_id"}
    path = tmp_path / "rollouts.parquet"
    pq.write_table(pa.table(columns), path)
    before = pq.read_table(path)
    gaecli.compute(path)
    after = pq.read_table(path)
    np.testing.assert_allclose(
        after.column("advantage").combine_chunks().flatten().to_pylist(), advantages(), rtol=1e-6
    )
    assert after.select(before.column_names).equals(before)


@pytest.mark.parametrize("start", range(8))
@pytest.mark.parametrize(
    "name",
    [
        *("runs of numbers", "runs of lists", "lists of runs", "list views", "list views that share"),
        *("lists of two", "null lists that hold items"),
    ],
)
def test_slices_are_decoded_as_pyarrow_does(name: str, start: int) -> None:
    for length in range(9 - start):
        array = PASSENGERS[name].slice(start, length)
        assert as_cells(to_column(array)) == array.to_pylist(), length


def as_cells(column: Column) -> list[Any]:
    cells = [
        None if column.is_null is not None and column.is_null[i] else float(column.values[i])
        for i in range(len(column.values))
    ]
    if column.offsets is not None:
        cells = [
            None if column.null_lists is not None and column.null_lists[i] else cells[first:last]
            for i, (first, last) in enumerate(zip(column.offsets, column.offsets[1:], strict=False))
        ]
    return cells


def test_lists_that_share_without_measure_are_refused(tmp_path: Path) -> None:
    """2^15 rows of 2^14 items each, in a file of 300 kB."""
    rows, many = 1 << 15, 1 << 14
    starts, sizes = np.zeros(rows, np.int32), np.full(rows, many, np.int32)
    shared = pa.ListViewArray.from_arrays(
        pa.array(starts), pa.array(sizes), pa.array(np.zeros(many, np.float32))
    )
    path = tmp_path / "shared.arrow"
    batch = pa.record_batch({"reward": shared})
    with pa.ipc.new_file(path, batch.schema) as writer:
        writer.write_batch(batch)  # in slices, pyarrow would store all items with each
    assert path.stat().st_size < 400_000
    with pytest.raises(DataError, match="536,870,912 items in one batch"):
        open_file(path).read_whole("reward")


def test_a_union_as_reward_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    rewards = pa.UnionArray.from_sparse(pa.array([0] * 8, pa.int8()), [pa.array(STEPS["reward"])])
    path = write(tmp_path / "rollouts.arrow", {**STEPS, "reward": rewards})
    before = path.read_bytes()
    with pytest.raises(DataError, match="sparse_union"):
        gaecli.compute(path)
    assert path.read_bytes() == before
    assert [place.name for place in tmp_path.iterdir()] == ["rollouts.arrow"]
