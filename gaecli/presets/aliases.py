"""Libraries whose numbers another row of the table has: their names, and the preset that each of them is.

Each was read at the revision named, and computes what the preset does; `words` say what else there is to know. What
is stored and shown is the preset.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gaecli.records import dataclass

_PUREJAXRL_RNN = "recurrent agents store the flag with the observation it came with: `cleanrl-jax`"


@dataclass(frozen=True)
class Alias:
    name: str
    preset: str
    #: Where it was read, and where it differs.
    words: str


_ALIASES = (
    Alias("isaaclab", "rsl-rl", "its RSL-RL runner; with `is_finite_horizon`: `--truncation zero`"),
    Alias("mjlab", "rsl-rl", "0eda4e7; with `is_finite_horizon`: `--truncation zero`"),
    Alias("legged-gym", "rsl-rl", "8fa29ac"),
    Alias("isaacgymenvs", "rl-games", "aeed298; tasks with `value_bootstrap: False`: `--truncation zero`"),
    Alias("jaxmarl", "purejaxrl", "c793d09, IPPO and MAPPO; those for Hanabi: `cleanrl-jax`"),
    Alias("rejax", "purejaxrl", "0.1.3"),
    Alias("gymnax", "purejaxrl", "gymnax-blines 3f029d6"),
    Alias("gymnax-blines", "purejaxrl", "3f029d6"),
    Alias("mava", "purejaxrl", f"57c8e64; {_PUREJAXRL_RNN}"),
    Alias("benchmarl", "torchrl", "179a956"),
    Alias("harl", "mappo", "d539bad"),
    Alias("on-policy", "mappo", "de66d7a, its repository"),
    Alias("pytorch-a2c-ppo-acktr", "ikostrikov", "41332b7, its repository"),
    Alias("pytorch-a2c-ppo-acktr-gail", "ikostrikov", "41332b7, its repository"),
    Alias("xuance", "exact", "4f0b05b"),
    Alias("di-engine", "exact", "0.5.3, with `traj_flag` at ends of either kind"),
    Alias("ding", "exact", "DI-engine 0.5.3, with `traj_flag` at ends of either kind"),
    Alias("mushroomrl", "exact", "5c3834d"),
    Alias("mushroom-rl", "exact", "5c3834d"),
    Alias("stable-baselines3", "sb3", "2.9.2"),
    Alias("sb3-contrib", "sb3", "2.9.2"),
    Alias("sbx", "sb3", "9bdc9c1; normalises with `--norm-ddof 0`"),
    Alias("trfl", "rlax", "its predecessor in TensorFlow"),
    Alias("spinningup", "spinup", "its repository"),
    Alias("nemo-rl", "nemo", "its package"),
)
ALIASES: Mapping[str, Alias] = MappingProxyType({alias.name: alias for alias in _ALIASES})


def aliases_of(preset: str) -> list[Alias]:
    return [alias for alias in _ALIASES if alias.preset == preset]
