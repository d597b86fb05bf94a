"""How libraries differ in group baselines: the divisor, ε, and what the only trajectory of a group gets.

Read and run at the releases named; `tests/estimators/test_group_baselines.py` has their numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gaecli.estimator_kinds import ESTIMATORS

#: (preset, estimator) -> settings. What is not here has those of the fields of `Settings`.
_RULES: Mapping[tuple[str, str], Mapping[str, Any]] = {
    # TRL 1.16.0, trl/trainer/grpo_trainer.py: (s - mean) / (std + 1e-4), a lone one gets 0.
    ("trl", "grpo"): {"norm_eps": 1e-4},
    # verl 0.9.1, verl/trainer/ppo/core_algos.py, compute_*_outcome_advantage: a lone one keeps its score.
    ("verl", "grpo"): {"norm_eps": 1e-6, "singleton": "raw"},
    ("verl", "dr-grpo"): {"singleton": "raw"},
    ("verl", "rloo"): {"singleton": "raw"},
    # OpenRLHF 0.11.2, openrlhf/trainer/ppo_utils/experience_maker.py: `group_norm`; `rloo` needs two.
    ("openrlhf", "grpo"): {"norm_eps": 1e-9},
    ("openrlhf", "rloo"): {"singleton": "error"},
}
#: What all of them share, whatever the preset's rule for advantages of steps is.
_PLAIN: Mapping[str, Any] = {"norm_ddof": 1, "norm_eps": 1e-8, "norm_floor": "add"}


def score_rules(preset: str, estimator: str) -> Mapping[str, Any]:
    kind = ESTIMATORS[estimator]
    if not kind.is_scored:
        return kind.defaults
    return {**_PLAIN, **kind.defaults, **_RULES.get((preset, estimator), {})}


#: What every library has that has one of them, whether or not it has a row here.
_COMMON = ("grpo", "dr-grpo", "rloo")


def group_presets(estimator: str) -> list[str]:
    """Those of libraries that have this baseline, in the order of the table."""
    is_common = estimator in _COMMON
    return list(dict.fromkeys(preset for preset, name in _RULES if is_common or name == estimator))
