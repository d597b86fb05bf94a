"""What arrays are made of, and names of what they stand for."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int64]
#: What tells lanes, or trajectories, apart: the integers of the one column that does, or a tuple each; None
#: where nothing does. Integers where there can be a million of them.
Names = IndexArray | Sequence[Hashable]
