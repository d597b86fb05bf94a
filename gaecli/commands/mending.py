"""`gae check --fix`: the command with the flags that deal with findings.

A rule says what to do; where that is one flag and nothing depends on what only the user knows, the command has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gaecli.commands.answers import MakeSettings, answers_in, keywords_of, merged
from gaecli.commands.inspect import InspectOptions, inspect
from gaecli.diagnosis import Checkup, Finding, Mending, Remedy
from gaecli.errors import GaeError
from gaecli.progress import Progress
from gaecli.settings import Settings
from gaecli.studies.command import compute_command


def mending_of(
    checkup: Checkup,
    sources: Sequence[str | Path],
    local: Sequence[str | Path],
    make_settings: MakeSettings,
    options: InspectOptions,
    progress: Progress | None = None,
) -> Mending:
    """What deals with the findings.

    Args:
        checkup: the findings.
        sources: as the user named them, for the command.
        local: the same on this machine.
        make_settings: gives the settings of the user with further fields of `Settings`.
        options, progress: of the look that tells whether the command would be refused.
    """
    said: dict[str, Any] = {}
    mended: list[Remedy] = []
    undecided: list[Remedy] = []
    in_data: list[str] = []
    for code, findings in _by_code(checkup).items():
        flags, is_certain = _flags(findings)
        if not flags:
            in_data.append(code)
        elif is_certain and (more := _taken(said, flags[0], make_settings)) is not None:
            said = more
            mended.append(Remedy(code, flags))
        else:
            undecided.append(Remedy(code, flags))
    if not mended:
        return Mending(None, [], undecided, in_data)
    settings = make_settings(said)
    refused = _why_refused(local, settings, options, progress)
    if refused is not None:
        return Mending(None, [], [*mended, *undecided], in_data, refused)
    return Mending(compute_command(sources, settings), mended, undecided, in_data)


def _by_code(checkup: Checkup) -> dict[str, list[Finding]]:
    """Errors and warnings; a note is no fault."""
    found: dict[str, list[Finding]] = {}
    for finding in checkup.findings:
        if finding.rule.severity != "note":
            found.setdefault(finding.rule.code, []).append(finding)
    return found


def _flags(findings: Sequence[Finding]) -> tuple[list[str], bool]:
    """Those that what is to be done names, and whether there is one alone that waits for nothing."""
    answers = {
        answer.flags: answer for finding in findings for answer in answers_in(finding.fix or finding.rule.fix)
    }
    shown = [f"{flags} …" if answer.is_open else flags for flags, answer in answers.items()]
    is_certain = all(not answer.is_open and not answer.is_conditional for answer in answers.values())
    return shown, len(answers) == 1 and is_certain


def _taken(said: Mapping[str, Any], flags: str, make_settings: MakeSettings) -> dict[str, Any] | None:
    """With these flags as well; None where they say something else than those before them, or nothing to the rest."""
    more = merged(said, keywords_of(flags))
    if merged(more, said) != more:
        return None
    try:
        make_settings(more)
    except GaeError:
        return None
    return more


def _why_refused(
    sources: Sequence[str | Path], settings: Settings, options: InspectOptions, progress: Progress | None
) -> str | None:
    """What `gae compute` would say against the command."""
    found = inspect(sources, settings, options, progress)
    plans = [info.plan for info in found.infos if info.plan is not None and info.plan.action == "refuse"]
    errors = [*(plan.error or "" for plan in plans), *(failure.error for failure in found.failures)]
    return errors[0].split("\n")[0] if errors else None
