"""The commands of docs/pipes.md do what the page says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "pipes.md"
_BLOCK = re.compile(
    r"(?:<!-- needs: (?P<needs>\w+) -->\n)?```sh\n(?P<script>.*?)```\n(?:\n```text\n(?P<output>.*?)```\n)?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    script: str
    output: str
    needs: str | None


def blocks_of(page: str) -> list[Block]:
    return [Block(match["script"], match["output"] or "", match["needs"]) for match in _BLOCK.finditer(page)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, sample_data) -> Path:
    folder = tmp_path_factory.mktemp("pipes")
    shutil.copyfile(sample_data / "cartpole.parquet", folder / "rollouts.parquet")
    return folder


def test_every_block_is_found():
    page = PAGE.read_text(encoding="utf-8")
    assert len(blocks_of(page)) == page.count("```sh\n") >= 6


def test_the_blocks_print_what_the_page_says(folder, gae_command, warm_start, tmp_path):
    """In the order of the page, in one test: a block goes on with the files of the one before it."""
    env = {**os.environ, "PATH": f"{gae_command.parent}{os.pathsep}{os.environ['PATH']}"}
    handles = []
    if warm_start is not None:
        env, handles = warm_start.install(tmp_path), [warm_start.handle]
    found, wanted = {}, {}
    for block in blocks_of(PAGE.read_text(encoding="utf-8")):
        if block.needs is not None and shutil.which(block.needs) is None:
            continue
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.script],
            cwd=folder,
            env=env,
            pass_fds=handles,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        found[block.script] = (result.returncode, result.stdout, result.stderr if result.returncode else "")
        wanted[block.script] = (0, block.output, "")
    assert len(wanted) >= 6
    assert found == wanted
