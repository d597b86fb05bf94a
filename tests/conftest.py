"""What every suite shares: the sample data, and the installed `gae` run as a user runs it."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO, Any

import covers
import pytest
from in_process import LEFT_BEHIND, SHELL_VARIABLES, can_run_here, run_here
from warm_start import WarmProcess, WarmStart

from gaecli.api import keyword_words
from gaecli.api.keyword_words import in_keywords

# Products of small matrices: a second thread waits for the first in a loop, which takes a third of the time of
# `gae verify`, and there is a worker for each core already. Before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Where Triton is, its kernels are interpreted, as no test has a GPU. That is decided when it is imported, which
# `torch.compile` does, too.
os.environ.setdefault("TRITON_INTERPRET", "1")

#: So many new objects, where Python's own 700 have the collector take a tenth of the time of a small run.
COLLECT_AT = 20_000

#: So much room has to be in memory for the files of tests: a container may have some MiB of it.
ROOM_BYTES = 4 << 30
MEMORY = Path("/dev/shm")

StartedGae = WarmProcess | subprocess.Popen[bytes]

ROOT = Path(__file__).parents[1]
SAMPLE_DATA = ROOT / "sample_data"


def _is_room_in(folder: Path) -> bool:
    """For files that can also be run."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize >= ROOM_BYTES and not found.f_flag & os.ST_NOEXEC


# Each of thousands of tests makes a folder and some files, for which a disk that others want takes longer than what
# is done with them. `TMPDIR=/tmp pytest` leaves them there, and so does `.ci/run slow`.
if sys.platform == "linux" and _is_room_in(MEMORY):
    os.environ.setdefault("TMPDIR", str(MEMORY))

# Else duckdb tells at the end of the process what of it is still there. No sooner: pytest collects garbage before.
atexit.register(gc.unfreeze)

# Else each of hundreds of children compiles the package again, which takes longer than what it is started for.
# And pytest would rewrite the asserts of every file anew in each process of each run.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("numprocesses", None):  # else others run the tests
        # Before any test of hypothesis. Not above: pytest rewrites the asserts of all its modules as well.
        importlib.import_module("profiles")
    covers.keeps_slow = "not slow" not in config.option.markexpr
    if hasattr(config, "workerinput"):
        _tell_less(config)


def _tell_less(config: pytest.Config) -> None:
    """One of several processes sends word that a test passed, but not also that it was begun, set up and put away.

    Three messages in place of six, which take longer than many a test. Those stay that `-v`, `--durations` or `-rP`
    could show.
    """
    less: dict[str, Callable[..., None]] = {"pytest_runtest_logreport": _report}
    if config.option.verbose < 1:
        less["pytest_runtest_logstart"] = _say_nothing
    for name, instead in less.items():
        for hook in getattr(config.hook, name).get_hookimpls():
            if type(hook.plugin).__name__ == "WorkerInteractor":
                hook.function = partial(instead, hook.function)


def _report(send: Callable[[pytest.TestReport], None], report: pytest.TestReport) -> None:
    if report.passed:
        if report.when != "call" and report.duration < 0.005 and not report.sections:
            return
        report.keywords = {}
    send(report)


def _say_nothing(*_: object) -> None:
    pass


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Thousands of tests and the modules they stand in stay to the end: the collector need not look at them again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(COLLECT_AT, 20, 20)
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None, object, object]:
    if not covers.keeps_slow:
        markers = metafunc.definition.own_markers
        markers[:] = map(covers.without_slow, markers)
    result = yield
    covers.mark_the_rest(metafunc)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop() -> Generator[None, object, object]:
    """What holds for all tests: no fixtures, which each of thousands would ask for."""
    with _signals_are_not_ignored(), pytest.MonkeyPatch.context() as patch:
        # In this process: a sync is a hundred times the work of a small run, and shows only after a power cut.
        patch.setattr(os, "fsync", lambda handle: None)
        return (yield)


