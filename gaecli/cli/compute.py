"""`gae compute`: flags in, one library call, the summary out."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

import typer

from gaecli.cli import options as flags
from gaecli.cli.files_from import names_from
from gaecli.errors import UsageError
from gaecli.settings import RunOptions, Settings
from gaecli.summary import Summary


def compute(
    inputs: flags.Inputs = [],  # noqa: B006 - typer wants a list
    gamma: flags.Gamma = None,
    lam: flags.Lam = None,
    preset: flags.Preset = "exact",
    lam_alpha: flags.LamAlpha = None,
    truncation: flags.Truncation = None,
    bootstrap: flags.Bootstrap = "zero",
    done_at: flags.DoneAt = None,
    layout: flags.Layout = "auto",
    mask_mode: flags.MaskMode = None,
    masked_reward: flags.MaskedReward = "drop",
    mask_fill: flags.MaskFill = None,
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
    normalize: flags.Normalize = None,
    normalize_by: flags.NormalizeBy = None,
    norm_ddof: flags.NormDdof = None,
    norm_eps: flags.NormEps = None,
    norm_floor: flags.NormFloor = None,
    keep_raw: flags.KeepRaw = False,
    device: flags.Device = "auto",
    precision: flags.Precision = "double",
    memory: flags.Memory = "1GiB",
    jobs: flags.Jobs = None,
    files_from: flags.FilesFrom = None,
    join: flags.Join = None,
    output: flags.Output = None,
    sidecar: flags.Sidecar = False,
    overwrite: flags.Overwrite = False,
    force: flags.Force = False,
    dry_run: flags.DryRun = False,
    plot: flags.Plot = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    no_progress: flags.NoProgress = False,
    on_nan: flags.OnNan = "error",
) -> None:
    """Compute GAE advantages and returns, and write them into the file.

    Advantage: A = δ + γλ A', with δ = r + γ V' - V. Return: A + V. All other data stays as it is.
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
        gamma=gamma,
        lam=lam,
        lam_alpha=lam_alpha,
        truncation=truncation,
        bootstrap=bootstrap,
        done_at=done_at,
        layout=layout,
        mask_mode=mask_mode,
        masked_reward=masked_reward,
        mask_fill=mask_fill,
        columns={role: name for role, name in named.items() if name is not None},
        advantage_column=advantage_column,
        return_column=return_column,
        normalize=normalize,
        normalize_by=normalize_by,
        norm_ddof=norm_ddof,
        norm_eps=norm_eps,
        norm_floor=norm_floor,
        keep_raw=keep_raw,
        join=join,
        precision=precision,
        on_nan=on_nan,
    )
    run_options = RunOptions(
        device=device,
        memory_bytes=flags.parse_size(memory),
        jobs=jobs,
        output=output,
        sidecar=sidecar,
        overwrite=overwrite,
        dry_run=dry_run,
        force=force,
        gallery=plot is not None,
    )
    flags.check_plot(plot)
    sources = [*inputs, *names_from(files_from, inputs)]
    if not sources:
        raise UsageError(
            "no input given",
            hint="gae compute FILE…, a directory, or `--files-from`; see `gae compute --help`",
        )
    summary = _run(sources, settings, run_options, show_progress=not (no_progress or quiet or json))
    if plot is not None and summary.gallery is not None:
        from gaecli.report.plots import plot_summary

        plot_summary(summary, plot)
    show(summary, as_json=json, quiet=quiet, data_on_stdout=output == "-")
    raise typer.Exit(summary.exit_code)


def show(summary: Summary, *, as_json: bool, quiet: bool, data_on_stdout: bool = False) -> None:
    """stdout carries one thing: the data, else the table or the JSON document; the rest goes to stderr.

    A JSON document is alone on its stream: it says all that warnings and failures say.
    """
    from gaecli.report.messages import print_failures, print_warning

    stream = sys.stderr if data_on_stdout else sys.stdout
    if as_json:
        from gaecli.report.document import summary_to_dict, to_json

        stream.write(to_json(summary_to_dict(summary)) + "\n")
        if data_on_stdout:
            return
    elif not quiet and not _is_single_failure(summary):
        from gaecli.report.console import make_console
        from gaecli.report.table import render_summary

        render_summary(summary, make_console(stream))
        if stream.isatty() and sys.stderr.isatty():
            return  # the table has said it all, on the same screen
    if as_json or quiet:
        for note in summary.warnings:
            print_warning(note)
    print_failures(summary.files)


def _is_single_failure(summary: Summary) -> bool:
    return len(summary.files) == 1 and summary.files[0].status == "failed"


def _run(sources: Sequence[str], settings: Settings, options: RunOptions, *, show_progress: bool) -> Summary:
    from gaecli.commands.compute import compute as run

    if not show_progress:
        return run(sources, settings, options)
    from gaecli.report.progress import FileProgress

    with contextlib.ExitStack() as bar:
        return run(sources, settings, options, lambda total: bar.enter_context(FileProgress(total)).advance)
