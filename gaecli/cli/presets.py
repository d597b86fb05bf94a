"""`gae presets`: the conventions, as a list or one by one."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from gaecli.cli import options as flags
from gaecli.presets import PRESETS, find_preset


def presets(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show all about this one.", show_default=False)
    ] = None,
    json: flags.Json = False,
) -> None:
    """List the presets of `gae compute --preset`, or show one: formula, flags, normalisation, traps."""
    chosen = list(PRESETS.values()) if name is None else [find_preset(name)]
    if json:
        from gaecli.report.document import to_json
        from gaecli.report.presets import presets_to_dict

        sys.stdout.write(to_json(presets_to_dict(chosen)) + "\n")
        return
    from gaecli.report.console import output_console
    from gaecli.report.presets import render_preset, render_presets

    if name is None:
        render_presets(chosen, output_console())
    else:
        render_preset(chosen[0], output_console())
