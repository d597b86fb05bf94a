"""Warnings of many inputs: what they say adds up."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli


def write(path: Path, num_episodes: int, num_open: int, value: object = 1.0, gamma: float = 0.99) -> Path:
    """Episodes of one step, the last ones open."""
    is_done = [episode < num_episodes - num_open for episode in range(num_episodes)]
    columns = {"reward": [1.0] * num_episodes, "value": [value] * num_episodes, "terminated": is_done}
    pq.write_table(pa.table({**columns, "episode": list(range(num_episodes))}), path)
    return path


@pytest.fixture
def files(tmp_path) -> list[Path]:
    return [
        write(tmp_path / f"{name}.parquet", *counts)
        for name, counts in zip("abc", [(4, 1), (3, 3), (2, 0)], strict=True)
    ]


@pytest.mark.parametrize("rule", ["zero", "current"])
def test_the_numbers_are_those_of_all_inputs(files, rule):
    (note,) = gaecli.compute(files, bootstrap=rule, dry_run=True).warnings
    assert note.code == f"bootstrap-{rule}"
    assert note.message.startswith("4 of 7 episodes end without a terminal flag")
    assert note.message.endswith("(in 2 inputs)")
    assert (note.count, note.file) == (4, None)


def test_of_one_input_it_is_named(files):
    (note,) = gaecli.compute(files[0], dry_run=True).warnings
    assert note.message.startswith("1 of 4 episodes end")
    assert (note.count, note.file) == (1, str(files[0]))


def test_dropped_episodes_and_groups_without_variance_add_up(tmp_path):
    files = [write(tmp_path / f"{count}.parquet", count, 0, float("nan")) for count in (2, 5)]
    (note,) = gaecli.compute(files, on_nan="drop-episode", dry_run=True).warnings
    assert note.message.startswith("7 episodes (7 steps) hold cells that cannot be used")
    files = [write(tmp_path / f"{count}.parquet", count, 0) for count in (2, 5)]
    (note,) = gaecli.compute(files, normalize="episode", dry_run=True).warnings
    assert note.message.startswith("7 groups have no variance")


def test_a_sweep_says_it_once(files):
    (note,) = gaecli.sweep(files, [0.99], [0.95]).warnings
    assert note.message.startswith("4 of 7 episodes end")


def test_what_differs_in_words_stays_apart(tmp_path):
    import numpy as np

    files = []
    for gamma in (0.5, 0.6, 0.6):
        files.append(tmp_path / f"{len(files)}.npz")
        ends = np.array([False, True])
        np.savez(files[-1], rewards=np.ones(2), values=np.ones(2), terminated=ends, gamma=gamma)
    notes = gaecli.compute(files, dry_run=True).warnings
    assert [note.message for note in notes] == [
        "`gamma` in the file is 0.5, computed with 0.99",
        "`gamma` in the file is 0.6, computed with 0.99 (in 2 inputs)",
    ]


OTHER_VALUES = {
    "target network": (1.2, {"estimator": "vtrace"}, 3),
    "in half precision": (1.003, {"estimator": "vtrace"}, 0),
    "no trace": (1.2, {"estimator": "vtrace", "lam": 0.0}, 0),
    "upgoing": (1.2, {"estimator": "upgo"}, 3),
    "the λ-return has them": (1.2, {"estimator": "td-lambda"}, 0),
    "so has that of n steps": (1.2, {"estimator": "n-step", "n_steps": 2}, 0),
    "that is what GAE sums": (1.2, {}, 0),
    "ends alone": (1.2, {"estimator": "mc"}, 0),
    "in a stream": (1.2, {"estimator": "vtrace", "stream": ["a=reward,value,next=next_value"]}, 3),
}


@pytest.mark.parametrize(("factor", "settings", "count"), OTHER_VALUES.values(), ids=OTHER_VALUES)
def test_a_second_value_of_a_state_is_told_where_one_is_meant(tmp_path, factor, settings, count):
    """Rows 0-2 and 3-5 are trajectories; the next value of row 1 is null, and those of ends are any."""
    values = [1.0, 2.0, -4.0, 0.5, 1.0, -1.0]
    following = [2.0 * factor, None, 9.0, 1.0 * factor, -1.0 * factor, 9.0]
    columns = {"reward": [1.0] * 6, "value": values, "next_value": following, "ratio": [1.0] * 6}
    ends = {"terminated": [0, 0, 0, 0, 0, 1], "truncated": [0, 0, 1, 0, 0, 0]}
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({**columns, **ends}), path)
    notes = gaecli.compute(path, dry_run=True, **settings).warnings
    assert [note.count for note in notes if note.code == "second-values"] == [count] * (count > 0)
