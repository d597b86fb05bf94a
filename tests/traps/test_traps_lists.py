"""Lists of several episodes, one after the other: a flag, a value, an id or a counter in lists says so."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from traps.passed_over import notes_of, plain_gae

import gaecli

LENGTHS = [5, 3, 7, 4, 6, 9]
EPISODE = np.repeat(np.arange(6), LENGTHS)
STEP = np.concatenate([np.arange(length) for length in LENGTHS])
LAST = np.repeat(LENGTHS, LENGTHS) - 1 == STEP
RNG = np.random.default_rng(7)
STEPS = {"reward": RNG.normal(size=len(STEP)), "value": RNG.normal(size=len(STEP))}
WANTED = plain_gae(STEPS["reward"], STEPS["value"], LAST)
WORDS = np.where(LAST, "last", np.where(STEP == 0, "first", "mid"))


def in_rows(cells, per_row):
    """The cells of so many episodes in each row."""
    groups = EPISODE // per_row
    return [np.asarray(cells)[groups == group].tolist() for group in range(groups[-1] + 1)]


def written(folder, per_row, suffix=".parquet", **columns):
    path = folder / f"lists{suffix}"
    rows = {name: in_rows(cells, per_row) for name, cells in {**STEPS, **columns}.items()}
    if suffix == ".parquet":
        pq.write_table(pa.table(rows), path)
    else:
        lines = [dict(zip(rows, cells, strict=True)) for cells in zip(*rows.values(), strict=True)]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def check_computed(path, **settings):
    gaecli.compute(path, path.with_suffix(".out.parquet"), **settings)
    lists = pq.read_table(path.with_suffix(".out.parquet"))["advantage"].to_pylist()
    # float32 columns of float64 numbers
    np.testing.assert_allclose(np.concatenate(lists), WANTED, rtol=1e-5, atol=1e-6)


FLAGS = {
    "done": ({"done": LAST}, {}),
    "step_type": ({"step_type": WORDS}, {"done_column": "step_type=last"}),
    "is_first": ({"is_first": STEP == 0}, {}),
    "not_done": ({"not_done": ~LAST}, {}),
}


@pytest.mark.few(6)
@pytest.mark.parametrize("per_row", [1, 2, 6])
@pytest.mark.parametrize("name", FLAGS)
def test_flags_cut_lists_that_are_read_as_steps(tmp_path, name, per_row):
    columns, named = FLAGS[name]
    check_computed(written(tmp_path, per_row, **columns), layout="long", **named)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_an_end_inside_is_refused_with_the_flag_that_goes_on(tmp_path, suffix):
    with pytest.raises(gaecli.DataError, match="row 0, item 4, but the list goes on") as error:
        gaecli.compute(written(tmp_path, 2, suffix, done=LAST), dry_run=True)
    assert "`--layout long`" in error.value.hint


@pytest.mark.parametrize("cells", [WORDS, np.where(LAST, 2, np.where(STEP == 0, 0, 1))])
def test_a_value_that_ends_inside_of_lists_is_told(tmp_path, cells):
    path = written(tmp_path, 2, step_type=cells)
    (note,) = notes_of(path, "unused-flag")
    value = "last" if cells is WORDS else "2"
    assert f"`{value}` at 6 steps" in note.message
    assert f"--done-column step_type={value}" in note.hint
    check_computed(path, layout="long", done_column=f"step_type={value}")


@pytest.mark.parametrize("cells", [EPISODE, np.array(list("fbadec"))[EPISODE]])
def test_an_id_that_changes_inside_of_lists_is_told(tmp_path, cells):
    path = written(tmp_path, 2, traj=cells)
    (note,) = notes_of(path, "unused-id")
    assert note.count == 3
    assert "--episode-column traj" in note.hint
    check_computed(path, episode_column="traj")


def test_agents_that_alternate_in_lists_are_asked_about(tmp_path):
    path = written(tmp_path, 1, player=np.arange(len(STEP)) % 2)
    with pytest.raises(gaecli.UsageError, match="alternate by `player`") as error:
        gaecli.compute(path, dry_run=True)
    assert "--env-column player" in error.value.hint


@pytest.mark.parametrize("name", ["elapsed_steps", "time_in_episode"])
def test_a_counter_that_begins_anew_inside_of_lists_is_told(tmp_path, name):
    cells = STEP if name == "elapsed_steps" else STEP * 0.1
    (note,) = notes_of(written(tmp_path, 2, **{name: cells}), "unused-id")
    assert note.count == 3
    assert "the first at row 0" in note.message


QUIET = {
    "step_type": WORDS,
    "traj": EPISODE,
    "elapsed_steps": STEP,
    "turn": STEP // 2,
    "status": np.where(STEP == 1, "warm", "ok"),
    "token_type_ids": STEP // 3,
    "event_type": np.where(STEP == 1, 3, 0),
}


@pytest.mark.few(3)
@pytest.mark.parametrize("name", QUIET)
def test_lists_of_one_episode_are_quiet(tmp_path, name):
    path = written(tmp_path, 1, **{name: QUIET[name]})
    assert notes_of(path, "unused-flag") == notes_of(path, "unused-id") == []
    check_computed(path)


@pytest.mark.parametrize("word", ["end", "terminal", "episode_end"])
@pytest.mark.parametrize("is_list", [True, False], ids=["lists", "rows"])
def test_phases_that_call_themselves_ends_are_told(tmp_path, word, is_list):
    """Two in each list of 20; a phase that lasts is none, and neither is one of another name."""
    told = []
    for marks in ([word if step in (8, 19) else "run" for step in range(20)], ["reach"] * 12 + [word] * 8):
        rows = {"reward": [[1.0] * 20] * 4, "value": [[0.5] * 20] * 4, "phase": [marks] * 4}
        columns = rows if is_list else {name: np.concatenate(cells) for name, cells in rows.items()}
        columns |= {} if is_list else {"done": np.arange(80) % 20 == 19}
        pq.write_table(pa.table(columns), tmp_path / "r.parquet")
        notes = gaecli.compute(tmp_path / "r.parquet", dry_run=True).warnings
        told.append([note.count for note in notes if note.code == "unused-flag"])
    assert told == [[8], []]
