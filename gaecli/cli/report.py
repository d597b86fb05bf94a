"""`gae report`: flags in, one library call, one page out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gaecli.cli.command import Given, command
from gaecli.cli.options import DECAYS, ENDS, ESTIMATOR, GROUPS, OWN, ROLE_COLUMNS, STREAMS, SUCCESS, UNITS
from gaecli.errors import UsageError

if TYPE_CHECKING:
    from gaecli.written_report import WrittenReport


@command(
    *("one_input output overwrite open page_episodes", ESTIMATOR, DECAYS, OWN, STREAMS, ENDS),
    *("mask_mode masked_reward", UNITS, "normalize normalize_by norm_ddof norm_eps norm_floor", GROUPS),
    *(ROLE_COLUMNS, SUCCESS),
    "advantage_column memory jobs join on_nan quiet no_progress",
)
def report(given: Given, input: str | None, open: bool, page_episodes: int, quiet: bool) -> None:
    """Make one HTML page to explore rollouts offline: episodes, curves, findings, distributions, groups.

    The page needs no network and no other file. Advantages are computed as by gae compute, with the same options;
    those that are in the file already are drawn beside them. Default output: the input's name with .report.html.
    """
    settings = given.settings(of_groups="grpo")
    source = given.source(input, "gae report FILE; see `gae report --help`")
    output = given["output"]
    if output == "-" and open:
        raise UsageError(
            "`--open` opens a file, and `--output -` writes none", hint="name a file with `--output`"
        )
    from gaecli.commands.report import ReportOptions
    from gaecli.commands.report import report as run

    options = ReportOptions(output, given["overwrite"], page_episodes, given.memory_bytes, given["jobs"])
    with given.progress(quiet=quiet) as progress:
        written = run(source, settings, options, progress=progress)
    if not quiet:
        _show(written)
    if open:
        _open(written.output)


def _show(written: WrittenReport) -> None:
    """On stderr where stdout is the page."""
    from gaecli.report.console import error_console, output_console
    from gaecli.report.written_report import render_written_report

    render_written_report(written, error_console() if written.output == "-" else output_console())


def _open(path: str) -> None:
    import webbrowser
    from pathlib import Path

    if not webbrowser.open(Path(path).resolve().as_uri()):
        sys.stderr.write("no browser was found to open it\n")
