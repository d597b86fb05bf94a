"""`gae compute`: flags in, one library call, the summary out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import typer

from gaecli.cli.command import Given, command
from gaecli.cli.documents import print_document
from gaecli.cli.options import (
    DECAYS,
    ENDS,
    ESTIMATOR,
    GROUPS,
    LABELS,
    MASKS,
    NORMALIZATION,
    OWN,
    ROLE_COLUMNS,
    STREAMS,
    SUCCESS,
    UNITS,
    WRITTEN,
)
from gaecli.cli.values import check_plot
from gaecli.settings import RunOptions
from gaecli.summary import Summary


@command(
    *("inputs", ESTIMATOR, DECAYS, OWN, STREAMS, ENDS, MASKS, UNITS),
    *(NORMALIZATION, GROUPS, ROLE_COLUMNS, SUCCESS, LABELS, WRITTEN),
    "device precision memory jobs engine ray_address files_from join on_nan",
    "output to sidecar overwrite force dry_run plot json quiet no_progress",
)
def compute(given: Given, plot: str | None, json: bool, quiet: bool) -> None:
    """Compute advantages and returns, by GAE or another estimator, and write them into the file.

    GAE: A = δ + γλ A', with δ = r + γ V' - V; the return is A + V. All other data stays as it is.
    """
    settings = given.settings()
    run_options = given.run_options(gallery=plot is not None)
    check_plot(plot)
    sources = given.sources("gae compute FILE…, a directory, or `--files-from`; see `gae compute --help`")
    if _is_filter(sources, run_options, as_json=json):
        run_options = replace(run_options, output="-")
    from gaecli.commands.compute import compute as run

    with given.progress(quiet=quiet) as progress:
        summary = run(sources, settings, run_options, progress, may_fork=True)
    if plot is not None and summary.gallery is not None:
        from gaecli.report.plots import plot_summary

        plot_summary(summary, plot)
    show(summary, as_json=json, quiet=quiet, data_on_stdout=run_options.output == "-")
    raise typer.Exit(summary.exit_code)


def _is_filter(sources: Sequence[str], options: RunOptions, *, as_json: bool) -> bool:
    """`cat a.parquet | gae compute > b.parquet`: what came from a pipe cannot be written back."""
    writes = not (options.dry_run or options.sidecar or as_json)
    return list(sources) == ["-"] and options.output is None and writes and not sys.stdout.isatty()


def show(summary: Summary, *, as_json: bool, quiet: bool, data_on_stdout: bool = False) -> None:
    """stdout carries one thing: the data, else the table or the JSON document; the rest goes to stderr.

    A JSON document is alone on its stream: it says all that warnings and failures say.
    """
    from gaecli.report.messages import print_outcome

    stream = sys.stderr if data_on_stdout else sys.stdout
    if as_json:
        from gaecli.report.document import summary_to_dict

        print_document(summary_to_dict(summary), stream)
        if data_on_stdout:
            return
    elif not quiet and not _is_single_failure(summary):
        from gaecli.report.console import make_console
        from gaecli.report.table import render_summary

        render_summary(summary, make_console(stream))
        if stream.isatty() and sys.stderr.isatty():
            return  # the table has said it all, on the same screen
    print_outcome(summary.warnings if as_json or quiet else (), summary.failures)


def _is_single_failure(summary: Summary) -> bool:
    return len(summary.files) == 1 and summary.files[0].status == "failed"
