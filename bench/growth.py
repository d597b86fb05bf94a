"""How time and memory of `gae compute` grow with the rows, beside what has to be done in any case.

    python bench/growth.py --first 1000000 --doublings 5 --repeats 3 --plot docs/growth.svg
    python bench/growth.py --lean --first 1000000 --doublings 6 --results growth.jsonl
    python bench/growth.py --lean --first 128000000 --doublings 1 --results growth.jsonl --plot docs/growth.svg
    python bench/growth.py --commands inspect explain check sweep --first 100000000 --doublings 0 --repeats 1

Each size is a file of its own, 30 bytes a row or with `--lean` 9, which is deleted before the next one is made; the
result goes into another one. The floor, in the same turn: copying the bytes, reading three columns, encoding two, row
group by row group, so that the bench takes no memory to speak of, and disk for two files of a size. Prints a Markdown
table, and draws CPU seconds and MiB against rows, with the floor. `--results` adds to what other runs have found, so
that large sizes can be measured by themselves. `--commands` write nothing, and have one table.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from end_to_end import run
from floor import copied, seconds_of
from machine import machine
from rollout_files import ROW_GROUP_ROWS, write_rollouts

GAE = str(Path(sys.executable).with_name("gae"))
#: Those that write nothing; `explain` of the row in the middle.
LOOKS = {
    "inspect": ["inspect"],
    "explain": ["explain", "--top", "5", "--row"],
    "check": ["check", "--quiet"],
    "sweep": ["sweep", "--gamma", "0.99", "--lam", "0:1:0.05"],
}
#: What is measured of each size.
#: Files of so many rows have a run that is not counted; larger ones take long enough.
WARMED_UP = 10_000_000
COLUMNS = ("wall s", "CPU s", "peak MiB", "copy s", "read s", "encode s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=1_000_000)
    parser.add_argument("--doublings", type=int, default=5, help="how often the rows are multiplied")
    parser.add_argument("--times", type=int, default=2, help="by how much")
    parser.add_argument(
        "--commands", nargs="+", choices=LOOKS, default=[], help="these, and not `gae compute`"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=None)
    parser.add_argument("--lean", action="store_true", help="no columns but those that are read")
    parser.add_argument(
        "--results", type=Path, default=None, help="lines of sizes, to which those of this run come"
    )
    parser.add_argument("--plot", type=Path, default=None)
    options = parser.parse_args()
    print(f"{machine()}; medians of {options.repeats}\n")
    if options.commands:
        looks(options)
        return
    found = known(options.results)
    for doubling in range(options.doublings + 1):
        num_rows = options.first * options.times**doubling
        with tempfile.TemporaryDirectory(dir=options.directory) as folder:
            found[num_rows] = measured(Path(folder), num_rows, options.repeats, wide=not options.lean)
        if options.results is not None:
            with options.results.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps([num_rows, found[num_rows]]) + "\n")
    sizes = sorted(found.items())
    show(sizes)
    if options.plot is not None:
        options.plot.write_text(plot(sizes), encoding="utf-8")


def known(results: Path | None) -> dict[int, list[float]]:
    """Of other runs; the last one of a size counts."""
    if results is None or not results.exists():
        return {}
    return dict(json.loads(line) for line in results.read_text(encoding="utf-8").splitlines())


def show(sizes: Sequence[tuple[int, Sequence[float]]]) -> None:
    print("| rows | " + " | ".join(COLUMNS) + " | CPU ns a row | CPU, of the rows before |")
    print("|---" * (len(COLUMNS) + 3) + "|")
    before = None
    for num_rows, numbers in sizes:
        cells = [
            f"{number:.0f}" if name == "peak MiB" else f"{number:.2f}"
            for name, number in zip(COLUMNS, numbers, strict=True)
        ]
        growth = "" if before is None else f"{numbers[1] / before:.2f}"
        print(f"| {num_rows:,} | {' | '.join(cells)} | {numbers[1] / num_rows * 1e9:.0f} | {growth} |")
        before = numbers[1]


def looks(options: argparse.Namespace) -> None:
    """A row for each command and size."""
    print("| command | rows | wall s | CPU s | peak MiB | CPU ns a row |\n|---|---|---|---|---|---|")
    for doubling in range(options.doublings + 1):
        num_rows = options.first * options.times**doubling
        with tempfile.TemporaryDirectory(dir=options.directory) as folder:
            source = Path(folder) / "r.parquet"
            write_rollouts(source, num_rows, wide=not options.lean)
            for name in options.commands:
                words = [*LOOKS[name], *([str(num_rows // 2)] if name == "explain" else [])]
                turns = [run([GAE, *words], source) for _ in range(options.repeats)]
                wall, cpu, peak = (statistics.median(column) for column in zip(*turns, strict=True))
                cells = f"{wall:.2f} | {cpu:.2f} | {peak:.0f} | {cpu / num_rows * 1e9:.0f}"
                print(f"| {name} | {num_rows:,} | {cells} |", flush=True)


def measured(folder: Path, num_rows: int, repeats: int, *, wide: bool) -> list[float]:
    """Medians, in the order of `COLUMNS`. What was written has just gone through the page cache."""
    source, out = folder / "r.parquet", folder / "out.parquet"
    write_rollouts(source, num_rows, wide=wide)
    numbers = np.random.default_rng(0).standard_normal(ROW_GROUP_ROWS, dtype=np.float32)
    compute = [GAE, "compute", "--quiet", "--overwrite", "-o", str(out)]
    if num_rows <= WARMED_UP:
        run(compute, source)
    floor: list[Callable[[], object]] = [
        lambda: copied(source, out, sync=False),
        lambda: read_by_groups(source),
        lambda: encoded_over_and_over(numbers, num_rows, out),
    ]
    turns = []
    for _ in range(repeats):
        os.sync()
        turns.append([*run(compute, source), *map(seconds_of, floor)])
    return [statistics.median(column) for column in zip(*turns, strict=True)]


def read_by_groups(path: Path) -> None:
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            file.read_row_group(group, columns=["reward", "value", "done"], use_threads=False)


def encoded_over_and_over(numbers: np.ndarray, num_rows: int, path: Path) -> None:
    schema = pa.schema([("advantage", pa.float32()), ("return", pa.float32())])
    with pq.ParquetWriter(path, schema, use_dictionary=False) as writer:
        for start in range(0, num_rows, len(numbers)):
            part = pa.array(numbers[: num_rows - start])
            writer.write_table(pa.table([part, part], schema=schema))


WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 300, 56, 24, 56, 44


def plot(found: Sequence[tuple[int, Sequence[float]]]) -> str:
    """CPU seconds against rows and those of the floor, logarithmic, and the peak of memory beside them."""
    rows = [num_rows for num_rows, _ in found]
    seconds, peaks = ([numbers[column] for _, numbers in found] for column in (1, 2))
    floor = [sum(numbers[3:]) for _, numbers in found]
    low, high = math.log10(min([*seconds, *floor])) - 0.1, math.log10(max([*seconds, *floor])) + 0.1
    most = max(peaks) * 1.5

    def x(num_rows: int) -> float:
        share = math.log2(num_rows / rows[0]) / max(math.log2(rows[-1] / rows[0]), 1.0)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(share: float) -> float:
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    lines = (
        (
            "#1f77b4",
            [(x(n), y((math.log10(s) - low) / (high - low))) for n, s in zip(rows, seconds, strict=True)],
        ),
        (
            "#7f7f7f",
            [(x(n), y((math.log10(s) - low) / (high - low))) for n, s in zip(rows, floor, strict=True)],
        ),
        ("#d62728", [(x(n), y(peak / most)) for n, peak in zip(rows, peaks, strict=True)]),
    )
    texts = (
        [f"{number:.2g}" for number in seconds],
        [""] * len(rows),
        [f"{peak:.0f}" for peak in peaks],
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        '<text x="8" y="14" fill="#1f77b4">CPU s, logarithmic</text>',
        '<text x="130" y="14" fill="#7f7f7f">floor: copy, read three columns, encode two</text>',
        f'<text x="{WIDTH - 8}" y="14" text-anchor="end" fill="#d62728">peak MiB</text>',
    ]
    for num_rows in rows:
        parts.append(
            f'<text x="{x(num_rows):.0f}" y="{HEIGHT - 24}" text-anchor="middle">{num_rows / 1e6:g}M</text>'
        )
    parts.append(f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">rows, logarithmic</text>')
    for colour, points in lines:
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for (colour, points), of_line in zip(lines, texts, strict=True):
        for (a, b), text in zip(points, of_line, strict=True):
            parts.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>')
            parts.append(
                f'<text x="{a:.1f}" y="{b - 7:.1f}" text-anchor="middle" fill="{colour}">{text}</text>'
            )
    return "\n".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    main()
