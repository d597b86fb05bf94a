"""A column of 0 and 1 that no role uses is never passed over where it may say where trajectories end."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from covers import turns
from pipeline.flags_without_a_role import (
    LAYOUTS,
    NUM_ENVS,
    NUM_TIMES,
    Columns,
    advantages,
    as_dense,
    as_rows,
    as_table,
    codes,
    compute,
    ends_of,
    error_of,
    save,
    written,
)

import gaecli
from gaecli.commands import compute as run
from gaecli.errors import UsageError

#: Names that people give to end flags and that no table of ours knows.
NAMES = """
    is_done d dw dead end last reset term finished episode_end game_over done_mask dones_float absorbing next_done
    isDone died eos traj_end boundary flag x7 new_episode time_limit_reached alive
"""


@pytest.fixture
def steps() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    shape = (NUM_TIMES, NUM_ENVS)
    steps = {"reward": rng.normal(size=shape), "value": rng.normal(size=shape), "ends": ends_of(rng)}
    lanes = [
        advantages(*(steps[name][:, env] for name in ("reward", "value", "ends"))) for env in range(NUM_ENVS)
    ]
    return {**steps, "wanted": np.stack(lanes, axis=1)}


@pytest.mark.few(9)
@pytest.mark.parametrize(("layout", "name"), turns(LAYOUTS, NAMES.split()))
def test_a_flag_of_any_name_is_asked_about_where_nothing_else_ends_a_trajectory(
    tmp_path, steps, layout, name
):
    build, suffix, flag = LAYOUTS[layout]
    path = save(tmp_path / f"run{suffix}", build(steps, name, steps["ends"]))
    if (
        name == "next_done" and suffix == ".npz"
    ):  # the end flags of arrays, by this name, of every step or the last
        assert codes(compute(path, layout=flag)) == set()
        wanted = steps["wanted"] if layout == "dense" else steps["wanted"].T.ravel()
        np.testing.assert_allclose(written(tmp_path / f"out{suffix}"), wanted, atol=1e-5)
        return
    exit_code, error, hint = error_of(path, layout=flag)
    assert exit_code == 2
    assert f"`{name}`" in error
    assert f"`--done-column {name}`" in hint
    assert "`--done-column none`" in hint
    assert not (tmp_path / f"out{suffix}").exists()


@pytest.mark.few(2)
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
@pytest.mark.parametrize("layout", ["dense", "table", "table-jsonl"])
def test_flags_of_every_type_are_asked_about_and_right_once_named(tmp_path, steps, layout, dtype):
    build, suffix, flag = LAYOUTS[layout]
    path = save(tmp_path / f"run{suffix}", build(steps, "gone", steps["ends"].astype(dtype)))
    assert error_of(path, layout=flag)[0] == 2
    assert codes(compute(path, layout=flag, columns={"done": "gone"})) == set()
    wanted = steps["wanted"] if layout == "dense" else steps["wanted"].T.ravel()
    np.testing.assert_allclose(written(tmp_path / f"out{suffix}"), wanted, atol=1e-5)


@pytest.mark.parametrize("role", ["done", "terminated", "truncated"])
def test_none_for_a_role_of_ends_answers_the_question(tmp_path, steps, role):
    path = save(tmp_path / "run.parquet", as_table(steps, "gone", steps["ends"]))
    assert codes(compute(path, columns={role: "none"})) == set()
    open_ended = [
        advantages(*(steps[name][:, env] for name in ("reward", "value")), np.zeros(NUM_TIMES))
        for env in range(NUM_ENVS)
    ]
    np.testing.assert_allclose(written(tmp_path / "out.parquet"), np.concatenate(open_ended), atol=1e-5)


@pytest.mark.parametrize("known", ["truncated", "done", "terminals"])
def test_a_known_flag_that_is_never_set_tells_nothing(tmp_path, steps, known):
    columns = {**as_table(steps, "gone", steps["ends"]), known: np.zeros(NUM_TIMES * NUM_ENVS, bool)}
    exit_code, error, _ = error_of(save(tmp_path / "run.parquet", columns))
    assert exit_code == 2
    assert f"`{known}`" in error
    assert "never set" in error


def test_a_flag_that_is_set_in_one_cell_and_null_elsewhere_is_asked_about(tmp_path, steps):
    columns = as_table(steps, "gone", steps["ends"])
    columns["gone"] = [True if flag else None for flag in columns["gone"]]
    assert error_of(save(tmp_path / "run.parquet", columns))[0] == 2


@pytest.mark.parametrize("name", ["info.is_done", "steps.info.crashed"])
def test_a_flag_in_a_struct_is_asked_about_by_its_name(tmp_path, steps, name):
    columns = as_table(steps, "gone", steps["ends"])
    cells = [{"speed": True, name.rpartition(".")[2]: bool(flag)} for flag in columns.pop("gone")]
    head, *inner = name.split(".")[:-1]
    columns[head] = [{inner[0]: cell} for cell in cells] if inner else cells
    exit_code, error, hint = error_of(save(tmp_path / "run.parquet", columns))
    assert exit_code == 2
    assert "speed" not in error
    assert f"`--done-column {name}`" in hint
    assert codes(compute(tmp_path / "run.parquet", columns={"done": name})) == set()
    np.testing.assert_allclose(written(tmp_path / "out.parquet"), steps["wanted"].T.ravel(), atol=1e-5)


def test_lists_of_one_flag_are_asked_about(tmp_path, steps):
    columns = {
        name: [[cell] for cell in np.asarray(cells).tolist()]
        for name, cells in as_table(steps, "gone", steps["ends"]).items()
    }
    assert error_of(save(tmp_path / "run.parquet", columns))[0] == 2


def test_a_flag_of_every_state_is_asked_about(tmp_path, steps):
    longer = np.concatenate((np.zeros((1, NUM_ENVS), bool), steps["ends"]))
    path = save(tmp_path / "run.npz", {**as_dense(steps, "gone", longer), "last_value": np.zeros(NUM_ENVS)})
    assert error_of(path)[0] == 2


@pytest.mark.turns
@pytest.mark.parametrize(
    "cells",
    [np.zeros, np.ones, lambda count: np.arange(count) % 3, lambda count: np.linspace(0, 1, count)],
    ids=["never", "always", "three", "share"],
)
@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".jsonl"])
def test_what_is_constant_or_holds_other_numbers_is_no_flag(tmp_path, steps, suffix, cells):
    columns = as_table(steps, "gone", steps["ends"])
    columns["gone"] = cells(NUM_TIMES * NUM_ENVS)
    assert codes(compute(save(tmp_path / f"run{suffix}", columns))) == set()


@pytest.mark.parametrize(
    "name", ["action", "next.success", "is_intervention", "gripper_open", "observation.contact", "a"]
)
def test_what_a_name_says_is_something_else_is_not_asked_about(tmp_path, steps, name):
    path = save(tmp_path / "run.parquet", as_table(steps, name, steps["ends"]))
    assert codes(compute(path)) == set()


class TestIds:
    """Ids tell where trajectories end; a flag can only say how."""

    @pytest.fixture
    def table(self, steps) -> Columns:
        columns = as_table(steps, "gone", steps["ends"])
        begins = np.concatenate(([True], columns.pop("gone")[:-1] | (np.diff(columns["env_id"]) != 0)))
        return {**columns, "episode_id": np.cumsum(begins)}

    @staticmethod
    def last(table: Columns) -> np.ndarray:
        ids = table["episode_id"]
        return np.append(ids[1:] != ids[:-1], True)

    @pytest.mark.parametrize("rows", [None, 5], ids=["one-block", "blocks"])
    def test_what_is_set_inside_of_episodes_is_left_in_peace(self, tmp_path, table, monkeypatch, rows):
        if rows is not None:
            monkeypatch.setattr(run, "rows_per_block", lambda memory_bytes: rows)
        table["contact"] = np.arange(len(table["reward"])) % 2 == 0
        assert codes(compute(save(tmp_path / "run.parquet", table))) == set()

    def test_where_a_block_begins_or_ends_is_no_border_of_an_episode(self, tmp_path, table, monkeypatch):
        monkeypatch.setattr(run, "rows_per_block", lambda memory_bytes: 5)
        rows, last = np.arange(len(table["reward"])), self.last(table)
        first = np.concatenate(([True], last[:-1]))
        table["begins"] = (rows % 5 == 0) & ~first & ~last
        table["ends"] = (rows % 5 == 4) & ~first & ~last
        assert table["begins"].any()
        assert table["ends"].any()
        path = tmp_path / "run.parquet"
        pq.write_table(pa.table(table), path, row_group_size=5)
        assert codes(compute(path)) == set()

    @pytest.mark.turns
    @pytest.mark.parametrize("rows", [None, 5, 7], ids=["one-block", "blocks-of-5", "blocks-of-7"])
    @pytest.mark.parametrize("at", ["last", "first"])
    def test_what_is_set_on_last_or_first_rows_alone_is_asked_about(
        self, tmp_path, table, monkeypatch, rows, at
    ):
        if rows is not None:
            monkeypatch.setattr(run, "rows_per_block", lambda memory_bytes: rows)
        last = self.last(table)
        border = last if at == "last" else np.concatenate(([True], last[:-1]))
        table["gone"] = border & (table["episode_id"] % 3 > 0)
        exit_code, error, _ = error_of(save(tmp_path / "run.parquet", table))
        assert exit_code == 2
        assert "says how a trajectory ends" in error

    def test_a_flag_of_what_goes_on_is_asked_about(self, tmp_path, table):
        table["going"] = ~self.last(table)
        assert error_of(save(tmp_path / "run.parquet", table))[0] == 2


class TestBesideKnownEnds:
    """A second flag is told where it stands beside the ends, or is called as ends are."""

    @pytest.fixture
    def table(self, steps) -> Columns:
        return {**as_table(steps, "terminated", steps["ends"])}

    def test_a_name_that_speaks_of_ends_is_told(self, tmp_path, table):
        table["dead"] = np.roll(table["terminated"], 5)
        summary = compute(save(tmp_path / "run.parquet", table))
        assert codes(summary) == {"unused-flag"}
        (note,) = [note for note in summary.warnings if note.code == "unused-flag"]
        assert "`--truncated-column dead`" in str(note.hint)

    @pytest.mark.few("blocks")
    @pytest.mark.parametrize("rows", [None, 5], ids=["one-block", "blocks"])
    def test_what_stands_on_ends_is_told_whatever_its_name(self, tmp_path, table, monkeypatch, rows):
        if rows is not None:
            monkeypatch.setattr(run, "rows_per_block", lambda memory_bytes: rows)
        table["done"] = table.pop("terminated")
        table["x7"] = table["done"] & (np.cumsum(table["done"]) % 2 == 0)
        assert codes(compute(save(tmp_path / "run.parquet", table))) == {"unused-flag"}

    def test_what_all_ends_have_and_others_too_is_told(self, tmp_path, table):
        table["x7"] = table["terminated"].copy()
        table["x7"][[0, NUM_TIMES - 1]] = True
        assert codes(compute(save(tmp_path / "run.parquet", table))) == {"unused-flag"}

    @pytest.mark.parametrize("shift", [0, 1], ids=["same-row", "one-later"])
    def test_what_repeats_the_known_ends_says_nothing_new(self, tmp_path, table, shift):
        table["x7"] = np.roll(table["terminated"], shift)
        assert codes(compute(save(tmp_path / "run.parquet", table))) == ({"unused-flag"} if shift else set())

    def test_terminations_alone_leave_open_where_a_limit_cuts(self, tmp_path, table):
        ends = table["terminated"]
        table["terminated"] = ends & (np.cumsum(ends) % 2 == 0)
        table["x7"] = ends & ~table["terminated"]
        assert codes(compute(save(tmp_path / "run.parquet", table))) == {"unused-flag"}

    def test_the_same_ends_called_a_time_limit_say_something_new(self, tmp_path, table):
        table["done"] = table.pop("terminated")
        table["hit_limit"] = table["done"].copy()
        assert codes(compute(save(tmp_path / "run.parquet", table))) == {"unused-flag"}

    def test_long_stretches_and_coin_tosses_are_no_flags_of_ends(self, tmp_path, table):
        count = len(table["reward"])
        table["open"] = np.arange(count) // 9 % 2 == 0
        # Set on every end, and before it too.
        table["near"] = (
            table["terminated"] | np.roll(table["terminated"], -1) | np.roll(table["terminated"], -2)
        )
        table["coin"] = np.random.default_rng(0).random(count) < 0.5
        assert codes(compute(save(tmp_path / "run.parquet", table))) == set()

    def test_truncations_alone_leave_the_other_ends_open(self, tmp_path, table):
        ends = table.pop("terminated")
        table["truncated"] = ends & (np.cumsum(ends) % 2 == 0)
        table["x7"] = ends & ~table["truncated"]
        assert error_of(save(tmp_path / "run.parquet", table))[0] == 2

    def test_a_column_that_the_user_named_settles_the_question(self, tmp_path, table):
        table["gone"] = table["terminated"]
        table["terminated"] = np.zeros_like(table["gone"])
        assert codes(compute(save(tmp_path / "run.parquet", table), columns={"done": "terminated"})) == {
            "unused-flag"
        }


class TestNested:
    def test_a_list_that_is_set_inside_may_be_a_mask(self, tmp_path, steps):
        columns = as_rows(steps, "gone", steps["ends"])
        columns["gone"] = [[step % 3 > 0 for step in range(NUM_TIMES)]] * NUM_ENVS
        exit_code, _, hint = error_of(save(tmp_path / "run.parquet", columns))
        assert exit_code == 2
        assert "`--mask-column gone`" in hint

    @pytest.mark.parametrize("mask", ["named", "none"])
    def test_beside_a_known_mask_it_is_left_in_peace(self, tmp_path, steps, mask):
        columns = as_rows(steps, "gone", steps["ends"])
        columns["gone"] = [[step % 3 > 0 for step in range(NUM_TIMES)]] * NUM_ENVS
        if mask == "named":
            columns["response_mask"] = [[1] * NUM_TIMES] * NUM_ENVS
        settings = {"columns": {"mask": "none"}} if mask == "none" else {}
        assert codes(compute(save(tmp_path / "run.parquet", columns), **settings)) == set()

    def test_a_flag_for_the_whole_row_is_asked_about_by_its_name(self, tmp_path, steps):
        columns = as_rows(steps, "gone", steps["ends"])
        del columns["gone"]
        path = save(
            tmp_path / "run.parquet",
            {**columns, "finished": [True, False, True], "good": [True, False, True]},
        )
        exit_code, error, _ = error_of(path)
        assert exit_code == 2
        assert "`finished`" in error
        assert "`good`" not in error


class TestNeverSet:
    @pytest.mark.parametrize(
        "names", [["terminals"], ["terminated", "truncated"], ["is_first", "is_last", "is_terminal"]]
    )
    def test_flags_that_are_never_set_in_thousands_of_steps_are_told(self, tmp_path, names):
        rng = np.random.default_rng(0)
        columns = {name: rng.normal(size=2_000) for name in ("reward", "value")}
        path = save(tmp_path / "run.npz", {**columns, **{name: np.zeros(2_000, bool) for name in names}})
        summary = compute(path)
        assert codes(summary) == {"flag-never-set"}
        assert "never set in 2,000 steps" in summary.warnings[0].message

    def test_many_environments_for_a_short_while_need_no_end(self, tmp_path):
        rng = np.random.default_rng(0)
        columns = {name: rng.normal(size=(100, 32)) for name in ("rewards", "values")}
        path = save(tmp_path / "run.npz", {**columns, "done": np.zeros((100, 32), bool)})
        assert codes(compute(path, layout="time-major")) == set()


def test_a_single_stream_is_asked_about_by_name_even_where_the_user_says_that_it_is_one(tmp_path, steps):
    columns = {name: cells[:, 0] for name, cells in (("reward", steps["reward"]), ("value", steps["value"]))}
    path = save(
        tmp_path / "run.parquet", {**columns, "contact": steps["ends"][:, 1], "d": steps["ends"][:, 0]}
    )
    exit_code, _, hint = error_of(path)
    assert exit_code == 2
    assert "`--done-column d`" in hint
    exit_code, error, _ = error_of(path, layout="long")
    assert exit_code == 2
    assert "`contact`, `d`" in error


def test_every_way_in_asks_the_same(tmp_path, steps):
    path = save(tmp_path / "run.parquet", as_table(steps, "gone", steps["ends"]))
    problem = gaecli.inspect(path).problem
    assert "`gone`" in str(problem)
    with pytest.raises(UsageError, match="`gone`"):
        gaecli.explain(path, row=0)


def test_unused_columns_are_read_in_the_first_look_only(tmp_path, steps, monkeypatch):
    """A file that is computed block by block reads them once, and those that are no flags not at all."""
    from gaecli.formats.parquet.reader import ParquetInput

    seen: list[str] = []
    blocks = ParquetInput.blocks

    def watched(self, unit, names, rows_per_block):
        seen.extend(names)
        return blocks(self, unit, names, rows_per_block)

    monkeypatch.setattr(ParquetInput, "blocks", watched)
    monkeypatch.setattr(run, "rows_per_block", lambda memory_bytes: 10)
    monkeypatch.setattr(run, "_STORE_SHARE", 0.0)
    columns = as_table(steps, "terminated", steps["ends"])
    count = len(columns["reward"])
    path = save(
        tmp_path / "run.parquet", {**columns, "coin": np.arange(count) % 2, "level": np.arange(count) / 7}
    )
    compute(path, jobs=1)
    num_units = -(-count // 10)
    assert "level" not in seen
    assert seen.count("coin") == num_units + 1  # and once to see that it may be a flag
    assert seen.count("reward") == 2 * num_units
