"""The Python twin of the command line: the same names, the same numbers, errors as exceptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar, Unpack, overload

from gaecli.advice import Advice
from gaecli.diagnosis import Checkup
from gaecli.difference import ColumnDifference
from gaecli.errors import UsageError
from gaecli.keyword_words import errors_in_keywords
from gaecli.keywords import (
    ComputeKeywords,
    PresetKeywords,
    ReadKeywords,
    StripKeywords,
    SweepKeywords,
    role_keyword,
    settings_and_options,
)
from gaecli.label_summary import LabelVerification
from gaecli.results import Derivation, Explanation, Sweep, Verification, Verifications
from gaecli.rollouts import Rollouts
from gaecli.settings import OPTION_NAMES, RunOptions, Settings
from gaecli.stripped import StripResult
from gaecli.summary import FileInfo, Summary
from gaecli.tables import ArrowStream, opened_source
from gaecli.written_report import WrittenReport

#: One input: a file, or a table in memory.
Source = str | Path | ArrowStream | Mapping[str, Any]
#: Any number of them.
Files = str | Path | Sequence[str | Path]

T = TypeVar("T", bound=ArrowStream)
#: NumPy's, or torch's.
Array = TypeVar("Array")


@overload
def compute(
    source: Files, output: str | Path | None = None, **settings: Unpack[ComputeKeywords]
) -> Summary: ...


@overload
def compute(
    source: T, output: None = None, *, with_summary: Literal[True], **settings: Unpack[ComputeKeywords]
) -> tuple[T, Summary]: ...


@overload
def compute(source: T, output: None = None, **settings: Unpack[ComputeKeywords]) -> T: ...


@overload
def compute(
    source: Mapping[str, Array],
    output: None = None,
    *,
    with_summary: Literal[True],
    **settings: Unpack[ComputeKeywords],
) -> tuple[dict[str, Array], Summary]: ...


@overload
def compute(
    source: Mapping[str, Array], output: None = None, **settings: Unpack[ComputeKeywords]
) -> dict[str, Array]: ...


@errors_in_keywords
def compute(
    source: Files | ArrowStream | Mapping[str, Any],
    output: str | Path | None = None,
    *,
    with_summary: bool = False,
    **settings: Unpack[ComputeKeywords],
) -> object:
    """Compute advantages and returns of rollouts; `gae compute` from Python.

    Files are written. A table in memory (pyarrow, Polars, pandas, a relation of DuckDB, whatever else exports
    `__arrow_c_stream__`), or a mapping of names to arrays, comes back with the new columns, as what it is; of kinds
    that cannot be added to, as a pyarrow table.

    Args:
        source: a file, a glob, a directory, or a list of them; or a table, or arrays.
        output: a file or directory; None writes into the source.
        with_summary: of a table, give its summary as well. Without it what the summary warns of is a warning.
        **settings: the fields of `Settings` and `RunOptions`, and `<role>_column` for every role, e.g.
            `gamma=0.99, lam=0.95, normalize="all", reward_column="rew", dry_run=True`. With `preset="sb3"`
            those that are not given are the preset's; None says that a setting is not given.

    Returns:
        The summary. One file that fails raises its error; of several, each has its own `status` and
        `error` there, and the others are done. Of a table the table, or (table, summary).

    Raises:
        GaeError: `UsageError`, `DataError`, `FileError`, `DeviceError` or `MissingExtraError`.
    """
    from gaecli.commands.compute import compute as run

    if not isinstance(source, str | Path | Sequence):
        if output is not None:
            raise UsageError("a table in memory has no `output`", hint="write what comes back")
        return _computed(source, settings, with_summary=with_summary)
    computed, options = settings_and_options({**settings, "output": output}, options=OPTION_NAMES)
    with opened_source(source) as opened:
        summary = run(opened.files, computed, options)
        if summary.failures and len(summary.files) == 1:
            raise summary.failures[0].as_error()
        return opened.shown(summary)


def _computed(source: Any, given: ComputeKeywords, *, with_summary: bool) -> object:
    """A table with its new columns."""
    import warnings

    from gaecli.commands.compute import compute as run
    from gaecli.tables import check_free, held, with_new

    settings, options = settings_and_options(given, options=OPTION_NAMES - {"output"})
    source = held(source)
    with opened_source(source) as opened:
        path = Path(opened.files[0])
        check_free(source, settings.output_columns, overwrite=options.overwrite)
        is_arrays = isinstance(source, Mapping)
        target = path.with_name("new.npz" if is_arrays else "new.parquet")
        summary = run([path], settings, replace(options, output=str(target), sidecar=not is_arrays))
        if summary.failures:
            raise summary.failures[0].as_error()
        found = with_new(source, target, settings.output_columns)
        summary = opened.shown(summary)
    if with_summary:
        return found, summary
    for note in summary.warnings:
        warnings.warn(f"{note.message} ({note.code})", stacklevel=4)
    return found


@errors_in_keywords
def check(
    source: Files | ArrowStream | Mapping[str, Any],
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    strict: bool = False,
    **settings: Unpack[ReadKeywords],
) -> Checkup:
    """What is wrong, or likely to be, with rollouts; `gae check` from Python.

    Args:
        source: as for `compute`.
        select: codes of rules, or beginnings of them: these alone.
        ignore: the same of rules that are left out.
        strict: warnings count as errors in `exit_code`.
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
            select=select,
            ignore=ignore,
            strict=strict,
            memory_bytes=options.memory_bytes,
            jobs=options.jobs,
        )
        return opened.shown(found)


