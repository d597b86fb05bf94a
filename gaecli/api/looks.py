"""What looks into rollouts: `inspect`, `check`, `doctor`, `read`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

from gaecli.advice import Advice
from gaecli.api.arguments import public_function
from gaecli.api.keyword_words import called
from gaecli.api.keywords import (
    ReadKeywords,
    settings_and_options,
)
from gaecli.api.tables import SHOWN, ArrowStream, Files, Source, opened_source
from gaecli.diagnosis import Checkup
from gaecli.errors import UsageError
from gaecli.flat_rollouts import Rollouts
from gaecli.inspection import FileInfo
from gaecli.settings import RunOptions, Settings


@public_function
def check(
    source: Files | ArrowStream | Mapping[str, Any],
    *,
    select: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
    strict: bool = False,
    fix: bool = False,
    **settings: Unpack[ReadKeywords],
) -> Checkup:
    """What is wrong, or likely to be, with rollouts; `gae check` from Python.

    Args:
        source: as for `compute`.
        select: codes of rules, or beginnings of them, in a list or with commas between: these alone.
        ignore: the same of rules that are left out.
        strict: warnings count as errors in `exit_code`.
        fix: `mending` has the command whose flags deal with findings.
        **settings: how the file is to be read, as for `compute`.

    Returns:
        `findings`, and in `failures` the files that could not be examined.
    """
    from gaecli.commands.check import check as run

    if settings.get("group_column") and "estimator" not in settings:
        settings["estimator"] = "grpo"  # what is wrong with groups is so whichever estimator compares them
    computed, options = settings_and_options(settings)
    with opened_source(source) as opened:
        found = run(
            opened.files,
            computed,
            select=_codes(select),
            ignore=_codes(ignore),
            strict=strict,
            memory_bytes=options.memory_bytes,
            jobs=options.jobs,
            mends_with=_with_more(settings) if fix else None,
        )
        return opened.shown(found)


def _codes(given: str | Sequence[str]) -> list[str]:
    return [code.strip() for code in given.split(",")] if isinstance(given, str) else list(given)


@public_function
def doctor(source: Files | ArrowStream | Mapping[str, Any], **settings: Unpack[ReadKeywords]) -> Advice:
    """The command that files take, or what is open about them; `gae doctor` from Python.

    Args:
        source: as for `compute`.
        **settings: as for `compute`.

    Returns:
        `verdict`: "run", with the `command`, of a table a call of `gaecli.compute`, and its `reasons`; "nothing to
        do"; "question", whose `answers` are flags; or "failed". `inspection`, `checkup` and `columns` have what was
        found on the way.
    """
    from gaecli.commands.doctor import doctor as run

    _, options = settings_and_options(settings)
    with opened_source(source) as opened:
        found = run(opened.files, _with_more(settings), memory_bytes=options.memory_bytes, jobs=options.jobs)
        advice = opened.shown(found)
        if opened.is_table and advice.command is not None:
            advice = replace(advice, command=called(advice.command).replace(f'"{SHOWN}"', "table", 1))
        return advice


def _with_more(said: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Settings]:
    """Gives the settings of these keywords, with more fields of `Settings` over them."""

    def settings(more: Mapping[str, Any]) -> Settings:
        columns = {**(said.get("columns") or {}), **more.get("columns", {})}
        roles = {f"{role}_column" for role in more.get("columns", {})}
        given = {name: value for name, value in said.items() if name not in roles}
        return settings_and_options({**given, **more, "columns": columns})[0]

    return settings


@public_function
def inspect(
    source: Source, *, episodes: bool = False, head: int = 0, **settings: Unpack[ReadKeywords]
) -> FileInfo:
    """What is in a file, and how `compute` would read it; `gae inspect` from Python. Never imports torch.

    Args:
        source: a file, or a directory or glob whose files follow one another; or a table, as for `compute`.
        episodes: also list the episodes.
        head: also give so many rows from the beginning.
        **settings: as for `compute`; `gamma` discounts the returns that the values are compared with.

    Returns:
        What is there. A file that `compute` would refuse is no error: `problem` and `hint` say why.

    Raises:
        GaeError: the source cannot be opened, or is several independent inputs.
    """
    from gaecli.commands.inspect import InspectOptions
    from gaecli.commands.inspect import inspect as run

    computed, run_options = settings_and_options(settings)
    options = InspectOptions(episodes, head, run_options.memory_bytes, run_options.jobs)
    with opened_source(source) as opened:
        found = opened.shown(run(opened.files, computed, options))
    if found.failures and not found.infos:
        raise found.failures[0].as_error()
    if len(found.infos) != 1:
        raise UsageError(
            f"`{source}` is {len(found.infos):,} independent inputs, and this looks into one",
            hint="call it for each of them, or pass join=True if they follow one another",
        )
    return found.infos[0]


@public_function
def read(source: Source, **settings: Unpack[ReadKeywords]) -> Rollouts:
    """All steps of one file, or of one stream of files, in memory; keywords as for `compute`.

    Files are read, checked and refused as `compute` does it. What is no step is not there: padding rows, whose value
    is the next value of the step before them, masked tokens (`mask_mode="skip"`), and with
    `on_nan="drop-episode"` the episodes that are left out; `rows` tells which are there. Rewards and values are
    those of the file, before a preset makes anything of them.
    """
    from gaecli.pipeline.reading_errors import told
    from gaecli.storage.places import Places
    from gaecli.studies.assembly import rollouts_of
    from gaecli.studies.reading import only_stream, read_stream

    computed, options = settings_and_options(settings)
    if len(computed.stream) > 1:
        one = computed.stream[1]
        raise UsageError(
            f"`gaecli.read` gives the rewards and values of one stream of rewards, and `stream` has "
            f"{len(computed.stream)}",
            hint="read them one by one, such as "
            f"`columns={{'reward': {one.reward!r}, 'value': {one.value!r}}}` for `{one.name}`",
        )
    with opened_source(source) as opened, Places(RunOptions(dry_run=True)) as places:
        (local,) = places.inputs.fetched(opened.files)
        plan = only_stream(local, computed, "gaecli.read")
        with told(plan.paths[0]):
            return rollouts_of(read_stream(plan, computed, options.memory_bytes))
