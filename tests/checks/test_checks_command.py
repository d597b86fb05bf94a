"""`gae check` as it is typed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from checks.planted import clean_rollout, with_done, write

from gaecli.checks.registry import RULES


@pytest.fixture
def clean(tmp_path):
    return write(tmp_path / "clean.parquet", clean_rollout())


@pytest.fixture
def mixed_up(tmp_path):
    return write(tmp_path / "mixed.parquet", with_done(clean_rollout(), at="start"))


@pytest.fixture
def doubtful(tmp_path):
    columns = clean_rollout()
    return write(tmp_path / "doubtful.parquet", {**columns, "value": columns["value"].astype(np.float16)})


def test_exit_codes(run_gae, clean, mixed_up, doubtful):
    assert run_gae("check", clean).returncode == 0
    assert run_gae("check", mixed_up).returncode == 3
    assert run_gae("check", doubtful).returncode == 0
    assert run_gae("check", doubtful, "--strict").returncode == 3
    assert run_gae("check", doubtful, "--strict", "--ignore", "GAE203").returncode == 0


def test_findings_are_on_stdout_with_the_flag_that_mends_them(run_gae, mixed_up):
    result = run_gae("check", mixed_up)
    assert "GAE001 error  start-end-mix-up" in result.stdout
    assert "pass `--done-at start`" in result.stdout
    assert "hill-a/stable-baselines#385" in result.stdout
    assert result.stderr == ""
    assert run_gae("check", mixed_up, "--done-at", "start").returncode == 0


def test_selected_rules_alone_are_applied(run_gae, mixed_up):
    result = run_gae("check", mixed_up, "--select", "GAE3,half-precision", "--json")
    document = json.loads(result.stdout)
    assert document["rules"] == ["GAE203", "GAE301", "GAE302"]
    assert (document["findings"], result.returncode) == ([], 0)


def test_json(run_gae, clean, mixed_up):
    result = run_gae("check", clean, mixed_up, "--json")
    document = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(name))
    codes = {finding["code"] for finding in document["findings"]}
    assert codes == {"GAE001", "GAE501"}
    assert result.returncode == document["exit_code"] == 3
    (finding,) = (f for f in document["findings"] if f["code"] == "GAE001")
    assert finding["file"] == str(mixed_up)
    assert finding["row"] == 0


def test_list(run_gae):
    result = run_gae("check", "--list")
    assert result.returncode == 0
    assert all(rule.code in result.stdout and rule.name in result.stdout for rule in RULES)
    document = json.loads(run_gae("check", "--list", "--json", "--select", "GAE40").stdout)
    codes = [rule.code for rule in RULES if rule.code.startswith("GAE40")]
    assert [rule["code"] for rule in document["rules"]] == codes
    assert len(codes) < len(RULES)


def test_what_cannot_be_opened_is_told_on_stderr(run_gae, clean, tmp_path):
    broken = tmp_path / "broken.parquet"
    broken.write_text("text")
    result = run_gae("check", clean, broken)
    assert result.returncode == 4
    assert "broken.parquet" in result.stderr
    assert "Traceback" not in result.stderr


def test_usage(run_gae, clean):
    assert run_gae("check").returncode == 2
    result = run_gae("check", clean, "--select", "E501")
    assert result.returncode == 2
    assert "no rule begins with `E501`" in result.stderr


def test_nothing_is_written(run_gae, mixed_up):
    before = (mixed_up.read_bytes(), mixed_up.stat().st_mtime_ns)
    run_gae("check", mixed_up)
    assert (mixed_up.read_bytes(), mixed_up.stat().st_mtime_ns) == before


def test_annotations_of_github(run_gae, tmp_path, mixed_up):
    """Parsed as the runner does it: https://github.com/actions/toolkit, packages/core/src/command.ts."""
    odd = mixed_up.rename(tmp_path / "a,b:c%.parquet")
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"nothing of the kind")
    result = run_gae("check", odd, bad, "--output-format", "github")
    assert result.returncode == 4
    found = []
    for line in result.stdout.splitlines():
        command, message = line.removeprefix("::").split("::", 1)
        level, properties = command.split(" ", 1)
        pairs = dict(pair.split("=", 1) for pair in properties.split(","))
        plain = pairs["file"].replace("%3A", ":").replace("%2C", ",").replace("%25", "%")
        found.append((level, plain, pairs["title"], message))
    (mixed,) = (one for one in found if one[2] == "GAE001 start-end-mix-up")
    assert mixed[:2] == ("error", str(odd))
    assert "%0Apass `--done-at start`" in mixed[3]
    assert [one[:3] for one in found if one[1] == str(bad)] == [("error", str(bad), "gae check")]


def test_exit_zero_is_of_findings_and_not_of_files(run_gae, tmp_path, mixed_up):
    assert run_gae("check", mixed_up, "--exit-zero").returncode == 0
    assert run_gae("check", mixed_up, tmp_path / "none.parquet", "--exit-zero").returncode == 4
    wrong = run_gae("check", mixed_up, "--output-format", "gitlab")
    assert (wrong.returncode, "table, json, github" in wrong.stderr) == (2, True)
