"""What asks how numbers come about: `explain`, `diff`, `sweep`, `verify`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack, overload

from gaecli.api.keyword_words import errors_in_keywords
from gaecli.api.keywords import (
    PresetKeywords,
    ReadKeywords,
    SweepKeywords,
    role_keyword,
    settings_and_options,
)
from gaecli.api.tables import ArrowStream, Files, Source, opened_source
from gaecli.difference import ColumnDifference
from gaecli.errors import UsageError
from gaecli.label_summary import LabelVerification
from gaecli.results import Derivation, Explanation, Sweep, Verification, Verifications
from gaecli.settings import OPTION_NAMES


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
        file = opened.only
        return opened.shown(run(file, query, computed, top=top, memory_bytes=options.memory_bytes))


@errors_in_keywords
def diff(
    a: Source,
    b: Source | None = None,
    columns: str | tuple[str, str] = "advantage",
    *,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    **settings: Unpack[PresetKeywords],
) -> ColumnDifference:
    """Where two columns of the same rows differ, and by how much: `gae diff` from Python.

    Args:
        a, b: two files or tables with the same rows; of one, two columns are compared.
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
    with opened_source(a) as first, opened_source(a if b is None else b) as second:
        sides = (first.only, names[0]), (second.only, names[1])
        found = diff_columns(*sides, computed, DiffOptions(rtol, atol, options.memory_bytes))
        return second.shown(first.shown(found))


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
            file = opened.only
            return opened.shown(run(file, column, computed, column_source=column_source, **more))
        found = verify_inputs(opened.files, column, computed, column_source=column_source, **more)
        several = Verifications.of_one(found) if isinstance(found, Verification) else found
        return opened.shown(several)
