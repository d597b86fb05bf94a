"""What it costs to start: `gae --help`, and `gae compute` of a file of 1,000 rows, against what they import.

    python bench/startup.py --pairs 10

The package is built and installed as a wheel, bytecode compiled, into an environment of its own that sees the
packages of this one: an editable checkout may compile its modules at every start. Each pair runs both commands once,
one after the other; what counts is the median of the ratios.
"""

from __future__ import annotations

import argparse
import compileall
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
NUM_ROWS = 1_000
SCRIPT = "import sys; from gaecli.__main__ import main; sys.exit(main())"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10)
    num_pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as folder:
        python, gae = install(Path(folder))
        file = write_rollout(Path(folder) / "rollout.parquet")
        show(
            num_pairs,
            "gae --help",
            [python, gae, "--help"],
            "typer, rich.table",
            python,
        )
        show(
            num_pairs,
            f"gae compute, {NUM_ROWS:,} rows",
            [python, gae, "compute", "--force", file],
            "typer, rich.table, numpy, pyarrow.parquet",
            python,
        )


def install(folder: Path) -> tuple[Path, Path]:
    """The interpreter and the script `gae` of a new environment."""
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    site = folder / "venv" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    compileall.compile_dir(site, quiet=1)
    (site / "packages.pth").write_text("\n".join([sysconfig.get_path("purelib"), *others()]) + "\n")
    script = folder / "gae"
    script.write_text(SCRIPT)
    return python, script


def others() -> list[str]:
    """Where else this environment has packages."""
    return [path for path in sys.path if path.endswith("-packages") and path != sysconfig.get_path("purelib")]


def write_rollout(path: Path) -> Path:
    random = np.random.default_rng(0)
    done = np.arange(1, NUM_ROWS + 1) % 100 == 0
    numbers = {name: random.normal(size=NUM_ROWS).astype(np.float32) for name in ("reward", "value")}
    pq.write_table(pa.table({**numbers, "done": done}), path)
    return path


def show(num_pairs: int, name: str, command: list[object], modules: str, python: Path) -> None:
    imports = [python, "-c", f"import {modules}"]
    for warm_up in (command, imports):
        seconds(warm_up)
    pairs = [(seconds(command), seconds(imports)) for _ in range(num_pairs)]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    ours, theirs = (1e3 * statistics.median(times) for times in zip(*pairs, strict=True))
    print(f"{name}: {ours:.0f} ms; import {modules}: {theirs:.0f} ms; median ratio {ratio:.2f}")


def seconds(command: list[object]) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(list(map(str, command)), env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
