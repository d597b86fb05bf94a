"""What the limit of `--memory` means for the work at hand."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gaecli.errors import FileError
from gaecli.formats.base import ColumnInfo, RolloutFile
from gaecli.layouts.base import Layout
from gaecli.settings import Settings

_MIN_ROWS_PER_BLOCK = 1 << 12
_MAX_ROWS_PER_BLOCK = 1 << 20
#: Numbers that measure something are compressed to a tenth at best, flags among them a little further.
MOST_EXPANSION = 100


def rows_per_block(memory_bytes: int) -> int:
    """A block's rows depend on the memory limit alone, so that results do not depend on `--jobs`."""
    return int(np.clip(memory_bytes >> 10, _MIN_ROWS_PER_BLOCK, _MAX_ROWS_PER_BLOCK))


def check_memory(file: RolloutFile, layout: Layout, settings: Settings, limit_bytes: int) -> None:
    """Refuse arrays that expand beyond all measure, before they are read.

    A few kilobytes of archive can claim any size, and a number a row has to be written for each of theirs.
    """
    used = dict.fromkeys([*layout.roles.row_columns, *layout.row_columns, *settings.label_columns])
    found = [info for name in used if (info := file.find(name))]
    if expand_beyond_measure(found, limit_bytes):
        largest = max(found, key=lambda info: info.whole_bytes)
        raise FileError(
            f"the arrays of `{file.path}` expand to {sum(info.whole_bytes for info in found):,} bytes "
            f"(`{largest.name}` from {largest.stored_bytes:,} to {largest.whole_bytes:,}), as those of a zip bomb do",
            hint="if this is what they hold, pass a larger `--memory`, or store them uncompressed",
        )


def expand_beyond_measure(infos: Iterable[ColumnInfo], limit_bytes: int) -> bool:
    """Whether these arrays take more than the limit, and a hundred times as much as in the file."""
    infos = list(infos)
    stored_bytes = sum(info.stored_bytes for info in infos)
    return sum(info.whole_bytes for info in infos) > max(limit_bytes, MOST_EXPANSION * stored_bytes)
