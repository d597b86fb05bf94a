"""A second run tells what the first one found out, and swallows nothing that is asked for."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.report.document import summary_to_dict
from gaecli.writing.kept_report import constants_of, report_of

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


@pytest.mark.parametrize("broken", BROKEN, ids=map(str, BROKEN))
def test_an_edited_report_is_told_as_far_as_it_makes_sense(copy_sample, broken: object) -> None:
    path = copy_sample("cartpole.parquet")
    gaecli.compute(path, normalize="all")
    entry = json.loads(pq.read_metadata(path).metadata[b"gaecli"])
    places = [("report",), *(("report", name) for name in entry["report"]), ("normalization",), ("counts",)]
    places += [("report", "columns", name) for name in entry["report"]["columns"]]
    places += [("report", "columns", "advantage", name) for name in entry["report"]["columns"]["advantage"]]
    assert len(places) > 15
    for *outer, last in places:
        edited = json.loads(json.dumps(entry))
        inner = edited
        for name in outer:
            inner = inner[name]
        inner[last] = broken
        report, notes = report_of(edited, path)
        constants_of(edited)
        assert all(note.message for note in notes)
        for tally in report.tallies.values():
            numbers = dataclasses.astuple(tally.merge(tally).statistics())
            assert all(math.isfinite(number) for number in numbers if isinstance(number, float))
