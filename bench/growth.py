"""How time and memory of `gae compute` grow with the rows, beside what has to be done in any case.

    python bench/growth.py --first 1000000 --doublings 5 --repeats 3 --plot docs/growth.svg
    python bench/growth.py --first 1000000 --doublings 4 --times 4 --repeats 1   # to 256,000,000
    python bench/growth.py --commands inspect explain check sweep --first 100000000 --doublings 0 --repeats 1

Each size is a file of its own, 30 bytes a row, which is deleted before the next one is made; the result goes into
another one. The floor, in the same turn: copying the bytes, reading three columns, encoding two. Prints a Markdown
table, and draws CPU seconds and MiB against rows.
`--commands` write nothing, and have one table.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from end_to_end import run
from floor import copied, encoded, read, seconds_of
from machine import machine
from rollout_files import write_rollouts

GAE = str(Path(sys.executable).with_name("gae"))
#: Those that write nothing; `explain` of the row in the middle.
LOOKS = {
    "inspect": ["inspect"],
    "explain": ["explain", "--top", "5", "--row"],
    "check": ["check", "--quiet"],
    "sweep": ["sweep", "--gamma", "0.99", "--lam", "0:1:0.05"],
}
#: What is measured of each size.
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
    parser.add_argument("--plot", type=Path, default=None)
    options = parser.parse_args()
    print(f"{machine()}; medians of {options.repeats}\n")
    if options.commands:
        looks(options)
        return
    print("| rows | " + " | ".join(COLUMNS) + " | CPU ns a row | CPU, of the rows before |")
    print("|---" * (len(COLUMNS) + 3) + "|")
    found: list[tuple[int, list[float]]] = []
    for doubling in range(options.doublings + 1):
        num_rows = options.first * options.times**doubling
        with tempfile.TemporaryDirectory(dir=options.directory) as folder:
            numbers = measured(Path(folder), num_rows, options.repeats)
        growth = f"{numbers[1] / found[-1][1][1]:.2f}" if found else ""
        found.append((num_rows, numbers))
        cells = [
            f"{number:.0f}" if name == "peak MiB" else f"{number:.2f}"
            for name, number in zip(COLUMNS, numbers, strict=True)
        ]
        print(
            f"| {num_rows:,} | {' | '.join(cells)} | {numbers[1] / num_rows * 1e9:.0f} | {growth} |",
            flush=True,
        )
    if options.plot is not None:
        options.plot.write_text(plot(found), encoding="utf-8")


def looks(options: argparse.Namespace) -> None:
    """A row for each command and size."""
    print("| command | rows | wall s | CPU s | peak MiB | CPU ns a row |\n|---|---|---|---|---|---|")
    for doubling in range(options.doublings + 1):
        num_rows = options.first * options.times**doubling
        with tempfile.TemporaryDirectory(dir=options.directory) as folder:
            source = Path(folder) / "r.parquet"
            write_rollouts(source, num_rows)
            for name in options.commands:
                words = [*LOOKS[name], *([str(num_rows // 2)] if name == "explain" else [])]
                turns = [run([GAE, *words], source) for _ in range(options.repeats)]
                wall, cpu, peak = (statistics.median(column) for column in zip(*turns, strict=True))
                cells = f"{wall:.2f} | {cpu:.2f} | {peak:.0f} | {cpu / num_rows * 1e9:.0f}"
                print(f"| {name} | {num_rows:,} | {cells} |", flush=True)


def measured(folder: Path, num_rows: int, repeats: int) -> list[float]:
    """Medians, in the order of `COLUMNS`."""
    source, out = folder / "r.parquet", folder / "out.parquet"
    write_rollouts(source, num_rows)
    numbers = np.random.default_rng(0).standard_normal(num_rows, dtype=np.float32)
    floor: list[Callable[[], object]] = [
        lambda: copied(source, out, sync=False),
        lambda: read(source),
        lambda: encoded(numbers, out),
    ]
    turns = []
    for _ in range(repeats + 1):
        os.sync()
        mine = run([GAE, "compute", "--quiet", "--overwrite", "-o", str(out)], source)
        turns.append([*mine, *map(seconds_of, floor)])
    return [statistics.median(column) for column in zip(*turns[1:], strict=True)]


WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 300, 56, 24, 56, 44


def plot(found: Sequence[tuple[int, Sequence[float]]]) -> str:
    """CPU seconds against rows, both logarithmic, and the peak of memory beside them."""
    rows = [num_rows for num_rows, _ in found]
    seconds, peaks = ([numbers[column] for _, numbers in found] for column in (1, 2))
    low, high = math.log10(min(seconds)) - 0.1, math.log10(max(seconds)) + 0.1
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
        ("#d62728", [(x(n), y(peak / most)) for n, peak in zip(rows, peaks, strict=True)]),
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        '<text x="8" y="14" fill="#1f77b4">CPU s, logarithmic</text>',
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
    for (colour, points), texts in zip(
        lines, ([f"{s:.2f}" for s in seconds], [f"{p:.0f}" for p in peaks]), strict=True
    ):
        for (a, b), text in zip(points, texts, strict=True):
            parts.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>')
            parts.append(
                f'<text x="{a:.1f}" y="{b - 7:.1f}" text-anchor="middle" fill="{colour}">{text}</text>'
            )
    return "\n".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    main()
