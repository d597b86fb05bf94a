"""Signals at the instants where they do most harm: in the middle of cleaning up, in a finalizer, with a lock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli.rollout_files import write

from gaecli.storage.new_file import NewFile
from gaecli.storage.spool import Spool
from gaecli.unfinished import put_away_what_is_left

SAID = "interrupted; nothing was left half-written\n"


def python(code: str, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=False
    )


IN_THE_LAST_CLEANING = """
import os, shutil, signal, sys
from gaecli.cli.main import run
remove, left = shutil.rmtree, [1, 1]

def rmtree(path, **options):
    if left:
        left.pop()
        os.kill(os.getpid(), signal.SIGINT)
    remove(path, **options)

shutil.rmtree = rmtree
with open(sys.argv[1]) as stdin, open(os.devnull, "w") as stdout:
    os.dup2(stdin.fileno(), 0), os.dup2(stdout.fileno(), 1)
sys.argv = ["gae", "compute", "-", "-o", "-", "-q"]
run()
"""


def test_the_spool_goes_whatever_interrupts_its_removal(tmp_path):
    path = write(tmp_path / "r.parquet")
    folder = tmp_path / "temporary"
    folder.mkdir()
    result = python(IN_THE_LAST_CLEANING, path, TMPDIR=str(folder))
    assert result.stderr == SAID
    assert result.returncode == 130
    assert list(folder.iterdir()) == []


@pytest.fixture
def interrupted_once(monkeypatch):
    """A function of a class or module raises KeyboardInterrupt instead of doing its work, once."""

    def interrupt(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def once(*args, **options):
            monkeypatch.setattr(owner, name, real)
            raise KeyboardInterrupt

        monkeypatch.setattr(owner, name, once)

    return interrupt


@pytest.mark.parametrize("owner", [Path, os])
def test_a_temporary_file_goes_whatever_interrupts_its_removal(tmp_path, interrupted_once, owner):
    new = NewFile(tmp_path / "r.parquet")
    new.create()
    interrupted_once(owner, "unlink" if owner is Path else "close")
    with pytest.raises(KeyboardInterrupt):
        new.discard()
    put_away_what_is_left()
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_its_place_is_not_put_away(tmp_path):
    new = NewFile(tmp_path / "r.parquet")
    new.create()
    new.temporary.write_bytes(b"content")
    new.seal()
    new.commit()
    put_away_what_is_left()
    assert (tmp_path / "r.parquet").read_bytes() == b"content"


def test_an_upload_is_taken_back_whatever_interrupts_that(interrupted_once):
    from gaecli.storage.objects import Upload

    class Sender:
        calls = 0

        def take_back(self, sent: object) -> None:
            self.calls += 1

    upload = Upload.__new__(Upload)
    upload._sender, upload._sent, upload._begun = (sender := Sender()), object(), None
    interrupted_once(Sender, "take_back")
    with pytest.raises(KeyboardInterrupt):
        upload.discard()
    upload.discard()
    upload.discard()
    assert sender.calls == 1


def test_a_spool_that_was_never_made_is_no_trouble(tmp_path, monkeypatch, interrupted_once):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    interrupted_once(Path, "mkdir")
    with pytest.raises(KeyboardInterrupt):
        Spool()
    put_away_what_is_left()
    assert list(tmp_path.iterdir()) == []


IN_A_FINALIZER = """
import os, signal, time
from gaecli.cli import interrupts

class Interrupted:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.001)

interrupts.raise_once()
try:
    Interrupted()
    time.sleep(30)
except KeyboardInterrupt:
    print("raised")
"""

WITH_A_LOCK = """
import os, signal, time
from gaecli.cli import interrupts

class Lock:
    is_taken = False

    def __enter__(self):
        os.kill(os.getpid(), signal.SIGINT)
        self.is_taken = True

    def __exit__(self, *error):
        self.is_taken = False

interrupts.raise_once()
lock = Lock()
try:
    with lock:
        time.sleep(30)
except KeyboardInterrupt:
    print("still taken" if lock.is_taken else "raised")
"""

IN_A_WAIT = """
import os, signal, threading, time
from gaecli.cli import interrupts

class Condition(threading.Condition):
    def _acquire_restore(self, state):
        os.kill(os.getpid(), signal.SIGINT)
        super()._acquire_restore(state)

interrupts.raise_once()
condition = Condition(threading.Lock())
try:
    with condition:
        condition.wait(0.01)
        time.sleep(30)
except (KeyboardInterrupt, RuntimeError) as error:
    print("raised" if isinstance(error, KeyboardInterrupt) else "given back twice")
"""

AGAIN_AND_AGAIN = """
import os, signal, time
from gaecli.cli import interrupts

interrupts.raise_once()
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30)
except KeyboardInterrupt:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) * 100:
        os.kill(os.getpid(), number)
    print("raised")
"""


@pytest.mark.parametrize("code", [IN_A_FINALIZER, WITH_A_LOCK, IN_A_WAIT, AGAIN_AND_AGAIN])
def test_an_interrupt_is_raised_once_where_something_comes_of_it(code):
    result = python(code)
    assert (result.stdout, result.stderr) == ("raised\n", "")


def test_an_interrupt_during_the_first_imports_is_quiet():
    code = "import gaecli.__main__, os, signal; os.kill(os.getpid(), signal.SIGINT); print('went on')"
    result = python(code)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


def test_what_a_shell_ignores_stays_ignored_from_the_beginning():
    result = subprocess.run(
        [sys.executable, "-c", "import gaecli.__main__, os, signal; os.kill(os.getpid(), signal.SIGINT)"],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        check=False,
    )
    assert result.returncode == 0
