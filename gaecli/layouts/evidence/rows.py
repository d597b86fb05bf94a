"""What speaks against a row of lists being a trajectory: a log of vector environments has a row per time step.

A list may hold the steps of a trajectory, or what N environments, objectives or critics say at one step. The
types are the same; the file's own ids and steps, and where its flags stand, tell them apart.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray
from gaecli.block_facts import PieceFacts, RowFacts
from gaecli.columns import Roles, list_around
from gaecli.errors import UsageError
from gaecli.formats.base import Column, RolloutFile
from gaecli.layouts.keys import as_labels, first_duplicate, has_duplicates, names_at
from gaecli.layouts.steps import steps_of
from gaecli.records import dataclass
from gaecli.settings import Settings

#: Lists of so few items, in so many rows, are as likely no steps.
_MOST_OBJECTIVES = 4
_FEWEST_ROWS = 8

_HINT = (
    "pass `--layout nested` if each row is a trajectory after all; else write a row per step, with an id of what "
    "the list holds (`env_id`), or arrays of [T, N] for `--layout time-major`"
)


@dataclass(frozen=True)
class RowColumns:
    """Scalar columns that say what a row is. None of them where the user, or the format, does."""

    episode: str | None = None
    steps: tuple[str, ...] = ()
    #: What tells the groups of responses apart.
    groups: tuple[str, ...] = ()
    is_open: bool = False

    @classmethod
    def of(cls, file: RolloutFile, roles: Roles, settings: Settings) -> RowColumns:
        is_said = settings.layout != "auto" or file.structure == "episodes"
        if is_said or list_around(file, roles.names["reward"]) is not None:
            return cls()
        episode = roles.get("episode")
        steps = [name for name in (roles.get("step"), *roles.alternates.get("step", ())) if name is not None]
        scalars = [name for name in steps if _is_scalar(file, name)]
        groups = (
            settings.group_columns if all(_is_scalar(file, name) for name in settings.group_columns) else ()
        )
        episode = episode if episode and _is_scalar(file, episode) else None
        return cls(episode, tuple(scalars), groups, is_open=True)

    @property
    def names(self) -> tuple[str, ...]:
        return (*((self.episode,) if self.episode is not None else ()), *self.steps)

    def facts(
        self,
        columns: Mapping[str, Column],
        offsets: IndexArray,
        ended: BoolArray,
        *,
        has_flags_per_row: bool,
        shows_time: bool,
        is_bare: BoolArray,
    ) -> RowFacts | None:
        """Of one block.

        Args:
            columns: its cells.
            offsets: of the lists of rewards.
            ended: [rows with items] a flag ends the row.
            has_flags_per_row: flags are scalars.
            shows_time: something has an item per step that only makes sense along time.
            is_bare: [rows with items] nothing ends the row, and no value lies behind it.
        """
        if not self.is_open:
            return None
        lengths = np.diff(offsets)
        lengths = lengths[lengths > 0]
        ids: Any = ()
        if self.episode is not None:
            column = columns[self.episode].as_ids()
            given = slice(None) if column.is_null is None else np.flatnonzero(~column.is_null)
            ids = names_at([column], np.arange(len(column.values))[given])
        found = {name: steps for name in self.steps if (steps := _counts(columns[name])) is not None}
        return RowFacts(
            id_column=self.episode,
            ids=ids,
            steps=found,
            lengths=(int(lengths.min()), int(lengths.max())) if len(lengths) else None,
            num_rows=len(lengths),
            num_bare=int(np.count_nonzero(is_bare)) if has_flags_per_row else 0,
            shows_time=shows_time or bool(not has_flags_per_row and ended.any()),
            groups=self._groups_of(columns, np.flatnonzero(np.diff(offsets) > 0)),
        )

    def _groups_of(
        self, columns: Mapping[str, Column], rows: IndexArray
    ) -> Sequence[tuple[Hashable, ...]] | None:
        """One for each of `rows`, as long as no two are of one group."""
        if not self.groups:
            return None
        from gaecli.layouts.groups import labels_of_rows

        found = labels_of_rows(columns, self.groups, rows)
        return found if len(set(found)) == len(found) else None


def _is_scalar(file: RolloutFile, name: str) -> bool:
    info = file.find(name)
    return info is not None and info.unusable is None and not info.is_list


def _counts(column: Column) -> IndexArray | None:
    if column.is_null is not None or (column.values.dtype.kind == "f" and np.isnan(column.values).any()):
        return None
    steps = steps_of(column)
    return steps.numbers if steps is not None and steps.counts else None


def check_rows(facts: Sequence[tuple[Path, RowFacts]], flags: Sequence[str]) -> None:
    """`UsageError` where the rows of a stream are no trajectories, or nothing says that they are."""
    if not facts:
        return
    by_file: dict[Path, list[RowFacts]] = {}
    for path, part in facts:
        by_file.setdefault(path, []).append(part)
    for path, parts in by_file.items():
        _check_ids(path, parts)
    bounds = [part.lengths for _, part in facts if part.lengths is not None]
    _check_groups(facts, max((high for _, high in bounds), default=0))
    shortest, longest = (
        min((low for low, _ in bounds), default=0),
        max((high for _, high in bounds), default=0),
    )
    if shortest != longest or longest < 2:
        return
    for path, parts in by_file.items():
        for name in parts[0].steps:
            _check_steps(path, parts, name, longest)
    path, everything = facts[0][0], [part for _, part in facts]
    num_rows, num_bare = sum(part.num_rows for part in everything), sum(part.num_bare for part in everything)
    # An id of its own for every row is one of a trajectory.
    shows_time = any(part.shows_time or len(part.ids) for part in everything)
    named = " or ".join(f"`{name}`" for name in flags)
    if num_bare and num_rows > 1 and not shows_time:
        raise UsageError(
            f"{named} of `{path}` has one flag per row and ends {num_rows - num_bare:,} of {num_rows:,} rows, and "
            f"all lists have {longest} items: a row may be a trajectory, or a step of {longest} environments, "
            "objectives or critics",
            hint=_HINT,
        )
    if longest <= _MOST_OBJECTIVES and num_rows >= _FEWEST_ROWS and not shows_time and not named:
        raise UsageError(
            f"nothing in `{path}` says whether a row is a trajectory of {longest} steps, or a step of {longest} "
            "environments, objectives or critics: all lists have so many items",
            hint=_HINT,
        )


def _check_groups(facts: Sequence[tuple[Path, RowFacts]], longest: int) -> None:
    """Rows that share their group with no other are compared with nothing, and a list may be the whole group."""
    groups = [part.groups for _, part in facts]
    if longest < 2 or sum(part.num_rows for _, part in facts) < 2 or any(part is None for part in groups):
        return
    everything = [label for part in groups if part is not None for label in part]
    if len(set(everything)) == len(everything):
        raise UsageError(
            f"every row of `{facts[0][0]}` has a group of its own, so that none is compared with another: its lists "
            "may be the responses to one prompt",
            hint="pass `--layout responses` if so, or `--layout nested` if a row is one response of many steps",
        )


def _check_ids(path: Path, parts: Sequence[RowFacts]) -> None:
    ids: list[Any] = [part.ids for part in parts if len(part.ids)]
    if not ids:
        return
    are_arrays = all(isinstance(part, np.ndarray) for part in ids)
    labels: Array | Sequence[Hashable] = (
        np.concatenate(ids) if are_arrays else [label for part in ids for label in as_labels(part)]
    )
    if not has_duplicates(labels):
        return
    label: Any = first_duplicate(labels)
    shown = label[0] if isinstance(label, tuple) else label
    raise UsageError(
        f"`{parts[0].id_column}` of `{path}` is {shown!r} in several rows, so that a row is no trajectory of its own",
        hint=_HINT,
    )


def _check_steps(path: Path, parts: Sequence[RowFacts], name: str, num_items: int) -> None:
    """One that goes up by a constant from row to row, apart from resets, counts them."""
    if any(name not in part.steps for part in parts):
        return
    distances = np.diff(np.concatenate([part.steps[name] for part in parts]))
    forward = distances[distances > 0]
    if len(forward) * 2 <= len(distances) or (distances == 0).any() or (forward != forward[0]).any():
        return
    raise UsageError(
        f"`{name}` of `{path}` counts the rows, and all lists have {num_items} items: a row looks like a time step "
        f"of {num_items} environments, and not like a trajectory",
        hint=_HINT,
    )


def check_pieces(found: Sequence[tuple[Path, PieceFacts]]) -> None:
    """`UsageError` where ids in lists say that a trajectory goes on in a later row, or that a row is no batch."""
    if not found:
        return
    path, first = found[0]
    names = ", ".join(f"`{name}`" for name in first.names)
    if all(part.are_single for _, part in found) and not all(part.ended.all() for _, part in found):
        raise UsageError(
            f"every item of the lists of `{path}` has another {names}: a row looks like a time step, and not like a "
            "batch of trajectories",
            hint=_HINT,
        )
    open_rows: dict[object, int] = {}
    for path, part in found:
        for label, row, ended in zip(part.labels, part.rows.tolist(), part.ended.tolist(), strict=False):
            if label in open_rows:
                raise UsageError(
                    f"{names} of row {row} of `{path}` was in row {open_rows[label]} before, and nothing ended the "
                    "trajectory there",
                    hint="write a row per step if it goes on; pass `--layout nested` if a row is a batch of its own, "
                    "and ids may come again",
                )
            if not ended:
                open_rows[label] = row
