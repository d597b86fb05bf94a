"""The Ray that this process is connected to, from its beginning to its end."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any, TextIO, cast

from gaecli.engines.base import EngineOptions
from gaecli.engines.threads import default_jobs
from gaecli.errors import EngineError, MissingExtraError, first_line

_KNOCK_SECONDS = 5.0


class RayConnection:
    """To the cluster of a program that has connected itself, which stays as it is, or to its own until `close`."""

    def __init__(self, options: EngineOptions) -> None:
        self.ray = _ray()
        self._stdout: _WithoutRay | None = None
        if not self.ray.is_initialized():
            self._stdout = _WithoutRay(sys.stdout)
            sys.stdout = cast(TextIO, self._stdout)
            try:
                _connect(self.ray, options)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        if self._stdout is not None:
            self._stdout.is_silent = True
            self.ray.shutdown()  # of this process: it ends a cluster only where this process began it
            sys.stdout = self._stdout.stream


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "`--engine ray` needs ray, which is not installed", hint="pip install 'gaecli[ray]'"
        ) from error
    return ray


def _connect(ray: Any, options: EngineOptions) -> None:
    address = options.address or os.environ.get("RAY_ADDRESS") or None
    quiet = {"log_to_driver": False, "logging_level": "error"}
    try:
        if address is None:
            cores = options.jobs or default_jobs()
            ray.init("local", num_cpus=cores, include_dashboard=False, **quiet)
        else:
            _knock(address)
            package = Path(__file__).resolve().parents[1]
            code = {"py_modules": [str(package)], "excludes": ["**/__pycache__"]}
            ray.init(address, runtime_env=code, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = (
            "a Ray on this machine cannot be started" if address is None else f"no Ray cluster at `{address}`"
        )
        raise EngineError(
            f"{where}: {first_line(error)}",
            hint="see `ray status`; `--ray-address HOST:PORT` names a cluster, and without it and `RAY_ADDRESS` "
            "one is started here",
        ) from error


def _knock(address: str) -> None:
    """Ray itself tries for minutes to reach what is not there, and tells of each try."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()


class _WithoutRay:
    """Standard output as it is, but for what the threads of Ray say: they tell there of workers that were lost.

    What a command has to say there is read by other programs.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        #: Ray is taken leave of, and says the rest in the thread that does so.
        self.is_silent = False

    def write(self, text: str) -> int:
        if self.is_silent or threading.current_thread().name.startswith("ray_"):
            return len(text)
        return self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
