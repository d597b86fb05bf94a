"""A result in another format than its input, by the suffix of its name or by `--to`."""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

import gaecli
from gaecli.errors import GaeError
from gaecli.formats.registry import FORMATS, open_file

Run = Callable[..., Any]

SUFFIXES = {known.name: known.suffixes[0] for known in FORMATS if known.from_rows}
#: Each format once as what is read and once as what is written; the rest of the pairs in a thorough run.
CONVERSIONS = [
    pytest.param(one, other, marks=() if (number + 1 - place) % len(SUFFIXES) == 0 else pytest.mark.slow)
    for number, one in enumerate(SUFFIXES)
    for place, other in enumerate(SUFFIXES)
    if one != other
]
ROWS = 30
_random = np.random.default_rng(5)
#: Of types that every format has.
COLUMNS: dict[str, Any] = {
    "reward": _random.normal(size=ROWS),
    "value": _random.normal(size=ROWS).astype(np.float32),
    "done": np.arange(ROWS) % 7 == 6,
    "frame": np.arange(ROWS) * (1 << 57),
    "note": np.array([f'0{row} "ä", x' for row in range(ROWS)]),
}


def written(path: Path, table: pa.Table) -> Path:
    """By another writer than gaecli's, wherever there is one."""
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".arrow":
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    elif path.suffix == ".csv":
        pl.from_arrow(table).write_csv(path)
    else:
        np.savez(path, **{name: np.array(table[name].to_pylist()) for name in table.column_names})
    return path


def read(path: Path) -> dict[str, list[Any]]:
    """By another reader."""
    if path.suffix == ".parquet":
        return duckdb.sql(f"SELECT * FROM '{path}'").to_arrow_table().to_pydict()
    if path.suffix == ".arrow":
        return pl.read_ipc(path).to_dict(as_series=False)
    if path.suffix == ".jsonl":
        return pl.read_ndjson(path, infer_schema_length=None).to_dict(as_series=False)
    if path.suffix == ".csv":
        return pd.read_csv(path, float_precision="round_trip").to_dict(orient="list")
    with np.load(path) as arrays:
        return {name: arrays[name].tolist() for name in arrays.files}


@pytest.mark.parametrize(("source", "target"), CONVERSIONS)
class TestFromEachFormatToEach:
    def test_all_columns_go_over_and_the_new_ones_stand_beside_them(
        self, tmp_path: Path, source: str, target: str
    ) -> None:
        path = written(tmp_path / f"in{SUFFIXES[source]}", pa.table(COLUMNS))
        output, twin = tmp_path / f"out{SUFFIXES[target]}", tmp_path / f"twin{SUFFIXES[source]}"
        before = path.read_bytes()
        gaecli.compute(path, output)
        gaecli.compute(path, twin)
        found = read(output)
        assert path.read_bytes() == before
        assert list(found) == [*COLUMNS, "advantage", "return"]
        for name in ("reward", "done", "frame", "note"):
            assert found[name] == COLUMNS[name].tolist(), name
        for name, expected in (
            ("value", COLUMNS["value"]),
            *((n, read(twin)[n]) for n in ("advantage", "return")),
        ):
            assert (np.array(found[name], np.float32) == np.array(expected, np.float32)).all(), name

    @pytest.mark.few(3)
    def test_the_result_is_known_as_one(self, tmp_path: Path, source: str, target: str) -> None:
        path = written(tmp_path / f"in{SUFFIXES[source]}", pa.table(COLUMNS))
        output = tmp_path / f"out{SUFFIXES[target]}"
        gaecli.compute(path, output)
        first = output.read_bytes()
        (again,) = gaecli.compute(path, output).files
        assert (again.status, output.read_bytes()) == ("up to date", first)
        assert gaecli.compute(output).files[0].status == "up to date"
        assert open_file(output).format_name == target
        assert gaecli.strip(output).files[0].state == "stripped"
        assert list(read(output)) == list(COLUMNS)
        assert {one.suffix for one in tmp_path.iterdir()} <= {path.suffix, output.suffix, ".json"}


