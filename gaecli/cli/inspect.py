"""`gae inspect`: flags in, one library call, what was found out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from gaecli.cli.command import Given, command
from gaecli.cli.documents import print_document
from gaecli.cli.options import ENDS, ESTIMATOR, GROUPS, OWN, ROLE_COLUMNS, STREAMS, SUCCESS, UNITS, WRITTEN
from gaecli.cli.values import check_plot
from gaecli.inspection import Inspection
from gaecli.progress import Progress
from gaecli.settings import RunOptions, Settings

if TYPE_CHECKING:
    from gaecli.commands.inspect import InspectOptions


@command(
    *("inputs episodes head", ESTIMATOR, "gamma gamma_column lam lam_column", OWN, STREAMS, ENDS),
    *("mask_mode masked_reward", UNITS, GROUPS, ROLE_COLUMNS, SUCCESS, WRITTEN),
    "memory jobs files_from join on_nan plot document_json no_progress",
)
def inspect(given: Given, episodes: bool, head: int, json: bool, plot: str | None) -> None:
    """Look into rollout files: columns and roles, episodes, rewards, values; what `gae compute` would do.

    Explained variance is 1 - Var(R - V) / Var(R), R being the discounted return at λ = 1.
    """
    from gaecli.commands.inspect import InspectOptions
    from gaecli.commands.inspect import inspect as run

    settings = given.settings()
    check_plot(plot)
    sources = given.sources("gae inspect FILE…, or a directory; see `gae inspect --help`")
    options = InspectOptions(episodes, head, given.memory_bytes, given["jobs"])
    with given.progress() as progress:
        inspection = run(sources, settings, options, progress)
    _show(inspection, settings, as_json=json)
    if plot is not None:
        with given.progress() as progress:
            _draw(sources, settings, options, plot, progress)
    raise typer.Exit(inspection.exit_code)


def _draw(
    sources: Sequence[str], settings: Settings, options: InspectOptions, plot: str, progress: Progress | None
) -> None:
    """The pictures of `gae compute --plot`, of what it would compute; nothing is written but them."""
    from gaecli.commands.compute import compute as run
    from gaecli.report.plots import plot_summary

    run_options = RunOptions(memory_bytes=options.memory_bytes, jobs=options.jobs, dry_run=True, gallery=True)
    summary = run(sources, settings, run_options, progress)
    if summary.gallery is not None:
        plot_summary(summary, plot)


def _show(inspection: Inspection, settings: Settings, *, as_json: bool) -> None:
    """stdout carries the page or the document; what could not be opened goes to stderr."""
    from gaecli.report.messages import print_failures

    if as_json:
        from gaecli.report.document import inspection_to_dict

        print_document(inspection_to_dict(inspection, settings.to_dict()))
    elif inspection.infos:
        from gaecli.report.console import output_console
        from gaecli.report.inspection import render_inspection

        render_inspection(inspection, output_console())
    print_failures(inspection.failures)
