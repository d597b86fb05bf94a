"""Rows that were shuffled, drawn or sorted by something else: told by what numbered them, under any name."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest
from traps.passed_over import notes_of, plain_gae, write

import gaecli
from gaecli.commands import check as checkup
from gaecli.commands import compute as run
from gaecli.formats.base import Column
from gaecli.layouts.evidence.moments import moments_in

RNG = np.random.default_rng(12)
#: Three episodes in the order in which they were recorded, and the order in which their rows stand in the file.
EPISODE = np.repeat([0, 1, 2], [7, 5, 8])
NUM_ROWS = len(EPISODE)
DONE = np.append(np.diff(EPISODE), 1).astype(bool)
STEPS = {name: RNG.normal(size=NUM_ROWS) for name in ("reward", "value")}
WANTED = plain_gae(STEPS["reward"], STEPS["value"], DONE)
#: The first one ends nothing, or the flags would be taken for those that begin episodes.
SHUFFLED = np.array([4, 15, 9, 0, 19, 11, 6, 13, 2, 17, 8, 1, 14, 5, 18, 10, 3, 16, 12, 7])
#: From row to row, but for those behind which the flags end an episode.
STEPS_BETWEEN = np.diff(SHUFFLED)[~DONE[SHUFFLED][:-1]]
RISES, FALLS = int(np.count_nonzero(STEPS_BETWEEN > 0)), int(np.count_nonzero(STEPS_BETWEEN < 0))
ROW = np.arange(NUM_ROWS)
MOMENTS = np.datetime64("2026-11-30T23:59:50", "ms") + 400 * ROW
NUMBERS = {
    "__index_level_0__": ROW,
    "id": ROW + 101,
    "k": (ROW + 1) * 8,
    "timestamp": 1.7e9 + 0.1 * ROW + RNG.uniform(0, 0.05, NUM_ROWS),
    "sim_time": 0.1 * ROW,
    "created_at": MOMENTS,
}


def in_the_file(columns, order=SHUFFLED):
    return {name: np.asarray(cells)[order] for name, cells in columns.items()}


def in_blocks(num_rows, monkeypatch):
    for module in (run, checkup):
        monkeypatch.setattr(module, "rows_per_block", lambda memory_bytes: num_rows)


@pytest.mark.few(4)
@pytest.mark.parametrize("num_rows", [7, 1_000])
@pytest.mark.parametrize("name", NUMBERS)
def test_what_numbers_the_rows_is_told_and_orders_them(tmp_path, name, num_rows, monkeypatch):
    in_blocks(num_rows, monkeypatch)
    columns = in_the_file(STEPS | {"done": DONE, name: NUMBERS[name]})
    path = write(tmp_path, columns, ".parquet")
    (note,) = notes_of(path, "unused-id")
    assert f"`{name}`, which no role uses, goes up at {RISES} and down at {FALLS} of" in note.message
    assert f"pass `--step-column {name}`" in note.hint
    assert notes_of(path, "unused-id", columns={"episode": "none"}) == []
    monkeypatch.undo()
    gaecli.compute(path, step_column=name)
    # float32 columns of float64 numbers
    np.testing.assert_allclose(pq.read_table(path)["advantage"], WANTED[SHUFFLED], rtol=1e-5, atol=1e-6)


#: As people and programs write dates.
WRITTEN = [
    "%Y-%m-%dT%H:%M:%S",
    "%d.%m.%Y %H:%M:%S",
    "%m/%d/%Y %I:%M:%S %p",
    "%d/%m/%Y %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%a, %d %b %Y %H:%M:%S GMT",
    "%a %b %d %H:%M:%S %Y",
    "%d-%b-%Y %H:%M:%S.%f",
]
DATES = [datetime(2026, 11, 30, 11, 59, 50) + timedelta(seconds=3 * int(row)) for row in ROW]


@pytest.mark.few(4)
@pytest.mark.parametrize("form", WRITTEN)
def test_dates_in_texts_are_told(tmp_path, form):
    texts = np.array([date.strftime(form) for date in DATES])
    columns = in_the_file(STEPS | {"done": DONE, "Datum": texts})
    (note,) = notes_of(write(tmp_path, columns, ".parquet"), "unused-id")
    assert f"`Datum`, which no role uses, goes up at {RISES} and down at {FALLS} of" in note.message
    assert "write the rows in the order of `Datum`" in note.hint


def test_dates_whose_month_nothing_tells_say_nothing(tmp_path):
    days = [datetime(2026, 1 + int(row) % 11, 1 + int(row) // 2) for row in ROW]
    texts = np.array([date.strftime("%m/%d/%Y") for date in days])
    path = write(tmp_path, in_the_file(STEPS | {"done": DONE, "Datum": texts}), ".parquet")
    assert notes_of(path, "unused-id") == []
    columns = in_the_file(STEPS | {"done": DONE, "Datum": np.char.replace(texts, "/", ".")})
    assert len(notes_of(write(tmp_path, columns, ".parquet"), "unused-id")) == 1


@pytest.mark.few(2)
@pytest.mark.parametrize("form", WRITTEN)
def test_dates_in_texts_are_the_moments_they_name(form):
    texts = [date.strftime(form) for date in DATES]
    codes = np.arange(NUM_ROWS, dtype=np.int32)
    found = moments_in(Column(codes, categories=texts))
    assert (np.asarray(found).astype("datetime64[us]").tolist()) == DATES


@pytest.mark.parametrize(
    "text", ["31.02.2026", "2026.11.30", "30 Foo 2026", "1.2.3", "30.11.26", "11/30-2026"]
)
def test_other_texts_are_no_moments(text):
    assert moments_in(Column(np.zeros(2, np.int32), categories=[text])) is None


def test_ids_of_episodes_leave_the_order_within_them_open(tmp_path):
    order = SHUFFLED[np.argsort(EPISODE[SHUFFLED], kind="stable")]
    path = write(tmp_path, in_the_file(STEPS | {"episode_id": EPISODE, "row": ROW}, order), ".parquet")
    (note,) = notes_of(path, "unused-id")
    assert "`row`, which no role uses, goes up at" in note.message
    assert notes_of(path, "unused-id", columns={"step": "none"}) == []
    gaecli.compute(path, step_column="row")
    np.testing.assert_allclose(pq.read_table(path)["advantage"], WANTED[order], rtol=1e-5, atol=1e-6)


QUIET = {
    "rows in order": ("id", ROW),
    "episodes in another order": ("id", np.concatenate([ROW[one == EPISODE] for one in (2, 0, 1)])),
    "a hash": ("row_hash", RNG.integers(1 << 40, 1 << 62, NUM_ROWS)),
    "numbers drawn with a few alike": ("cell", RNG.integers(0, 30, NUM_ROWS)),
    "how long a step took": ("step_time", RNG.lognormal(-3, 0.4, NUM_ROWS)),
    "a float of another kind": ("angle", RNG.permutation(NUM_ROWS) / 8),
    "a name": ("word", np.array([f"w{one:02}" for one in RNG.permutation(NUM_ROWS)])),
}


@pytest.mark.parametrize("what", QUIET)
def test_other_columns_say_nothing(tmp_path, what):
    name, cells = QUIET[what]
    path = write(tmp_path, STEPS | {"done": DONE, name: cells}, ".parquet")
    assert [note for note in notes_of(path, "unused-id") if "goes up at" in note.message] == []


def test_nine_rows_may_stand_in_any_order(tmp_path):
    few = SHUFFLED[SHUFFLED < 9]
    path = write(tmp_path, in_the_file(STEPS | {"done": DONE, "created_at": MOMENTS}, few), ".parquet")
    assert notes_of(path, "unused-id") == []
