"""The options of rewards out of success, of labels and of weights."""

from __future__ import annotations

from typing import get_args

from gaecli.choices import LabelRuleName
from gaecli.cli.option import Option, number

_SUCCESS = "Success"
_LABELS = "Labels and weights"

SUCCESS_OPTIONS = (
    Option(
        "success_column",
        "The flag of success, of steps or episodes: it makes the rewards, and episodes are over at their ends.",
        _SUCCESS,
        "COLUMN",
    ),
    Option(
        "success_reward",
        "-1/Z a step, at the end 0 or -C/Z, Z = longest episode - 1 + C; the same times Z; or 1 at the end of a "
        "success, else 0.",
        _SUCCESS,
        "recap|steps|sparse",
        "recap",
    ),
    number("failure_cost", "C, what a failure costs, in steps.", _SUCCESS, float, metavar="C"),
    Option(
        "success_at",
        "Where the flag counts if it changes within an episode: at its last step, or at any.",
        _SUCCESS,
        "last|any",
    ),
)

LABEL_OPTIONS = (
    Option(
        "label_rule",
        f"Label rows as a library does: {', '.join(get_args(LabelRuleName))}. A flag given beside it wins.",
        _LABELS,
        "NAME",
    ),
    number(
        "label_quantile",
        "Label rows by a quantile of the advantages, or of the returns if those alone are written: 0.3 is 30 %.",
        _LABELS,
        float,
        metavar="Q",
    ),
    Option(
        "label_side",
        "Positive are the share Q with the highest numbers (`top`), or all above the quantile Q (`above`).",
        _LABELS,
        "top|above",
    ),
    number("label_threshold", "Label rows by this threshold.", _LABELS, float, metavar="X"),
    Option(
        "label_operator",
        "The threshold itself is positive (`ge`) or not (`gt`). Default: `gt` for `above`, else `ge`.",
        _LABELS,
        "ge|gt",
    ),
    Option("label_by", "Equal values of a column have a quantile of their own.", _LABELS, "COLUMN"),
    Option("force_positive", "A flag: these rows are positive whatever their advantage.", _LABELS, "COLUMN"),
    Option(
        "label_forced",
        "Whether those rows count for the quantile. Default: `counted`, or the rule's.",
        _LABELS,
        "counted|left-out",
    ),
    Option("label_column", "Name of the column written.", _LABELS, "NAME", "label"),
    Option(
        "label_type",
        "Flags, the texts `positive` and `negative`, or these as rows of LeRobot's `language_persistent`.",
        _LABELS,
        "bool|text|language",
        "bool",
    ),
    Option(
        "weight",
        "Also write min(exp(A/β), max) (`awr`, `crr`), 1 where A > 0 (`crr-binary`), |τ - 1[A < 0]| (`iql`), or by "
        "progress (`rabc`).",
        _LABELS,
        "awr|crr|crr-binary|iql|rabc",
    ),
    Option("weight_column", "Name of the column written.", _LABELS, "NAME", "weight"),
    number("weight_beta", "β of `awr` and `crr`. Default: 1.", _LABELS, float, metavar="BETA"),
    number("weight_max", "The largest weight of `awr` and `crr`.", _LABELS, float, metavar="W"),
    number("expectile", "τ of `iql`. Default: 0.7.", _LABELS, float, metavar="TAU"),
    Option("progress_column", "Progress of the task, from 0 to 1, for `rabc`.", _LABELS, "COLUMN"),
    number(
        "progress_chunk",
        "`rabc` compares with so many steps later. Default: 50.",
        _LABELS,
        int,
        metavar="N",
    ),
    number(
        "progress_kappa",
        "Progress that `rabc` weights with 1. Default: 0.01.",
        _LABELS,
        float,
        metavar="KAPPA",
    ),
    Option(
        "names",
        "`lerobot`: returns are `mc_return`, and `is_terminal` marks the last step of each episode.",
        _LABELS,
        "gaecli|lerobot",
        "gaecli",
    ),
    Option("terminal_column", "Also write this flag of the last step of each episode.", _LABELS, "NAME"),
)
