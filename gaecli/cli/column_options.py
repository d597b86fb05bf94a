"""The options of columns, those that are read and those that are written, and of normalisation."""

from __future__ import annotations

from gaecli.cli.option import Option, number, switch
from gaecli.cli.step_options import UNIT_ROLE

_COLUMNS = "Columns that are read"
_WRITTEN = "Columns that are written"
_NORMALIZE = "Normalisation"


def _role(name: str, what: str) -> Option:
    flag = f"--{name.replace('_', '-')}-column"
    return Option(name, f"{what}.", _COLUMNS, "NAME", flags=flag, fills="role")


#: In the order of `gaecli.settings.ROLES`.
ROLE_OPTIONS = (
    _role("reward", "The reward after the step"),
    _role("value", "The value of the state before the step; `infos.value` reaches into structs"),
    _role("next_value", "V of the next state, where the file has it"),
    _role("bootstrap_value", "V after the end, per trajectory or environment"),
    _role(
        "done",
        "The flag for an end of whatever kind, or COLUMN=VALUE or COLUMN!=VALUE; `none`: there is none",
    ),
    _role("terminated", "The flag for a terminal next state"),
    _role("truncated", "The flag for an episode cut by a limit"),
    _role(
        "not_done", "An inverted flag: 0, where others have 1, and 1 or γ elsewhere; `none`: there is none"
    ),
    _role("not_truncated", "An inverted flag: 0 for an episode cut by a limit"),
    _role("final_done", "The start flags after the last step, per environment"),
    _role("episode", "The id of the episode"),
    _role("env", "The id of the environment"),
    _role("step", "The number of the step; orders the rows of a trajectory"),
    _role("mask", "1 for steps that take part, how many do, COLUMN=VALUE or COLUMN!=VALUE"),
    UNIT_ROLE,
    _role("log_prob", "log π(a|s) of the policy that off-policy estimators evaluate"),
    _role("behaviour_log_prob", "log μ(a|s) of the policy that acted")._replace(
        flags="--behaviour-log-prob-column --behavior-log-prob-column"
    ),
    _role("ratio", "π(a|s) / μ(a|s), instead of the two"),
    _role("prob", "π(a|s), for `tree-backup`"),
    _role("q", "Q(s, a), for `retrace`, `q-lambda` and `tree-backup`"),
)

WRITTEN_OPTIONS = (
    Option("advantage_column", "Name of the column of advantages.", _WRITTEN, "NAME", "advantage"),
    # No default of its own: it would be taken for what the user says, and `--names` says another one.
    Option(
        "return_column",
        "Name of the column of returns. Default: `return`, or that of `--names`.",
        _WRITTEN,
        "NAME",
    ),
)

NORMALIZATION_OPTIONS = (
    Option(
        "normalize",
        "Normalise advantages over `all` inputs of this command, per `file`, or per `episode`. "
        "Default: `none`, or the preset's.",
        _NORMALIZE,
        "none|all|file|episode",
    ),
    Option("normalize_by", "Normalise over equal values of a column.", _NORMALIZE, "COLUMN"),
    number(
        "norm_ddof",
        "Divisor of the variance is n - ddof: 1 as torch, 0 as NumPy. Default: 1, or the preset's.",
        _NORMALIZE,
        int,
    ),
    number("norm_eps", "Keeps the divisor from 0. Default: 1e-8, or the preset's.", _NORMALIZE, float),
    Option(
        "norm_floor",
        "Divisor: std + eps (`add`), max(std, eps) (`clamp`), or sqrt(var + eps) (`rsqrt`). "
        "Default: `add`, or the preset's.",
        _NORMALIZE,
        "add|clamp|rsqrt",
    ),
    switch("keep_raw", "Also write the raw advantage, as `advantage_raw`.", _NORMALIZE),
)
