"""The lines of docs/python.md for training loops, run as they stand there against the library's own."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from parity.published import CLEANRL
from parity.rollouts import random_rollout
from parity.sources import run
from parity.test_libraries import GAMMA, LAM, _Critic, library, time_major, whitened

import gaecli

pytestmark = pytest.mark.parity_heavy

PAGE = (Path(__file__).parents[2] / "docs/python.md").read_text(encoding="utf-8")
NUM_ENVS, NUM_STEPS = 6, 50


@pytest.fixture
def rollout() -> Any:
    return random_rollout(3, NUM_ENVS, NUM_STEPS, both=True).cast("float32")


@pytest.fixture
def arrays(rollout: Any) -> SimpleNamespace:
    """[T, N]; one environment ends with the last step."""
    made = time_major(rollout, "float32")
    made.ended[-1, 0] = made.terminated[-1, 0] = True
    return made


def lines_of(name: str, **names: Any) -> dict[str, Any]:
    """What the code on the page below the paragraph that begins with `name` makes of `names`."""
    found = re.search(rf"^{name},.*?^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    made = {"gaecli": gaecli, "np": np, **names}
    exec(compile(found[1], f"docs/python.md: {name}", "exec"), made)
    return made


def check(found: Any, expected: Any) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_stable_baselines3(rollout: Any, arrays: SimpleNamespace) -> None:
    _, (buffers, spaces, torch) = library(
        "stable_baselines3", "stable_baselines3.common.buffers", "gymnasium.spaces", "torch"
    )
    box = spaces.Box(-1.0, 1.0, (1,))
    made = []
    for kind in (lines_of("Stable-Baselines3")["GaeBuffer"], buffers.RolloutBuffer):
        buffer = kind(NUM_STEPS, box, box, "cpu", gae_lambda=LAM, gamma=GAMMA, n_envs=NUM_ENVS)
        buffer.rewards, buffer.values = arrays.rewards, arrays.values
        buffer.advantages = np.zeros_like(arrays.values)
        buffer.episode_starts = np.vstack([np.ones(NUM_ENVS), arrays.ended[:-1]]).astype(np.float32)
        buffer.compute_returns_and_advantage(torch.from_numpy(arrays.last)[:, None], arrays.ended[-1])
        made.append([buffer.advantages, buffer.returns])
    check(*made)


def test_stable_baselines3_trains_with_it() -> None:
    library("stable_baselines3", "stable_baselines3")
    from stable_baselines3 import PPO

    buffer = lines_of("Stable-Baselines3")["GaeBuffer"]
    model = PPO("MlpPolicy", "CartPole-v1", rollout_buffer_class=buffer, n_steps=64, seed=0, device="cpu")
    model.learn(128)
    assert np.abs(model.rollout_buffer.advantages).max() > 0


def test_cleanrl(rollout: Any, arrays: SimpleNamespace) -> None:
    import torch

    starts = np.vstack([np.zeros(NUM_ENVS), arrays.ended[:-1]])
    names = {
        "torch": torch,
        "args": SimpleNamespace(num_steps=NUM_STEPS, gamma=GAMMA, gae_lambda=LAM),
        "agent": SimpleNamespace(get_value=lambda observations: observations),
        "next_obs": torch.from_numpy(arrays.last),
        "next_done": torch.from_numpy(arrays.ended[-1].astype(np.float32)),
        "dones": torch.from_numpy(starts.astype(np.float32)),
        "rewards": torch.from_numpy(arrays.rewards),
        "values": torch.from_numpy(arrays.values),
    }
    found = lines_of("CleanRL", **names)
    first, last = "next_value = agent.get_value(", "returns = advantages + values"
    expected = run(CLEANRL, first, last, device="cpu", **names)
    check(*([made["advantages"], made["returns"]] for made in (found, expected)))


def test_torchrl(rollout: Any, arrays: SimpleNamespace) -> None:
    _, (tensordict, value, torch) = library("torchrl", "tensordict", "torchrl.objectives.value", "torch")
    there = {
        name: torch.from_numpy(array.T[..., None].copy())
        for name, array in vars(arrays).items()
        if name != "last"
    }
    following = {
        "reward": there["rewards"],
        "state_value": there["following"],
        "terminated": there["terminated"],
        "done": there["ended"],
    }
    data = tensordict.TensorDict(
        {"state_value": there["values"], "next": following}, batch_size=[NUM_ENVS, NUM_STEPS]
    )
    module = value.GAE(gamma=GAMMA, lmbda=LAM, value_network=None)
    expected = module(data.clone())
    found = lines_of("TorchRL")["add_estimates"](data, GAMMA, LAM)
    assert found is data
    names = ("advantage", "value_target")
    check([found[name] for name in names], [expected[name] for name in names])


def test_rsl_rl(rollout: Any, arrays: SimpleNamespace) -> None:
    _, (ppo, torch) = library("rsl-rl-lib", "rsl_rl.algorithms.ppo", "torch")
    storage = SimpleNamespace(
        num_transitions_per_env=NUM_STEPS,
        rewards=torch.from_numpy(arrays.rewards)[..., None],
        values=torch.from_numpy(arrays.values)[..., None],
        dones=torch.from_numpy(arrays.ended).byte()[..., None],
        returns=torch.zeros(NUM_STEPS, NUM_ENVS, 1),
    )
    last_values = torch.from_numpy(arrays.last)[:, None]
    algorithm = SimpleNamespace(
        storage=storage,
        critic=_Critic(last_values),
        gamma=GAMMA,
        lam=LAM,
        normalize_advantage_per_mini_batch=False,
    )
    inspect.unwrap(ppo.PPO.compute_returns)(algorithm, None)
    expected = [storage.advantages, storage.returns]
    lines_of("RSL-RL", st=storage, self=algorithm, last_values=last_values)
    check([whitened(storage.advantages.numpy()), storage.returns.numpy()], [one.numpy() for one in expected])
