"""`gae status`: what is done of a run over many files, and what is left."""

from __future__ import annotations

import typer

from gaecli.cli.command import Given, command
from gaecli.cli.documents import print_document
from gaecli.settings import RunOptions


@command("inputs output to sidecar files_from join document_json quiet no_progress")
def status(given: Given, json: bool, quiet: bool) -> None:
    """Tell which files have their results, by which settings, and which are left: exit code 3 if some are.

    By what results store of themselves; no row is read. With `--output` or `--sidecar` as `gae compute` was given
    them, else of the files themselves: INPUT may be the folder that the results are in.
    """
    usage = "gae status INPUT… -o OUTPUT as `gae compute` had them, or gae status OUTPUT"
    sources = given.sources(usage, stdin=False)
    from gaecli.commands.status import status as run

    options = RunOptions(output=given["output"], to=given["to"], sidecar=given["sidecar"], dry_run=True)
    with given.progress(quiet=quiet) as progress:
        found = run(sources, options, join=given.taken(["join"])["join"], progress=progress)
    if json:
        from gaecli.report.work import work_to_dict

        print_document(work_to_dict(found))
    elif not quiet:
        from gaecli.report.console import output_console
        from gaecli.report.work import render_work

        render_work(found, output_console())
    raise typer.Exit(found.exit_code)