@errors_in_keywords
def doctor(source: Files, **settings: Unpack[ReadKeywords]) -> Advice:
    """The command that files take, or what is open about them; `gae doctor` from Python.

    Args:
        source: a file, a glob, a directory, or a list of them.
        **settings: as for `compute`.

    Returns:
        `verdict`: "run", with the `command` and its `reasons`; "nothing to do"; "question", whose `answers` are
        flags; or "failed". `inspection`, `checkup` and `columns` have what was found on the way.
    """
    from gaecli.commands.doctor import doctor as run

    said: dict[str, Any] = dict(settings)
    _, options = settings_and_options(said)

    def with_more(more: Mapping[str, Any]) -> Settings:
        columns = {**(said.get("columns") or {}), **more.get("columns", {})}
        roles = {f"{role}_column" for role in more.get("columns", {})}
        given = {name: value for name, value in said.items() if name not in roles}
        return settings_and_options({**given, **more, "columns": columns})[0]

    with opened_source(source) as opened:
        return run(opened.files, with_more, memory_bytes=options.memory_bytes, jobs=options.jobs)


@errors_in_keywords
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


@errors_in_keywords
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


@errors_in_keywords
def explain(
    source: Source,
    row: int | None = None,
    *,
    episode: object = None,
    step: int | None = None,
    env: object = None,
    top: int | None = None,
    **settings: Unpack[ReadKeywords],
) -> Explanation | Derivation:
    """One number taken apart; `gae explain` from Python.

    Args:
        source: one file, or one stream of files.
        row: the step, by its row; or by `episode` and `step`, or `env` and `step`, as the file has them.
        top: keep the `top` lines that contribute most; None keeps all.
        **settings: as for `compute`.

    Returns:
        An `Explanation` where the number is a sum of (γλ)ˡ δ: of gae, td-lambda and td0 with one γ and one λ; a
        `Derivation` of all else.
    """
    from gaecli.commands.explain import explain as run
    from gaecli.studies.locate import StepQuery

    computed, options = settings_and_options(settings)
    names = (None if name is None else str(name) for name in (episode, env))
    query = StepQuery(row, next(names), step, next(names))
    with opened_source(source) as opened:
        (file,) = opened.files
        return opened.shown(run(file, query, computed, top=top, memory_bytes=options.memory_bytes))


