"""The published recurrences over tokens as plain loops over floats, one per preset.

Every loop takes one response as lists and returns (advantages, returns) of every slot, masked ones
included, as the library stores them before it normalises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def carry(rewards, values, mask, gamma, lam) -> tuple[list[float], list[float]]:
    """verl/trainer/ppo/core_algos.py, compute_gae_advantage_return; NeMo-RL's `_compute_gae` is the same."""
    next_value = last = 0.0
    advantages = []
    for reward, value, kept in zip(reversed(rewards), reversed(values), reversed(mask), strict=True):
        delta = reward + gamma * next_value - value
        candidate = delta + gamma * lam * last
        next_value = value if kept else next_value
        last = candidate if kept else last
        advantages.append(last)
    advantages.reverse()
    return advantages, [a + v for a, v in zip(advantages, values, strict=True)]


def nemo(rewards, values, mask, gamma, lam) -> tuple[list[float], list[float]]:
    """nemo_rl/algorithms/advantage_estimator.py, compute_advantage: masked A become 0, returns stay."""
    advantages, returns = carry(rewards, values, mask, gamma, lam)
    return [a if kept else 0.0 for a, kept in zip(advantages, mask, strict=True)], returns


def vapo(rewards, values, mask, gamma, lam, alpha=0.05) -> tuple[list[float], list[float]]:
    """The same file: `_resolve_lambda_policy` with `length_adaptive_alpha`, `gae_lambda_value` 1."""
    length = max(sum(mask), 0)
    lam_policy = min(max(1.0 - 1.0 / max(alpha * length, 1.0), 0.0), 1.0)
    advantages, _ = nemo(rewards, values, mask, gamma, lam_policy)
    _, returns = carry(rewards, values, mask, gamma, 1.0)
    return advantages, returns


def agilerl_token(rewards, values, mask, gamma, lam) -> tuple[list[float], list[float]]:
    """agilerl/algorithms/ppo_llm.py, _compute_gae_returns_token: what follows a token counts if it is kept."""
    last, advantages = 0.0, []
    for t in reversed(range(len(rewards))):
        follows = t + 1 < len(rewards) and mask[t + 1]
        delta = rewards[t] + gamma * (values[t + 1] if follows else 0.0) - values[t]
        last = delta + gamma * lam * (last if follows else 0.0)
        advantages.append(last)
    advantages = [a * bool(kept) for a, kept in zip(reversed(advantages), mask, strict=True)]
    return advantages, [(a + v) * bool(kept) for a, v, kept in zip(advantages, values, mask, strict=True)]


def openrlhf(rewards, values, mask, gamma, lam) -> tuple[list[float], list[float]]:
    """openrlhf/trainer/ppo_utils/experience_maker.py, get_advantages_and_returns."""
    values = [value if kept else 0.0 for value, kept in zip(values, mask, strict=True)]
    rewards = [reward if kept else 0.0 for reward, kept in zip(rewards, mask, strict=True)]
    return _plain(rewards, values, gamma, lam)


def trl(rewards, values, mask, gamma, lam) -> tuple[list[float], list[float]]:
    """trl/experimental/ppo/ppo_trainer.py: right padding; values kept up to the slot after the last token.

    Rewards beyond that slot are 0 as the trainer makes them.
    """
    length = sum(mask)
    values = [value if index <= length else 0.0 for index, value in enumerate(values)]
    rewards = [reward if index <= length else 0.0 for index, reward in enumerate(rewards)]
    advantages, returns = _plain(rewards, values, gamma, lam)
    return [a if kept else 0.0 for a, kept in zip(advantages, mask, strict=True)], returns


def slime(rewards, values, mask, gamma, lam) -> tuple[list[float], list[float]]:
    """slime/utils/ppo_utils.py, vanilla_gae: the mask plays no part. SkyRL's ppo_utils.py is the same."""
    return _plain(rewards, values, gamma, lam)


def roll(rewards, values, mask, gamma, lam) -> tuple[list[float], list[float]]:
    """ROLL 8eb27cc, roll/utils/functionals.py, compute_advantage: rewards times mask, values as they are."""
    advantages, returns = _plain([r * m for r, m in zip(rewards, mask, strict=True)], values, gamma, lam)
    return [a * m for a, m in zip(advantages, mask, strict=True)], returns


