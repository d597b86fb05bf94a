"""`gae sweep`: flags in, one library call, what each (γ, λ) does."""

from __future__ import annotations

import sys

import typer

from gaecli.cli.command import Given, command
from gaecli.cli.options import ROLE_COLUMNS
from gaecli.cli.values import check_metric, check_plot, parse_grid
from gaecli.results import Sweep, SweepFile


@command(
    "inputs gammas lams metric no_estimator preset truncation bootstrap done_at layout mask_mode masked_reward",
    ROLE_COLUMNS,
    "advantage_column device memory files_from join output overwrite plot document_json quiet on_nan",
)
def sweep(
    given: Given, gammas: str, lams: str, metric: str, plot: str | None, json: bool, quiet: bool
) -> None:
    """Try a grid of γ and λ in one go: spread, explained variance and bias of each setting.

    Signs are compared with those under the preset's own γ and λ. With `--output`, a copy gets one column
    per setting, such as `advantage_g0.99_l0.95`.
    """
    settings = given.settings()
    sources = given.sources("gae sweep FILE…; see `gae sweep --help`")
    grid = parse_grid(gammas, "--gamma"), parse_grid(lams, "--lam")
    check_metric(metric)
    check_plot(plot)
    from gaecli.commands.sweep import SweepOptions
    from gaecli.commands.sweep import sweep as run

    options = SweepOptions(given["output"], given["overwrite"], given.memory_bytes, given["device"])
    found = run(sources, *grid, settings, options)
    if plot is not None and found.counts.steps:
        from gaecli.report.plots import plot_sweep

        plot_sweep(found, plot, metric)
    _show(found, metric, as_json=json, quiet=quiet, data_on_stdout=given["output"] == "-")
    raise typer.Exit(found.exit_code)


def _show(found: Sweep, metric: str, *, as_json: bool, quiet: bool, data_on_stdout: bool) -> None:
    """stdout carries the data, else the table or the document; what could not be read goes to stderr."""
    stream = sys.stderr if data_on_stdout else sys.stdout
    from gaecli.report.messages import print_failures
    from gaecli.summary import Failure

    if as_json:
        from gaecli.report.document import to_json
        from gaecli.report.study_documents import sweep_to_dict

        stream.write(to_json(sweep_to_dict(found)) + "\n")
    elif not quiet and found.counts.steps:
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
