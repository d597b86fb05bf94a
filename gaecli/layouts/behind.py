"""What stands behind the last step of each lane: the last of T + 1 values or flags, `last_value`, `last_dones`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from gaecli.formats.base import Column
from gaecli.rollouts import Array, IndexArray


@dataclass(frozen=True, eq=False)
class Behind:
    """Of the lanes whose last step a block holds."""

    #: [lanes] rows of those steps.
    rows: IndexArray
    #: Column -> [lanes] what it has there.
    columns: Mapping[str, Column]

    def steps(self, in_lanes: Callable[[Array], Array], num_rows: int) -> IndexArray:
        """[lanes] where those rows come in the order of the steps."""
        if not len(self.rows):
            return self.rows
        lanes = np.full(num_rows, -1, np.int64)
        lanes[self.rows] = np.arange(len(self.rows))
        lanes = in_lanes(lanes)
        steps = np.flatnonzero(lanes >= 0)
        found = np.empty(len(self.rows), np.int64)
        found[lanes[steps]] = steps
        return found


NOTHING_BEHIND = Behind(np.zeros(0, np.int64), {})
