"""`gae diff`: two columns side by side, against plain sums over the same cells."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.rollout_files import LENGTH, advantages, columns, write

import gaecli
from gaecli.difference import ColumnDifference
from gaecli.errors import DataError, UsageError
from gaecli.studies.column_pairs import PairTally, side_by_side

Run = Callable[..., Any]


def table(path: Path, rows: int, **cells: Any) -> Path:
    pq.write_table(pa.table(cells), path, row_group_size=rows)
    return path


def plain(a: list[float | None], b: list[float | None], rtol: float, atol: float) -> dict[str, Any]:
    """Cell by cell in Python floats."""
    pairs = list(zip(a, b, strict=True))
    both = [(x, y) for x, y in pairs if x is not None and y is not None]
    apart = [abs(y - x) for x, y in both]
    differing = [
        row
        for row, (x, y) in enumerate(pairs)
        if (x is None) != (y is None)
        or (x is not None and y is not None and abs(x - y) > atol + rtol * max(abs(x), abs(y)))
    ]
    xs, ys = [x for x, _ in both], [y for _, y in both]
    mean_x, mean_y = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    sxx = math.fsum((x - mean_x) ** 2 for x in xs)
    syy = math.fsum((y - mean_y) ** 2 for y in ys)
    sxy = math.fsum((x - mean_x) * (y - mean_y) for x, y in both)
    return {
        "num_cells": len(pairs),
        "num_compared": len(both),
        "num_differing": len(differing),
        "num_one_sided": sum((x is None) != (y is None) for x, y in pairs),
        "num_sign_flips": sum(x * y < 0 for x, y in both),
        "max_abs": max(apart),
        "mean_abs": math.fsum(apart) / len(both),
        "rms": math.sqrt(math.fsum(one * one for one in apart) / len(both)),
        "correlation": sxy / math.sqrt(sxx * syy),
        "slope": sxy / sxx,
        "intercept": mean_y - sxy / sxx * mean_x,
    }


@pytest.mark.parametrize("offset", [0.0, 1e8])
@pytest.mark.parametrize("rows", [(7, 1000), (1000, 11)])
def test_the_figures_are_those_of_plain_sums(tmp_path: Path, rows: tuple[int, int], offset: float) -> None:
    """Whatever the row groups of either side, and beside an offset that swallows the digits of a naive sum."""
    random = np.random.default_rng(5)
    a = (offset + random.normal(size=200)).tolist()
    b = [
        x + (0.5 * y if index % 3 else 0.0)
        for index, (x, y) in enumerate(zip(a, random.normal(size=200), strict=True))
    ]
    a[4] = b[4] = None
    a[9] = None
    left = table(tmp_path / "a.parquet", rows[0], advantage=a)
    right = table(tmp_path / "b.parquet", rows[1], advantage=b)
    found = gaecli.diff(left, right, rtol=0, atol=1e-9)
    expected = plain(a, b, 0, 1e-9)
    assert {name: getattr(found, name) for name in expected} == {
        name: value if isinstance(value, int) else pytest.approx(value, rel=1e-6)
        for name, value in expected.items()
    }
    assert found.exit_code == 3
    first = next(row for row in range(200) if a[row] != b[row])
    assert found.first is not None
    assert (found.first.row, found.first.a, found.first.b) == (first, a[first], b[first])
    distances = {
        row: math.inf if (a[row] is None) != (b[row] is None) else abs((a[row] or 0) - (b[row] or 0))
        for row in range(200)
    }
    assert [cell.row for cell in found.worst] == sorted(distances, key=lambda row: (-distances[row], row))[:5]


def test_what_is_equal_is_so_within_tolerances(tmp_path: Path) -> None:
    a = [0.0, 1.0, 1e6, math.inf, -math.inf, None]
    b = [1e-9, 1.0 + 1e-6, 1e6 + 1, math.inf, -math.inf, None]
    path = table(tmp_path / "a.parquet", 2, x=a, y=b)
    found = gaecli.diff(path, columns=("x", "y"))
    assert (found.num_differing, found.exit_code, found.first) == (0, 0, None)
    assert gaecli.diff(path, columns=("x", "y"), rtol=0.0).num_differing == 2
    assert gaecli.diff(path, columns=("x", "y"), rtol=0.0, atol=0.0).num_differing == 3
    assert (
        gaecli.diff(
            table(tmp_path / "b.parquet", 9, x=[math.inf], y=[-math.inf]), columns=("x", "y")
        ).num_differing
        == 1
    )


def test_episodes_are_those_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    gaecli.compute(path, bootstrap="zero")
    labelled = pq.read_table(path)
    cells = labelled["advantage"].to_pylist()
    for row, by in ((LENGTH, 1.0), (LENGTH + 1, -3.0), (3 * LENGTH + 2, 2.0)):
        cells[row] += by
    other = labelled.append_column("edited", pa.array(cells, pa.float64()))
    pq.write_table(other, path)
    found = gaecli.diff(path, columns=("advantage", "edited"))
    assert (found.num_differing, found.num_episodes, found.num_episodes_differing) == (3, 4, 2)
    shown = [
        (one.number, one.row, one.length, one.num_differing, round(one.max_abs, 6)) for one in found.episodes
    ]
    assert shown == [(1, LENGTH, LENGTH, 2, 3.0), (3, 3 * LENGTH, LENGTH, 1, 2.0)]
    assert [one.mean for one in found.episodes] == pytest.approx([-2 / LENGTH, 2 / LENGTH], abs=1e-6)
    assert [cell.episode for cell in found.worst] == [1, 3, 1]
    assert found.explain == [f"gae explain {path} --row {LENGTH}"]


def test_without_trajectories_the_rest_is_told(tmp_path: Path) -> None:
    path = table(tmp_path / "a.parquet", 9, x=[1.0, 2.0], y=[1.0, 3.0])
    found = gaecli.diff(path, columns=("x", "y"))
    assert (found.num_differing, found.num_episodes) == (1, None)
    assert [note.code for note in found.warnings] == ["no-episodes"]


def test_two_presets_on_one_file(tmp_path: Path, run_gae: Run) -> None:
    """Before normalisation, as `gae sweep` has it."""
    path = write(tmp_path / "a.parquet")
    before = path.read_bytes()
    done = run_gae("diff", path, "--preset", "exact,brax", "-g", "0.9", "-l", "0.8", "--json")
    document = json.loads(done.stdout)
    ours = gaecli.compute(path, tmp_path / "x.parquet", gamma=0.9, lam=0.8)
    theirs = gaecli.compute(path, tmp_path / "y.parquet", gamma=0.9, lam=0.8, preset="brax", normalize="none")
    assert not ours.failures
    assert not theirs.failures
    x, y = (
        pq.read_table(tmp_path / f"{name}.parquet")["advantage"].to_numpy().astype(float) for name in "xy"
    )
    assert np.allclose(x, advantages(columns(), 0.9, 0.8), rtol=1e-6)
    expected = int((~np.isclose(x, y, rtol=1e-5, atol=1e-8)).sum())
    assert (document["num_differing"], done.returncode) == (expected, 3)
    assert expected
    assert [document[side]["made_by"] for side in "ab"] == ["preset exact", "preset brax"]
    assert path.read_bytes() == before
    first = document["first"]
    for command, side in zip(document["explain"], "ab", strict=True):
        explained = run_gae(*command.split()[1:], "--json")
        assert json.loads(explained.stdout)["written"] == pytest.approx(first[side], rel=1e-6)


def test_the_commands_that_explain_read_the_file_as_it_was_read(tmp_path: Path, run_gae: Run) -> None:
    path = write(tmp_path / "a b.parquet")
    of = pq.read_table(path).rename_columns({"value": "critic's"})
    pq.write_table(of, path)
    done = run_gae("diff", path, "--preset", "exact,brax", "--value-column", "critic's", "--json")
    document = json.loads(done.stdout)
    for command, side in zip(document["explain"], "ab", strict=True):
        explained = run_gae(*shlex.split(command)[1:], "--json")
        assert json.loads(explained.stdout)["written"] == pytest.approx(document["first"][side], rel=1e-6)


def test_the_table_and_the_exit_code(tmp_path: Path, run_gae: Run) -> None:
    path = table(tmp_path / "a.parquet", 9, x=[1.0, 2.0, None], y=[1.0, -2.0, 3.0])
    done = run_gae("diff", path, "--columns", "x,y")
    assert done.returncode == 3
    assert "2 of 3 cells differ" in done.stdout
    assert "sign flips 1" in done.stdout
    assert "in one of them alone 1" in done.stdout
    assert f"gae explain {path} --row 1" in done.stdout
    same = run_gae("diff", path, path, "--columns", "x")
    assert (same.returncode, "no difference in 3 cells" in same.stdout) == (0, True)


@pytest.mark.parametrize(
    ("given", "kind", "told"),
    [
        ({"columns": ("x", "z")}, UsageError, "column `z` not found"),
        ({"columns": ("x", "name")}, UsageError, "holds"),
        ({"b": "short.parquet", "columns": "x"}, DataError, "2 cells, and the other 3"),
        ({"b": "none.parquet", "columns": "x"}, gaecli.FileError, "does not exist"),
    ],
)
def test_what_cannot_be_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], kind: type[Exception], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    table(Path("a.parquet"), 9, x=[1.0, 2.0, 3.0], name=["p", "q", "r"])
    table(Path("short.parquet"), 9, x=[1.0, 2.0])
    with pytest.raises(kind, match=told):
        gaecli.diff("a.parquet", **given)


def test_tables_are_no_wider_than_the_terminal(tmp_path: Path, run_gae: Run) -> None:
    path = write(tmp_path / "a.parquet")
    done = run_gae("diff", path, "--preset", "exact,brax", env={"COLUMNS": "44"})
    tables, commands = done.stdout.split("\ngae explain ", 1)
    assert max(map(len, tables.splitlines())) <= 44
    for heading in ("row", "a", "b", "b - a", "episode", "largest", "mean b - a"):
        assert f"  {heading}" in tables or f"\n{heading}" in tables
    assert "from row" not in tables
    assert len(max(commands.splitlines(), key=len)) > 44  # to be copied, in one piece


def test_slips_on_the_command_line(tmp_path: Path, run_gae: Run) -> None:
    path = table(tmp_path / "a.parquet", 9, x=[1.0])
    for args in (
        [path],
        [path, path, path],
        [path, "--columns", "a,b,c"],
        [path, "--preset", "exact,sb3", "--columns", "x,y"],
    ):
        assert run_gae("diff", *args).returncode == 2
    assert run_gae("diff", path, "--columns", "x,y", "--rtol", "-1").returncode == 2


@pytest.mark.parametrize("sizes", [([], []), ([0, 3, 0], [1, 0, 2]), ([4], [1, 1, 1, 1])])
def test_pieces_meet_whatever_their_sizes(sizes: tuple[list[int], list[int]]) -> None:
    def pieces(some: list[int]) -> list[np.ndarray]:
        return np.split(np.arange(float(sum(some))), np.cumsum(some)[:-1]) if some else []

    tally = PairTally(0, 0, 5)
    for a, b in side_by_side(iter(pieces(sizes[0])), iter(pieces(sizes[1]))):
        assert (a == b).all()
        tally.add(a, b)
    assert tally.num_cells == sum(sizes[0])


def test_arrays_against_a_table(tmp_path: Path) -> None:
    cells = np.arange(6.0).reshape(3, 2)
    np.savez(tmp_path / "a.npz", advantage=cells, rewards=cells)
    right = table(tmp_path / "b.parquet", 4, advantage=[0.0, 1.0, 2.0, 3.0, 4.0, 9.0])
    found: ColumnDifference = gaecli.diff(tmp_path / "a.npz", right)
    assert found.first is not None
    assert (found.num_differing, found.first.row) == (1, 5)
