"""Public bugs about the ends of episodes, each with the test that catches it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parity.rollouts import Rollout, block_of, estimate, random_rollout

import gaecli
from gaecli.presets import PRESETS
from gaecli.settings import Settings


def one_env(rewards, values, following, terminated, truncated) -> Rollout:
    return Rollout(*(np.array([column]) for column in (rewards, values, following, terminated, truncated)))


def advantages_of(preset: str, rollout: Rollout, **settings) -> np.ndarray:
    found, _ = estimate(block_of(rollout), Settings.from_preset(preset, **settings))
    return found.reshape(rollout.shape)


def compute(path, columns, **settings):
    """Advantages that `gaecli.compute` writes for a long table, and its summary."""
    pq.write_table(pa.table(columns), path)
    summary = gaecli.compute(path, overwrite=True, **settings)
    return pq.read_table(path)["advantage"].to_numpy(), summary


@pytest.mark.parametrize("kind", ["terminated", "truncated"])
def test_what_follows_an_end_does_not_reach_back_over_it(kind):
    """Toni-SM/skrl#224 (1.3.0), #449 (2.1.0), vietnh1009/Super-mario-bros-PPO-pytorch#21: an end of one kind
    was no boundary, and V and A of the next episode leaked. The presets of skrl 2 do it on purpose."""
    rollout = random_rollout(1, num_envs=1, num_steps=12, end_rate=0.0)
    getattr(rollout, kind)[0, 5] = True
    later = np.zeros(rollout.shape)
    later[0, 6:] = 1000.0
    changed = replace(rollout, rewards=rollout.rewards + later, values=rollout.values + later)
    for preset in ("exact", "cleanrl", "rsl-rl", "brax", "finite-horizon", "spinup"):
        before, after = advantages_of(preset, rollout), advantages_of(preset, changed)
        np.testing.assert_array_equal(before[0, :6], after[0, :6], err_msg=preset)
    if kind == "truncated":
        assert advantages_of("skrl-2.1", changed)[0, 5] - advantages_of("skrl-2.1", rollout)[0, 5] > 900


def test_a_leak_is_told_loudly(tmp_path):
    """Toni-SM/skrl#449: users had no way to see that time limits leaked."""
    columns = {"reward": [1.0] * 4, "value": [0.0] * 4, "truncated": [False, True, False, True]}
    _, summary = compute(tmp_path / "r.parquet", columns, preset="skrl-2.0")
    (note,) = [note for note in summary.warnings if note.code == "preset-truncation"]
    assert "next episode" in note.message
    assert note.count == 2


@pytest.mark.few(5)
@pytest.mark.parametrize("bootstrap", ["zero", "current", "error"])
@pytest.mark.parametrize(
    "preset",
    [name for name, row in PRESETS.items() if row.open_ends == "terminal" and not row.over_units],
)
def test_the_last_trajectory_of_a_file_ends_as_all_others_do(tmp_path, preset, bootstrap):
    """Under a preset that takes an end without a flag for terminal, be there rows after it or not."""
    columns = {"reward": [1.0, 2.0] * 2, "value": [0.5, 0.25] * 2, "episode": [0, 0, 1, 1]}
    rules = {"preset": preset, "bootstrap": bootstrap, "gamma": 1.0, "lam": 1.0, "normalize": "none"}
    advantages, summary = compute(tmp_path / "r.parquet", columns, **rules)
    assert advantages.tolist() == [2.5, 1.75] * 2  # 1 + 2 - 0.5, and 2 - 0.25
    assert (summary.bootstrapped.zero, summary.bootstrapped.current) == (0, 0)
    point = gaecli.sweep(tmp_path / "r.parquet", [1.0], [1.0], preset=preset, bootstrap=bootstrap).points[0]
    assert point.mean == 2.125