def areal(rewards, values, mask, gamma, lam, fills_row=False) -> tuple[list[float], list[float]]:
    """areal/trainer/ppo/actor.py, compute_advantages: loss_mask rolled by one, column L - 1 left out.

    The roll brings the mask of the first slot, which belongs to the prompt, to the last one: unused there.
    """
    rolled = [*mask[1:], mask[0]]
    next_value = values[-1] if fills_row else 0.0
    last, advantages = 0.0, [0.0]
    for t in reversed(range(len(rewards) - 1)):
        candidate = rewards[t] + gamma * next_value - values[t] + gamma * lam * last
        next_value = values[t] if rolled[t] else next_value
        last = candidate if rolled[t] else last
        advantages.append(last)
    advantages.reverse()
    return advantages, [a + v for a, v in zip(advantages, values, strict=True)]


def _plain(rewards, values, gamma, lam) -> tuple[list[float], list[float]]:
    last, advantages = 0.0, []
    for t in reversed(range(len(rewards))):
        next_value = values[t + 1] if t + 1 < len(rewards) else 0.0
        last = rewards[t] + gamma * next_value - values[t] + gamma * lam * last
        advantages.append(last)
    advantages.reverse()
    return advantages, [a + v for a, v in zip(advantages, values, strict=True)]


def areal_turn(rewards, values, mask, turns, gamma, lam, fills_row=False) -> tuple[list[float], list[float]]:
    """areal/trainer/ppo/gae.py, _compute_turn_level_gae; mask and ids rolled by one as compute_advantages does."""
    rolled, ids = [*mask[1:], 0], [*turns[1:], -1]
    slots = {k: [t for t, kept in enumerate(rolled) if kept and ids[t] == k] for k in sorted(set(ids))}
    next_value = values[-1] if fills_row else 0.0
    advantages, returns, last = [0.0] * len(rewards), list(values), 0.0
    for at in reversed([at for at in slots.values() if at]):
        value = values[at[0]]
        last = sum(rewards[t] for t in at) + gamma * next_value - value + gamma * lam * last
        next_value = value
        for t in at:
            advantages[t], returns[t] = last, last + value
    return advantages, returns


def agilerl_turn(rewards, values, mask, turns, gamma, lam) -> tuple[list[float], list[float]]:
    """agilerl/algorithms/ppo_llm.py, _compute_gae_returns: pool_by_turns is the mean, or takes the last."""
    advantages, returns, last, next_value = [0.0] * len(rewards), [0.0] * len(rewards), 0.0, 0.0
    for k in sorted({turn for turn, kept in zip(turns, mask, strict=True) if kept}, reverse=True):
        at = [t for t, kept in enumerate(mask) if kept and turns[t] == k]
        value = values[at[-1]]
        last = sum(rewards[t] for t in at) / len(at) + gamma * next_value - value + gamma * lam * last
        next_value = value
        for t in at:
            advantages[t], returns[t] = last, last + value
    return advantages, returns


def bilevel(rewards, values, mask, turns, gamma, lam, turn_gamma=0.99) -> tuple[list[float], list[float]]:
    """vagen, compute_bi_level_gae: rewards lumped at the last token of each turn, two backward passes."""
    kept = [t for t, is_kept in enumerate(mask) if is_kept]
    ends = [
        t
        for t, after in zip(kept, [*kept[1:], None], strict=True)
        if after is None or turns[after] != turns[t]
    ]
    lumped = {end: sum(rewards[t] for t in kept if turns[t] == turns[end]) for end in ends}
    last = next_value = 0.0
    for end in reversed(ends):
        last = lumped[end] + turn_gamma * next_value - values[end] + turn_gamma * lam * last
        next_value = values[end]
        lumped[end] = last + values[end]
    advantages, returns, last, next_value = [0.0] * len(rewards), [0.0] * len(rewards), 0.0, 0.0
    for t in reversed(kept):
        if t in lumped:
            last = next_value = 0.0
        last = lumped.get(t, 0.0) + gamma * next_value - values[t] + gamma * lam * last
        next_value = values[t]
        advantages[t], returns[t] = last, last + values[t]
    return advantages, returns


TOKEN_LOOPS: dict[str, Callable[..., Any]] = {
    "verl": carry,
    "nemo": nemo,
    "vapo": vapo,
    "agilerl-llm-token": agilerl_token,
    "openrlhf": openrlhf,
    "trl": trl,
    "slime": slime,
    "skyrl": slime,
    "roll": roll,
    "areal": areal,
}

#: Over turns: they take the ids of the turns as well.
TURN_LOOPS: dict[str, Callable[..., Any]] = {
    "areal-turn": areal_turn,
    "agilerl-llm-turn": agilerl_turn,
    "vagen-bilevel": bilevel,
}
