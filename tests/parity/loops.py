"""The published recurrences as plain loops over floats, one per preset. Nothing here is gaecli's.

Every loop takes one environment (or one response) as lists and returns (advantages, returns), as the
library stores them before any normalisation. `following[t]` is V of the true next observation, `terminated`
and `truncated` are flags of step t. What the library sees of these is worked out in the loop, as its
collector would: start flags, a last value, rewards with a bootstrap folded in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Floats = list[float]
Result = tuple[Floats, Floats]


def exact(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """Schulman et al. 2016, eq. 16, as the explicit double sum."""
    num_steps = len(rewards)
    cut = [end or limit for end, limit in zip(terminated, truncated, strict=True)]
    cut[-1] = True
    advantages = []
    for t in range(num_steps):
        total, weight, k = 0.0, 1.0, t
        while True:
            beyond = 0.0 if terminated[k] else following[k]
            total += weight * (rewards[k] + gamma * beyond - values[k])
            if cut[k]:
                break
            weight *= gamma * lam
            k += 1
        advantages.append(total)
    return advantages, _sum(advantages, values)


def torchrl(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """torchrl/objectives/value/functional.py, generalized_advantage_estimate: a next value in every row."""
    advantages = [0.0] * len(rewards)
    previous = 0.0
    for t in reversed(range(len(rewards))):
        done = terminated[t] or truncated[t]
        delta = rewards[t] + gamma * following[t] * (not terminated[t]) - values[t]
        previous = delta + gamma * lam * (not done) * (previous if t + 1 < len(rewards) else 0.0)
        advantages[t] = previous
    return advantages, _sum(advantages, values)


def stable_baselines3(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """stable_baselines3/common/on_policy_algorithm.py (fold) and buffers.py, compute_returns_and_advantage."""
    starts, last_done = _starts(terminated, truncated)
    only_truncated = [limit and not end for end, limit in zip(terminated, truncated, strict=True)]
    folded = [
        reward + gamma * beyond if limit else reward
        for reward, beyond, limit in zip(rewards, following, only_truncated, strict=True)
    ]
    advantages = [0.0] * len(rewards)
    last_gae = 0.0
    for t in reversed(range(len(rewards))):
        is_last = t == len(rewards) - 1
        non_terminal = 1.0 - (last_done if is_last else starts[t + 1])
        next_value = following[t] if is_last else values[t + 1]
        delta = folded[t] + gamma * next_value * non_terminal - values[t]
        last_gae = delta + gamma * lam * non_terminal * last_gae
        advantages[t] = last_gae
    return advantages, _sum(advantages, values)


def cleanrl(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """cleanrl/ppo.py: `dones` are start flags, of ends of either kind; so is baselines/ppo2/runner.py."""
    starts, next_done = _starts(terminated, truncated)
    advantages = [0.0] * len(rewards)
    last_gae = 0.0
    for t in reversed(range(len(rewards))):
        is_last = t == len(rewards) - 1
        non_terminal = 1.0 - (next_done if is_last else starts[t + 1])
        next_value = following[t] if is_last else values[t + 1]
        delta = rewards[t] + gamma * next_value * non_terminal - values[t]
        last_gae = delta + gamma * lam * non_terminal * last_gae
        advantages[t] = last_gae
    return advantages, _sum(advantages, values)


def baselines_ppo1(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """baselines/ppo1/pposgd_simple.py, add_vtarg_and_adv: `new` with a 0 appended, nextvpred = V (1 - new)."""
    starts, last_new = _starts(terminated, truncated)
    new = [*starts, 0.0]
    vpred = [*values, following[-1] * (1.0 - last_new)]
    advantages = [0.0] * len(rewards)
    last_gae = 0.0
    for t in reversed(range(len(rewards))):
        non_terminal = 1.0 - new[t + 1]
        delta = rewards[t] + gamma * vpred[t + 1] * non_terminal - vpred[t]
        last_gae = delta + gamma * lam * non_terminal * last_gae
        advantages[t] = last_gae
    return advantages, _sum(advantages, values)


def rllib(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """rllib/utils/postprocessing/value_predictions.py: λ-returns per episode, then A = R - V."""
    returns: Floats = []
    for start, stop in _episodes(terminated, truncated):
        last = 0.0 if terminated[stop - 1] else following[stop - 1]
        beyond = [*values[start + 1 : stop], last]
        target, targets = last, []
        for t in reversed(range(start, stop)):
            target = rewards[t] + gamma * ((1.0 - lam) * beyond[t - start] + lam * target)
            targets.append(target)
        returns += targets[::-1]
    return [target - value for target, value in zip(returns, values, strict=True)], returns


def rllib_old(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """rllib/evaluation/postprocessing.py, compute_advantages: a discounted sum of δ over the path."""
    advantages: Floats = []
    for start, stop in _episodes(terminated, truncated):
        predicted = [*values[start:stop], 0.0 if terminated[stop - 1] else following[stop - 1]]
        deltas = [rewards[start + k] + gamma * predicted[k + 1] - predicted[k] for k in range(stop - start)]
        advantages += _discounted_sums(deltas, gamma * lam)
    return advantages, _sum(advantages, values)


def spinning_up(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """spinup/algos/pytorch/ppo/ppo.py, PPOBuffer.finish_path: returns are rewards to go."""
    advantages, returns = [], []
    for start, stop in _episodes(terminated, truncated):
        last = 0.0 if terminated[stop - 1] else following[stop - 1]
        path_rewards, path_values = [*rewards[start:stop], last], [*values[start:stop], last]
        deltas = [path_rewards[k] + gamma * path_values[k + 1] - path_values[k] for k in range(stop - start)]
        advantages += _discounted_sums(deltas, gamma * lam)
        returns += _discounted_sums(path_rewards, gamma)[:-1]
    return advantages, returns


def tianshou(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """tianshou/algorithm/algorithm_base.py, _gae: V' masked by termination, `end_flag` with unfinished."""
    next_values = [0.0 if end else beyond for end, beyond in zip(terminated, following, strict=True)]
    end_flag = [end or limit for end, limit in zip(terminated, truncated, strict=True)]
    end_flag[-1] = True
    advantages = [0.0] * len(rewards)
    gae = 0.0
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + next_values[t] * gamma - values[t]
        gae = delta + (1.0 - end_flag[t]) * gamma * lam * gae
        advantages[t] = gae
    return advantages, _sum(advantages, values)


