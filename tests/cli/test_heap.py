"""What a process of ours says to the C library about its memory."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from gaecli import heap


@pytest.fixture
def said(monkeypatch):
    for name in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "ARROW_DEFAULT_MEMORY_POOL"):
        monkeypatch.setenv(name, "")  # so that it is afterwards as it is now
        monkeypatch.delenv(name)
    found = []
    library = SimpleNamespace(mallopt=lambda *words: found.append(words), malloc_trim=lambda pad: None)
    monkeypatch.setattr(heap, "_library", lambda: library)
    monkeypatch.setattr(heap, "_trim", None)
    return found


def test_freed_blocks_stay_with_the_process(said):
    heap.keep_freed_memory()
    trim, mmap = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    sizes = dict(said)
    assert sizes[mmap] > (1 << 20) * 8  # a block of float64
    assert sizes[trim] > sizes[mmap]


def test_arrow_takes_its_memory_from_there(said, monkeypatch):
    heap.keep_freed_memory()
    assert os.environ["ARROW_DEFAULT_MEMORY_POOL"] == "system"
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
    heap.keep_freed_memory()
    assert os.environ["ARROW_DEFAULT_MEMORY_POOL"] == "jemalloc"


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_what_the_user_has_set_up_is_left_so(said, monkeypatch, name):
    monkeypatch.setenv(name, "2")
    heap.keep_freed_memory()
    assert said == []


def test_a_command_says_it_and_the_library_does_not(said, copy_sample):
    from typer.testing import CliRunner

    import gaecli
    from gaecli.cli.main import app

    sample = copy_sample("cartpole.parquet")
    gaecli.inspect(sample)
    assert said == []
    assert CliRunner().invoke(app, ["inspect", str(sample)]).exit_code == 0
    assert said


def test_what_is_free_is_given_back_now_and_then(said, monkeypatch):
    given_back = []
    monkeypatch.setattr(heap, "_num_rows", 0)
    for _ in range(8):
        heap.looked_at(1 << 25)  # a library's own process
    monkeypatch.setattr(heap, "_trim", given_back.append)
    for _ in range(8):
        heap.looked_at(1 << 25)
    assert given_back == [0, 0]
