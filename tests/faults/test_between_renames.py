"""A signal, a kill or an error of the disk exactly between the renames of a data set: all files, or none."""

from __future__ import annotations

import errno
import functools
import os
import re
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.data_sets import MAKERS, MARKS, NUM_FILES, content, data_files, is_labelled, read
from faults.test_kills import LEFTOVER, Runner

import gaecli
from gaecli.commands.inspect import inspect
from gaecli.writing.transaction import commit_together


def _instants(kind: str) -> range:
    return range(1, NUM_FILES + 1 + len(MARKS[kind]))


def _grid(is_telling: Callable[[str, int], bool]) -> list[Any]:
    """All of one kind, and of the others those that tell most: the files of all kinds are renamed by one loop."""
    return [
        pytest.param(
            kind,
            number,
            marks=() if kind == "save_to_disk" or is_telling(kind, number) else pytest.mark.slow,
        )
        for kind in MAKERS
        for number in _instants(kind)
    ]


EVERY_RENAME = _grid(lambda kind, number: number == (2, _instants(kind)[-1])[[*MAKERS].index(kind) % 2])
#: After a signal the same happens wherever it comes; before the second there is most to be done.
SIGNALLED = _grid(lambda kind, number: number == 2)


@pytest.fixture
def root(kind: str, tmp_path: Path) -> Path:
    root = tmp_path / "set"
    root.mkdir()
    MAKERS[kind](root)
    return root


def inspected(root: Path) -> list[Any]:
    return list(inspect([root]).infos)


def expected_words(kind: str, before: int) -> list[str]:
    if before == 1:
        return []
    if before <= NUM_FILES:
        return [f"{before - 1} of the 3 files have `advantage`, `return`, the others have not"]
    marks = MARKS[kind][before - NUM_FILES - 1 :]
    return [f"all files have `advantage`, `return`, but `{mark}` does not say so" for mark in marks]


def failure(summary: gaecli.Summary) -> Any:
    (failed,) = [file for file in summary.files if file.status == "failed"]
    assert failed.exit_code == 4
    return failed


def labelled(root: Path) -> int:
    return sum(map(is_labelled, data_files(root)))


def leftovers(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if LEFTOVER.fullmatch(path.name)]


def columns(root: Path) -> dict[str, Any]:
    """What readers see of the data files, and the other files as they are."""
    tables = {str(path): read(path).to_pydict() for path in data_files(root)}
    others = {name: text for name, text in content(root).items() if f"{root}/{name}" not in tables}
    return {**tables, **others}


@pytest.mark.few(6)
@pytest.mark.parametrize(("kind", "before"), SIGNALLED)
def test_a_signal_between_the_renames_waits_for_the_last_one(runner: Runner, root: Path, before: int) -> None:
    number = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[before % 3]
    done = runner.signalled(number, before, "compute", root)
    assert done["code"] == 130
    assert done["errors"] == f"interrupted; all {NUM_FILES} files are done\n"
    assert labelled(root) == NUM_FILES
    assert not leftovers(root)
    state = content(root)
    assert {file.status for file in gaecli.compute(root).files} == {"up to date"}
    assert content(root) == state


