"""`--normalize-by COLUMN`: the group that each step belongs to."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

from gaecli.formats.base import Column
from gaecli.rollouts import Array, IndexArray


def group_codes(
    columns: Mapping[str, Column], name: str | None, in_lanes: Callable[[Array], Array]
) -> tuple[IndexArray | None, Sequence[Hashable]]:
    """([N] index into labels, labels); (None, ()) without grouping. A null is a group of its own."""
    if name is None:
        return None, ()
    column = columns[name].as_ids()
    is_given = None if column.is_null is None else ~column.is_null.reshape(-1)
    values = column.values.reshape(-1)
    # Without the nulls: what stands in their place is no label.
    distinct, found = np.unique(values if is_given is None else values[is_given], return_inverse=True)
    labels: list[Hashable] = distinct.tolist()
    if column.categories is not None:
        labels = [column.categories[code] for code in distinct.tolist()]
    codes = found.reshape(-1).astype(np.int64)
    if is_given is not None:
        codes = np.full(len(values), len(labels), np.int64)
        codes[is_given] = found.reshape(-1)
        labels.append(None)
    return in_lanes(codes), labels
