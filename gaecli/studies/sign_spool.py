"""The signs of a first reading, kept on disk for those after it: a byte per row, whatever the size of the files."""

from __future__ import annotations

import tempfile
from typing import IO

import numpy as np

from gaecli.rollouts import Array, FloatArray, Placement

#: Of a row that holds no number.
_NONE = 2


class SignSpool:
    """Written once, row after row, then read as often as wanted: by the rows of the file, however they are cut."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 -- it lives as long as this

    def write(self, numbers: FloatArray, placement: Placement) -> None:
        signs = np.where(np.isfinite(numbers), np.sign(numbers), _NONE).astype(np.int8)
        self._file.write(placement.to_rows(signs, _NONE).tobytes())

    def rewind(self) -> None:
        self._file.seek(0)

    def read(self, placement: Placement) -> Array:
        """[N] of the steps of the next block; what held no number equals no sign."""
        rows = np.frombuffer(self._file.read(placement.num_rows), np.int8)
        return placement.to_steps(rows)

    def close(self) -> None:
        self._file.close()