@pytest.mark.parametrize("target", ["arrow", "parquet", "jsonl"])
def test_lists_go_where_lists_are(tmp_path: Path, target: str) -> None:
    table = pa.table(
        {"rewards": [[1.0, 2.0], [3.0]], "values": [[0.5, 0.5], [0.25]], "o": [[[1.0]], [[2.0]]]}
    )
    path = written(tmp_path / f"in{'.arrow' if target == 'parquet' else '.parquet'}", table)
    gaecli.compute(path, tmp_path / f"out{SUFFIXES[target]}", bootstrap="zero")
    found = read(tmp_path / f"out{SUFFIXES[target]}")
    assert [found[name] for name in table.column_names] == list(table.to_pydict().values())
    assert [len(row) for row in found["advantage"]] == [2, 1]


@pytest.mark.parametrize(
    ("target", "column", "says"),
    [
        ("csv", pa.array([[1.0], [2.0]]), "`x`.*more than one value per cell"),
        ("csv", pa.array([b"a", b"b"]), "`x`.*holds no text"),
        ("csv", pa.array([{"a": 1}, None]), "`x`.*more than one value per cell"),
        ("jsonl", pa.array([b"a", b"b"]), "`x`.*holds no text"),
        ("csv", pa.array([b"ab", None], pa.binary(2)), "`x`.*holds no text"),
        ("jsonl", pa.array([b"ab", None], pa.binary(2)), "`x`.*holds no text"),
        ("jsonl", pa.array([bytes(16), None], pa.uuid()), "`x`.*holds no text"),
        ("csv", pa.array(["a\0b", ""]), "`x` holds a NUL"),
        ("npz", pa.array(["a\0", "a"]), "`x` has texts that end in a NUL"),
        ("jsonl", pa.array([float("inf"), 1.0]), "`x` holds infinity"),
        ("npz", pa.array([[1.0], [2.0, 3.0]]), "`x` has lists of different lengths"),
        ("npz", pa.array([1, None]), "`x` has nulls"),
        ("npz", pa.array([True, None]), "`x` has nulls"),
        ("npz", pa.array([{"a": 1}, None]), "`x`.*arrays have not"),
        ("npz", pa.array([decimal.Decimal("1.5")] * 2), "`x`.*arrays have not"),
    ],
)
def test_what_has_no_place_is_refused_before_anything_is_written(
    tmp_path: Path, target: str, column: pa.Array, says: str
) -> None:
    table = pa.table({"reward": [1.0, 2.0], "value": [0.5, 0.5], "done": [False, True], "x": column})
    path = written(tmp_path / "in.parquet", table)
    with pytest.raises(GaeError, match=says) as raised:
        gaecli.compute(path, tmp_path / f"out{SUFFIXES[target]}")
    assert "write" in (raised.value.hint or "")
    assert [one.name for one in tmp_path.iterdir()] == ["in.parquet"]


MOMENT = datetime.datetime(2024, 5, 6, 7, 8, 9, 123456)
KINDS: dict[str, tuple[pa.Array, Any, Any]] = {
    "null": (pa.array([1.5, None]), ["1.5", ""], [1.5, None]),
    "float32": (pa.array([0.1, 1e-7], pa.float32()), ["0.1", "1e-7"], [0.1, 1e-7]),
    "float16": (pa.array([0.5, 65504], pa.float16()), ["0.5", "65504.0"], [0.5, 65504.0]),
    "uint64": (pa.array([2**64 - 1, 0], pa.uint64()), ["18446744073709551615", "0"], [2**64 - 1, 0]),
    "decimal": (pa.array([decimal.Decimal("0.10")] * 2), ["0.10"] * 2, [0.1, 0.1]),
    "timestamp": (
        pa.array([MOMENT, None]),
        ["2024-05-06T07:08:09.123456", ""],
        ["2024-05-06T07:08:09.123456", None],
    ),
    "date": (pa.array([MOMENT.date()] * 2), ["2024-05-06"] * 2, ["2024-05-06"] * 2),
    "dictionary": (pa.array(["a", ""]).dictionary_encode(), ["a", '""'], ["a", ""]),
    "dictionary of moments": (
        pa.array([MOMENT, None]).dictionary_encode(),
        ["2024-05-06T07:08:09.123456", ""],
        ["2024-05-06T07:08:09.123456", None],
    ),
    "JSON": (pa.array(["{}", None], pa.json_(pa.string())), ["{}", ""], ["{}", None]),
    "bool8": (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0], pa.int8())), ["1", "0"], [1, 0]),
    "all null": (pa.nulls(2), ["", ""], [None, None]),
}


