"""Where no input is named, what is piped in is the input, and nothing else that stdin may be."""

from __future__ import annotations

import io
import os
import pty
import sys
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from in_process import run_here

from gaecli.cli import piped

CONTENT = b"PAR1"


@pytest.fixture
def stand_in(monkeypatch, request):
    """stdin is this handle, or what a program finds that was started without one."""

    def stand_in(handle: int | None) -> None:
        if handle is None:
            monkeypatch.setattr(sys, "stdin", None)
            return
        monkeypatch.setattr(sys, "stdin", os.fdopen(handle, "rb"))
        request.addfinalizer(sys.stdin.close)

    return stand_in


def pipe(content: bytes, *, is_closed: bool = True) -> int:
    reading, writing = os.pipe()
    os.write(writing, content)
    if is_closed:
        os.close(writing)
    return reading


def test_a_pipe_and_a_file_with_content_are_read(stand_in, tmp_path):
    for handle in (pipe(CONTENT), pipe(CONTENT, is_closed=False)):
        stand_in(handle)
        assert piped.is_fed()
        assert sys.stdin.read(len(CONTENT)) == CONTENT  # nothing is taken away
    place = tmp_path / "file"
    place.write_bytes(CONTENT)
    stand_in(os.open(place, os.O_RDONLY))
    assert piped.is_fed()


def test_what_cron_and_ci_give_is_not_read(stand_in, tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "read").write_bytes(CONTENT)
    at_its_end = os.open(tmp_path / "read", os.O_RDONLY)
    os.lseek(at_its_end, 0, os.SEEK_END)
    terminal, other_side = pty.openpty()
    for handle in (
        *(None, os.open(os.devnull, os.O_RDONLY), pipe(b""), at_its_end, other_side),
        os.open(tmp_path / "empty", os.O_RDONLY),
    ):
        stand_in(handle)
        assert not piped.is_fed()
    os.close(terminal)


def test_stdin_that_is_no_file_is_not_read(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CONTENT)))
    assert not piped.is_fed()


def test_who_writes_late_is_waited_for_and_that_is_told(stand_in, monkeypatch, capsys):
    monkeypatch.setattr(piped, "_PATIENCE_SECONDS", 0.01)
    reading, writing = os.pipe()
    stand_in(reading)
    writer = threading.Timer(0.1, os.write, (writing, CONTENT))
    writer.start()
    assert piped.is_fed()
    assert capsys.readouterr().err == "no input is named: waiting for one from stdin\n"
    writer.join()
    os.close(writing)


@pytest.mark.parametrize(
    "words", ["inspect", "check", "sweep --lam 0,1", "explain --row 3", "verify --against value"]
)
def test_commands_that_read_take_what_is_piped_in(words, sample_data, monkeypatch):
    monkeypatch.setattr(piped, "is_fed", lambda: False)
    refused = run_here(*words.split())
    assert (refused.returncode, refused.stderr.splitlines()[0]) == (2, "error: no input given")
    asked = []
    monkeypatch.setattr(piped, "is_fed", lambda: asked.append(words) or True)
    # The stand-in for stdin of `run_here` is empty: that is found where `-` is read.
    empty = run_here(*words.split())
    assert asked == [words]
    assert "`-`" in empty.stderr
    asked.clear()
    run_here(words.split()[0], sample_data / "nothing.parquet", *words.split()[1:])
    assert asked == [], "an input is named"


@pytest.mark.parametrize("command", ["status", "strip"])
def test_commands_about_files_do_not(command, monkeypatch):
    monkeypatch.setattr(piped, "is_fed", lambda: True)
    assert "no input given" in run_here(command).stderr


@pytest.mark.parametrize("dash", [(), ("-",)])
def test_compute_between_two_pipes_is_a_filter(dash, run_gae, sample_data, tmp_path):
    content = (sample_data / "pendulum.parquet").read_bytes()
    done = run_gae("compute", *dash, "-q", input=content, text=False, is_process=True)
    assert done.returncode == 0, done.stderr
    target = tmp_path / "out.parquet"
    Path(target).write_bytes(done.stdout)
    assert pq.read_schema(target).names[-2:] == ["advantage", "return"]
    shown = run_gae("compute", *dash, "--dry-run", input=content, text=False, is_process=True).stdout
    assert b"nothing written" in shown
