"""What enters a block at the ends of its lanes, once the block behind it is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gaecli.estimators.registry import make_estimator
from gaecli.kernels.devices import choose_device
from gaecli.rollouts import NO_LANES, Block, Placement
from gaecli.settings import Settings

GAMMA, LAM = 0.9, 0.8


def two_lanes(num_steps: int) -> Block:
    """Of `num_steps` each; both end in two steps of a trajectory that goes on."""
    random = np.random.default_rng(num_steps)
    cuts = np.zeros(2 * num_steps, np.bool_)
    cuts[[num_steps - 3, 2 * num_steps - 3]] = True
    stops = np.array([num_steps, 2 * num_steps])
    return Block(
        rewards=random.normal(size=len(cuts)),
        values=random.normal(size=len(cuts)),
        terminated=cuts,
        truncated=np.zeros(len(cuts), np.bool_),
        cuts=cuts,
        next_values=None,
        lanes=replace(NO_LANES, starts=stops - num_steps, stops=stops, keys=(0, 1)),
        placement=Placement(len(cuts)),
    )


@pytest.mark.parametrize("in_place", [False, True])
def test_what_enters_reaches_back_to_the_last_cut_and_overwrites_what_nobody_reads_again(
    in_place: bool,
) -> None:
    block = two_lanes(50)
    estimator = make_estimator(Settings(gamma=GAMMA, lam=LAM), choose_device("auto", 0))
    alone = estimator.estimate(block).advantages
    before = alone.copy()

    settled = estimator.settle(block, alone, np.array([3.0, -2.0]), in_place=in_place)

    entered = np.zeros(100)
    entered[[49, 48, 99, 98]] = 3.0, 3.0 * GAMMA * LAM, -2.0, -2.0 * GAMMA * LAM
    np.testing.assert_allclose(settled, before + entered, rtol=1e-12, atol=1e-12)
    assert np.array_equal(alone, settled if in_place else before)
