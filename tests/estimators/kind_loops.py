"""What each output of every estimator of the table is, by loops over a rollout that know nothing of the table."""

from __future__ import annotations

import numpy as np
from estimators.off_policy_loops import Trajectory, by_name
from matrix.rollout import GAMMA, LAM, Rollout, advantages

from gaecli.estimator_kinds import EstimatorKind

N_STEPS = 3
#: λ of those that are sums of TD errors.
LAMBDAS = {"gae": LAM, "td-lambda": LAM, "td0": 0.0}


def to_go(given: Rollout, rewards: np.ndarray, *, with_values: bool) -> np.ndarray:
    """[N, T] discounted rewards to the end of each trajectory, by a plain loop."""
    found = np.zeros(rewards.shape)
    for env in range(found.shape[0]):
        later = 0.0
        for t in reversed(range(found.shape[1])):
            if given.ended[env, t] or t == found.shape[1] - 1:
                is_open = with_values and not given.terminated[env, t]
                later = float(given.following[env, t]) if is_open else 0.0
            found[env, t] = later = float(rewards[env, t]) + GAMMA * later
    return found


def n_step(given: Rollout, n: int) -> np.ndarray:
    """[N, T] so many TD errors, discounted, as far as the trajectory goes."""
    one = advantages(given, 0.0)
    found = np.zeros(one.shape)
    for env in range(found.shape[0]):
        for t in range(found.shape[1]):
            for k in range(t, min(t + n, found.shape[1])):
                found[env, t] += GAMMA ** (k - t) * one[env, k]
                if given.ended[env, k]:
                    break
    return found


def prompts_of(given: Rollout) -> np.ndarray:
    """[N, T] the first two environments answer one prompt, the others another."""
    return np.broadcast_to((np.arange(given.rewards.shape[0]) >= 2)[:, None].astype(int), given.rewards.shape)


def trajectories_of(given: Rollout) -> list[tuple[int, slice]]:
    """(environment, its steps) of each."""
    found = []
    for env, rewards in enumerate(given.rewards):
        start = 0
        for t in range(len(rewards)):
            if given.ended[env, t] or t == len(rewards) - 1:
                found.append((env, slice(start, t + 1)))
                start = t + 1
    return found


def compared(score: float, group: list[float], name: str) -> float:
    """A score beside those of its group, by Python's own numbers."""
    if len(group) == 1:
        return 0.0
    mean = sum(group) / len(group)
    std = (sum((other - mean) ** 2 for other in group) / (len(group) - 1)) ** 0.5
    return {
        "grpo": (score - mean) / (std + 1e-8),
        "dr-grpo": score - mean,
        "rloo": score - (sum(group) - score) / (len(group) - 1),
        "max-rl": (score - mean) / mean if mean > 0 else 0.0,
        "passk": max(score - sorted(group)[-2], 0.0) / (std + 1e-8),
    }[name]


def whitened(numbers: np.ndarray, once: list[float]) -> np.ndarray:
    """`once`: what enters mean and std."""
    mean = sum(once) / len(once)
    std = (sum((number - mean) ** 2 for number in once) / (len(once) - 1)) ** 0.5
    return (numbers - mean) / (std + 1e-8)


def beside_the_group(given: Rollout, name: str) -> np.ndarray:
    """[N, T] the score of each trajectory beside those of the trajectories with its prompt."""
    trajectories = trajectories_of(given)
    scores = [float(sum(given.rewards[env, steps])) for env, steps in trajectories]
    bonuses = [float(sum(bonus_of(given)[env, steps])) for env, steps in trajectories]
    lengths = [steps.stop - steps.start for _, steps in trajectories]
    if name == "grpo-loo":
        return left_out(given)
    plain = name if name in ("grpo", "dr-grpo", "rloo", "max-rl", "passk") else "dr-grpo"
    batch_mean = sum(scores) / len(scores)
    batch_std = (sum((score - batch_mean) ** 2 for score in scores) / (len(scores) - 1)) ** 0.5
    if name == "rae":
        return beside_the_running_mean(given, trajectories, scores)
    made = []
    for (env, _), score, bonus in zip(trajectories, scores, bonuses, strict=True):
        mates = [k for k, (other, _) in enumerate(trajectories) if (other >= 2) == (env >= 2)]
        group = [scores[k] for k in mates]
        number = compared(score, group, plain)
        if name == "grpo-batch":
            number /= batch_std + 1e-8
        elif name == "gpg":
            number *= len(scores) / sum(score != 0 for score in scores)
        elif name == "flash-reinforce":
            number = score - batch_mean
        elif name == "opo":
            number = score - sum(lengths[k] * scores[k] for k in mates) / sum(lengths[k] for k in mates)
        elif name == "gdpo":
            number = compared(score, group, "grpo") + 0.5 * compared(
                bonus, [bonuses[k] for k in mates], "grpo"
            )
        elif name == "gigpo":
            number = compared(score, group, "grpo")
        made.append(number)
    found = np.zeros(given.rewards.shape)
    for (env, steps), number in zip(trajectories, made, strict=True):
        found[env, steps] = number
    if name == "gdpo":
        return whitened(found, made)
    if name == "rf++-baseline":
        return whitened(found, found.reshape(-1).tolist())
    return found + 0.5 * beside_equal_states(given) if name == "gigpo" else found


