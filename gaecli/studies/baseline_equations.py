"""The equations of group baselines as they are written down, with letters or with numbers."""

from __future__ import annotations

from gaecli.estimators.baselines import group_rule
from gaecli.settings import Settings

#: s is the score of the trajectory, mean, std and n are those of its group.
_EQUATIONS = {
    "dr-grpo": "s - mean",
    "rloo": "s - mean of the others",
    "max-rl": "(s - mean) / mean, 0 where the mean is not positive",
}
_DIVISORS = {"add": "(std + {})", "clamp": "max(std, {})", "rsqrt": "sqrt(std^2 + {})"}


def equation_of(settings: Settings, eps: str | None = None) -> str | None:
    """With ε as `eps` writes it, or as a letter; None of an estimator that has none here."""
    if settings.estimator == "grpo":
        return f"(s - mean) / {_DIVISORS[group_rule(settings).floor].format(eps or 'ε')}"
    return _EQUATIONS.get(settings.estimator)


def rule_of(settings: Settings, *, has_singles: bool = False) -> str:
    """In words, with the numbers of the rule: `(s - mean) / (std + 1e-4), ddof 1`."""
    rule = group_rule(settings)
    equation = equation_of(settings, _short(rule.eps)) or settings.kind.summary
    parts = [equation, f"ddof {rule.ddof}"] if settings.estimator == "grpo" else [equation]
    if has_singles:
        parts.append({"zero": "0 where alone", "raw": "s where alone"}.get(settings.singleton, ""))
    return ", ".join(filter(None, parts))


def _short(number: float) -> str:
    """`1e-4` and `0.03`."""
    text = f"{number:g}" if number >= 1e-2 or not number else f"{number:e}"
    mantissa, mark, exponent = text.partition("e")
    return f"{float(mantissa):g}e{int(exponent)}" if mark else text