def rlax(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """rlax/_src/multistep.py, truncated_generalized_advantage_estimation; the caller encodes the ends."""
    only_truncated = [limit and not end for end, limit in zip(terminated, truncated, strict=True)]
    discounts = [0.0 if end or limit else gamma for end, limit in zip(terminated, truncated, strict=True)]
    encoded = [
        reward + gamma * beyond if limit else reward
        for reward, beyond, limit in zip(rewards, following, only_truncated, strict=True)
    ]
    beyond = [*values[1:], following[-1]]
    advantages = [0.0] * len(rewards)
    gae = 0.0
    for t in reversed(range(len(rewards))):
        gae = encoded[t] + discounts[t] * beyond[t] - values[t] + discounts[t] * lam * gae
        advantages[t] = gae
    return advantages, _sum(advantages, values)


def pufferlib(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """pufferlib/extensions/pufferlib.cpp, puff_advantage_row, ratio 1.

    The rows of the segment as they are stored: reward and terminal of a row came with its observation.
    """
    stored_rewards, stored_terminals = arrival_rows(rewards, terminated)
    horizon = len(rewards)
    advantages = [0.0] * horizon
    last = 0.0
    for t in range(horizon - 2, -1, -1):
        non_terminal = 1.0 - stored_terminals[t + 1]
        delta = stored_rewards[t + 1] + gamma * values[t + 1] * non_terminal - values[t]
        last = delta + gamma * lam * last * non_terminal
        advantages[t] = last
    return advantages, _sum(advantages, values)


def arrival_rows(rewards, terminated) -> tuple[Floats, Floats]:
    """Reward and flag of step t in row t + 1; what came with the first observation is made up."""
    return [777.0, *rewards[:-1]], [0.0, *map(float, terminated[:-1])]


def same_state(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """rsl_rl/algorithms/ppo.py (process_env_step, compute_returns); rl_games/common/a2c_common.py the same
    with start flags; Sample Factory and skrl 1.4 with their options on. Terminated wins here."""
    shaped = [
        reward + gamma * value * (limit and not end)
        for reward, value, end, limit in zip(rewards, values, terminated, truncated, strict=True)
    ]
    advantage, advantages = 0.0, [0.0] * len(rewards)
    for t in reversed(range(len(rewards))):
        next_value = following[t] if t == len(rewards) - 1 else values[t + 1]
        not_done = 1.0 - (terminated[t] or truncated[t])
        delta = shaped[t] + not_done * gamma * next_value - values[t]
        advantage = delta + not_done * gamma * lam * advantage
        advantages[t] = advantage
    return advantages, _sum(advantages, values)


def skrl_1_4(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """skrl 1.4.3, skrl/agents/torch/ppo/ppo.py, compute_gae: not_dones = ~(terminated | truncated).

    purejaxrl/ppo.py, _calculate_gae, is the same with one flag.
    """
    not_dones = [not (end or limit) for end, limit in zip(terminated, truncated, strict=True)]
    return _skrl(rewards, values, following, not_dones, gamma, lam)


def skrl_2(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """skrl 2.0.0, and 2.1 without `time_limit_bootstrap`: not_dones = ~terminated, so truncation leaks."""
    not_dones = [not end for end in terminated]
    return _skrl(rewards, values, following, not_dones, gamma, lam)


def _skrl(rewards, values, following, not_dones, gamma, lam) -> Result:
    advantage, advantages = 0.0, [0.0] * len(rewards)
    for t in reversed(range(len(rewards))):
        next_value = following[t] if t == len(rewards) - 1 else values[t + 1]
        advantage = rewards[t] - values[t] + gamma * not_dones[t] * (next_value + lam * advantage)
        advantages[t] = advantage
    return advantages, _sum(advantages, values)


def brax(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """brax/training/agents/ppo/losses.py, compute_gae, termination = (1 - discount)(1 - truncation)."""
    num_steps = len(rewards)
    keeps = [1.0 - (limit and not end) for end, limit in zip(terminated, truncated, strict=True)]
    alive = [1.0 - end for end in terminated]
    next_values = [*values[1:], following[-1]]
    deltas = [
        (rewards[t] + gamma * alive[t] * next_values[t] - values[t]) * keeps[t] for t in range(num_steps)
    ]
    acc, targets = 0.0, [0.0] * num_steps
    for t in reversed(range(num_steps)):
        acc = deltas[t] + gamma * alive[t] * keeps[t] * lam * acc
        targets[t] = acc + values[t]
    next_targets = [*targets[1:], following[-1]]
    advantages = [
        (rewards[t] + gamma * alive[t] * next_targets[t] - values[t]) * keeps[t] for t in range(num_steps)
    ]
    return advantages, targets


def finite_horizon(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """ManiSkill examples/baselines/ppo/ppo.py, `finite_horizon_gae`: three sums, reset at an end."""
    coefficients = reward_sum = value_sum = 0.0
    advantages = [0.0] * len(rewards)
    for t in reversed(range(len(rewards))):
        if terminated[t] or truncated[t]:
            coefficients = reward_sum = value_sum = 0.0
        beyond = 0.0 if terminated[t] else following[t]
        coefficients = 1.0 + lam * coefficients
        reward_sum = lam * gamma * reward_sum + coefficients * rewards[t]
        value_sum = lam * gamma * value_sum + gamma * beyond
        advantages[t] = (reward_sum + value_sum) / coefficients - values[t]
    return advantages, _sum(advantages, values)


def ikostrikov(rewards, values, following, terminated, truncated, gamma, lam, proper=True) -> Result:
    """a2c_ppo_acktr/storage.py, and MAPPO's shared_buffer.py, compute_returns: masks of states.

    `proper`: with `use_proper_time_limits`.
    """
    masks = [1.0, *(1.0 - (end or limit) for end, limit in zip(terminated, truncated, strict=True))]
    bad_masks = [1.0, *(1.0 - (limit and not end) for end, limit in zip(terminated, truncated, strict=True))]
    value_preds = [*values, following[-1]]
    gae, returns = 0.0, [0.0] * len(rewards)
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + gamma * value_preds[t + 1] * masks[t + 1] - value_preds[t]
        gae = delta + gamma * lam * masks[t + 1] * gae
        if proper:
            gae = gae * bad_masks[t + 1]
        returns[t] = gae + value_preds[t]
    return [target - value for target, value in zip(returns, values, strict=True)], returns


def agilerl(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """AgileRL 2.58.0, components/rollout_buffer.py: `dones` are of ends (rollouts/on_policy.py), read as starts."""
    dones = [float(end or limit) for end, limit in zip(terminated, truncated, strict=True)]
    last_done = float(terminated[-1])
    advantages, last = [0.0] * len(rewards), 0.0
    for t in reversed(range(len(rewards))):
        is_last = t == len(rewards) - 1
        non_terminal = 1.0 - (last_done if is_last else dones[t + 1])
        next_value = following[t] if is_last else values[t + 1]
        last = rewards[t] + gamma * next_value * non_terminal - values[t] + gamma * lam * non_terminal * last
        advantages[t] = last
    return advantages, _sum(advantages, values)


def evorl(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """EvoRL 36836c0, evorl/utils/rl_toolkits.py, compute_gae: V of the next row of the buffer, whosever it is."""
    beyond = [*values[1:], following[-1]]
    advantages, last = [0.0] * len(rewards), 0.0
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + gamma * (1.0 - terminated[t]) * beyond[t] - values[t]
        last = delta + gamma * lam * (1.0 - (terminated[t] or truncated[t])) * last
        advantages[t] = last
    return advantages, _sum(advantages, values)


def elegantrl(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """ElegantRL 7c64395, agents/AgentPPO.py, get_advantages, `if_use_v_trace`. Terminated wins here."""
    limits = [limit and not end for end, limit in zip(terminated, truncated, strict=True)]
    shaped = [reward + value * limit for reward, value, limit in zip(rewards, values, limits, strict=True)]
    masks = [gamma * (1.0 - (end or limit)) for end, limit in zip(terminated, truncated, strict=True)]
    next_value, advantage, advantages = following[-1], 0.0, [0.0] * len(rewards)
    for t in reversed(range(len(rewards))):
        advantage = shaped[t] + masks[t] * next_value - values[t] + masks[t] * lam * advantage
        advantages[t] = advantage
        next_value = values[t]
    return advantages, _sum(advantages, values)


def stoix(rewards, values, following, terminated, truncated, gamma, lam) -> Result:
    """Stoix 8fff19c, utils/multistep.py: discounts are 0 at terminal steps, `truncation_t` cuts the rest."""
    discounts = [gamma * (1.0 - end) for end in terminated]
    advantages, last = [0.0] * len(rewards), 0.0
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + discounts[t] * following[t] - values[t]
        last = delta + discounts[t] * lam * last * (1.0 - (truncated[t] and not terminated[t]))
        advantages[t] = last
    return advantages, _sum(advantages, values)


def sample_factory(rewards, values, following, terminated, truncated, gamma, lam, valids=None) -> Result:
    """sample_factory/algo/utils/rl_utils.py, gae_advantages: values and valids have a row more."""
    num_steps = len(rewards)
    valids = [1.0] * num_steps if valids is None else list(map(float, valids))
    dones = [float(end or limit) for end, limit in zip(terminated, truncated, strict=True)]
    values_after, valids_after = [*values, following[-1]], [*valids, valids[-1]]
    last, advantages = 0.0, [0.0] * num_steps
    for t in reversed(range(num_steps)):
        delta = (rewards[t] - values[t]) * valids[t]
        delta += (1.0 - dones[t]) * gamma * values_after[t + 1] * valids_after[t + 1]
        weight = gamma * lam if valids[t] else 1.0
        last = delta + weight * last * (1.0 - dones[t])
        advantages[t] = last
    returns = [
        advantage + valid * value for advantage, valid, value in zip(advantages, valids, values, strict=True)
    ]
    return advantages, returns


def _starts(terminated, truncated) -> tuple[Floats, float]:
    """Flags that came back with the observation: of rows 0 … T - 1, and of the one after."""
    ends = [float(end or limit) for end, limit in zip(terminated, truncated, strict=True)]
    return [1.0, *ends[:-1]], ends[-1]


def _episodes(terminated, truncated) -> list[tuple[int, int]]:
    stops = [t + 1 for t in range(len(terminated)) if terminated[t] or truncated[t]]
    if not stops or stops[-1] < len(terminated):
        stops.append(len(terminated))
    return list(zip([0, *stops[:-1]], stops, strict=True))


def _discounted_sums(numbers: Floats, discount: float) -> Floats:
    """scipy.signal.lfilter([1], [1, -discount], x[::-1])[::-1]"""
    total, sums = 0.0, []
    for number in reversed(numbers):
        total = number + discount * total
        sums.append(total)
    return sums[::-1]


def _sum(advantages: Floats, values: Floats) -> Floats:
    return [advantage + value for advantage, value in zip(advantages, values, strict=True)]


#: Presets over single-step environments.
STEP_LOOPS: dict[str, Callable[..., Any]] = {
    "exact": exact,
    "torchrl": torchrl,
    "sb3": stable_baselines3,
    "a2c": stable_baselines3,
    "cleanrl": cleanrl,
    "cleanrl-jax": cleanrl,
    "rllib": rllib,
    "rllib-old": rllib_old,
    "tianshou": tianshou,
    "tianshou-npg": tianshou,
    "rlax": rlax,
    "spinup": spinning_up,
    "baselines-ppo1": baselines_ppo1,
    "baselines-ppo2": cleanrl,
    "pufferlib": pufferlib,
    "sample-factory": sample_factory,
    "rl-games": same_state,
    "rsl-rl": same_state,
    "skrl-1.4": skrl_1_4,
    "skrl-2.0": skrl_2,
    "skrl-2.1": skrl_2,
    "brax": brax,
    "finite-horizon": finite_horizon,
    "purejaxrl": skrl_1_4,
    "stoix": stoix,
    "evorl": evorl,
    "agilerl": agilerl,
    "elegantrl": elegantrl,
    "ikostrikov": ikostrikov,
    "mappo": ikostrikov,
}

#: Presets that ask what a time limit does: what their loop does there.
SAID = {"ikostrikov": {"truncation": "drop"}, "mappo": {"truncation": "drop"}}
