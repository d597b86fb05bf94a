"""`gae check`: flags in, one library call, the findings out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

import typer

from gaecli.cli.command import Given, command
from gaecli.cli.documents import print_document
from gaecli.cli.options import ENDS, ESTIMATOR, GROUPS, OWN, ROLE_COLUMNS, STREAMS, SUCCESS, UNITS
from gaecli.diagnosis import Checkup
from gaecli.errors import not_one_of
from gaecli.settings import Settings

FORMATS = ("table", "json", "github")


@command(
    *(
        "inputs select ignore fix strict exit_zero list_rules",
        ESTIMATOR,
        "gamma gamma_column lam_column",
        OWN,
        STREAMS,
        ENDS,
    ),
    *("mask_mode masked_reward", UNITS, GROUPS, ROLE_COLUMNS, SUCCESS),
    "memory files_from join output_format document_json quiet no_progress",
)
def check(
    given: Given,
    select: list[str] | None,
    ignore: list[str] | None,
    fix: bool,
    strict: bool,
    exit_zero: bool,
    list_rules: bool,
    output_format: str,
    json: bool,
    quiet: bool,
) -> None:
    """Look for what is wrong, or likely to be, in rollout files: exit code 3 on errors, 0 on warnings.

    Flags, rewards, values, cells, the order of rows, files among each other, and with `--group-column` the groups
    of responses. Nothing is written.
    """
    if output_format not in FORMATS:
        raise not_one_of("--output-format", output_format, FORMATS)
    shown = "json" if json else output_format
    if list_rules:
        _list(select or [], ignore or [], as_json=shown == "json")
        return
    # What is wrong with groups is so whichever estimator compares them.
    settings = given.settings(of_groups="grpo")
    sources = given.sources("gae check FILE…, or a directory; see `gae check --help`")
    from gaecli.commands.check import check as run

    with given.progress(quiet=quiet) as progress:
        checkup = run(
            sources,
            settings,
            select=select or [],
            ignore=ignore or [],
            strict=strict,
            memory_bytes=given.memory_bytes,
            progress=progress,
            mends_with=partial(given.settings, of_groups="grpo") if fix else None,
        )
    _show(checkup, settings, shown, quiet=quiet)
    if exit_zero and not checkup.failures:
        return
    raise typer.Exit(checkup.exit_code)


def _show(checkup: Checkup, settings: Settings, shown: str, *, quiet: bool) -> None:
    """stdout carries the findings; what could not be examined goes to stderr."""
    from gaecli.report.messages import print_failures

    if shown == "github":
        from gaecli.report.annotations import annotation_lines

        sys.stdout.writelines(f"{line}\n" for line in annotation_lines(checkup))
        return
    elif shown == "json":
        from gaecli.report.document import checkup_to_dict

        print_document(checkup_to_dict(checkup, settings.to_dict()))
    elif not quiet:
        from gaecli.report.checks import render_checkup
        from gaecli.report.console import output_console

        render_checkup(checkup, output_console())
    elif checkup.mending is not None and checkup.mending.command is not None:
        sys.stdout.write(f"{checkup.mending.command}\n")
    print_failures(checkup.failures)


def _list(select: Sequence[str], ignore: Sequence[str], *, as_json: bool) -> None:
    from gaecli.checks.registry import choose_rules

    rules = [rule.info for rule in choose_rules(select, ignore)]
    if as_json:
        from gaecli.report.document import rules_to_dict

        print_document(rules_to_dict(rules))
        return
    from gaecli.report.checks import render_rules
    from gaecli.report.console import output_console

    render_rules(rules, output_console())
