"""Runs `gae` on damaged files, each in a forked child: `python -m faults.fuzzing.server FORMAT SEED COUNT [FIRST]`.

Everything is imported before the first fork, so an input costs milliseconds. An input is drawn from the seed and its
number alone, and so can be made again: with COUNT 1 and its number as FIRST (and GAECLI_FUZZ_KEEP, a folder, to keep
it). FORMAT may be several with commas between them. The last line on stdout is a JSON object, for each format:

    outcomes    "command exit code" -> how many inputs ended so
    checked     how many advantages were compared with those of a plain loop
    wrong       what must not be, by input: ended by a signal, a hang, a traceback, a message without words, wrong
                numbers, a changed or a left file
    peak_bytes  of the largest child
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, NamedTuple

import warm_start
from faults.fuzzing import arrow, delimited, hdf5, json_lines, npz, oracle, parquet, seeds, torch_files

import gaecli.cli.main

MUTATORS: dict[str, ModuleType] = {
    "parquet": parquet,
    "npz": npz,
    "arrow": arrow,
    "jsonl": json_lines,
    "hdf5": hdf5,
    "csv": delimited,
    "pt": torch_files,
}
#: A run takes milliseconds, and none may take this long, whatever the file says: of CPU time; and in all, as it may
#: wait for its turn on a busy machine.
SECONDS, SECONDS_OF_WAITING = 20, 120
#: Of memory that is written to, and of addresses, which libraries reserve freely.
DATA_BYTES = 2 << 30
ADDRESS_SPACE_BYTES = 6 << 30
#: `gae` is told to work in this much; an input may take three times as much and what Python and pyarrow take anyway.
MEMORY = "64MiB"

_PLAIN = ("--gamma", str(oracle.GAMMA), "--lam", str(oracle.LAM), "--done-at", "end")
_RUN = ("--jobs", "1", "--memory", MEMORY, "--no-progress", "--json")
#: Commands with how often they are drawn. What writes comes most often: it goes everywhere in a file.
COMMANDS: dict[str, tuple[int, tuple[str, ...]]] = {
    "compute": (10, ("compute", "FILE", *_PLAIN, *_RUN)),
    "compute -o": (4, ("compute", "FILE", "-o", "OUTPUT", *_PLAIN, *_RUN)),
    "compute --sidecar": (2, ("compute", "FILE", "--sidecar", *_PLAIN, *_RUN)),
    "compute --overwrite": (3, ("compute", "FILE", "--overwrite", "--normalize", "all", *_PLAIN, *_RUN)),
    "inspect": (3, ("inspect", "FILE")),
    "check": (3, ("check", "FILE", "--json")),
    "verify": (2, ("verify", "FILE", "--memory", MEMORY)),
    "explain": (1, ("explain", "FILE", "--row", "3")),
    "sweep": (1, ("sweep", "FILE", "--gamma", "0.9,0.99", "--lam", "0.9,1")),
}


class Ended(NamedTuple):
    """How a child ended, and what it wrote."""

    code: int  # negative: the signal
    output: str
    errors: str
    peak_bytes: int


def main(format_names: str, seed: int, count: int, first: int = 0) -> None:
    faulthandler.disable()
    warm_start.import_all()
    gc.freeze()
    numbers = range(first, first + count)
    print(json.dumps({name: _found(name, seed, numbers) for name in format_names.split(",")}))


def _found(format_name: str, seed: int, numbers: range) -> dict[str, Any]:
    found: dict[str, Any] = {"outcomes": Counter(), "checked": 0, "wrong": [], "peak_bytes": 0}
    with tempfile.TemporaryDirectory(prefix="gaecli-fuzz-") as name:
        folder = Path(name)
        (folder / "seeds").mkdir()
        # In a child as well: these libraries start threads, which a fork would lose.
        made = _in_child(lambda: seeds.write_seeds(format_name, folder / "seeds"))
        if made.code:
            raise SystemExit(f"the whole files could not be made: {made.errors}")
        whole = sorted((folder / "seeds").iterdir())
        for number in numbers:
            _try_out(format_name, f"{seed}:{format_name}:{number}", whole, folder / "input", found)
    return found


def _arguments(command: str, path: Path, output: Path) -> list[str]:
    return [{"FILE": str(path), "OUTPUT": str(output)}.get(word, word) for word in COMMANDS[command][1]]


def _try_out(format_name: str, key: str, whole: list[Path], folder: Path, found: dict[str, Any]) -> None:
    draw = Random(key)
    source = draw.choice(whole)
    content, told = MUTATORS[format_name].damage(draw, source.read_bytes())
    command = draw.choices(list(COMMANDS), [weight for weight, _ in COMMANDS.values()])[0]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path, output = folder / source.name, folder / f"output{source.suffix}"
    path.write_bytes(content)
    print(f"{key} {source.name}, {command}: {told}", flush=True)
    if keep := os.environ.get("GAECLI_FUZZ_KEEP"):
        shutil.copy(path, keep)
    arguments = _arguments(command, path, output)
    ended = _in_child(lambda: _gae(arguments))
    found["outcomes"][f"{command} {ended.code}"] += 1
    found["peak_bytes"] = max(found["peak_bytes"], ended.peak_bytes)
    problem = _problem(command, ended, path, content)
    if problem is None and ended.code == 0 and command in ("compute", "compute -o"):
        found["checked"] += 1
        problem = _numbers_problem(output if output.exists() else path, ended.output)
    if problem is not None:
        found["wrong"].append(f"{key} ({source.name}, {command}: {told}): {problem}\n{ended.errors[-3000:]}")


def _problem(command: str, ended: Ended, path: Path, content: bytes) -> str | None:
    """What must not be, whatever the file holds."""
    if ended.code in (-signal.SIGXCPU, -signal.SIGALRM, 130):  # the command ends in good order at an alarm
        return f"a hang: {SECONDS} s of work, or {SECONDS_OF_WAITING} s, and no end"
    if ended.code < 0:
        return f"ended by {signal.Signals(-ended.code).name}"
    if ended.code not in (0, 2, 3, 4):
        return f"exit code {ended.code}"
    if "Traceback" in ended.errors or "Warning: " in ended.errors:
        return "words of Python's instead of a message"
    if ended.code and "error" not in ended.errors + ended.output:
        return f"exit code {ended.code} without a message"
    may_write = ended.code == 0 and command in ("compute", "compute --overwrite")
    if not may_write and path.read_bytes() != content:
        return "the input was changed"
    names = {entry.name for entry in path.parent.iterdir()} - {path.name}
    # With JSON lines and CSV the provenance stands beside the file.
    allowed = {
        f".{path.name}.gae.json",
        f".output{path.suffix}.gae.json",
        f"output{path.suffix}",
        f"{path.stem}.gae{path.suffix}",
        f"{path.stem}.gae.parquet",
    }
    if names - allowed or (names and ended.code):
        return f"left {sorted(names)}"
    return None


def _numbers_problem(path: Path, output: str) -> str | None:
    file = json.loads(output)["files"][0]
    if file["status"] != "written":
        return None

    def compare() -> None:
        problem = oracle.difference(path, file["columns"], file["layout"])
        if problem is not None:
            raise SystemExit(problem)

    compared = _in_child(compare)
    if not compared.code:
        return None
    lines = compared.errors.strip().splitlines()
    return f"the new file is wrong: {lines[-1] if lines else f'its reader ended with {compared.code}'}"


def _gae(arguments: list[str]) -> None:
    sys.argv = ["gae", *arguments]
    os.fsync = lambda handle: None  # what survives a power cut is not asked here
    gaecli.cli.main.run()


def _in_child(run: Callable[[], None]) -> Ended:
    """Fork, run, and wait; in memory and time that are limited."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if not child:
            os.dup2(output.fileno(), 1), os.dup2(errors.fileno(), 2)
            _limit()
            code = 1
            try:
                run()
                code = 0
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else 1
                if isinstance(stop.code, str):
                    sys.stderr.write(stop.code)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                with contextlib.suppress(Exception):
                    sys.stdout.flush(), sys.stderr.flush()
                os._exit(code)
        _, status, usage = os.wait4(child, 0)
        output.seek(0), errors.seek(0)
        texts = [file.read().decode("utf-8", "replace") for file in (output, errors)]
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return Ended(code, *texts, usage.ru_maxrss << 10)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (DATA_BYTES, DATA_BYTES))
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS_OF_WAITING)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    faulthandler.enable()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
