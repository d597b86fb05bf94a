"""How libraries differ in what they make of scores: divisor, ε, the only response of a group, what is whitened.

Read and run at the releases named; `tests/estimators/test_group_baselines.py` has their numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gaecli.estimator_kinds import ESTIMATORS
from gaecli.presets.base import Preset

ScoreRule = Mapping[str, Any]

#: What all of them share, whatever the preset's rule for advantages of steps is.
_PLAIN: ScoreRule = {"norm_ddof": 1, "norm_eps": 1e-8, "norm_floor": "add"}

#: TRL and ms-swift divide by std + 1e-4, over responses; a lone one gets 0.
_STD_1E4: ScoreRule = {"norm_eps": 1e-4}
#: A response without a reward is compared with none; one reward function that is missing takes no part.
_NAN_AWARE: ScoreRule = {"unscored": "zero"}
#: A sum that leaves NaN out is 0 where nothing is left, and is a score like any other (`nansum`).
_NAN_IS_0: ScoreRule = {"unscored": "counted"}
#: Over all kept tokens, 1 / √(σ² + 1e-8), as `masked_whiten` does it.
_WHITENED: ScoreRule = {"normalize": "all", "norm_eps": 1e-8, "norm_floor": "rsqrt", "norm_over": "steps"}
#: Over all kept tokens, ddof 0, 1 / max(σ, 1e-4).
_CLAMPED: ScoreRule = {
    "normalize": "all",
    "norm_ddof": 0,
    "norm_eps": 1e-4,
    "norm_floor": "clamp",
    "norm_over": "steps",
}
_RAW: ScoreRule = {"singleton": "raw"}

#: Preset -> estimator -> settings. What is not here has those of the fields of `Settings`.
SCORE_RULES: Mapping[str, Mapping[str, ScoreRule]] = {
    # TRL 1.16.0, trl/trainer/grpo_trainer.py, rloo_trainer.py.
    "trl": {
        "grpo": {**_STD_1E4, **_NAN_AWARE},
        "grpo-batch": {**_STD_1E4, **_NAN_AWARE},
        "dr-grpo": _NAN_AWARE,
        "rloo": {**_STD_1E4, **_NAN_AWARE},
        "gdpo": {**_STD_1E4, **_NAN_AWARE},
    },
    # ms-swift 4.6.0, swift/rl_core/advantage.py, compute_advantages; `scale_rewards` is "group" there.
    "ms-swift": {
        "grpo": {**_STD_1E4, **_NAN_IS_0},
        "grpo-batch": {**_STD_1E4, **_NAN_IS_0},
        "dr-grpo": _NAN_IS_0,
        "rloo": {**_STD_1E4, "scale_rewards": "group", **_NAN_IS_0},
        "rf++-baseline": {**_STD_1E4, "norm_over": "trajectories", **_NAN_IS_0},
        "gdpo": _NAN_IS_0,
    },
    # verl 0.9.1, verl/trainer/ppo/core_algos.py, compute_*_outcome_advantage: a lone one keeps its score.
    "verl": {
        "grpo": {"norm_eps": 1e-6, **_RAW},
        "dr-grpo": _RAW,
        "rloo": _RAW,
        "opo": _RAW,
        "gpg": _RAW,
        "passk": {"norm_eps": 1e-6},
        "rf++": _WHITENED,
        "rf++-baseline": {**_WHITENED, **_RAW},
        "gdpo": {**_WHITENED, **_RAW, "group_eps": 1e-6, "group_floor": "add"},
        "remax": {},
    },
    # SkyRL 0.4.0, skyrl/backends/skyrl_train/utils/ppo_utils.py: `rloo` gives a lone one 0, the others its score.
    "skyrl": {
        "grpo": {"norm_eps": 1e-6, **_RAW},
        "dr-grpo": _RAW,
        "rloo": {},
        "max-rl": {"group_eps": 1e-6, **_RAW},
        "rf++": _WHITENED,
    },
    # OpenRLHF 0.11.2, openrlhf/trainer/ppo_utils/experience_maker.py: `group_norm`; `rloo` needs two.
    "openrlhf": {
        "grpo": {"norm_eps": 1e-9},
        "dr-grpo": {},
        "rloo": {"singleton": "error"},
        "rf++": _CLAMPED,
        "rf++-baseline": _CLAMPED,
        "flash-reinforce": {},
    },
    # NeMo-RL 7ea279a, nemo_rl/algorithms/utils.py, calculate_baseline_and_std_per_prompt: by default of the others.
    # `gdpo` as examples/configs/gdpo_math_1B.yaml has it, without `use_leave_one_out_baseline`.
    "nemo": {
        "grpo": {"norm_eps": 1e-6},
        "grpo-loo": {"norm_eps": 1e-6},
        "dr-grpo": {},
        "rloo": {},
        "gdpo": {"group_eps": 1e-6, "norm_eps": 0.0},
        "rf++": _CLAMPED,
        "rf++-baseline": _CLAMPED,
    },
    # slime 624b824, slime/ray/rollout.py: rewards normalised by group.
    "slime": {"grpo": {"norm_eps": 1e-6}, "dr-grpo": {}},
    # prime-rl 559b447, src/prime_rl/orchestrator/algo/grpo.py: centred, max_rl.py, and rae.py.
    "prime-rl": {"dr-grpo": {}, "max-rl": {}, "rae": {}},
    # open-instruct e6c3044, open_instruct/data_loader.py: "standard" with NumPy's std, and "centered"; "max_rl" of
    # the branch `ngu`, 5ae8f74, open_instruct/data_loader_utils.py, compute_grouped_advantages.
    "open-instruct": {"grpo": {"norm_ddof": 0}, "dr-grpo": {}, "max-rl": {"group_eps": 1e-8}},
}


def _scores_only(name: str, library: str, summary: str, source: str) -> Preset:
    return Preset(
        name=name,
        library=library,
        summary=summary,
        source=source,
        delta="",
        recursion_text="",
        bootstrap_text="",
        normalization_text="",
        only_scores=True,
    )


#: Libraries without a critic: they have rules for scores alone.
SCORE_PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        _scores_only(
            "ms-swift",
            "ms-swift",
            "scores of responses only; `rloo` divides by the std too",
            "ms-swift 4.6.0, swift/rl_core/advantage.py, compute_advantages",
        ),
        _scores_only(
            "open-instruct",
            "open-instruct",
            "scores of responses only; NumPy's std, ddof 0",
            "open-instruct e6c3044, open_instruct/data_loader.py, `advantage_normalization_type`",
        ),
        _scores_only(
            "prime-rl",
            "prime-rl",
            "scores of responses only; not divided",
            "prime-rl 559b447, src/prime_rl/orchestrator/algo",
        ),
    )
}


def score_rules(preset: str, estimator: str) -> ScoreRule:
    kind = ESTIMATORS[estimator]
    if not kind.is_scored:
        return kind.defaults
    return {**_PLAIN, **kind.defaults, **SCORE_RULES.get(preset, {}).get(estimator, {})}


def group_presets(estimator: str) -> list[str]:
    """Those of libraries that have this baseline, in the order of the table."""
    return [preset for preset, rules in SCORE_RULES.items() if estimator in rules]