def test_a_time_limit_is_no_terminal_state():
    """vwxyzjn/cleanrl#198, #311, #448: time limits counted as terminal; δ lacks γ V(final observation)."""
    rollout = one_env([1.0, 1.0], [0.0, 0.0], [0.0, 50.0], [False, False], [False, True])
    assert advantages_of("exact", rollout, gamma=0.9, lam=1.0)[0].tolist() == pytest.approx([42.4, 46.0])
    assert advantages_of("cleanrl", rollout, gamma=0.9, lam=1.0)[0].tolist() == pytest.approx([1.9, 1.0])


def test_augmented_rewards_give_the_advantages_of_exact():
    """DLR-RM/stable-baselines3#633, #651, #1276: who adds γ V(final observation), and when, was unclear."""
    rollout = random_rollout(2, end_rate=0.2)
    folded = replace(
        rollout,
        rewards=rollout.rewards + 0.9 * rollout.following * rollout.truncated,
        terminated=rollout.ended,
        truncated=np.zeros_like(rollout.truncated),
    )
    exact = advantages_of("exact", rollout, gamma=0.9)
    np.testing.assert_allclose(advantages_of("sb3", folded, gamma=0.9), exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("preset", ["exact", "sb3", "rsl-rl", "brax", "skrl-2.1", "tianshou"])
def test_terminated_wins_over_truncated(tmp_path, preset):
    """DLR-RM/stable-baselines3#1864; leggedrobotics/rsl_rl#43: a terminal state at the time limit got a value."""
    columns = {
        "reward": [1.0, 1.0],
        "value": [0.0, 0.0],
        "next_value": [0.0, 100.0],
        "terminated": [False, True],
        "truncated": [False, True],
    }
    found, summary = compute(
        tmp_path / "r.parquet", columns, preset=preset, gamma=0.5, lam=1.0, normalize="none"
    )
    assert found.tolist() == pytest.approx([1.5, 1.0])
    assert (summary.totals.terminated, summary.totals.truncated) == (1, 0)


def test_the_value_of_the_same_state_is_not_that_of_the_next():
    """leggedrobotics/rsl_rl#20, #43, #151, Denys88/rl_games#128, DexForce/EmbodiChain#612: V(s) for V(s')."""
    rollout = one_env(
        [10.0], [5.0], [5.0 - 10.0], [False], [True]
    )  # V(s') = V(s) - r: δ = 0 without discount
    assert advantages_of("exact", rollout, gamma=1.0)[0, 0] == 0.0
    assert advantages_of("rsl-rl", rollout, gamma=1.0)[0, 0] == 10.0, "r counts twice"


def test_the_state_before_a_terminal_step_has_a_target():
    """ray-project/ray#57683, #57895, #59958: a fake row per episode gave it the target 0. A -> B -> end, λ = 0."""
    rollout = one_env([1.0, 2.0], [0.3, 0.7], [0.7, 99.0], [False, True], [False, False])
    for preset in ("exact", "rllib", "rllib-old"):
        _, returns = estimate(block_of(rollout), Settings.from_preset(preset, gamma=0.9, lam=0.0))
        assert returns.tolist() == pytest.approx([1.0 + 0.9 * 0.7, 2.0])


def test_start_flags_and_end_flags_of_one_rollout_give_one_result(tmp_path):
    """hill-a/stable-baselines#385, RoboVerseOrg/RoboVerse#814, AechPro/rlgym-ppo#23, anthonytorlucci/rlevo#342:
    start flags read as end flags gave the step that ended the episode +95.0 instead of -4.0."""
    common = {"reward": [1.0, 1.0, 1.0], "value": [5.0, 5.0, 100.0]}
    settings = {"gamma": 1.0, "lam": 1.0}
    ends, _ = compute(tmp_path / "e.parquet", {**common, "done": [0, 1, 0]}, done_at="end", **settings)
    starts, _ = compute(tmp_path / "s.parquet", {**common, "done": [1, 0, 1]}, done_at="start", **settings)
    by_name, _ = compute(tmp_path / "n.parquet", {**common, "episode_start": [1, 0, 1]}, **settings)
    by_preset, _ = compute(
        tmp_path / "p.parquet", {**common, "done": [1, 0, 1]}, preset="cleanrl", **settings
    )
    assert ends.tolist() == [-3.0, -4.0, -99.0]
    assert starts.tolist() == by_name.tolist() == by_preset.tolist() == ends.tolist()


def test_start_flags_that_are_read_as_end_flags_are_refused(tmp_path):
    """The same bugs: with episode ids the reading can be checked, whatever preset it comes from."""
    columns = {"reward": [1.0] * 4, "value": [5.0] * 4, "episode_id": [0, 0, 1, 1], "done": [1, 0, 1, 0]}
    for preset in ("exact", "tianshou"):
        with pytest.raises(gaecli.GaeError, match=r"`done`|ends an episode"):
            compute(tmp_path / "r.parquet", columns, preset=preset)
    columns["done"] = [0, 1, 0, 1]
    with pytest.raises(gaecli.GaeError, match="ends an episode") as failure:
        compute(tmp_path / "r.parquet", columns, preset="cleanrl")
    assert "--done-at end" in str(failure.value.hint)


@pytest.mark.parametrize(
    "preset", ["exact", "tianshou", "torchrl", "sb3", "rllib", "rsl-rl", "brax", "finite-horizon"]
)
@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e300])
def test_nothing_is_read_beyond_a_terminal_step(preset, garbage):
    """thu-ml/tianshou#348, #869, and pytorch/rl 0.14.1, where NaN in the next value of a terminal row spread."""
    rollout = one_env(
        [1.0, 2.0, 3.0], [0.5, 0.25, 7.0], [0.25, garbage, 4.0], [False, True, False], [False] * 3
    )
    found = advantages_of(preset, rollout, gamma=0.5, lam=0.5)
    assert found[0, 1] == 2.0 - 0.25
    assert np.isfinite(found).all()


