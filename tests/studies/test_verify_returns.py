"""`gae verify` names returns, windows and their γ. The columns are made by plain loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.errors import UsageError

GAMMA = 0.97
NUM_STEPS = 240
LAST = [39, 90, 120, 200, NUM_STEPS - 1]
TRUNCATED = [120, 200]


def rollout() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    rewards, values, beyond = random.normal(size=(3, NUM_STEPS))
    ends, truncated = np.zeros((2, NUM_STEPS), bool)
    ends[LAST] = truncated[TRUNCATED] = True
    beyond[:-1] = np.where(ends[:-1], beyond[:-1], values[1:])
    return {
        "reward": rewards,
        "value": values,
        "next_value": beyond,
        "terminated": ends & ~truncated,
        "truncated": truncated,
    }


def to_go(given: dict[str, np.ndarray], *, with_values: bool) -> np.ndarray:
    found, later = np.zeros(NUM_STEPS), 0.0
    for t in reversed(range(NUM_STEPS)):
        if t in LAST:
            later = float(given["next_value"][t]) if with_values and t in TRUNCATED else 0.0
        found[t] = later = float(given["reward"][t]) + GAMMA * later
    return found


def n_step(given: dict[str, np.ndarray], n: int) -> np.ndarray:
    """n rewards and V after them, less V, by the definition; next values are those of the next rows."""
    found = np.zeros(NUM_STEPS)
    for t in range(NUM_STEPS):
        for k in range(n):
            found[t] += GAMMA**k * float(given["reward"][t + k])
            if t + k in LAST or k == n - 1:
                if not given["terminated"][t + k]:
                    found[t] += GAMMA ** (k + 1) * float(given["next_value"][t + k])
                break
        found[t] -= float(given["value"][t])
    return found


def written(folder: Path, columns: dict[str, np.ndarray], **made: np.ndarray) -> Path:
    path = folder / "rollout.parquet"
    pq.write_table(
        pa.table({**columns, **{name: column.astype(np.float32) for name, column in made.items()}}), path
    )
    return path


def without_values(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: column for name, column in given.items() if "value" not in name}


@pytest.mark.parametrize("name", ["return", "rtg"])
def test_rewards_to_go_are_found_without_values(tmp_path: Path, name: str) -> None:
    given = rollout()
    path = written(tmp_path, without_values(given), **{name: to_go(given, with_values=False)})
    found = gaecli.verify(path, name)
    assert found.is_reproduced
    assert (found.best.estimator, found.best.gamma, found.best.lam) == ("mc", GAMMA, None)
    assert found.flags == ["--estimator mc", f"--gamma {GAMMA}"]
    assert list(found.estimators) == []


def test_a_return_with_values_is_that_of_several_estimators(tmp_path: Path) -> None:
    given = rollout()
    found = gaecli.verify(written(tmp_path, given, ret=to_go(given, with_values=True)), "ret")
    assert (found.is_reproduced, found.best.estimator, found.best.lam) == (True, "gae", 1.0)
    assert set(found.estimators) == {"td-lambda", "mc"}


def test_td_errors_are_td0_too(tmp_path: Path) -> None:
    given = rollout()
    path = written(tmp_path, given, advantage=n_step(given, 1))
    assert set(gaecli.verify(path).estimators) == {"td0", "td-lambda"}
    only = gaecli.verify(path, estimator="td0")
    assert (only.is_reproduced, only.best.estimator, only.best.gamma) == (True, "td0", GAMMA)


def test_a_lambda_return_with_next_values_of_its_own_is_no_gae(tmp_path: Path) -> None:
    given, lam, later = rollout(), 0.9, 0.0
    given["next_value"] = np.random.default_rng(8).normal(size=NUM_STEPS)
    made = np.zeros(NUM_STEPS)
    for t in reversed(range(NUM_STEPS)):
        following = 0.0 if given["terminated"][t] else float(given["next_value"][t])
        beyond = following if t in LAST else (1 - lam) * following + lam * later
        later = float(given["reward"][t]) + GAMMA * beyond
        made[t] = later - float(given["value"][t])
    found = gaecli.verify(written(tmp_path, given, advantage=made))
    assert found.is_reproduced
    assert (found.best.estimator, found.best.gamma, found.best.lam) == ("td-lambda", GAMMA, lam)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("n", "holds", "only"),
    [
        (5, "advantage", "n-step"),
        (24, "returns", "n-step"),
        pytest.param(5, "advantage", None, marks=pytest.mark.slow),
    ],
)
def test_a_window_is_found_with_its_gamma(tmp_path: Path, n: int, holds: str, only: str | None) -> None:
    given = rollout()
    column = n_step(given, n) + (given["value"] if holds == "returns" else 0.0)
    found = gaecli.verify(written(tmp_path, given, **{holds: column}), holds, estimator=only)
    assert found.is_reproduced
    assert (found.best.estimator, found.best.n_steps, found.best.gamma) == ("n-step", n, GAMMA)


def test_only_the_window_that_is_given_is_tried(tmp_path: Path) -> None:
    given = rollout()
    path = written(tmp_path, given, advantage=n_step(given, 5))
    assert not gaecli.verify(path, estimator="n-step", n_steps=6).is_reproduced
    assert gaecli.verify(path, estimator="n-step", n_steps=5).is_reproduced


def test_what_a_given_estimator_does_not_take_is_refused(tmp_path: Path) -> None:
    given = rollout()
    path = written(tmp_path, given, advantage=n_step(given, 5))
    with pytest.raises(UsageError, match="says nothing to `--estimator mc`"):
        gaecli.verify(path, estimator="mc", group_column="reward")
    with pytest.raises(UsageError, match="it must be one of gae, "):
        gaecli.verify(path, estimator="reinforce")
