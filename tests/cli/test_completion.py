"""What a shell offers after a tab, by the protocol of its script: values of options, and no word on stderr."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from in_process import run_here

from gaecli.checks.registry import RULES
from gaecli.cli import typer_classes
from gaecli.cli.typer_classes import COMMANDS
from gaecli.presets import ALIASES, ALL_PRESETS

MODULES = [f"gaecli.cli.{name}" for name in COMMANDS]
COLUMNS = ["episode", "step", "terminated", "reward", "value"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("completion")
    arrays = {name: np.zeros(3) for name in COLUMNS}
    (folder / "runs" / "seed").mkdir(parents=True)
    for name in ("r.parquet", "runs/seed/x.parquet"):
        pq.write_table(pa.table(arrays), folder / name)
    np.savez(folder / "r.npz", **arrays)
    row = dict.fromkeys(COLUMNS, 1.0)
    (folder / "r.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    (folder / "bad.parquet").write_bytes(b"PAR1 and nothing else PAR1")
    os.mkfifo(folder / "pipe.parquet")
    names = ["$(touch pwned)", "a b", "x;y", "a\nb", "`z`", "--force", "'q", "plain.name-2", "λ"]
    pq.write_table(pa.table({name: np.zeros(1) for name in names}), folder / "hostile.parquet")
    return folder


def asked(place: Path, line: str, shell: str = "bash", **more: str) -> list[str]:
    words = f"gae {line}"
    position = len(shlex.split(words)) - (not words.endswith(" "))
    env = {
        "_GAE_COMPLETE": f"complete_{shell}",
        **({"COMP_WORDS": words, "COMP_CWORD": str(position)} if shell == "bash" else {}),
        **({"_TYPER_COMPLETE_ARGS": words} if shell != "bash" else {}),
        **more,
    }
    # A process that completes builds its commands for it; in this one some are built already.
    built = {name: sys.modules.pop(name) for name in MODULES if name in sys.modules}
    typer_classes._loaded.cache_clear()
    try:
        done = run_here(cwd=place, env=env)
    finally:
        sys.modules.update(built)
        typer_classes._loaded.cache_clear()
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    "line",
    [
        "compute r.parquet --reward-column ",
        "compute r.npz --reward-column ",
        "compute r.jsonl --group-column ",
        "compute runs --value-column ",
        "compute 'runs/*/*.parquet' --unit ",
        "compute -g 0.9 r.parquet --normalize-by ",
        "explain r.parquet --row 3 --value-column ",
        "verify r.parquet --against ",
        "compute missing.parquet r.parquet --reward ",
    ],
)
def test_columns_of_the_file_that_is_typed(line, place):
    assert asked(place, line) == COLUMNS


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("compute r.parquet --reward-column r", ["reward"]),
        ("diff r.parquet --columns reward,v", ["reward,value"]),
        ("compute --layout n", ["nested"]),
        ("compute --device c", ["cpu", "cuda"]),
        ("compute --truncation r", ["reset"]),
        ("compute --label-rule lerobot", ["lerobot-3245", "lerobot-3764"]),
        ("sweep r.parquet --estimator grpo,rl", ["grpo,rloo"]),
        (
            "check --select GAE001,GAE00",
            [f"GAE001,{rule.info.code}" for rule in RULES if "GAE00" in rule.info.code],
        ),
        ("presets mjl", ["mjlab"]),
        ("compute --preset ", [*ALL_PRESETS, *ALIASES]),
    ],
)
def test_values_that_an_option_takes(line, offered, place):
    assert asked(place, line) == offered


@pytest.mark.parametrize(
    "line",
    [
        *(
            "compute bad.parquet --reward-column ",
            "compute missing --reward-column ",
            "compute --reward-column ",
        ),
        *("compute pipe.parquet --reward-column ", "compute r.parquet -o ", "compute r.parquet --gamma "),
        *(
            "compute s3://bucket/x.parquet --reward-column ",
            "compute ",
            "sweep --nonsense x --reward-column ",
        ),
    ],
)
def test_where_nothing_is_known_the_shell_offers_files(line, place):
    assert asked(place, line) == []


def test_a_table_of_defaults_that_is_wrong_is_no_matter_yet(place, tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.gaecli]\nnonsense = 1\n")
    shutil.copyfile(place / "r.parquet", tmp_path / "r.parquet")
    assert asked(tmp_path, "compute r.parquet --reward-column r") == ["reward"]


def test_names_that_a_shell_would_act_on_are_not_offered(place):
    assert asked(place, "compute hostile.parquet --reward-column ") == ["plain.name-2"]


def test_zsh_and_fish_ask_in_ways_of_their_own(place):
    line = "compute r.parquet --reward-column r"
    assert asked(place, line, "zsh") == ["_arguments '*: :((\"reward\"))'"]
    assert asked(place, "compute ", "zsh") == ["_files"]
    assert asked(place, line, "fish", _TYPER_COMPLETE_FISH_ACTION="get-args") == ["reward"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_takes_it_from_there(place, gae_command):
    """The script that `--show-completion` prints, asked as bash asks it."""
    script = run_here(env={"_GAE_COMPLETE": "source_bash"}).stdout
    words = "COMP_WORDS=(gae compute r.parquet --reward-column r); COMP_CWORD=4"
    ask = f'{words}; _gae_completion gae; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{script}\n{ask}"],
        cwd=place,
        env={"PATH": f"{gae_command.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("reward\n", "")
