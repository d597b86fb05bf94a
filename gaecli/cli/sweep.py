"""`gae sweep`: flags in, one library call, what each (γ, λ) does."""

from __future__ import annotations

import sys

import typer

from gaecli.cli import options as flags
from gaecli.cli import study_options as study
from gaecli.cli.files_from import names_from
from gaecli.errors import UsageError
from gaecli.results import Sweep, SweepFile
from gaecli.settings import Settings


def sweep(
    inputs: flags.Inputs = [],  # noqa: B006 - typer wants a list
    gamma: study.GammaGrid = "0.99",
    lam: study.LamGrid = "0:1:0.1",
    metric: study.Metric = "explained_variance",
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
    device: flags.Device = "auto",
    memory: flags.Memory = "1GiB",
    files_from: flags.FilesFrom = None,
    join: flags.Join = None,
    output: flags.Output = None,
    overwrite: flags.Overwrite = False,
    plot: flags.Plot = None,
    json: flags.DocumentJson = False,
    quiet: flags.Quiet = False,
    on_nan: flags.OnNan = "error",
) -> None:
    """Try a grid of γ and λ in one go: spread, explained variance and bias of each setting.

    Signs are compared with those under the preset's own γ and λ. With `--output`, a copy gets one column
    per setting, such as `advantage_g0.99_l0.95`.
    """
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
        truncation=truncation,
        bootstrap=bootstrap,
        done_at=done_at,
        layout=layout,
        mask_mode=mask_mode,
        masked_reward=masked_reward,
        columns={role: name for role, name in named.items() if name is not None},
        advantage_column=advantage_column,
        join=join,
        on_nan=on_nan,
    )
    sources = [*inputs, *names_from(files_from, inputs)]
    if not sources:
        raise UsageError("no input given", hint="gae sweep FILE…; see `gae sweep --help`")
    gammas, lams = study.parse_grid(gamma, "--gamma"), study.parse_grid(lam, "--lam")
    study.check_metric(metric)
    flags.check_plot(plot)
    from gaecli.commands.sweep import SweepOptions
    from gaecli.commands.sweep import sweep as run

    options = SweepOptions(output, overwrite, flags.parse_size(memory), device)
    found = run(sources, gammas, lams, settings, options)
    if plot is not None and found.counts.steps:
        from gaecli.report.plots import plot_sweep

        plot_sweep(found, plot, metric)
    _show(found, metric, as_json=json, quiet=quiet, data_on_stdout=output == "-")
    raise typer.Exit(found.exit_code)


def _show(found: Sweep, metric: str, *, as_json: bool, quiet: bool, data_on_stdout: bool) -> None:
    """stdout carries the data, else the table or the document; what could not be read goes to stderr."""
    stream = sys.stderr if data_on_stdout else sys.stdout
    from gaecli.report.messages import print_failures
    from gaecli.summary import FileSummary

    if as_json:
        from gaecli.report.document import to_json
        from gaecli.report.study_documents import sweep_to_dict

        stream.write(to_json(sweep_to_dict(found)) + "\n")
    elif not quiet and found.counts.steps:
        from gaecli.report.console import make_console
        from gaecli.report.sweep_table import render_sweep

        render_sweep(found, make_console(stream), metric)
    print_failures(
        FileSummary(file.input, None, "failed", error=_with_count(file, found), hint=file.hint)
        for file in found.files
        if file.error is not None and file.follows is None
    )


def _with_count(file: SweepFile, found: Sweep) -> str:
    others = sum(other.follows == file.input for other in found.files)
    return f"{file.error}" + (f"\nall {others + 1:,} files of its stream are left out" if others else "")
