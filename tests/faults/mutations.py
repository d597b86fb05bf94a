"""Computes over damaged copies of a small file, in a process of its own:
`python -m faults.mutations FILE SEED ROUNDS STEP`.

Every byte of the file, or one in `STEP`, is replaced by another one, `ROUNDS` times. A line on stdout names the
damage before it is tried, so that whoever started this knows what it died of; the last line is a JSON object of what
came out:

    refused     a `GaeError`, and the file as it was
    right       advantages that are those of the numbers that are in the file now
    wrong       everything else, by what went wrong
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from faults.fuzzing.oracle import GAMMA, LAM, difference

import gaecli

#: A run takes milliseconds. None may take this long, whatever the file says.
SECONDS = 20
ADDRESS_SPACE_BYTES = 6 << 30


def main(path: Path, seed: int, rounds: int, step: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    signal.signal(signal.SIGALRM, _too_slow)
    os.fsync = lambda handle: None  # what survives a power cut is not asked here
    whole = path.read_bytes()
    draw = random.Random(seed)
    refused = right = 0
    wrong: list[str] = []
    for position in [*range(0, len(whole), step)] * rounds:
        damage = draw.randrange(1, 256)
        print(f"byte {position} xor {damage}", flush=True)
        damaged = bytearray(whole)
        damaged[position] ^= damage
        path.write_bytes(damaged)
        signal.alarm(SECONDS)
        try:
            summary = gaecli.compute(
                path, gamma=GAMMA, lam=LAM, done_at="end", jobs=1, memory_bytes=256 << 20
            )
        except gaecli.GaeError as error:
            if path.read_bytes() != damaged:
                wrong.append(f"{position} xor {damage}: changed by a run that failed")
            elif not str(error) or error.exit_code not in (2, 3, 4):
                wrong.append(f"{position} xor {damage}: {error!r}")
            else:
                refused += 1
        except BaseException as error:
            wrong.append(f"{position} xor {damage}: {type(error).__name__}: {error}")
        else:
            problem = difference(path, summary.files[0].columns)
            right += problem is None
            wrong += [f"{position} xor {damage}: {problem}"] if problem else []
        finally:
            signal.alarm(0)
        left = [entry.name for entry in path.parent.iterdir() if entry != path]
        if left:
            wrong.append(f"{position} xor {damage}: left {left}")
    peak_bytes = _peak_kib() << 10
    print(json.dumps({"refused": refused, "right": right, "wrong": wrong, "peak_bytes": peak_bytes}))


def _peak_kib() -> int:
    """Where the system tells it, not `ru_maxrss`: a child takes that over from the process that started it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1])


def _too_slow(number: int, frame: FrameType | None) -> NoReturn:
    raise TimeoutError(f"took more than {SECONDS} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
