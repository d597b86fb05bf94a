"""Files damaged at places that mean something: an error with words, or right numbers; never the end of the process.

pytest tests/faults/test_fuzz.py                                  a few of each format, always the same
pytest -m fuzz tests/faults/test_fuzz.py                          thousands
GAECLI_FUZZ_SEED=17 pytest -m fuzz tests/faults/test_fuzz.py      others; `new` draws a seed and prints it
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FORMATS = ("parquet", "npz", "arrow", "jsonl", "hdf5", "csv", "pt")
FEW, SOME, MANY = 3, 32, 1200
TESTS = Path(__file__).parents[1]


def seed() -> int:
    asked = os.environ.get("GAECLI_FUZZ_SEED", "1")
    return secrets.randbelow(1 << 30) if asked == "new" else int(asked)


def fuzzed(format_names: str, seed: int, count: int) -> dict:
    command = [sys.executable, "-m", "faults.fuzzing.server", format_names, str(seed), str(count)]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=7200, check=False)
    last = done.stdout.strip().splitlines()[-1:]
    assert done.returncode == 0, f"ended with {done.returncode} at {last}\n{done.stderr[-2000:]}"
    return json.loads(last[0])


@pytest.mark.parametrize("count", [FEW, pytest.param(SOME, marks=pytest.mark.slow)])
def test_damage_of_every_part_ends_in_an_error_or_right_numbers(count: int) -> None:
    """All formats in one process: to start it takes as long as its runs, and to import torch as long again."""
    formats = [name for name in FORMATS if name != "pt" or (count >= SOME and find_spec("torch"))]
    found = fuzzed(",".join(formats), 1, count)
    assert list(found) == formats
    for of_format in found.values():
        assert_all_is_well(of_format, count)
    # Of a few files it may be that each of one format is refused, or misses the numbers.
    compared = [of_format["checked"] > 0 for of_format in found.values()]
    assert all(compared) if count >= SOME else sum(compared) > 1


@pytest.mark.fuzz
@pytest.mark.parametrize("format_name", FORMATS)
def test_thousands_of_damaged_files_end_in_an_error_or_right_numbers(format_name: str) -> None:
    if format_name == "pt":
        pytest.importorskip("torch")
    drawn = seed()
    print(f"seed {drawn}")
    found = fuzzed(format_name, drawn, MANY)[format_name]
    assert_all_is_well(found, MANY)
    assert found["checked"] > 0


def assert_all_is_well(found: dict, count: int) -> None:
    outcomes = found["outcomes"]
    assert not found["wrong"], "\n".join(found["wrong"])
    assert sum(outcomes.values()) == count
    # Damage is refused, and damage of what is not asked for does not matter: numbers are compared (`checked`).
    assert any(outcome.endswith(" 4") for outcome in outcomes)
    # What `--memory` allows: a page may claim to hold that much, and nothing says that it does not.
    assert found["peak_bytes"] < 1 << 30
