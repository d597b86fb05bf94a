#!/usr/bin/env bash
# garage's PPO, TRPO and VPG let the value of padding into advantages, and centre them with the variance.
#
# garage 2021.3.0, `torch/algos/vpg.py`, which `PPO` and `TRPO` inherit: `VPG._train_once` pads observations with zeros up to
# `max_episode_length` and takes the value function of all of them. `compute_advantages` (`torch/_functions.py`), whose
# docstring asks for 0 behind the end of an episode, is given those values as they are. With V(0) = b the last step of an
# episode that ends early gets γ b as if the state behind a terminal one were worth b, and each padded step then (γ - 1) b, the
# last one of them -b. Zero is a state as any other to a value function, and its bias alone makes b. Episodes that fill
# `max_episode_length` have no padding, and are closed with 0, be it a time limit or not.
#
# With `center_adv`, the default, `_compute_advantage` divides by the variance of the advantages plus 1e-8, not by their
# standard deviation: rewards that are ten times as large make advantages that are ten times as small.
#
# What to do: a value function with V(0) = 0, or multiply it by the mask; `center_adv=False` and a normalisation of one's own.
#
# The functions are taken out of the released source and run as they are, for what garage pins (torch below 1.8, gym of 2019)
# has no wheels for Pythons of today. Downloads into a folder of its own, and fails if any of this is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 torch==2.13.0 setuptools==80.9.0
"$folder/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-build-isolation \
  --dest "$folder" garage==2021.3.0
cd "$folder"
venv/bin/python - <<'PY'
import ast
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F

GAMMA, LAM, LONGEST = 0.99, 0.95, 5
(source,) = Path().glob("garage-*.tar.gz")
scope = {"np": np, "torch": torch, "F": F}


def take(path, *names):
    """Define functions of a file of garage in `scope`."""
    with tarfile.open(source) as archive:
        tree = ast.parse(archive.extractfile(f"garage-2021.3.0/src/garage/{path}").read())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in names:
            exec(compile(ast.Module([node], []), path, "exec"), scope)


take("np/_functions.py", "pad_batch_array")
take("torch/_functions.py", "compute_advantages", "filter_valids")
take("torch/algos/vpg.py", "_compute_advantage", "_train_once")
scope["discount_cumsum"] = lambda rewards, discount: rewards  # for returns, which are not looked at


class Taken(Exception):
    """Advantages have been seen; nothing is trained."""


def advantages(lengths, rewards, bias, *, center=False):
    """What garage trains on where every observed state is worth 0 and a state of zeros is worth `bias`."""

    def taken(observations, actions, rewards, flat):
        raise Taken(flat.numpy())

    rewards = np.asarray(rewards, np.float32)
    observations = np.ones((len(rewards), 1), np.float32)
    longest = {"max_length": LONGEST}
    episodes = SimpleNamespace(
        observations=observations,
        padded_observations=scope["pad_batch_array"](observations, lengths, **longest),
        rewards=rewards,
        padded_rewards=scope["pad_batch_array"](rewards, lengths, **longest),
        actions=observations,
        lengths=lengths,
    )
    algorithm = SimpleNamespace(
        discount=GAMMA, _discount=GAMMA, _gae_lambda=LAM, max_episode_length=LONGEST, _maximum_entropy=False,
        _center_adv=center, _positive_adv=False, _value_function=lambda seen: bias * (1 - seen[..., 0]),
        _compute_loss_with_adv=taken,
    )
    algorithm._compute_advantage = lambda *given: scope["_compute_advantage"](algorithm, *given)
    try:
        scope["_train_once"](algorithm, 0, episodes)
    except Taken as seen:
        return seen.args[0]


def close(found, expected):
    return np.allclose(found, expected, rtol=1e-4, atol=1e-4)


print("garage 2021.3.0; V of all that was observed is 0, rewards 0, episodes of 2 and of 5 steps, at most 5")
found = advantages([2, 5], [0.0] * 7, bias=10.0)
print("advantages with V(0) = 10:", found.round(3))
padding = [GAMMA * 10, (GAMMA - 1) * 10, (GAMMA - 1) * 10, -10]  # δ of the last step and of the three behind it
last = sum((GAMMA * LAM) ** k * delta for k, delta in enumerate(padding))
assert close(found[:2], [GAMMA * LAM * last, last]), "the value of padding no longer flows in"
assert close(found[2:], 0), "an episode without padding has none to read"
assert close(advantages([2, 5], [0.0] * 7, bias=0.0), 0)

rewards = [1.0, 2.0, 4.0, 3.0, 0.0]
plain = advantages([5], rewards, bias=0.0)
centred = advantages([5], rewards, bias=0.0, center=True)
larger = advantages([5], 10 * np.array(rewards), bias=0.0, center=True)
print("centred:                  ", centred.round(3), "std", centred.std(ddof=1).round(3))
print("with ten times the rewards:", larger.round(3), "std", larger.std(ddof=1).round(3))
assert close(centred, (plain - plain.mean()) / plain.var(ddof=1)), "centred advantages are no longer divided by the variance"
assert close(larger, centred / 10)
print("as described")
PY