def beside_the_running_mean(
    given: Rollout, trajectories: list[tuple[int, slice]], scores: list[float]
) -> np.ndarray:
    """In the order of `turns_of`, which is not that of the rows; 0.75 of a mean stays."""
    found, running = np.zeros(given.rewards.shape), {False: 0.0, True: 0.0}
    turns = turns_of(given)
    for k in sorted(range(len(scores)), key=lambda k: turns[trajectories[k][0], trajectories[k][1].start]):
        env, steps = trajectories[k]
        found[env, steps] = scores[k] - running[env >= 2]
        running[env >= 2] = 0.75 * running[env >= 2] + 0.25 * scores[k]
    return found


def turns_of(given: Rollout) -> np.ndarray:
    """[N, T] a number for each trajectory; no two of them have the same."""
    trajectories = trajectories_of(given)
    found = np.zeros(given.rewards.shape, np.int64)
    for number, (env, steps) in enumerate(trajectories):
        found[env, steps] = number * 7 % 31
    return found


def left_out(given: Rollout) -> np.ndarray:
    """Each score beside the mean and std of the others of its group."""
    trajectories = trajectories_of(given)
    scores = [float(sum(given.rewards[env, steps])) for env, steps in trajectories]
    found = np.zeros(given.rewards.shape)
    for k, (env, steps) in enumerate(trajectories):
        others = [
            scores[j] for j, (other, _) in enumerate(trajectories) if j != k and (other >= 2) == (env >= 2)
        ]
        mean = sum(others) / max(len(others), 1)
        std = (sum((other - mean) ** 2 for other in others) / max(len(others) - 1, 1)) ** 0.5
        if others:
            found[env, steps] = (scores[k] - mean) / (std + 1e-8 if std else 1.0)
    return found


def states_of(given: Rollout) -> np.ndarray:
    return np.broadcast_to(np.arange(given.rewards.shape[1]) % 3, given.rewards.shape)


def beside_equal_states(given: Rollout) -> np.ndarray:
    returns = to_go(given, given.rewards, with_values=False)
    keys = prompts_of(given) * 10 + states_of(given)
    found = np.zeros(returns.shape)
    for env, t in np.ndindex(*returns.shape):
        group = [float(number) for number in returns[keys == keys[env, t]]]
        found[env, t] = compared(float(returns[env, t]), group, "grpo")
    return found


def greedy_of(given: Rollout) -> np.ndarray:
    return np.random.default_rng(9).normal(size=given.rewards.shape[:1]).round(3)[:, None] + np.zeros(
        given.rewards.shape
    )


def bonus_of(given: Rollout) -> np.ndarray:
    return np.random.default_rng(8).normal(size=given.rewards.shape).round(3)


def policies_of(given: Rollout) -> dict[str, np.ndarray]:
    random = np.random.default_rng(9)
    target, behaviour = -random.exponential(size=(2, *given.rewards.shape)).round(3)
    q = random.normal(size=given.rewards.shape).round(3)
    return {"target_log_prob": target, "behaviour_log_prob": behaviour, "q_value": q}


def off_policy(given: Rollout, name: str) -> dict[str, np.ndarray]:
    """Trajectory by trajectory."""
    policies = policies_of(given)
    found = {output: np.zeros(given.rewards.shape) for output in ("advantage", "return")}
    for env in range(given.rewards.shape[0]):
        start = 0
        for t in range(given.rewards.shape[1]):
            if not given.ended[env, t] and t < given.rewards.shape[1] - 1:
                continue
            steps = slice(start, t + 1)
            behind = 0.0 if given.terminated[env, t] else float(given.following[env, t])
            numbers = [given.rewards, given.values, *policies.values()]
            rewards, values, target, behaviour, q = (part[env, steps].tolist() for part in numbers)
            of = Trajectory(rewards, values, behind, target, behaviour, q, gamma=GAMMA, lam=LAM)
            found["advantage"][env, steps], found["return"][env, steps] = by_name(name, of)
            start = t + 1
    return found


def expected(kind: EstimatorKind, given: Rollout, *, with_values: bool) -> dict[str, np.ndarray]:
    """What each output is, by loops that know nothing of the table."""
    if kind.is_grouped:
        return {"advantage": beside_the_group(given, kind.name)}
    if kind.module.endswith("off_policy"):
        return off_policy(given, kind.name)
    if kind.is_scored:
        returns = to_go(given, given.rewards, with_values=False)
        if kind.name == "remax":
            return {"advantage": returns - greedy_of(given)}
        return {"advantage": whitened(returns, returns.reshape(-1).tolist()), "return": returns}
    if "value" in kind.roles:
        found = n_step(given, N_STEPS) if kind.name == "n-step" else advantages(given, LAMBDAS[kind.name])
        return {"advantage": found, "return": found + given.values}
    rewards = given.rewards + (bonus_of(given) if kind.name == "bonus-to-go" else 0.0)
    return {"return": to_go(given, rewards, with_values=with_values)}
