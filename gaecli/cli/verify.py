"""`gae verify`: flags in, one library call, which convention made a column."""

from __future__ import annotations

import sys

import typer

from gaecli.cli import options as flags
from gaecli.cli import study_options as study
from gaecli.results import Verification
from gaecli.settings import Settings


def verify(
    input: study.OneInput,
    against: study.Against = "advantage",
    against_file: study.AgainstFile = None,
    preset: study.OnlyPreset = None,
    bootstrap: flags.Bootstrap = "zero",
    done_at: flags.DoneAt = None,
    layout: flags.Layout = "auto",
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
    join: flags.Join = None,
    json: flags.DocumentJson = False,
    quiet: flags.Quiet = False,
    on_nan: flags.OnNan = "error",
) -> None:
    """Find the preset, γ and λ that reproduce a column of advantages or returns, or where it deviates.

    Exit code 0 if one reproduces it at every row, to the rounding of float32; 3 if none does. A whitened
    column counts as reproduced if one scale and shift lead to it, a constant one does not.
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
    settings = Settings(
        bootstrap=bootstrap,  # type: ignore[arg-type]
        done_at=done_at,  # type: ignore[arg-type]
        layout=layout,
        columns={role: name for role, name in named.items() if name is not None},
        join=join,
        on_nan=on_nan,  # type: ignore[arg-type]
    )
    from gaecli.commands.verify import verify as run

    found = run(
        input,
        against,
        settings,
        column_source=against_file,
        preset=preset,
        memory_bytes=flags.parse_size(memory),
    )
    _show(found, as_json=json, quiet=quiet)
    raise typer.Exit(found.exit_code)


def _show(verification: Verification, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        from gaecli.report.document import to_json
        from gaecli.report.study_documents import verification_to_dict

        sys.stdout.write(to_json(verification_to_dict(verification)) + "\n")
    elif not quiet:
        from gaecli.report.console import output_console
        from gaecli.report.verification import render_verification

        render_verification(verification, output_console())
