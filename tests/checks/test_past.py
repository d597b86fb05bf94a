"""Ages and the rewards before, against a walk over the steps of whole lanes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from gaecli.checks.past import Past


@dataclass
class Tail:
    age: int
    came_on: bool
    earlier_reward: float


@pytest.mark.parametrize("seed", range(20))
def test_a_part_of_the_steps_knows_what_all_of_them_know(seed: int) -> None:
    """Each lane is cut somewhere, and the step before the cut stands first in what is left of it."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, list[float]] = {"rewards": [], "goes_on": []}
    carried_at, tails, expected = [], [], []
    for _ in range(rng.integers(1, 5)):
        num_steps = int(rng.integers(1, 12))
        rewards, goes_on = rng.normal(size=num_steps), rng.random(num_steps) < 0.7
        goes_on[0] = False
        walked, age = [], 0
        for step in range(num_steps):
            age = age + 1 if goes_on[step] else 1
            walked.append((age, bool(goes_on[step]), rewards[step - 1] if goes_on[step] else None))
        first = int(rng.integers(0, num_steps))
        part = goes_on[first:].copy()
        if first:  # a step of the block before: here nothing is known to come before it
            carried_at.append(len(arrays["rewards"]))
            tails.append(Tail(walked[first][0], walked[first][1], walked[first][2] or 0.0))
            part[0] = False
        arrays["rewards"] += rewards[first:].tolist()
        arrays["goes_on"] += part.tolist()
        expected += walked[first:]
    past = Past.of(
        {"rewards": np.array(arrays["rewards"]), "goes_on": np.array(arrays["goes_on"], np.bool_)},
        np.array(carried_at, np.int64),
        tails,
    )
    num_steps = len(expected)
    assert past.ages(np.arange(num_steps)).tolist() == [age for age, _, _ in expected]
    assert past.came_on.tolist() == [came_on for _, came_on, _ in expected]
    for start in range(num_steps):
        for stop in range(start + 1, num_steps + 1):
            found = past.earlier_rewards(np.arange(start, stop))
            assert found.shape == (stop - start,)
            for reward, (_, came_on, before) in zip(found, expected[start:stop], strict=True):
                assert not came_on or reward == before
