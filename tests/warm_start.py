"""The installed `gae` in a process of its own, without the half second in which each new Python imports the same.

`python warm_start.py FD` imports what the commands import, waits on the socket FD and forks a process per request. A
run has its own standard streams, environment, working directory and end, as any other has; what it has not is an
interpreter of its own: `WarmStart.takes` says which environments ask for one.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import resource
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
    "typer.rich_utils",
)
#: They import torch, Triton, Polars and pyiceberg, which take longer than all else together: a run that asks for one
#: of these does so itself.
LEFT_OUT = (
    "gaecli.arrays.tensors",
    "gaecli.datasets.iceberg.io",
    "gaecli.kernels.on_device",
    "gaecli.kernels.tensor_",
    "gaecli.kernels.triton_",
    "gaecli.polars",
)
#: Looked up whenever they are needed; what others change may have been read already when the process is forked.
LATE_VARIABLES = {
    *("COLUMNS", "LINES", "HOME", "TMPDIR", "PYTEST_CURRENT_TEST", "PYTEST_XDIST_TESTRUNUID"),
    "PYTHONIOENCODING",  # the fork gives its streams what the interpreter would have given them
}
#: What Python does on stderr with letters that the encoding has not.
ON_STDERR = "backslashreplace"
LATE_PREFIXES = ("AWS_", "MINARI_")
_MOST_BYTES = 100_000

#: What a shell starts: it hands its streams over, and waits. Without `site` an interpreter starts in no time.
_OF_SHELLS = """#!{python} -IS
import json, os, socket, sys
answer, telling = os.pipe()
args = [{gae!r}, *sys.argv[1:]]
request = {{"args": args, "cwd": os.getcwd(), "env": dict(os.environ), "file_size": None}}
socket.send_fds(socket.socket(fileno={handle}), [json.dumps(request).encode()], [0, 1, 2, telling])
os.close(telling)
for handle in range(3):
    os.close(handle)
with open(answer, "rb") as told:
    process, code = told
