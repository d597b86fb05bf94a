"""Fills the output of commands into explain.md, sweep.md and verify.md: `python docs/make_studies.py`.

A block of ```console that begins with `$ gae …` holds that command and what it prints for the files of sample_data/.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PAGES = ("explain.md", "sweep.md", "verify.md")

_BLOCK = re.compile(r"^```console\n\$ gae (?P<command>[^\n]*)\n.*?^```$", re.MULTILINE | re.DOTALL)
#: Wall time differs from run to run.
_TIME = re.compile(r"[\d.]+ m?s$", re.MULTILINE)
WIDTH = "100"


def commands(text: str) -> list[str]:
    """What follows `gae` in every block."""
    return [match["command"] for match in _BLOCK.finditer(text)]


def filled(text: str, folder: Path) -> str:
    """The page with the output of its commands, run in `folder`, a copy of sample_data/."""

    def run(match: re.Match[str]) -> str:
        command = match["command"]
        return f"```console\n$ gae {command}\n{printed(command, folder)}```"

    return _BLOCK.sub(run, text)


def printed(command: str, folder: Path) -> str:
    result = run(command.split(), folder)
    if result.returncode not in (0, 3):
        raise SystemExit(f"gae {command}: {result.stderr}")
    return _TIME.sub("50 ms", result.stdout)


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gaecli", *words],
        cwd=folder,
        env={**os.environ, "COLUMNS": WIDTH, "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "samples"
        shutil.copytree(DOCS.parent / "sample_data", samples)
        for page in PAGES:
            path = DOCS / page
            path.write_text(filled(path.read_text(encoding="utf-8"), samples), encoding="utf-8")


if __name__ == "__main__":
    main()
