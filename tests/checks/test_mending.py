"""`gae check --fix`: the command has the flags that deal with findings, and no file is changed."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from in_process import run_here

import gaecli
from gaecli.checks.registry import RULES
from gaecli.commands.answers import answers_in, keywords_of
from gaecli.diagnosis import RuleInfo

ROWS, LENGTH = 90, 10


def columns() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    return {
        "episode": np.repeat(np.arange(ROWS // LENGTH), LENGTH),
        "reward": rng.normal(size=ROWS),
        "value": rng.normal(size=ROWS),
        "truncated": np.arange(ROWS) % LENGTH == LENGTH - 1,
        "next_value": rng.normal(size=ROWS),
    }


def write(path: Path, of: dict[str, Any]) -> Path:
    pq.write_table(pa.table(of), path)
    return path


def fixed(path: Path, *flags: str) -> dict[str, Any]:
    done = run_here("check", path, "--fix", "--json", *flags)
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == found["exit_code"]
    return found


def test_the_command_runs_where_the_file_alone_is_refused(tmp_path: Path) -> None:
    of = columns()
    of["value"][4] = np.nan
    path = write(tmp_path / "a b.parquet", of)
    before = path.read_bytes()
    assert run_here("compute", path, "--quiet").returncode == 3
    found = fixed(path)
    assert found["exit_code"] == 0
    assert found["fix"]["mended"] == [{"code": "GAE302", "flags": ["--on-nan drop-episode"]}]
    assert path.read_bytes() == before
    quiet = run_here("check", path, "--fix", "--quiet").stdout.strip()
    assert quiet == found["fix"]["command"]
    program, *words = shlex.split(quiet)
    assert program == "gae"
    assert run_here(*words, "--quiet").returncode == 0
    assert "--on-nan drop-episode" in run_here("check", path, "--fix").stdout


def test_without_fix_errors_count_and_nothing_is_told_of_flags(tmp_path: Path) -> None:
    of = columns()
    of["value"][4] = np.nan
    done = run_here("check", write(tmp_path / "a.parquet", of), "--json")
    assert (done.returncode, json.loads(done.stdout)["fix"]) == (3, None)


def test_a_flag_that_the_rows_decide_is_in_the_command(tmp_path: Path) -> None:
    of = columns()
    of.pop("truncated")
    of["done"] = np.arange(ROWS) % LENGTH == 0  # set on first rows, and read as ends
    found = fixed(write(tmp_path / "a.parquet", of))
    assert found["fix"]["command"].endswith(" --done-at start")


def test_what_one_of_two_flags_decides_is_left_to_the_user(tmp_path: Path) -> None:
    of = columns()
    of["done"] = of.pop("truncated")
    of["done"][24] = True  # within an episode
    found = fixed(write(tmp_path / "a.parquet", of))
    assert (found["fix"]["command"], found["fix"]["refused"], found["exit_code"]) == (None, None, 3)
    (remedy,) = [one for one in found["fix"]["undecided"] if one["code"] == "GAE003"]
    assert len(remedy["flags"]) > 1


def test_what_no_flag_deals_with_is_in_the_data_and_counts_if_warnings_do(tmp_path: Path) -> None:
    of = columns()
    of["truncated"] = of["truncated"].astype(np.int64)  # GAE006: numbers for flags
    path = write(tmp_path / "a.parquet", of)
    found = fixed(path)
    assert (found["fix"]["command"], found["fix"]["in_data"]) == (None, ["GAE006"])
    assert (found["exit_code"], fixed(path, "--strict")["exit_code"]) == (0, 3)


def test_a_clean_file_has_nothing_to_fix(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", columns())
    nothing = {"command": None, "mended": [], "undecided": [], "in_data": [], "refused": None}
    assert fixed(path)["fix"] == nothing
    assert "nothing to fix" in run_here("check", path, "--fix").stdout


def test_flags_that_the_user_gave_are_in_the_command(tmp_path: Path) -> None:
    of = columns()
    of["reward"][4] = np.inf
    of["vf"] = of.pop("value")
    found = fixed(write(tmp_path / "a.parquet", of), "--value-column", "vf", "--gamma", "0.9")
    assert found["fix"]["command"].split()[3:] == [
        *("--gamma", "0.9", "--lam", "0.95", "--on-nan", "drop-episode", "--value-column", "vf")
    ]


def test_from_python(tmp_path: Path) -> None:
    of = columns()
    of["value"][4] = np.nan
    path = write(tmp_path / "a.parquet", of)
    mending = gaecli.check(path, gamma=0.9, fix=True).mending
    assert mending is not None
    assert mending.command == f"gae compute {path} --gamma 0.9 --lam 0.95 --on-nan drop-episode"
    assert gaecli.check(path).mending is None


@pytest.mark.parametrize("rule", [rule.info for rule in RULES], ids=lambda rule: rule.code)
def test_every_flag_that_a_rule_names_is_read_there(rule: RuleInfo) -> None:
    spans = [span for span in re.findall(r"`(--[^`…]+)`", rule.fix) if not span.endswith(" COLUMN")]
    answers = answers_in(rule.fix)
    assert {answer.flags for answer in answers} >= {span for span in spans if " " in span}
    for answer in answers:
        keywords = keywords_of(f"{answer.flags} x" if answer.is_open else answer.flags)
        assert len(keywords) >= 1


def test_of_a_file_that_cannot_be_examined_nothing_is_said_to_be_right(tmp_path: Path) -> None:
    of = columns()
    of["critic's"] = of.pop("value")
    done = run_here("check", write(tmp_path / "a.parquet", of), "--fix")
    assert done.returncode == 2
    assert "nothing to fix" not in done.stdout
