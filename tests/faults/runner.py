"""Starts runs that can be killed, without the half second that each new Python takes.

`python -m faults.runner MODULE...` imports those modules besides our own. It reads a line of JSON, `{"path": ...,
"settings": {...}, "kill_after": seconds or null}`, forks, computes in the child and kills it with SIGKILL after that
time. It answers with `{"killed": ..., "code": ...}`.
`{"arguments": [...], "signal": number, "before": n, "at": "module:name", "environ": {...}}` is a run of the command
line instead, which sends the signal to itself before its n-th call of that function; the answer has `errors` as well,
what it wrote to stderr.
Only the main thread is there when it forks, and everything is imported already.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import warm_start

import gaecli
import gaecli.cli.main


def main(*modules: str) -> None:
    warm_start.import_all()
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        if "arguments" in request:
            print(json.dumps(_signalled(**request)), flush=True)
            continue
        child = os.fork()
        if not child:
            _compute(request["path"], request["settings"])
        answer = _watch(child, request["kill_after"])
        print(json.dumps(answer), flush=True)


def _compute(path: str, settings: dict[str, Any]) -> None:
    code = 99
    try:
        gaecli.compute(path, **settings)
        code = 0
    except gaecli.GaeError as error:
        code = error.exit_code
    finally:
        os._exit(code)


def _watch(child: int, kill_after: float | None) -> dict[str, Any]:
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    start = time.perf_counter()
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status)
    seconds = time.perf_counter() - start
    return {"killed": killed, "code": None if killed else os.WEXITSTATUS(status), "seconds": seconds}


def _signalled(
    arguments: list[str], signal: int, before: int, at: str, environ: dict[str, str]
) -> dict[str, Any]:
    with tempfile.TemporaryFile() as errors, Path(os.devnull).open("w") as nothing:
        child = os.fork()
        if not child:
            os.dup2(nothing.fileno(), 1), os.dup2(errors.fileno(), 2)
            os.environ.update(environ)
            _send_before(signal, before, at)
            sys.argv = ["gae", *arguments]
            gaecli.cli.main.run()
        answer = _watch(child, None)
        errors.seek(0)
        return {**answer, "errors": errors.read().decode()}


def _send_before(number: int, before: int, at: str) -> None:
    module, _, path = at.partition(":")
    *outer, name = path.split(".")
    place: Any = importlib.import_module(module)
    for part in outer:
        place = getattr(place, part)
    original, calls = getattr(place, name), 0

    def called(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == before:
            os.kill(os.getpid(), number)
        return original(*arguments, **options)

    setattr(place, name, called)


if __name__ == "__main__":
    main(*sys.argv[1:])