code = int(code)
os._exit(code if code >= 0 else 128 - code)
"""


class WarmStart:
    """The other side of the socket."""

    def __init__(self, command: Path, env: Mapping[str, str]) -> None:
        self._command = command
        self.env = dict(env)
        #: From then on its forks find imported what talks to S3.
        self.knows_s3 = False
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

    def start(
        self,
        args: list[str],
        *,
        stdin: int,
        stdout: int,
        stderr: int,
        cwd: str | Path | None = None,
        env: Mapping[str, str],
        file_size: int | None = None,
    ) -> WarmProcess:
        """As `subprocess.Popen` has it: a stream is a handle, or `PIPE`."""
        self.knows_s3 |= "AWS_ENDPOINT_URL" in env
        request = {"args": [str(self._command), *args], "cwd": str(cwd or Path.cwd()), "env": dict(env)}
        given, theirs, ours = (stdin, stdout, stderr), [], []
        for number, handle in enumerate(given):
            reading, writing = os.pipe() if handle == subprocess.PIPE else (handle, handle)
            theirs.append(writing if number else reading)
            if handle == subprocess.PIPE:
                ours.append(os.fdopen(reading, "rb") if number else os.fdopen(writing, "wb", buffering=0))
            else:
                ours.append(None)
        answer, telling = os.pipe()
        theirs.append(telling)
        try:
            message = json.dumps({**request, "file_size": file_size}).encode()
            socket.send_fds(self._socket, [message], theirs)
        finally:
            for handle, asked in zip(theirs, (*given, subprocess.PIPE), strict=True):
                if asked == subprocess.PIPE:
                    os.close(handle)
        return WarmProcess(request["args"], ours, os.fdopen(answer, "rb"))

    def run(
        self, args: list[str], cwd: str | Path | None, env: Mapping[str, str], input: bytes, timeout: float
    ) -> subprocess.CompletedProcess[bytes]:
        pipe = subprocess.PIPE
        process = self.start(args, stdin=pipe, stdout=pipe, stderr=pipe, cwd=cwd, env=env)
        try:
            stdout, stderr = process.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def install(self, folder: Path) -> dict[str, str]:
        """A `gae` in this folder, and the environment in which a shell finds it: what it runs is a fork.

        `pass_fds=[self.handle]` is for the shell.
        """
        command = folder / "gae"
        command.write_text(
            _OF_SHELLS.format(python=sys.executable, handle=self.handle, gae=str(self._command))
        )
        command.chmod(0o755)
        places = (str(folder), str(self._command.parent), self.env["PATH"])
        return {**self.env, "PATH": os.pathsep.join(places)}

    @property
    def pid(self) -> int:
        return self._server.pid

    @property
    def handle(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()
        self._server.communicate(timeout=120)


class WarmProcess:
    """What tests use of a `subprocess.Popen`; its streams are of bytes."""

    def __init__(self, args: list[str], streams: list[IO[bytes] | None], answer: IO[bytes]) -> None:
        self.args = args
        self.stdin, self.stdout, self.stderr = streams
        self.returncode: int | None = None
        self._answer = answer
        self.pid = int(answer.readline())

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._answer], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._answer], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self._end()
        assert self.returncode is not None
        return self.returncode

    def _end(self) -> None:
        self.returncode = int(self._answer.readline())
        self._answer.close()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended since
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, input: bytes = b"", timeout: float | None = None) -> tuple[bytes, bytes]:
        texts: dict[object, bytes] = {}
        threads = [
            threading.Thread(target=_drain, args=(file, texts))
            for file in (self.stdout, self.stderr)
            if file is not None and not file.closed
        ]
        if self.stdin is not None and not self.stdin.closed:
            threads.append(threading.Thread(target=_feed, args=(self.stdin, input)))
        for thread in threads:
            thread.start()
        self.wait(timeout)
        for thread in threads:
            thread.join()
        return texts.get(self.stdout, b""), texts.get(self.stderr, b"")


def _feed(file: IO[bytes], content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), file:
        left = memoryview(content)
        while left:
            left = left[file.write(left) :]


def _drain(file: IO[bytes], texts: dict[object, bytes]) -> None:
    with file:
        texts[file] = file.read()


def _serve(requests: socket.socket) -> None:
    import_all()
    gc.collect()
    gc.freeze()
    running: dict[int, tuple[int, int]] = {}  # handles of processes: number, and where its end is told
    while True:
        for ready in select.select([requests, *running], [], [])[0]:
            if ready is not requests:
                _tell_the_end(ready, *running.pop(ready))
                continue
            message, handles, _, _ = socket.recv_fds(requests, _MOST_BYTES * 2, 4)
            if not message:
                return
            *streams, answer = handles
            request = json.loads(message)
            if "AWS_ENDPOINT_URL" in request["env"]:
                prepare_for_s3()
            process = _forked()
            if not process:
                for handle in (requests.fileno(), answer, *running, *(told for _, told in running.values())):
                    os.close(handle)
                _become(request, streams)
            for handle in streams:
                os.close(handle)
            os.write(answer, b"%d\n" % process)
            running[os.pidfd_open(process)] = process, answer


def _tell_the_end(handle: int, process: int, answer: int) -> None:
    _, status = os.waitpid(process, 0)
    with contextlib.suppress(BrokenPipeError):  # nobody waits any longer
        os.write(answer, b"%d\n" % os.waitstatus_to_exitcode(status))
    os.close(handle)
    os.close(answer)


@functools.cache
def prepare_for_s3() -> None:
    """For the forks that are to come: few tests ask for it, and it takes a second."""
    with contextlib.suppress(ImportError):
        import s3fs  # noqa: F401

        read_what_botocore_reads()


def read_what_botocore_reads() -> None:
    """Descriptions of what S3 can do, a megabyte of JSON for each client: forks find them read."""
    from botocore import session

    session.create_loader = functools.cache(session.create_loader)
    keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
    session.Session().create_client("s3", region_name="us-east-1", **keys)


def _forked() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's threads do nothing yet, and it prepares them for a fork
        return os.fork()


def import_all() -> None:
    """What commands import when they get there, imported once for all forks."""
    import gaecli

    own = [module.name for module in pkgutil.walk_packages(gaecli.__path__, "gaecli.")]
    for name in (*PRELOADED, *own):
        if not name.startswith(LEFT_OUT) and not name.endswith("__main__"):  # that is the run itself
            with contextlib.suppress(ImportError):  # of an extra
                importlib.import_module(name)
    from gaecli.cli import main, typer_classes

    main._command()
    for name in typer_classes.COMMANDS:
        typer_classes._loaded(name)


def _become(request: dict[str, object], streams: list[int]) -> NoReturn:
    """The console script of `gae`."""
    code: object = 1
    try:
        for number, handle in enumerate(streams):
            os.dup2(handle, number)
            os.close(handle)
        if (limit := request["file_size"]) is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # type: ignore[arg-type]
        os.chdir(str(request["cwd"]))
        os.environ.clear()
        os.environ.update(request["env"])  # type: ignore[call-overload]
        if encoding := os.environ.get("PYTHONIOENCODING"):
            for stream, errors in ((sys.stdin, "strict"), (sys.stdout, "strict"), (sys.stderr, ON_STDERR)):
                stream.reconfigure(encoding=encoding, errors=errors)  # type: ignore[union-attr]
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
