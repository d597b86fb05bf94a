"""What has to be alike in the processes that carry out the tasks of one run."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from gaecli.errors import EngineError
from gaecli.formats.npz import deflate
from gaecli.version import __version__


class WorkerFacts(NamedTuple):
    """Bytes of results depend on them, or whether a task can be read at all."""

    python: str
    numpy: str
    pyarrow: str
    #: What compresses new members of archives.
    deflate: str
    gaecli: str
    #: Of the code itself: two builds may have one version.
    code: str


@cache
def facts_here() -> WorkerFacts:
    return WorkerFacts(
        f"{sys.version_info.major}.{sys.version_info.minor}",
        str(import_module("numpy").__version__),
        str(import_module("pyarrow").__version__),
        deflate.name(),
        __version__,
        _digest(Path(__file__).parents[1]),
    )


def check_alike(driver: WorkerFacts, nodes: Sequence[tuple[str, WorkerFacts]]) -> None:
    """Raise where a machine would not do the same as this one."""
    for name, node in nodes:
        for what, here, there in zip(WorkerFacts._fields, driver, node, strict=True):
            if here != there:
                title = "the code of gaecli" if what == "code" else what
                where = f"worker `{name}`" if name else "a worker"
                raise EngineError(
                    f"{where} has another {title} than this machine: {there}, and here {here}",
                    hint="install the same versions on all machines: the same command has to give the same bytes "
                    "wherever it runs",
                )


def _digest(package: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        found.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]
