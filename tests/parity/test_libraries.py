"""Presets against the libraries' own functions, run in this process on random rollouts.

Deselected by default: `pytest -m parity_heavy`, in an environment where the libraries are installed (docs/parity.md
says which). A library that is not there is skipped by name. With PARITY_LOG=FILE the largest errors are written
there, one JSON line per comparison.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import json
import os
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parity.rollouts import Rollout, block_of, estimate, random_rollout

import gaecli
from gaecli.settings import Settings

pytestmark = pytest.mark.parity_heavy

#: Exact in float32: torch multiplies γ with a flag in float32, whatever the dtype of the rewards, so that other
#: numbers would be rounded there (0.99 by 1e-8, which is what float64 would then differ by).
GAMMA, LAM = 63 / 64, 15 / 16
#: Relative to the largest number: float32 adds up in another order there, float64 differs by rounding only.
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
DTYPES = ["float32", "float64"]
SIZES = [(1, 1), (3, 64), (6, 200)]


def library(distribution: str, *modules: str):
    """(version, modules) of an installed library."""
    found = [pytest.importorskip(name, exc_type=ImportError) for name in modules]
    return importlib.metadata.version(distribution), found


def compare(preset: str, version: str, dtype: str, found, expected) -> None:
    """(advantages, returns) of gaecli and of the library, in float64 and in the dtype of the library."""
    found, expected = (
        np.stack([np.ravel(part) for part in parts]).astype(np.float64) for parts in (found, expected)
    )
    scale = np.maximum(np.abs(expected).max(axis=1, keepdims=True), 1.0)
    error = float((np.abs(found - expected) / scale).max())
    if "PARITY_LOG" in os.environ:
        line = {"preset": preset, "version": version, "dtype": dtype, "error": error, "steps": found.shape[1]}
        with Path(os.environ["PARITY_LOG"]).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
    assert error <= TOLERANCE[dtype], f"{preset}: {error:.3g}"


def whitened(numbers, ddof: int = 1, eps: float = 1e-8):
    """Raw advantages as a library stores them that normalises in the same function."""
    return (numbers - numbers.mean()) / (numbers.std(ddof=ddof) + eps)


def raw(preset: str, rollout: Rollout, **settings) -> tuple[np.ndarray, np.ndarray]:
    """[N, T] advantages and returns."""
    settings = {"gamma": GAMMA, "lam": LAM, **settings}
    found = estimate(block_of(rollout), Settings.from_preset(preset, **settings))
    return tuple(part.reshape(rollout.shape) for part in found)


def time_major(rollout: Rollout, dtype: str) -> SimpleNamespace:
    """[T, N] arrays as collectors hold them."""
    cast = rollout.cast(dtype)
    truncated = (rollout.truncated & ~rollout.terminated).T
    return SimpleNamespace(
        rewards=cast.rewards.T.copy(),
        values=cast.values.T.copy(),
        following=cast.following.T.copy(),
        last=cast.following[:, -1].copy(),
        terminated=rollout.terminated.T.copy(),
        truncated=truncated.copy(),
        ended=rollout.ended.T.copy(),
    )


@pytest.fixture(params=[(size, dtype) for size in SIZES for dtype in DTYPES], ids=str)
def case(request):
    (num_envs, num_steps), dtype = request.param
    rollout = random_rollout(num_envs + num_steps, num_envs, num_steps, both=True).cast(dtype)
    return rollout, time_major(rollout, dtype), dtype


@pytest.mark.parametrize(("preset", "gamma", "lam"), [("sb3", GAMMA, LAM), ("a2c", GAMMA, 1.0)])
def test_stable_baselines3(case, preset, gamma, lam):
    version, (buffers, spaces, torch) = library(
        "stable_baselines3", "stable_baselines3.common.buffers", "gymnasium.spaces", "torch"
    )
    rollout, arrays, dtype = case
    num_envs, num_steps = rollout.shape
    box = spaces.Box(-1.0, 1.0, (1,))
    buffer = buffers.RolloutBuffer(num_steps, box, box, "cpu", gae_lambda=lam, gamma=gamma, n_envs=num_envs)
    gamma_of_dtype = np.dtype(dtype).type(gamma)
    # As `OnPolicyAlgorithm.collect_rollouts` does: γ V(terminal observation) goes into the reward.
    buffer.rewards = np.where(
        arrays.truncated, arrays.rewards + gamma_of_dtype * arrays.following, arrays.rewards
    )
    buffer.values = arrays.values
    buffer.advantages = np.zeros_like(arrays.values)
    buffer.episode_starts = np.vstack([np.ones(num_envs), arrays.ended[:-1]]).astype(dtype)
    buffer.compute_returns_and_advantage(torch.from_numpy(arrays.last), arrays.ended[-1])
    expected = [buffer.advantages.T, buffer.returns.T]
    compare(preset, version, dtype, raw(preset, rollout, gamma=gamma, lam=lam), expected)


def test_torchrl(case):
    version, (functional, torch) = library("torchrl", "torchrl.objectives.value.functional", "torch")
    rollout, arrays, dtype = case
    tensors = {
        name: torch.from_numpy(getattr(arrays, name).T[..., None].copy())
        for name in ("rewards", "values", "following", "terminated", "ended")
    }
    advantages, targets = functional.generalized_advantage_estimate(
        GAMMA, LAM, tensors["values"], tensors["following"], tensors["rewards"],
        done=tensors["ended"], terminated=tensors["terminated"],
    )  # fmt: skip
    compare("torchrl", version, dtype, raw("torchrl", rollout), [advantages.numpy(), targets.numpy()])


@pytest.mark.parametrize("preset", ["tianshou", "tianshou-npg"])
def test_tianshou(case, preset):
    version, (base,) = library("tianshou", "tianshou.algorithm.algorithm_base")
    rollout, arrays, dtype = case
    # A buffer of several environments, one after the other; the last step of each is unfinished.
    flat = {name: getattr(arrays, name).T.reshape(-1) for name in ("rewards", "values", "following")}
    end_flag = arrays.ended.T.copy()
    end_flag[:, -1] = True
    next_values = np.where(arrays.terminated.T.reshape(-1), np.dtype(dtype).type(0), flat["following"])
    advantages = base._gae(flat["values"], next_values, flat["rewards"], end_flag.reshape(-1), GAMMA, LAM)
    found = raw(preset, rollout)
    compare(preset, version, dtype, found, [advantages, advantages + flat["values"]])


def test_skrl(case):
    """Version 1.4, 2.0 or 2.1, whichever is installed; each has its own preset."""
    version, (ppo, torch) = library("skrl", "skrl.agents.torch.ppo.ppo", "torch")
    rollout, arrays, dtype = case
    if rollout.rewards.size < 2:
        pytest.skip("skrl normalises in the same function: one row gives NaN there")
    preset = "skrl-" + ".".join(version.split(".")[:2])
    tensors = {name: torch.from_numpy(array)[..., None] for name, array in vars(arrays).items()}
    last = tensors["last"]
    discounts = {"discount_factor": GAMMA, "lambda_coefficient": LAM}
    if preset == "skrl-1.4":
        compute = _nested_function(ppo.PPO._update, "compute_gae", {"torch": torch, "last_values": last})
        dones = tensors["terminated"] | tensors["truncated"]
        returns, advantages = compute(tensors["rewards"], dones, tensors["values"], last, GAMMA, LAM)
        runs = [({}, returns, advantages)]
    elif preset == "skrl-2.0":
        common = {name: tensors[name] for name in ("rewards", "terminated", "values")} | discounts
        runs = [({}, *ppo.compute_gae(**common, next_values=last))]
    else:
        common = {
            name: tensors[name] for name in ("rewards", "terminated", "truncated", "values")
        } | discounts
        shaped = dict(common)
        only_truncated = tensors["truncated"].to(tensors["rewards"].dtype)
        shaped["rewards"] = common["rewards"] + GAMMA * tensors["following"] * only_truncated
        runs = [
            ({}, *ppo.compute_gae(**common, last_values=last)),
            (
                {"truncation": "exact"},
                *ppo.compute_gae(**shaped, last_values=last, time_limit_bootstrap=True),
            ),
        ]
    for settings, returns, advantages in runs:
        found = raw(preset, rollout, **settings)
        expected = [advantages[..., 0].numpy().T, returns[..., 0].numpy().T]
        compare(preset, version, dtype, [whitened(found[0]), found[1]], expected)


def _nested_function(method, name: str, scope: dict):
    """A function that is defined inside a method, compiled from its source by itself."""
    lines = inspect.getsource(inspect.unwrap(method)).splitlines()
    start = next(index for index, line in enumerate(lines) if line.strip().startswith(f"def {name}("))
    indent = len(lines[start]) - len(lines[start].lstrip())
    stop = next(
        index
        for index in range(start + 1, len(lines))
        if lines[index].strip()
        and len(lines[index]) - len(lines[index].lstrip()) <= indent
        and lines[index].strip()[0] != ")"
    )
    namespace = dict(scope)
    exec(textwrap.dedent("\n".join(lines[start:stop])), namespace)
    return namespace[name]


def test_rsl_rl(case):
    version, (ppo, torch) = library("rsl-rl-lib", "rsl_rl.algorithms.ppo", "torch")
    rollout, arrays, dtype = case
    if rollout.rewards.size < 2:
        pytest.skip("RSL-RL normalises in the same method: one row gives NaN there")
    shaped = (
        arrays.rewards + np.dtype(dtype).type(GAMMA) * arrays.values * arrays.truncated
    )  # process_env_step
    storage = SimpleNamespace(
        num_transitions_per_env=rollout.shape[1],
        rewards=torch.from_numpy(shaped)[..., None],
        values=torch.from_numpy(arrays.values)[..., None],
        dones=torch.from_numpy(arrays.ended)[..., None],
        returns=torch.zeros(*arrays.values.shape, 1, dtype=getattr(torch, dtype)),
    )
    critic = _Critic(torch.from_numpy(arrays.last)[:, None])
    algorithm = SimpleNamespace(
        storage=storage, critic=critic, gamma=GAMMA, lam=LAM, normalize_advantage_per_mini_batch=False
    )
    inspect.unwrap(ppo.PPO.compute_returns)(algorithm, None)
    found = raw("rsl-rl", rollout)
    expected = [storage.advantages[..., 0].numpy().T, storage.returns[..., 0].numpy().T]
    compare("rsl-rl", version, dtype, [whitened(found[0]), found[1]], expected)


class _Critic:
    """Gives the last values, and has no hidden state."""

    def __init__(self, last_values) -> None:
        self._last_values = last_values

    def __call__(self, observations):
        return self._last_values

    def get_hidden_state(self):
        return None

    def reset(self, **state) -> None:
        return None


def test_rl_games(case):
    version, (common, torch) = library("rl-games", "rl_games.common.a2c_common", "torch")
    rollout, arrays, dtype = case
    shaped = arrays.rewards + np.dtype(dtype).type(GAMMA) * arrays.values * arrays.truncated
    starts = np.vstack([np.ones(rollout.shape[0]), arrays.ended[:-1]]).astype(dtype)
    agent = SimpleNamespace(horizon_length=rollout.shape[1], gamma=GAMMA, tau=LAM)
    advantages = common.A2CBase.discount_values(
        agent,
        torch.from_numpy(arrays.ended[-1].astype(dtype)),
        torch.from_numpy(arrays.last)[:, None],
        torch.from_numpy(starts),
        torch.from_numpy(arrays.values)[..., None],
        torch.from_numpy(shaped)[..., None],
    )[..., 0].numpy()
    expected = [advantages.T, (advantages + arrays.values).T]
    compare("rl-games", version, dtype, raw("rl-games", rollout), expected)


@pytest.mark.parametrize("valid_rate", [1.0, 0.7])
def test_sample_factory(case, valid_rate):
    version, (utils, torch) = library("sample-factory", "sample_factory.algo.utils.rl_utils", "torch")
    rollout, arrays, dtype = case
    valids = np.random.default_rng(1).random(rollout.shape) < valid_rate
    values = np.hstack([arrays.values.T, arrays.last[:, None]])
    valids_after = np.hstack([valids, valids[:, -1:]])
    advantages = utils.gae_advantages(
        torch.from_numpy(arrays.rewards.T.copy()),
        torch.from_numpy(arrays.ended.T.copy()),
        torch.from_numpy(values),
        torch.from_numpy(valids_after.astype(dtype)),
        GAMMA,
        LAM,
    ).numpy()
    flat = valids.reshape(-1)
    masked = {
        "rewards": np.where(flat, rollout.rewards.reshape(-1), 0),
        "values": np.where(flat, rollout.values.reshape(-1), 0),
        "masked": ~flat,
    }
    found = estimate(
        block_of(rollout, **masked), Settings.from_preset("sample-factory", gamma=GAMMA, lam=LAM)
    )
    compare("sample-factory", version, dtype, found, [advantages, advantages + valids * arrays.values.T])


@functools.cache
def _jax():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    return jax


def test_rlax(case):
    jax = _jax()
    version, (rlax,) = library("rlax", "rlax")
    rollout, arrays, dtype = case
    gamma = np.dtype(dtype).type(GAMMA)
    rewards = np.where(arrays.truncated, arrays.rewards + gamma * arrays.following, arrays.rewards)
    discounts = np.where(arrays.ended, 0, gamma).astype(dtype)
    values = np.vstack([arrays.values, arrays.last])
    function = functools.partial(rlax.truncated_generalized_advantage_estimation, stop_target_gradients=True)
    by_env = [
        function(
            jax.numpy.asarray(rewards[:, env]),
            jax.numpy.asarray(discounts[:, env]),
            np.dtype(dtype).type(LAM),
            jax.numpy.asarray(values[:, env]),
        )
        for env in range(rollout.shape[0])
    ]
    advantages = np.array(by_env)
    compare("rlax", version, dtype, raw("rlax", rollout), [advantages, advantages + arrays.values.T])


def test_brax(case):
    jax = _jax()
    version, (losses,) = library("brax", "brax.training.agents.ppo.losses")
    rollout, arrays, dtype = case
    number = np.dtype(dtype).type
    targets, advantages = losses.compute_gae(
        truncation=jax.numpy.asarray(arrays.truncated.astype(dtype)),
        termination=jax.numpy.asarray(arrays.terminated.astype(dtype)),
        rewards=jax.numpy.asarray(arrays.rewards),
        values=jax.numpy.asarray(arrays.values),
        bootstrap_value=jax.numpy.asarray(arrays.last),
        lambda_=number(LAM),
        discount=number(GAMMA),
    )
    expected = [np.asarray(advantages).T, np.asarray(targets).T]
    compare("brax", version, dtype, raw("brax", rollout), expected)


def episodes_of(rollout: Rollout):
    """Slices of each environment from one end to the next."""
    for env in range(rollout.shape[0]):
        stops = (np.flatnonzero(rollout.ended[env]) + 1).tolist()
        if not stops or stops[-1] < rollout.shape[1]:
            stops.append(rollout.shape[1])
        for start, stop in zip([0, *stops[:-1]], stops, strict=True):
            yield env, slice(start, stop)


def test_rllib(case):
    version, (predictions,) = library("ray", "ray.rllib.utils.postprocessing.value_predictions")
    rollout, _, dtype = case
    if dtype == "float64":
        pytest.skip("RLlib stores float32")
    returns = np.zeros(rollout.shape)
    for env, steps in episodes_of(rollout):
        # As `AddOneTsToEpisodesAndTruncate` does: a row with V of the last observation is added.
        ends_terminally = bool(rollout.terminated[env, steps][-1])
        num_steps = steps.stop - steps.start
        last = 0.0 if ends_terminally else rollout.following[env, steps][-1]
        at_end = np.arange(num_steps + 1) == num_steps - 1
        targets = predictions.compute_value_targets(
            values=np.append(rollout.values[env, steps], last).astype(np.float32),
            rewards=np.append(rollout.rewards[env, steps], 0.0).astype(np.float32),
            terminateds=(at_end & ends_terminally).astype(np.float32),
            truncateds=(at_end & (not ends_terminally)).astype(np.float32),
            gamma=GAMMA,
            lambda_=1.0,
        )
        returns[env, steps] = targets[:-1]
    compare("rllib", version, dtype, raw("rllib", rollout, lam=1.0), [returns - rollout.values, returns])


def test_rllib_old(case):
    version, (postprocessing, batches) = library(
        "ray", "ray.rllib.evaluation.postprocessing", "ray.rllib.policy.sample_batch"
    )
    rollout, _, dtype = case
    if dtype == "float64":
        pytest.skip("RLlib stores float32")
    advantages, returns = np.zeros((2, *rollout.shape))
    for env, steps in episodes_of(rollout):
        batch = batches.SampleBatch(
            {"rewards": rollout.rewards[env, steps], "vf_preds": rollout.values[env, steps]}
        )
        last = 0.0 if rollout.terminated[env, steps][-1] else rollout.following[env, steps][-1]
        done = postprocessing.compute_advantages(
            batch, float(last), GAMMA, 1.0, use_gae=True, use_critic=True
        )
        advantages[env, steps], returns[env, steps] = done["advantages"], done["value_targets"]
    compare("rllib-old", version, dtype, raw("rllib-old", rollout, lam=1.0), [advantages, returns])


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 1.0), (1.0, 0.95), (0.9, 0.8)])
def test_verl(tmp_path, gamma, lam):
    """Through a file: what is written is float32, whitened, in every slot."""
    version, (core_algos, torch) = library("verl", "verl.trainer.ppo.core_algos", "torch")
    rng = np.random.default_rng(3)
    mask = (np.arange(60) < rng.integers(1, 60, size=16)[:, None]) & (rng.random((16, 60)) < 0.8)
    rewards, values = rng.normal(size=(2, 16, 60))
    advantages, returns = core_algos.compute_gae_advantage_return(
        torch.from_numpy(rewards), torch.from_numpy(values), torch.from_numpy(mask.astype(float)), gamma, lam
    )
    columns = {"rewards": list(rewards), "values": list(values), "response_mask": list(mask.astype(int))}
    pq.write_table(pa.table(columns), tmp_path / "r.parquet")
    gaecli.compute(tmp_path / "r.parquet", preset="verl", gamma=gamma, lam=lam)
    table = pq.read_table(tmp_path / "r.parquet")
    found = [np.array(table[name].to_pylist()) for name in ("advantage", "return")]
    compare("verl", version, "float32", found, [advantages.numpy(), returns.numpy()])
