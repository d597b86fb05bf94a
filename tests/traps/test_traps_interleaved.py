"""Rows of several environments at once: told by a column whose values take turns, or by the time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from traps.passed_over import notes_of, plain_gae, write

import gaecli
from gaecli.commands import check as checkup
from gaecli.commands import compute as run

TIMES, ENVS = 20, 3
RNG = np.random.default_rng(9)
DONE = np.zeros((TIMES, ENVS), bool)
DONE[[6, 13], 0] = DONE[[4, 15], 1] = DONE[9, 2] = True
STEPS = {name: RNG.normal(size=(TIMES, ENVS)) for name in ("reward", "value")}
ENV = np.tile(np.arange(ENVS), TIMES)
TIME = np.repeat(np.arange(TIMES), ENVS)
COLUMNS = {name: cells.ravel() for name, cells in STEPS.items()} | {"done": DONE.ravel()}
WANTED = np.stack(
    [plain_gae(STEPS["reward"][:, env], STEPS["value"][:, env], DONE[:, env]) for env in range(ENVS)], axis=1
)


def in_blocks(num_rows, monkeypatch):
    for module in (run, checkup):
        monkeypatch.setattr(module, "rows_per_block", lambda memory_bytes: num_rows)


@pytest.mark.few(3)
@pytest.mark.parametrize("num_rows", [13, 30, 1_000])
@pytest.mark.parametrize("cells", [ENV * 7 + 3, np.array(["MSFT", "AAPL", "GOOG"])[ENV]])
def test_values_that_take_turns_are_told_with_the_way_out(tmp_path, cells, num_rows, monkeypatch):
    in_blocks(num_rows, monkeypatch)
    path = write(tmp_path, COLUMNS | {"Anlage": cells}, ".parquet")
    (note,) = notes_of(path, "unused-id")
    assert "3 values that take turns row by row" in note.message
    assert "`--env-column Anlage`" in note.hint
    assert notes_of(path, "unused-id", columns={"episode": "none"}) == []
    gaecli.compute(path, env_column="Anlage")
    # float32 columns of float64 numbers
    np.testing.assert_allclose(pq.read_table(path)["advantage"], WANTED.ravel(), rtol=1e-5, atol=1e-6)


@pytest.mark.few(2)
@pytest.mark.parametrize("num_rows", [14, 1_000])
@pytest.mark.parametrize(("name", "cells"), [("global_step", TIME * 3), ("timestamp", TIME * 0.05)])
def test_a_time_that_stands_still_is_told(tmp_path, name, cells, num_rows, monkeypatch):
    in_blocks(num_rows, monkeypatch)
    (note,) = notes_of(write(tmp_path, COLUMNS | {name: cells}, ".parquet"), "unused-id")
    assert f"`{name}`, which no role uses, stands still for 3 rows each time" in note.message
    assert "row number modulo 3" in note.hint


def test_agents_that_leave_take_turns_all_the_same(tmp_path):
    kept = ~((ENV == 1) & (TIME % 10 > 6))
    columns = {name: cells[kept] for name, cells in (COLUMNS | {"Spieler": ENV}).items()}
    (note,) = notes_of(write(tmp_path, columns, ".parquet"), "unused-id")
    assert "--env-column Spieler" in note.hint


@pytest.mark.turns
@pytest.mark.parametrize("num_rows", [19, 1_000])
@pytest.mark.parametrize(
    "names", [["red", "green", "blue", "grey"], [3, 10, 17, 24]], ids=["texts", "numbers"]
)
def test_agents_that_die_one_after_the_other_take_turns_too(tmp_path, names, num_rows, monkeypatch):
    """Three battles, in each of which fewer and fewer are left."""
    in_blocks(num_rows, monkeypatch)
    left = [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 3], [0, 3], [0, 3], [3], [3]]
    agents = np.array([names[agent] for _ in range(3) for alive in left for agent in alive])
    gone = np.isin(np.arange(51) % 17, [6, 9, 13, 16])
    columns = {"reward": np.ones(51), "value": np.arange(51.0), "terminated": gone}
    (note,) = notes_of(write(tmp_path, columns | {"Spieler": agents}, ".parquet"), "unused-id")
    assert "--env-column Spieler" in note.hint
    shuffled = np.random.default_rng(1).permutation(agents)
    assert notes_of(write(tmp_path, columns | {"Spieler": shuffled}, ".parquet"), "unused-id") == []


@pytest.mark.few(2)
@pytest.mark.parametrize("num_rows", [13, 1_000])
@pytest.mark.parametrize(
    ("name", "cells"), [("global_step", np.arange(30)), ("timestamp", np.arange(30) * 0.1)]
)
def test_rows_in_reverse_order_are_told_and_sorted(tmp_path, name, cells, num_rows, monkeypatch):
    in_blocks(num_rows, monkeypatch)
    rewards, values = RNG.normal(size=(2, 30))
    done = np.isin(np.arange(30), [6, 15, 22])
    columns = {"reward": rewards[::-1], "value": values[::-1], "done": done[::-1], name: cells[::-1]}
    path = write(tmp_path, columns, ".parquet")
    (note,) = notes_of(path, "unused-id")
    assert "falls from row to row in all 30 rows" in note.message
    assert f"`--step-column {name}`" in note.hint
    gaecli.compute(path, step_column=name)
    wanted = plain_gae(rewards, values, done)[::-1]
    np.testing.assert_allclose(pq.read_table(path)["advantage"], wanted, rtol=1e-5, atol=1e-6)


DAYS = np.arange("2026-01-20", "2026-02-19", dtype="datetime64[D]")
SECONDS = DAYS[0] + np.arange(30) * np.timedelta64(700, "ms")
DATES = {
    "day": DAYS.astype(str),
    "logged": np.char.add(SECONDS.astype("datetime64[ms]").astype(str), "Z"),
    "when": np.char.replace(SECONDS.astype("datetime64[us]").astype(str), "T", " "),
    "created": SECONDS.astype("datetime64[us]"),
}


@pytest.mark.turns
@pytest.mark.parametrize("num_rows", [13, 1_000])
@pytest.mark.parametrize("name", DATES)
def test_dates_are_times_whatever_they_are_called(tmp_path, name, num_rows, monkeypatch):
    in_blocks(num_rows, monkeypatch)
    done = np.isin(np.arange(30), [6, 15, 22])
    columns = {"reward": np.arange(30.0), "value": np.arange(30.0) ** 0.5, "done": done}
    told = notes_of(write(tmp_path, columns | {name: DATES[name][::-1]}, ".parquet"), "unused-id")
    assert ["falls from row to row in all 30 rows" in note.message for note in told] == [True]
    assert ("`--step-column created`" in told[0].hint) == (name == "created")
    assert ("as a timestamp" in told[0].hint) == (name != "created")
    twice = np.concatenate((DATES[name][:15], DATES[name][:15]))  # an end is known, and none where it falls
    told = notes_of(
        write(tmp_path, columns | {name: twice, "done": done & (twice != twice[0])}, ".parquet"), "unused-id"
    )
    assert ["goes on over" in note.message or "begins anew" in note.message for note in told] == [True]
    ends = np.arange(30) == 14
    assert notes_of(write(tmp_path, columns | {name: twice, "done": ends}, ".parquet"), "unused-id") == []
    assert notes_of(write(tmp_path, columns | {name: DATES[name]}, ".parquet"), "unused-id") == []


@pytest.mark.parametrize(
    ("rows_each", "unit"),
    [(24, "h"), (20, "50ms"), (4, None), (20, None)],
    ids=["date", "second", "four", "twenty"],
)
def test_dates_of_rows_evenly_apart_are_rounded_and_others_stand_still(tmp_path, rows_each, unit):
    """A fraction of 0 is left out by Python."""
    count = np.arange(10 * rows_each)
    start = np.datetime64("2026-01-20T00:00:00", "ms")
    if unit == "h":
        when = (start + count * np.timedelta64(1, "h")).astype("datetime64[D]")
    elif unit:
        when = (start + count * np.timedelta64(50, "ms")).astype("datetime64[s]")
    else:
        when = start + count // rows_each * np.timedelta64(500, "ms")
    texts = [str(moment).removesuffix(".000") for moment in when]
    columns = {"reward": count * 1.0, "value": count**0.5, "done": count % 19 == 18, "when": texts}
    told = notes_of(write(tmp_path, columns, ".parquet"), "unused-id")
    assert [f"stands still for {rows_each} rows" in note.message for note in told] == [True] * (unit is None)


def test_times_of_which_fractions_of_0_are_left_out_are_not_rounded(tmp_path):
    count = np.arange(200)
    texts = [
        str(moment).removesuffix(".000") + "Z" for moment in np.datetime64("2026-01-20", "ms") + 50 * count
    ]
    columns = {"reward": count * 1.0, "value": count**0.5, "done": count == 60, "when": texts}
    assert notes_of(write(tmp_path, columns, ".parquet"), "unused-id") == []
    (note,) = notes_of(write(tmp_path, columns | {"when": texts[::-1]}, ".parquet"), "unused-id")
    assert "falls from row to row" in note.message


@pytest.mark.parametrize("text", ["2026-13-{:02}", "run 2026-01-{:02}", "{:02}.01.2026"])
def test_texts_that_are_no_dates_year_first_are_not(tmp_path, text):
    cells = np.array([text.format(number) for number in range(30)])[::-1]
    columns = {"reward": np.ones(30), "value": np.ones(30), "done": np.arange(30) == 9, "label": cells}
    assert notes_of(write(tmp_path, columns, ".parquet"), "unused-id") == []


ROWS = TIMES * ENVS
QUIET = {
    "hour": np.arange(ROWS) % 24,
    "time_to_expiry": np.arange(ROWS)[::-1],
    "weekday": np.array(["Mon", "Tue", "Wed", "Thu", "Fri"])[np.arange(ROWS) % 5],
    "update": np.arange(ROWS) // 3,
    "rollout_step": np.arange(ROWS) // 5,
    "timestamp": np.arange(ROWS) * 0.05,
    "clock": np.sort(RNG.integers(0, 20, ROWS)),
    "Fahrt": RNG.integers(0, 3, ROWS),
    "lever": np.array(["left", "right"])[RNG.integers(0, 2, ROWS)],
    "mood": np.array(["calm", "tense"])[np.arange(ROWS) // 4 % 2],
}


@pytest.mark.few(5)
@pytest.mark.parametrize("name", QUIET)
def test_other_columns_are_quiet(tmp_path, name):
    assert notes_of(write(tmp_path, COLUMNS | {name: QUIET[name]}, ".parquet"), "unused-id") == []


#: skrl 2.1, `RandomMemory.save(format="csv")`: every tensor is as many columns as it has numbers, whatever it is.
SKRL = {"rewards.0": COLUMNS["reward"], "values.0": COLUMNS["value"], "terminated.0": COLUMNS["done"]}
SKRL |= {f"states.{number}": np.arange(TIMES * ENVS) % 7 for number in range(2)}
SKRL_FLAGS = {"reward_column": "rewards.0", "value_column": "values.0", "terminated_column": "terminated.0"}


def skrl_file(folder, columns, suffix):
    path = folder / f"memory{suffix}"
    write_table = {".csv": pyarrow.csv.write_csv, ".parquet": pq.write_table}[suffix]
    write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_of_a_memory_of_skrl_are_asked_how_many_environments_they_are_of(tmp_path, suffix):
    path = skrl_file(tmp_path, SKRL, suffix)
    with pytest.raises(gaecli.UsageError, match="nothing tells how many there are") as raised:
        gaecli.compute(path, **SKRL_FLAGS)
    assert "`--env-column none` if there is one" in raised.value.hint
    one = gaecli.compute(path, tmp_path / "one.parquet", **SKRL_FLAGS, env_column="none", gamma=0.9, lam=0.8)
    assert one.files[0].status == "written"
    again = skrl_file(tmp_path, SKRL | {"env_id": ENV}, suffix)
    gaecli.compute(again, tmp_path / "each.parquet", **SKRL_FLAGS)
    # float32 columns of float64 numbers
    found = pq.read_table(tmp_path / "each.parquet")["advantage"]
    np.testing.assert_allclose(found, WANTED.ravel(), rtol=1e-5, atol=1e-6)
