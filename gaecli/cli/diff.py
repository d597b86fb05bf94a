"""`gae diff`: flags in, one library call, the difference out."""

from __future__ import annotations

import typer

from gaecli.cli.command import Given, command
from gaecli.cli.documents import print_document
from gaecli.cli.options import ENDS, ROLE_COLUMNS
from gaecli.cli.values import names_in
from gaecli.difference import ColumnDifference
from gaecli.errors import UsageError
from gaecli.settings import Settings
from gaecli.shown import plural


@command(
    "inputs diff_columns swept_presets swept_estimators gamma lam rtol atol",
    ENDS,
    ROLE_COLUMNS,
    "files_from memory document_json quiet no_progress",
)
def diff(
    given: Given,
    diff_columns: str | None,
    swept_presets: str,
    swept_estimators: str,
    rtol: float,
    atol: float,
    json: bool,
    quiet: bool,
) -> None:
    """Tell where two columns of the same rows, or what two presets make of one file, differ: exit code 3 if they do.

    gae diff A B compares `advantage` of two files; gae diff A --columns X,Y two columns of one; gae diff A --preset
    exact,sb3 what both make of it. By size, sign and episode, with the first row that differs.
    """
    sources = given.sources("gae diff A B, gae diff A --columns X,Y, or gae diff A --preset exact,sb3")
    presets, estimators = names_in(swept_presets), names_in(swept_estimators)
    from gaecli.commands.diff import DiffOptions
    from gaecli.commands.diff import diff_columns as of_columns
    from gaecli.commands.diff import diff_settings as of_settings

    options = DiffOptions(rtol, atol, given.memory_bytes)
    names = names_in(diff_columns) if diff_columns is not None else []
    if len(presets) * len(estimators) == 2:
        if len(sources) != 1 or names:
            raise UsageError(
                "two settings are compared on one file", hint="drop `--columns` and the other input"
            )
        pairs = [(estimator, preset) for estimator in estimators for preset in presets]
        both = [
            given.settings({"estimator": one, "preset": other}, beside=estimators) for one, other in pairs
        ]
        shown = [f"preset {two}" if len(presets) == 2 else f"estimator {one}" for one, two in pairs]
        settings = None
        with given.progress(quiet=quiet) as progress:
            found = of_settings(sources[0], both, shown, options, progress)
    else:
        a, b = _sides(sources, names)
        settings = given.settings({"preset": presets[0], "estimator": estimators[0]})
        with given.progress(quiet=quiet) as progress:
            found = of_columns(a, b, settings, options, progress)
    _show(found, settings, as_json=json, quiet=quiet)
    raise typer.Exit(found.exit_code)


def _sides(sources: list[str], names: list[str]) -> tuple[tuple[str, str], tuple[str, str]]:
    if len(sources) == 2 and len(names) <= 2:
        first, last = (names[0], names[-1]) if names else ("advantage", "advantage")
        return (sources[0], first), (sources[1], last)
    if len(sources) == 1 and len(names) == 2:
        return (sources[0], names[0]), (sources[0], names[1])
    raise UsageError(
        f"two columns are compared, and given: {plural(len(sources), 'input')}, {plural(len(names), 'column')}",
        hint="gae diff A B, gae diff A --columns X,Y, or gae diff A --preset exact,sb3",
    )


def _show(found: ColumnDifference, settings: Settings | None, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        from gaecli.report.difference import difference_to_dict

        print_document(difference_to_dict(found, None if settings is None else settings.to_dict()))
    elif not quiet:
        from gaecli.report.console import output_console
        from gaecli.report.difference import render_difference

        render_difference(found, output_console())
