"""What a process of ours says to the C library about its memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from gaecli import heap


@pytest.fixture
def clean(monkeypatch):
    """Nobody has set anything up."""
    for name in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "ARROW_DEFAULT_MEMORY_POOL"):
        monkeypatch.setenv(name, "")  # so that it is afterwards as it is now
        monkeypatch.delenv(name)


@pytest.fixture
def said(clean, monkeypatch):
    found = []
    library = SimpleNamespace(
        mallopt=lambda *words: found.append(words),
        malloc_trim=lambda pad: None,
        malloc=lambda size: None,  # there is none
        free=lambda piece: None,
    )
    monkeypatch.setattr(heap, "_library", lambda: library)
    monkeypatch.setattr(heap, "_set_up", None)
    return found


def test_freed_blocks_stay_with_the_process(said):
    heap.keep_freed_memory()
    trim, mmap = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    sizes = dict(said)
    assert sizes[mmap] > (1 << 20) * 8  # a block of float64
    assert sizes[trim] > sizes[mmap]


KERNEL_TELLS = """
from gaecli.heap import keep_freed_memory
keep_freed_memory()
is_heap = False
for line in open("/proc/self/smaps"):
    name, *words = line.split()
    if "-" in name:
        is_heap = words[-1] == "[heap]"
    elif name == "Size:":
        size = int(words[0]) << 10
    elif name == "Rss:":
        used = int(words[0]) << 10
    elif name == "VmFlags:" and is_heap and "hg" in words:
        print(size, used)
"""


@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").exists() or heap._library() is None,
    reason="no large pages, or another C library",
)
def test_the_heap_grows_by_large_pages(clean):
    told = subprocess.run([sys.executable, "-c", KERNEL_TELLS], capture_output=True, text=True, check=True)
    ((size, used),) = [map(int, line.split()) for line in told.stdout.splitlines()]
    assert size > 4 * (1 << 20) * 40  # four blocks of five numbers
    assert used < 1 << 20  # and none of it before it is needed


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
    library = SimpleNamespace(
        malloc_trim=given_back.append, malloc=lambda size: None, free=lambda piece: None
    )
    monkeypatch.setattr(heap, "_set_up", library)
    for _ in range(8):
        heap.looked_at(1 << 25)
    assert given_back == [0, 0]