@errors_in_keywords
def diff(
    a: str | Path,
    b: str | Path | None = None,
    columns: str | tuple[str, str] = "advantage",
    *,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    **settings: Unpack[PresetKeywords],
) -> ColumnDifference:
    """Where two columns of the same rows differ, and by how much: `gae diff` from Python.

    Args:
        a, b: two files with the same rows; of one file two columns are compared.
        columns: the column of both, or that of `a` and that of `b`.
        rtol, atol: cells are equal where |a - b| ≤ atol + rtol · max(|a|, |b|).
        **settings: how trajectories are told apart, as for `compute`.

    Raises:
        UsageError: if a column is not there.
        DataError: if the files do not have the same number of cells.
    """
    from gaecli.commands.diff import DiffOptions, diff_columns

    computed, options = settings_and_options(settings)
    names = (columns, columns) if isinstance(columns, str) else columns
    sides = (a, names[0]), (a if b is None else b, names[1])
    return diff_columns(*sides, computed, DiffOptions(rtol, atol, options.memory_bytes))


@errors_in_keywords
def write_report(
    source: Source,
    output: str | Path | None = None,
    *,
    episodes: int = 300,
    overwrite: bool = False,
    **settings: Unpack[ReadKeywords],
) -> WrittenReport:
    """Write one HTML page to explore rollouts offline; `gae report` from Python.

    Args:
        source: a file, or a directory or glob whose files follow one another; or a table, as for `compute`.
        output: the page; None puts it beside a file, as `NAME.report.html`.
        episodes: how many are on the page.
        overwrite: replace a file that is no such page.
        **settings: as for `compute`.

    Returns:
        Where the page is (`output`), its size, and how much of the input is on it.
    """
    from gaecli.commands.report import ReportOptions
    from gaecli.commands.report import report as run

    computed, options = settings_and_options(settings)
    with opened_source(source) as opened:
        if output is None and opened.is_table:
            raise UsageError(
                "a table in memory has no place of its own", hint="say where the page goes: `output`"
            )
        shown = ReportOptions(output, overwrite, episodes, options.memory_bytes, options.jobs)
        (file,) = opened.files
        return opened.shown(run(file, computed, shown))


@errors_in_keywords
def strip(source: Files, output: str | Path | None = None, **options: Unpack[StripKeywords]) -> StripResult:
    """Take all columns that gaecli wrote out of files again: `gae strip`.

    A Parquet file that they were spliced to is what it was before, byte for byte; others have the same content.

    Args:
        source: a file, a directory, a pattern, or several of these.
        output: where the files go instead, as of `gaecli.compute`.
        options: `dry_run`, `overwrite`; and `join`.

    Returns:
        What became of each file: `files`, `counts`.

    Raises:
        GaeError: if the only file fails; of several, `failures` says which did.
    """
    from gaecli.commands.strip import strip as run

    settings, given = settings_and_options(
        {"output": output, **options}, options=frozenset({"output", "dry_run", "overwrite"})
    )
    with opened_source(source) as opened:
        found = run(opened.files, given, join=settings.join)
        if len(found.files) == len(found.failures) == 1:
            raise found.failures[0].as_error()
        return opened.shown(found)


@errors_in_keywords
def sweep(
    source: Files | ArrowStream | Mapping[str, Any],
    gamma: Sequence[float] = (),
    lam: Sequence[float] = (),
    output: str | Path | None = None,
    *,
    n_steps: Sequence[int] = (),
    estimator: str | Sequence[str] = "gae",
    preset: str | Sequence[str] = "exact",
    **settings: Unpack[SweepKeywords],
) -> Sweep:
    """Every γ with every λ, or with every n; `gae sweep` from Python. `output` gets one column per setting.

    Several estimators or presets, and estimators of scores, are side by side, without a grid, and have a column each:
    `gaecli.sweep(path, estimator=["grpo", "rloo"], preset=["trl", "verl"], group_column="prompt")`.
    Files that fail are listed in `files`, each with its `error`; the others are done.
    """
    from gaecli.commands.sweep import SweepOptions, sweep_side_by_side
    from gaecli.commands.sweep import sweep as run
    from gaecli.estimator_kinds import ESTIMATORS, estimator_name

    estimators = [estimator_name(one) for one in ([estimator] if isinstance(estimator, str) else estimator)]
    presets = [preset] if isinstance(preset, str) else list(preset)
    known = ESTIMATORS.get(estimators[0])
    is_grid = len(estimators) == len(presets) == 1 and not (known is not None and known.is_scored)
    first = {"n_steps": n_steps[0]} if is_grid and n_steps else {}
    taken = frozenset(SweepKeywords.__annotations__) & OPTION_NAMES
    made = [
        settings_and_options(
            {**settings, **first, "estimator": one, "preset": other}, options=taken, beside=estimators
        )
        for one in estimators
        for other in presets
    ]
    if not is_grid and (gamma or lam or n_steps):
        raise UsageError("a grid is of one estimator under one preset")
    options = made[0][1]
    swept = SweepOptions(output, options.overwrite, options.memory_bytes, options.device)
    with opened_source(source) as opened:
        if opened.is_table and output is not None:
            raise UsageError(
                "a table in memory has no `output`", hint="call `gaecli.compute` for each setting"
            )
        if is_grid:
            found = run(opened.files, gamma, lam, made[0][0], swept, windows=n_steps)
        else:
            found = sweep_side_by_side(opened.files, [one for one, _ in made], swept)
        return opened.shown(found)


