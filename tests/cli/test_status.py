"""`gae status`: which results are there, and which the same command would make (again)."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.commands.status import status
from gaecli.done_work import WorkStatus
from gaecli.settings import RunOptions


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    for number in range(4):
        table = {"reward": [1.0, 2.0 + number], "value": [0.5, 0.25], "done": [False, True]}
        pq.write_table(pa.table(table), folder / f"{number}.parquet")
    return folder


def states(found: WorkStatus) -> dict[str, str]:
    return {Path(result.input).name[0]: result.state for result in found.results}


@pytest.mark.turns
@pytest.mark.parametrize("options", [{}, {"sidecar": True}, {"output": "out/"}])
@pytest.mark.parametrize("normalize", ["none", "all"])
def test_before_and_after(runs: Path, tmp_path: Path, monkeypatch, options, normalize) -> None:
    monkeypatch.chdir(tmp_path)
    before = status([runs], RunOptions(**options))
    assert before.counts == {"done": 0, "stale": 0, "left": 4, "failed": 0}
    assert before.exit_code == 3
    gaecli.compute(runs, normalize=normalize, gamma=0.9, **options)
    after = status([runs], RunOptions(**options))
    assert (after.counts["done"], after.exit_code) == (4, 0)
    (used,) = after.settings
    assert (used.settings["gamma"], used.settings["normalize"], used.num_files) == (0.9, normalize, 4)
    assert {Path(result.output).exists() for result in after.results} == {True}


@pytest.mark.parametrize("normalize", ["none", "all"])
def test_the_folder_of_results_alone(runs: Path, tmp_path: Path, normalize: str) -> None:
    gaecli.compute(runs, tmp_path / "out", normalize=normalize)
    assert states(status([tmp_path / "out"], RunOptions())) == dict.fromkeys("0123", "done")


def test_what_changed_since_is_stale_and_what_is_new_is_left(runs: Path, tmp_path: Path) -> None:
    options = RunOptions(output=str(tmp_path / "out"))
    gaecli.compute(runs, tmp_path / "out")
    os.utime(runs / "1.parquet", ns=(0, 0))  # as a write does
    (runs / "3.parquet").rename(runs / "4.parquet")
    (runs / "5.parquet").write_bytes(b"nothing of the kind")
    found = status([runs], options)
    assert states(found) == {"0": "done", "1": "stale", "2": "done", "4": "left", "5": "failed"}
    why = {Path(result.input).name[0]: result.why for result in found.results}
    assert why["1"] == "its input has changed since"
    assert "5.parquet" in str(why["5"])
    assert found.exit_code == 4
    gaecli.compute([path for path in sorted(runs.iterdir()) if path.stem != "5"], tmp_path / "out")
    assert states(status([runs], options))["1"] == "done", "what is stale is what the same command makes anew"


def test_numbers_over_all_files_are_stale_with_any_of_them(runs: Path) -> None:
    gaecli.compute(runs, normalize="all")
    table = pq.read_table(runs / "0.parquet")
    pq.write_table(table.drop_columns(["advantage", "return"]), runs / "0.parquet")
    pq.write_table(pa.table({"reward": [9.0], "value": [0.5], "done": [True]}), runs / "0.parquet")
    assert states(status([runs], RunOptions())) == {"0": "left", "1": "stale", "2": "stale", "3": "stale"}


def test_columns_of_others_are_no_result(runs: Path) -> None:
    table = pq.read_table(runs / "2.parquet")
    pq.write_table(table.append_column("advantage", pa.array([1.0, 2.0])), runs / "2.parquet")
    assert states(status([runs], RunOptions()))["2"] == "left"


def test_temporary_files_are_told_and_whether_anybody_has_them(runs: Path) -> None:
    names = [runs / f".{number}.parquet.0123456789abcdef.tmp" for number in (0, 1)]
    for name in names:
        name.write_bytes(b"half")
    with names[0].open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        found = status([runs], RunOptions())
    told = {left.path: (left.in_use, left.num_bytes) for left in found.leftovers}
    assert told == {str(names[0]): (True, 4), str(names[1]): (False, 4)}
    assert all(name.exists() for name in names)


def test_the_command(runs: Path, run_gae) -> None:
    gaecli.compute(runs / "0.parquet")
    shown = run_gae("status", runs)
    assert shown.returncode == 3
    assert shown.stdout.startswith("4 files: 1 done, 3 left")
    assert "  1.parquet\n  2.parquet\n  3.parquet\n" in shown.stdout
    document = json.loads(run_gae("status", runs, "--json").stdout)
    assert document["counts"] == {"done": 1, "stale": 0, "left": 3, "failed": 0}
    assert [file["state"] for file in document["files"]] == ["done", "left", "left", "left"]
    assert run_gae("status", runs / "0.parquet", "--quiet").stdout == ""
    assert run_gae("status", runs / "0.parquet").returncode == 0
