"""stdout carries one thing; everything else goes to stderr."""

from __future__ import annotations

import json
import math
import os
import subprocess

import numpy as np
import pytest
from cli.rollout_files import ROWS, advantages, columns, document_of, ok, write, write_npz

import gaecli

DOCUMENT_KEYS = {
    "schema_version",
    "exit_code",
    "interrupted",
    "settings",
    "device",
    "backend",
    "device_reason",
    "streams",
    "files",
    "totals",
    "bootstrapped",
    "columns",
    "explained_variance",
    "explained_variances",
    "normalization",
    "baseline",
    "warnings",
    "seconds",
    "steps_per_second",
}
FILE_KEYS = {
    "input",
    "output",
    "status",
    "format",
    "layout",
    "steps",
    "episodes",
    "terminated",
    "truncated",
    "open",
    "error",
    "hint",
    "exit_code",
    "method",
    "columns",
}


def test_the_document_has_all_that_it_promises(run_gae, tmp_path):
    path = write(tmp_path / "r.parquet")
    result = ok(run_gae("compute", path, "--normalize", "all", "--json"))
    document = document_of(result)
    assert set(document) >= DOCUMENT_KEYS
    assert document["schema_version"] == 2
    assert document["exit_code"] == 0
    assert document["interrupted"] is False
    assert document["settings"]["gamma"] == 0.99
    assert document["settings"]["normalize"] == "all"
    (file,) = document["files"]
    assert set(file) >= FILE_KEYS
    assert (file["input"], file["output"]) == (str(path), str(path))
    assert (file["status"], file["format"], file["layout"]) == ("written", "parquet", "long")
    assert file["method"] == "splice"
    counts = {"steps": ROWS, "episodes": 4, "terminated": 2, "truncated": 1, "open": 1}
    assert document["totals"] == counts
    assert {name: file[name] for name in counts} == counts
    assert document["bootstrapped"] == {"next_value": 0, "zero": 2, "current": 0}
    assert set(document["columns"]) == {"reward", "value", "advantage", "return"}
    for statistics in document["columns"].values():
        assert set(statistics) >= {"count", "mean", "std", "min", "median", "max", "histogram"}
        assert statistics["count"] == ROWS
    of = columns()
    raw = advantages(of)
    assert document["columns"]["reward"]["mean"] == pytest.approx(of["reward"].mean())
    assert document["columns"]["advantage"]["mean"] == pytest.approx(0, abs=1e-9)
    assert document["columns"]["return"]["max"] == pytest.approx((raw + of["value"]).max())
    assert document["explained_variance"] == pytest.approx(1 - raw.var() / (raw + of["value"]).var())
    assert document["normalization"]["mean"] == pytest.approx(raw.mean())
    assert document["normalization"]["std"] == pytest.approx(raw.std(ddof=1))
    assert document["normalization"]["scope"] == "all"
    assert set(document["seconds"]) == {"total", "read", "kernel", "write"}
    assert document["seconds"]["total"] > 0
    assert document["steps_per_second"] == pytest.approx(ROWS / document["seconds"]["total"])
    (note,) = document["warnings"]
    assert set(note) >= {"code", "message", "file", "count", "hint"}
    assert (note["code"], note["count"]) == ("bootstrap-zero", 2)


def test_the_document_is_all_that_stdout_has_whatever_happens(run_gae, tmp_path):
    good, bad = write(tmp_path / "good.parquet"), tmp_path / "bad.parquet"
    bad.write_bytes(b"PAR1")
    for inputs, code in (([good], 0), ([good], 0), ([bad], 4), ([good, bad], 4)):
        result = run_gae("compute", *inputs, "--json")
        assert result.returncode == code
        document = document_of(result)
        assert document["exit_code"] == code
        assert len(document["files"]) == len(inputs)
        assert "Traceback" not in result.stderr
    # Before there is any file to speak of there is no document.
    result = run_gae("compute", "--gamma", "2", good, "--json")
    assert (result.returncode, result.stdout) == (2, "")


def test_numbers_that_are_no_numbers_are_null(run_gae, tmp_path):
    path = tmp_path / "r.npz"
    np.savez(path, rewards=np.zeros(0), values=np.zeros(0), terminated=np.zeros(0, np.bool_))
    document = document_of(ok(run_gae("compute", path, "--json")))
    assert document["explained_variance"] is None
    path = write(tmp_path / "one.parquet")
    np.savez(tmp_path / "one.npz", rewards=np.ones(1), values=np.ones(1), terminated=np.ones(1, np.bool_))
    document = document_of(ok(run_gae("compute", tmp_path / "one.npz", "--json")))
    assert document["columns"]["reward"]["std"] is None


