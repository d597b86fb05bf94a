"""`gae sweep`: flags in, one library call, what each setting does."""

from __future__ import annotations

import sys

import typer

from gaecli.cli.command import Given, command
from gaecli.cli.documents import print_document
from gaecli.cli.options import (
    CLIPS,
    ENDS,
    GROUPS,
    LABEL_RULE,
    OTHER_DECAYS,
    ROLE_COLUMNS,
    STREAMS,
    SUCCESS,
    UNITS,
    WRITTEN,
)
from gaecli.cli.values import (
    check_estimators,
    check_metric,
    check_plot,
    names_in,
    parse_grid,
    parse_whole_numbers,
)
from gaecli.errors import UsageError
from gaecli.estimator_kinds import ESTIMATORS, estimator_name
from gaecli.results import Sweep, SweepFile


@command(
    "inputs swept_estimators swept_presets gammas lams windows metric",
    *(OTHER_DECAYS, CLIPS, STREAMS, ENDS, "mask_mode masked_reward", UNITS, GROUPS, ROLE_COLUMNS),
    *(SUCCESS, LABEL_RULE, WRITTEN),
    "device memory files_from join on_nan output overwrite plot document_json quiet no_progress",
)
def sweep(
    given: Given,
    gammas: str | None,
    lams: str | None,
    windows: str | None,
    swept_estimators: str,
    swept_presets: str,
    metric: str,
    plot: str | None,
    json: bool,
    quiet: bool,
) -> None:
    """Try a grid of γ and λ, or of γ and n, in one go; or presets and estimators side by side.

    Spread, explained variance and bias of each setting. Signs are compared with those under the preset's own γ
    and λ, side by side with those of the first. With `--output`, a copy gets one column per setting,
    such as `advantage_g0.99_l0.95` or `advantage_trl_grpo`. With a rule of labels, the threshold of each setting,
    and how many rows are positive and have another label than under the reference.
    """
    estimators = [estimator_name(name) for name in names_in(swept_estimators)]
    presets = names_in(swept_presets)
    check_estimators(estimators)
    is_grid = len(estimators) == len(presets) == 1 and not ESTIMATORS[estimators[0]].is_scored
    kind = ESTIMATORS[estimators[0]]
    n_steps = parse_whole_numbers(windows, "--n-steps") if windows is not None else []
    first = {"n_steps": n_steps[0]} if n_steps and "n_steps" not in kind.unused else {}
    if not is_grid:
        _check_no_grid(gammas, lams, windows)
    settings = [
        given.settings(
            {"preset": preset, "estimator": estimator, **(first if is_grid else {})}, beside=estimators
        )
        for estimator in estimators
        for preset in presets
    ]
    sources = given.sources("gae sweep FILE…; see `gae sweep --help`")
    check_metric(metric, has_labels=settings[0].labelling is not None)
    check_plot(plot)
    of_gamma, of_lam = (
        parse_grid(text, flag) if text is not None else []
        for text, flag in ((gammas, "--gamma"), (lams, "--lam"))
    )
    from gaecli.commands.sweep import SweepOptions, sweep_side_by_side
    from gaecli.commands.sweep import sweep as sweep_grid

    options = SweepOptions(
        output=given["output"],
        overwrite=given["overwrite"],
        memory_bytes=given.memory_bytes,
        device=given["device"],
    )
    with given.progress(quiet=quiet) as progress:
        if is_grid:
            found = sweep_grid(
                sources, of_gamma, of_lam, settings[0], options, windows=n_steps, progress=progress
            )
        else:
            found = sweep_side_by_side(sources, settings, options, progress)
    if plot is not None and found.counts.steps:
        from gaecli.report.plots import plot_sweep

        plot_sweep(found, plot, metric)
    _show(found, metric, as_json=json, quiet=quiet, data_on_stdout=given["output"] == "-")
    raise typer.Exit(found.exit_code)


def _check_no_grid(gammas: str | None, lams: str | None, windows: str | None) -> None:
    for flag, text in (("--gamma", gammas), ("--lam", lams), ("--n-steps", windows)):
        if text is not None:
            raise UsageError(
                f"`{flag}` makes a grid of one estimator under one preset; here are several, or scores",
                hint=f"drop `{flag}`, or name one `--estimator` that uses it",
            )


def _show(found: Sweep, metric: str, *, as_json: bool, quiet: bool, data_on_stdout: bool) -> None:
    """stdout carries the data, else the table or the document; what could not be read goes to stderr."""
    stream = sys.stderr if data_on_stdout else sys.stdout
    from gaecli.report.messages import print_failures
    from gaecli.summary import Failure

    if as_json:
        from gaecli.report.study_documents import sweep_to_dict

        print_document(sweep_to_dict(found), stream)
    elif not quiet and (found.counts.steps or not found.exit_code):
        from gaecli.report.console import make_console
        from gaecli.report.sweep_table import render_sweep

        render_sweep(found, make_console(stream), metric)
    print_failures(
        Failure(file.input, _with_count(file, found), file.hint, file.exit_code)
        for file in found.files
        if file.error is not None and file.follows is None
    )


def _with_count(file: SweepFile, found: Sweep) -> str:
    others = sum(other.follows == file.input for other in found.files)
    return f"{file.error}" + (f"\nall {others + 1:,} files of its stream are left out" if others else "")
