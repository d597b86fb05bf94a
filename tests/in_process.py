"""The command in this process: a quarter of what a fork takes, where a run has no part in what is asked."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from warm_start import ON_STDERR

#: What makes a terminal of a pipe, or another width, colour or language of the same output.
SHELL_VARIABLES = (
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "PY_COLORS",
    "GITHUB_ACTIONS",
    "COLUMNS",
    "LINES",
    "TERMINAL_WIDTH",
)

#: What a run in this process sets for itself, or torch when it compiles, and would be read by processes after it.
LEFT_BEHIND = ("ARROW_DEFAULT_MEMORY_POOL", "TORCHINDUCTOR_CACHE_DIR")

#: Looked up whenever they are needed.
_LATE_VARIABLES = {"COLUMNS", "LINES", "HOME", "TMPDIR", "PYTHONIOENCODING"}


def can_run_here(args: Iterable[str | Path], env: Mapping[str, str]) -> bool:
    """Nothing goes through a pipe, and no variable is set that Python, a library or `gae` reads at its start."""
    sizes = [text for name, text in env.items() if name in ("COLUMNS", "LINES")]
    return (
        "-" not in args
        and env.keys() <= _LATE_VARIABLES
        and all(text.isascii() and text.isdigit() and len(text) < 4 for text in sizes)
        # What a page of help spells out is looked up in the streams that a process begins with.
        and not ("PYTHONIOENCODING" in env and "--help" in args)
    )


def run_here(
    *args: str | Path, cwd: str | Path | None = None, env: Mapping[str, str] | None = None, **_: Any
) -> subprocess.CompletedProcess[str]:
    """What a process gives, of texts and without input; other options are of processes.

    An error that is none of a user's comes out as it is, rather than as a traceback and exit code 1.
    """
    from gaecli.cli import main
    from gaecli.unfinished import put_away_what_is_left

    words = list(map(str, args))
    encoding = (env or {}).get("PYTHONIOENCODING", "utf-8")
    stdout, stderr = (
        io.TextIOWrapper(io.BytesIO(), encoding, errors, write_through=True)
        for errors in ("strict", ON_STDERR)
    )
    with pytest.MonkeyPatch.context() as patch:
        for name in SHELL_VARIABLES:
            patch.delenv(name, raising=False)
        for name, value in (env or {}).items():
            patch.setenv(name, value)
        patch.setattr(tempfile, "tempdir", None)  # looked up anew
        if cwd is not None:
            patch.chdir(cwd)
        patch.setattr(sys, "argv", ["gae", *words])
        patch.setattr(sys.modules["__main__"], "__package__", None)  # else usage is of `python -m pytest.gae`
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        patch.setattr(sys, "stdout", stdout)
        patch.setattr(sys, "stderr", stderr)
        code = main._exit_code()
        put_away_what_is_left()
    texts = [stream.buffer.getvalue().decode(encoding) for stream in (stdout, stderr)]
    return subprocess.CompletedProcess(words, code, *texts)
