"""Arguments of the functions are of the types that their annotations say, or one message tells what they take."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.rollout_files import advantages, columns
from in_process import run_here

import gaecli
import gaecli.polars
from gaecli.api.arguments import checked_arguments

pytestmark = [pytest.mark.filterwarnings("ignore:.*bootstrap-zero"), pytest.mark.keywords]

FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(gaecli, name)
    for name in (
        *("check", "compute", "diff", "doctor", "explain"),
        *("inspect", "read", "strip", "sweep", "verify", "write_report"),
    )
}


def keywords_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Every keyword with its type, but for sources, and for what may be anything."""
    hints = get_type_hints(function)
    found: dict[str, Any] = {}
    for name, one in inspect.signature(function).parameters.items():
        if one.kind is one.VAR_KEYWORD:
            found |= get_type_hints(get_args(hints[name])[0])
        elif one.default is not one.empty and "ArrowStream" not in str(hints[name]):
            found[name] = hints[name]
    return {name: hint for name, hint in found.items() if hint is not object}


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("arguments") / "r.parquet"
    pq.write_table(pa.table(columns()), path)
    return path


@pytest.mark.few(5)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_of_no_type_is_told_with_an_example_that_is_of_the_right_one(name: str) -> None:
    function = FUNCTIONS[name]
    assert len(keywords_of(function)) > 3
    for keyword in keywords_of(function):
        for given in (b"x", object(), {1: 2}, [[]], np.zeros((1, 1)), ""):
            with pytest.raises(gaecli.UsageError, match=rf"^`{keyword}` is .*; it must be \w+ ") as error:
                checked_arguments(function, {keyword: given})
        example = re.fullmatch(rf"such as `{keyword}=(.*)`", error.value.hint or "")
        assert example is not None, error.value.hint
        value = eval(example[1], {})
        assert checked_arguments(function, {keyword: value}) == {keyword: value}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_looks_at_its_arguments(name: str, rollouts: Path) -> None:
    keyword = next(iter(keywords_of(FUNCTIONS[name])))
    with pytest.raises(gaecli.UsageError, match=rf"^`{keyword}` is "):
        FUNCTIONS[name](rollouts, **{keyword: b"x"})


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("compute", {"device": 0}, "`device` is 0; it must be one name"),
        ("compute", {"join": "yes"}, "`join` is 'yes'; it must be True or False"),
        ("compute", {"gamma": True}, "`gamma` is True; it must be a number"),
        ("compute", {"gamma": [0.9]}, "`gamma` is [0.9]; it must be a number"),
        ("compute", {"n_steps": 2.5}, "`n_steps` is 2.5; it must be a whole number"),
        ("compute", {"normalize": 1}, "`normalize` is 1; it must be one of 'none', 'all', 'file', 'episode'"),
        ("inspect", {"preset": ["exact", "sb3"]}, "`preset` is ['exact', 'sb3']; it must be one name"),
        ("inspect", {"value_column": 3}, "`value_column` is 3; it must be the name of a column"),
        ("inspect", {"group_column": 3}, "the name of a column, or a list of them"),
        ("inspect", {"columns": ["reward"]}, "it must be a mapping of roles to columns"),
        ("inspect", {"columns": {"reward": 3}}, "it must be a mapping of roles to columns"),
        ("inspect", {"memory_bytes": "1GiB"}, "`memory_bytes` is '1GiB'; it must be a whole number"),
        ("inspect", {"head": -1}, "`head` is -1; it must be 0 or more"),
        ("inspect", {"gamma_column": ""}, "`gamma_column` is an empty name; it must be the name of a column"),
        ("explain", {"row": "3"}, "`row` is '3'; it must be a whole number"),
        ("explain", {"row": 0, "top": -1}, "`top` is -1; it must be 0 or more"),
        ("check", {"select": [1]}, "`select` is [1]; it must be the code of a rule, or a list of them"),
        ("diff", {"rtol": -1}, "`rtol` is -1; it must be 0 or more"),
        ("diff", {"atol": float("nan")}, "`atol` is nan; it must be 0 or more"),
        ("diff", {"columns": 3}, "`columns` is 3; it must be the name of a column, or a pair of them"),
        ("diff", {"columns": ("a",)}, "the name of a column, or a pair of them"),
        ("diff", {"preset": ["exact", "sb3", "rllib"]}, "two settings are compared, on one input"),
        ("diff", {"preset": []}, "`preset` is an empty list; it must name one at least"),
        ("sweep", {"gamma": "0.9"}, "`gamma` is '0.9'; it must be a number, or a list of them"),
        ("sweep", {"gamma": [0.9, "x"]}, "it must be a number, or a list of them"),
        ("sweep", {"gamma": 2}, "`gamma` holds 2; it must lie in [0, 1]"),
        ("sweep", {"estimator": ()}, "`estimator` is an empty list; it must name one at least"),
        ("write_report", {"episodes": 0}, "`episodes` is 0; it must be 1 or more"),
        ("compute", {"stream": []}, "`stream` is an empty list"),
    ],
)
def test_a_wrong_type_or_range_is_told(name: str, given: dict[str, Any], says: str, rollouts: Path) -> None:
    with pytest.raises(gaecli.UsageError) as error:
        FUNCTIONS[name](rollouts, **given)
    assert says in error.value.message


