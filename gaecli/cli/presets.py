"""`gae presets`: the conventions, as a list or one by one."""

from __future__ import annotations

from gaecli.cli.command import Given, command
from gaecli.cli.documents import print_document
from gaecli.presets import ALL_PRESETS, find_preset


@command("preset_name json")
def presets(given: Given, name: str | None, json: bool) -> None:
    """List the presets of `gae compute --preset`, or show one: formula, flags, normalisation, traps."""
    chosen = list(ALL_PRESETS.values()) if name is None else [find_preset(name)]
    if json:
        from gaecli.report.presets import presets_to_dict

        print_document(presets_to_dict(chosen))
        return
    from gaecli.report.console import output_console
    from gaecli.report.presets import render_preset, render_presets

    if name is None:
        render_presets(chosen, output_console())
    else:
        render_preset(chosen[0], output_console())
