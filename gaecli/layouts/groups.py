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
    column = columns[name]
    distinct, codes = np.unique(column.values, return_inverse=True)
    labels: list[Hashable] = distinct.tolist()
    if column.categories is not None:
        labels = [column.categories[code] if code >= 0 else None for code in distinct.tolist()]
    codes = codes.reshape(-1).astype(np.int64)
    if column.is_null is not None and column.categories is None:
        codes = np.where(column.is_null, len(labels), codes)
        labels.append(None)
    return in_lanes(codes), labels