def test_values_are_never_made_of_next_values(tmp_path):
    """thu-ml/tianshou#886: a missing V was replaced by a roll of V(s')."""
    columns = {"reward": [1.0], "next_value": [2.0], "done": [True]}
    pq.write_table(pa.table(columns), tmp_path / "r.parquet")
    with pytest.raises(gaecli.UsageError, match="no value column"):
        gaecli.compute(tmp_path / "r.parquet", preset="tianshou")


def test_every_encoding_of_one_rollout_gives_one_result(tmp_path):
    """instadeepai/Mava#951, EdanToledo/Stoix#142, #148: one flag played both roles, and δ crossed the boundary.

    First steps, last steps with terminal states, both end flags, one of them with `done`.
    """
    rewards, values = [1.0, 2.0, 3.0, 4.0, 5.0], [0.5, 1.5, 2.5, 3.5, 4.5]
    beyond = [None, 9.0, None, None, 8.0]
    terminated, truncated = [0, 0, 0, 1, 0], [0, 1, 0, 0, 0]
    done = [0, 1, 0, 1, 0]
    encodings = [
        {"terminated": terminated, "truncated": truncated},
        {"terminated": terminated, "done": done},
        {"truncated": truncated, "done": done},
        {"is_terminal": terminated, "is_last": done},
        {"terminated": terminated, "truncated": truncated, "done": done},
        {"terminated": terminated, "truncated": truncated, "episode_id": [0, 0, 1, 1, 2]},
        {"terminated": terminated, "episode_id": [0, 0, 1, 1, 2]},
    ]
    results = []
    for number, flags in enumerate(encodings):
        columns = {"reward": rewards, "value": values, "next_value": beyond, **flags}
        found, _ = compute(tmp_path / f"{number}.parquet", columns, gamma=0.9, lam=0.8)
        results.append(found.tolist())
    delta = [1 + 0.9 * 1.5 - 0.5, 2 + 0.9 * 9 - 1.5, 3 + 0.9 * 3.5 - 2.5, 4 - 3.5, 5 + 0.9 * 8 - 4.5]
    by_hand = [delta[0] + 0.72 * delta[1], delta[1], delta[2] + 0.72 * delta[3], delta[3], delta[4]]
    assert results[0] == pytest.approx(by_hand)
    assert all(result == results[0] for result in results)