@contextmanager
def _signals_are_not_ignored() -> Iterator[None]:
    """Under `nohup`, or in the background of a script, children would ignore them as well.

    A handler, unlike SIG_IGN, is not passed on to them.
    """
    usual = {signal.SIGHUP: lambda *_: None, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.getsignal(number) for number in usual}
    for number, handler in usual.items():
        if before[number] == signal.SIG_IGN:
            signal.signal(number, handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


#: Module -> what it draws numbers from, and how that is before any is drawn; of "" those of modules without tests.
_generators: dict[str, list[tuple[Any, Any]]] = {}


def pytest_collection_finish(session: pytest.Session) -> None:
    from numpy.random import Generator

    tests = {item.module.__name__ for item in session.items if isinstance(item, pytest.Function)}
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(ROOT / "tests")):
            drawn = [one for one in vars(module).values() if isinstance(one, Generator)]
            found = _generators.setdefault(name if name in tests else "", [])
            found += [(one, one.bit_generator.state) for one in drawn]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests call functions for what the command says, as a process costs half a second: flags stay flags in that.

    Marked `keywords` are tests of what the functions say. What is drawn does not depend on which tests were run in
    this process before.
    """
    module = item.module.__name__ if isinstance(item, pytest.Function) else ""
    for generator, state in (*_generators.get(module, ()), *_generators.get("", ())):
        generator.bit_generator.state = state
    is_of_functions = item.get_closest_marker("keywords") is not None
    keyword_words.in_keywords = in_keywords if is_of_functions else str


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """As pytest has it, less the link to the newest folder, which takes more than the folder does."""
    name = re.sub(r"\W", "_", request.node.name)[:30]
    base, failed = tmp_path_factory.getbasetemp(), request.session.testsfailed
    folder = next(path for number in count() if not (path := base / f"{name}{number}").exists())
    folder.mkdir(mode=0o700)
    yield folder
    if request.session.testsfailed == failed:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """The folder `sample_data/`. `gae compute` writes into its input: use `copy_sample` for that."""
    return SAMPLE_DATA


@pytest.fixture
def copy_sample(tmp_path: Path) -> Callable[[str], Path]:
    """copy_sample("cartpole.parquet") is a copy of that sample file that may be written to."""

    def copy(name: str) -> Path:
        target = tmp_path / Path(name).name
        shutil.copyfile(SAMPLE_DATA / name, target)
        return target

    return copy


@pytest.fixture(scope="session")
def gae_command() -> Path:
    """The `gae` that was installed with the Python that runs the tests."""
    folder = Path(sys.executable).parent
    command = shutil.which("gae", path=str(folder))
    assert command is not None, f"no `gae` in {folder}: install the project there (CONTRIBUTING.md)"
    return Path(command)


@pytest.fixture(scope="session")
def warm_start(gae_command: Path) -> Iterator[WarmStart | None]:
    """What forks runs of the command where that can be done; `GAE_COLD_STARTS=1 pytest` starts each anew."""
    if sys.platform != "linux" or os.environ.get("GAE_COLD_STARTS"):
        yield None
        return
    warm_start = WarmStart(gae_command, _environment())
    yield warm_start
    warm_start.close()


@pytest.fixture(scope="session")
def run_gae(
    gae_command: Path, warm_start: WarmStart | None
) -> Callable[..., subprocess.CompletedProcess[Any]]:
    """run_gae("compute", path, env={"COLUMNS": "80"}).stdout

    As from a shell. Never raises for an exit code: assert it. `env` comes on top of the environment, less what a
    developer's shell or a CI service sets to change how output looks. `input` is what stdin gives (nothing by
    default). `text=False` gives and takes bytes, for data on a pipe. `is_process=True` is for what is about
    processes, and `is_cold=True` for another interpreter, for what is about imports. What has no part in these is
    run in this process.
    """

    def run(
        *args: str | Path,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        input: str | bytes | None = None,
        text: bool = True,
        timeout: float | None = None,
        is_cold: bool = False,
        is_process: bool = False,
    ) -> subprocess.CompletedProcess[Any]:
        is_process = is_process or is_cold or not text or input is not None or timeout is not None
        if not is_process and warm_start is not None and can_run_here(args, env or {}):
            return run_here(*args, cwd=cwd, env=env)
        words, full_env = list(map(str, args)), {**_environment(), **(env or {})}
        # An empty stdin rather than the test runner's: a command that reads it must not hang.
        content = input.encode() if isinstance(input, str) else input or b""
        timeout = 120 if timeout is None else timeout
        if warm_start is not None and not is_cold and warm_start.takes(words, full_env):
            result = warm_start.run(words, cwd, full_env, content, timeout)
        else:
            command = [str(gae_command), *words]
            result = subprocess.run(
                command,
                cwd=cwd,
                env=full_env,
                input=content,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        if not text:
            return result
        encoding = (env or {}).get("PYTHONIOENCODING", "utf-8")
        texts = [_text(result.stdout, encoding), _text(result.stderr, encoding)]
        return subprocess.CompletedProcess(result.args, result.returncode, *texts)

    return run


@pytest.fixture(scope="session")
def start_gae(gae_command: Path, warm_start: WarmStart | None) -> Iterator[Callable[..., StartedGae]]:
    """start_gae("compute", path).communicate() is a run that may be watched, signalled and fed, all of it bytes.

    Streams are files or `PIPE`; by default stdin is empty and the others are pipes. `file_size` is the limit on the
    size of files that a shell's `ulimit -f` sets.
    """
    with Path(os.devnull).open("rb") as nothing:

        def start(
            *args: str | Path,
            cwd: str | Path | None = None,
            env: Mapping[str, str] | None = None,
            stdin: int | IO[bytes] = nothing,
            stdout: int | IO[bytes] = subprocess.PIPE,
            stderr: int | IO[bytes] = subprocess.PIPE,
            file_size: int | None = None,
        ) -> StartedGae:
            words, full_env = list(map(str, args)), {**_environment(), **(env or {})}
            handles = [
                stream if isinstance(stream, int) else stream.fileno() for stream in (stdin, stdout, stderr)
            ]
            streams = dict(zip(("stdin", "stdout", "stderr"), handles, strict=True))
            if warm_start is not None and warm_start.takes(words, full_env):
                return warm_start.start(words, **streams, cwd=cwd, env=full_env, file_size=file_size)
            limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (file_size, file_size))
            return subprocess.Popen(
                [str(gae_command), *words],
                cwd=cwd,
                env=full_env,
                preexec_fn=None if file_size is None else limit,  # noqa: PLW1509 - no other thread is there
                **streams,
            )

        yield start


def _environment() -> dict[str, str]:
    left_out = {*SHELL_VARIABLES, *LEFT_BEHIND}
    return {name: value for name, value in os.environ.items() if name not in left_out}


def _text(content: bytes, encoding: str) -> str:
    """As `subprocess` has it."""
    return content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
