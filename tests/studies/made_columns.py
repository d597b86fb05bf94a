"""Tables of random rollouts, and columns of advantages that libraries would make of them, each by a plain loop."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NUM_ENVS, NUM_STEPS = 4, 90


class Rollout:
    """[N, T] each; the true next value of every step, and that of a new episode after the last row."""

    def __init__(self, seed, *, end_rate=0.08):
        random = np.random.default_rng(seed)
        shape = (NUM_ENVS, NUM_STEPS)
        self.rewards = random.normal(size=shape).astype(np.float32)
        self.values = random.normal(0.5, 1.5, size=shape).astype(np.float32)
        ends = random.random(shape) < end_rate
        self.terminated = ends & (random.random(shape) < 0.5)
        self.truncated = ends & ~self.terminated
        self.following = random.normal(size=shape).astype(np.float32)
        inside = ~ends[:, :-1]
        self.following[:, :-1][inside] = self.values[:, 1:][inside]

    def write(self, path, advantages, *, name="adv", dtype=np.float32, **drop):
        """A long table, environment after environment."""
        columns = {
            "env_id": np.repeat(np.arange(NUM_ENVS), NUM_STEPS),
            "reward": self.rewards.reshape(-1),
            "value": self.values.reshape(-1),
            "next_value": self.following.reshape(-1),
            "terminated": self.terminated.reshape(-1),
            "truncated": self.truncated.reshape(-1),
            name: np.asarray(advantages, dtype).reshape(-1),
        }
        pq.write_table(pa.table({key: value for key, value in columns.items() if key not in drop}), path)
        return path


def gamma_and_lam(seed):
    random = np.random.default_rng(1000 + seed)
    return float(random.uniform(0.5, 1.0)), float(random.uniform(0.0, 1.0))


def sb3_like(rollout, gamma, lam):
    """float32 and sequential, with start flags; a time limit is folded into the reward."""
    f = np.float32
    advantages = np.zeros((NUM_ENVS, NUM_STEPS), f)
    for env in range(NUM_ENVS):
        ends = rollout.terminated[env] | rollout.truncated[env]
        rewards = rollout.rewards[env].copy()
        for t in range(NUM_STEPS):
            if rollout.truncated[env, t]:
                rewards[t] += f(gamma) * rollout.following[env, t]
        last_gae = f(0)
        for t in reversed(range(NUM_STEPS)):
            non_terminal = f(1) - f(ends[t])
            next_value = rollout.values[env, t + 1] if t + 1 < NUM_STEPS else rollout.following[env, t]
            delta = rewards[t] + f(gamma) * next_value * non_terminal - rollout.values[env, t]
            last_gae = delta + f(gamma) * f(lam) * non_terminal * last_gae
            advantages[env, t] = last_gae
    return advantages


def torchrl_like(rollout, gamma, lam):
    """A next value in every row; terminated for the value, done for the recursion."""
    advantages = np.zeros((NUM_ENVS, NUM_STEPS))
    for env in range(NUM_ENVS):
        running = 0.0
        for t in reversed(range(NUM_STEPS)):
            not_terminated = 1.0 - rollout.terminated[env, t]
            not_done = not_terminated * (1.0 - rollout.truncated[env, t])
            td = rollout.rewards[env, t] + gamma * rollout.following[env, t] * not_terminated
            running = td - rollout.values[env, t] + gamma * lam * not_done * running
            advantages[env, t] = running
    return advantages


def tianshou_like(rollout, gamma, lam):
    """On the flat buffer: v_s_ is masked beforehand, and unfinished trajectories end as well."""
    flat = {name: getattr(rollout, name).reshape(-1) for name in ("rewards", "values", "following")}
    v_s_ = flat["following"] * ~rollout.terminated.reshape(-1)
    end_flag = (rollout.terminated | rollout.truncated).reshape(-1).copy()
    end_flag[NUM_STEPS - 1 :: NUM_STEPS] = True
    delta = flat["rewards"] + v_s_ * gamma - flat["values"]
    discount = (1.0 - end_flag) * (gamma * lam)
    advantages, gae = np.zeros(len(delta)), 0.0
    for i in range(len(delta) - 1, -1, -1):
        gae = delta[i] + discount[i] * gae
        advantages[i] = gae
    return advantages


LIKE = {"sb3": sb3_like, "torchrl": torchrl_like, "tianshou": tianshou_like}
