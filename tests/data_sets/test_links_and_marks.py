"""Copies of data sets with links in them, results that would become inputs, and damaged descriptions."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from faults.data_sets import MAKERS, content, data_files, rows, write

import gaecli
from gaecli.errors import FileError, UsageError
from gaecli.sources.inputs import plan_streams

Run = Callable[..., Any]
#: A file besides its data files says which those are.
MARKS = {"LeRobot v2.1": "meta/info.json", "LeRobot v3.0": "meta/info.json", "Minari": "data/metadata.json"}
DESCRIBED = [
    *MARKS.items(),
    ("save_to_disk", "state.json"),
    ("save_to_disk", "dataset_info.json"),
    ("save_to_disk, splits", "train/dataset_info.json"),
]


def make(root: Path, kind: str = "LeRobot v3.0") -> Path:
    root.mkdir(parents=True)
    MAKERS[kind](root)
    return root


def is_labelled(path: Path) -> bool:
    return "advantage" in pq.read_schema(path).names


# Links


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A LeRobot set with links of every kind; `elsewhere` is beside it."""
    root, elsewhere = make(tmp_path / "set"), tmp_path / "elsewhere"
    (elsewhere / "videos").mkdir(parents=True)
    (elsewhere / "videos/a.mp4").write_bytes(b"video")
    (elsewhere / "note.txt").write_text("note")
    (root / "videos").symlink_to("../elsewhere/videos")
    (root / "absolute").symlink_to(elsewhere / "videos")
    (root / "note.txt").symlink_to("../elsewhere/note.txt")
    (root / "meta/inner.json").symlink_to("info.json")
    (root / "meta/up.json").symlink_to("../meta/info.json")
    (root / "gone").symlink_to("nowhere/at/all")
    (root / "around").symlink_to(".")
    return root


@pytest.mark.parametrize("copy", ["copy", "deeper/down/copy"])
def test_links_stay_links_in_a_copy(linked: Path, tmp_path: Path, copy: str) -> None:
    before = content(linked)
    target = tmp_path / copy
    gaecli.compute(linked, output=target)
    assert content(linked) == before
    names = {str(path.relative_to(linked)) for path in linked.rglob("*")}
    assert {str(path.relative_to(target)) for path in target.rglob("*")} == names
    for name in ("videos", "absolute", "note.txt"):  # of what lies elsewhere
        assert (target / name).is_symlink()
        assert (target / name).resolve() == (linked / name).resolve()
    for name, text in (
        ("meta/inner.json", "info.json"),
        ("meta/up.json", "../meta/info.json"),
        ("gone", "nowhere/at/all"),
        ("around", "."),
    ):
        assert str((target / name).readlink()) == text
    summary = gaecli.compute(linked, output=target)
    assert {file.status for file in summary.files} == {"up to date"}


