"""Columns whose equal values are groups: `--group-column`, `--normalize-by` and their kind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray
from gaecli.errors import DataError
from gaecli.formats.base import Column
from gaecli.layouts.cells import Cells
from gaecli.rollouts import Labels


def read_labels(
    columns: Mapping[str, Column], names: Sequence[str], in_lanes: Callable[[Array], Array]
) -> Mapping[str, Labels]:
    """The labels of every step, by column. A null is a label of its own."""
    return {name: _labels(columns[name].as_ids(), in_lanes) for name in names}


def check_groups(
    columns: Mapping[str, Column], names: Sequence[str], cells: Cells, left_out: BoolArray | None = None
) -> None:
    """Raises `DataError` where a trajectory that is compared with others of its group has none.

    `left_out`: cells that are in no comparison.
    """
    for name in names:
        missing = columns[name].as_ids().is_null
        if missing is not None and left_out is not None:
            missing = missing & ~left_out
        if missing is not None and missing.any():
            where = cells.locate(int(np.argmax(missing.reshape(-1))))
            raise DataError(
                f"`{name}` is missing at {where} of `{cells.path}`, and nothing else says what the score there is "
                "compared with",
                hint="give every response the group of its prompt, or leave such rows out of the file",
            )


def labels_of_rows(
    columns: Mapping[str, Column], names: Sequence[str], rows: IndexArray
) -> list[tuple[Hashable, ...]]:
    """What several columns together call each of `rows`."""
    parts = []
    for labels in read_labels(columns, names, lambda cells: cells[rows]).values():
        known = labels.names.tolist() if isinstance(labels.names, np.ndarray) else labels.names
        parts.append([known[code] for code in labels.codes.tolist()])
    return list(zip(*parts, strict=True))


def _labels(column: Column, in_lanes: Callable[[Array], Array]) -> Labels:
    is_given = None if column.is_null is None else ~column.is_null.reshape(-1)
    values = column.values.reshape(-1)
    # Without the nulls: what stands in their place is no label.
    distinct, found = _distinct(values if is_given is None else values[is_given])
    codes = found.astype(np.int64, copy=False)
    is_integer = column.categories is None and distinct.dtype.kind in "iu" and distinct.dtype != np.uint64
    if is_integer and is_given is None:
        return Labels(in_lanes(codes), distinct.astype(np.int64))
    labels: list[Hashable] = distinct.tolist()
    if column.categories is not None:
        labels = _short([column.categories[code] for code in distinct.tolist()])
    if is_given is not None:
        codes = np.full(len(values), len(labels), np.int64)
        codes[is_given] = found
        labels.append(None)
    return Labels(in_lanes(codes), labels)


#: A text longer than this is known by its beginning and its digest: of a million prompts the whole would be too much.
_LONGEST = 64
_BEGINNING = 40


def _short(labels: list[Hashable]) -> list[Hashable]:
    if set(map(type, labels)) <= {str} and max((len(label) for label in labels), default=0) <= _LONGEST:  # type: ignore[arg-type]
        return labels
    return [_shortened(label) for label in labels]


def _shortened(label: Hashable) -> Hashable:
    """128 bits tell any two texts apart."""
    if isinstance(label, str) and len(label) > _LONGEST:
        digest = hashlib.blake2b(label.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return f"{label[:_BEGINNING]}… {digest}"
    if isinstance(label, bytes) and len(label) > _LONGEST:
        return label[:_BEGINNING] + hashlib.blake2b(label, digest_size=16).digest()
    return label


def _distinct(values: Array) -> tuple[Array, IndexArray]:
    """(the values there are, in order; the number of each cell among them).

    Whole numbers that lie close together need not be sorted: some that are not there do no harm.
    """
    if values.dtype.kind in "iu" and values.dtype != np.uint64 and len(values):
        low, high = int(values.min()), int(values.max())
        if high - low <= len(values):
            return np.arange(low, high + 1), values.astype(np.int64) - low
    distinct, found = np.unique(values, return_inverse=True)
    return distinct, found.reshape(-1)