@pytest.mark.few(6)
@pytest.mark.parametrize("kind", KINDS)
def test_cells_are_written_with_all_that_they_are(tmp_path: Path, kind: str) -> None:
    column, cells, values = KINDS[kind]
    table = pa.table({"x": column, "reward": [1.0, 2.0], "value": [0.5, 0.5], "done": [False, True]})
    path = written(tmp_path / "in.arrow", table)
    for suffix in (".csv", ".jsonl"):
        gaecli.compute(path, tmp_path / f"out{suffix}")
    assert [line.split(",")[0].lower() for line in (tmp_path / "out.csv").read_text().splitlines()[1:]] == [
        cell.lower() for cell in cells
    ]
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["x"] for line in lines] == values


def flat_arrays(path: Path, **others: np.ndarray) -> Path:
    np.savez(path, reward=np.arange(8.0), value=np.ones(8), done=np.arange(8) % 4 == 3, **others)
    return path


@pytest.mark.parametrize("shape", [(8, 3), (8, 2, 3), (8, 1), (1, 8), (8, 1, 2)])
def test_each_row_of_flat_arrays_has_its_own_cells(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.arange(math.prod(shape)).reshape(shape)
    gaecli.compute(flat_arrays(tmp_path / "in.npz", x=array), tmp_path / "out.parquet")
    expected = array.reshape(-1).tolist() if array.size == 8 else array.tolist()
    assert pq.read_table(tmp_path / "out.parquet")["x"].to_pylist() == expected


@pytest.mark.parametrize("shape", [(8, 1, 1), (8, 1, 2), (1, 8, 1), (1, 8, 2)])
def test_an_axis_of_length_1_is_an_axis_of_cells_behind_those_of_steps(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    array = np.arange(math.prod(shape)).reshape(shape)
    steps = {name: np.zeros(shape[:2]) for name in ("reward", "value", "done")}
    np.savez(tmp_path / "in.npz", **steps, x=array)
    gaecli.compute(tmp_path / "in.npz", tmp_path / "out.parquet", layout="time-major")
    assert pq.read_table(tmp_path / "out.parquet")["x"].to_pylist() == array.reshape(8, -1).tolist()


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (np.ones((4, 2)), "`x`.*has no place in rows"),
        (np.ones((2, 2, 2)), "`x`.*has no place in rows"),
        (np.ones((8, 0)), "`x`.*has no place in rows"),
        (np.ones(8, np.longdouble), "`x`.*Arrow has no type for"),
        (np.ones(8, "M8[M]"), "`x`.*Arrow has no type for"),
        (np.array(["NaT"] * 8, "M8"), "`x`.*Arrow has no type for"),
    ],
)
def test_a_flat_array_that_has_no_cell_for_a_row_is_named(
    tmp_path: Path, other: np.ndarray, says: str
) -> None:
    with pytest.raises(GaeError, match=says):
        gaecli.compute(flat_arrays(tmp_path / "in.npz", x=other), tmp_path / "out.parquet")


