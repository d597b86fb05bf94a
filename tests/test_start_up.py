"""What is imported to start: each module of ours takes a third of a millisecond before it does anything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

# `gae` ends with `os._exit`: what it has imported by then is what it needed.
COUNTED = """
import os, sys
leave = os._exit
def count(code):
    with open(os.environ["MODULES"], "w") as file:
        file.write("\\n".join(sys.modules))
    leave(code)
os._exit = count
from gaecli.__main__ import main
main()
"""


@pytest.fixture
def modules_of(tmp_path):
    """The modules that a command has imported when it ends."""

    def run(*args) -> set[str]:
        log = tmp_path / "modules.txt"
        command = [sys.executable, "-c", COUNTED, *map(str, args)]
        env = {**os.environ, "MODULES": str(log)}
        result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 0, result.stderr
        return set(log.read_text().split())

    return run


def ours(modules):
    return {name for name in modules if name.split(".")[0] == "gaecli"}


def test_help_imports_no_command_and_little_else(modules_of):
    modules = modules_of("--help")
    assert len(ours(modules)) <= 17, sorted(ours(modules))
    assert not {f"gaecli.cli.{name}" for name in ("compute", "inspect", "presets")} & modules
    assert not modules & {"pydantic", "markdown_it", "pygments", "gaecli.settings", "gaecli.cli.options"}


def test_the_help_of_a_command_imports_that_one_only(modules_of):
    modules = ours(modules_of("check", "--help"))
    assert "gaecli.cli.check" in modules
    assert not {f"gaecli.cli.{name}" for name in ("compute", "inspect", "presets")} & modules
    assert "gaecli.commands" not in modules


def test_a_small_compute_imports_what_it_needs(modules_of, copy_sample):
    modules = modules_of("compute", copy_sample("cartpole.parquet"))
    assert len(ours(modules)) <= 230, sorted(ours(modules))
    others = {"pydantic", "markdown_it", "pygments", "numpy.ma", "importlib.metadata", "email", "zipfile"}
    assert not others & modules
    # A file that is of no data set asks no kind of them.
    data_sets = {name for name in ours(modules) if name.startswith("gaecli.datasets.")}
    assert data_sets <= {
        f"gaecli.datasets.{name}" for name in ("base", "folders", "registry", "shards", "tables")
    }
    families = ("label_settings", "unit_settings", "stream_settings", "group_settings", "off_policy_settings")
    others = (
        "labels",
        "reward_streams",
        "response_logs",
        "off_policy_columns",
        "layouts.units",
        "layouts.groups",
    )
    assert not {f"gaecli.{name}" for name in (*families, *others)} & modules
    assert not {"gaecli.checks", "gaecli.studies", "gaecli.formats.npz.reader", "gaecli.api"} & modules


@pytest.mark.parametrize(("given", "used"), [(None, "1"), ("3", "3")])
def test_blas_starts_no_threads_unless_it_is_told_to(given, used, monkeypatch):
    usual = signal.getsignal(signal.SIGINT)
    from gaecli.__main__ import main

    signal.signal(signal.SIGINT, usual)  # it has another one, from the first moment on
    monkeypatch.setattr("gaecli.cli.main.run", lambda: None)
    monkeypatch.setattr("gc.set_threshold", lambda *counts: None)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", given or "")
    if given is None:
        monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    main()
    assert os.environ["OPENBLAS_NUM_THREADS"] == used