def test_the_document_survives_names_of_any_kind(run_gae, tmp_path):
    for name in (
        "with space.npz",
        "br[a]ck*et?.npz",
        "[red]x[bold].npz",
        "two\nlines.npz",
        "größe Δ.npz",
        "'q\".npz",
    ):
        path = write_npz(tmp_path / name)
        document = document_of(ok(run_gae("compute", path, "--json")))
        assert document["files"][0]["input"] == str(path)
        assert "advantage" in np.load(path)


@pytest.mark.parametrize("flags", [(), ("-q",), ("--json",)], ids=["table", "quiet", "json"])
def test_names_of_any_kind_in_messages(run_gae, tmp_path, flags):
    for name in ("[red]x[bold].parquet", "br[a]ck*et?.parquet", "größe.parquet"):
        path = tmp_path / name
        path.write_bytes(b"no")
        result = run_gae("compute", path, *flags)
        assert result.returncode == 4
        text = result.stdout if flags == ("--json",) else result.stderr
        assert name in (json.loads(text)["files"][0]["input"] if flags == ("--json",) else text)
        assert "Traceback" not in result.stderr


def test_a_name_that_is_not_utf8_is_shown_somehow(run_gae, tmp_path):
    path = tmp_path / os.fsdecode(b"\xff\xfe.parquet")
    path.write_bytes(b"no")
    for flags in ([], ["--json"]):
        done = run_gae("compute", path, *flags, text=False)
        assert done.returncode == 4
        assert b"Traceback" not in done.stderr


def test_the_table_is_on_stdout_and_warnings_reach_stderr_when_it_is_not_shown(run_gae, tmp_path):
    path = write(tmp_path / "r.parquet")
    result = ok(run_gae("compute", path))
    assert "advantage" in result.stdout
    assert "\x1b" not in result.stdout + result.stderr
    result = ok(run_gae("compute", path, "--gamma", "0.9", "--quiet"))
    assert result.stdout == ""
    assert result.stderr.startswith("warning: ")
    assert "2 of 4 episodes end without a terminal flag" in result.stderr
    result = ok(run_gae("compute", write(path, next_value=np.roll(columns()["value"], -1)), "-q"))
    assert (result.stdout, result.stderr) == ("", "")


def test_no_progress_is_shown_where_nobody_looks(run_gae, tmp_path):
    paths = [write(tmp_path / f"{seed}.parquet", next_value=np.ones(ROWS)) for seed in range(3)]
    for flags in ((), ("--no-progress",)):
        result = ok(run_gae("compute", *paths, "--overwrite", *flags))
        assert result.stderr == ""


def test_a_reader_that_leaves_early_is_no_error(start_gae, gae_command, tmp_path):
    path = write(tmp_path / "r.parquet")
    for flags in ([], ["--json"]):
        run = start_gae("compute", path, *flags)
        run.stdout.read(1)
        run.stdout.close()
        errors = run.communicate(timeout=60)[1]
        assert errors.strip() == b"" or errors.startswith(b"warning: ")
        assert b"Broken" not in errors
        assert b"Traceback" not in errors
        assert run.returncode in (0, 141)  # 0 where all of it was written before
    closed = f"'{gae_command}' compute '{path}' >&-; echo $?"
    done = subprocess.run(["bash", "-c", closed], capture_output=True, text=True, timeout=60, check=True)
    assert "Traceback" not in done.stderr


def test_python_and_the_command_line_are_twins(run_gae, tmp_path):
    path = write(tmp_path / "r.parquet")
    document = document_of(ok(run_gae("compute", path, "--gamma", "0.9", "--normalize", "all", "--json")))
    summary = gaecli.compute(write(path), gamma=0.9, normalize="all")
    assert document["columns"]["advantage"]["std"] == summary.columns["advantage"].std
    assert document["explained_variance"] == summary.explained_variance
    assert math.isfinite(summary.explained_variance)
    with pytest.raises(gaecli.UsageError, match="no setting `gama`") as error:
        gaecli.compute(path, gama=0.9)
    assert str(error.value.hint).startswith("`gamma` is one")
