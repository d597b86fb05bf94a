"""Defaults of a project and of an environment: what wins over what, and that it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from cli.rollout_files import advantages, columns, write
from typer.testing import CliRunner, Result

from gaecli.cli.main import app
from gaecli.errors import GaeError, UsageError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder below that of the pyproject.toml."""
    here = tmp_path / "sub"
    here.mkdir()
    write(here / "a.parquet")
    monkeypatch.chdir(here)
    return tmp_path


def say(project: Path, text: str) -> None:
    (project / "pyproject.toml").write_text(text)


def gae(*args: str, **env: str) -> Result:
    done = CliRunner().invoke(app, list(args), env=env)
    if isinstance(done.exception, GaeError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def settings(*args: str, **env: str) -> dict[str, Any]:
    return json.loads(gae("compute", "a.parquet", "--dry-run", "--json", *args, **env).stdout)


def test_typed_wins_over_the_environment_over_the_file_over_a_preset(project: Path) -> None:
    say(project, '[tool.gaecli]\ngamma = 0.5\n[tool.gaecli.compute]\nlam = 0.25\nnormalize = "all"\n')
    place = str(project / "pyproject.toml")
    document = settings("--preset", "sb3")
    found = document["settings"]
    assert (found["gamma"], found["lam"], found["normalize"], found["preset"]) == (0.5, 0.25, "all", "sb3")
    assert document["defaults"] == {
        "gamma": {"value": "0.5", "from": place},
        "lam": {"value": "0.25", "from": place},
        "normalize": {"value": "all", "from": place},
    }
    assert settings(GAE_GAMMA="0.75")["settings"]["gamma"] == 0.75
    typed = settings("-g", "0.875", "-l", "1", "--normalize", "none", GAE_GAMMA="0.75")
    assert (typed["settings"]["gamma"], typed["settings"]["lam"]) == (0.875, 1.0)
    assert typed["defaults"] == {}


def test_the_numbers_are_those_of_the_defaults(project: Path) -> None:
    say(project, "[tool.gaecli]\ngamma = 0.5\n")
    done = gae("compute", "a.parquet", GAE_LAM="0.25")
    assert f"defaults: gamma 0.5 from {project / 'pyproject.toml'}; lam 0.25 from GAE_LAM" in done.stderr
    found = pq.read_table("a.parquet")["advantage"].to_numpy()
    assert np.allclose(found, advantages(columns(), 0.5, 0.25), rtol=1e-6)
    assert "defaults" not in gae("compute", "a.parquet", "-q").stderr


def test_switches_and_lists(project: Path) -> None:
    say(
        project,
        '[tool.gaecli]\nkeep-raw = true\nnormalize = "all"\n[tool.gaecli.check]\nignore = ["GAE3", "GAE2"]\n',
    )
    assert settings()["settings"]["keep_raw"] is True
    assert settings(GAE_KEEP_RAW="no")["settings"]["keep_raw"] is False
    rules = json.loads(gae("check", "a.parquet", "--json").stdout)["rules"]
    assert rules
    assert not [code for code in rules if code.startswith(("GAE2", "GAE3"))]


def test_what_says_nothing_to_the_estimator_is_left_out(project: Path) -> None:
    say(project, '[tool.gaecli]\nlam = 0.5\nnormalize = "all"\ngamma = 0.75\n')
    found = settings("--estimator", "mc")
    assert set(found["defaults"]) == {"gamma"}
    with pytest.raises(UsageError, match="--lam"):  # typed, it is refused as ever
        settings("--estimator", "mc", "-l", "0.5")


def test_the_nearest_file_that_speaks_of_gaecli(project: Path) -> None:
    say(project, "[tool.gaecli]\ngamma = 0.5\n")
    (project / "sub" / "pyproject.toml").write_text("[tool.ruff]\nline-length = 100\n")
    assert settings()["settings"]["gamma"] == 0.5
    (project / "sub" / "pyproject.toml").write_text("[tool.gaecli]\nlam = 0.5\n")
    assert (settings()["settings"]["gamma"], settings()["settings"]["lam"]) == (0.99, 0.5)


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        ("[tool.gaecli]\ngama = 1\n", "`gama`", "`gamma`"),
        ("[tool.gaecli.comput]\ngamma = 1\n", "`comput`", "`compute`"),
        ("[tool.gaecli.status]\ngamma = 1\n", "`status.gamma`", None),
        ("[tool.gaecli]\noverwrite = true\n", "cannot have a default", None),
        ("[tool.gaecli]\ngamma = [1]\n", "one text or number", None),
        ('[tool.gaecli]\nkeep-raw = "perhaps"\n', "true or false", None),
        ("[tool.gaecli\n", "cannot be read as TOML", None),
        ('[tool]\ngaecli = "tool.gaecli"\n', "is no table", None),
    ],
)
def test_slips_are_told(project: Path, text: str, told: str, hint: str | None) -> None:
    say(project, text)
    command = "status" if "status" in text else "compute"
    with pytest.raises(UsageError, match=told) as error:
        gae(command, "a.parquet")
    assert hint is None or hint in (error.value.hint or "")
    assert str(project) in str(error.value)


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("GAE_GAMA", "`GAE_GAMA` has no effect: did you mean `GAE_GAMMA`?"),
        ("GAE_REWARD_COLUM", "did you mean `GAE_REWARD_COLUMN`?"),
        ("GAE_OVERWRITE", "`GAE_OVERWRITE` has no effect: it is said to each run"),
    ],
)
def test_a_variable_that_is_nearly_one_is_told(project: Path, variable: str, told: str) -> None:
    assert told in gae("compute", "a.parquet", "--dry-run", **{variable: "1"}).stderr
    assert told not in gae("compute", "a.parquet", "--dry-run", "--quiet", **{variable: "1"}).stderr


def test_an_empty_variable_is_none(project: Path) -> None:
    assert settings(GAE_GAMMA="")["settings"]["gamma"] == 0.99


def test_variables_of_app_engine_are_not_ours(project: Path) -> None:
    """https://docs.cloud.google.com/appengine/docs/standard/python3/runtime#environment_variables"""
    others = {"GAE_ENV": "standard", "GAE_SERVICE": "default", "GAE_VERSION": "1", "GAE_MEMORY_MB": "512"}
    assert settings(**others)["defaults"] == {}
    assert "has no effect" not in gae("compute", "a.parquet", "--dry-run", **others).stderr
    gae("explain", "a.parquet", "--row", "3", **others)
