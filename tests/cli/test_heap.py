"""What a process of ours says to the C library about its memory."""

from __future__ import annotations

import pytest

from gaecli.cli import heap


@pytest.fixture
def said(monkeypatch):
    for name in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    found = []
    monkeypatch.setattr(heap, "_mallopt", lambda: lambda *words: found.append(words))
    return found


def test_freed_blocks_stay_with_the_process(said):
    heap.keep_freed_memory()
    trim, mmap = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    sizes = dict(said)
    assert sizes[mmap] > (1 << 20) * 8  # a block of float64
    assert sizes[trim] > sizes[mmap]


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
