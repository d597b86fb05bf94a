"""What the footer of a Parquet file tells of its columns without a look at their pages.

From our own checked footer, not from pyarrow's: that opens files whose footers it then ends the process over, when
one asks it for the chunk of a column, or for its statistics (26.0.1).
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Mapping
from functools import cached_property
from itertools import islice, takewhile

import numpy as np

from gaecli.array_types import IndexArray
from gaecli.formats.parquet.footer import (
    ColumnChunk,
    ColumnMetaData,
    Footer,
    RowGroup,
    Statistics,
)
from gaecli.formats.parquet.schema import BYTE_ARRAY, Leaf
from gaecli.formats.parquet.thrift_compact import Struct
from gaecli.records import dataclass

#: How a minimum is stored, by the number of the physical type. Of texts of one length it may be half a float or a
#: decimal, which the type alone does not tell.
_FORMATS = {0: "<?", 1: "<i", 2: "<q", 4: "<f", 5: "<d"}
_WHOLE = {1: "<i", 2: "<q"}


@dataclass(frozen=True, eq=False)
class LeafFacts:
    """Facts on the leaf columns that outlive the footer, which takes a hundred times as much memory."""

    paths: tuple[str, ...]
    #: [row groups]
    group_rows: tuple[int, ...]
    #: [row groups, leaves]: entries of a leaf, one for every item of a list, and one where there is none.
    num_values: IndexArray
    #: Whether a leaf may hold flags: `statistics_allow_flags`.
    allow_flags: tuple[bool, ...]

    @property
    def num_rows(self) -> int:
        return sum(self.group_rows)

    def leaf_of_list(self, path: str) -> int | None:
        """The number of the first leaf that stands at a path or below it."""
        start = f"{path}."
        place = bisect_left(self._ordered, (start,))
        below = takewhile(lambda found: found[0].startswith(start), islice(self._ordered, place, None))
        return min((index for _, index in below), default=None)

    def has_leaf(self, path: str) -> bool:
        place = bisect_left(self._ordered, (f"{path}.",))
        return place < len(self._ordered) and self._ordered[place][0] == f"{path}."

    @cached_property
    def _ordered(self) -> list[tuple[str, int]]:
        """Paths with their numbers, as texts stand in order: all that is below another one comes behind it.

        Of a table with ten thousand columns each is asked for.
        """
        return sorted((f"{path}.", index) for index, path in enumerate(self.paths))


def leaf_facts(footer: Footer) -> LeafFacts:
    groups = [_metas(group) for group in footer.row_groups]
    counts = [[meta.value(ColumnMetaData.NUM_VALUES) for meta in metas] for metas in groups]
    return LeafFacts(
        tuple(".".join(leaf.path) for leaf in footer.leaves),
        tuple(footer.row_group_rows),
        np.array(counts, np.int64).reshape(len(groups), len(footer.leaves)),
        tuple(statistics_allow_flags(footer, index) for index in range(len(footer.leaves))),
    )


def statistics_allow_flags(footer: Footer, leaf: int) -> bool:
    """False where a column holds other numbers than 0 and 1, or one of them throughout."""
    found: set[float] = set()
    for group in footer.row_groups:
        meta: Struct = group.value(RowGroup.COLUMNS)[leaf].value(ColumnChunk.META_DATA)
        statistics: Struct = meta.value(ColumnMetaData.STATISTICS, Struct())
        null_count = statistics.value(Statistics.NULL_COUNT)
        if not isinstance(null_count, int):
            return True
        if null_count == meta.value(ColumnMetaData.NUM_VALUES):
            found.add(0.0)  # nothing says "not set"
            continue
        ends = _ends(statistics, footer.leaves[leaf])
        if ends is None:
            return True
        if not ends <= {0.0, 1.0}:
            return False
        found |= ends
        if null_count:
            found.add(0.0)
        if len(found) > 1:
            return True
    return False


def groups_with(footer: Footer, labels: Mapping[str, int | bytes]) -> list[bool]:
    """Whether each row group may have a row with all of these cells, by its least and its greatest ones.

    `labels`: of top-level columns of whole numbers, signed ones, or of texts.
    """
    leaves = [
        (index, leaf, labels[leaf.path[0]])
        for index, leaf in enumerate(footer.leaves)
        if len(leaf.path) == 1 and leaf.path[0] in labels
    ]
    groups = [_metas(group) for group in footer.row_groups]
    return [all(_may_hold(metas[index], leaf, label) for index, leaf, label in leaves) for metas in groups]


def _may_hold(meta: Struct, leaf: Leaf, label: int | bytes) -> bool:
    statistics: Struct = meta.value(ColumnMetaData.STATISTICS, Struct())
    if statistics.value(Statistics.NULL_COUNT) == meta.value(ColumnMetaData.NUM_VALUES):
        return False
    # Not the older fields, in which texts stand in another order.
    low, high = (statistics.value(field_id) for field_id in (Statistics.MIN_VALUE, Statistics.MAX_VALUE))
    if not isinstance(low, bytes) or not isinstance(high, bytes):
        return True
    if isinstance(label, bytes):
        return leaf.type != BYTE_ARRAY or not low <= high or low <= label <= high
    form = _WHOLE.get(leaf.type)
    if form is None or len(low) != struct.calcsize(form) or len(high) != len(low):
        return True
    least, most = struct.unpack(form, low)[0], struct.unpack(form, high)[0]
    return not least <= most or least <= label <= most


def _metas(group: Struct) -> list[Struct]:
    return [chunk.value(ColumnChunk.META_DATA) for chunk in group.value(RowGroup.COLUMNS)]


def _ends(statistics: Struct, leaf: Leaf) -> set[float] | None:
    """The least and the greatest number; None where they are not told, or not as the type has them."""
    form = _FORMATS.get(leaf.type)
    if form is None:
        return None
    found = set()
    for field_id, old_field_id in (
        (Statistics.MIN_VALUE, Statistics.MIN),
        (Statistics.MAX_VALUE, Statistics.MAX),
    ):
        raw = statistics.value(field_id, statistics.value(old_field_id))
        if not isinstance(raw, bytes) or len(raw) != struct.calcsize(form):
            return None
        found.add(float(struct.unpack(form, raw)[0]) / 10.0 ** min(leaf.scale, 300))
    return found
