"""Every preset over steps against its published recurrence, a plain loop in `loops.py`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from parity.loops import SAID, STEP_LOOPS, arrival_rows, sample_factory
from parity.rollouts import Rollout, block_of, estimate, random_rollout
from parity.token_loops import TOKEN_LOOPS, TURN_LOOPS

from gaecli.errors import UsageError
from gaecli.presets import PRESETS
from gaecli.settings import Settings

#: The loops compute in float64 as the kernel does; what is left is the order of additions.
TOLERANCE = {"rtol": 1e-10, "atol": 1e-11}


def settings_of(name: str, **given) -> Settings:
    return Settings.from_preset(name, **SAID.get(name, {}), **given)


def by_loop(name: str, rollout: Rollout, gamma: float, lam: float, **more) -> tuple[np.ndarray, np.ndarray]:
    results = [
        STEP_LOOPS[name](**rollout.env(index), gamma=gamma, lam=lam) for index in range(rollout.shape[0])
    ]
    return tuple(np.array([result[part] for result in results]).reshape(-1) for part in (0, 1))


def block_for(name: str, rollout: Rollout):
    """What a layout makes of the file that the library would write."""
    if name != "pufferlib":
        return block_of(rollout)
    stored = [
        arrival_rows(row.tolist(), end.tolist())[0]
        for row, end in zip(rollout.rewards, rollout.terminated, strict=True)
    ]
    return block_of(replace(rollout, rewards=np.array(stored)))


def test_every_preset_has_a_loop():
    assert set(PRESETS) == set(STEP_LOOPS) | set(TOKEN_LOOPS) | set(TURN_LOOPS)


@pytest.mark.parametrize("name", STEP_LOOPS)
class TestRandomRollouts:
    def test_with_the_defaults_of_the_preset(self, name):
        for seed in range(4):
            self.check(name, random_rollout(seed, both=True), settings_of(name))

    @pytest.mark.parametrize("end_rate", [0.0, 0.6, 1.0])
    def test_other_discounts_and_ends(self, name, end_rate):
        for gamma, lam in [(0.9, 0.8), (1.0, 1.0), (0.99, 0.0), (0.0, 0.7), (0.7, 1.0)]:
            settings = settings_of(name, gamma=gamma, lam=lam)
            self.check(name, random_rollout(7, end_rate=end_rate), settings)

    @pytest.mark.parametrize(("num_envs", "num_steps"), [(1, 1), (4, 1), (1, 300)])
    def test_other_shapes(self, name, num_envs, num_steps):
        self.check(name, random_rollout(3, num_envs, num_steps), settings_of(name))

    def check(self, name, rollout, settings):
        expected = by_loop(name, rollout, settings.gamma, settings.lam)
        found = estimate(block_for(name, rollout), settings)
        said = f"γ {settings.gamma}, λ {settings.lam}"
        np.testing.assert_allclose(found[0], expected[0], **TOLERANCE, err_msg=said)
        np.testing.assert_allclose(found[1], expected[1], **TOLERANCE, err_msg=said)


@pytest.mark.parametrize("name", STEP_LOOPS)
def test_float32_cells_are_met_to_float32(name):
    rollout = random_rollout(11).cast(np.float32)
    settings = settings_of(name, precision="single")
    found = estimate(block_for(name, rollout), settings)
    for got, expected in zip(found, by_loop(name, rollout, settings.gamma, settings.lam), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_options_of_libraries_are_a_flag_beside_the_preset():
    rollout = random_rollout(5)
    pairs = [
        ("skrl-1.4", "current", "rsl-rl"),  # time_limit_bootstrap of 1.4
        ("skrl-2.1", "exact", "exact"),  # time_limit_bootstrap of 2.1
        ("sample-factory", "current", "rsl-rl"),  # value_bootstrap
        ("rl-games", "zero", "cleanrl"),  # value_bootstrap: False
        ("rsl-rl", "zero", "cleanrl"),  # no time_outs reported
        ("ikostrikov", "zero", "cleanrl"),  # without --use-proper-time-limits
        ("mappo", "zero", "cleanrl"),
    ]
    for name, truncation, same_as in pairs:
        settings = Settings.from_preset(name, truncation=truncation, gamma=0.9, lam=0.8)
        expected = by_loop(same_as, rollout, 0.9, 0.8)
        for got, numbers in zip(estimate(block_of(rollout), settings), expected, strict=True):
            np.testing.assert_allclose(got, numbers, **TOLERANCE, err_msg=name)


def test_invalid_steps_gate_sample_factory():
    rollout = random_rollout(2, end_rate=0.1)
    valids = np.random.default_rng(2).random(rollout.shape) < 0.7
    settings = Settings.from_preset("sample-factory", gamma=0.9, lam=0.8)
    rows = [
        sample_factory(**rollout.env(env), gamma=0.9, lam=0.8, valids=valids[env].tolist())
        for env in range(rollout.shape[0])
    ]
    flat = valids.reshape(-1)
    block = block_of(
        rollout,
        rewards=np.where(flat, rollout.rewards.reshape(-1), 0),
        values=np.where(flat, rollout.values.reshape(-1), 0),
        masked=~flat,
    )
    for got, part in zip(estimate(block, settings), (0, 1), strict=True):
        np.testing.assert_allclose(got, np.array([row[part] for row in rows]).reshape(-1), **TOLERANCE)


#: γ = λ = 1/2. Step 0: r 1, V 2; where the episode ends there, the next state has V 6. Step 1: r 10, V 4, and
#: the state after the rollout has V 8, so that A₁ = 10 + 8/2 - 4 = 10. A₀ for the flags of step 0:
#: neither, terminated, truncated, both.
GOLDEN = {
    # 1 + 4/2 - 2 + 10/4 = 3.5;  1 - 2 = -1;  1 + 6/2 - 2 = 2;  terminated wins
    "exact torchrl sb3 a2c rllib rllib-old tianshou tianshou-npg rlax spinup stoix": (3.5, -1.0, 2.0, -1.0),
    # truncated is terminal
    "cleanrl cleanrl-jax baselines-ppo1 baselines-ppo2 sample-factory skrl-1.4 purejaxrl": (
        3.5,
        -1.0,
        -1.0,
        -1.0,
    ),
    # V of the same state: 1 + 2/2 - 2 = 0
    "rl-games rsl-rl": (3.5, -1.0, 0.0, -1.0),
    # no advantage, and nothing flows through
    "ikostrikov mappo": (3.5, -1.0, 0.0, -1.0),
    # V of the same state without γ: 1 + 2 - 2 = 1
    "elegantrl": (3.5, -1.0, 1.0, -1.0),
    # V of the next row, of the next episode, and no A: 1 + 4/2 - 2 = 1
    "evorl": (3.5, -1.0, 1.0, -1.0),
    # no flag is read at row 0: as neither
    "agilerl": (3.5, 3.5, 3.5, 3.5),
    # not cut: as neither
    "skrl-2.0 skrl-2.1": (3.5, -1.0, 3.5, -1.0),
    # δ + γ acc' = 1 + 10/2 = 6;  dropped
    "brax": (6.0, -1.0, 0.0, -1.0),
    # c₁ = 1, y₁ = 10 + 8/2 = 14;  c₀ = 3/2, y₀ = 3/2 + 4/2 + 14/4 = 7, A₀ = 14/3 - 2
    "finite-horizon": (14 / 3 - 2, -1.0, 2.0, -1.0),
    # the reward of step 0 stands in row 1: 10 + 4/2 - 2 = 10 with A₁ = 0;  10 - 2 = 8
    "pufferlib": (10.0, 8.0, 10.0, 8.0),
}
BY_HAND = {name: numbers for names, numbers in GOLDEN.items() for name in names.split()}


@pytest.mark.parametrize("name", STEP_LOOPS)
def test_four_kinds_of_end_by_hand(name):
    found = []
    for terminated, truncated in [(False, False), (True, False), (False, True), (True, True)]:
        ended = terminated or truncated
        rollout = Rollout(
            rewards=np.array([[1.0, 10.0]]),
            values=np.array([[2.0, 4.0]]),
            following=np.array([[6.0 if ended else 4.0, 8.0]]),
            terminated=np.array([[terminated, False]]),
            truncated=np.array([[truncated, False]]),
        )
        advantages, _ = estimate(block_of(rollout), settings_of(name, gamma=0.5, lam=0.5))
        found.append(float(advantages[0]))
    assert found == pytest.approx(list(BY_HAND[name]), abs=1e-12)


def test_a_preset_with_an_option_for_time_limits_asks():
    rollout = random_rollout(5)
    with pytest.raises(UsageError, match="cut by a limit") as found:
        estimate(block_of(rollout), Settings.from_preset("ikostrikov"))
    assert "`--truncation drop`" in str(found.value.hint)
    assert "`--truncation zero`" in str(found.value.hint)
    without = rollout.truncated & False
    estimate(block_of(replace(rollout, truncated=without)), Settings.from_preset("ikostrikov"))


def test_only_such_a_preset_may_ask():
    with pytest.raises(UsageError, match="`--truncation` is `ask`"):
        Settings.from_preset("exact", truncation="ask")