def test_rows_without_a_transition_are_told_and_left_out(tmp_path):
    """PufferAI/PufferLib#363, #445: A = 0 of the last column went into the statistics unseen."""
    arrays = {"rewards": np.ones((2, 3)), "values": np.full((2, 3), 0.5), "terminals": np.zeros((2, 3))}
    np.savez(tmp_path / "r.npz", **arrays)
    summary = gaecli.compute(tmp_path / "r.npz", preset="pufferlib", layout="batch-major")
    advantages = np.load(tmp_path / "r.npz")["advantage"]
    assert advantages[:, -1].tolist() == [0.0, 0.0]
    (note,) = [note for note in summary.warnings if note.code == "last-rows"]
    assert note.count == 2
    assert summary.columns["advantage"].count == 4
    assert summary.columns["advantage"].mean == pytest.approx(advantages[:, :-1].mean())


def test_dropped_steps_are_left_out_of_statistics(tmp_path):
    """ikostrikov/pytorch-a2c-ppo-acktr-gail#182: masked transitions stayed in the batch as A = 0."""
    columns = {
        "reward": [1.0, 2.0, 3.0, 4.0],
        "value": [0.0] * 4,
        "terminated": [False, False, False, True],
        "truncated": [False, True, False, False],
    }
    found, summary = compute(
        tmp_path / "r.parquet", columns, truncation="drop", gamma=1.0, lam=1.0, normalize="all", norm_ddof=0
    )
    raw = np.array([1.0, 7.0, 4.0])  # A₀ bootstraps from V₁ = 0
    np.testing.assert_allclose(found[[0, 2, 3]], (raw - raw.mean()) / (raw.std() + 1e-8), rtol=1e-6)
    assert summary.columns["advantage"].count == 3
    assert summary.totals.steps == 4
    assert summary.totals.truncated == 1


def test_masked_filler_rows_change_no_other_row(tmp_path):
    """Denys88/rl_games#362: filler rows of next-step autoreset took part in the recursion."""
    rng = np.random.default_rng(3)
    rewards, values = rng.normal(size=(2, 6, 2))
    ended = np.zeros((6, 2), bool)
    ended[2] = True
    valid = np.ones((6, 2), bool)
    valid[3] = False
    found = []
    for filler in (0.0, 1e6):
        rewards[3] = filler
        arrays = {"rewards": rewards, "values": values, "terminated": ended, "mask": valid}
        np.savez(tmp_path / "r.npz", **arrays)
        gaecli.compute(tmp_path / "r.npz", layout="time-major")
        found.append(np.load(tmp_path / "r.npz")["advantage"])
    np.testing.assert_array_equal(found[0][valid], found[1][valid])
    assert np.isnan(found[1][3]).all()


def test_the_row_after_a_segment_is_never_read():
    """PufferAI/PufferLib 46799bd, cuda/pufferlib.cu: the loop began one row too late and read the next segment."""
    rollout = random_rollout(4, num_envs=3, num_steps=6, end_rate=0.0)
    poisoned = replace(rollout, rewards=rollout.rewards.copy(), values=rollout.values.copy())
    poisoned.rewards[1:] = 1e6
    poisoned.values[1:] = 1e6
    for preset in ("exact", "cleanrl", "pufferlib", "skrl-2.1", "brax", "spinup", "finite-horizon"):
        clean, dirty = advantages_of(preset, rollout), advantages_of(preset, poisoned)
        np.testing.assert_array_equal(clean[0], dirty[0], err_msg=preset)
