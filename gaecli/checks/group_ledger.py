"""What the rules about groups look at: every group of responses, over all blocks and files of a command."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray, Names
from gaecli.checks.base import Context
from gaecli.formats.base import Column, RolloutFile
from gaecli.likely_names import likely_training_step
from gaecli.records import dataclass
from gaecli.rollouts import Block

#: What is one within a group: the prompt, and the step of training.
OneWithin = Literal["prompt", "step"]

#: Columns that tell rollouts apart, the surest first; and texts of responses, of which equal ones may be the same.
_IDS = ("rollout_id", "trajectory_id", "traj_id", "request_id", "sample_id")
_TEXTS = ("completion", "output", "response", "output_response", "response_tokens", "response_ids")
#: Columns that hold what responses are to.
_PROMPTS = ("prompt", "input", "input_prompt", "question", "problem", "prompt_tokens", "prompt_ids")


#: As of groups without spread in `gaecli.estimators.normalization`.
_ROUNDING = 8 * np.finfo(np.float64).eps

#: Words in names of what reward functions gave.
_FUNCTION_WORDS = {
    *("reward", "rewards", "score", "scores", "accuracy", "acc", "correct", "correctness"),
    *("format", "func", "verifier", "judge", "grader", "rubric"),
}


@dataclass(eq=False)
class ResponseGroup:
    """One group: its scores, and where they stand."""

    file: Path
    row: int
    count: int = 0
    low: float = np.inf
    high: float = -np.inf
    #: Rows in another file as well.
    is_spread: bool = False
    #: By what columns beside the group hold of its first response, and those of them that hold something else of
    #: another one.
    beside: dict[OneWithin, int] = field(default_factory=dict)
    differing: set[OneWithin] = field(default_factory=set)


@dataclass(eq=False)
class Repeats:
    """Responses of one group that a column calls the same, with one score."""

    column: str = ""
    is_id: bool = False
    num_rollouts: int = 0
    #: Rows beyond the first of each rollout.
    num_rows: int = 0
    file: Path | None = None
    row: int = 0


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Those that end in a block: [n] each."""

    #: The last step of each, and the row that it is, counted from the first one of the block.
    last: IndexArray
    rows: IndexArray
    #: Over all of its steps, whichever blocks they are in.
    scores: Array
    #: By column: (what tells cells apart, what each of those is).
    labels: Mapping[str, tuple[IndexArray, Names]]
    #: Steps of the block.
    num_steps: int

    @classmethod
    def of(cls, block: Block, last: IndexArray, scores: Array) -> Trajectories:
        labels = {name: (found.codes[last], found.names) for name, found in block.labels.items()}
        return cls(last, block.file_rows(last), scores, labels, block.num_steps)

    @classmethod
    def whole(cls, block: Block) -> Trajectories:
        """Of a block that no trajectory goes over the borders of."""
        last = np.flatnonzero(block.cuts)
        for absent in (block.dropped, block.missing_rewards):
            if absent is not None:
                last = last[~absent[last]]
        return cls.of(block, last, _scores(block, last))


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Responses of a block that may be of one rollout: [n] each."""

    file: Path
    groups: Array
    rollouts: Array
    scores: Array
    rows: IndexArray


@dataclass(eq=False)
class GroupLedger:
    """Groups by their label. One for all inputs: a group may have rows in several."""

    groups: dict[Hashable, ResponseGroup] = field(default_factory=dict)
    #: Inputs that are read as the log that they look like, and what is told of it.
    read_as: list[tuple[Path, str]] = field(default_factory=list)
    #: Columns whose equal cells are a group, and those of what is one within a group, as a file has them.
    names: tuple[str, ...] = ()
    compared: dict[OneWithin, str] = field(default_factory=dict)
    num_responses: int = 0
    #: Responses that no reward function scored and that have reward 0, all that none scored, the columns of the
    #: functions, and where the first one is.
    num_zero_unscored: int = 0
    num_unscored: int = 0
    functions: tuple[str, ...] = ()
    first_unscored: tuple[Path, int] | None = None
    _rollout_column: str | None = None
    _candidates: list[_Candidates] = field(default_factory=list)

    def add(self, context: Context, start: int, columns: Mapping[str, Column], found: Trajectories) -> None:
        """`columns` are the cells of the block, which begins at row `start` of the file."""
        names = context.settings.group_columns
        if not len(found.last) or any(name not in found.labels for name in names):
            return
        self.names = self.names or names
        codes, labels = _joint([found.labels[name][0] for name in names])
        keys = [
            _label([found.labels[name][1][code] for name, code in zip(names, label, strict=True)])
            for label in labels
        ]
        rows = start + found.rows
        self._count(context.path, keys, codes, found.scores, rows)
        cells = _CellsBeside(columns, found)
        for what, name in _compared(context).items():
            self._compare(what, name, keys, codes, cells)
        self._note_rollouts(context, keys, codes, found.scores, rows, cells)
        self._find_unscored(context, found.scores, rows, cells)

    def _count(
        self, path: Path, keys: Sequence[Hashable], codes: IndexArray, scores: Array, rows: IndexArray
    ) -> None:
        self.num_responses += len(codes)
        low, high = np.full(len(keys), np.inf), np.full(len(keys), -np.inf)
        np.minimum.at(low, codes, scores)
        np.maximum.at(high, codes, scores)
        counts = np.bincount(codes, minlength=len(keys))
        firsts = np.unique(codes, return_index=True)[1]
        for index, key in enumerate(keys):
            group = self.groups.get(key)
            if group is None:
                group = self.groups[key] = ResponseGroup(path, int(rows[firsts[index]]))
            group.count += int(counts[index])
            group.low, group.high = min(group.low, float(low[index])), max(group.high, float(high[index]))
            group.is_spread = group.is_spread or group.file != path

    def _compare(
        self, what: OneWithin, name: str, keys: Sequence[Hashable], codes: IndexArray, cells: _CellsBeside
    ) -> None:
        found = cells.codes(name)
        if found is None:
            return
        self.compared[what] = name
        there, labels = found
        for code, one in np.unique(np.stack([codes, there]), axis=1).T.tolist():
            group, digest = self.groups[keys[code]], _digest(labels(one))
            if group.beside.setdefault(what, digest) != digest:
                group.differing.add(what)

    def _note_rollouts(
        self,
        context: Context,
        keys: Sequence[Hashable],
        codes: IndexArray,
        scores: Array,
        rows: IndexArray,
        cells: _CellsBeside,
    ) -> None:
        name = rollout_column(context.file, self.names)
        found = None if name is None else cells.codes(name)
        if name is None or found is None or context.settings.sample_of is not None:
            return
        self._rollout_column = self._rollout_column or name
        distinct, where = np.unique(found[0], return_inverse=True)
        rollouts = _digests([found[1](code) for code in distinct.tolist()])[where.reshape(-1)]
        self._candidates.append(_Candidates(context.path, _digests(keys)[codes], rollouts, scores, rows))

    @property
    def repeats(self) -> Repeats:
        """Over all blocks and files."""
        noted, name = self._candidates, self._rollout_column
        if not noted or name is None:
            return Repeats()
        groups, rollouts, scores, rows = (
            np.concatenate([getattr(one, what) for one in noted])
            for what in ("groups", "rollouts", "scores", "rows")
        )
        order = np.lexsort((rollouts, groups))
        groups, rollouts, scores = groups[order], rollouts[order], scores[order]
        is_new = np.append(True, (groups[1:] != groups[:-1]) | (rollouts[1:] != rollouts[:-1]))
        firsts = np.flatnonzero(is_new)
        counts = np.diff(firsts, append=len(groups))
        is_alike = are_alike(np.minimum.reduceat(scores, firsts), np.maximum.reduceat(scores, firsts))
        _, of_group = np.unique(groups[firsts], return_inverse=True)
        # What all responses of a group share is of the prompt, and one rollout has one score.
        is_split = (counts > 1) & is_alike & (np.bincount(of_group.reshape(-1))[of_group.reshape(-1)] > 1)
        if not is_split.any():
            return Repeats()
        first = int(order[firsts[is_split]].min())  # the order of a rollout's rows is that of the files
        starts = np.cumsum([0, *(len(one.rows) for one in noted)])
        file = noted[int(np.searchsorted(starts, first, side="right")) - 1].file
        num_rows = int((counts[is_split] - 1).sum())
        return Repeats(name, name in _IDS, int(np.count_nonzero(is_split)), num_rows, file, int(rows[first]))

    def _find_unscored(self, context: Context, scores: Array, rows: IndexArray, cells: _CellsBeside) -> None:
        functions = function_columns(context)
        gone = [absent for name in functions if (absent := cells.absent(name)) is not None]
        if not gone or len(gone) < len(functions):
            return
        unscored = np.logical_and.reduce(gone)
        if not unscored.any():
            return
        self.functions = self.functions or functions
        self.num_unscored += int(np.count_nonzero(unscored))
        self.num_zero_unscored += int(np.count_nonzero(unscored & (scores == 0)))
        self.first_unscored = self.first_unscored or (context.path, int(rows[np.argmax(unscored)]))


class _CellsBeside:
    """Columns beside those of the roles, at the trajectories of a block."""

    def __init__(self, columns: Mapping[str, Column], found: Trajectories) -> None:
        self._columns = columns
        self._num_items = found.num_steps
        self._items, self._rows = found.last, found.rows

    def codes(self, name: str) -> tuple[IndexArray, Callable[[int], Hashable]] | None:
        """([n] what tells cells apart, code -> label)."""
        column = self._columns.get(name)
        where = None if column is None else self._where(column)
        if column is None or where is None:
            return None
        ids = column.as_ids()
        if ids.values.dtype.kind not in "iub":
            distinct, codes = np.unique(ids.values[where], return_inverse=True)
            return codes.reshape(-1).astype(np.int64), distinct.tolist().__getitem__
        categories = ids.categories
        label = (
            (lambda code: categories[code] if code >= 0 else None)
            if categories is not None
            else (lambda code: code)
        )
        return ids.values[where].astype(np.int64), label

    def absent(self, name: str) -> BoolArray | None:
        """[n] the cell is null or NaN."""
        column = self._columns.get(name)
        where = None if column is None else self._where(column)
        if column is None or where is None or column.values.ndim != 1:
            return None
        values = column.values[where]
        is_gone = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), np.bool_)
        return is_gone if column.is_null is None else is_gone | column.is_null[where]

    def _where(self, column: Column) -> IndexArray | None:
        if column.offsets is None:
            return self._rows
        return self._items if len(column.values) == self._num_items else None


def _scores(block: Block, last: IndexArray) -> Array:
    stops = np.flatnonzero(block.cuts) + 1
    sums = np.add.reduceat(block.rewards.astype(np.float64), np.concatenate(([0], stops[:-1])))
    scores: Array = sums[np.searchsorted(stops, last, side="right")]
    return scores


def _joint(codes: Sequence[IndexArray]) -> tuple[IndexArray, list[list[int]]]:
    """([n] index into the labels, the codes of each label)."""
    labels, joint = np.unique(np.stack(codes), axis=1, return_inverse=True)
    return joint.reshape(-1).astype(np.int64), labels.T.tolist()


def are_alike(low: Array | float, high: Array | float) -> Any:
    """Equal but for what the order of a sum leaves."""
    return high - low <= _ROUNDING * np.maximum(np.abs(low), np.abs(high))


def _digests(labels: Sequence[Hashable]) -> Array:
    """Of 64 bits: there may be as many rollouts as rows."""
    return np.fromiter(map(_digest, labels), np.int64, len(labels))


def _digest(label: Hashable) -> int:
    """Of its text: numbers that differ may have one hash, as -1 and -2 do."""
    return hash(repr(label))


def _label(parts: Sequence[Hashable]) -> Hashable:
    return parts[0] if len(parts) == 1 else tuple(parts)


def beside(context: Context) -> list[str]:
    """Columns that the rules read beside those of the layout."""
    rollouts = rollout_column(context.file, context.settings.group_columns)
    return [
        *_compared(context).values(),
        *([] if rollouts is None else [rollouts]),
        *function_columns(context),
    ]


def _compared(context: Context) -> dict[OneWithin, str]:
    """Columns of what is one within a group."""
    found: dict[OneWithin, str | None] = {
        "prompt": prompt_column(context.file, context.settings.group_columns),
        "step": step_column(context),
    }
    return {what: name for what, name in found.items() if name is not None}


def step_column(context: Context) -> str | None:
    """That of the training step, unless groups are told by it, or it numbers the steps of trajectories."""
    name = likely_training_step(context.file)
    known = {*context.settings.group_columns, *context.roles.names.values(), *context.settings.order_columns}
    return name if name is not None and name not in known and _has_cells(context.file, name) else None


def prompt_column(file: RolloutFile, names: Sequence[str]) -> str | None:
    """Unless groups are told by it."""
    there = [name for name in _PROMPTS if _has_cells(file, name)]
    return None if set(there) & set(names) else next(iter(there), None)


def rollout_column(file: RolloutFile, names: Sequence[str]) -> str | None:
    return next((name for name in (*_IDS, *_TEXTS) if name not in names and _has_cells(file, name)), None)


def function_columns(context: Context) -> tuple[str, ...]:
    """What reward functions gave, beside the one column of what was made of it."""
    settings = context.settings
    if settings.rewards:
        return ()
    used = {*context.roles.names.values(), *settings.group_columns}
    return tuple(
        name
        for name, info in context.file.columns.items()
        if name not in used and info.unusable is None and info.kind == "float" and _is_of_function(name)
    )


def _is_of_function(name: str) -> bool:
    """`accuracy_reward`, `rewards/format`, `reward_func_0`, `score_style`, `r_math`."""
    words = name.lower().replace("/", "_").replace(".", "_").replace("-", "_").split("_")
    return words[0] == "r" or bool(_FUNCTION_WORDS & set(words) and "advantage" not in words)


def _has_cells(file: RolloutFile, name: str) -> bool:
    info = file.columns.get(name)
    if info is None or info.damage is not None:
        return False
    return info.has_whole_cells or (info.unusable is None and info.kind in ("id", "int"))
