"""What every registered format has to do: be read, be given columns, keep all else, know its own work."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats.contract_files import BUILDERS, NESTED, Builder
from typer.testing import CliRunner

from gaecli import compute
from gaecli.cli.main import app
from gaecli.errors import GaeError
from gaecli.formats.registry import FORMATS, Format, format_of, open_file

Run = Callable[..., Any]

#: Columns of their own, of other numbers.
OTHER = {"advantage_column": "adv", "return_column": "ret", "gamma": 0.5, "lam": 0.1}


@pytest.fixture(params=FORMATS, ids=lambda known: known.name)
def known(request: pytest.FixtureRequest) -> Format:
    return request.param


@pytest.fixture
def builder(known: Format) -> Builder:
    return BUILDERS[known.name]


@pytest.fixture
def path(builder: Builder, tmp_path: Path) -> Path:
    place = tmp_path / f"rollouts{builder.suffix}"
    builder.write(place, None)
    return place


def oracle(gamma: float, lam: float) -> tuple[list[float], list[float]]:
    """Plain loops over the steps of both episodes."""
    advantages: list[float] = []
    for rewards, values, terminated, given in zip(*NESTED.values(), strict=True):
        following, found = 0.0, []
        for t in reversed(range(len(rewards))):
            last = t == len(rewards) - 1
            beyond = 0.0 if terminated[t] else given[t] if last else values[t + 1]
            following = rewards[t] + gamma * beyond - values[t] + (0.0 if last else gamma * lam * following)
            found.append(following)
        advantages += found[::-1]
    values = [value for row in NESTED["values"] for value in row]
    return advantages, [a + v for a, v in zip(advantages, values, strict=True)]


def status(path: Path, **settings: Any) -> str:
    """By the function: what commands make of their words is tested elsewhere, and these are hundreds of runs."""
    (file,) = compute(path, **settings).files
    return file.status


def assert_result(builder: Builder, path: Path, gamma: float = 0.99, lam: float = 0.95) -> None:
    advantages, returns = oracle(gamma, lam)
    np.testing.assert_allclose(builder.column(path, "advantage"), advantages, rtol=1e-6)
    np.testing.assert_allclose(builder.column(path, "return"), returns, rtol=1e-6)


def test_every_format_has_a_builder() -> None:
    assert set(BUILDERS) == {known.name for known in FORMATS}


def test_no_two_formats_share_a_suffix_or_a_beginning() -> None:
    for group in ("suffixes", "magic"):
        everything = [item for known in FORMATS for item in getattr(known, group)]
        assert len(set(everything)) == len(everything)


def test_the_content_says_what_it_is(known: Format, path: Path) -> None:
    nameless = path.rename(path.with_name("rollouts"))
    assert format_of(nameless) is known
    assert open_file(nameless).format_name == known.name


def test_columns_are_added_and_all_else_is_kept(builder: Builder, path: Path) -> None:
    before = builder.other(path)
    done = CliRunner().invoke(app, ["compute", str(path), "--json"])
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert builder.other(path) == before
    assert_result(builder, path)
    (file,) = summary["files"]
    assert (file["status"], file["episodes"], file["terminated"], file["open"]) == ("written", 2, 1, 1)
    assert summary["bootstrapped"] == {"next_value": 1, "zero": 0, "current": 0}


def test_the_same_command_again_changes_nothing(builder: Builder, path: Path) -> None:
    compute(path)
    before = path.read_bytes()
    assert status(path) == "up to date"
    assert path.read_bytes() == before


@pytest.mark.few("parquet", "hdf5", "arrow", "csv")
def test_other_settings_replace_our_columns(builder: Builder, path: Path) -> None:
    before = builder.other(path)
    compute(path)
    compute(path, gamma=0.5, lam=0.1)
    assert_result(builder, path, 0.5, 0.1)
    assert builder.other(path) == before
    compute(path)
    assert_result(builder, path)


@pytest.mark.few("parquet", "hdf5", "jsonl", "npz")
def test_columns_under_another_name_stand_beside_the_first_ones(builder: Builder, path: Path) -> None:
    compute(path)
    compute(path, **OTHER)
    assert_result(builder, path)
    np.testing.assert_allclose(builder.column(path, "adv"), oracle(0.5, 0.1)[0], rtol=1e-6)
    assert (status(path), status(path, **OTHER)) == ("up to date", "up to date")


def test_an_edited_file_is_computed_again(builder: Builder, path: Path) -> None:
    compute(path)
    builder.write(path, None)
    compute(path)
    provenance = open_file(path).provenance
    assert provenance is not None
    builder.write(path, "somebody")
    assert status(path) == "written"


@pytest.mark.turns
@pytest.mark.parametrize("name", ["advantage", "return"])
def test_a_result_that_somebody_edited_is_computed_again(name: str, builder: Builder, path: Path) -> None:
    status(path)
    builder.edit(path, name)
    assert builder.column(path, name)[0] == 7
    assert status(path) == "written"
    assert_result(builder, path)
    assert status(path) == "up to date"


@pytest.mark.few("parquet", "hdf5", "jsonl")
def test_an_edit_of_the_columns_of_one_run_does_not_touch_those_of_another(
    builder: Builder, path: Path
) -> None:
    status(path)
    status(path, **OTHER)
    builder.edit(path, "advantage")
    for _ in range(2):
        status(path)
        status(path, **OTHER)
    assert_result(builder, path)
    assert (status(path), status(path, **OTHER)) == ("up to date", "up to date")


def test_a_column_of_somebody_else_is_not_replaced(builder: Builder, tmp_path: Path, run_gae: Run) -> None:
    path = tmp_path / f"foreign{builder.suffix}"
    builder.write(path, "advantage")
    before = path.read_bytes()
    done = run_gae("compute", path)
    assert done.returncode == 2
    assert "`advantage`" in done.stderr
    assert "--overwrite" in done.stderr
    assert path.read_bytes() == before
    compute(path, overwrite=True)
    assert_result(builder, path)


def test_the_result_may_go_elsewhere(builder: Builder, path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    target = tmp_path / f"out{builder.suffix}"
    compute(path, output=target)
    assert path.read_bytes() == before
    assert_result(builder, target)
    assert open_file(target).provenance is not None


def test_a_sidecar_leaves_the_file_alone(builder: Builder, path: Path) -> None:
    before = path.read_bytes()
    compute(path, sidecar=True)
    assert path.read_bytes() == before
    assert path.with_name("rollouts.gae.parquet").exists()
    (again,) = compute(path, sidecar=True).files
    assert again.status == "up to date"


def test_the_memory_limit_does_not_change_the_numbers(builder: Builder, path: Path) -> None:
    compute(path, memory_bytes=1 << 20)
    assert_result(builder, path)


@pytest.mark.turns
@pytest.mark.parametrize("part", [0.9, 0.5, 0.1])
def test_a_truncated_file_is_an_error_of_the_file(builder: Builder, path: Path, part: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    before = path.read_bytes()
    done = CliRunner().invoke(app, ["compute", str(path)])
    # Lines that are there may be a rollout file of their own.
    assert done.exit_code == 4 or builder.suffix in (".jsonl", ".csv"), done.output
    assert isinstance(done.exception, SystemExit | GaeError | None), done.exception
    assert done.exit_code == 0 or path.read_bytes() == before


@pytest.mark.parametrize("times", [12, pytest.param(60, marks=pytest.mark.slow)])
def test_damage_anywhere_never_crashes(builder: Builder, path: Path, tmp_path: Path, times: int) -> None:
    content = bytearray(path.read_bytes())
    codes = set()
    for position in range(0, len(content), max(1, len(content) // times)):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        place = tmp_path / f"damaged{builder.suffix}"
        place.write_bytes(damaged)
        with contextlib.suppress(GaeError):
            codes.add(compute(place, dry_run=True).exit_code)
    assert codes <= {0, 2, 3, 4}


@pytest.mark.few(14)
@pytest.mark.parametrize("there", ["nothing", "ours", "ours twice", "somebody's"])
def test_how_it_would_be_written_is_known_before(builder: Builder, path: Path, there: str) -> None:
    own, foreign = ["advantage", "return"] if there.startswith("ours") else [], []
    if own:
        compute(path)
    if there == "ours twice":
        compute(path, advantage_column="adv", return_column="ret")
    if there == "somebody's":
        foreign = ["advantage"]
        builder.write(path, "advantage")
    planned = open_file(path).planned_method(own, foreign)
    (file,) = compute(path, gamma=0.5, overwrite=True).files
    assert (file.status, file.method) == ("written", planned)