def test_another_link_in_the_copy_is_not_replaced_without_leave(linked: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    target.mkdir()
    (target / "note.txt").symlink_to("mine.txt")
    failed = gaecli.compute(linked, output=target).files[0]
    assert failed.exit_code == 2
    assert "note.txt` exists and differs" in str(failed.error)
    gaecli.compute(linked, output=target, overwrite=True)
    assert (target / "note.txt").read_text() == "note"
    assert not (target / "mine.txt").exists()


def test_linked_folders_of_data_are_read_and_never_written_through(tmp_path: Path) -> None:
    root, disk = make(tmp_path / "set"), tmp_path / "disk"
    disk.mkdir()
    (root / "data/chunk-000").rename(disk / "chunk-000")
    (disk / "chunk-000/notes.txt").write_text("kept")
    (root / "data/chunk-000").symlink_to("../../disk/chunk-000")
    before = content(disk)
    gaecli.compute(root, output=tmp_path / "copy")
    assert content(disk) == before
    assert not (tmp_path / "copy/data/chunk-000").is_symlink()
    assert (tmp_path / "copy/data/chunk-000/notes.txt").read_text() == "kept"
    assert all(map(is_labelled, data_files(tmp_path / "copy")))
    gaecli.compute(root)
    assert (root / "data/chunk-000").is_symlink()
    assert all(map(is_labelled, data_files(disk)))


def test_what_can_be_no_copy_is_refused(tmp_path: Path) -> None:
    root = make(tmp_path / "set")
    os.mkfifo(root / "meta/pipe")
    failed = gaecli.compute(root, output=tmp_path / "copy").files[0]
    assert failed.exit_code == 2
    assert "meta/pipe` is neither a file nor a folder" in str(failed.error)


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", ["hive", "RLlib", "plain"])
def test_linked_folders_are_part_of_a_folder_each_once(tmp_path: Path, kind: str) -> None:
    root, elsewhere = tmp_path / "set", tmp_path / "elsewhere"
    if kind == "plain":
        for name in ("a/x.parquet", "b/x.parquet", "c/x.parquet"):
            write(root / name, rows(t=[0, 1]))
    else:
        make(root, kind)
    folder = data_files(root)[1].parent
    (elsewhere).mkdir()
    folder.rename(elsewhere / folder.name)
    folder.symlink_to(elsewhere / folder.name)
    (root / "around").symlink_to(".")
    (root / "again").symlink_to(data_files(root)[0].parent.relative_to(root))
    (root / "broken").symlink_to("broken")
    plans = plan_streams([root], None)
    assert sum(len(plan.paths) for plan in plans) == 3
    assert folder / data_files(elsewhere)[0].name in [path for plan in plans for path in plan.paths]
    gaecli.compute(root)
    assert all(map(is_labelled, [*data_files(root), *data_files(elsewhere)]))


# Results that would be inputs


@pytest.mark.parametrize("output", ["out", "a/deeper", "one.parquet"])
def test_results_within_the_folder_of_the_inputs_are_refused(
    tmp_path: Path, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    write(runs / "a/x.parquet", rows(t=[0, 1]))
    if output == "out":
        write(runs / "b/x.parquet", rows(t=[0, 1]))
    before = content(runs)
    monkeypatch.chdir(runs)
    for source in (Path(), runs):
        with pytest.raises(UsageError, match="the next run would take the results for inputs") as raised:
            gaecli.compute(source, output=output)
        assert "outside" in str(raised.value.hint)
    assert content(runs) == before


@pytest.mark.parametrize("kind", MAKERS)
def test_results_within_a_data_set_are_refused(tmp_path: Path, kind: str) -> None:
    root = make(tmp_path / "set", kind)
    with pytest.raises(UsageError, match="lies within"):
        gaecli.compute(root, output=root / "out")
    assert not (root / "out").exists()


def test_a_glob_that_finds_its_own_results_is_refused(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    write(runs / "a/x.parquet", rows(t=[0, 1]))
    write(runs / "b/x.parquet", rows(t=[0, 1]))
    gaecli.compute(f"{runs}/?/*.parquet", output=runs / "out")
    gaecli.compute(f"{runs}/?/*.parquet", output=runs / "out")  # does not find them
    with pytest.raises(UsageError, match="the next run would take"):
        gaecli.compute(f"{runs}/**/*.parquet", output=runs / "out")
    assert len(data_files(runs)) == 4


def test_results_beside_named_files_and_in_hidden_folders_are_fine(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    paths = [write(runs / name, rows(t=[0, 1])) for name in ("x.parquet", "y.parquet")]
    for _ in range(2):
        assert gaecli.compute(paths, output=runs / "out").exit_code == 0
        assert gaecli.compute(runs / "x.parquet", output=runs / "z.parquet").exit_code == 0
    for folder in ("out", "z.parquet"):
        assert (runs / folder).exists()
    other = tmp_path / "other"
    write(other / "x.parquet", rows(t=[0, 1]))
    for _ in range(2):
        assert gaecli.compute(other, output=f"{other}/_out/").exit_code == 0
    assert len(data_files(other)) == 2


# Damaged descriptions


def damage(path: Path, how: str) -> None:
    text = path.read_bytes()
    wrong = {
        "truncated": text[: len(text) // 2],
        "empty": b"",
        "bytes": b"\xff\xfe\x00",
        "a list": b"[1, 2]",
        "null": b"null",
        "a number": b"17",
        "deep": b"[" * 100_000,
        "wrong types": json.dumps(dict.fromkeys(json.loads(text), 5)).encode(),
        "entries gone": json.dumps({next(iter(json.loads(text))): 1, "total_episodes": 3}).encode(),
    }
    if how == "huge":
        path.write_bytes(b" " * (64 << 20) + text)
    elif how == "dangling":
        path.unlink()
        path.symlink_to("nowhere.json")
    elif how == "a folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(wrong[how])


def failure(source: object) -> tuple[int, str]:
    try:
        failed = gaecli.compute(source).files[0]  # type: ignore[arg-type]
    except FileError as error:
        return error.exit_code, error.message
    return failed.exit_code, str(failed.error)


DAMAGES = (
    "truncated",
    "empty",
    "bytes",
    "a list",
    "null",
    "a number",
    "deep",
    "wrong types",
    "entries gone",
    "huge",
    "dangling",
    "a folder",
)


def _each_run() -> Iterator[Any]:
    """By diagonals: each description is damaged in every second way, and each way meets every second description."""
    for (number, (kind, name)), (turn, how) in product(enumerate(DESCRIBED), enumerate(DAMAGES)):
        # 64 MiB of it: once.
        is_due = number == 0 if how == "huge" else (number + turn) % 2
        marks = () if is_due else pytest.mark.slow
        yield pytest.param(kind, name, how, marks=marks)


@pytest.mark.few(16)
@pytest.mark.parametrize(("kind", "name", "how"), [*_each_run()])
def test_a_damaged_description_is_an_error_and_no_folder_of_independent_files(
    tmp_path: Path, kind: str, name: str, how: str
) -> None:
    root = make(tmp_path / "set", kind)
    mark = root / name
    damage(mark, how)
    before = content(root)
    first = data_files(root)[-1]
    for source in (root, tmp_path, first, f"{first.parent}/**/*{first.suffix}"):
        code, message = failure(source)
        assert code == 4
        assert str(mark) in message
    assert content(root) == before


@pytest.mark.parametrize("name", ["meta/info.json", "data/metadata.json"])
def test_a_file_of_that_name_that_is_something_else_means_nothing(tmp_path: Path, name: str) -> None:
    write(tmp_path / "data/x.parquet", rows(t=[0, 1]))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(json.dumps({"author": "somebody"}))
    assert gaecli.compute(tmp_path).files[0].status == "written"


# A folder in a data set


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", MARKS)
def test_a_folder_with_all_files_of_a_data_set_is_that(tmp_path: Path, kind: str) -> None:
    root, other = make(tmp_path / "set", kind), make(tmp_path / "other", kind)
    assert {file.status for file in gaecli.compute(root / "data").files} == {"written"}
    gaecli.compute(other)
    for path in data_files(root):
        twin = other / path.relative_to(root)
        assert pq.read_table(path).equals(pq.read_table(twin))
    assert (root / MARKS[kind]).read_bytes() == (other / MARKS[kind]).read_bytes()


@pytest.mark.parametrize("kind", ["LeRobot v3.0", "Minari"])
def test_a_folder_with_some_files_of_a_data_set_is_not_written_in_place(tmp_path: Path, kind: str) -> None:
    root = make(tmp_path / "set", kind)
    if kind != "Minari":
        (root / "data/chunk-001").mkdir()
        data_files(root)[0].rename(root / "data/chunk-001/file-000.parquet")
    with pytest.raises(UsageError, match="of the 3 files") as raised:
        gaecli.compute(data_files(root)[0].parent)
    assert str(root) in str(raised.value.hint)
    assert not any(map(is_labelled, data_files(root)))
