"""Ends that are one value of a column: a reason, a status, a type of step, 255 or a text in the place of a flag."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from traps.passed_over import notes_of, plain_gae, write

import gaecli
from gaecli.commands import check as checkup
from gaecli.commands import compute as run
from gaecli.errors import DataError, UsageError

LENGTHS = [5, 7, 4, 6, 5, 3]
EPISODE = np.repeat(np.arange(6), LENGTHS)
STEP = np.concatenate([np.arange(length) for length in LENGTHS])
LAST = np.repeat(LENGTHS, LENGTHS) - 1 == STEP
TERMINATED = LAST & (EPISODE % 2 == 0)
TRUNCATED = LAST & ~TERMINATED
RNG = np.random.default_rng(0)
STEPS = {"reward": RNG.normal(size=30), "value": RNG.normal(size=30)}
KIND = np.where(LAST, 2, np.where(STEP == 0, 0, 1))
REASON = np.where(TERMINATED, "terminated", np.where(TRUNCATED, "time limit", ""))

#: Column -> (its cells, the value that says that a limit cut the episode).
CUTS = {
    "end_reason": (REASON, "time limit"),
    "info": (np.where(TRUNCATED, "timeout", "ok"), "timeout"),
    "timed_out": (np.where(TRUNCATED, 255, 0).astype(np.uint8), "255"),
    "limit_reached": (TRUNCATED.astype(str), "True"),
    "reset": (np.where(TRUNCATED, -1, 0), "-1"),
    "end_code": (np.where(TRUNCATED, 2.0, 1.0).astype(np.int16), "2"),
}
QUIET = {
    "weather": np.array(["sun", "rain"])[RNG.integers(0, 2, 30)],
    "gear": RNG.integers(0, 6, 30),
    "phase_no": np.arange(30) // 8,
    "collision_kind": np.where(np.arange(30) % 13 == 4, "wall", ""),
}


@pytest.mark.turns
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".npz"])
@pytest.mark.parametrize("name", CUTS)
class TestOneValueIsACut:
    @pytest.mark.few(3)
    def test_it_is_told_beside_terminations_alone_and_taken_when_it_is_named(self, tmp_path, name, suffix):
        cells, value = CUTS[name]
        path = write(tmp_path, STEPS | {"terminated": TERMINATED, name: cells}, suffix)
        (note,) = notes_of(path, "unused-flag")
        assert f"`{name}`, which no role uses, is" in note.message
        assert f"`{value}` at 3 steps" in note.message
        assert f"{name}={value}" in note.hint
        assert notes_of(path, "unused-flag", columns={"done": "none"}) == []
        named = {"terminated": "terminated", "truncated": f"{name}={value}"}
        assert notes_of(path, "unused-flag", columns=named) == []
        summary = gaecli.compute(path, truncated_column=f"{name}={value}", output=tmp_path / f"new{suffix}")
        assert (summary.totals.terminated, summary.totals.truncated) == (3, 3)

    def test_it_is_silent_where_both_kinds_are_known(self, tmp_path, name, suffix):
        columns = STEPS | {"terminated": TERMINATED, "truncated": TRUNCATED, name: CUTS[name][0]}
        assert notes_of(write(tmp_path, columns, suffix), "unused-flag") == []


@pytest.mark.parametrize("name", QUIET)
def test_other_columns_of_a_few_values_say_nothing(tmp_path, name):
    path = write(tmp_path, STEPS | {"terminated": TERMINATED, name: QUIET[name]}, ".parquet")
    assert notes_of(path, "unused-flag") == []


@pytest.mark.parametrize("words", [None, ["FIRST", "MID", "LAST"]])
@pytest.mark.parametrize("flags", [{"terminated": TERMINATED}, {"terminated": np.zeros(30, bool)}])
def test_types_of_steps_are_told(tmp_path, words, flags):
    """dm_env: 0, 1 and 2 are FIRST, MID and LAST."""
    cells = KIND if words is None else np.array(words)[KIND]
    (note,) = notes_of(write(tmp_path, STEPS | flags | {"step_type": cells}, ".parquet"), "unused-flag")
    assert f"step_type={'2' if words is None else 'LAST'}" in note.hint


@pytest.mark.parametrize("words", [None, ["FIRST", "MID", "LAST"]])
def test_types_of_steps_alone_are_asked_about(tmp_path, words):
    cells = KIND if words is None else np.array(words)[KIND]
    path = write(tmp_path, STEPS | {"step_type": cells}, ".parquet")
    value = "2" if words is None else "LAST"
    with pytest.raises(UsageError, match="tells where a trajectory ends") as refused:
        gaecli.compute(path)
    assert f"--done-column step_type={value}" in refused.value.hint
    gaecli.compute(path, done_column=f"step_type={value}")
    wanted = plain_gae(STEPS["reward"], STEPS["value"], LAST)
    # float32 columns of float64 numbers
    np.testing.assert_allclose(pq.read_table(path)["advantage"], wanted, rtol=1e-5, atol=1e-6)


def cells_of_structs(name):
    return pa.array([{name: bool(last), "why": "x"} for last in LAST])


#: What is called as an end and cannot be read as one -> (its cells, what the refusal names to pass instead).
ASKED = {
    "last": (pa.array(np.where(LAST, "over", "running")), "--done-column last=over"),
    "finished": (pa.array(["goal" if last else None for last in LAST]), "--done-column finished=goal"),
    "game_over": (pa.array(np.where(LAST, "1", "0")), "--done-column game_over=1"),
    "dones": (pa.array(["goal" if last else None for last in LAST]), "--done-column dones=goal"),
    "done": (cells_of_structs("value"), "--done-column done.value"),
    "is_last": (cells_of_structs("is_last"), "--done-column is_last.is_last"),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_is_named_instead_is_right(tmp_path, name):
    cells, named = ASKED[name]
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table(STEPS | {name: cells}), path)
    with pytest.raises(gaecli.GaeError) as refused:
        gaecli.compute(path)
    assert f"`{named}`" in refused.value.hint
    gaecli.compute(path, done_column=named.removeprefix("--done-column "))
    wanted = plain_gae(STEPS["reward"], STEPS["value"], LAST)
    # float32 columns of float64 numbers
    np.testing.assert_allclose(pq.read_table(path)["advantage"], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("over", "limit"), [("term", "trunc"), ("game_over", "hit_time_limit"), ("died", "hit_horizon_end")]
)
def test_two_flags_are_named_together(tmp_path, over, limit):
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table(STEPS | {limit: TRUNCATED, over: TERMINATED}), path)
    with pytest.raises(UsageError) as refused:
        gaecli.compute(path)
    assert f"`--terminated-column {over} --truncated-column {limit}` if they say so" in refused.value.hint
    counts = gaecli.compute(path, terminated_column=over, truncated_column=limit).totals
    assert (counts.terminated, counts.truncated) == (3, 3)


def test_the_fields_of_a_struct_that_may_be_an_id_are_named(tmp_path):
    ids = pa.array([{"run": 7, "number": int(number), "seen": [1]} for number in EPISODE])
    pq.write_table(pa.table(STEPS | {"trajectory_id": ids}), tmp_path / "r.parquet")
    with pytest.raises(DataError) as refused:
        gaecli.compute(tmp_path / "r.parquet", episode_column="trajectory_id")
    assert "`--episode-column`: `trajectory_id.run`, `trajectory_id.number`" in refused.value.hint
    assert "seen" not in refused.value.hint


@pytest.mark.parametrize("kind", [np.uint64, np.int8])
def test_codes_as_large_as_their_type_has_them_are_seen(tmp_path, kind):
    """From the lowest: an int64 holds no code of 2^63, and an int8 no distance from -128 to 127."""
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    codes = np.where(TRUNCATED, high, high - 1 if kind is np.uint64 else low).astype(kind)
    path = write(tmp_path, STEPS | {"terminated": TERMINATED, "end_code": codes}, ".parquet")
    (note,) = notes_of(path, "unused-flag")
    assert f"end_code={high}" in note.hint


@pytest.mark.few(4)
@pytest.mark.parametrize(
    "cells",
    {
        "text": pa.array(np.where(LAST, "yes", "no")),
        "dictionary": pa.array(np.where(LAST, "yes", "no")).dictionary_encode(),
        "null": pa.array(["yes" if last else None for last in LAST]),
        "lists of one": pa.array([["yes" if last else "no"] for last in LAST]),
    }.values(),
    ids=str,
)
@pytest.mark.parametrize("num_rows", [4, 100])
def test_a_value_is_found_in_any_type(tmp_path, cells, num_rows, monkeypatch):
    for module in (run, checkup):
        monkeypatch.setattr(module, "rows_per_block", lambda memory_bytes: num_rows)
    pq.write_table(pa.table(STEPS | {"done": cells}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="a flag is true or false") as refused:
        gaecli.compute(tmp_path / "x.parquet")
    assert "--done-column done=yes" in refused.value.hint
    gaecli.compute(tmp_path / "x.parquet", done_column="done=yes")
    wanted = plain_gae(STEPS["reward"], STEPS["value"], LAST)
    np.testing.assert_allclose(
        pq.read_table(tmp_path / "x.parquet")["advantage"], wanted, rtol=1e-5, atol=1e-6
    )


def test_numbers_other_than_flags_name_the_way_out(tmp_path):
    path = write(tmp_path, STEPS | {"done": np.where(LAST, 255, 0)}, ".npz")
    with pytest.raises(DataError, match="is 255, which is not a flag") as refused:
        gaecli.compute(path)
    assert "--done-column done=255" in refused.value.hint
    gaecli.compute(path, done_column="done=255")
    wanted = plain_gae(STEPS["reward"], STEPS["value"], LAST)
    np.testing.assert_allclose(np.load(path)["advantage"], wanted, rtol=1e-5, atol=1e-6)


def test_what_is_missing_may_be_no_end(tmp_path):
    cells = pa.array([True if last else None for last in LAST])
    pq.write_table(pa.table(STEPS | {"done": cells}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="is null") as refused:
        gaecli.compute(tmp_path / "x.parquet")
    assert "--done-column done=True" in refused.value.hint
    gaecli.compute(tmp_path / "x.parquet", done_column="done=True")
    wanted = plain_gae(STEPS["reward"], STEPS["value"], LAST)
    np.testing.assert_allclose(
        pq.read_table(tmp_path / "x.parquet")["advantage"], wanted, rtol=1e-5, atol=1e-6
    )


def test_lanes_of_arrays_end_at_a_value(tmp_path):
    ends = np.zeros((6, 2), bool)
    ends[2, 0] = ends[3, 1] = True
    columns = {
        "rewards": RNG.normal(size=(6, 2)),
        "values": RNG.normal(size=(6, 2)),
        "last_values": np.zeros(2),
    }
    path = write(tmp_path, columns | {"terminals": ends * 255}, ".npz")
    gaecli.compute(path, terminated_column="terminals=255")
    for lane in range(2):
        wanted = plain_gae(columns["rewards"][:, lane], columns["values"][:, lane], ends[:, lane])
        np.testing.assert_allclose(np.load(path)["advantage"][:, lane], wanted, rtol=1e-5, atol=1e-6)


def test_a_value_that_is_nowhere_is_told(tmp_path):
    path = write(tmp_path, STEPS | {"terminated": TERMINATED, "status": REASON}, ".parquet")
    (note,) = notes_of(path, "flag-never-set", columns={"truncated": "status=timelimit"})
    assert "no step that ends has the value of `status=timelimit`" in note.message


def test_a_column_of_that_very_name_comes_first(tmp_path):
    path = write(tmp_path, STEPS | {"status": REASON, "status=x": LAST}, ".parquet")
    gaecli.compute(path, done_column="status=x")
    wanted = plain_gae(STEPS["reward"], STEPS["value"], LAST)
    np.testing.assert_allclose(pq.read_table(path)["advantage"], wanted, rtol=1e-5, atol=1e-6)


def test_beside_a_discount_flags_of_all_beginnings_are_told(tmp_path):
    """A discount of 0 stands for terminal states alone: where a limit cuts, it says nothing."""
    columns = STEPS | {"discount": 1.0 - TERMINATED, "fresh": STEP == 0}
    (note,) = notes_of(write(tmp_path, columns, ".parquet"), "unused-flag")
    assert "`fresh`" in note.message


class TestAColumnOfWhichAValueIsAFlag:
    """Ends of two kinds in one column, of which the user has named one."""

    ENDS = np.isin(np.arange(12), [3, 6, 11])
    REWARDS, VALUES = (np.random.default_rng(seed).normal(size=12) for seed in (5, 6))
    STATUS = np.where(ENDS, np.where(np.arange(12) == 6, "crashed", "goal"), "running")

    def path(self, tmp_path):
        columns = {"reward": self.REWARDS, "value": self.VALUES, "status": self.STATUS}
        return write(tmp_path, columns, ".parquet")

    def test_the_other_value_is_told_with_the_flag_that_takes_both(self, tmp_path):
        path = self.path(tmp_path)
        (note,) = notes_of(path, "unused-flag", columns={"done": "status=crashed"})
        assert "`status`, another value of which is a flag, is `goal` at 2 steps of 12" in note.message
        assert "pass `--done-column 'status!=running'`" in note.hint
        assert notes_of(path, "unused-flag", columns={"done": "status!=running"}) == []
        gaecli.compute(path, done_column="status!=running")
        wanted = plain_gae(self.REWARDS, self.VALUES, self.ENDS)
        # float32 columns of float64 numbers
        np.testing.assert_allclose(pq.read_table(path)["advantage"], wanted, rtol=1e-5, atol=1e-6)

    def test_the_first_step_and_what_stands_in_a_row_are_no_other_ends(self, tmp_path):
        starts = np.append(True, self.ENDS[:-1])
        step_type = np.where(starts, "FIRST", np.where(self.ENDS, "LAST", "MID"))
        columns = {"reward": self.REWARDS, "value": self.VALUES, "outcome_step": step_type}
        path = write(tmp_path, columns, ".parquet")
        assert notes_of(path, "unused-flag", columns={"done": "outcome_step=LAST"}) == []


def test_what_is_said_of_whole_episodes_is_not_asked_about_as_an_end(tmp_path):
    episode = np.repeat([6400, 6401, 6402], [4, 3, 5])
    columns = {"reward": np.ones(12), "value": np.zeros(12), "outcome": episode % 2, "seed": episode}
    with pytest.raises(UsageError, match="nothing in") as caught:
        gaecli.compute(write(tmp_path, columns, ".parquet"))
    assert "pass `--episode-column seed`" in caught.value.hint
    assert "outcome" not in caught.value.hint


def test_a_counter_is_told_once(tmp_path):
    lengths = [4, 3, 5, 4]
    terminated = np.isin(np.arange(16), [3, 11])
    columns = {"reward": np.ones(16), "value": np.zeros(16), "done": terminated}
    counter = np.concatenate([np.arange(length) for length in lengths])
    path = write(tmp_path, columns | {"i": counter}, ".parquet")
    assert notes_of(path, "unused-flag") == []
    (note,) = notes_of(path, "unused-id")
    assert "--done-column i=0 --done-at start" in note.hint


def test_a_flag_of_beginnings_beside_a_discount_is_told_as_one(tmp_path):
    """Adders of dm-acme write `start_of_episode`, and a discount that is 0 at terminal ends alone."""
    lengths = [9, 12, 7]
    ends = np.isin(np.arange(28), np.cumsum(lengths) - 1)
    rewards, values = (np.random.default_rng(seed).normal(size=28) for seed in (7, 8))
    columns = {"reward": rewards, "value": values, "discount": 1.0 - np.isin(np.arange(28), [8, 27])}
    path = write(tmp_path, columns | {"start_of_episode": np.append(True, ends[:-1])}, ".parquet")
    (note,) = notes_of(path, "unused-flag")
    assert "pass `--done-column start_of_episode --done-at start`" in note.hint
    gaecli.compute(path, done_column="start_of_episode", done_at="start")
    np.testing.assert_allclose(
        pq.read_table(path)["advantage"], plain_gae(rewards, values, ends), rtol=1e-5, atol=1e-6
    )


def test_the_numbers_of_two_steps_are_no_flag(tmp_path):
    columns = {"reward": np.ones(2), "value": np.zeros(2), "global_step": np.arange(2)}
    summary = gaecli.compute(write(tmp_path, columns, ".parquet"), layout="long", dry_run=True)
    assert [note.code for note in summary.warnings] == ["bootstrap-zero"]
    with pytest.raises(UsageError, match="`cut_off` may"):
        gaecli.compute(write(tmp_path, columns | {"cut_off": np.arange(2)}, ".parquet"), layout="long")


def test_a_state_that_says_end_within_lists_is_told_and_cuts_them(tmp_path):
    lengths, num_rows = [4, 5, 3], 4
    ends = np.isin(np.arange(12), np.cumsum(lengths) - 1)
    rewards, values = (np.random.default_rng(seed).normal(size=(num_rows, 12)) for seed in (9, 10))
    columns = {"rewards": rewards, "values": values, "task_state": [np.where(ends, "end", "run")] * num_rows}
    path = write(
        tmp_path, {name: [list(row) for row in cells] for name, cells in columns.items()}, ".parquet"
    )
    (note,) = notes_of(path, "unused-flag")
    assert "`task_state`, which no role uses, is `end` at 12 steps of 48" in note.message
    gaecli.compute(path, done_column="task_state=end", layout="long")
    wanted = [plain_gae(*row, ends) for row in zip(rewards, values, strict=True)]
    np.testing.assert_allclose(pq.read_table(path)["advantage"].to_pylist(), wanted, rtol=1e-5, atol=1e-6)


def test_where_nothing_else_ends_a_table_such_a_state_is_named(tmp_path):
    state = np.where(np.isin(np.arange(12), [3, 8, 11]), "end", "run")
    columns = {"reward": np.ones(12), "value": np.zeros(12)}
    with pytest.raises(UsageError, match="nothing in") as caught:
        gaecli.compute(write(tmp_path, columns | {"task_state": state}, ".parquet"))
    assert "pass `--done-column task_state=end`" in caught.value.hint
    weather = np.where(state == "end", "hot", "cold")
    with pytest.raises(UsageError, match="nothing in") as caught:
        gaecli.compute(write(tmp_path, columns | {"weather_state": weather}, ".parquet"))
    assert "weather_state" not in caught.value.hint
