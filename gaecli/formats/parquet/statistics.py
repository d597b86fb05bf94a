"""What the footer of a Parquet file tells of a column without a look at its pages."""

from __future__ import annotations

import pyarrow.parquet as pq


def leaf_positions(metadata: pq.FileMetaData) -> dict[str, int]:
    """Path of a column, or of a list that holds it -> its number among the leaf columns."""
    schema = metadata.schema
    positions: dict[str, int] = {}
    for index in range(len(schema)):
        path = ""
        for part in schema.column(index).path.split("."):
            path = f"{path}.{part}" if path else part
            positions.setdefault(path, index)
    return positions


def statistics_allow_flags(metadata: pq.FileMetaData, leaf: int) -> bool:
    """False where a column holds other numbers than 0 and 1, or one of them throughout."""
    found: set[float] = set()
    for group in range(metadata.num_row_groups):
        chunk = metadata.row_group(group).column(leaf)
        statistics = chunk.statistics
        if statistics is None or not statistics.has_null_count:
            return True
        if statistics.null_count == chunk.num_values:
            found.add(0.0)  # nothing says "not set"
            continue
        if not statistics.has_min_max:
            return True
        if not {statistics.min, statistics.max} <= {0, 1}:  # False and True as well
            return False
        found |= {float(statistics.min), float(statistics.max)}
        if statistics.null_count:
            found.add(0.0)
        if len(found) > 1:
            return True
    return False
