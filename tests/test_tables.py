"""Tables and arrays in memory in the place of files: the numbers of the files, and the kind of table that came."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.rollout_files import advantages, columns

import gaecli
import gaecli.polars
from gaecli.api.keyword_words import SWITCHES, in_keywords
from gaecli.cli.options import OPTIONS
from gaecli.setting_fields import ROLES

TABLE = pa.table(columns())
pytestmark = [pytest.mark.filterwarnings("ignore:.*bootstrap-zero"), pytest.mark.keywords]
KINDS: dict[str, Callable[[pa.Table], Any]] = {
    "pyarrow": lambda table: table,
    "polars": pl.from_arrow,
    "pandas": lambda table: table.to_pandas().set_index(
        pd.Index(range(100, 100 + table.num_rows), name="at")
    ),
    "duckdb": lambda table: duckdb.from_arrow(table),
    "a stream": lambda table: table.to_reader(7),
}


def as_arrow(kind: str, table: Any) -> pa.Table:
    if kind == "polars":
        return table.to_arrow()
    return pa.Table.from_pandas(table, preserve_index=False) if kind == "pandas" else table


@pytest.fixture(autouse=True)
def no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_comes_back_with_its_columns_and_the_new_ones(kind: str) -> None:
    source = KINDS[kind](TABLE)
    found = gaecli.compute(source, gamma=0.9, lam=0.8)
    assert type(found) is (pa.Table if kind in ("duckdb", "a stream") else type(source))
    arrow = as_arrow(kind, found)
    assert arrow.column_names == [*TABLE.column_names, "advantage", "return"]
    assert arrow.select(TABLE.column_names).to_pydict() == TABLE.to_pydict()
    expected = advantages(columns(), 0.9, 0.8)
    assert np.allclose(arrow["advantage"].to_numpy(), expected, rtol=1e-6)
    assert np.allclose(arrow["return"].to_numpy(), expected + columns()["value"], rtol=1e-6)
    if kind == "pandas":
        assert found.index.equals(source.index)
        assert "advantage" not in source.columns


def test_lists_of_steps_have_lists_of_advantages() -> None:
    frame = pl.DataFrame(
        {"reward": [[1.0, 0.0], [2.0]], "value": [[0.5, 0.25], [1.0]], "terminated": [[False, True], [True]]}
    )
    found = gaecli.compute(frame, gamma=0.5, lam=1.0)
    assert found["advantage"].to_list() == [[0.5, -0.25], [1.0]]


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_arrays_are_what_an_npz_file_holds(kind: str) -> None:
    torch = pytest.importorskip("torch")
    # Written by hand: two environments, γ = 0.5, λ = 1; both are cut at the end with the values behind it.
    arrays = {
        "rewards": np.array([[1.0, 2.0], [3.0, 4.0]]),
        "values": np.array([[0.5, 0.0], [1.0, 2.0]]),
        "dones": np.array([[False, True], [False, False]]),
        "last_values": np.array([8.0, 4.0]),
    }
    given = {name: torch.from_numpy(array) for name, array in arrays.items()} if kind == "torch" else arrays
    found = gaecli.compute(given, gamma=0.5, lam=1.0, layout="time-major", done_at="end")
    assert list(found) == [*arrays, "advantage", "return"]
    assert all(type(one) is (torch.Tensor if kind == "torch" else np.ndarray) for one in found.values())
    assert found["advantage"].tolist() == [
        [1 + 0.5 * (3 + 0.5 * 8) - 0.5, 2.0],
        [3 + 0.5 * 8 - 1, 4 + 0.5 * 4 - 2],
    ]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e5m2"])
def test_tensors_of_types_that_numpy_lacks_are_numbers(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    rewards, values = torch.tensor([[1.0, -0.5, 2.0], [0.5, -0.25, 1.0]]).to(getattr(torch, dtype))
    given = {"reward": rewards, "value": values, "terminated": torch.tensor([False, False, True])}
    found = gaecli.compute(given, gamma=0.5, lam=0.0)
    # r + γ V' - V by hand; all of these numbers are exact in eight bits.
    assert found["advantage"].tolist() == [1 + 0.5 * -0.25 - 0.5, -0.5 + 0.5 * 1 + 0.25, 2 - 1]
    assert found["reward"] is rewards


def test_an_array_may_have_any_name() -> None:
    others = {name: np.arange(2) for name in ("file", "allow_pickle", "a/b", "../c")}
    found = gaecli.compute(
        {"reward": [1.0, 2.0], "value": [0.0, 0.0], "terminated": [0, 1], **others}, lam=0.0
    )
    assert found["advantage"].tolist() == [1.0, 2.0]
    assert all(found[name] is array for name, array in others.items())


def test_every_setting_holds_and_the_summary_is_that_of_a_file(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder, "a.parquet")
        pq.write_table(TABLE, path)
        settings = {"normalize": "all", "keep_raw": True, "bootstrap": "zero", "preset": "sb3", "gamma": 0.9}
        expected = gaecli.compute(path, **settings)
        table, summary = gaecli.compute(TABLE, with_summary=True, **settings)
        assert table.equals(pq.read_table(path))
    assert (summary.columns, summary.totals) == (expected.columns, expected.totals)
    assert [file.input for file in summary.files] == ["<table>"]
    assert [note.code for note in summary.warnings] == [note.code for note in expected.warnings]


def test_what_a_summary_warns_of_is_a_warning() -> None:
    flagless = TABLE.drop_columns(["terminated", "truncated"]).append_column("done", TABLE["terminated"])
    with pytest.warns(UserWarning, match="bootstrap-zero") as told:
        gaecli.compute(flagless, done_at="end", bootstrap="zero")
    _, summary = gaecli.compute(flagless, done_at="end", bootstrap="zero", with_summary=True)
    assert [str(one.message) for one in told] == [
        f"{note.message} ({note.code})" for note in summary.warnings
    ]
    assert told[0].filename == __file__


def test_errors_speak_of_keywords_and_of_the_table() -> None:
    arrays = {"rewards": np.ones((3, 2)), "values": np.ones((4, 2)), "dones": np.zeros((3, 2), np.bool_)}
    with pytest.raises(gaecli.UsageError, match="`dones` of `<table>` has two meanings") as error:
        gaecli.compute(arrays)
    assert error.value.hint is not None
    assert error.value.hint.startswith('pass `done_at="end"` or `done_at="start"`')
    with pytest.raises(gaecli.GaeError) as error:
        gaecli.compute(TABLE.select(["reward", "value"]))
    assert "`done_column`" in f"{error.value.hint}"
    assert "--" not in f"{error.value} {error.value.hint}"
    with pytest.raises(gaecli.UsageError, match="already") as taken:
        gaecli.compute(gaecli.compute(TABLE))
    assert taken.value.hint is not None
    assert "overwrite=True" in taken.value.hint
    again = gaecli.compute(gaecli.compute(TABLE), overwrite=True, gamma=0.5)
    assert again.column_names == [*TABLE.column_names, "advantage", "return"]
    assert np.allclose(again["advantage"], advantages(columns(), 0.5, 0.95), rtol=1e-6)


@pytest.mark.parametrize(
    ("source", "settings", "told"),
    [
        (TABLE, {"output": "x.parquet"}, "no `output`"),
        ({"rewards": [[1.0], [2.0, 3.0]]}, {}, "`rewards` is no array"),
        ({1: np.zeros(3)}, {}, "`1` is no array"),
        ({"reward": np.ma.masked_less(np.arange(3.0), 2)}, {}, "masked array, and 2 of its cells"),
        (pa.table({"a": [1.0]}), {}, "reward"),
        (pd.DataFrame(np.ones((2, 2)), columns=["value", "value"]), {}, "cannot be read: Duplicate column"),
        (pd.DataFrame({"reward": [1.0, 2.0], "info": [{"a": 1}, 3]}), {}, "cannot be read: .*column info"),
        (pd.DataFrame({"reward": [1.0, 2.0], "info": [1j, 2j]}), {}, "cannot be read: .*column info"),
    ],
)
def test_what_is_no_rollout_is_told(source: Any, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(gaecli.GaeError, match=told):
        gaecli.compute(source, **settings)


def test_the_other_calls_take_tables() -> None:
    frame = pl.from_arrow(TABLE)
    assert gaecli.inspect(frame).path == "<table>"
    assert gaecli.check(frame).num_rows == 60
    assert gaecli.check(frame, select=["GAE101"]).codes == ["GAE101"]
    assert gaecli.read(frame).rewards.tolist() == TABLE["reward"].to_pylist()
    taken_apart = gaecli.explain(frame, row=3, gamma=0.9, lam=0.8)
    assert taken_apart.path == "<table>"
    assert taken_apart.recursion == pytest.approx(advantages(columns(), 0.9, 0.8)[3], rel=1e-12)
    assert len(gaecli.sweep(frame, gamma=[0.9, 0.99], lam=[0.9]).points) == 2
    labelled = gaecli.compute(frame, gamma=0.9, lam=0.8)
    best = gaecli.verify(labelled, "advantage").best
    assert (best.gamma, best.lam) == (pytest.approx(0.9), pytest.approx(0.8))


def test_polars_frames_have_methods() -> None:
    frame = pl.from_arrow(TABLE)
    assert frame.gae.compute(gamma=0.9).equals(gaecli.compute(frame, gamma=0.9))
    assert frame.gae.check().findings == gaecli.check(frame).findings
    assert frame.gae.inspect().num_rows == 60


@pytest.mark.parametrize(
    ("flags", "keywords"),
    [
        ("pass `--done-at end`, or `--no-join`", 'pass `done_at="end"`, or `join=False`'),
        ("`--memory 2GiB` or `--gamma 0.9`", '`memory_bytes="2GiB"` or `gamma=0.9`'),
        ("name it with `--reward-column NAME`", "name it with `reward_column=NAME`"),
        ("`gae verify a --against b`; `--overwrite`", "`gae verify a --against b`; `overwrite=True`"),
    ],
)
def test_flags_become_keywords(flags: str, keywords: str) -> None:
    assert in_keywords(flags) == keywords


def test_the_switches_are_those_of_the_table() -> None:
    """`join` may be said either way, and `strict` is of `check` alone."""
    table = {
        option.spellings[0]
        for option in OPTIONS.values()
        if option.kind is bool and option.fills in ("setting", "run")
    }
    assert {flag.split("/")[0].removeprefix("--") for flag in table} | {"strict"} == SWITCHES


def test_the_keyword_of_every_flag_is_a_setting() -> None:
    """By rule, so that a new flag has its keyword."""
    of_roles = {"unit" if role == "unit" else f"{role}_column" for role in ROLES}
    for key, option in OPTIONS.items():
        if option.fills in ("setting", "run", "role"):
            flag = next(one for one in option.spellings[0].split("/") if one.startswith("--"))
            name = in_keywords(f"`{flag}`").strip("`").partition("=")[0]
            assert name in {option.name, key, *of_roles} or name == {"rewards": "reward"}.get(option.name)
