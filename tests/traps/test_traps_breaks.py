"""Ids and counters under names that no table has: where they break off, and no known end is, they are told of."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from traps.passed_over import notes_of, plain_gae, write

import gaecli
from gaecli.commands import check as checkup
from gaecli.commands import compute as run

LENGTHS = [5, 7, 4, 6, 5, 3]
#: Which of the episodes end terminally; the others are cut by a limit, which no flag says.
TERMINAL = [0, 2, 4]
EPISODE = np.repeat(np.arange(6), LENGTHS)
STEP = np.concatenate([np.arange(length) for length in LENGTHS])
LENGTH = np.repeat(LENGTHS, LENGTHS)
LAST = LENGTH - 1 == STEP
NUM_ROWS = len(STEP)
MISSED = 2  # the sixth episode is the last, which nothing follows
RNG = np.random.default_rng(0)
STEPS = {"reward": RNG.normal(size=NUM_ROWS), "value": RNG.normal(size=NUM_ROWS)}
TERMINATED = LAST & np.isin(EPISODE, TERMINAL)

IDS = {
    "demo": EPISODE,
    "scene": np.array(["kitchen", "hall", "attic", "cellar", "porch", "roof"])[EPISODE],
    "stay": EPISODE * 7919 + (1 << 60),
    "hand": np.array([4.0, 2, 9, 7, 1, 3])[EPISODE].astype(np.int32),
}
COUNTERS = {
    "elapsed_step": STEP,
    "progress_buf": STEP + 1,
    "horizon_left": LENGTH - STEP,
    "sim_tick": STEP * 20,
    "time_in_episode": (STEP * 0.05).astype(np.float32),
    "progress": (STEP + 1) / LENGTH,
    "sim_clock": np.array([0.0, 0.3, 0.35, 0.6, 0.9, 1.7, 1.8])[STEP],
}
QUIET = {
    "global_tick": np.arange(NUM_ROWS) + 90_000,
    "policy_version": np.arange(NUM_ROWS) // 8,
    "lives_left": 3 - STEP // 2,
    "cell": RNG.integers(0, 9, NUM_ROWS),
    "weather": np.array(["sun", "rain"])[RNG.integers(0, 2, NUM_ROWS)],
    "elapsed_noise": RNG.normal(size=NUM_ROWS),
    "row_hash": RNG.integers(1 << 40, 1 << 62, NUM_ROWS),
}


def in_blocks(num_rows, monkeypatch):
    for module in (run, checkup):
        monkeypatch.setattr(module, "rows_per_block", lambda memory_bytes: num_rows)


@pytest.mark.turns
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".npz"])
@pytest.mark.parametrize("name", [*IDS, *COUNTERS])
class TestBesideTerminationsAlone:
    def columns(self, name, **flags):
        return STEPS | flags | {name: (IDS | COUNTERS)[name]}

    @pytest.mark.few(5)
    def test_they_are_told_with_the_way_out(self, tmp_path, name, suffix):
        path = write(tmp_path, self.columns(name, terminated=TERMINATED), suffix)
        (note,) = notes_of(path, "unused-id")
        assert note.count == MISSED
        assert f"`{name}`, which no role uses," in note.message
        assert (
            "2 times within what is taken for one trajectory, as at all 3 ends that are known" in note.message
        )
        assert "the first at row 12 of" in note.message
        assert "--episode-column" in note.hint
        assert notes_of(path, "unused-id", columns={"episode": "none"}) == []

    @pytest.mark.few(5)
    def test_they_are_silent_where_all_ends_are_known(self, tmp_path, name, suffix):
        columns = self.columns(name, terminated=TERMINATED, truncated=LAST & ~TERMINATED)
        assert notes_of(write(tmp_path, columns, suffix), "unused-id") == []


@pytest.mark.few(2)
@pytest.mark.parametrize("name", IDS)
def test_an_id_does_what_its_hint_says(tmp_path, name):
    path = write(tmp_path, STEPS | {"terminated": TERMINATED, name: IDS[name]}, ".parquet")
    (note,) = notes_of(path, "unused-id")
    assert f"--episode-column {name}" in note.hint
    gaecli.compute(path, episode_column=name)
    wanted = plain_gae(STEPS["reward"], STEPS["value"], LAST)
    # float32 columns of float64 numbers
    np.testing.assert_allclose(pq.read_table(path)["advantage"], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.few(7)
@pytest.mark.parametrize("flags", [{"terminated": TERMINATED}, {"env_id": np.zeros(NUM_ROWS, int)}])
@pytest.mark.parametrize("name", QUIET)
def test_other_columns_say_nothing(tmp_path, name, flags):
    if "env_id" in flags and name == "policy_version":
        pytest.skip("where no end is known, whatever stays the same for a while may be an id")
    path = write(tmp_path, STEPS | flags | {name: QUIET[name]}, ".parquet")
    assert notes_of(path, "unused-id") == []


@pytest.mark.parametrize("name", ["demo", "elapsed_step", "progress"])
def test_where_no_end_is_known_all_are_told(tmp_path, name):
    path = write(
        tmp_path, STEPS | {"env_id": np.zeros(NUM_ROWS, int), name: (IDS | COUNTERS)[name]}, ".parquet"
    )
    (note,) = notes_of(path, "unused-id")
    assert note.count == len(LENGTHS) - 1


@pytest.mark.few(3)
@pytest.mark.parametrize(("shift", "side"), [(1, "before"), (-1, "behind")])
@pytest.mark.parametrize("name", ["demo", "elapsed_step", "progress"])
def test_flags_one_row_beside_are_told(tmp_path, name, shift, side):
    done = np.roll(LAST, shift)
    if shift == 1:
        done[0] = False  # what the roll brings round
    path = write(tmp_path, STEPS | {"done": done, name: (IDS | COUNTERS)[name]}, ".parquet")
    (note,) = notes_of(path, "unused-id")
    assert f"one row {side} each of the {5 if shift == 1 else 6} known ends" in note.message
    assert ("--done-at start" in note.hint) == (shift == 1)


@pytest.mark.few(2)
@pytest.mark.parametrize("num_rows", [4, 5, 9])
@pytest.mark.parametrize("name", ["demo", "scene", "elapsed_step", "horizon_left"])
def test_are_told_wherever_blocks_end(tmp_path, name, num_rows, monkeypatch):
    in_blocks(num_rows, monkeypatch)
    columns = STEPS | {"terminated": TERMINATED, name: (IDS | COUNTERS)[name]}
    (note,) = notes_of(write(tmp_path, columns, ".parquet"), "unused-id")
    assert note.count == MISSED


@pytest.mark.parametrize("name", ["demo", "elapsed_step"])
def test_an_episode_in_each_row_group_is_told(tmp_path, name, monkeypatch):
    in_blocks(7, monkeypatch)
    lengths = [7, 7, 7]
    columns = {"demo": np.repeat(np.arange(3), lengths), "elapsed_step": np.tile(np.arange(7), 3)}
    table = pa.table(
        {one: STEPS[one][:21] for one in STEPS} | {"terminated": [False] * 21, name: columns[name]}
    )
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=7)
    (note,) = notes_of(tmp_path / "x.parquet", "unused-id")
    assert note.count == 2
    assert "the first at row 7 of" in note.message


def test_what_comes_back_in_another_row_group_is_no_id(tmp_path, monkeypatch):
    in_blocks(7, monkeypatch)
    lives = np.tile([3, 3, 2, 2, 2, 1, 1], 3)
    table = pa.table({one: STEPS[one][:21] for one in STEPS} | {"terminated": [False] * 21, "lives": lives})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=7)
    assert notes_of(tmp_path / "x.parquet", "unused-id") == []


@pytest.mark.parametrize("is_flagged", [False, True])
def test_lanes_of_arrays_are_looked_at_one_by_one(tmp_path, is_flagged):
    """Three environments, whose episodes end at other times."""
    table = np.stack([np.r_[np.arange(4), np.arange(8)], np.r_[np.arange(7), np.arange(5)], np.arange(12)], 1)
    ends = np.vstack([table[1:] == 0, np.zeros((1, 3), bool)])
    columns = {"rewards": RNG.normal(size=(12, 3)), "values": RNG.normal(size=(12, 3))}
    columns |= {"last_values": np.zeros(3), "elapsed_step": table, "terminated": ends & is_flagged}
    found = notes_of(write(tmp_path, columns, ".npz"), "unused-id")
    assert [note.count for note in found] == ([] if is_flagged else [2])


DRAWN = np.random.default_rng(8)
NUM_ENVS, ENV_ROWS = 3, 60
ENDED = DRAWN.random(NUM_ENVS * ENV_ROWS) < 0.08
COUNT = np.tile(np.arange(ENV_ROWS), NUM_ENVS)
TIMES = {
    "global_step": COUNT,
    "total_env_frames": COUNT * 4 + 100,
    "wall_time": np.concatenate([DRAWN.random(ENV_ROWS).cumsum() for _ in range(NUM_ENVS)]),
    "elapsed": COUNT * 0.02,
}
NO_TIMES = {
    "rollout_step": COUNT,
    "time_since_contact": np.tile(np.arange(6), NUM_ENVS * 10) * 0.1,
    "steps_left": ENV_ROWS - COUNT,
    "train_step": np.arange(NUM_ENVS * ENV_ROWS) // 20,
    "step_time": DRAWN.random(NUM_ENVS * ENV_ROWS),
}


class TestTimesThatGoOnOverEnds:
    """Environments one after the other, each with several episodes, and a time of each environment."""

    def columns(self, name, cells, **more):
        size = NUM_ENVS * ENV_ROWS
        numbers = {part: np.random.default_rng(9).normal(size=size) for part in ("reward", "value")}
        return numbers | {"terminated": ENDED, name: cells} | more

    @pytest.mark.turns
    @pytest.mark.parametrize("rows", [None, 25])
    @pytest.mark.parametrize("name", TIMES)
    def test_falling_elsewhere_is_told(self, tmp_path, monkeypatch, name, rows):
        if rows is not None:
            in_blocks(rows, monkeypatch)
        path = write(tmp_path, self.columns(name, TIMES[name]), ".parquet")
        (note,) = notes_of(path, "unused-id")
        assert (note.count, "the first at row 60 of" in note.message) == (NUM_ENVS - 1, True)
        assert re.search(r"goes on over (\d+) of \1 known ends", note.message)
        assert "--env-column" in note.hint

    @pytest.mark.parametrize("name", NO_TIMES)
    def test_what_begins_anew_by_itself_is_not(self, tmp_path, name):
        path = write(tmp_path, self.columns(name, NO_TIMES[name]), ".parquet")
        assert [note for note in notes_of(path, "unused-id") if "goes on over" in note.message] == []

    def test_falling_at_known_ends_alone_is_not(self, tmp_path):
        ends = ENDED | (COUNT == ENV_ROWS - 1)
        path = write(tmp_path, self.columns("global_step", COUNT, terminated=ends), ".parquet")
        assert notes_of(path, "unused-id") == []

    def test_the_flag_of_the_hint_cuts_there(self, tmp_path):
        columns = self.columns("global_step", COUNT)
        path = write(tmp_path, columns, ".parquet")
        (note,) = notes_of(path, "unused-id")
        assert "--truncated-column global_step=59" in note.hint
        gaecli.compute(path, truncated_column="global_step=59")
        wanted = plain_gae(columns["reward"], columns["value"], ENDED | (COUNT == ENV_ROWS - 1))
        np.testing.assert_allclose(pq.read_table(path)["advantage"].to_numpy(), wanted, atol=1e-5)
