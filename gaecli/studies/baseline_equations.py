"""The equations of group baselines as they are written down, with letters or with numbers."""

from __future__ import annotations

from gaecli.estimators.baselines import divided_by, group_rule
from gaecli.settings import Settings

#: s is the score of the trajectory, mean, std and n are those of its group.
_CENTRED = {
    "grpo": "s - mean",
    "grpo-batch": "s - mean",
    "dr-grpo": "s - mean",
    "rf++-baseline": "s - mean",
    "rloo": "s - mean of the others",
    "max-rl": "(s - mean) / mean, 0 where the mean is not positive",
    "passk": "s - second of the best",
    "rae": "s - b, the running mean of the role before it",
    "opo": "s - mean weighed by length",
    "gpg": "(s - mean) n / n(s != 0), both n of the batch",
    "flash-reinforce": "s - mean of the batch",
}
_DIVISORS = {"add": "({} + {})", "clamp": "max({}, {})", "rsqrt": "sqrt({}^2 + {})"}


def equation_of(settings: Settings, eps: str = "ε") -> str | None:
    """With ε as `eps` writes it; None of an estimator that has none here."""
    centred = _CENTRED.get(settings.estimator)
    divisor = _DIVISORS[group_rule(settings).floor]
    if settings.estimator == "gdpo":
        centred = f"Σ w (r - mean) / {divisor.format('std', eps)} over the rewards r"
    elif settings.estimator == "max-rl" and settings.group_eps is not None:
        centred = f"(s - mean) / (mean + {eps})"
    elif settings.estimator == "grpo-loo":
        centred = f"(s - mean of the others) / {divisor.format('std of the others', eps)}"
    elif divided_by(settings) != "none":
        std = "std" if divided_by(settings) == "group" else "std of the batch"
        centred = f"({centred}) / {divisor.format(std, eps)}"
    if centred is None or not _is_normalised(settings):
        return centred
    return f"{centred}, normalised {_over(settings)}"


def _is_normalised(settings: Settings) -> bool:
    return settings.normalize != "none" or settings.normalize_by is not None


def _over(settings: Settings) -> str:
    over = f"by {settings.normalize_by}" if settings.normalize_by is not None else settings.normalize
    return f"over {over}" if settings.normalize == "all" else f"per {over}".replace("per by", "by")


def has_spread(settings: Settings) -> bool:
    """ε and ddof say something to it."""
    return divided_by(settings) != "none" or settings.estimator in ("gdpo", "grpo-loo", "gigpo")


def rule_of(settings: Settings, *, has_singles: bool = False) -> str:
    """In words, with the numbers of the rule: `(s - mean) / (std + 1e-4), ddof 1`."""
    rule = group_rule(settings)
    parts = [equation_of(settings, _short(rule.eps)) or settings.kind.summary]
    if has_spread(settings):
        parts.append(f"ddof {rule.ddof}")
    if _is_normalised(settings):
        divisor = _DIVISORS[settings.norm_floor].format("std", _short(settings.norm_eps))
        parts.append(f"the last by {divisor}, ddof {settings.norm_ddof}")
    if has_singles and settings.uses("singleton"):
        parts.append({"zero": "0 where alone", "raw": "s where alone"}.get(settings.singleton, ""))
    return ", ".join(filter(None, parts))


def _short(number: float) -> str:
    """`1e-4` and `0.03`."""
    text = f"{number:g}" if number >= 1e-2 or not number else f"{number:e}"
    mantissa, mark, exponent = text.partition("e")
    return f"{float(mantissa):g}e{int(exponent)}" if mark else text
