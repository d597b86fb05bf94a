"""The options of scores of trajectories, and of the groups that they are compared in."""

from __future__ import annotations

from gaecli.cli.option import Option, number

_GROUPS = "Scores and groups"

GROUP_OPTIONS = (
    Option(
        "group_column",
        "Of `grpo` and its kind: responses with equal values, such as a prompt, are a group; given twice, in both.",
        _GROUPS,
        "COLUMN",
        kind=list[str],
    ),
    Option(
        "rewards",
        "A column of rewards and its weight (1), for each of several. `gdpo` compares each by itself, others their "
        "sum.",
        _GROUPS,
        "COLUMN=WEIGHT",
        flags="--reward",
        kind=list[str],
    ),
    Option(
        "scale_rewards",
        "Divide centred scores by the std of the group, of the batch, or by none. Default: `group` for `grpo`, "
        "`none` for `rloo`, or the preset's.",
        _GROUPS,
        "group|batch|none",
    ),
    Option(
        "singleton",
        "What the only response of a group gets: 0, its score, or an error. "
        "Default: `zero`, or the preset's.",
        _GROUPS,
        "zero|raw|error",
    ),
    Option(
        "unscored",
        "A response whose rewards are all missing is an error, gets 0 and is compared with none, or counts as one "
        "with score 0. Default: `error`, or the preset's.",
        _GROUPS,
        "error|zero|counted",
    ),
    Option(
        "order_column",
        "Of `rae`: a column of numbers that grow with time; given twice, the second orders equal ones in the first.",
        _GROUPS,
        "COLUMN",
        kind=list[str],
    ),
    number(
        "ema_decay",
        "Of `rae`: what stays of the running mean of a role at each score. Default: 0.95.",
        _GROUPS,
        float,
    ),
    Option(
        "sample_of",
        "Rows with equal values are samples of one rollout, which counts once in mean and std.",
        _GROUPS,
        "COLUMN",
    ),
    Option(
        "batch_column",
        "Of `grpo-batch`, `gpg`, `flash-reinforce`: rows with equal values are a batch. Default: all inputs are one.",
        _GROUPS,
        "COLUMN",
    ),
    Option(
        "length_column",
        "Of `opo`: the number of tokens of the response. Default: the steps there are.",
        _GROUPS,
        "COLUMN",
    ),
    Option("state_column", "Of `gigpo`: steps with equal values are in one state.", _GROUPS, "COLUMN"),
    number("step_weight", "Of `gigpo`: what steps in equal states count. Default: 1.", _GROUPS, float),
    Option(
        "baseline_column", "Of `remax`: the reward of the greedy response to the prompt.", _GROUPS, "COLUMN"
    ),
    number(
        "group_ddof",
        "`--norm-ddof` of the groups, where it is not that of `--normalize`.",
        _GROUPS,
        int,
    ),
    number(
        "group_eps",
        "`--norm-eps` of the groups, likewise. Of `max-rl`: what is added to the mean, whatever its sign.",
        _GROUPS,
        float,
    ),
    Option("group_floor", "`--norm-floor` of the groups, likewise.", _GROUPS, "add|clamp|rsqrt"),
    Option(
        "norm_over",
        "What enters the mean and std of `--normalize` once, of scores. Default: the estimator's, or the preset's.",
        _GROUPS,
        "steps|trajectories",
    ),
)
