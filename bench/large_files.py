"""Files of gigabytes: wall time and peak memory of `gae compute`, whatever the layout and the format.

    python bench/large_files.py --gib 2 4
    python bench/large_files.py --gib 2 --kinds wide one-row-group npz --device auto cpu

Each file is made by a process of its own, copied (the floor: `cp`, and the disk has it), and labelled in
place by `gae compute`, with the source in the page cache. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

CHUNK_ROWS = 1_000_000
EPISODE_STEPS = 200
ENVIRONMENTS = 64

Numbers = dict[str, np.ndarray]


def chunks(num_rows: int) -> Iterator[Numbers]:
    """Rewards, values and flags of one stream, a million steps at a time."""
    random = np.random.default_rng(0)
    for start in range(0, num_rows, CHUNK_ROWS):
        rows = np.arange(start, min(start + CHUNK_ROWS, num_rows))
        yield {
            "row": rows,
            "reward": random.standard_normal(len(rows), dtype=np.float32),
            "value": random.standard_normal(len(rows), dtype=np.float32),
            "obs": random.standard_normal(len(rows) * 5, dtype=np.float32),
        }


def long_table(steps: Numbers, *, wide: bool, is_one_episode: bool = False) -> pa.Table:
    rows = steps["row"]
    columns = {"reward": steps["reward"], "value": steps["value"]}
    columns["done"] = (rows < 0) if is_one_episode else (rows + 1) % EPISODE_STEPS == 0
    columns["episode_id"] = np.zeros_like(rows) if is_one_episode else rows // EPISODE_STEPS
    if wide:
        columns["action"] = rows % 7
        columns["obs"] = pa.FixedSizeListArray.from_arrays(pa.array(steps["obs"]), 5)
    return pa.table(columns)


def interleaved_table(steps: Numbers) -> pa.Table:
    rows = steps["row"]
    time_ = rows // ENVIRONMENTS
    return pa.table(
        {
            "reward": steps["reward"],
            "value": steps["value"],
            "env_id": (rows % ENVIRONMENTS).astype(np.int32),
            "done": (time_ + 1) % EPISODE_STEPS == 0,
            "obs": pa.FixedSizeListArray.from_arrays(pa.array(steps["obs"]), 5),
        }
    )


def mixed_table(steps: Numbers) -> pa.Table:
    """Episodes of many environments in no fixed order, told apart by their ids alone."""
    rows = steps["row"]
    times = rows // ENVIRONMENTS
    envs = rows.reshape(-1, ENVIRONMENTS) % ENVIRONMENTS
    np.random.default_rng(int(rows[0])).permuted(envs, axis=1, out=envs)
    return pa.table(
        {
            "reward": steps["reward"],
            "value": steps["value"],
            "episode_id": times // EPISODE_STEPS * ENVIRONMENTS + envs.reshape(-1),
            "done": (times + 1) % EPISODE_STEPS == 0,
        }
    )


def nested_table(steps: Numbers) -> pa.Table:
    count = len(steps["row"]) // EPISODE_STEPS
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * EPISODE_STEPS)
    lists = {
        name: pa.ListArray.from_arrays(offsets, pa.array(steps[name][: count * EPISODE_STEPS]))
        for name in ("reward", "value")
    }
    tokens = pa.array(np.arange(count * EPISODE_STEPS, dtype=np.int32) * 40_503 % 32_000)
    return pa.table({**lists, "tokens": pa.ListArray.from_arrays(offsets, tokens)})


def write_parquet(path: Path, num_rows: int, table_of: Callable[[Numbers], pa.Table], row_group: int) -> None:
    writer = None
    held: list[pa.Table] = []
    for steps in chunks(num_rows):
        held.append(table_of(steps))
        writer = writer or pq.ParquetWriter(path, held[0].schema)
        if sum(table.num_rows for table in held) >= row_group:
            writer.write_table(pa.concat_tables(held), row_group_size=row_group)
            held = []
    assert writer is not None
    if held:
        writer.write_table(pa.concat_tables(held), row_group_size=row_group)
    writer.close()


def write_arrow(path: Path, num_rows: int) -> None:
    writer = None
    for steps in chunks(num_rows):
        table = long_table(steps, wide=True)
        writer = writer or ipc.new_file(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def write_npz(
    path: Path, num_rows: int, *, num_envs: int | None, deflated: bool = False, fortran: bool = False
) -> None:
    """[T, N], or flat where `num_envs` is None; a member at a time, so that none is held whole."""
    shape: tuple[int, ...] = (num_rows,) if num_envs is None else (num_rows // num_envs, num_envs)
    compression = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    length = EPISODE_STEPS * (num_envs or 1)
    with zipfile.ZipFile(path, "w", compression, compresslevel=1) as archive:
        for name, dtype in (("rewards", "<f4"), ("values", "<f4"), ("terminated", "|b1"), ("obs", "<f4")):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                header = {"descr": dtype, "fortran_order": fortran, "shape": shape}
                np.lib.format.write_array_header_1_0(member, header)
                for steps in chunks(int(np.prod(shape))):
                    flags = steps["row"] % length >= length - (num_envs or 1)
                    column = {"rewards": "reward", "values": "value", "obs": "reward"}.get(name)
                    member.write((steps[column] if column else flags).tobytes())
        if num_envs is not None:
            with archive.open("last_values.npy", "w") as member:
                np.lib.format.write_array(member, np.zeros(num_envs, np.float32))


#: Kind -> (bytes of a row in the file, how a file of so many rows is written).
KINDS: dict[str, tuple[int, Callable[[Path, int], None]]] = {
    "wide": (
        31,
        lambda path, rows: write_parquet(path, rows, lambda s: long_table(s, wide=True), CHUNK_ROWS),
    ),
    "lean": (
        11,
        lambda path, rows: write_parquet(path, rows, lambda s: long_table(s, wide=False), CHUNK_ROWS),
    ),
    "one-episode": (
        31,
        lambda path, rows: write_parquet(
            path, rows, lambda s: long_table(s, wide=True, is_one_episode=True), CHUNK_ROWS
        ),
    ),
    "one-row-group": (
        31,
        lambda path, rows: write_parquet(path, rows, lambda s: long_table(s, wide=True), rows),
    ),
    "interleaved": (30, lambda path, rows: write_parquet(path, rows, interleaved_table, CHUNK_ROWS)),
    "mixed": (12, lambda path, rows: write_parquet(path, rows, mixed_table, CHUNK_ROWS)),
    "nested": (11, lambda path, rows: write_parquet(path, rows, nested_table, CHUNK_ROWS // EPISODE_STEPS)),
    "arrow": (49, write_arrow),
    "npz": (13, lambda path, rows: write_npz(path, rows, num_envs=ENVIRONMENTS)),
    "npz-wide": (13, lambda path, rows: write_npz(path, rows, num_envs=4096)),
    "npz-flat": (13, lambda path, rows: write_npz(path, rows, num_envs=None)),
    "npz-deflated": (11, lambda path, rows: write_npz(path, rows, num_envs=ENVIRONMENTS, deflated=True)),
    "npz-fortran": (13, lambda path, rows: write_npz(path, rows, num_envs=ENVIRONMENTS, fortran=True)),
}
SUFFIXES = {"arrow": ".arrow"}


def measured(command: list[str]) -> tuple[float, float, float]:
    """(wall seconds, CPU seconds, peak MiB) of one process."""
    start = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} failed with status {status}")
    seconds = time.perf_counter() - start
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=float, nargs="+", default=[2.0, 4.0])
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--device", nargs="+", default=["auto", "cpu"])
    parser.add_argument("--options", default="", help="further options of `gae compute`, in one string")
    parser.add_argument("--directory", type=Path, default=None)
    parser.add_argument("--write", nargs=3, metavar=("KIND", "PATH", "ROWS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        kind, path, rows = options.write
        KINDS[kind][1](Path(path), int(rows))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print("| file | GiB | million steps | device | wall s | CPU s | of cp | peak MiB |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for kind in options.kinds:
        for gib in options.gib:
            with tempfile.TemporaryDirectory(dir=options.directory) as name:
                compare(kind, gib, Path(name), options)


def compare(kind: str, gib: float, folder: Path, options: argparse.Namespace) -> None:
    source = folder / f"source{SUFFIXES.get(kind, '.npz' if kind.startswith('npz') else '.parquet')}"
    num_rows = int(gib * (1 << 30) / KINDS[kind][0])
    num_rows -= num_rows % (4096 * EPISODE_STEPS)
    subprocess.run([sys.executable, __file__, "--write", kind, str(source), str(num_rows)], check=True)
    size = source.stat().st_size / (1 << 30)
    copy = source.with_stem("copy")
    gae = str(Path(sys.executable).with_name("gae"))
    layout = ["--layout", "time-major"] if kind.startswith("npz-") and kind != "npz-flat" else []
    for device in options.device:
        floor, _, _ = measured([shutil.which("cp") or "cp", str(source), str(copy)])
        os.sync()
        command = [gae, "compute", "--quiet", "--device", device, *layout, *options.options.split()]
        wall, cpu, peak = measured([*command, str(copy)])
        print(
            f"| {kind} | {size:.1f} | {num_rows / 1e6:.0f} | {device} | {wall:.1f} | {cpu:.1f} | "
            f"{wall / floor:.1f} | {peak:.0f} |",
            flush=True,
        )
        copy.unlink()


if __name__ == "__main__":
    main()
