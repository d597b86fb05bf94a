"""What scores were compared with, in a line: groups, formula, and how many groups say nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.text import Text

from gaecli.report.charts import format_setting
from gaecli.report.text import CAUTION, STRONG, Canvas, plural
from gaecli.summary import Baseline

#: Estimator -> what becomes of a score; {divisor} is that of the standard deviation.
_FORMULAS: Mapping[str, str] = {
    "grpo-batch": "(score - mean) / {divisor}, std over the batch",
    "grpo-loo": "(score - mean) / {divisor}, both of the others",
    "dr-grpo": "score - mean",
    "rf++-baseline": "score - mean",
    "max-rl": "(score - mean) / mean",
    "rae": "score - running mean of the role",
    "opo": "score - mean by length",
    "gpg": "(score - mean) times responses by those with a score",
    "flash-reinforce": "score - mean over the batch",
    "gdpo": "sum over rewards of (reward - mean) / {divisor}",
    "gigpo": "(score - mean) / {divisor}, and the same of equal states",
}
#: Of those that leave open what it is divided by.
_CENTRED: Mapping[str, str] = {
    "grpo": "score - mean",
    "rloo": "score - mean of the others",
    "passk": "best score - the next one",
}
_DIVISORS: Mapping[str, Callable[[str], str]] = {
    "add": lambda eps: f"(std + {eps})",
    "clamp": lambda eps: f"max(std, {eps})",
    "rsqrt": lambda eps: f"sqrt(var + {eps})",
}


def baseline_items(baseline: Baseline, canvas: Canvas) -> list[Text]:
    """`by prompt · (score - mean) / (std + 1e-8) · ddof 1 · 512 groups · 40 without spread`"""
    by = " and ".join(canvas.clean(name) for name in baseline.columns)
    items = [Text(f"by {by}" if by else "over the batch", STRONG)]
    formula = _formula(baseline)
    divisor = _DIVISORS[baseline.floor](format_setting(baseline.eps))
    items.append(Text(formula.format(divisor=divisor).replace(" - ", f" {canvas.glyphs.minus} ")))
    if "{divisor}" in formula:
        items.append(Text(f"ddof {baseline.ddof}"))
    if baseline.num_groups > 1:
        items.append(Text(plural(baseline.num_groups, "group")))
    if baseline.num_flat:
        items.append(Text(f"{baseline.num_flat:,} without spread", CAUTION))
    return items


def _formula(baseline: Baseline) -> str:
    if baseline.estimator == "max-rl" and baseline.eps:
        return f"(score - mean) / (mean + {format_setting(baseline.eps)})"
    return _scaled(baseline) if baseline.estimator in _CENTRED else _FORMULAS[baseline.estimator]


def _scaled(baseline: Baseline) -> str:
    centred = _CENTRED[baseline.estimator]
    if baseline.scale_rewards == "none":
        return centred
    return f"({centred}) / {{divisor}}" + (
        ", std over the batch" if baseline.scale_rewards == "batch" else ""
    )
