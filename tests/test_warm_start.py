"""Most tests run the command in forks of a warm process: it must do there what it does when started anew."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

RUNS = [
    ("compute", "r.parquet", "-o", "-"),
]
MORE_RUNS = [
    ("compute", "r.parquet"),
    ("inspect", "-", "--json"),
    ("compute", "--help"),
    ("sweep", "r.parquet", "--gamma", "0.9,0.99"),
    ("compute", "r.parquet", "--gama", "1"),
    ("check", "r.parquet"),
    ("explain", "r.parquet", "3"),
    ("verify", "r.parquet", "--against", "reward"),
    ("presets",),
]
#: Streams without the letters of the page, and an encoding that has some of them.
ODD_RUNS = [("presets", "sb3"), ("compute", "r.parquet", "--gama", "λ")]
TIMES = re.compile(rb"^time .*$|\d+(\.\d+)? m?s\b|\"(\w*(seconds|per_second)|total)\": .*", re.MULTILINE)


@pytest.mark.parametrize(
    "run", [*RUNS, *(pytest.param(run, marks=pytest.mark.slow) for run in MORE_RUNS)], ids=" ".join
)
def test_a_warm_run_is_a_cold_run(run_gae, warm_start, sample_data, tmp_path, run):
    if warm_start is None:
        pytest.skip("all runs are cold")
    sample = sample_data / "cartpole.parquet"
    told, left = [], []
    for is_cold in (True, False):
        path = shutil.copy2(sample, tmp_path / "r.parquet")
        options = {"input": sample.read_bytes(), "env": {"COLUMNS": "97"}, "cwd": tmp_path}
        result = run_gae(*run, **options, text=False, is_cold=is_cold)
        told.append((result.returncode, *(TIMES.sub(b"", text) for text in (result.stdout, result.stderr))))
        left.append(path.read_bytes())
    assert told[0] == told[1]
    assert left[0] == left[1]
    assert any(told[0][1:]) or left[0] != sample.read_bytes()


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(run, marks=() if run in (*RUNS, MORE_RUNS[0], MORE_RUNS[2]) else pytest.mark.slow)
        for run in (*RUNS, *MORE_RUNS)
        if "-" not in run
    ],
    ids=" ".join,
)
def test_a_run_in_this_process_is_one_of_its_own(run_gae, warm_start, sample_data, tmp_path, run):
    if warm_start is None:
        pytest.skip("all runs are cold")
    told, left = [], []
    for is_process in (True, False):
        path = shutil.copy2(sample_data / "cartpole.parquet", tmp_path / "r.parquet")
        result = run_gae(*run, env={"COLUMNS": "97"}, cwd=tmp_path, is_process=is_process)
        texts = (TIMES.sub(b"", text.encode()) for text in (result.stdout, result.stderr))
        told.append((result.returncode, *texts))
        left.append(path.read_bytes())
    assert told[0] == told[1]
    assert left[0] == left[1]


@pytest.mark.parametrize(
    ("encoding", "run"),
    [
        ("ascii", ODD_RUNS[1]),
        *(pytest.param("ascii", run, marks=pytest.mark.slow) for run in (ODD_RUNS[0], *MORE_RUNS)),
        *(pytest.param("cp1252", run, marks=pytest.mark.slow) for run in (*ODD_RUNS, *MORE_RUNS)),
    ],
    ids=str,
)
def test_streams_of_another_encoding_say_the_same(run_gae, warm_start, sample_data, tmp_path, encoding, run):
    if warm_start is None:
        pytest.skip("all runs are cold")
    told = []
    for how in ({"is_cold": True}, {"is_process": True}, {}):
        shutil.copy2(sample_data / "cartpole.parquet", tmp_path / "r.parquet")
        result = run_gae(*run, env={"PYTHONIOENCODING": encoding, "COLUMNS": "97"}, cwd=tmp_path, **how)
        texts = (TIMES.sub(b"", text.encode()) for text in (result.stdout, result.stderr))
        told.append((result.returncode, *texts))
    assert told[0] == told[1] == told[2]
    assert any(told[0][1:])


@pytest.mark.parametrize("env", [{"PYTHONUTF8": "0"}, {"FORCE_COLOR": "1"}, {"PYTHONPATH": "."}])
def test_what_an_interpreter_reads_at_its_start_asks_for_another(warm_start, env):
    if warm_start is None:
        pytest.skip("all runs are cold")
    assert warm_start.takes(["compute"], {**warm_start.env, "COLUMNS": "80"})
    assert not warm_start.takes(["compute"], {**warm_start.env, **env})
    assert not warm_start.takes(["compute"], {})


def test_a_run_in_this_process_leaves_the_next_one_warm(run_gae, warm_start, sample_data, monkeypatch):
    if warm_start is None:
        pytest.skip("all runs are cold")
    assert run_gae("inspect", sample_data / "cartpole.parquet").returncode == 0
    monkeypatch.setattr(subprocess, "run", None)
    assert run_gae("--version", is_process=True).returncode == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_run_that_takes_too_long_is_ended(run_gae, tmp_path):
    os.mkfifo(tmp_path / "names")
    with pytest.raises(subprocess.TimeoutExpired):
        run_gae("inspect", "--files-from", tmp_path / "names", timeout=0.1)
    assert run_gae("--version").returncode == 0


def test_what_takes_long_to_import_is_left_to_the_runs_that_ask_for_it(run_gae, warm_start):
    """By the machine code that is there once it forks: s3fs has none, and aiohttp comes with it."""
    if warm_start is None:
        pytest.skip("all runs are cold")
    assert run_gae("--version", is_process=True).returncode == 0
    maps = Path(f"/proc/{warm_start.pid}/maps").read_text()
    packages = set(re.findall(r"-packages/(\w+)/", maps))
    assert {"numpy", "pyarrow"} <= packages
    of_s3 = set() if warm_start.knows_s3 else {"aiohttp"}  # a test of S3 may have been here before
    assert not packages & {"torch", "_polars_runtime_32", "polars", *of_s3}
