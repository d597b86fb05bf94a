"""`gae verify` names the convention of a column that a library made, `gae explain` what it does at a time limit."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from parity.loops import STEP_LOOPS
from parity.rollouts import random_rollout
from parity.test_presets_command import own_arrays, write_dense
from parity.token_loops import TOKEN_LOOPS

from gaecli.commands.verify import verify
from gaecli.settings import Settings

GAMMA, LAM = 0.97, 0.9


def slow(*given):
    """One of a kind of which the default run tries another."""
    return pytest.param(*given, marks=pytest.mark.slow)


def column_of(name, rollout) -> np.ndarray:
    """[N, T] raw."""
    rows = [STEP_LOOPS[name](**rollout.env(env), gamma=GAMMA, lam=LAM)[0] for env in range(rollout.shape[0])]
    return np.array(rows)


def names_of(found) -> list[str]:
    assert found.is_reproduced
    assert (found.best.gamma, found.best.lam) == pytest.approx((GAMMA, LAM), abs=1e-4)
    return [found.best.presets[0], *found.equivalent]


@pytest.mark.parametrize(
    "name", [slow("purejaxrl"), "stoix", slow("evorl"), slow("elegantrl"), slow("agilerl")]
)
def test_in_a_file_with_the_arrays_of_the_library(tmp_path, name):
    rollout = random_rollout(31, num_envs=4, num_steps=64)
    advantages = column_of(name, rollout).T.astype(np.float32)
    np.savez(tmp_path / "r.npz", **own_arrays(name, rollout), adv=advantages)
    assert name in names_of(verify(tmp_path / "r.npz", "adv"))


@pytest.mark.parametrize("name", [slow("evorl"), slow("elegantrl"), "agilerl"])
def test_where_the_file_tells_ends_apart_no_other_is_like_it(tmp_path, name):
    rollout = random_rollout(31, num_envs=4, num_steps=64)
    raw = column_of(name, rollout)
    write_dense(tmp_path / "r.npz", rollout, adv=((raw - raw.mean()) / raw.std()).T)
    assert names_of(verify(tmp_path / "r.npz", "adv")) == [name]


def test_a_preset_with_an_option_is_named_with_it_and_with_those_like_it(tmp_path):
    rollout = random_rollout(31, num_envs=4, num_steps=64)
    raw = column_of("ikostrikov", rollout)
    whitened = (raw - raw.mean()) / (raw.std(ddof=1) + 1e-5)  # with the zeros of time limits
    write_dense(tmp_path / "r.npz", rollout, adv=whitened.T)
    found = verify(tmp_path / "r.npz", "adv")
    assert names_of(found) == ["ikostrikov", "mappo", "exact"]
    assert dict(found.best.flags) == {"truncation": "drop"}
    assert "ddof 1" in str(found.normalization)


@pytest.mark.parametrize("name", [slow("skyrl"), "roll"])
def test_tokens(tmp_path, name):
    random = np.random.default_rng(5)
    mask = random.random((24, 30)) < 0.7
    rewards, values = random.normal(size=(2, 24, 30))
    settings = Settings(layout="batch-major")
    rows = [
        TOKEN_LOOPS[name](r.tolist(), v.tolist(), m.tolist(), GAMMA, LAM)[0]
        for r, v, m in zip(rewards, values, mask, strict=True)
    ]
    np.savez(
        tmp_path / "r.npz",
        token_level_rewards=rewards,
        values=values,
        response_mask=mask.astype(np.int64),
        adv=np.array(rows),
    )
    assert name in names_of(verify(tmp_path / "r.npz", "adv", settings))


@pytest.mark.parametrize(
    ("preset", "estimator", "words"),
    [
        ("evorl", "gae", "V of the next row, of another episode"),
        ("elegantrl", "td-lambda", "V of the last state itself is in r"),
        slow("elegantrl", "gae", "V of the last state itself is in r"),
        slow("evorl", "td-lambda", "V of the next row, of another episode"),
        slow("cleanrl", "gae", "terminal by the rules of this preset"),
        slow("rsl-rl", "gae", "V of the last state itself"),
        slow("exact", "td-lambda", "the next value"),
    ],
)
def test_explain_says_what_stands_for_the_next_state_of_a_time_limit(
    copy_sample, run_gae, preset, estimator, words
):
    path = copy_sample("cartpole.parquet")
    (row, *_) = np.flatnonzero(pq.read_table(path)["truncated"].to_numpy())
    result = run_gae("explain", path, "--row", row, "--preset", preset, "--estimator", estimator)
    assert result.returncode == 0, result.stderr
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("bootstrap"))
    assert words in line
