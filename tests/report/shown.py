"""Reports of one file, of several and of many, and what stands where in them."""

from __future__ import annotations

from report.examples import (
    column_statistics,
    failed_file,
    file_summary,
    summary,
)
from rich.cells import cell_len

from gaecli.summary import (
    Normalization,
    Summary,
    WarningNote,
)

WIDTHS = (60, 80, 120)


def too_wide(text: str, width: int) -> list[str]:
    return [line for line in text.split("\n") if cell_len(line) > width]


def line_with(text: str, part: str) -> str:
    (line,) = (line for line in text.split("\n") if part in line)
    return line


def verdict(text: str) -> str:
    """It stands over what was computed, and beneath the warnings."""
    lines = text.split("\n")
    return lines[next(number for number, line in enumerate(lines) if line.startswith("GAE ")) - 1]


def many_files(num_files: int, failed: tuple[int, ...] = ()) -> Summary:
    def name(position: int) -> str:
        return f"s3://bucket/ppo/seed-{position:03d}/rollouts-of-00200.parquet"

    files = [failed_file(name(k)) if k in failed else file_summary(name(k)) for k in range(num_files)]
    return summary(*files, exit_code=2 if failed else 0)


def several_files() -> Summary:
    """Two files and a failed one, numbers of every size, a warning."""
    means = {"reward": 0.9935, "value": 45.12, "advantage": 1e-17, "return": -123_456.0}
    bell = (1, 2, 5, 16, 40, 16, 5, 1, 0, 1)
    return summary(
        file_summary("runs/a.parquet"),
        file_summary("runs/b.npz", method="archive", status="up to date"),
        failed_file("runs/c.parquet"),
        columns={name: column_statistics(mean=mean, histogram=bell) for name, mean in means.items()},
        normalization=Normalization("all", 1, 1e-8, "add", mean=0.12344, std=1.5521, num_groups=1),
        warnings=[
            WarningNote("open-end", "2 ends count as 0", file="runs/a.parquet", count=2, hint="pass `-x`")
        ],
        exit_code=2,
    )