@pytest.mark.parametrize(
    "data_type",
    [
        pa.decimal128(5, -2),
        pa.list_(pa.decimal256(5, -2)),
        pa.struct([("a", pa.decimal128(5, -2))]),
        pa.month_day_nano_interval(),
        pa.struct([]),
    ],
    ids=str,
)
def test_a_type_that_parquet_has_not_is_told_before_anything_is_written(
    tmp_path: Path, data_type: pa.DataType
) -> None:
    others = {"reward": [1.0, 2.0], "value": [0.5, 0.5], "done": [False, True]}
    path = written(tmp_path / "in.arrow", pa.table({"x": pa.nulls(2, data_type), **others}))
    with pytest.raises(gaecli.UsageError, match=r"`x` of .* has a type that Parquet has not"):
        gaecli.compute(path, tmp_path / "out.parquet", dry_run=True)


@pytest.mark.parametrize("name", ["", "[", "<a>", "%", "{", "x" * 70_000])
def test_a_converted_file_is_known_whatever_its_first_bytes_are(tmp_path: Path, name: str) -> None:
    table = pa.table({name: [1, 2], "reward": [1.0, 2.0], "value": [0.5, 0.5], "done": [False, True]})
    gaecli.compute(written(tmp_path / "in.parquet", table), tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row[:2] for row in csv.reader(file)] == [[name, "reward"], ["1", "1.0"], ["2", "2.0"]]


@pytest.mark.parametrize(("target", "says"), [("csv", "holds a NUL"), ("npz", "has a NUL")])
def test_a_name_with_a_nul_is_not_cut_off(tmp_path: Path, target: str, says: str) -> None:
    table = pa.table({"a\0b": [1, 2], "reward": [1.0, 2.0], "value": [0.5, 0.5], "done": [False, True]})
    path = written(tmp_path / "in.arrow", table)
    with pytest.raises(GaeError, match=says):
        gaecli.compute(path, tmp_path / f"out.{target}")


@pytest.mark.parametrize(("layout", "env_axis"), [("time-major", 1), ("batch-major", 0)])
@pytest.mark.parametrize("target", ["parquet", "csv"])
def test_arrays_become_rows_that_give_the_same_numbers(
    tmp_path: Path, layout: str, env_axis: int, target: str
) -> None:
    random = np.random.default_rng(2)
    shape = (5, 3) if env_axis else (3, 5)
    arrays = {
        "rewards": random.normal(size=shape),
        "values": random.normal(size=shape),
        "terminated": random.random(shape) < 0.3,
        "last_values": random.normal(size=3),
    }
    path, output = tmp_path / "in.npz", tmp_path / f"out{SUFFIXES[target]}"
    np.savez(path, **arrays)
    gaecli.compute(path, output, layout=layout)
    gaecli.compute(path, layout=layout)
    found = read(output)
    expected = np.load(path)["advantage"]
    steps, envs = np.array(found["step"]), np.array(found["env_id"])
    place = (steps, envs) if env_axis else (envs, steps)
    np.testing.assert_array_equal(np.array(found["rewards"]), arrays["rewards"][place])
    np.testing.assert_array_equal(np.array(found["last_values"]), arrays["last_values"][envs])
    np.testing.assert_array_equal(np.array(found["advantage"], np.float32), expected[place])
    gaecli.compute(output, advantage_column="again", return_column="again_return")
    np.testing.assert_array_equal(np.array(read(output)["again"], np.float32), expected[place])


def test_observations_of_arrays_are_lists(tmp_path: Path) -> None:
    observations = np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2)
    path = tmp_path / "in.npz"
    np.savez(
        path,
        rewards=np.ones((2, 3)),
        values=np.ones((2, 3)),
        terminated=np.zeros((2, 3), bool),
        obs=observations,
    )
    gaecli.compute(path, tmp_path / "out.parquet", layout="time-major")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["obs"].to_pylist() == observations.reshape(6, 2, 2).tolist()
    assert table.schema.field("obs").type == pa.list_(pa.list_(pa.uint8(), 2), 2)


