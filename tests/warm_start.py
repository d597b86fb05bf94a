"""The installed `gae` in a process of its own, without the half second in which each new Python imports the same.

`python warm_start.py FD` imports what the commands import, waits on the socket FD and forks a process per request. A
run has its own standard streams, environment, working directory and end, as any other has; what it has not is an
interpreter of its own: `WarmStart.takes` says which environments ask for one.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NoReturn

#: Beside the package's own modules: what they import inside functions.
PRELOADED = (
    "numpy",
    "pyarrow.compute",
    "pyarrow.parquet",
    "rich.columns",
    "rich.markup",
    "rich.panel",
    "rich.progress",
    "rich.table",
    "s3fs",
    "typer.rich_utils",
)
#: Looked up whenever they are needed; what others change may have been read already when the process is forked.
LATE_VARIABLES = {"COLUMNS", "LINES", "HOME", "TMPDIR", "PYTEST_CURRENT_TEST", "PYTEST_XDIST_TESTRUNUID"}
LATE_PREFIXES = ("AWS_", "MINARI_")
_MOST_BYTES = 100_000


class WarmStart:
    """The other side of the socket."""

    def __init__(self, command: Path, env: Mapping[str, str]) -> None:
        self._command = command
        self.env = dict(env)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # Pipes as in any run: Python asks once, at its start, what its streams are.
            self._server = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self.env,
                pass_fds=[theirs.fileno()],
            )

    def takes(self, args: list[str], env: Mapping[str, str]) -> bool:
        others = {name for name, _ in self.env.items() ^ env.items()} - LATE_VARIABLES
        return (
            all(name.startswith(LATE_PREFIXES) for name in others)
            and sum(map(len, [*args, *env, *env.values()])) < _MOST_BYTES
        )

    def run(
        self, args: list[str], cwd: str | Path | None, env: Mapping[str, str], input: bytes, timeout: float
    ) -> subprocess.CompletedProcess[bytes]:
        request = {"args": [str(self._command), *args], "cwd": str(cwd or Path.cwd()), "env": dict(env)}
        pipes = [os.pipe() for _ in range(4)]
        (their_input, our_input), *outputs = pipes
        theirs = [their_input, *(writing for _, writing in outputs)]
        try:
            socket.send_fds(self._socket, [json.dumps(request).encode()], theirs)
        finally:
            for handle in theirs:
                os.close(handle)
        stdout, stderr, answer = (os.fdopen(reading, "rb") for reading, _ in outputs)
        texts: dict[IO[bytes], bytes] = {}
        others = [
            threading.Thread(target=_feed, args=(our_input, input)),
            *(threading.Thread(target=_drain, args=(file, texts)) for file in (stdout, stderr)),
        ]
        for thread in others:
            thread.start()
        process = int(answer.readline())
        if not select.select([answer], [], [], timeout)[0]:
            os.kill(process, signal.SIGKILL)
            raise subprocess.TimeoutExpired(request["args"], timeout)
        code = int(answer.readline())
        for thread in others:
            thread.join()
        answer.close()
        return subprocess.CompletedProcess(request["args"], code, texts[stdout], texts[stderr])

    def close(self) -> None:
        self._socket.close()
        self._server.communicate(timeout=30)


def _feed(handle: int, content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(handle, "wb") as file:
        file.write(content)


def _drain(file: IO[bytes], texts: dict[IO[bytes], bytes]) -> None:
    with file:
        texts[file] = file.read()


def _serve(requests: socket.socket) -> None:
    _import_all()
    gc.collect()
    gc.freeze()
    while True:
        message, handles, _, _ = socket.recv_fds(requests, _MOST_BYTES * 2, 4)
        if not message:
            return
        if not _forked():
            requests.close()
            _watch(json.loads(message), handles)
        for handle in handles:
            os.close(handle)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


def _forked() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's threads do nothing yet, and it prepares them for a fork
        return os.fork()


def _import_all() -> None:
    import gaecli

    own = [module.name for module in pkgutil.walk_packages(gaecli.__path__, "gaecli.")]
    for name in (*PRELOADED, *own):
        if not name.endswith("__main__"):  # that is the run itself
            with contextlib.suppress(ImportError):  # of an extra
                importlib.import_module(name)


def _watch(request: dict[str, object], handles: list[int]) -> NoReturn:
    """A process for each run that waits for it, so that several may be under way."""
    *streams, answer = handles
    process = _forked()
    if not process:
        os.close(answer)
        _become(request, streams)
    for handle in (*streams, 0, 1, 2):
        os.close(handle)
    os.write(answer, b"%d\n" % process)
    _, status = os.waitpid(process, 0)
    os.write(answer, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(request: dict[str, object], streams: list[int]) -> NoReturn:
    """The console script of `gae`."""
    code: object = 1
    try:
        for number, handle in enumerate(streams):
            os.dup2(handle, number)
            os.close(handle)
        os.chdir(str(request["cwd"]))
        os.environ.clear()
        os.environ.update(request["env"])  # type: ignore[call-overload]
        sys.argv = list(request["args"])  # type: ignore[call-overload]
        sys.path[0] = str(Path(sys.argv[0]).parent)
        from gaecli.__main__ import main

        main()
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as ours:
        _serve(ours)
