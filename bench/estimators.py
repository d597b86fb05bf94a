"""What estimators cost beside GAE, and `grpo` beside a pandas script: whole processes, in turn, with peak memory.

    python bench/estimators.py --rows 10000000 --repeats 5

Each repeat runs every contender once on its own fresh copy of its file; ratios are taken within a repeat, so that a
machine that changes speed changes both sides. Recursions are to stay within 1.5 of the time of `gae`, `grpo` on as
many responses (ten to a prompt) within 2 of it and 800 MiB, and under a fifth of the script's time: of the one with
pandas' own functions, and of the one with a function of each group, which takes minutes at ten million rows. Prints a
Markdown table.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from end_to_end import SCRIPTS, run
from rollout_files import ROW_GROUP_ROWS

EPISODE_STEPS = 200
RESPONSES_PER_PROMPT = 10

#: Estimator -> what it takes beside its columns.
RECURSIONS = {
    "gae": (),
    "td0": (),
    "td-lambda": (),
    "n-step": ("--n-steps", "10"),
    "mc": (),
    "vtrace": (),
    "retrace": (),
    "q-lambda": (),
    "tree-backup": (),
    "upgo": (),
}
SCRIPT = "pandas groupby-transform"
LAMBDA_SCRIPT = "pandas groupby-transform, a lambda"
#: Contender -> the most of the time of another, in the same repeat.
LIMITS = {
    **{name: ("gae", 1.5) for name in RECURSIONS if name != "gae"},
    "grpo": ("gae", 2.0),
    SCRIPT: ("grpo", None),
    LAMBDA_SCRIPT: ("grpo", None),
}


class Contender(NamedTuple):
    command: list[str]
    file: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="these contenders only; gae and grpo run always")
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        compare(Path(name), options)


def compare(folder: Path, options: argparse.Namespace) -> None:
    steps, responses = folder / "steps.parquet", folder / "responses.parquet"
    write(steps, options.rows, steps_of)
    write(responses, options.rows, responses_of)
    known = contenders(steps, responses)
    chosen = {
        name: one
        for name, one in known.items()
        if not options.only or name in options.only or name in ("gae", "grpo")
    }
    results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in chosen}
    copy = folder / "copy.parquet"
    for repeat in range(options.repeats + 1):
        for name, one in chosen.items():
            shutil.copyfile(one.file, copy)
            os.sync()
            measured = run(one.command, copy)
            if repeat:  # the first warms the page cache and the import caches
                results[name].append(measured)
    show(results, options)


def contenders(steps: Path, responses: Path) -> dict[str, Contender]:
    gae = [str(Path(sys.executable).with_name("gae")), "compute", "--quiet", "--device", "auto"]
    found = {name: Contender([*gae, "--estimator", name, *more], steps) for name, more in RECURSIONS.items()}
    grpo = [*gae, "--estimator", "grpo", "--group-column", "prompt_id", "--reward-column", "score"]
    found["grpo"] = Contender([*grpo, "--norm-eps", "1e-6"], responses)
    script = [sys.executable, str(SCRIPTS / "pandas_grpo.py")]
    found[SCRIPT] = Contender(script, responses)
    found[LAMBDA_SCRIPT] = Contender([*script, "--lambda"], responses)
    return found


def write(path: Path, num_rows: int, table_of) -> None:  # type: ignore[no-untyped-def]
    generator = np.random.default_rng(0)
    writer: pq.ParquetWriter | None = None
    for start in range(0, num_rows, ROW_GROUP_ROWS):
        table = table_of(np.arange(start, min(start + ROW_GROUP_ROWS, num_rows)), generator)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
    if writer is not None:
        writer.close()


def steps_of(rows: np.ndarray, generator: np.random.Generator) -> pa.Table:
    """All columns that any of the recursions reads."""
    normal = {
        name: generator.standard_normal(len(rows), np.float32) for name in ("reward", "value", "q_value")
    }
    log_probs = {
        name: -generator.standard_exponential(len(rows), np.float32)
        for name in ("target_log_prob", "behaviour_log_prob")
    }
    ends = {"done": (rows + 1) % EPISODE_STEPS == 0, "episode_id": rows // EPISODE_STEPS}
    return pa.table({**normal, **log_probs, **ends})


def responses_of(rows: np.ndarray, generator: np.random.Generator) -> pa.Table:
    """Of every prompt the same number of responses, side by side as trainers log them."""
    scores = generator.integers(0, 2, len(rows)).astype(np.float32)
    return pa.table({"prompt_id": rows // RESPONSES_PER_PROMPT, "score": scores})


def show(results: dict[str, list[tuple[float, float, float]]], options: argparse.Namespace) -> None:
    print(f"{options.rows:,} rows, {options.repeats} repeats")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print(
        "| contender | wall s (median) | CPU s | peak MiB | beside | of its wall time (median, min-max) | at most |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, measured in results.items():
        walls, cpus, peaks = zip(*measured, strict=True)
        line = (
            f"| {name} | {statistics.median(walls):.2f} | {statistics.median(cpus):.2f} | {max(peaks):.0f} |"
        )
        if name not in LIMITS:
            print(f"{line} | | |")
            continue
        other, limit = LIMITS[name]
        beside = [seconds for seconds, _, _ in results[other]]
        ratios = [seconds / base for seconds, base in zip(walls, beside, strict=True)]
        span = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        print(f"{line} {other} | {span} | {'(5 at least)' if limit is None else limit} |")


if __name__ == "__main__":
    main()