@overload
def verify(
    source: Source,
    column: str = "advantage",
    column_source: str | Path | None = None,
    **settings: Unpack[ReadKeywords],
) -> Verification | LabelVerification: ...


@overload
def verify(
    source: list[str] | list[Path] | list[str | Path] | tuple[str | Path, ...],
    column: str = "advantage",
    column_source: None = None,
    **settings: Unpack[ReadKeywords],
) -> Verifications | LabelVerification: ...


@errors_in_keywords
def verify(
    source: Files | ArrowStream | Mapping[str, Any],
    column: str = "advantage",
    column_source: str | Path | None = None,
    **settings: Unpack[ReadKeywords],
) -> Verification | Verifications | LabelVerification:
    """Which preset, γ and λ reproduce a column of advantages; `gae verify` from Python.

    Args:
        source: one rollout file, or a list of files, folders and globs: each is verified by itself, and what comes
            back says which rule they have in common.
        column: the advantages, or the returns; another usual name for the same will do. Or labels made of them,
            of several inputs together.
        column_source: the file they stand in, if it is another one with the same rows.
        **settings: how the file is to be read, as for `compute`. `preset` and `estimator` try that one only,
            `group_column` and `n_steps` those groups and that window; `reward` (`rewards`), `sample_of` and other
            columns of scores are as for `compute`, but that weights are looked for where none is given; so is
            what a failure costs beside `success_column`. `unit`, `stream`, `gamma_column`, `lam_column` and λ by
            length and of returns hold for every rule.
    """
    from gaecli.commands.verify import verify as run
    from gaecli.commands.verify import verify_inputs
    from gaecli.estimator_kinds import CLIPS, ESTIMATOR_ROLES
    from gaecli.studies.asked import SCORE_COLUMNS
    from gaecli.studies.reading import SUCCESS_SETTINGS
    from gaecli.studies.tested import TESTED

    said: dict[str, Any] = dict(settings)
    only = {name: said.pop(name, None) for name in ("preset", "estimator", "group_column", "n_steps")}
    named = [said.pop(name) for name in ("reward", "rewards") if name in said]
    only["rewards"] = named[0] if named else None
    only["score_columns"] = {name: said.pop(name, None) for name in SCORE_COLUMNS}
    only["success"] = {name: said.pop(name, None) for name in SUCCESS_SETTINGS}
    only["policies"] = {
        **{role: said.pop(role_keyword(role), None) for role in ESTIMATOR_ROLES},
        **{name: said.pop(name, None) for name in CLIPS},
    }
    only["tested"] = {name: said.pop(name, None) for name in TESTED}
    computed, options = settings_and_options(said)
    more = {"memory_bytes": options.memory_bytes, **only}
    with opened_source(source) as opened:
        if not isinstance(source, Sequence) or isinstance(source, str):
            (file,) = opened.files
            return opened.shown(run(file, column, computed, column_source=column_source, **more))
        found = verify_inputs(opened.files, column, computed, column_source=column_source, **more)
        several = Verifications.of_one(found) if isinstance(found, Verification) else found
        return opened.shown(several)
