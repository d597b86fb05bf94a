"""The Python twin of the command line: the same names, the same numbers, errors as exceptions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gaecli.errors import GaeError, UsageError
from gaecli.rollouts import Block, Rollouts
from gaecli.settings import OPTION_NAMES, ROLES, SETTING_NAMES, RunOptions, Settings
from gaecli.summary import FileInfo, Summary


def compute(
    source: str | Path | Sequence[str | Path], output: str | Path | None = None, **settings: Any
) -> Summary:
    """Compute advantages and returns of rollout files and write them; `gae compute` from Python.

    Args:
        source: a file, a glob, a directory, or a list of them.
        output: a file or directory; None writes into the source.
        **settings: the fields of `Settings` and `RunOptions`, and `<role>_column` for every role, e.g.
            `gamma=0.99, lam=0.95, normalize="all", reward_column="rew", dry_run=True`.

    Returns:
        The summary. One file that fails raises its error; of several, each has its own `status` and
        `error` there, and the others are done.

    Raises:
        GaeError: `UsageError`, `DataError`, `FileError`, `DeviceError` or `MissingExtraError`.
    """
    from gaecli.pipeline.run import compute as run

    computed, options = split_settings({**settings, "output": output})
    sources = [source] if isinstance(source, str | Path) else list(source)
    summary = run(sources, computed, options)
    failed = [file for file in summary.files if file.status == "failed"]
    if failed and len(summary.files) == 1:
        raise _error_of(failed[0].exit_code, failed[0].error or "failed", failed[0].hint)
    return summary


def inspect(source: str | Path) -> FileInfo:
    """What is in a file, and how `compute` would read it. Reads headers only, never imports torch."""
    from gaecli.columns import resolve
    from gaecli.formats.registry import open_file
    from gaecli.layouts.registry import choose_layout

    path = Path(source)
    file = open_file(path)
    settings = Settings()
    layout, roles, problem, hint = None, {}, None, None
    try:
        chosen = choose_layout(file, resolve(file, settings), settings)
        layout, roles = chosen.name, dict(chosen.roles.names)
    except GaeError as error:
        problem, hint = error.message, error.hint
    return FileInfo(
        path=str(path),
        format=file.format_name,
        layout=layout,
        num_rows=file.num_rows,
        num_bytes=file.identity[0],
        columns={name: info.type_name for name, info in file.columns.items()},
        roles=roles,
        problem=problem,
        hint=hint,
        provenance=file.provenance,
    )


def read(source: str | Path, **settings: Any) -> Rollouts:
    """All steps of one file in memory, trajectories one after the other; keywords as for `compute`."""
    from gaecli.columns import resolve
    from gaecli.formats.registry import open_file
    from gaecli.layouts.registry import choose_layout

    computed, _ = split_settings(settings)
    file = open_file(Path(source))
    layout = choose_layout(file, resolve(file, computed), computed, is_whole=True)
    units = file.units(max(file.num_rows, 1), layout.roles.names["reward"])
    blocks = [
        layout.block(start, columns)
        for unit in units
        for start, _, columns in file.blocks(unit, layout.row_columns, max(file.num_rows, 1))
    ]
    return _rollouts(blocks[0]) if blocks else _NOTHING


def split_settings(given: dict[str, Any]) -> tuple[Settings, RunOptions]:
    """Keyword arguments as `Settings` and `RunOptions`; `reward_column=` and the like name columns."""
    columns = dict(given.pop("columns", None) or {})
    for role in ROLES:
        name = given.pop(f"{role}_column", None)
        if name is not None:
            columns[role] = name
    unknown = set(given) - SETTING_NAMES - OPTION_NAMES
    if unknown:
        raise UsageError(
            f"no setting `{sorted(unknown)[0]}`",
            hint=f"settings: {', '.join(sorted(SETTING_NAMES | OPTION_NAMES))}",
        )
    settings = {name: value for name, value in given.items() if name in SETTING_NAMES}
    options = {name: value for name, value in given.items() if name in OPTION_NAMES}
    return Settings(columns=columns, **settings), RunOptions(**options)


def _rollouts(block: Block) -> Rollouts:
    is_last = block.cuts.copy()
    is_last[block.lanes.stops - 1] = True
    ends = np.flatnonzero(is_last) + 1
    absent = np.full(block.num_steps, np.nan)
    return Rollouts(
        rewards=block.rewards.astype(np.float64),
        values=block.values.astype(np.float64),
        terminated=block.terminated,
        truncated=block.truncated,
        next_values=absent if block.next_values is None else block.next_values.astype(np.float64),
        offsets=np.concatenate(([0], ends)).astype(np.int64),
        rows=np.array([block.placement.row_of_step(step) for step in range(block.num_steps)], np.int64),
    )


_NOTHING = Rollouts(
    np.zeros(0),
    np.zeros(0),
    np.zeros(0, np.bool_),
    np.zeros(0, np.bool_),
    np.zeros(0),
    np.zeros(1, np.int64),
    np.zeros(0, np.int64),
)


def _error_of(exit_code: int, message: str, hint: str | None) -> GaeError:
    kinds = {kind.exit_code: kind for kind in reversed(GaeError.__subclasses__())}
    return kinds.get(exit_code, GaeError)(message, hint=hint)
