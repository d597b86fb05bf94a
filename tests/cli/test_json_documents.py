"""`--json` of every command has one shape, and `docs/json.md` lists what is in it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from in_process import run_here

import gaecli
from gaecli.cli.typer_classes import COMMANDS
from gaecli.version import __version__

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
FILE = {"input", "error", "hint", "exit_code"}

#: A row of the page, and a run whose document has its keys.
RUNS = {
    "compute": ("compute", "a.parquet", "--dry-run"),
    "doctor": ("doctor", "a.parquet"),
    "inspect": ("inspect", "a.parquet"),
    "check": ("check", "a.parquet"),
    "explain": ("explain", "a.parquet", "--row", "3"),
    "explain of other estimators": ("explain", "a.parquet", "--row", "3", "--estimator", "mc"),
    "sweep": ("sweep", "a.parquet", "--lam", "0,1"),
    "verify": ("verify", "a.parquet", "--against", "value", "--preset", "exact"),
    "verify of labels": ("verify", "labelled.parquet", "--label-threshold", "0"),
    "verify of several inputs, the last line": (
        *("verify", "a.parquet", "b.parquet", "--against", "value", "--preset", "exact", "--no-join"),
        *("--estimator", "gae"),
    ),
    "diff": ("diff", "a.parquet", "--columns", "reward,value"),
    "status": ("status", "a.parquet"),
    "strip": ("strip", "a.parquet", "--dry-run"),
    "presets": ("presets", "sb3"),
    "check --list": ("check", "--list"),
}
#: What it makes is a page.
WITHOUT = {"report", "show"}
#: These read files that may be bad, and go on to the next.
OF_MANY = ("compute", "doctor", "inspect", "check", "sweep", "status", "strip", "verify")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, sample_data: Path) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    for name in ("a.parquet", "b.parquet"):
        shutil.copyfile(sample_data / "pendulum.parquet", folder / name)
    gaecli.compute(folder / "a.parquet", output=folder / "labelled.parquet", label_threshold=0.0)
    (folder / "bad.parquet").write_bytes(b"PAR1 no file at all PAR1")
    return folder


def documents(place: Path, *args: str) -> list[dict[str, Any]]:
    done = run_here(*args, "--json", cwd=place)
    try:
        return [json.loads(done.stdout)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in done.stdout.splitlines()]


def table(heading: str) -> dict[str, str]:
    rows = re.findall(
        r"^\| (.+?) \| (.+) \|$", PAGE.split(f"## {heading}")[1].split("\n## ")[0], re.MULTILINE
    )
    return {first.replace("`", ""): rest for first, rest in rows[1:]}


ENVELOPE = list(table("In every document"))
OWN = {name: re.findall("`(.+?)`", keys) for name, keys in table("Beside these").items()}


def test_every_command_has_its_row() -> None:
    assert {name.split()[0] for name in OWN} == set(COMMANDS) - WITHOUT
    assert list(OWN) == list(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_a_document_has_the_keys_that_the_page_lists(name: str, place: Path) -> None:
    for document in documents(place, *RUNS[name])[-1:]:
        assert set(document) == {*ENVELOPE, *OWN[name]}
        assert [key for key in document if key in ENVELOPE] == ENVELOPE
        assert (document["schema_version"], document["gaecli"]) == (2, __version__)
        assert document["command"] == RUNS[name][0]
        named = [file["input"] for file in document["files"]]
        assert named == [word for word in RUNS[name] if word.endswith(".parquet")]
        assert all(set(file) >= FILE and file["error"] is None for file in document["files"])
        takes_settings = name not in ("status", "strip", "presets", "check --list")
        assert isinstance(document["settings"], dict) == takes_settings
        assert document["failures"] == []
        assert document["defaults"] == {}
        assert document["seconds"] is None or document["seconds"]["total"] > 0
        for note in document["warnings"]:
            assert set(note) >= {"code", "message", "hint", "file", "count"}


@pytest.mark.parametrize("command", OF_MANY)
def test_what_failed_stands_in_the_same_place(command: str, place: Path) -> None:
    flags = ("--no-join", *RUNS[command][2:])
    document = documents(place, command, "a.parquet", "bad.parquet", *flags)[-1]
    (failure,) = document["failures"]
    assert failure["input"] == "bad.parquet"
    assert document["exit_code"] >= failure["exit_code"] > 0
    files = {file["input"]: file for file in document["files"]}
    assert list(files) == ["a.parquet", "bad.parquet"]
    assert files["a.parquet"]["error"] is None
    assert {key: files["bad.parquet"][key] for key in FILE} == {key: failure[key] for key in FILE}
    assert "bad.parquet" in failure["error"]
