"""Methods of Polars frames: `import gaecli.polars`, then `frame.gae.compute(gamma=0.99)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gaecli
from gaecli.errors import MissingExtraError

try:
    import polars as pl
except ImportError as error:
    raise MissingExtraError("polars is not installed", hint="pip install polars") from error

if TYPE_CHECKING:
    from gaecli.diagnosis import Checkup
    from gaecli.summary import FileInfo

__all__ = ["GaeFrame"]


@pl.api.register_dataframe_namespace("gae")
class GaeFrame:
    """What gaecli does with the rollouts in a frame; keywords are those of `gaecli.compute`."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def compute(self, **settings: Any) -> pl.DataFrame:
        """The frame with its advantages and returns."""
        found: pl.DataFrame = gaecli.compute(self._frame, **settings)
        return found

    def inspect(self, **settings: Any) -> FileInfo:
        """What is in it, and which column would be taken for what."""
        return gaecli.inspect(self._frame, **settings)

    def check(self, **settings: Any) -> Checkup:
        """What is wrong with it, or likely to be."""
        return gaecli.check(self._frame, **settings)
