"""What writes something: `compute`, `strip`, `write_report`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar, Unpack, overload

from gaecli.api.arguments import public_function
from gaecli.api.keywords import (
    ComputeKeywords,
    ReadKeywords,
    StripKeywords,
    settings_and_options,
)
from gaecli.api.tables import SHOWN, ArrowStream, Files, Source, is_in_memory, opened_source
from gaecli.errors import UsageError
from gaecli.settings import OPTION_NAMES
from gaecli.stripped import StripResult
from gaecli.summary import Summary
from gaecli.written_report import WrittenReport

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


@public_function
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

    from gaecli.api.tables import check_free, held, with_new
    from gaecli.commands.compute import compute as run

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
        warnings.warn(f"{note.message} ({note.code})", stacklevel=5)
    return found


@public_function
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
        name = SHOWN if opened.is_table else None
        file = opened.only
        wanted = ReportOptions(output, overwrite, episodes, options.memory_bytes, options.jobs, name)
        return opened.shown(run(file, computed, wanted))


@public_function
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
    if is_in_memory(source):
        raise UsageError(
            "a table in memory does not say which columns gaecli wrote", hint="drop them from the table"
        )
    with opened_source(source) as opened:
        found = run(opened.files, given, join=settings.join)
        if len(found.files) == len(found.failures) == 1:
            raise found.failures[0].as_error()
        return opened.shown(found)
