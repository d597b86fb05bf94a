"""`gae check`: flags in, one library call, the findings out."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from gaecli.cli import options as flags
from gaecli.cli.files_from import names_from
from gaecli.diagnosis import Checkup
from gaecli.errors import UsageError
from gaecli.settings import Settings


def check(
    inputs: flags.Inputs = [],  # noqa: B006 - typer wants a list
    select: flags.Select = None,
    ignore: flags.Ignore = None,
    strict: flags.Strict = False,
    list_rules: flags.ListRules = False,
    gamma: flags.Gamma = None,
    preset: flags.Preset = "exact",
    truncation: flags.Truncation = None,
    bootstrap: flags.Bootstrap = "zero",
    done_at: flags.DoneAt = None,
    layout: flags.Layout = "auto",
    mask_mode: flags.MaskMode = None,
    masked_reward: flags.MaskedReward = "drop",
    reward_column: flags.RewardColumn = None,
    value_column: flags.ValueColumn = None,
    next_value_column: flags.NextValueColumn = None,
    bootstrap_value_column: flags.BootstrapColumn = None,
    done_column: flags.DoneColumn = None,
    terminated_column: flags.TerminatedColumn = None,
    truncated_column: flags.TruncatedColumn = None,
    not_done_column: flags.NotDoneColumn = None,
    not_truncated_column: flags.NotTruncatedColumn = None,
    final_done_column: flags.FinalDoneColumn = None,
    episode_column: flags.EpisodeColumn = None,
    env_column: flags.EnvColumn = None,
    step_column: flags.StepColumn = None,
    mask_column: flags.MaskColumn = None,
    memory: flags.Memory = "1GiB",
    files_from: flags.FilesFrom = None,
    join: flags.Join = None,
    json: flags.DocumentJson = False,
    quiet: flags.Quiet = False,
) -> None:
    """Look for what is wrong, or likely to be, in rollout files: exit code 3 on errors, 0 on warnings.

    Flags, rewards, values, cells, the order of rows, and files among each other. Nothing is written.
    """
    if list_rules:
        _list(select or [], ignore or [], as_json=json)
        return
    named = {
        "reward": reward_column,
        "value": value_column,
        "next_value": next_value_column,
        "bootstrap_value": bootstrap_value_column,
        "done": done_column,
        "terminated": terminated_column,
        "truncated": truncated_column,
        "not_done": not_done_column,
        "not_truncated": not_truncated_column,
        "final_done": final_done_column,
        "episode": episode_column,
        "env": env_column,
        "step": step_column,
        "mask": mask_column,
    }
    settings = Settings.from_preset(
        preset,
        gamma=gamma,
        truncation=truncation,
        bootstrap=bootstrap,
        done_at=done_at,
        layout=layout,
        mask_mode=mask_mode,
        masked_reward=masked_reward,
        columns={role: name for role, name in named.items() if name is not None},
        join=join,
    )
    sources = [*inputs, *names_from(files_from, inputs)]
    if not sources:
        raise UsageError("no input given", hint="gae check FILE…, or a directory; see `gae check --help`")
    from gaecli.commands.check import check as run

    checkup = run(
        sources,
        settings,
        select=select or [],
        ignore=ignore or [],
        strict=strict,
        memory_bytes=flags.parse_size(memory),
    )
    _show(checkup, as_json=json, quiet=quiet)
    raise typer.Exit(checkup.exit_code)


def _show(checkup: Checkup, *, as_json: bool, quiet: bool) -> None:
    """stdout carries the findings; what could not be examined goes to stderr."""
    from gaecli.report.messages import print_failures
    from gaecli.summary import FileSummary

    if as_json:
        from gaecli.report.document import checkup_to_dict, to_json

        sys.stdout.write(to_json(checkup_to_dict(checkup)) + "\n")
    elif not quiet:
        from gaecli.report.checks import render_checkup
        from gaecli.report.console import output_console

        render_checkup(checkup, output_console())
    print_failures(
        FileSummary(name, None, "failed", error=error, hint=hint, exit_code=code)
        for name, error, hint, code in checkup.failures
    )


def _list(select: Sequence[str], ignore: Sequence[str], *, as_json: bool) -> None:
    from gaecli.checks.registry import choose_rules

    rules = [rule.info for rule in choose_rules(select, ignore)]
    if as_json:
        from gaecli.report.document import rules_to_dict, to_json

        sys.stdout.write(to_json(rules_to_dict(rules)) + "\n")
        return
    from gaecli.report.checks import render_rules
    from gaecli.report.console import output_console

    render_rules(rules, output_console())
