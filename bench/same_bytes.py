"""Whether two builds write the same bytes: every sample, under settings that take every way through the house.

    python bench/same_bytes.py OLD/bin/gae NEW/bin/gae [INPUT ...]

Inputs are files and folders; by default those of sample_data/. Each is copied, computed by either build, and
compared file by file. Ends with 1 where anything differs, and says what.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

#: None of them may ask.
SETTINGS = (
    (),
    ("--normalize", "all"),
    ("--normalize", "episode", "--keep-raw"),
    ("--preset", "cleanrl"),
    ("--preset", "brax"),
    ("--bootstrap", "current", "--memory", "1MiB"),
    ("--sidecar",),
    ("--device", "cpu", "--precision", "single"),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("inputs", nargs="*", type=Path)
    given = parser.parse_args()
    sample_data = Path(__file__).parent.parent / "sample_data"
    inputs = given.inputs or sorted(
        path for path in sample_data.iterdir() if path.suffix not in (".md", ".py")
    )
    different = 0
    for source in inputs:
        for settings in SETTINGS:
            old, new = (_run(build.absolute(), source, settings) for build in (given.old, given.new))
            found = _differences(old, new)
            different += bool(found)
            print(f"{source.name} {' '.join(settings)}: {', '.join(found) or 'the same'}", flush=True)
            for _, folder in (old, new):
                shutil.rmtree(folder)
    print(f"{different} of {len(inputs) * len(SETTINGS)} runs differ")
    return 1 if different else 0


def _run(build: Path, source: Path, settings: tuple[str, ...]) -> tuple[int, Path]:
    """The exit code, and the folder with whatever is there afterwards."""
    folder = Path(tempfile.mkdtemp())
    target = folder / source.name
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)  # a sidecar keeps the time of its input
    done = subprocess.run(
        [build, "compute", source.name, "--quiet", *settings],
        cwd=folder,
        capture_output=True,
        check=False,
    )
    return done.returncode, folder


def _differences(old: tuple[int, Path], new: tuple[int, Path]) -> list[str]:
    (old_code, old_folder), (new_code, new_folder) = old, new
    if old_code != new_code:
        return [f"exit code {old_code}, and now {new_code}"]
    there = {path.relative_to(folder) for folder in (old_folder, new_folder) for path in folder.rglob("*")}
    return [
        str(path)
        for path in sorted(there)
        if not (old_folder / path).is_dir() and not _same(old_folder / path, new_folder / path)
    ]


def _same(old: Path, new: Path) -> bool:
    return old.is_file() and new.is_file() and filecmp.cmp(old, new, shallow=False)


if __name__ == "__main__":
    sys.exit(main())
