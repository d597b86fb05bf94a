"""`gae inspect`: flags in, one library call, what was found out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from gaecli.cli import options as flags
from gaecli.cli.files_from import names_from
from gaecli.errors import UsageError
from gaecli.settings import RunOptions, Settings
from gaecli.summary import Inspection

if TYPE_CHECKING:
    from gaecli.commands.inspect import InspectOptions


def inspect(
    inputs: flags.Inputs = [],  # noqa: B006 - typer wants a list
    episodes: flags.Episodes = False,
    head: flags.Head = 0,
    gamma: flags.Gamma = None,
    lam: flags.Lam = None,
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
    advantage_column: flags.AdvantageColumn = "advantage",
    return_column: flags.ReturnColumn = "return",
    memory: flags.Memory = "1GiB",
    jobs: flags.Jobs = None,
    files_from: flags.FilesFrom = None,
    join: flags.Join = None,
    json: flags.DocumentJson = False,
    plot: flags.Plot = None,
    on_nan: flags.OnNan = "error",
) -> None:
    """Look into rollout files: columns and roles, episodes, rewards, values; what `gae compute` would do.

    Explained variance is 1 - Var(R - V) / Var(R), R being the discounted return at λ = 1.
    """
    from gaecli.commands.inspect import InspectOptions
    from gaecli.commands.inspect import inspect as run

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
        lam=lam,
        truncation=truncation,
        bootstrap=bootstrap,
        done_at=done_at,
        layout=layout,
        mask_mode=mask_mode,
        masked_reward=masked_reward,
        columns={role: name for role, name in named.items() if name is not None},
        advantage_column=advantage_column,
        return_column=return_column,
        join=join,
        on_nan=on_nan,
    )
    flags.check_plot(plot)
    if head < 0:
        raise UsageError(f"`--head` is {head}; it must be 0 or more")
    sources = [*inputs, *names_from(files_from, inputs)]
    if not sources:
        raise UsageError("no input given", hint="gae inspect FILE…, or a directory; see `gae inspect --help`")
    options = InspectOptions(episodes, head, flags.parse_size(memory), jobs)
    inspection = run(sources, settings, options)
    _show(inspection, as_json=json)
    if plot is not None:
        _draw(sources, settings, options, plot)
    raise typer.Exit(inspection.exit_code)


def _draw(sources: Sequence[str], settings: Settings, options: InspectOptions, plot: str) -> None:
    """The pictures of `gae compute --plot`, of what it would compute; nothing is written but them."""
    from gaecli.commands.compute import compute as run
    from gaecli.report.plots import plot_summary

    run_options = RunOptions(memory_bytes=options.memory_bytes, jobs=options.jobs, dry_run=True, gallery=True)
    summary = run(sources, settings, run_options)
    if summary.gallery is not None:
        plot_summary(summary, plot)


def _show(inspection: Inspection, *, as_json: bool) -> None:
    """stdout carries the page or the document; what could not be opened goes to stderr."""
    from gaecli.report.messages import print_failures

    if as_json:
        from gaecli.report.document import inspection_to_dict, to_json

        sys.stdout.write(to_json(inspection_to_dict(inspection)) + "\n")
    elif inspection.infos:
        from gaecli.report.console import output_console
        from gaecli.report.inspection import render_inspection

        render_inspection(inspection, output_console())
    print_failures(inspection.failures)
