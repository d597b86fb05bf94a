"""`--normalize-by COLUMN`, `--label-by COLUMN`: the groups that each step belongs to."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from gaecli.formats.base import Column
from gaecli.records import dataclass
from gaecli.rollouts import Array, IndexArray
from gaecli.settings import Settings


@dataclass(frozen=True)
class GroupColumns:
    """The columns whose equal values are groups: of the advantages, and of their labels."""

    groups: str | None
    label_groups: str | None

    @classmethod
    def of(cls, settings: Settings) -> GroupColumns:
        return cls(settings.grouped_by, settings.label_by)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(None, [self.groups, self.label_groups])))

    def read(self, columns: Mapping[str, Column], in_lanes: Callable[[Array], Array]) -> dict[str, Any]:
        """The fields of a `Block` that tell the groups of its steps."""
        codes, labels = group_codes(columns, self.groups, in_lanes)
        found: dict[str, Any] = {"groups": codes, "group_labels": labels}
        if self.label_groups is not None:
            if self.label_groups != self.groups:
                codes, labels = group_codes(columns, self.label_groups, in_lanes)
            found |= {"label_groups": codes, "label_group_labels": labels}
        return found


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
