"""Rows that were shuffled, of which only a column that no role has still tells the order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline.running import small_blocks
from traps.passed_over import plain_gae

import gaecli

NUM_ENVS, NUM_TIMES = 3, 20
RNG = np.random.default_rng(0)
ENVS = np.repeat(np.arange(NUM_ENVS), NUM_TIMES)
TIMES = np.tile(np.arange(NUM_TIMES), NUM_ENVS)
REWARDS, VALUES = RNG.normal(size=(2, ENVS.size))
DONE = TIMES % 7 == 6
SHUFFLED = RNG.permutation(ENVS.size)
LAST = DONE | (TIMES == NUM_TIMES - 1)
WANTED = np.concatenate(
    [
        plain_gae(*lane)
        for lane in zip(*(x.reshape(NUM_ENVS, -1) for x in (REWARDS, VALUES, LAST)), strict=True)
    ]
)
COLUMNS = {"env_id": ENVS, "reward": REWARDS, "value": VALUES, "done": DONE}
#: Times by which rows can be put in order.
TOLD = {
    "global_step": TIMES * 8,
    "sim_time": TIMES * 0.05,
    "recorded_at": np.datetime64("2026-01-01T00:00:00") + TIMES.astype("m8[s]"),
}


def notes_of(tmp_path, columns, order, **settings):
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({name: cells[order] for name, cells in columns.items()}), path, row_group_size=16)
    summary = gaecli.compute(path, dry_run=True, done_at="end", **settings)
    return [note for note in summary.warnings if note.code == "unused-id"]


@pytest.mark.parametrize("blocks", [None, 16])
@pytest.mark.parametrize("name", TOLD)
def test_they_are_told_and_right_once_the_order_is_named(tmp_path, name, blocks):
    with small_blocks(blocks):
        (note,) = notes_of(tmp_path, COLUMNS | {name: TOLD[name]}, SHUFFLED)
    assert f"`{name}`, which no role uses, goes up at" in note.message
    assert f"--step-column {name}" in note.hint
    path = tmp_path / "r.parquet"
    gaecli.compute(path, done_at="end", step_column=name)
    # float32 columns of float64 numbers
    np.testing.assert_allclose(pq.read_table(path)["advantage"], WANTED[SHUFFLED], rtol=1e-5, atol=1e-6)
    assert notes_of(tmp_path, COLUMNS | {name: TOLD[name]}, SHUFFLED, episode_column="none") == []


@pytest.mark.parametrize(
    ("name", "cells"),
    {
        "not of rows in order": ("global_step", TIMES),
        "nor of times that some rows share": ("global_step", TIMES // 2),
        "nor of ranks, which number rows as well": ("rank", RNG.permutation(ENVS.size)),
        "nor of what is no time": ("hit_points", np.concatenate([RNG.permutation(NUM_TIMES)] * NUM_ENVS)),
    }.values(),
)
def test_nothing_is_told_of_other_columns(tmp_path, name, cells):
    order = np.arange(ENVS.size) if name == "global_step" and np.array_equal(cells, TIMES) else SHUFFLED
    assert notes_of(tmp_path, COLUMNS | {name: cells}, order) == []


@pytest.mark.parametrize("name", ["environment", "worker"])
def test_a_step_that_falls_where_an_id_changes_leads_to_the_id(tmp_path, name):
    """It led to a flag made of the step, which the flags there contradict."""
    columns = {"reward": REWARDS, "value": VALUES, "terminated": DONE, "truncated": DONE & False}
    ages = np.concatenate([np.arange(length) for _ in range(NUM_ENVS) for length in (7, 7, 6)])
    path = tmp_path / "r.parquet"
    names = np.array([f"e{env}" for env in ENVS])
    pq.write_table(pa.table(columns | {"step": ages, name: names}), path)
    with pytest.raises(gaecli.GaeError, match="falls from 5 to 0") as refused:
        gaecli.compute(path)
    assert refused.value.hint.startswith(f"pass `--env-column {name}` if it tells them apart")
    gaecli.compute(path, env_column=name)
    np.testing.assert_allclose(pq.read_table(path)["advantage"], WANTED, rtol=1e-5, atol=1e-6)


def test_of_an_environment_and_an_episode_that_it_counts_the_former_is_named(tmp_path):
    order = RNG.permuted(
        np.arange(ENVS.size).reshape(NUM_ENVS, NUM_TIMES).T, axis=1
    ).ravel()  # by turns, in any order
    episodes = TIMES // 7
    columns = {"ep": episodes, "agent": ENVS, "reward": REWARDS, "value": VALUES, "done": DONE}
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({name: cells[order] for name, cells in columns.items()}), path)
    with pytest.raises(gaecli.GaeError, match="alternate by `agent`"):
        gaecli.compute(path, done_at="end")
