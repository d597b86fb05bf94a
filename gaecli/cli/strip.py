"""`gae strip`: a way back."""

from __future__ import annotations

import typer

from gaecli.cli.command import Given, command
from gaecli.cli.documents import print_document
from gaecli.settings import RunOptions


@command("inputs output overwrite dry_run files_from join document_json quiet no_progress")
def strip(given: Given, json: bool, quiet: bool) -> None:
    """Take gaecli's columns out again: a Parquet file comes back byte for byte, others with their content.

    So does a Parquet file that was written anew since. What was stored of the columns goes with them.
    """
    sources = given.sources("gae strip INPUT…", stdin=False)
    from gaecli.commands.strip import strip as run

    options = RunOptions(output=given["output"], overwrite=given["overwrite"], dry_run=given["dry_run"])
    with given.progress(quiet=quiet) as progress:
        found = run(sources, options, join=given.taken(["join"])["join"], progress=progress)
    if json:
        from gaecli.report.stripping import strip_to_dict

        print_document(strip_to_dict(found))
    elif not quiet and len(found.failures) < len(found.files):
        from gaecli.report.console import output_console
        from gaecli.report.stripping import render_strip

        render_strip(found, output_console())
    if found.failures and not json:
        from gaecli.report.messages import print_failures

        print_failures(found.failures)
    raise typer.Exit(found.exit_code)
