"""What the limit of `--memory` means for the work at hand."""

from __future__ import annotations

import numpy as np

_MIN_ROWS_PER_BLOCK = 1 << 12
_MAX_ROWS_PER_BLOCK = 1 << 20


def rows_per_block(memory_bytes: int) -> int:
    """A block's rows depend on the memory limit alone, so that results do not depend on `--jobs`."""
    return int(np.clip(memory_bytes >> 10, _MIN_ROWS_PER_BLOCK, _MAX_ROWS_PER_BLOCK))
