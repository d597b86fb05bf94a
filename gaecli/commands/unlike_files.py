"""Files of one command of which some need flags that others cannot be read with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gaecli.advice import OpenQuestion
from gaecli.commands.answers import answers_in
from gaecli.errors import GaeError
from gaecli.inspection import FileInfo
from gaecli.setting_fields import DEFAULTS
from gaecli.settings import Settings
from gaecli.shell_words import file_word
from gaecli.studies.command import compute_command, flags_of
from gaecli.studies.reading import file_settings

#: Files that are named each.
_MOST_NAMED = 6


def is_open(info: FileInfo) -> bool:
    return info.plan is not None and info.plan.action == "refuse"


def unlike_question(
    infos: Sequence[FileInfo],
    settings: Settings,
    asked_for: Settings,
    look: Callable[[Settings], Sequence[FileInfo]],
) -> OpenQuestion | None:
    """What to tell where flags that some of the files need are in the way of others; None: they are not.

    Args:
        infos: every file under `settings`.
        asked_for: the settings before anything was answered.
        look: every file under other settings.
    """
    if len(infos) < 2 or not any(map(is_open, infos)) or all(map(is_open, infos)):
        return None
    plain = _plain(asked_for)
    if plain is None or plain == settings:
        return None
    before = {info.path: info for info in look(plain)}
    helped = [info for info in infos if not is_open(info) and is_open(before.get(info.path, info))]
    hindered = [
        info
        for info in infos
        if is_open(info) and (not is_open(before.get(info.path, info)) or _lacks_named(info, settings))
    ]
    if not helped or not hindered:
        return None
    settled = [info.path for info in infos if not is_open(info)]
    own = [flag for flag in flags_of(settings) if flag not in flags_of(plain)]
    lines = [_line(info, own) for info in helped]
    lines += [_line(info, _wanted(before.get(info.path, info))) for info in hindered]
    more = [f"and {len(lines) - _MOST_NAMED:,} more"] if len(lines) > _MOST_NAMED else []
    others = ", ".join(f"`gae doctor {file_word(info.path)}`" for info in hindered[:_MOST_NAMED])
    alike = compute_command(settled[:_MOST_NAMED], settings)
    beside = f" with {len(settled) - _MOST_NAMED:,} files more" if len(settled) > _MOST_NAMED else ""
    first = hindered[0]
    return OpenQuestion(
        first.path,
        "\n       ".join(["the files need different flags", *lines[:_MOST_NAMED], *more]),
        f"compute those that are alike in one command, `{alike}`{beside}, and ask for the others: {others}",
        [],
        {},
        first.plan.exit_code if first.plan is not None else 2,
    )


def _plain(settings: Settings) -> Settings | None:
    """Nothing said of how files are to be read; None where the estimator needs to be told."""
    try:
        return settings.replace(**{name: DEFAULTS[name] for name in file_settings(settings)})
    except GaeError:
        return None


def _lacks_named(info: FileInfo, settings: Settings) -> bool:
    """A flag names a column that is not there."""
    named = {*settings.columns.values(), *settings.extra_columns, *settings.label_columns} - {"none"}
    return any(name not in info.columns and name.partition(".")[0] not in info.columns for name in named)


def _wanted(info: FileInfo) -> list[str]:
    """Flags that settle it as far as can be told, without any that others need."""
    if info.plan is None or not is_open(info):
        return []
    answers = answers_in(info.plan.hint)
    return [f"{answer.flags} …" if answer.is_open else answer.flags for answer in answers[:1]]


def _line(info: FileInfo, flags: Sequence[str]) -> str:
    shown = f"`{' '.join(flags)}`" if flags else "none"
    return f"{file_word(info.path)}: {shown}"
