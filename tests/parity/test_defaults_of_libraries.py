"""The numbers that a preset stands for, read once more in the libraries' files that its `source` names."""

from __future__ import annotations

import pytest

from gaecli.presets import PRESETS

#: γ and λ (`-`: it has none of its own), the ddof of its standard deviation, what keeps that from 0, to which end of
#: a step its flag belongs (`-`: it has none, or its name tells), and which axis of its arrays is the first
#: (`-`: it has none of two).
TABLE = """
exact              0.99   0.95   1  add    1e-8  -      -
torchrl            -      -      1  clamp  1e-4  end    batch
sb3                0.99   0.95   1  add    1e-8  start  time
a2c                0.99   1      1  add    1e-8  start  time
cleanrl            0.99   0.95   1  add    1e-8  start  time
cleanrl-jax        0.99   0.95   0  add    1e-8  start  time
agilerl            0.99   0.95   1  add    1e-8  end    time
rllib              0.99   1      0  clamp  1e-4  end    -
rllib-old          0.99   1      0  clamp  1e-4  end    -
tianshou           0.99   0.95   1  add    1e-8  end    -
tianshou-npg       0.99   0.95   1  add    0     end    -
rlax               -      -      1  add    1e-8  -      -
spinup             0.99   0.97   0  add    0     end    -
baselines-ppo2     0.99   0.95   0  add    1e-8  start  time
baselines-ppo1     0.99   0.95   0  add    0     start  -
pufferlib          0.995  0.9    1  add    1e-8  start  batch
sample-factory     0.99   0.95   1  clamp  1e-7  end    batch
rl-games           -      -      1  add    1e-8  start  time
rsl-rl             0.99   0.95   1  add    1e-8  end    time
skrl-1.4           0.99   0.95   1  add    1e-8  end    time
skrl-2.0           0.99   0.95   1  add    1e-8  end    time
skrl-2.1           0.99   0.95   1  add    1e-8  end    time
elegantrl          0.99   0.95   1  add    1e-5  end    time
finite-horizon     0.8    0.9    1  add    1e-8  -      time
ikostrikov         0.99   0.95   1  add    1e-5  -      time
mappo              0.99   0.95   0  add    1e-5  -      time
purejaxrl          0.99   0.95   0  add    1e-8  end    time
stoix              0.99   0.95   0  rsqrt  1e-5  end    time
evorl              0.99   0.95   0  add    1e-8  end    time
brax               0.9    0.95   0  add    1e-8  end    -
verl               1      1      1  rsqrt  1e-8  -      batch
nemo               1      0.95   1  rsqrt  1e-8  -      batch
vapo               1      1      1  rsqrt  1e-8  -      batch
agilerl-llm-token  1      0.95   1  rsqrt  1e-8  -      batch
openrlhf           1      1      0  clamp  1e-4  -      batch
trl                1      0.95   1  rsqrt  1e-8  -      batch
slime              1      1      1  rsqrt  1e-8  -      batch
skyrl              1      1      1  rsqrt  1e-8  -      batch
roll               1      0.95   1  rsqrt  1e-8  -      batch
areal              1      1      1  add    1e-5  -      batch
areal-turn         1      1      1  add    1e-5  -      batch
agilerl-llm-turn   1      0.95   1  rsqrt  1e-8  -      batch
vagen-bilevel      1      1      1  rsqrt  1e-8  -      batch
"""
ROWS = {row.split()[0]: row.split()[1:] for row in TABLE.strip().splitlines()}


def test_every_preset_has_a_row() -> None:
    assert set(ROWS) == set(PRESETS)


@pytest.mark.parametrize("name", ROWS)
def test_a_preset_has_the_numbers_of_its_library(name: str) -> None:
    preset, (gamma, lam, ddof, floor, eps, done_at, first) = PRESETS[name], ROWS[name]
    if preset.has_own_defaults:
        assert (preset.gamma, preset.lam) == (float(gamma), float(lam))
    else:
        assert gamma == lam == "-"
    assert (preset.norm_ddof, preset.norm_floor, preset.norm_eps) == (int(ddof), floor, float(eps))
    assert (preset.done_at or "-") == done_at
    assert preset.normalize in ("none", "all")  # no scope of ours
    assert (preset.dense_layout or "-").removesuffix("-major") == first