@pytest.mark.parametrize("other", [np.ones((4, 2)), np.ones(7), np.array([object()])])
def test_an_array_that_has_no_number_for_a_row_is_named(tmp_path: Path, other: np.ndarray) -> None:
    path = tmp_path / "in.npz"
    np.savez(
        path, rewards=np.ones((3, 2)), values=np.ones((3, 2)), terminated=np.zeros((3, 2), bool), other=other
    )
    with pytest.raises(GaeError, match="array `other`"):
        gaecli.compute(path, tmp_path / "out.csv", layout="time-major")
    assert not (tmp_path / "out.csv").exists()


TEXTS = st.text("aé,\"'\n ;0", max_size=4).map(lambda text: f"t{text}")
CELLS = st.tuples(st.floats(allow_infinity=False), st.integers(-(2**63), 2**63 - 1), TEXTS)


@examples(30)
@given(rows=st.lists(CELLS, min_size=1, max_size=6))
def test_there_and_back_again(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, int, str]]
) -> None:
    folder = tmp_path_factory.mktemp("around")
    x, n, text = map(list, zip(*rows, strict=True))
    ones = [1.0] * len(rows)
    table = pa.table({"x": x, "n": pa.array(n, pa.int64()), "text": text, "reward": ones, "done": ones})
    path = written(folder / "0.parquet", table)
    for number, suffix in enumerate((".csv", ".arrow", ".jsonl", ".parquet"), 1):
        path, before = folder / f"{number}{suffix}", path
        gaecli.compute(before, path, estimator="mc")
    found = pq.read_table(path).to_pydict()
    assert found["n"] == n
    assert found["text"] == text
    assert np.array_equal(np.array(found["x"], float), np.array(x), equal_nan=True)


def test_metadata_of_a_schema_goes_over(tmp_path: Path) -> None:
    table = pa.table({"reward": [1.0], "value": [0.5], "done": [True]}).replace_schema_metadata({"mine": "1"})
    gaecli.compute(written(tmp_path / "in.parquet", table), tmp_path / "out.arrow")
    gaecli.compute(tmp_path / "out.arrow", tmp_path / "back.parquet")
    assert pq.read_schema(tmp_path / "back.parquet").metadata[b"mine"] == b"1"


def test_a_folder_goes_over_with_to(tmp_path: Path) -> None:
    for name in ("a", "b"):
        written(tmp_path / f"{name}.parquet", pa.table(COLUMNS))
    gaecli.compute(tmp_path, tmp_path.parent / f"{tmp_path.name}-out", to="csv")
    found = sorted((tmp_path.parent / f"{tmp_path.name}-out").glob("*.csv"))
    assert [one.name for one in found] == ["a.csv", "b.csv"]
    assert len(read(found[0])["advantage"]) == ROWS


def test_stdout_goes_over_with_to(run_gae: Run, tmp_path: Path) -> None:
    path = written(tmp_path / "in.parquet", pa.table({"reward": [1.0], "value": [0.25], "done": [True]}))
    done = run_gae("compute", path, "-o", "-", "--to", "csv")
    assert done.stdout == "reward,value,done,advantage,return\n1.0,0.25,true,0.75,1.0\n", done.stderr


@pytest.mark.parametrize(
    ("output", "to", "says"),
    [
        (None, "csv", "nothing says where"),
        ("x.parquet", "csv", "`--to` says `csv`"),
        ("d/", "xlsx", "`--to` is `xlsx`"),
    ],
)
def test_what_to_cannot_mean_is_told(tmp_path: Path, output: str | None, to: str, says: str) -> None:
    path = written(tmp_path / "in.parquet", pa.table(COLUMNS))
    target = None if output is None else f"{tmp_path}/{output}"
    with pytest.raises(gaecli.UsageError, match=says):
        gaecli.compute(path, target, to=to)
