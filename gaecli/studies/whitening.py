"""Which rule of normalisation the map is that a column has beside the advantages of its rows."""

from __future__ import annotations

from functools import partial

from gaecli.estimators.normalization import NormRule, normalize
from gaecli.presets import PRESETS
from gaecli.records import dataclass
from gaecli.results import Attempt
from gaecli.studies.proof import Proof, Walk
from gaecli.studies.trials import place


@dataclass(frozen=True)
class Whitening:
    """What scale and shift are, in words, and the rule of normalisation that they are of."""

    words: str
    rule: NormRule | None = None


def whitening(attempt: Attempt, walk: Walk, proof: Proof, rounding: float) -> Whitening:
    """The rule that makes this very column of the advantages of these rows, if there is one.

    Scale and shift that are near the mean and std of all rows are not enough: those of one file more or less are.
    """
    presets: dict[NormRule, list[str]] = {}
    for name in sorted(PRESETS, key=lambda name: (name not in attempt.presets, place(name))):
        preset = PRESETS[name]
        rule = NormRule(preset.norm_ddof, preset.norm_eps, preset.norm_floor)
        if not rule.constants(proof.moments).is_degenerate:
            presets.setdefault(rule, []).append(name)
    rules = list(presets)
    maps = [partial(normalize, constants=rule.constants(proof.moments)) for rule in rules]
    errors = dict(zip(rules, walk.largest_errors(maps) if maps else [], strict=True))
    least = min(errors.values(), default=float("inf"))
    if least > walk.bound:
        return Whitening("an affine map of it; not with the mean and std of these rows")
    # Rules that differ by less than the column is rounded are one; then that of the preset itself is meant.
    likely = [rule for rule, error in errors.items() if error <= 2 * least + rounding]
    own = {name for name in attempt.presets if PRESETS[name].normalize != "none"}
    rule = max(likely, key=lambda rule: (len(own & set(presets[rule])), -errors[rule]))
    eps = f"{rule.eps:g}".replace("e-0", "e-")
    divisor = {"add": f"std + {eps}", "clamp": f"max(std, {eps})", "rsqrt": f"sqrt(var + {eps})"}
    return Whitening(f"normalised over all rows, by {divisor[rule.floor]} with ddof {rule.ddof}", rule)
