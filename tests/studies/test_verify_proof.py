"""`gae verify` compares conventions on a sample of whole trajectories, and takes its verdict from every row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gaecli.commands.verify import verify
from gaecli.studies import column_walk, sampling

NUM_EPISODES, LENGTH, GAMMA, LAM = 600, 20, 0.97, 0.9
#: Blocks of 4,096 rows, the smallest there are.
SMALL = 1 << 22


class Episodes:
    """Episode after episode, all terminated but one, and the advantages by a plain loop."""

    def __init__(self, *, truncated_rule: str = "exact") -> None:
        random = np.random.default_rng(7)
        shape = (NUM_EPISODES, LENGTH)
        self.rewards, self.values, self.following = random.normal(size=(3, *shape)).astype(np.float32)
        self.following[:, :-1] = self.values[:, 1:]
        self.terminated, self.truncated = np.zeros((2, *shape), np.bool_)
        self.terminated[:, -1] = True
        self.terminated[433, -1], self.truncated[433, -1] = False, True
        is_terminal = self.terminated | (self.truncated if truncated_rule == "zero" else False)
        self.column = np.zeros(shape)
        for episode in range(NUM_EPISODES):
            after = 0.0
            for t in reversed(range(LENGTH)):
                beyond = 0.0 if is_terminal[episode, t] else float(self.following[episode, t])
                delta = float(self.rewards[episode, t]) + GAMMA * beyond - float(self.values[episode, t])
                after = delta + GAMMA * LAM * after
                self.column[episode, t] = after

    def write(self, path, column, *, interleaved=1):
        """`interleaved`: so many episodes at a time stand between each other, step by step."""
        order = (
            np.arange(NUM_EPISODES * LENGTH).reshape(-1, interleaved, LENGTH).transpose(0, 2, 1).reshape(-1)
        )
        columns = {
            "episode_id": np.repeat(np.arange(NUM_EPISODES), LENGTH),
            "reward": self.rewards.reshape(-1),
            "value": self.values.reshape(-1),
            "next_value": self.following.reshape(-1),
            "terminated": self.terminated.reshape(-1),
            "truncated": self.truncated.reshape(-1),
            "advantage": np.asarray(column, np.float32).reshape(-1),
        }
        if interleaved > 1:
            columns["env_id"] = np.repeat(np.arange(NUM_EPISODES) % interleaved, LENGTH)
        pq.write_table(pa.table({name: cells[order] for name, cells in columns.items()}), path)
        return path, order


@pytest.fixture
def sampled_rows(monkeypatch):
    """A sample of 600 of 12,000 rows, and the rows that each had."""
    rows, result = [], sampling.TrajectorySample.result
    monkeypatch.setattr(sampling, "SEARCH_STEPS", 600)

    def noting(self):
        part = result(self)
        rows.append(set(part.rows.tolist()))
        return part

    monkeypatch.setattr(sampling.TrajectorySample, "result", noting)
    return rows


@pytest.mark.few("8")
@pytest.mark.parametrize("interleaved", [1, 8])
def test_a_sample_is_of_whole_trajectories_from_all_over_the_file(tmp_path, sampled_rows, interleaved):
    path, order = Episodes().write(tmp_path / "r.parquet", Episodes().column, interleaved=interleaved)
    assert verify(path, preset="exact", memory_bytes=SMALL).is_reproduced
    sampled, *_ = sampled_rows
    episodes = np.unique(order[sorted(sampled)] // LENGTH)
    assert 200 <= len(sampled) <= 600
    assert len(sampled) == LENGTH * len(episodes)
    assert 433 in episodes  # of its kind there is no other
    assert np.histogram(episodes, 4, (0, NUM_EPISODES))[0].min() >= 1


@pytest.mark.few(1)
@pytest.mark.parametrize("interleaved", [1, 8])
@pytest.mark.parametrize("is_whitened", [False, True])
@pytest.mark.parametrize(
    "named", [{"preset": "exact"}, pytest.param({}, marks=pytest.mark.slow)], ids=["one", "all"]
)
def test_a_row_that_is_wrong_outside_of_the_sample_is_found(
    tmp_path, sampled_rows, interleaved, is_whitened, named
):
    episodes = Episodes()
    column = episodes.column
    if is_whitened:
        column = (column - column.mean()) / column.std()
    path, order = episodes.write(tmp_path / "r.parquet", column, interleaved=interleaved)
    assert verify(path, **named, memory_bytes=SMALL).is_reproduced
    of_sample = set.union(*sampled_rows)
    wrong = next(row for row in range(4000, 12000) if order[row] % LENGTH == 7 and row not in of_sample)
    column = column.copy()
    column.reshape(-1)[order[wrong]] += 0.25
    episodes.write(path, column, interleaved=interleaved)
    sampled_rows.clear()
    found = verify(path, **named, memory_bytes=SMALL)
    assert wrong not in set.union(*sampled_rows)
    assert (found.is_reproduced, found.exit_code) == (False, 3)
    assert (found.best.gamma, found.best.lam) == (pytest.approx(GAMMA), pytest.approx(LAM))
    # The row itself, and the one before it, whose sum goes on with it.
    assert (found.best.num_deviating, found.best.num_rows) == (2, NUM_EPISODES * LENGTH)
    (deviation,) = found.deviations
    assert (deviation.where, deviation.count, deviation.first_row) == ("inside trajectories", 1, wrong)
    assert found.num_searched is not None


@pytest.mark.few("8")
@pytest.mark.parametrize("interleaved", [1, 8])
def test_rows_at_the_borders_of_blocks_are_held_against_those_behind_them(tmp_path, interleaved):
    """Of 4,096 rows each: the last ones of one of them, and the first ones of the next."""
    episodes = Episodes()
    wrong = [4096 * block + offset for block, offset in ((1, -interleaved), (2, 0), (2, 3 * interleaved))]
    assert interleaved == 1 or len({row % LENGTH for row in wrong}) > 1
    path, order = episodes.write(tmp_path / "r.parquet", episodes.column, interleaved=interleaved)
    column = episodes.column.copy().reshape(-1)
    column[order[wrong]] += 0.5
    episodes.write(path, column, interleaved=interleaved)
    before = {int(place) - 1 for place in order[wrong] if place % LENGTH}
    places = before | {int(place) for place in order[wrong]}
    for memory_bytes in (SMALL, 1 << 30):
        found = verify(path, preset="exact", memory_bytes=memory_bytes)
        assert found.best.num_deviating == len(places)
        assert sum(deviation.count for deviation in found.deviations) == len(wrong)
        assert {deviation.first_row for deviation in found.deviations} <= set(wrong)


def test_the_only_truncated_end_tells_conventions_apart(tmp_path, sampled_rows):
    episodes = Episodes(truncated_rule="zero")
    path, _ = episodes.write(tmp_path / "r.parquet", episodes.column)
    found = verify(path, memory_bytes=SMALL)
    names = {found.best.name, *found.equivalent}
    assert found.is_reproduced
    assert "cleanrl" in names
    assert not names & {"exact", "sb3", "torchrl"}
    exact = next(attempt for attempt in found.attempts if "exact" in attempt.presets and not attempt.flags)
    assert exact.num_deviating == 1


def test_what_a_sample_cannot_tell_apart_every_row_does(tmp_path, monkeypatch, sampled_rows):
    """Without a limit of its own for each kind of end the one truncated end is hardly ever in a sample."""
    kinds = sampling.TrajectoryPieces.of

    def all_alike(part, block, carry):
        pieces = kinds(part, block, carry)
        pieces.kinds[pieces.kinds < 5] = 0
        return pieces

    monkeypatch.setattr(sampling.TrajectoryPieces, "of", staticmethod(all_alike))
    episodes = Episodes(truncated_rule="zero")
    path, _ = episodes.write(tmp_path / "r.parquet", episodes.column)
    found = verify(path, memory_bytes=SMALL)
    assert 433 * LENGTH not in sampled_rows[0]
    names = {found.best.name, *found.equivalent}
    assert found.is_reproduced
    assert "cleanrl" in names
    assert not names & {"exact", "sb3", "torchrl"}


def test_memory_does_not_bound_the_rows(tmp_path, monkeypatch):
    path, _ = Episodes().write(tmp_path / "r.parquet", Episodes().column)
    sizes, take = [], column_walk.ColumnWalk.part

    def noting(self, *block):
        part = take(self, *block)
        sizes.append(part.num_steps)
        return part

    monkeypatch.setattr(column_walk.ColumnWalk, "part", noting)
    assert verify(path, preset="exact", memory_bytes=SMALL).best.num_rows == NUM_EPISODES * LENGTH
    assert max(sizes) <= 4096
