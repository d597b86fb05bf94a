"""Off-policy estimators, λ-returns and n-step returns against rlax and TorchRL; see `test_libraries.py`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from parity.rollouts import Rollout, block_of, random_rollout
from parity.test_libraries import DTYPES, GAMMA, LAM, TOLERANCE, _jax, library

from gaecli.estimators.base import estimate_whole
from gaecli.estimators.registry import make_estimator
from gaecli.kernels.devices import choose_device
from gaecli.settings import Settings

pytestmark = pytest.mark.parity_heavy

CLIPS = {"rho_bar": 1.5, "pg_bar": 1.25}


@pytest.fixture(params=DTYPES)
def dtype(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def rollout() -> Rollout:
    """A step that carries both flags is terminal, as in the file."""
    return random_rollout(3, 4, 60, both=True)


def policies(rollout: Rollout) -> dict[str, np.ndarray]:
    random = np.random.default_rng(11)
    target, behaviour = -random.exponential(size=(2, *rollout.shape))
    return {"log_prob": target, "behaviour_log_prob": behaviour, "q": random.normal(size=rollout.shape)}


def found(rollout: Rollout, extras: dict[str, np.ndarray], **settings) -> tuple[np.ndarray, np.ndarray]:
    """[N, T] advantages and returns."""
    flat = {name: numbers.reshape(-1) for name, numbers in extras.items()}
    given = Settings.from_preset("exact", gamma=GAMMA, **settings)
    estimator = make_estimator(given, choose_device("auto", 0))
    block = estimator.prepare(replace(block_of(rollout), extras=flat))
    advantages, returns = estimate_whole(estimator, block)
    returns = advantages + block.values if returns is None else returns
    return advantages.reshape(rollout.shape), returns.reshape(rollout.shape)


def with_next_values(rollout: Rollout, following: np.ndarray, **settings) -> tuple[np.ndarray, np.ndarray]:
    """[N, T] advantages and returns with these next values in all rows."""
    estimator = make_estimator(
        Settings.from_preset("exact", gamma=GAMMA, **settings), choose_device("auto", 0)
    )
    block = estimator.prepare(replace(block_of(rollout), next_values=following.reshape(-1)))
    advantages, _ = estimate_whole(estimator, block)
    return advantages.reshape(rollout.shape), (advantages + block.values).reshape(rollout.shape)


def pieces(rollout: Rollout):
    """(environment, its steps up to an end) of each trajectory: rlax has no word for a truncation inside."""
    for env in range(rollout.shape[0]):
        stops = [*(np.flatnonzero(rollout.ended[env]) + 1).tolist(), rollout.shape[1]]
        starts = [0, *stops[:-1]]
        yield from (
            (env, slice(start, stop)) for start, stop in zip(starts, stops, strict=True) if start < stop
        )


def close(found: np.ndarray, expected: np.ndarray, dtype: str) -> None:
    scale = max(float(np.abs(expected).max()), 1.0)
    assert float(np.abs(found - expected).max()) / scale <= TOLERANCE[dtype]


def test_vtrace_of_rlax(rollout: Rollout, dtype: str) -> None:
    jax = _jax()
    _, (rlax,) = library("rlax", "rlax")
    extras = policies(rollout)
    advantages, targets = found(rollout, extras, estimator="vtrace", lam=LAM, **CLIPS)
    ratios = np.exp(extras["log_prob"] - extras["behaviour_log_prob"])
    cast = lambda numbers: jax.numpy.asarray(np.asarray(numbers).astype(dtype))  # noqa: E731 - short
    for env, steps in pieces(rollout):
        last = steps.stop - 1
        following = np.append(rollout.values[env, steps][1:], rollout.following[env, last])
        discounts = np.full(len(following), GAMMA)
        discounts[-1] *= not rollout.terminated[env, last]
        output = rlax.vtrace_td_error_and_advantage(
            cast(rollout.values[env, steps]),
            cast(following),
            cast(rollout.rewards[env, steps]),
            cast(discounts),
            cast(ratios[env, steps]),
            lambda_=LAM,
            clip_rho_threshold=CLIPS["rho_bar"],
            clip_pg_rho_threshold=CLIPS["pg_bar"],
        )
        close(advantages[env, steps], np.asarray(output.pg_advantage, np.float64), dtype)
        errors = targets[env, steps] - rollout.values[env, steps]
        close(errors, np.asarray(output.errors, np.float64), dtype)


@pytest.mark.parametrize("name", ["retrace", "q-lambda", "tree-backup"])
def test_returns_from_q_and_v_of_rlax(name: str, rollout: Rollout, dtype: str) -> None:
    jax = _jax()
    _, (rlax,) = library("rlax", "rlax")
    extras = policies(rollout)
    target, behaviour = extras["log_prob"], extras["behaviour_log_prob"]
    coefficients = {
        "retrace": LAM * np.minimum(1, np.exp(target - behaviour)),
        "q-lambda": np.full(rollout.shape, LAM),
        "tree-backup": np.exp(target),
    }[name]
    lam = 1.0 if name == "tree-backup" else LAM
    _, targets = found(rollout, extras, estimator=name, lam=lam)
    cast = lambda numbers: jax.numpy.asarray(np.asarray(numbers).astype(dtype))  # noqa: E731 - short
    for env, steps in pieces(rollout):
        last = steps.stop - 1
        later = slice(steps.start + 1, steps.stop)
        discounts = np.full(steps.stop - steps.start, GAMMA)
        discounts[-1] *= not rollout.terminated[env, last]
        expected = rlax.general_off_policy_returns_from_q_and_v(
            cast(extras["q"][env, later]),
            cast(np.append(rollout.values[env, later], rollout.following[env, last])),
            cast(rollout.rewards[env, steps]),
            cast(discounts),
            cast(coefficients[env, later]),
        )
        close(targets[env, steps], np.asarray(expected, np.float64), dtype)


def test_vtrace_of_torchrl(rollout: Rollout, dtype: str) -> None:
    """Its λ is 1, and A is clipped as TD errors are."""
    _, (torch, functional) = library("torchrl", "torch", "torchrl.objectives.value.functional")
    extras = policies(rollout)
    cast = lambda numbers: torch.tensor(np.asarray(numbers), dtype=getattr(torch, dtype))[..., None]  # noqa: E731 - short
    flag = lambda flags: torch.tensor(np.asarray(flags))[..., None]  # noqa: E731 - short
    following = rollout.values[:, 1:]
    following = np.where(rollout.ended, rollout.following, np.pad(following, ((0, 0), (0, 1))))
    following[:, -1] = rollout.following[:, -1]
    done = rollout.ended.copy()
    done[:, -1] = True
    expected, targets = functional.vtrace_advantage_estimate(
        GAMMA,
        cast(extras["log_prob"]),
        cast(extras["behaviour_log_prob"]),
        cast(rollout.values),
        cast(following),
        cast(rollout.rewards),
        flag(done),
        flag(rollout.terminated),
        rho_thresh=CLIPS["rho_bar"],
        c_thresh=0.75,
    )
    clips = {"rho_bar": CLIPS["rho_bar"], "c_bar": 0.75}
    own = found(rollout, extras, estimator="vtrace", lam=1.0, **clips)
    for ours, theirs in zip(own, (expected, targets), strict=True):
        close(ours, theirs[..., 0].numpy().astype(np.float64), dtype)


@pytest.mark.parametrize("lam", [0.0, LAM, 1.0])
def test_lambda_returns_of_torchrl(rollout: Rollout, dtype: str, lam: float) -> None:
    """With a next value in each row that is another one than V of the next row, as of a target network."""
    _, (torch, functional) = library("torchrl", "torch", "torchrl.objectives.value.functional")
    following = np.random.default_rng(5).normal(size=rollout.shape)
    cast = lambda numbers: torch.tensor(np.asarray(numbers), dtype=getattr(torch, dtype))[..., None]  # noqa: E731 - short
    flag = lambda flags: torch.tensor(np.asarray(flags))[..., None]  # noqa: E731 - short
    expected = functional.td_lambda_return_estimate(
        GAMMA, lam, cast(following), cast(rollout.rewards), flag(rollout.ended), flag(rollout.terminated)
    )
    advantages, returns = with_next_values(rollout, following, estimator="td-lambda", lam=lam)
    close(returns, expected[..., 0].numpy().astype(np.float64), dtype)
    np.testing.assert_allclose(advantages, returns - rollout.values, atol=1e-12)


@pytest.mark.parametrize("n", [1, 4, 100])
def test_n_step_returns_of_rlax(rollout: Rollout, dtype: str, n: int) -> None:
    """`v_t` are the values of the next states, whoever gives them."""
    jax = _jax()
    _, (rlax,) = library("rlax", "rlax")
    following = np.random.default_rng(5).normal(size=rollout.shape)
    _, returns = with_next_values(rollout, following, estimator="n-step", n_steps=n)
    cast = lambda numbers: jax.numpy.asarray(np.asarray(numbers).astype(dtype))  # noqa: E731 - short
    for env, steps in pieces(rollout):
        discounts = np.full(steps.stop - steps.start, GAMMA)
        discounts[-1] *= not rollout.terminated[env, steps.stop - 1]
        expected = rlax.n_step_bootstrapped_returns(
            cast(rollout.rewards[env, steps]), cast(discounts), cast(following[env, steps]), n
        )
        close(returns[env, steps], np.asarray(expected, np.float64), dtype)
