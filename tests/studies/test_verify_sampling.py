"""`gae verify` searches on a part of the trajectories, and holds what it finds against every row."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parity.loops import brax, finite_horizon, skrl_2

from gaecli.commands.verify import verify
from gaecli.pipeline import opening
from gaecli.report.study_documents import verification_to_dict
from gaecli.report.text import Canvas
from gaecli.report.verification import verification_lines
from gaecli.settings import Settings
from gaecli.studies import estimator_court, fitting, readings, sampling
from gaecli.studies.head import head_of
from gaecli.studies.readings import Readings

NUM_ENVS, NUM_STEPS, GAMMA, LAM = 8, 200, 0.93, 0.81
SETTINGS = Settings(layout="time-major")
LOOPS = {"brax": brax, "finite-horizon": finite_horizon, "skrl-2.0": skrl_2}


@pytest.fixture(autouse=True)
def small_part(monkeypatch):
    monkeypatch.setattr(sampling, "SEARCH_STEPS", 300)
    monkeypatch.setattr(fitting, "_MAP_ROWS", 200)


def written(path, loop=None, *, end_rate=0.05, is_whitened=False, odd=()):
    """[T, E] arrays; a column of what the loop makes, or of noise, and other numbers at `odd` (step, env)."""
    random = np.random.default_rng(5)
    shape = (NUM_STEPS, NUM_ENVS)
    rewards, values, following, column = random.normal(size=(4, *shape))
    ends = random.random(shape) < end_rate
    terminated = ends & (random.random(shape) < 0.5)
    following[:-1] = np.where(ends[:-1], following[:-1], values[1:])
    if loop is not None:
        flags = (terminated, ends & ~terminated)
        lists = [
            [cells[:, env].tolist() for cells in (rewards, values, following, *flags)]
            for env in range(NUM_ENVS)
        ]
        column = np.stack([loop(*of_env, GAMMA, LAM)[0] for of_env in lists], axis=1)
    if is_whitened:
        column = (column - column.mean()) / column.std()
    for place in odd:
        column[place] += 0.2
    arrays = {"rewards": rewards, "values": values, "next_values": following, "advantages": column}
    np.savez(path, terminated=terminated, truncated=ends & ~terminated, **arrays)
    return path


@pytest.mark.few(3)
@pytest.mark.parametrize("is_whitened", [False, True])
@pytest.mark.parametrize("end_rate", [0.05, 0.0], ids=["short", "long"])
@pytest.mark.parametrize("preset", LOOPS)
def test_a_convention_is_found_on_a_part(tmp_path, preset, end_rate, is_whitened):
    path = written(tmp_path / "r.npz", LOOPS[preset], end_rate=end_rate, is_whitened=is_whitened)
    found = verify(path, "advantages", SETTINGS, preset=preset)
    assert found.is_reproduced
    assert found.best.num_rows > 0.9 * NUM_STEPS * NUM_ENVS  # brax has no advantage at truncated ends
    assert (found.best.gamma, found.best.lam) == pytest.approx((GAMMA, LAM), abs=1e-4)


@pytest.mark.parametrize(
    ("is_whitened", "preset"),
    [(True, "finite-horizon"), *(pytest.param(one, None, marks=pytest.mark.slow) for one in (False, True))],
)
def test_odd_rows_outside_of_the_part_are_counted(tmp_path, is_whitened, preset):
    odd = [(step, env) for step in range(3, NUM_STEPS, 20) for env in range(NUM_ENVS)]
    path = written(tmp_path / "r.npz", finite_horizon, is_whitened=is_whitened, odd=odd)
    found = verify(path, "advantages", SETTINGS, preset=preset)
    assert "finite-horizon" in found.best.presets
    assert found.best.num_deviating == len(odd)
    assert (found.best.gamma, found.best.lam) == pytest.approx((GAMMA, LAM), abs=1e-4)


def test_what_a_sample_refutes_is_held_against_no_other_row(tmp_path, monkeypatch):
    """Noise: nine hundred and more of a thousand rows are off, whatever the rule."""
    path, sizes, make = written(tmp_path / "r.npz"), [], readings.make_estimator

    def counting(settings, device):
        estimator = make(settings, device)

        class Counting:
            def estimate(self, block, **how):
                sizes.append(block.num_steps)
                return estimator.estimate(block, **how)

            def __getattr__(self, name):
                return getattr(estimator, name)

        return Counting()

    monkeypatch.setattr(readings, "make_estimator", counting)
    found = verify(path, "advantages", SETTINGS)
    assert not found.is_reproduced
    assert found.num_searched is not None
    assert found.num_searched < 600
    # The searches take hundreds of looks, none of them at all rows.
    assert max(sizes) <= 600
    assert len(sizes) > 200
    assert all(attempt.is_sampled and 0 < attempt.num_rows <= 600 for attempt in found.attempts)
    assert sum(one.count for one in found.deviations) <= found.best.num_deviating <= found.num_searched
    lines = " ".join(line.plain for line in verification_lines(found, Canvas(width=200)))
    assert f"of {found.best.num_rows:,} sampled rows deviate from the nearest" in lines
    assert (
        f"compared on {found.num_searched:,} steps of whole trajectories, which refute all of them" in lines
    )
    assert json.loads(json.dumps(verification_to_dict(found)))["num_searched"] == found.num_searched


@pytest.fixture
def long_noise(tmp_path):
    """A table of 4,000 rows."""
    random, rows = np.random.default_rng(0), np.arange(4000)
    numbers = dict(zip(("reward", "value", "advantage"), random.normal(size=(3, len(rows))), strict=True))
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({**numbers, "done": rows % 50 == 49, "episode_id": rows // 50}), path)
    return path


def test_of_noise_all_rows_are_looked_at_for_one_convention_and_sorted_for_none(long_noise, monkeypatch):
    """Other conventions of one recursion see the first rows, and other estimators take the rows as it does.

    Two presets refuse flags of ends that disagree with ids; once the rows stand in order that is no cure.
    """
    looks, read = [], Readings._read
    orders, open_files = [], opening.open_files

    def counting_looks(self, settings, *, is_read):
        sampled = read(self, settings, is_read=is_read)
        looks.extend([] if self._is_head else [(settings.preset, settings.estimator)])
        return sampled

    def counting_orders(plan, settings, block_rows, row_order):
        orders.append(row_order.is_whole)
        return open_files(plan, settings, block_rows, row_order)

    monkeypatch.setattr(Readings, "_read", counting_looks)
    monkeypatch.setattr(opening, "open_files", counting_orders)
    monkeypatch.setattr(readings, "_MOST_ROWS", 1000)
    found = verify(long_noise, settings=Settings(layout="long"))
    assert not found.is_reproduced
    assert looks == [("exact", "gae")]
    assert "sb3" in found.unreadable
    assert orders
    assert not any(orders)


def test_what_was_held_against_the_first_rows_is_not_nearer_for_having_fewer(long_noise, monkeypatch):
    monkeypatch.setattr(sampling, "SEARCH_STEPS", 2000)
    monkeypatch.setattr(estimator_court, "head_of", lambda plan, most: head_of(plan, 100))
    found = verify(long_noise, settings=Settings(layout="long"))
    fewer = [attempt for attempt in found.attempts if attempt.num_rows < 101]
    assert fewer
    assert found.best.num_rows > 1000


def test_where_all_steps_are_searched_on_nothing_is_said_of_a_part(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "SEARCH_STEPS", 1 << 15)
    path = written(tmp_path / "r.npz")
    assert verify(path, "advantages", SETTINGS, preset="finite-horizon").num_searched is None
