"""What people write today of a compressed archive: all arrays in memory, a loop over T, written anew."""

import os
import sys

import numpy as np

try:
    import numba
except ImportError:
    numba = None


def gae(rewards, values, terminated, last_values, gamma, lam):
    advantages = np.empty(rewards.shape, np.float32)
    for env in range(rewards.shape[1]):
        last, following = 0.0, last_values[env]
        for t in range(len(rewards) - 1, -1, -1):
            alive = 0.0 if terminated[t, env] else 1.0
            last = rewards[t, env] + gamma * following * alive - values[t, env] + gamma * lam * alive * last
            advantages[t, env], following = last, values[t, env]
    return advantages


def gae_of_all_environments(rewards, values, terminated, last_values, gamma, lam):
    advantages = np.empty(rewards.shape, np.float32)
    last, following = np.zeros(rewards.shape[1], np.float32), last_values
    for t in range(len(rewards) - 1, -1, -1):
        alive = 1.0 - terminated[t]
        last = rewards[t] + gamma * following * alive - values[t] + gamma * lam * alive * last
        advantages[t], following = last, values[t]
    return advantages


gae = gae_of_all_environments if numba is None else numba.njit(gae)
path = sys.argv[1]
with np.load(path) as archive:
    arrays = dict(archive)
names = ("rewards", "values", "terminated", "last_values")
advantages = gae(*(arrays[name] for name in names), 0.99, 0.95)
arrays["advantage"], arrays["return"] = advantages, advantages + arrays["values"]
np.savez_compressed(path + ".tmp.npz", **arrays)
os.replace(path + ".tmp.npz", path)
