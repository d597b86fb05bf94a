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


@pytest.mark.parametrize(
    "block", blocks_of(PAGE.read_text(encoding="utf-8")), ids=lambda block: block.script[:40]
)
def test_a_block_prints_what_the_page_says(block, folder, gae_command):
    """In the order of the page: a block may go on with the files of the one before it."""
    if block.needs is not None and shutil.which(block.needs) is None:
        pytest.skip(f"no {block.needs} here")
    env = {**os.environ, "PATH": f"{gae_command.parent}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.script],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == block.output
