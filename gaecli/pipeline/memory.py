"""What the limit of `--memory` means for the work at hand."""

from __future__ import annotations

import numpy as np

from gaecli.errors import FileError
from gaecli.pipeline.stream import Stream

_MIN_ROWS_PER_BLOCK = 1 << 12
_MAX_ROWS_PER_BLOCK = 1 << 20
#: Numbers that measure something are compressed to a tenth at best, flags among them a little further.
MOST_EXPANSION = 100


def rows_per_block(memory_bytes: int) -> int:
    """A block's rows depend on the memory limit alone, so that results do not depend on `--jobs`."""
    return int(np.clip(memory_bytes >> 10, _MIN_ROWS_PER_BLOCK, _MAX_ROWS_PER_BLOCK))


def check_memory(stream: Stream, limit_bytes: int) -> None:
    """Refuse arrays that expand beyond all measure, before they are read.

    A few kilobytes of archive can claim any size, and a number a row has to be written for each of theirs.
    """
    for opened in stream.files:
        found = [info for name in opened.layout.roles.names.values() if (info := opened.file.find(name))]
        whole = sum(info.whole_bytes for info in found)
        if whole > max(limit_bytes, MOST_EXPANSION * sum(info.stored_bytes for info in found)):
            largest = max(found, key=lambda info: info.whole_bytes)
            raise FileError(
                f"the arrays of `{opened.file.path}` expand to {whole:,} bytes (`{largest.name}` from "
                f"{largest.stored_bytes:,} to {largest.whole_bytes:,}), as those of a zip bomb do",
                hint="if this is what they hold, pass a larger `--memory`, or store them uncompressed",
            )
