"""The options of single commands, and those that commands spell alike and take as their own."""

from __future__ import annotations

from collections.abc import Mapping

from gaecli.cli.option import Option, number, switch
from gaecli.estimator_kinds import ESTIMATORS

_OUTPUT = "Input and output"
_RULES = "Rules"
_STUDY = "Question"

#: By the names that commands list them under.
COMMAND_OPTIONS: Mapping[str, Option] = {
    "one_input": Option("input", "A rollout file, or `-` for stdin.", None, "INPUT"),
    "preset_name": Option("name", "Show all about this one.", None, "NAME"),
    "json": switch("json", "Print the summary as one JSON document.", _OUTPUT),
    "document_json": switch("json", "Print one JSON document.", _OUTPUT),
    "quiet": switch("quiet", "Print no table.", _OUTPUT, flags="--quiet -q"),
    "plot": Option("plot", "Draw to a .png, .svg or .html file.", _OUTPUT, "FILE"),
    # inspect
    "episodes": switch("episodes", "List the episodes: id, length, end, return, mean value.", _OUTPUT),
    "head": number(
        "head",
        "Show so many rows from the beginning.",
        _OUTPUT,
        int,
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
    "strict": switch("strict", "Exit with 3 on warnings too.", _RULES),
    "fix": switch(
        "fix",
        "Also tell the `gae compute` command whose flags deal with findings, and what none deals with; no file is "
        "changed.",
        _RULES,
    ),
    "exit_zero": switch(
        "exit_zero", "Exit with 0 whatever is found; not where a file cannot be examined.", _RULES
    ),
    "output_format": Option(
        "output_format",
        "`json` is `--json`; `github` annotates the files of a pull request, a line for each finding.",
        _OUTPUT,
        "table|json|github",
        "table",
    ),
    "list_rules": switch("list_rules", "List the rules and end.", _RULES, flags="--list"),
    # explain
    "row": number("row", "The step in row N, from 0.", _STUDY, int, metavar="N"),
    "the_episode": Option(
        "the_episode", "The episode, as its column has it.", _STUDY, "ID", flags="--episode"
    ),
    "the_step": number(
        "the_step",
        "The step, as its column has it; else counted from 0.",
        _STUDY,
        int,
        metavar="T",
        flags="--step",
    ),
    "the_env": Option("the_env", "The environment, as its column has it.", _STUDY, "E", flags="--env"),
    "top": number(
        "top",
        "Show the N steps that contribute most. Default: 12 in the table, all in `--json`.",
        _STUDY,
        int,
        metavar="N",
    ),
    # report, show
    "page_episodes": number(
        "page_episodes",
        "Episodes that are listed: with findings, the strangest, the worst, the longest, others spread evenly.",
        _OUTPUT,
        int,
        metavar="N",
        default="300",
        flags="--episodes",
    ),
    "open": switch("open", "Open the page in the browser.", _OUTPUT),
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
    # diff
    "diff_columns": Option(
        "diff_columns",
        "The columns that are compared, of one input or one of each. Default: `advantage` of two inputs.",
        _STUDY,
        "A,B",
        flags="--columns",
    ),
    "rtol": number("rtol", "Relative difference that is none.", _STUDY, float, metavar="X", default="1e-5"),
    "atol": number("atol", "Absolute difference that is none.", _STUDY, float, metavar="X", default="1e-8"),
    "metric": Option(
        "metric",
        "What the heat map shows.",
        _STUDY,
        "explained_variance|std|bias|sign_agreement|mean|threshold|positive_share|label_agreement",
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
    "only_n_steps": number(
        "only_n_steps",
        "Of `n-step`: try this number only. Default: usual numbers are tried.",
        _STUDY,
        int,
        metavar="N",
        flags="--n-steps",
    ),
    "only_success_reward": Option(
        "only_success_reward",
        "Beside `--success-column`: try this rule only. Default: all of them.",
        "Success",
        "recap|steps|sparse",
        flags="--success-reward",
    ),
    "only_failure_cost": number(
        "only_failure_cost",
        "C, what a failure costs, in steps. Default: what the column says at the ends of failures.",
        "Success",
        float,
        metavar="C",
        flags="--failure-cost",
    ),
}
