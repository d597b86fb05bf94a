"""Which rule made a column of labels, or which of them are others than the rule says."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gaecli.array_types import BoolArray, FloatArray, IndexArray
from gaecli.columns import find_roles
from gaecli.errors import UsageError
from gaecli.formats.base import RolloutFile
from gaecli.formats.stored import columns_of, own_entries
from gaecli.label_settings import LABEL_RULES, OPERATORS, Labelling
from gaecli.label_summary import LabelAttempt, LabelDifference, LabelGroup, LabelRow, LabelVerification
from gaecli.labels.quantiles import QuantileSearch, is_beyond
from gaecli.records import dataclass
from gaecli.setting_fields import LABEL_DEFAULTS
from gaecli.settings import Settings
from gaecli.studies.label_cells import NONE, LabelCells, label_cells

#: Rows and groups are told up to so many of them.
_MOST_ROWS, _MOST_GROUPS = 20, 32
_OWN = "as gaecli wrote it"
_WORDS = {1: "positive", 0: "negative", NONE: "none"}


@dataclass(frozen=True, eq=False)
class _HeldRule:
    """A rule with what it says of this file."""

    name: str
    labelling: Labelling
    #: [groups]
    thresholds: FloatArray
    #: [C] 1, 0 or `NONE`.
    expected: IndexArray

    def differing(self, cells: LabelCells) -> BoolArray:
        found: BoolArray = self.expected != cells.labels
        return found


def verify_labels(
    files: Sequence[RolloutFile], column: str, settings: Settings, memory_bytes: int
) -> LabelVerification:
    """Under the rule of the settings; else that of the run that wrote the column, or the one that fits best."""
    entry = _own_entry(files[0], column)
    is_given, given = settings.labelling is not None, (settings.labelling, settings.label_by)
    if entry is not None:
        own = _with_own(settings, entry)
        entry = entry if not is_given or given == (own.labelling, own.label_by) else None
        settings = settings if is_given else own
    cells = label_cells(files, column, settings, memory_bytes, _mask_column(files[0], settings, entry))
    if not len(cells.labels):
        raise UsageError(f"`{column}` of `{files[0].path}` has no rows: there is nothing to verify")
    name = settings.label_rule or ("the rule given" if is_given else "the rule of the file")
    rules = sorted(_rules(name, cells, settings, entry), key=lambda rule: int(rule.differing(cells).sum()))
    best = rules[0]
    differing = np.flatnonzero(best.differing(cells))
    return LabelVerification(
        path=str(files[0].path),
        column=column,
        number=cells.number_column,
        by=settings.label_by,
        forced=settings.force_positive,
        num_rows=int(np.count_nonzero((cells.labels != NONE) | (best.expected != NONE))),
        num_positive=int(np.count_nonzero(cells.labels == 1)),
        attempts=[_attempt(rule, cells) for rule in rules],
        differences=_differences(best, cells, differing),
        rows=[_row(best, cells, index) for index in differing[:_MOST_ROWS].tolist()],
        between=_between(cells) if len(differing) and settings.label_by is None else None,
    )


def _mask_column(file: RolloutFile, settings: Settings, entry: Mapping[str, Any] | None) -> str | None:
    """That of the run, or of the file: what it leaves out has no label, whatever number stands there."""
    theirs = {} if entry is None else entry.get("settings", {})
    mode = settings.mask_mode or (theirs.get("mask_mode") if isinstance(theirs, dict) else None)
    roles = None if entry is None else entry.get("roles")
    known = roles if isinstance(roles, dict) else find_roles(file, settings).names
    name = settings.columns.get("mask", known.get("mask"))
    return name if isinstance(name, str) and mode != "keep" and file.find(name) is not None else None


def _own_entry(file: RolloutFile, column: str) -> Mapping[str, Any] | None:
    entries = own_entries(file.provenance)
    return next((entry for entry in entries if column in columns_of(entry) and "labels" in entry), None)


def _with_own(settings: Settings, entry: Mapping[str, Any]) -> Settings:
    """What the run that wrote the labels says of them; how the file is read stays as it is."""
    theirs = entry.get("settings")
    known = theirs if isinstance(theirs, dict) else {}
    names = [name for name in LABEL_DEFAULTS if name.startswith("label_") or name == "force_positive"]
    names += ["advantage_column", "return_column"]
    return settings.replace(**{name: known[name] for name in names if name in known})


def _rules(
    name: str, cells: LabelCells, settings: Settings, entry: Mapping[str, Any] | None
) -> Iterator[_HeldRule]:
    given = settings.labelling
    if given is None:
        for rule in LABEL_RULES:
            labelling = settings.replace(label_rule=rule).labelling
            assert labelling is not None
            yield _made(rule, labelling, cells, _thresholds(cells, labelling))
        return
    yield _made(name, given, cells, _thresholds(cells, given))
    stored = _stored_thresholds(cells, entry)
    if stored is not None:  # which may be those of more inputs than this one
        yield _made(_OWN, given, cells, stored)


def _thresholds(cells: LabelCells, labelling: Labelling) -> FloatArray:
    """[groups] NaN, which nothing is beyond, where no row counts."""
    names = cells.group_names
    if labelling.threshold is not None:
        return np.full(len(names), labelling.threshold)
    assert labelling.quantile is not None
    where = ~np.isnan(cells.numbers)
    if not labelling.forced_count:
        where &= ~cells.forced
    search = QuantileSearch(labelling.quantile)
    while search.ask is not None:
        search.add(search.ask.of(cells.numbers[where], cells.groups[where], names))
        search.next()
    return np.array([search.found.get(name, np.nan) for name in names], np.float64)


def _stored_thresholds(cells: LabelCells, entry: Mapping[str, Any] | None) -> FloatArray | None:
    """Of the run that wrote the labels, where it kept that of every group."""
    labels = None if entry is None else entry.get("labels")
    groups = labels.get("groups") if isinstance(labels, dict) else None
    if not isinstance(groups, list):
        return None
    known = {group.get("group"): group.get("threshold") for group in groups if isinstance(group, dict)}
    found = [known.get("" if name == () else str(name)) for name in cells.group_names]
    if any(not isinstance(one, int | float) for one in found):
        return None
    return np.array(found, np.float64)


def _made(name: str, labelling: Labelling, cells: LabelCells, thresholds: FloatArray) -> _HeldRule:
    positive = is_beyond(cells.numbers, thresholds[cells.groups], labelling.operator)
    expected = np.where(np.isnan(cells.numbers), NONE, positive.astype(np.int64))
    # A row that is forced and has no number counts where it is a step, which the label alone tells here.
    is_forced = cells.forced & ((expected != NONE) | (cells.labels != NONE))
    return _HeldRule(name, labelling, thresholds, np.where(is_forced, 1, expected))


def _attempt(rule: _HeldRule, cells: LabelCells) -> LabelAttempt:
    names: Sequence[Hashable] = cells.group_names
    groups = [
        LabelGroup("" if name == () else str(name), float(found) if np.isfinite(found) else None)
        for name, found in list(zip(names, rule.thresholds.tolist(), strict=True))[:_MOST_GROUPS]
    ]
    num_differing = int(np.count_nonzero(rule.differing(cells)))
    operator = OPERATORS[rule.labelling.operator]
    return LabelAttempt(rule.name, rule.labelling.words, operator, groups, len(names), num_differing)


def _differences(rule: _HeldRule, cells: LabelCells, differing: IndexArray) -> list[LabelDifference]:
    found = []
    thresholds = rule.thresholds[cells.groups[differing]]
    is_at = cells.numbers[differing].astype(np.float64) == thresholds
    for label in (1, 0, NONE):
        for expected in (1, 0, NONE):
            of_kind = (cells.labels[differing] == label) & (rule.expected[differing] == expected)
            if of_kind.any():
                first = int(cells.rows[differing[np.argmax(of_kind)]])
                counts = int(np.count_nonzero(of_kind)), int(np.count_nonzero(of_kind & is_at))
                found.append(LabelDifference(_WORDS[label], _WORDS[expected], *counts, first))
    return sorted(found, key=lambda one: -one.count)


def _row(rule: _HeldRule, cells: LabelCells, index: int) -> LabelRow:
    number, threshold = float(cells.numbers[index]), float(rule.thresholds[cells.groups[index]])
    label, expected = int(cells.labels[index]), int(rule.expected[index])
    return LabelRow(
        row=int(cells.rows[index]),
        item=None if cells.items is None else int(cells.items[index]),
        number=number if np.isfinite(number) else None,
        threshold=threshold if np.isfinite(threshold) else None,
        label=None if label == NONE else bool(label),
        expected=None if expected == NONE else bool(expected),
    )


def _between(cells: LabelCells) -> tuple[float | None, float | None] | None:
    """Where a threshold would make all labels of rows that are not forced."""
    has_both = ~np.isnan(cells.numbers) & (cells.labels != NONE) & ~cells.forced
    positive = cells.numbers[has_both & (cells.labels == 1)]
    negative = cells.numbers[has_both & (cells.labels == 0)]
    low = float(negative.max()) if len(negative) else None
    high = float(positive.min()) if len(positive) else None
    if low is not None and high is not None and low >= high:
        return None
    return low, high
