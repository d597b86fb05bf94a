#!/usr/bin/env bash
# AgileRL's PPO cuts advantages a step before the end of an episode, and lets the next episode into the last step.
#
# AgileRL 2.58.0: `agilerl/rollouts/on_policy.py` stores with step t whether *that step ended* the episode
# (`done = terminated or truncated`, after `env.step`). `RolloutBuffer.compute_returns_and_advantages` reads the flag of
# step t + 1 for step t, as Stable-Baselines3 and CleanRL do, whose flags say that an observation *begins* an episode:
#
#     next_non_terminal = 1 - dones[t + 1];  δ = r + γ V(t + 1) next_non_terminal - V;  A = δ + γλ next_non_terminal A'
#
# So the step before the last one counts as terminal, and V and A of the first step of the next episode flow into the
# last one. With rewards and values of 0 and γ = 0.99, λ = 0.95, a value of 100 at the start of the second episode gives
# the terminal step of the first one an advantage of 99 - 93.1, and a reward of 10 there does not reach any step before
# it. The Monte-Carlo branch (`use_gae=False`) reads the flag of the step itself, and is right.
#
# What to do: store `last_done` in the place of `done`, or compute advantages outside.
#
# The two functions are taken out of the released wheel and run as they are on an environment of a few lines: their
# package imports PyTorch, which neither of them needs for this. Downloads into a folder of its own, and fails if any of
# this is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
"$folder/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
  --dest "$folder" agilerl==2.58.0
cd "$folder"
venv/bin/python - <<'PY'
import __future__

import ast
import contextlib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

GAMMA, LAM = 0.99, 0.95
(wheel,) = Path().glob("agilerl-*.whl")


def function(path, name, **scope):
    with zipfile.ZipFile(wheel) as archive:
        tree = ast.parse(archive.read(path))
    (node,) = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name)
    node.decorator_list = []
    flags = __future__.annotations.compiler_flag  # of annotations nothing is looked up
    exec(compile(ast.Module([node], []), path, "exec", flags=flags), scope)
    return scope[name]


class Number(float):
    """What is asked of a tensor here."""

    def cpu(self):
        return self

    def numpy(self):
        return np.array([float(self)])


class Nobody:
    """No object is one of these."""


class Rows:
    """The stored rows of one name."""

    def __init__(self, rows):
        self.rows = rows

    def __getitem__(self, which):
        return Rows(self.rows[which])

    def cpu(self):
        return self

    def numpy(self):
        return np.array(self.rows)


torch = SimpleNamespace(no_grad=contextlib.nullcontext, Tensor=Nobody, from_numpy=lambda array: array)
collect = function(
    "agilerl/rollouts/on_policy.py", "_collect_rollouts",
    np=np, torch=torch, StochasticActor=Nobody, spaces=SimpleNamespace(Box=Nobody),
)
compute = function(
    "agilerl/components/rollout_buffer.py", "compute_returns_and_advantages", np=np, torch=torch, narrow_tensor=Rows
)


def rollout(rewards, values, ends, *, use_gae=True):
    """Advantages of one environment whose episodes end, terminally, after the steps in `ends`."""
    steps = len(rewards)
    clock = iter(range(steps))
    stored = {name: [] for name in ("rewards", "dones", "values")}
    result = {name: np.zeros((steps, 1)) for name in ("advantages", "returns")}

    def add(reward, done, value, **others):
        for name, what in (("rewards", reward), ("dones", done), ("values", value)):
            stored[name].append(np.asarray(what, np.float64))

    buffer = SimpleNamespace(
        add=add, reset=lambda: None, full=True, capacity=steps, pos=0, num_envs=1, use_gae=use_gae,
        gamma=GAMMA, gae_lambda=LAM, buffer=stored | result,
    )
    buffer.compute_returns_and_advantages = lambda **last: compute(buffer, **last)

    def step(action):
        now = next(clock)
        return now + 1, rewards[now], np.array([now in ends]), np.array([False]), {}

    agent = SimpleNamespace(
        num_envs=1, rollout_buffer=buffer, registry=SimpleNamespace(policy=lambda: "actor"), actor=None, scores=[],
        hidden_state=None, action_space=None, get_action=lambda observation, **_: (0, 0.0, 0.0, values[observation]),
        preprocess_observation=lambda observation: observation,
        _get_action_and_values=lambda observation: (None, None, None, Number(0), None),
    )
    env = SimpleNamespace(step=step, reset=lambda: (0, {}))
    collect(agent, env, steps, recurrent=False)
    return stored["dones"], result["advantages"][:, 0]


def close(found, expected):
    return np.allclose(found, expected, rtol=0, atol=1e-4)


print("AgileRL 2.58.0; episodes of rows 0 to 2 and 3 to 5, both terminal")
nothing = [0.0] * 6
dones, leaked = rollout(nothing, [0, 0, 0, 100.0, 0, 0], ends={2, 5})
print("flags stored with the rows:            ", np.ravel(dones).astype(int).tolist())
print("A where V(row 3) = 100, all else 0:    ", leaked.round(3).tolist())
_, lost = rollout([0, 0, 10.0, 0, 0, 0], nothing, ends={2, 5})
print("A where the reward of row 2 is 10:     ", lost.round(3).tolist())
_, right = rollout([0, 0, 10.0, 0, 0, 0], nothing, ends={2, 5}, use_gae=False)
print("the same without GAE, discounted sums: ", right.round(3).tolist())

assert np.ravel(dones).astype(int).tolist() == [0, 0, 1, 0, 0, 1], "flags are no longer those of ends"
assert close(leaked, [0, 0, GAMMA * 100 - GAMMA * LAM * 100, -100, 0, 0]), "the next episode no longer flows in"
assert close(lost, [0, 0, 10, 0, 0, 0]), "the last reward reaches the steps before it"
assert close(right, [10 * GAMMA**2, 10 * GAMMA, 10, 0, 0, 0])
print("as described")
PY
