"""The options of what is computed: estimator, γ and λ, what an estimator has of its own, kinds of reward."""

from __future__ import annotations

from gaecli.cli.option import Option, number
from gaecli.estimator_kinds import ESTIMATORS

_ESTIMATOR = "Estimator"
_DECAYS = "γ and λ"
_OWN = "Of single estimators"
_STREAMS = "Several kinds of reward"

ESTIMATOR_OPTIONS = (
    Option(
        "estimator",
        f"What to compute: {', '.join(ESTIMATORS)}.",
        _ESTIMATOR,
        "NAME",
        "gae",
    ),
    Option(
        "preset",
        "Compute as this library does; `gae presets` lists them, and libraries that do the same. A flag given "
        "beside it wins.",
        _ESTIMATOR,
        "NAME",
        "exact",
    ),
)

DECAY_OPTIONS = (
    number("gamma", "Discount γ. Default: 0.99, or the preset's.", _DECAYS, float, flags="--gamma -g"),
    Option("gamma_column", "Column with γ of each step, of what follows it.", _DECAYS, "COLUMN"),
    number(
        "lam",
        "GAE's λ. Default: 0.95, or the preset's.",
        _DECAYS,
        float,
        flags="--lam --lambda --gae-lambda -l",
    ),
    number(
        "lam_alpha",
        "λ by the length n of each trajectory, instead: 1 - 1 / max(alpha n, 1).",
        _DECAYS,
        float,
        metavar="ALPHA",
    ),
    number(
        "lam_retain",
        "Or q ** (1 / (n - 1)): so much of the last reward is left at the first step.",
        _DECAYS,
        float,
        metavar="Q",
    ),
    Option("lam_column", "Column with λ of each step.", _DECAYS, "COLUMN"),
    number("lam_value", "λ of the returns, where it is not that of the advantages.", _DECAYS, float),
    number("lam_value_alpha", "The same by the length, as `--lam-alpha`.", _DECAYS, float, metavar="ALPHA"),
    number("lam_value_retain", "The same by the length, as `--lam-retain`.", _DECAYS, float, metavar="Q"),
)

OWN_OPTIONS = (
    number("n_steps", "Of `n-step`, or `k-step`: rewards that are summed before V.", _OWN, int, metavar="N"),
    number("rho_bar", "Of `vtrace`: the most that ρ counts in a TD error. Default: 1.", _OWN, float),
    number("c_bar", "Of `vtrace`: the most that ρ counts in a trace. Default: 1.", _OWN, float),
    number(
        "pg_bar",
        "Of `vtrace`: the most that ρ counts in A. Default: as `--rho-bar`, or the preset's.",
        _OWN,
        float,
    ),
)

STREAM_OPTIONS = (
    Option(
        "stream",
        "One of them, as name=REWARD,VALUE,GAMMA,LAM,WEIGHT: advantages are added up, returns are `return_NAME`. "
        "`cut=never`: it has no ends; `next=`, `bootstrap=`: columns of V.",
        _STREAMS,
        "SPEC",
        kind=list[str],
    ),
)
