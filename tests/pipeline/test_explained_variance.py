"""Explained variance over several inputs: that their means differ is explained by nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.commands.inspect import inspect
from gaecli.report.document import inspection_to_dict, summary_to_dict

GAMMA, LAM = 0.99, 0.95
LENGTH = 20


def advantages_of(rewards: np.ndarray, values: np.ndarray, lam: float = LAM) -> np.ndarray:
    """A plain loop; every LENGTH-th step is terminal."""
    found, running = np.zeros(len(rewards)), 0.0
    for step in range(len(rewards) - 1, -1, -1):
        if step % LENGTH == LENGTH - 1:
            running = rewards[step] - values[step]
        else:
            running = rewards[step] + GAMMA * values[step + 1] - values[step] + GAMMA * lam * running
        found[step] = running
    return found


def rollout(level: float, noise: float, num_steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Values that know the level of their file, and little of its steps."""
    random = np.random.default_rng(seed)
    rewards = level / LENGTH + random.normal(size=num_steps)
    return rewards, level + noise * random.normal(size=num_steps)


FILES = {
    "a.parquet": rollout(0.0, 1.0, 400, 0),
    "b.parquet": rollout(0.0, 3.0, 300, 1),
    "c.parquet": rollout(40.0, 2.0, 200, 2),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, (rewards, values) in FILES.items():
        ends = np.arange(len(rewards)) % LENGTH == LENGTH - 1
        pq.write_table(pa.table({"reward": rewards, "value": values, "terminated": ends}), tmp_path / name)
    return tmp_path


def by_hand(lam: float) -> tuple[float, list[float]]:
    """Within all files, and of each of them."""
    errors, spreads = [], []
    for rewards, values in FILES.values():
        advantages = advantages_of(rewards, values, lam)
        errors.append(len(advantages) * np.var(advantages))
        spreads.append(len(advantages) * np.var(advantages + values))
    each = [1 - error / spread for error, spread in zip(errors, spreads, strict=True)]
    return 1 - sum(errors) / sum(spreads), each


def assert_spread(found, each: list[float]) -> None:
    assert (found.count, found.min, found.max) == pytest.approx((len(each), min(each), max(each)))
    assert found.median == pytest.approx(np.median(each))


def test_a_difference_of_means_between_files_is_explained_by_no_value(folder):
    rewards, values = (np.concatenate(column) for column in zip(*FILES.values(), strict=True))
    advantages = advantages_of(rewards, values)
    # As if all were one file: the values look far better than in any of the three.
    together = 1 - np.var(advantages) / np.var(advantages + values)
    within, each = by_hand(LAM)
    assert together > 0.5 > 0.3 > max(each)
    summary = gaecli.compute(folder)
    assert summary.explained_variance == pytest.approx(within)
    assert_spread(summary.explained_variances, each)


@pytest.mark.few(1)
@pytest.mark.parametrize("normalize", ["all", "file", "episode"])
def test_normalisation_does_not_change_it(folder, normalize):
    within, each = by_hand(LAM)
    raw = gaecli.compute(folder, dry_run=True)
    summary = gaecli.compute(folder, normalize=normalize)
    assert raw.explained_variance == pytest.approx(within)
    assert summary.explained_variances.count == len(each)


def test_inspect_says_the_same_of_returns_at_lambda_one(folder):
    within, each = by_hand(1.0)
    found = inspect([folder])
    assert found.explained_variance == pytest.approx(within)
    assert_spread(found.explained_variances, each)
    assert [info.explained_variance for info in found.infos] == pytest.approx(each)


@pytest.mark.parametrize("lam", [0.5, 0.95, 1.0])
def test_a_sweep_takes_each_setting_within_files(folder, lam):
    (point,) = gaecli.sweep(folder, gamma=[GAMMA], lam=[lam]).points
    assert point.explained_variance == pytest.approx(by_hand(lam)[0])


def test_shards_of_one_stream_are_one_input(folder):
    for number, name in enumerate(FILES):
        (folder / name).rename(folder / f"train-{number:05d}-of-{len(FILES):05d}.parquet")
    rewards, values = (np.concatenate(column) for column in zip(*FILES.values(), strict=True))
    advantages = advantages_of(rewards, values)
    summary = gaecli.compute(folder)
    assert summary.explained_variance == pytest.approx(1 - np.var(advantages) / np.var(advantages + values))
    assert summary.explained_variances is None
    assert inspect([folder]).explained_variances is None


def test_an_input_whose_returns_do_not_vary_has_no_figure_and_still_its_errors(tmp_path):
    for name, values in (("a", [0.0, 0.5]), ("b", [0.5, 1.5])):
        rewards = [1.0, 1.0] if name == "a" else [1.0, 2.0]
        table = pa.table({"reward": rewards, "value": values, "terminated": [True, True]})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    # R - V is 1, 0.5 in one file, where R does not vary, and 0.5, 0.5 in the other, where it is 1 and 2.
    summary = gaecli.compute(tmp_path)
    assert summary.explained_variance == pytest.approx(1 - 0.125 / 0.5)
    spread = summary.explained_variances
    assert (spread.count, spread.min, spread.median, spread.max) == (1, 1.0, 1.0, 1.0)


def test_both_documents_have_it(folder):
    within, each = by_hand(1.0)
    document = inspection_to_dict(inspect([folder]))
    assert document["explained_variance"] == pytest.approx(within)
    assert document["explained_variances"]["median"] == pytest.approx(np.median(each))
    summary = gaecli.compute(folder)
    assert summary_to_dict(summary)["explained_variances"]["max"] == summary.explained_variances.max
    assert summary_to_dict(gaecli.compute(folder / "a.parquet"))["explained_variances"] is None
