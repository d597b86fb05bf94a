"""`gae verify`: flags in, one library call, which convention made a column."""

from __future__ import annotations

import sys

import typer

from gaecli.cli.command import Given, command
from gaecli.cli.options import ROLE_COLUMNS
from gaecli.results import Verification


@command(
    "one_input against against_file only_preset no_estimator bootstrap done_at layout",
    ROLE_COLUMNS,
    "memory join document_json quiet on_nan",
)
def verify(
    given: Given,
    input: str,
    against: str,
    against_file: str | None,
    only_preset: str | None,
    json: bool,
    quiet: bool,
) -> None:
    """Find the preset, γ and λ that reproduce a column of advantages or returns, or where it deviates.

    Exit code 0 if one reproduces it at every row, to the rounding of float32; 3 if none does. A whitened
    column counts as reproduced if one scale and shift lead to it, a constant one does not.
    """
    settings = given.settings()
    from gaecli.commands.verify import verify as run

    found = run(
        input,
        against,
        settings,
        column_source=against_file,
        preset=only_preset,
        memory_bytes=given.memory_bytes,
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
