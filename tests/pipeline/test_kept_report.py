"""A second run tells what the first one found out, and swallows nothing that is asked for."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from covers import turns

import gaecli
from gaecli.report.document import summary_to_dict
from gaecli.writing.kept_report import facts_of_entry, report_of
from gaecli.writing.kept_words import edges_of, notes_of

SETTINGS = {
    "plain": {},
    "warned of": {"preset": "rsl-rl"},
    "normalised": {"normalize": "all"},
    "normalised by file": {"normalize": "file", "keep_raw": True},
    "normalised by env": {"normalize_by": "env_id"},
}


def told(summary) -> dict:
    """All but what depends on the clock and on what was done."""
    document = summary_to_dict(summary)
    for name in ("seconds", "steps_per_second"):
        del document[name]
    for file in document["files"]:
        del file["status"], file["method"]
    return document


@pytest.mark.turns
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("name", ["cartpole.parquet", "cartpole_TN.npz"])
def test_the_second_run_says_what_the_first_one_said(copy_sample, name: str, settings: dict) -> None:
    if "normalize_by" in settings and name.endswith("npz"):
        pytest.skip("has no array of that name")
    path = copy_sample(name)
    first, second = gaecli.compute(path, **settings), gaecli.compute(path, **settings)
    assert [file.status for file in second.files] == ["up to date"]
    assert first.columns
    assert told(second) == told(first)


def test_several_files_add_up(copy_sample, tmp_path: Path) -> None:
    paths = [copy_sample("cartpole.parquet"), copy_sample("pendulum.parquet")]
    first, second = gaecli.compute(paths), gaecli.compute(paths)
    assert second.totals == first.totals
    assert second.bootstrapped == first.bootstrapped
    assert second.explained_variance == pytest.approx(first.explained_variance, rel=1e-12)
    for name, column in first.columns.items():
        again = second.columns[name]
        assert (again.count, again.min, again.max) == (column.count, column.min, column.max)
        assert (again.mean, again.std) == pytest.approx((column.mean, column.std), rel=1e-12)
        assert again.sample_count < again.count  # the median is no exact one
        assert again.median == pytest.approx(column.median, abs=(column.max - column.min) / 24)


def test_force_writes_again(copy_sample) -> None:
    path = copy_sample("cartpole.parquet")
    gaecli.compute(path)
    content, inode = path.read_bytes(), path.stat().st_ino
    assert gaecli.compute(path, force=True).files[0].status == "written"
    assert path.read_bytes() == content
    assert path.stat().st_ino != inode


@pytest.mark.parametrize("settings", [{}, {"normalize": "all"}])
def test_pictures_of_what_is_up_to_date_are_drawn_without_writing(copy_sample, settings: dict) -> None:
    paths = [copy_sample("cartpole.parquet"), copy_sample("pendulum.parquet")]
    first = gaecli.compute(paths, gallery=True, **settings)
    inodes = [path.stat().st_ino for path in paths]
    second = gaecli.compute(paths, gallery=True, **settings)
    assert [file.status for file in second.files] == ["up to date"] * 2
    assert [path.stat().st_ino for path in paths] == inodes
    assert first.gallery is not None
    assert second.gallery is not None
    assert second.gallery.num_episodes == first.gallery.num_episodes
    assert second.columns == first.columns


def test_a_note_goes_by_the_name_that_the_file_has_now(copy_sample, tmp_path: Path) -> None:
    path = copy_sample("cartpole.parquet")
    gaecli.compute(path, preset="rsl-rl")
    moved = tmp_path / "moved.parquet"
    shutil.move(path, moved)
    notes = gaecli.compute(moved, preset="rsl-rl").warnings
    assert notes
    assert {note.file for note in notes} == {str(moved)}


BROKEN = [None, 3, "x", [], [[]], {}, {"count": "3"}, -1, 1e300, True, {"advantage": {"histogram": [1e9]}}]


@pytest.mark.few(6)
@pytest.mark.parametrize("broken", BROKEN, ids=map(str, BROKEN))
def test_an_edited_report_is_told_as_far_as_it_makes_sense(tmp_path: Path, broken: object) -> None:
    path = part(tmp_path / "r.parquet", 0, 40, **TOLD["unfilled-tail"][0])
    gaecli.compute(path, normalize="all")
    entry = json.loads(pq.read_metadata(path).metadata[b"gaecli"])
    places = [("report",), *(("report", name) for name in entry["report"]), ("normalization",), ("counts",)]
    places += [("report", "columns", name) for name in entry["report"]["columns"]]
    places += [("report", "columns", "advantage", name) for name in entry["report"]["columns"]["advantage"]]
    places += [("report", "edges", name) for name in entry["report"]["edges"]]
    places += [
        ("report", "edges", "tails", 0),
        *(("report", "edges", "tails", 0, index) for index in range(4)),
    ]
    places += [("report", "warnings", 0, name) for name in entry["report"]["warnings"][0]]
    assert len(places) > 15
    for *outer, last in places:
        edited = json.loads(json.dumps(entry))
        inner = edited
        for name in outer:
            inner = inner[name]
        inner[last] = broken
        report, notes = report_of(edited), notes_of(edited, [path])
        facts_of_entry(edited)
        edges_of(edited, [path])
        assert all(note.message for note in notes)
        for tally in report.tallies.values():
            numbers = dataclasses.astuple(tally.merge(tally).statistics())
            assert all(math.isfinite(number) for number in numbers if isinstance(number, float))


def part(path: Path, first: int, last: int, **columns: object) -> Path:
    """Rows of a log of episodes of 25 steps, as one file."""
    rows = np.arange(first, last)
    made = {
        "reward": np.cos(rows),
        "value": np.sin(rows),
        "episode_id": rows // 25,
        "step": rows % 25,
        "terminated": rows % 25 == 24,
    }
    table = pa.table({**made, **{name: cells[rows] for name, cells in columns.items()}})
    pq.write_table(table, path, row_group_size=10)
    return path


EVERY_ROW = np.arange(1000)
IS_PADDING = EVERY_ROW % 40 >= 25
#: What is told of -> (columns beside those of the log, settings).
TOLD = {
    "goes-on-in-next-file": ({}, {}),
    "bootstrap-current": ({"terminated": EVERY_ROW < 0}, {"bootstrap": "current"}),
    "bootstrap-zero": ({"terminated": EVERY_ROW < 0}, {"bootstrap": "zero"}),
    "zero-variance": ({"reward": EVERY_ROW * 0.0, "value": EVERY_ROW * 0.0}, {"normalize": "all"}),
    "unfilled-tail": (
        {
            "reward": np.where(IS_PADDING, 0.0, 1.0),
            "value": np.where(IS_PADDING, 0.0, np.sin(EVERY_ROW)),
            "episode_id": EVERY_ROW // 40 * 2 + IS_PADDING,
            "step": EVERY_ROW % 40 - 25 * IS_PADDING,
            "terminated": EVERY_ROW % 40 == 24,
        },
        {},
    ),
    "preset-truncation": (
        {"terminated": EVERY_ROW < 0, "truncated": EVERY_ROW % 25 == 24},
        {"truncation": "zero"},
    ),
    "dropped-episodes": ({"reward": np.where(EVERY_ROW % 40 == 3, np.nan, 1.0)}, {"on_nan": "drop-episode"}),
}


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("code", "how"),
    turns(TOLD, [{}, {"output": "out/"}, {"sidecar": True}, {"normalize": "all"}, {"join": True}]),
)
def test_every_kind_of_warning_about_many_files_is_told_again(tmp_path: Path, code: str, how: dict) -> None:
    columns, settings = TOLD[code]
    settings = {**how, **settings}
    if "output" in how:
        settings["output"] = f"{tmp_path}/{how['output']}"
    paths = [part(tmp_path / f"x{n}.parquet", 40 * n, 40 * n + 40, **columns) for n in range(3)]
    first, second = (gaecli.compute(paths, **settings) for _ in range(2))
    assert {file.status for file in second.files} == {"up to date"}
    if how != {"join": True} or code != "goes-on-in-next-file":
        assert code in [note.code for note in first.warnings]
    assert second.warnings == first.warnings
    exact = ("count", "min", "max")
    for name, column in first.columns.items():
        assert [getattr(second.columns[name], of) for of in exact] == [getattr(column, of) for of in exact]
    assert second.totals == first.totals
    assert second.bootstrapped == first.bootstrapped


@pytest.mark.few(2)
@pytest.mark.parametrize("number", range(3))
def test_a_new_file_among_those_that_are_up_to_date_is_compared_with_them(
    tmp_path: Path, number: int
) -> None:
    paths = [part(tmp_path / f"x{n}.parquet", 40 * n, 40 * n + 40) for n in range(3)]
    wanted = gaecli.compute(paths).warnings
    assert wanted
    part(paths[number], 40 * number, 40 * number + 40)
    again = gaecli.compute(paths)
    assert sorted(file.status for file in again.files) == ["up to date", "up to date", "written"]
    assert again.warnings == wanted


def test_no_warning_is_left_of_files_that_are_no_neighbours_any_more(tmp_path: Path) -> None:
    paths = [part(tmp_path / f"x{n}.parquet", 40 * n, 40 * n + 40) for n in range(3)]
    gaecli.compute(paths)
    codes = [note.code for note in gaecli.compute([paths[0], paths[2]]).warnings]
    assert "goes-on-in-next-file" not in codes


@pytest.mark.parametrize("ids", [["a", "b"], [b"a", b"b"], [1.5, 2.5], [3, 7]])
def test_ids_of_every_type_are_kept_or_left_out(tmp_path: Path, ids: list) -> None:
    paths = [tmp_path / "x.parquet", tmp_path / "y.parquet"]
    for path, steps in zip(paths, ([0, 0, 1, 2], [3, 4, 5, 0]), strict=True):
        of_rows = [ids[0], *3 * ids[1:]] if path == paths[0] else [*3 * ids[1:], ids[0]]
        columns = {"reward": [1.0] * 4, "value": [0.5] * 4, "episode_id": of_rows, "step": steps}
        pq.write_table(pa.table(columns), path)
    first, second = (gaecli.compute(paths, bootstrap="zero") for _ in range(2))
    assert {file.exit_code for file in first.files} == {0}
    assert "goes-on-in-next-file" in [note.code for note in first.warnings]
    if ids[1] != b"b":
        assert second.warnings == first.warnings