@pytest.mark.parametrize("source", [b"r.parquet", [b"r.parquet"], [3], [pl.DataFrame()]])
def test_what_no_file_is_named_by_is_told(source: Any) -> None:
    for call in (gaecli.compute, gaecli.diff):
        with pytest.raises(gaecli.UsageError, match=r"is neither files nor a table|a list of tables"):
            call(source)


def test_numbers_and_lists_of_numpy_are_numbers_and_lists(rollouts: Path) -> None:
    given = {"n_steps": np.int64(3), "gamma": np.float32(0.5), "dry_run": np.bool_(True), "join": None}
    found = checked_arguments(gaecli.compute, given)
    assert found == {"n_steps": 3, "gamma": 0.5, "dry_run": True, "join": None}
    assert [type(one) for one in found.values()] == [int, float, bool, type(None)]
    for several in (np.array([0.25, 0.5]), pl.Series([0.25, 0.5]), (0.25, 0.5)):
        points = gaecli.sweep(rollouts, gamma=several, lam=0.5).points
        assert [(point.gamma, point.lam) for point in points] == [(0.25, 0.5), (0.5, 0.5)]


def test_one_number_is_a_grid_of_one(rollouts: Path) -> None:
    one, several = (gaecli.sweep(rollouts, gamma=gamma).points for gamma in (0.9, [0.9]))
    assert one == several
    assert [point.lam for point in one] == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
    found = gaecli.sweep(rollouts, estimator="n-step", n_steps=range(2, 4)).points
    assert [point.n_steps for point in found] == [2, 3]


def test_none_says_that_an_argument_is_not_given() -> None:
    given = {"episodes": None, "head": None, "gamma": None, "layout": None}
    assert checked_arguments(gaecli.inspect, given) == {"gamma": None, "layout": None}


def test_an_expression_of_polars_tells_wrong_types_before_it_runs() -> None:
    with pytest.raises(gaecli.UsageError, match="`advantage_column` is 3"):
        pl.struct(pl.all()).gae.advantage(advantage_column=3)


def test_what_two_presets_make_of_one_input_is_compared(rollouts: Path) -> None:
    table = pl.read_parquet(rollouts)
    both = [
        gaecli.compute(table, gamma=0.9, preset=preset, with_summary=True)[0]["advantage"].to_numpy()
        for preset in ("exact", "brax")
    ]
    expected = np.abs(both[0] - both[1]).max()
    assert expected > 0
    assert np.allclose(both[0], advantages(columns(), 0.9, 0.95), rtol=1e-6)
    for source in (rollouts, table):
        found = gaecli.diff(source, preset=["exact", "brax"], gamma=0.9)
        assert found.max_abs == pytest.approx(expected, rel=1e-5)
        assert (found.a.made_by, found.b.made_by) == ("preset exact", "preset brax")
    two = gaecli.diff(rollouts, estimator=["gae", "td0"], gamma=0.9)
    assert two.b.made_by == "estimator td0"


@pytest.mark.parametrize("flag", ["--gamma-column", "--lam-column"])
def test_an_empty_name_of_a_column_is_told_on_the_command_line(flag: str, rollouts: Path) -> None:
    run = run_here("compute", rollouts, "--dry-run", flag, "")
    assert run.returncode == 2
    assert f"`{flag}` is an empty name" in run.stderr
