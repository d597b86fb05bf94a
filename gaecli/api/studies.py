"""What asks how numbers come about: `explain`, `diff`, `sweep`, `verify`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, Unpack, overload

from gaecli.api.arguments import public_function
from gaecli.api.keywords import (
    COMMON_OPTIONS,
    DiffKeywords,
    ReadKeywords,
    SweepKeywords,
    role_keyword,
    settings_and_options,
)
from gaecli.api.tables import ArrowStream, Files, Source, opened_source
from gaecli.difference import ColumnDifference
from gaecli.errors import UsageError
from gaecli.explanation import Derivation, Explanation
from gaecli.label_summary import LabelVerification
from gaecli.results import Sweep, Verification, Verifications
from gaecli.settings import OPTION_NAMES, RunOptions, Settings

Number = TypeVar("Number", int, float)


@public_function
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


@public_function
def diff(
    a: Source,
    b: Source | None = None,
    columns: str | tuple[str, str] | None = None,
    *,
    preset: str | Sequence[str] = "exact",
    estimator: str | Sequence[str] = "gae",
    rtol: float = 1e-5,
    atol: float = 1e-8,
    **settings: Unpack[DiffKeywords],
) -> ColumnDifference:
    """Where two columns of the same rows differ, and by how much: `gae diff` from Python.

    Args:
        a, b: two files or tables with the same rows; of one, two columns are compared, or what two presets or two
            estimators make of it: `gaecli.diff(path, preset=["exact", "sb3"])`.
        columns: the column of both, or that of `a` and that of `b`; None is `advantage`.
        preset, estimator: one, or two of either.
        rtol, atol: cells are equal where |a - b| ≤ atol + rtol · max(|a|, |b|).
        **settings: how trajectories are told apart, as for `compute`; γ and λ of both.

    Raises:
        UsageError: if a column is not there.
        DataError: if the files do not have the same number of cells.
    """
    from gaecli.commands.diff import DiffOptions, diff_columns, diff_settings

    estimators, presets = _names(estimator), _names(preset)
    made = _side_by_side(settings, estimators, presets)
    options = DiffOptions(rtol, atol, made[0][1].memory_bytes)
    if len(made) > 1:
        if len(made) > 2 or b is not None or columns is not None:
            raise UsageError(
                "two settings are compared, on one input",
                hint='such as `gaecli.diff(path, preset=["exact", "sb3"])`',
            )
        kind, differing = ("preset", presets) if len(presets) == 2 else ("estimator", estimators)
        names = [f"{kind} {one}" for one in differing]
        with opened_source(a) as opened:
            return opened.shown(diff_settings(opened.only, [one for one, _ in made], names, options))
    first_column, second_column = columns if isinstance(columns, tuple) else [columns or "advantage"] * 2
    with opened_source(a) as first, opened_source(a if b is None else b) as second:
        sides = (first.only, first_column), (second.only, second_column)
        return second.shown(first.shown(diff_columns(*sides, made[0][0], options)))


@public_function
def sweep(
    source: Files | ArrowStream | Mapping[str, Any],
    gamma: float | Sequence[float] = (),
    lam: float | Sequence[float] = (),
    output: str | Path | None = None,
    *,
    n_steps: int | Sequence[int] = (),
    estimator: str | Sequence[str] = "gae",
    preset: str | Sequence[str] = "exact",
    **settings: Unpack[SweepKeywords],
) -> Sweep:
    """Every γ with every λ, or with every n; `gae sweep` from Python. `output` gets one column per setting.

    `gamma`, `lam` and `n_steps` take one number or several; without them γ is 0.99, and λ is 0, 0.1 and so on to 1.
    Several estimators or presets, and estimators of scores, are side by side, without a grid, and have a column each:
    `gaecli.sweep(path, estimator=["grpo", "rloo"], preset=["trl", "verl"], group_column="prompt")`.
    Files that fail are listed in `files`, each with its `error`; the others are done.
    """
    from gaecli.commands.sweep import SweepOptions, sweep_side_by_side
    from gaecli.commands.sweep import sweep as run
    from gaecli.estimator_kinds import ESTIMATORS, estimator_name

    gammas, lams, windows = _numbers(gamma), _numbers(lam), _numbers(n_steps)
    estimators = [estimator_name(one) for one in _names(estimator)]
    presets = _names(preset)
    known = ESTIMATORS.get(next(iter(estimators), ""))
    is_grid = len(estimators) == len(presets) == 1 and not (known is not None and known.is_scored)
    first = {"n_steps": windows[0]} if is_grid and windows else {}
    taken = frozenset(SweepKeywords.__annotations__) & OPTION_NAMES
    made = _side_by_side({**settings, **first}, estimators, presets, taken)
    if not is_grid and (gammas or lams or windows):
        raise UsageError("a grid is of one estimator under one preset")
    options = made[0][1]
    swept = SweepOptions(output, options.overwrite, options.memory_bytes, options.device)
    with opened_source(source) as opened:
        if opened.is_table and output is not None:
            raise UsageError(
                "a table in memory has no `output`", hint="call `gaecli.compute` for each setting"
            )
        if is_grid:
            found = run(opened.files, gammas, lams, made[0][0], swept, windows=windows)
        else:
            found = sweep_side_by_side(opened.files, [one for one, _ in made], swept)
        return opened.shown(found)


def _names(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _numbers(given: Number | Sequence[Number]) -> list[Number]:
    return list(given) if isinstance(given, Sequence) else [given]


def _side_by_side(
    said: Mapping[str, Any],
    estimators: Sequence[str],
    presets: Sequence[str],
    options: frozenset[str] = COMMON_OPTIONS,
) -> list[tuple[Settings, RunOptions]]:
    """The settings of every estimator under every preset."""
    for name, named in (("estimator", estimators), ("preset", presets)):
        if not named:
            raise UsageError(f"`{name}` is an empty list; it must name one at least")
    return [
        settings_and_options({**said, "estimator": one, "preset": other}, options=options, beside=estimators)
        for one in estimators
        for other in presets
    ]


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


@public_function
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
