"""`gae verify` searches on a part of the trajectories, and holds what it finds against every row."""

from __future__ import annotations

import json

import numpy as np
import pytest
from parity.loops import brax, finite_horizon, skrl_2

from gaecli.commands.verify import verify
from gaecli.report.study_documents import verification_to_dict
from gaecli.report.text import Canvas
from gaecli.report.verification import verification_lines
from gaecli.settings import Settings
from gaecli.studies import fitting, readings, sampling

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


@pytest.mark.pairs
@pytest.mark.parametrize("is_whitened", [False, True])
@pytest.mark.parametrize("end_rate", [0.05, 0.0], ids=["short", "long"])
@pytest.mark.parametrize("preset", LOOPS)
def test_a_convention_is_found_on_a_part(tmp_path, preset, end_rate, is_whitened):
    path = written(tmp_path / "r.npz", LOOPS[preset], end_rate=end_rate, is_whitened=is_whitened)
    found = verify(path, "advantages", SETTINGS, preset=preset)
    assert found.is_reproduced
    assert found.best.num_rows > 0.9 * NUM_STEPS * NUM_ENVS  # brax has no advantage at truncated ends
    assert (found.best.gamma, found.best.lam) == pytest.approx((GAMMA, LAM), abs=1e-4)


@pytest.mark.parametrize("is_whitened", [pytest.param(False, marks=pytest.mark.slow), True])
def test_odd_rows_outside_of_the_part_are_counted(tmp_path, is_whitened):
    odd = [(step, env) for step in range(3, NUM_STEPS, 20) for env in range(NUM_ENVS)]
    path = written(tmp_path / "r.npz", finite_horizon, is_whitened=is_whitened, odd=odd)
    found = verify(path, "advantages", SETTINGS)
    assert "finite-horizon" in found.best.presets
    assert found.best.num_deviating == len(odd)
    assert (found.best.gamma, found.best.lam) == pytest.approx((GAMMA, LAM), abs=1e-4)


def test_of_noise_the_nearest_is_held_against_all_rows(tmp_path, monkeypatch):
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
    # The searches take hundreds; the one that comes nearest is held against all rows by the pipeline.
    assert max(sizes) <= 600
    assert len(sizes) > 200
    assert found.best.num_rows == NUM_STEPS * NUM_ENVS
    assert all(attempt.num_rows <= 600 for attempt in found.attempts[1:])
    assert [attempt.is_sampled for attempt in found.attempts] == [False] + [True] * (len(found.attempts) - 1)
    lines = " ".join(line.plain for line in verification_lines(found, Canvas(width=200)))
    assert f"compared on {found.num_searched:,} steps of whole trajectories" in lines
    assert json.loads(json.dumps(verification_to_dict(found)))["num_searched"] == found.num_searched


def test_where_all_steps_are_searched_on_nothing_is_said_of_a_part(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "SEARCH_STEPS", 1 << 15)
    path = written(tmp_path / "r.npz")
    assert verify(path, "advantages", SETTINGS, preset="finite-horizon").num_searched is None
