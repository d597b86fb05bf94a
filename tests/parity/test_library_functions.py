"""Presets against the libraries' own functions, cut out of the files that they published.

For libraries that do not install beside others, or whose function sits in a trainer: `sources.py` says where one
comes from. Deselected by default: `pytest -m parity_heavy`; skipped without a network.
"""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
from parity.published import (
    AGILERL,
    BASELINES_PPO1,
    BASELINES_PPO2,
    CLEANRL,
    CLEANRL_JAX,
    ELEGANTRL,
    EVORL,
    IKOSTRIKOV,
    MAPPO,
    PUREJAXRL,
    REJAX,
    SPINNING_UP,
    SPINNING_UP_CORE,
    STOIX,
)
from parity.sources import cut, run
from parity.test_libraries import GAMMA, LAM, _jax, case, compare, episodes_of, raw

pytestmark = pytest.mark.parity_heavy
__all__ = ["case"]  # a fixture

Transition = namedtuple("Transition", ["done", "value", "reward"])


class _Unchecked:
    """Stands for `chex`: its assertions about shapes and types hold."""

    def __getattr__(self, name):
        return lambda *given: None


class TestSteps:
    @pytest.mark.parametrize(("truncation", "is_proper"), [("drop", True), ("zero", False)])
    def test_ikostrikov(self, case, truncation, is_proper):
        torch = pytest.importorskip("torch")
        rollout, arrays, dtype = case
        storage = storage_of(arrays, torch.from_numpy)
        storage.returns = torch.zeros_like(storage.value_preds)
        compute_returns = cut(IKOSTRIKOV, "compute_returns", torch=torch)
        compute_returns(storage, torch.from_numpy(arrays.last), True, GAMMA, LAM, is_proper)
        returns = storage.returns[:-1].numpy()
        found = raw("ikostrikov", rollout, truncation=truncation)
        compare("ikostrikov", IKOSTRIKOV.version, dtype, found, [(returns - arrays.values).T, returns.T])

    @pytest.mark.parametrize(("truncation", "is_proper"), [("drop", True), ("zero", False)])
    def test_mappo(self, case, truncation, is_proper):
        rollout, arrays, dtype = case
        buffer = storage_of(arrays, lambda array: array)
        vars(buffer).update(
            returns=np.zeros_like(buffer.value_preds),
            gamma=GAMMA,
            gae_lambda=LAM,
            algo="rmappo",
            _use_gae=True,
            _use_proper_time_limits=is_proper,
            _use_popart=False,
            _use_valuenorm=False,
        )
        cut(MAPPO, "compute_returns", np=np)(buffer, arrays.last)
        returns = buffer.returns[:-1]
        found = raw("mappo", rollout, truncation=truncation)
        compare("mappo", MAPPO.version, dtype, found, [(returns - arrays.values).T, returns.T])

    def test_spinning_up(self, case):
        signal = pytest.importorskip("scipy.signal")
        rollout, _, dtype = case
        scipy = SimpleNamespace(signal=signal)
        core = SimpleNamespace(discount_cumsum=cut(SPINNING_UP_CORE, "discount_cumsum", scipy=scipy))
        finish_path = cut(SPINNING_UP, "finish_path", np=np, core=core)
        advantages, returns = np.zeros((2, *rollout.shape))
        for env, steps in episodes_of(rollout):
            path = SimpleNamespace(
                rew_buf=rollout.rewards[env, steps], val_buf=rollout.values[env, steps], path_start_idx=0,
                ptr=steps.stop - steps.start, gamma=GAMMA, lam=LAM,
                adv_buf=advantages[env, steps], ret_buf=returns[env, steps],
            )  # fmt: skip
            has_died = rollout.terminated[env, steps][-1]
            finish_path(path, 0 if has_died else rollout.following[env, steps][-1])
        compare("spinup", SPINNING_UP.version, dtype, raw("spinup", rollout), [advantages, returns])

    def test_baselines_ppo1(self, case):
        rollout, arrays, dtype = case
        if dtype == "float64":
            pytest.skip("baselines computes in float32")
        segments = []
        for env in range(rollout.shape[0]):
            ended = rollout.ended[env]
            segment = {
                "rew": rollout.rewards[env],
                "vpred": rollout.values[env],
                "new": np.append(1, ended[:-1]),
            }
            segments.append(segment | {"nextvpred": arrays.last[env] * (1 - ended[-1])})
            cut(BASELINES_PPO1, "add_vtarg_and_adv", np=np)(segments[-1], GAMMA, LAM)
        expected = [np.array([segment[name] for segment in segments]) for name in ("adv", "tdlamret")]
        compare("baselines-ppo1", BASELINES_PPO1.version, dtype, raw("baselines-ppo1", rollout), expected)

    def test_baselines_ppo2(self, case):
        rollout, arrays, dtype = case
        if dtype == "float64":
            pytest.skip("baselines computes in float32")
        times = iter(range(rollout.shape[1]))
        observations = np.zeros(rollout.shape[0], np.float32)

        def act(observations, **state):
            runner.time = next(times)
            return observations, arrays.values[runner.time], None, observations

        def step(actions):
            now = runner.time
            return observations, arrays.rewards[now], arrays.ended[now], ({},) * rollout.shape[0]

        runner = SimpleNamespace(
            model=SimpleNamespace(step=act, value=lambda observations, **state: arrays.last),
            env=SimpleNamespace(step=step), nsteps=rollout.shape[1], gamma=GAMMA, lam=LAM,
            obs=observations, states=None, dones=np.ones(rollout.shape[0], bool),
        )  # fmt: skip
        run = cut(BASELINES_PPO2, "sf01", "run", np=np)
        _, returns, _, _, values, *_ = run(runner)
        expected = [part.reshape(rollout.shape) for part in (returns - values, returns)]
        compare("baselines-ppo2", BASELINES_PPO2.version, dtype, raw("baselines-ppo2", rollout), expected)

    def test_cleanrl(self, case):
        torch = pytest.importorskip("torch")
        rollout, arrays, dtype = case
        starts = np.vstack([np.ones(rollout.shape[0]), arrays.ended[:-1]])
        names = run(
            CLEANRL,
            "next_value = agent.get_value(",
            "returns = advantages + values",
            torch=torch,
            device="cpu",
            args=SimpleNamespace(num_steps=rollout.shape[1], gamma=GAMMA, gae_lambda=LAM),
            agent=SimpleNamespace(get_value=lambda observations: observations),
            next_obs=torch.from_numpy(arrays.last),
            next_done=torch.from_numpy(arrays.ended[-1].astype(dtype)),
            dones=torch.from_numpy(starts.astype(dtype)),
            rewards=torch.from_numpy(arrays.rewards),
            values=torch.from_numpy(arrays.values),
        )
        expected = [names[name].numpy().T for name in ("advantages", "returns")]
        compare("cleanrl", CLEANRL.version, dtype, raw("cleanrl", rollout), expected)

    def test_cleanrl_jax(self, case):
        jax = _jax()
        rollout, arrays, dtype = case
        number, asarray = np.dtype(dtype).type, jax.numpy.asarray
        starts = np.vstack([np.ones(rollout.shape[0]), arrays.ended[:-1]]).astype(dtype)
        named = {"rewards": arrays.rewards, "values": arrays.values, "dones": starts}
        named["advantages"] = np.zeros_like(arrays.values)
        compute = cut(
            CLEANRL_JAX,
            "compute_gae",
            np=np,
            args=SimpleNamespace(num_steps=rollout.shape[1], gamma=number(GAMMA), gae_lambda=number(LAM)),
            network=SimpleNamespace(apply=lambda params, observations: observations),
            critic=SimpleNamespace(apply=lambda params, hidden: hidden[None]),
        )
        params = SimpleNamespace(critic_params=None, network_params=None)
        storage = compute(
            SimpleNamespace(params=params),
            asarray(arrays.last),
            asarray(arrays.ended[-1].astype(dtype)),
            _Storage(**{name: asarray(array) for name, array in named.items()}),
        )
        expected = [np.asarray(part).T for part in (storage.advantages, storage.returns)]
        compare("cleanrl-jax", CLEANRL_JAX.version, dtype, raw("cleanrl-jax", rollout), expected)

    def test_agilerl(self, case):
        torch = pytest.importorskip("torch")
        rollout, arrays, dtype = case
        if dtype == "float64":
            pytest.skip("AgileRL computes in float32")
        named = {"rewards": arrays.rewards, "dones": arrays.ended, "values": arrays.values}
        named |= {"advantages": np.zeros_like(arrays.values), "returns": np.zeros_like(arrays.values)}
        num_steps, num_envs = arrays.values.shape
        buffer = SimpleNamespace(
            buffer={name: torch.from_numpy(array.copy()) for name, array in named.items()},
            capacity=num_steps,
            full=True,
            num_envs=num_envs,
            use_gae=True,
            gamma=GAMMA,
            gae_lambda=LAM,
        )
        names = {"np": np, "torch": torch, "narrow_tensor": lambda tensor: tensor}
        compute = cut(AGILERL, "compute_returns_and_advantages", **names)
        compute(buffer, last_value=arrays.last, last_done=arrays.terminated[-1])
        expected = [buffer.buffer[name].numpy().T for name in ("advantages", "returns")]
        compare("agilerl", AGILERL.version, dtype, raw("agilerl", rollout), expected)

    def test_elegantrl(self, case):
        torch = pytest.importorskip("torch")
        rollout, arrays, dtype = case
        states = torch.from_numpy(arrays.values)[..., None]  # of which the critic is the identity
        agent = SimpleNamespace(
            cri=lambda states: states,
            last_state=torch.from_numpy(arrays.last)[:, None],
            gamma=GAMMA,
            lambda_gae_adv=LAM,
            if_use_v_trace=True,
        )
        advantages = cut(ELEGANTRL, "get_advantages", th=torch, TEN=torch.Tensor)(
            agent,
            states,
            torch.from_numpy(arrays.rewards.copy()),
            torch.from_numpy(~arrays.terminated),
            torch.from_numpy(~arrays.truncated),
            torch.from_numpy(arrays.values),
        ).numpy()
        expected = [advantages.T, (advantages + arrays.values).T]
        compare("elegantrl", ELEGANTRL.version, dtype, raw("elegantrl", rollout), expected)

    def test_evorl(self, case):
        jax = _jax()
        rollout, arrays, dtype = case
        number = np.dtype(dtype).type
        returns, advantages = cut(EVORL, "compute_gae", jax=jax, jnp=jax.numpy, chex=_Unchecked())(
            jax.numpy.asarray(arrays.rewards),
            jax.numpy.asarray(np.vstack([arrays.values, arrays.last])),
            jax.numpy.asarray(arrays.ended.astype(dtype)),
            jax.numpy.asarray(arrays.terminated.astype(dtype)),
            number(LAM),
            number(GAMMA),
        )
        expected = [np.asarray(advantages).T, np.asarray(returns).T]
        compare("evorl", EVORL.version, dtype, raw("evorl", rollout), expected)

    @pytest.mark.parametrize("is_standardized", [False, True])
    def test_stoix(self, case, is_standardized):
        jax = _jax()
        rollout, arrays, dtype = case
        number = np.dtype(dtype).type
        scope = {"jax": jax, "jnp": jax.numpy, "chex": _Unchecked()}
        advantages, targets = cut(STOIX, "batch_truncated_generalized_advantage_estimation", **scope)(
            jax.numpy.asarray(arrays.rewards),
            jax.numpy.asarray((~arrays.terminated * number(GAMMA)).astype(dtype)),
            number(LAM),
            v_tm1=jax.numpy.asarray(arrays.values),
            v_t=jax.numpy.asarray(arrays.following),
            truncation_t=jax.numpy.asarray(arrays.truncated.astype(dtype)),
            time_major=True,
            standardize_advantages=is_standardized,
        )
        found, returns = raw("stoix", rollout)
        if is_standardized:
            found = (found - found.mean()) / np.sqrt(found.var() + 1e-5)
        expected = [np.asarray(advantages).T, np.asarray(targets).T]
        compare("stoix", STOIX.version, dtype, [found, returns], expected)

    def test_purejaxrl(self, case):
        jax = _jax()
        rollout, arrays, dtype = case
        number = np.dtype(dtype).type
        config = {"GAMMA": number(GAMMA), "GAE_LAMBDA": number(LAM)}
        calculate = cut(PUREJAXRL, "_calculate_gae", jax=jax, jnp=jax.numpy, config=config)
        advantages, targets = calculate(transitions(jax, arrays, dtype), jax.numpy.asarray(arrays.last))
        expected = [np.asarray(advantages).T, np.asarray(targets).T]
        compare("purejaxrl", PUREJAXRL.version, dtype, raw("purejaxrl", rollout), expected)

    def test_rejax(self, case):
        jax = _jax()
        rollout, arrays, dtype = case
        if rollout.shape[0] == 1:
            pytest.skip("rejax drops the axis of a single environment")
        number = np.dtype(dtype).type
        algorithm = SimpleNamespace(gamma=number(GAMMA), gae_lambda=number(LAM))
        calculate = cut(REJAX, "calculate_gae", jax=jax, jnp=jax.numpy)
        advantages, targets = calculate(
            algorithm, transitions(jax, arrays, dtype), jax.numpy.asarray(arrays.last)
        )
        expected = [np.asarray(advantages).T, np.asarray(targets).T]
        compare("rejax", REJAX.version, dtype, raw("rejax", rollout), expected)


class _Storage(SimpleNamespace):
    """A data class of flax."""

    def replace(self, **changes):
        return _Storage(**{**vars(self), **changes})


def storage_of(arrays, of_array) -> SimpleNamespace:
    """T + 1 rows of values and of inverted flags, which are of the state that a step led to."""
    ones = np.ones_like(arrays.values[:1])
    return SimpleNamespace(
        rewards=of_array(arrays.rewards),
        value_preds=of_array(np.vstack([arrays.values, ones])),
        masks=of_array(np.vstack([ones, 1 - arrays.ended.astype(arrays.values.dtype)])),
        bad_masks=of_array(np.vstack([ones, 1 - arrays.truncated.astype(arrays.values.dtype)])),
    )


def transitions(jax, arrays, dtype) -> Transition:
    ended, asarray = arrays.ended.astype(dtype), jax.numpy.asarray
    return Transition(asarray(ended), asarray(arrays.values), asarray(arrays.rewards))