@functools.cache
def undisturbed(kind: str) -> dict[str, Any]:
    """What a run leaves that nothing comes between."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        root.mkdir()
        MAKERS[kind](root)
        gaecli.compute(root)
        return {name.replace(str(root), ""): found for name, found in columns(root).items()}


@pytest.mark.few(6)
@pytest.mark.parametrize(("kind", "before"), EVERY_RENAME)
def test_after_a_kill_between_the_renames_the_next_run_does_the_rest(
    runner: Runner, root: Path, before: int, kind: str
) -> None:
    assert runner.signalled(signal.SIGKILL, before, "compute", root)["killed"]
    assert labelled(root) == min(before - 1, NUM_FILES)
    assert leftovers(root)
    notes = [note for one in inspected(root) for note in one.warnings if note.code == "partly-written"]
    assert list(dict.fromkeys(note.message for note in notes)) == expected_words(kind, before)
    gaecli.compute(root)
    assert not leftovers(root)
    assert {name.replace(str(root), ""): found for name, found in columns(root).items()} == undisturbed(kind)


@pytest.mark.few(6)
@pytest.mark.parametrize(("kind", "before"), EVERY_RENAME)
def test_an_error_between_the_renames_leaves_every_file_as_it_was(
    root: Path, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, words = ERRORS[before % len(ERRORS)]
    state, inodes = content(root), {path: path.stat().st_ino for path in data_files(root)}
    with failing_rename(monkeypatch, before, code):
        failed = failure(gaecli.compute(root))
    assert words in failed.error
    assert f"all {NUM_FILES} files are as they were" in failed.error
    assert content(root) == state
    assert {path: path.stat().st_ino for path in data_files(root)} == inodes
    assert {file.status for file in gaecli.compute(root).files} == {"written"}
    assert labelled(root) == NUM_FILES


ERRORS = [(errno.EIO, "Input/output error"), (errno.ENOSPC, "no space left")]


@pytest.mark.parametrize("kind", ["LeRobot v3.0", "hive"])
def test_where_nothing_can_be_kept_the_message_counts_the_files(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    with failing_rename(monkeypatch, 3, errno.EIO):
        failed = failure(gaecli.compute(root))
    assert "2 of the 3 files have the new columns" in failed.error
    assert "run the same command again" in failed.hint
    assert "as it was" not in failed.error
    assert labelled(root) == 2
    gaecli.compute(root)
    assert labelled(root) == 3
    assert not leftovers(root)


@pytest.mark.few(5)
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        *((kind, errno.ENOSPC) for kind in MAKERS),
        *(("hive", code) for code in (errno.EIO, errno.EDQUOT)),
    ],
)
def test_where_the_old_files_cannot_be_kept_nothing_is_renamed(
    root: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, calls = os.link, []

    def failing(*arguments: Any, **options: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(code, os.strerror(code))
        link(*arguments, **options)

    state = content(root)
    monkeypatch.setattr(os, "link", failing)
    assert "all 3 files are as they were" in failure(gaecli.compute(root)).error
    assert content(root) == state


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", ["LeRobot v2.1", "Minari", "shards"])
@pytest.mark.parametrize("before", [1, 2, NUM_FILES, NUM_FILES + 1])
def test_a_copy_that_is_killed_is_finished_by_the_next_run(
    runner: Runner, root: Path, before: int, kind: str, tmp_path: Path
) -> None:
    if kind == "shards" and before > NUM_FILES:
        return
    (root / "notes").mkdir()
    (root / "notes/README.txt").write_text("kept")
    state = content(root)
    copy = tmp_path / "copy"
    companions = 1  # copied before; the data files come next, and marks last
    assert runner.signalled(signal.SIGKILL, companions + before, "compute", root, "-o", copy)["killed"]
    gaecli.compute(root, output=copy)
    assert content(root) == state
    assert content(copy).keys() == state.keys()
    assert labelled(copy) == NUM_FILES
    if kind.startswith("LeRobot"):
        assert b'"advantage"' in (copy / "meta/info.json").read_bytes()
    assert {file.status for file in gaecli.compute(root, output=copy).files} == {"up to date"}


def test_an_interrupted_batch_says_how_many_are_done(runner: Runner, tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        MAKERS["shards"](tmp_path / "sets" / name)
    done = runner.signalled(signal.SIGINT, 4, "compute", tmp_path / "sets", "--jobs", "1")
    assert done["code"] == 130
    assert re.fullmatch(
        r"interrupted; nothing was left half-written; 6 of 12 files are done: run the same command again "
        r"for the others\n",
        done["errors"],
    )
    assert labelled(tmp_path) == 6


class failing_rename:
    """The n-th rename within the block fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, before: int, code: int) -> None:
        self.context = monkeypatch.context()
        self.before, self.code, self.calls = before, code, 0

    def __enter__(self) -> None:
        rename = os.replace

        def replace(*arguments: Any) -> None:
            self.calls += 1
            if self.calls == self.before:
                raise OSError(self.code, os.strerror(self.code), arguments[0], None, arguments[1])
            rename(*arguments)

        self.context.__enter__().setattr(os, "replace", replace)

    def __exit__(self, *error: Any) -> None:
        self.context.__exit__(*error)


class Stored:
    """An object: once it is there, it stays."""

    def __init__(self, target: Path, *, fails: bool = False) -> None:
        self.target, self.temporary, self.fails = target, target.with_suffix(".tmp"), fails
        self.is_committed = False

    def commit(self) -> None:
        if self.fails:
            raise gaecli.FileError("`s3://b/2.parquet` cannot be written: 500")
        self.is_committed = True

    def take_back(self) -> bool:
        return not self.is_committed

    def keep_old(self) -> None: ...

    forget_old = keep_old


def test_of_objects_the_message_counts_those_that_are_there() -> None:
    files = [Stored(Path(f"{number}.parquet"), fails=number == 2) for number in range(4)]
    with pytest.raises(gaecli.FileError, match="500; 2 of the 4 files have the new columns") as raised:
        commit_together(files)
    assert "run the same command again" in str(raised.value.hint)
    with pytest.raises(gaecli.FileError) as raised:
        commit_together(files[2:])
    assert str(raised.value) == "`s3://b/2.parquet` cannot be written: 500"
