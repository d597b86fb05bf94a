"""Every option of every command, declared once: a table that `gaecli.cli.command` builds signatures from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gaecli.cli.label_options import LABEL_OPTIONS
from gaecli.cli.option import Option, number
from gaecli.estimator_kinds import ESTIMATORS, FEW
from gaecli.layout_kinds import LAYOUTS

_ESTIMATOR = "Estimator"
_COLUMNS = "Columns"
_NORMALIZE = "Normalisation"
_GROUPS = "Scores and groups"
_RUN = "Run"
_OUTPUT = "Output"
_RULES = "Rules"
_STUDY = "Question"


def _number(name: str, help: str, kind: type[int] | type[float], **more: Any) -> Option:
    return number(name, help, more.pop("panel", _ESTIMATOR), kind, **more)


def _switch(name: str, help: str, panel: str = _OUTPUT, **more: Any) -> Option:
    return Option(name, help, panel, kind=bool, **{"default": False, **more})


def _role(name: str, what: str) -> Option:
    flag = f"--{name.replace('_', '-')}-column"
    return Option(name, f"Column with {what}.", _COLUMNS, "NAME", flags=flag, fills="role")


_SETTINGS = (
    Option(
        "preset",
        "Compute as this library does; `gae presets` lists them, and libraries that do the same. A flag given "
        "beside it wins.",
        _ESTIMATOR,
        "NAME",
        "exact",
    ),
    Option(
        "estimator",
        "What to compute. `mc`, discounted returns, needs no value column, nor do `grpo` and its kind, which take "
        "`--group-column`; `n-step`, or `k-step`, takes `--n-steps`; `vtrace` and its kind the policies' columns.",
        _ESTIMATOR,
        "|".join(ESTIMATORS),
        "gae",
    ),
    Option(
        "group_column",
        "Of `grpo` and its kind: responses with equal values are a group, such as a prompt. Given twice, responses "
        "with equal values in both.",
        _GROUPS,
        "COLUMN",
        kind=list[str],
    ),
    Option(
        "rewards",
        "A column of rewards and its weight, 1 if left out; given for each of several. `gdpo` compares each by "
        "itself, others their sum.",
        _GROUPS,
        "COLUMN=WEIGHT",
        flags="--reward",
        kind=list[str],
    ),
    Option(
        "singleton",
        "What the only response of a group gets: 0 (`zero`), its score (`raw`), or an `error`. "
        "Default: `zero`, or the preset's.",
        _GROUPS,
        "zero|raw|error",
    ),
    Option(
        "scale_rewards",
        "Of `grpo` and `rloo`: divide centred scores by the std of the group, of the batch, or by none, as TRL names "
        "it. Default: `group` for `grpo`, `none` for `rloo`, or the preset's.",
        _GROUPS,
        "group|batch|none",
    ),
    Option(
        "unscored",
        "A response whose rewards are all missing is an `error`, or is compared with none and gets 0 (`zero`). "
        "Default: `error`, or the preset's.",
        _GROUPS,
        "error|zero",
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
    Option("state_column", "Of `gigpo`: steps with equal values are in one state.", _GROUPS, "COLUMN"),
    _number("step_weight", "Of `gigpo`: what steps in equal states count. Default: 1.", float, panel=_GROUPS),
    Option(
        "baseline_column", "Of `remax`: the reward of the greedy response to the prompt.", _GROUPS, "COLUMN"
    ),
    Option(
        "length_column",
        "Of `opo`: the number of tokens of the response. Default: the steps there are.",
        _GROUPS,
        "COLUMN",
    ),
    _number(
        "group_ddof",
        "`--norm-ddof` of the groups, where it is not that of `--normalize`.",
        int,
        panel=_GROUPS,
    ),
    _number("group_eps", "`--norm-eps` of the groups, likewise.", float, panel=_GROUPS),
    Option("group_floor", "`--norm-floor` of the groups, likewise.", _GROUPS, "add|clamp|rsqrt"),
    Option(
        "norm_over",
        "Of estimators that score responses: every step enters the mean and std of `--normalize`, or every "
        "trajectory once. Default: the estimator's, or the preset's.",
        _GROUPS,
        "steps|trajectories",
    ),
    _number("n_steps", "Rewards that `--estimator n-step` sums before it takes V.", int, metavar="N"),
    _number("rho_bar", "Of `vtrace`: the most that ρ counts in a TD error. Default: 1.", float),
    _number("c_bar", "Of `vtrace`: the most that ρ counts in a trace. Default: 1.", float),
    _number(
        "pg_bar", "Of `vtrace`: the most that ρ counts in A. Default: as `--rho-bar`, or the preset's.", float
    ),
    _number("gamma", "Discount γ. Default: 0.99, or the preset's.", float, flags="--gamma -g"),
    _number("lam", "GAE's λ. Default: 0.95, or the preset's.", float, flags="--lam --lambda --gae-lambda -l"),
    _number(
        "lam_alpha",
        "λ by the length n of each trajectory, instead: 1 - 1 / max(alpha n, 1).",
        float,
        metavar="ALPHA",
    ),
    _number(
        "lam_retain",
        "Or q ** (1 / (n - 1)): so much of the last reward is left at the first step, whatever the length.",
        float,
        metavar="Q",
    ),
    _number("lam_value", "λ of the returns, where it is not that of the advantages.", float),
    _number("lam_value_alpha", "The same by the length, as `--lam-alpha`.", float, metavar="ALPHA"),
    _number("lam_value_retain", "The same by the length, as `--lam-retain`.", float, metavar="Q"),
    Option("gamma_column", "Column with γ of each step, of what follows it.", _ESTIMATOR, "COLUMN"),
    Option(
        "unit_is",
        "What `--unit` holds: ids (`id`) or flags (`end`). Default: flags if it is boolean; asked where it matters.",
        _ESTIMATOR,
        "id|end",
    ),
    Option(
        "unit_reward",
        "Reward of a unit, of those of its rows. Default: `sum`, or the preset's.",
        _ESTIMATOR,
        "sum|mean",
    ),
    Option(
        "unit_value",
        "The row of a unit whose V counts. Default: `first`, or the preset's.",
        _ESTIMATOR,
        "first|last",
    ),
    _number(
        "turn_gamma",
        "γ over units; `--gamma` is then that within each of them, in a second pass (VAGEN).",
        float,
        metavar="GAMMA",
    ),
    Option(
        "stream",
        "One of several kinds of reward, as name=REWARD,VALUE,GAMMA,LAM,WEIGHT: advantages are added up by weight, "
        "returns are `return_NAME`. `cut=never`: ends are nothing to it; `next=`, `bootstrap=`: columns of V.",
        _ESTIMATOR,
        "SPEC",
        kind=list[str],
    ),
    Option("lam_column", "Column with λ of each step.", _ESTIMATOR, "COLUMN"),
    Option(
        "truncation",
        "A truncated end has a next value (`exact`), that of its own state (`current`; without γ: "
        "`undiscounted`), that of the next row (`reset`), is terminal (`zero`), has no advantage (`drop`), or "
        "is no end (`leak`). Default: `exact`, or the preset's.",
        _ESTIMATOR,
        "exact|current|undiscounted|reset|zero|drop|leak",
    ),
    Option(
        "bootstrap",
        "V after an end that is not terminal and has no next value: `zero`, `current` (V of the last "
        "state), or `error`.",
        _ESTIMATOR,
        "zero|current|error",
        "zero",
    ),
    Option(
        "done_at",
        "A done flag says that its step ended the episode (`end`) or that its observation begins "
        "one (`start`). Default: by name, checked against episode ids.",
        _ESTIMATOR,
        "end|start",
    ),
    Option(
        "layout",
        "How steps are laid out; `auto` goes by shapes and asks where they leave it open.",
        _ESTIMATOR,
        "|".join(("auto", *LAYOUTS)),
        "auto",
    ),
    Option(
        "mask_mode",
        "Masked steps do not exist (`skip`) or end the trajectory before them (`cut`), count as 0 while time goes on "
        "(`zero`), the same but let the trace pass (`gated`), or are left out of statistics only (`keep`). "
        "Default: `skip`, or the preset's.",
        _ESTIMATOR,
        "skip|cut|zero|gated|keep",
    ),
    Option(
        "mask_fill",
        "Masked rows hold nothing (`null`), 0 (`zero`), or what the recursion carries through them "
        "(`carry`). Default: `null`, or the preset's.",
        _ESTIMATOR,
        "null|zero|carry",
    ),
    Option(
        "masked_reward",
        "A reward that is not 0 on a masked step is left out with a warning (`drop`), goes to the last kept "
        "step before it (`move`), or is an error (`error`).",
        _ESTIMATOR,
        "drop|move|error",
        "drop",
    ),
    Option("advantage_column", "Name of the column written.", _COLUMNS, "NAME", "advantage"),
    # No default of its own: it would be taken for what the user says, and `--names` says another one.
    Option(
        "return_column",
        "Name of the column written. Default: `return`, or that of `--names`.",
        _COLUMNS,
        "NAME",
    ),
    Option(
        "normalize",
        "Normalise advantages over `all` inputs of this command, per `file`, or per `episode`. "
        "Default: `none`, or the preset's.",
        _NORMALIZE,
        "none|all|file|episode",
    ),
    Option("normalize_by", "Normalise over equal values of a column.", _NORMALIZE, "COLUMN"),
    _number(
        "norm_ddof",
        "Divisor of the variance is n - ddof: 1 as torch, 0 as NumPy. Default: 1, or the preset's.",
        int,
        panel=_NORMALIZE,
    ),
    _number("norm_eps", "Keeps the divisor from 0. Default: 1e-8, or the preset's.", float, panel=_NORMALIZE),
    Option(
        "norm_floor",
        "Divisor: std + eps (`add`), max(std, eps) (`clamp`), or sqrt(var + eps) (`rsqrt`). "
        "Default: `add`, or the preset's.",
        _NORMALIZE,
        "add|clamp|rsqrt",
    ),
    _switch("keep_raw", "Also write the raw advantage, as `advantage_raw`.", _NORMALIZE),
    *LABEL_OPTIONS,
    _switch(
        "join",
        "All files are one stream in which trajectories run on, or every file stands alone. "
        "Default: shards of one data set are joined, other files are not.",
        flags="--join/--no-join",
        default=None,
    ),
    Option(
        "precision", "float64 or float32 arithmetic; columns are float32.", _RUN, "double|single", "double"
    ),
    Option(
        "on_nan",
        "NaN, infinite and null cells are an error, or leave their episode out.",
        _OUTPUT,
        "error|drop-episode",
        "error",
    ),
)

_ROLES = (
    _role("reward", "the reward after the step"),
    _role("value", "the value of the state before the step; `infos.value` reaches into structs"),
    _role("next_value", "V of the next state, where the file has it"),
    _role("bootstrap_value", "V after the end, per trajectory or environment"),
    _role("done", "the flag for an end of whatever kind; `none`: there is none"),
    _role("terminated", "the flag for a terminal next state"),
    _role("truncated", "the flag for an episode cut by a limit"),
    _role(
        "not_done", "an inverted flag: 0, where others have 1, and 1 or γ elsewhere; `none`: there is none"
    ),
    _role("not_truncated", "an inverted flag: 0 for an episode cut by a limit"),
    _role("final_done", "the start flags after the last step, per environment"),
    _role("episode", "the id of the episode"),
    _role("env", "the id of the environment"),
    _role("step", "the number of the step; orders the rows of a trajectory"),
    _role("mask", "1 for steps that take part"),
    Option(
        "unit",
        "Compute over turns, or other runs of rows: column with the id of each, or a flag at its last row. A row "
        "where it is null or negative is in none.",
        _ESTIMATOR,
        "COLUMN",
        fills="role",
    ),
    _role("log_prob", "log π(a|s) of the policy that off-policy estimators evaluate"),
    _role("behaviour_log_prob", "log μ(a|s) of the policy that acted")._replace(
        flags="--behaviour-log-prob-column --behavior-log-prob-column"
    ),
    _role("ratio", "π(a|s) / μ(a|s), instead of the two"),
    _role("prob", "π(a|s), for `tree-backup`"),
    _role("q", "Q(s, a), for `retrace`, `q-lambda` and `tree-backup`"),
)

_RUN_OPTIONS = (
    Option(
        "device",
        "`auto` computes with NumPy and never imports torch below 500 million steps; above, it takes the "
        "first CUDA device, if there is one. Every other name means torch. Both give the same numbers in float64.",
        _RUN,
        "auto|cpu|cuda|cuda:N|mps",
        "auto",
    ),
    _number("jobs", "Threads. Default: one per core.", int, panel=_RUN, flags="--jobs -j"),
    Option(
        "output",
        "File, directory or `s3://…` to write to, instead of the input; `-` for stdout.",
        _OUTPUT,
        "FILE|DIR|-",
        flags="--output -o",
    ),
    _switch("sidecar", "Write keys and new columns to `<stem>.gae.parquet`."),
    _switch("overwrite", "Replace columns or files that gaecli did not write."),
    _switch("force", "Compute and write again what is up to date."),
    _switch("dry_run", "Compute and report, write nothing."),
)

_SHARED = (
    Option(
        "inputs",
        "Files, quoted globs, directories, `s3://…`, or `-` for stdin.",
        None,
        "INPUT...",
        kind=list[str],
    ),
    Option(
        "files_from",
        "Read names of inputs from a file, or `-` for stdin; NUL or newline between.",
        _OUTPUT,
        "FILE|-",
    ),
    Option("memory", "Working set, about.", _RUN, "SIZE", "1GiB"),
)

_OF_COMMANDS = {
    "one_input": Option("input", "A rollout file.", None, "INPUT", ...),
    "preset_name": Option("name", "Show all about this one.", None, "NAME"),
    "json": _switch("json", "Print the summary as one JSON document."),
    "document_json": _switch("json", "Print one JSON document."),
    "quiet": _switch("quiet", "Print no table.", flags="--quiet -q"),
    "no_progress": _switch("no_progress", "Show no progress bar."),
    "plot": Option("plot", "Draw to a .png, .svg or .html file.", _OUTPUT, "FILE"),
    # inspect
    "episodes": _switch("episodes", "List the episodes: id, length, end, return, mean value."),
    "head": _number(
        "head",
        "Show so many rows from the beginning.",
        int,
        panel=_OUTPUT,
        metavar="N",
        default="0",
        flags="--head -n",
    ),
    # check
    "select": Option(
        "select",
        "Check these rules only: codes or their beginnings, with commas between (`GAE0,GAE101`).",
        _RULES,
        "CODES",
        kind=list[str],
    ),
    "ignore": Option("ignore", "Leave these rules out, in the same form.", _RULES, "CODES", kind=list[str]),
    "strict": _switch("strict", "Exit with 3 on warnings too.", _RULES),
    "list_rules": _switch("list_rules", "List the rules and end.", _RULES, flags="--list"),
    # explain
    "row": _number("row", "The step in row N, from 0.", int, panel=_STUDY, metavar="N"),
    "the_episode": Option(
        "the_episode", "The episode, as its column has it.", _STUDY, "ID", flags="--episode"
    ),
    "the_step": _number(
        "the_step",
        "The step, as its column has it; else counted from 0.",
        int,
        panel=_STUDY,
        metavar="T",
        flags="--step",
    ),
    "the_env": Option("the_env", "The environment, as its column has it.", _STUDY, "E", flags="--env"),
    "top": _number(
        "top",
        "Show the N steps that contribute most. Default: 12 in the table, all in `--json`.",
        int,
        panel=_STUDY,
        metavar="N",
    ),
    # sweep
    "gammas": Option(
        "gammas",
        "Values of γ: a list, or first:last:step. Default: 0.99.",
        _STUDY,
        "0.95,0.99",
        flags="--gamma -g",
    ),
    "lams": Option(
        "lams",
        "Values of λ, of an estimator that has it: a list, or first:last:step. Default: 0:1:0.1.",
        _STUDY,
        "0:1:0.05",
        flags="--lam --lambda --gae-lambda -l",
    ),
    "windows": Option(
        "windows",
        "Numbers of steps, of `n-step`: a list, or first:last:step.",
        _STUDY,
        "1,5,10",
        flags="--n-steps",
    ),
    "swept_estimators": Option(
        "swept_estimators",
        "One estimator, or several side by side: `grpo,rloo,dr-grpo`.",
        _STUDY,
        "NAME,…",
        "gae",
        flags="--estimator",
    ),
    "swept_presets": Option(
        "swept_presets",
        "One preset, or several side by side: `trl,verl`.",
        _STUDY,
        "NAME,…",
        "exact",
        flags="--preset",
    ),
    "metric": Option(
        "metric",
        "What the heat map shows.",
        _STUDY,
        "explained_variance|std|bias|sign_agreement|mean",
        "explained_variance",
    ),
    # verify
    "against": Option(
        "against", "The column of advantages, or of returns, to explain.", _STUDY, "COLUMN", "advantage"
    ),
    "against_file": Option(
        "against_file",
        "The file with that column, if it is another one with the same rows.",
        _STUDY,
        "FILE",
    ),
    "only_preset": Option(
        "only_preset", "Try this preset only. Default: all of them.", _STUDY, "NAME", flags="--preset"
    ),
    "only_estimator": Option(
        "only_estimator",
        "Try this estimator only. Default: all of them.",
        _STUDY,
        "|".join(ESTIMATORS),
        flags="--estimator",
    ),
    "only_groups": Option(
        "only_groups",
        "Of group baselines: the column that tells groups apart; given twice, both together. Default: columns of "
        "usual names are tried.",
        _STUDY,
        "COLUMN",
        flags="--group-column",
        kind=list[str],
    ),
    "only_n_steps": _number(
        "only_n_steps",
        "Of `n-step`: try this number only. Default: usual numbers are tried.",
        int,
        panel=_STUDY,
        metavar="N",
        flags="--n-steps",
    ),
}

_BY_SETTING = {row.name: row._replace(fills="setting") for row in _SETTINGS}

#: By the names that commands list them under.
OPTIONS: Mapping[str, Option] = {
    **_BY_SETTING,
    "no_estimator": _BY_SETTING["estimator"]._replace(is_hidden=True),
    **{"unit" if row.name == "unit" else f"{row.name}_column": row for row in _ROLES},
    **{row.name: row._replace(fills="run") for row in _RUN_OPTIONS},
    **{row.name: row._replace(fills="given") for row in _SHARED},
    **_OF_COMMANDS,
}

#: The columns of all roles, as every command lists them.
ROLE_COLUMNS = " ".join(f"{row.name}_column" for row in _ROLES if row.name != "unit")

#: What scores are made of and compared with, as every command lists them that computes.
GROUP_OPTIONS = " ".join(FEW)
