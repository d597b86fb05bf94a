"""Numbers at the ends of float32 and float64: told in our own words, or not at all, never by Python's warnings."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import gaecli
from gaecli.cli.main import app
from gaecli.errors import GaeError

NUM_STEPS = 9
COMMANDS = (
    "compute -o OUT",
    "compute -o OUT --normalize all",
    "compute -o OUT --normalize episode --keep-raw",
    "compute -o OUT --preset finite-horizon",
    "compute -o OUT --preset brax",
    "compute -o OUT --precision single",
    "compute -o OUT --plot PLOT",
    "compute --dry-run --json",
    "inspect",
    "inspect --json --episodes --head 3",
    "check",
    "explain --row 1",
    "explain --row 1 --json",
    "sweep --lam 0.9,1",
    "sweep --lam 0.9,1 -o OUT",
    "verify",
)


def write(path, **columns):
    """One episode; columns that are not given hold small numbers."""
    small = np.linspace(-1, 1, NUM_STEPS)
    plain = {"reward": small, "value": small, "advantage": small, "episode": np.zeros(NUM_STEPS, np.int64)}
    ends = np.arange(NUM_STEPS) == NUM_STEPS - 1
    pq.write_table(pa.table({**plain, "terminated": ends, **columns}), path)
    return path


def run(command, path, *, out):
    words = {"OUT": str(out / "out.parquet"), "PLOT": str(out / "plot.svg")}
    name, *flags = command.split()
    overwrite = ["--overwrite"] if "-o" in flags else []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return CliRunner().invoke(
            app, [name, str(path), *(words.get(flag, flag) for flag in flags), *overwrite]
        )


SIZES = (1e38, 3.4e38, 1e300, 1.7e308, 1e-310, np.inf, np.nan)
#: What the slowest commands meet in each run of the suite. Others meet each size, in rewards or in values.
COSTLY = {
    "compute -o OUT --plot PLOT": ("reward", 1e300, 1.7e308),
    "verify": ("value", 1e38, 1.7e308, 1e-310),
}


def _each_run() -> Iterator[Any]:
    for command, role, size in itertools.product(COMMANDS, ("reward", "value"), SIZES):
        has_turn = (COMMANDS.index(command) + SIZES.index(size)) % 4 == 2 * (role == "value")
        is_left_out = not ({role, size} <= {*COSTLY[command]} if command in COSTLY else has_turn)
        yield pytest.param(command, role, size, marks=pytest.mark.slow if is_left_out else ())


@pytest.mark.few(30)
@pytest.mark.parametrize(("command", "role", "size"), [*_each_run()])
def test_python_warns_of_nothing_and_nothing_breaks(tmp_path, command, role, size):
    signs = np.where(np.arange(NUM_STEPS) % 2, -1.0, 1.0)
    path = write(tmp_path / "r.parquet", **{role: size * signs})
    found = run(command, path, out=tmp_path)
    assert found.exception is None or isinstance(found.exception, SystemExit | GaeError), found.exception
    assert "Warning" not in found.output


def test_what_float32_cannot_hold_is_told(tmp_path):
    path = write(tmp_path / "r.parquet", reward=np.full(NUM_STEPS, 1e39))
    notes = gaecli.compute(path, tmp_path / "out.parquet", overwrite=True).warnings
    (message,) = [note.message for note in notes if note.code == "overflow"]
    assert "goes beyond 3.4e+38" in message


def test_a_column_too_large_for_least_squares_is_no_column_to_verify(tmp_path):
    path = write(tmp_path / "r.parquet", advantage=np.full(NUM_STEPS, 1e200))
    error = run("verify", path, out=tmp_path).exception
    assert isinstance(error, GaeError)
    assert "go beyond 1e+70" in error.message
    assert error.exit_code == 3
