"""What Polars frames and expressions have once `gaecli.polars` is imported.

frame.gae.compute(gamma=0.99)
frame.with_columns(pl.struct("reward", "value", "terminated").gae.advantage(gamma=0.99))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Unpack

import gaecli
from gaecli.api.arguments import checked_arguments
from gaecli.errors import GaeError, MissingExtraError, UsageError

try:
    import polars as pl
except ImportError as error:
    raise MissingExtraError("polars is not installed", hint="pip install polars") from error

if TYPE_CHECKING:
    from gaecli.api.keywords import ComputeKeywords, ReadKeywords
    from gaecli.diagnosis import Checkup
    from gaecli.inspection import FileInfo

__all__ = ["GaeExpr", "GaeFrame"]


@pl.api.register_dataframe_namespace("gae")
class GaeFrame:
    """What gaecli does with the rollouts in a frame; keywords are those of `gaecli.compute`."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def compute(self, **settings: Unpack[ComputeKeywords]) -> pl.DataFrame:
        """The frame with its advantages and returns."""
        return gaecli.compute(self._frame, **settings)

    def inspect(self, **settings: Unpack[ReadKeywords]) -> FileInfo:
        """What is in it, and which column would be taken for what."""
        return gaecli.inspect(self._frame, **settings)

    def check(self, **settings: Unpack[ReadKeywords]) -> Checkup:
        """What is wrong with it, or likely to be."""
        return gaecli.check(self._frame, **settings)


@pl.api.register_expr_namespace("gae")
class GaeExpr:
    """Columns made of a struct of columns, also of a lazy frame; keywords are those of `gaecli.compute`.

    The struct holds what tells its rows: reward, value and flags, and what tells trajectories apart, where several
    are interleaved. Its rows are all rows of the frame: nothing is to be grouped.
    """

    def __init__(self, expr: pl.Expr) -> None:
        self._expr = expr

    def advantage(self, **settings: Unpack[ComputeKeywords]) -> pl.Expr:
        """[rows] Float64, named as `advantage_column` says; null where a row holds no step."""
        return self._made("advantage", settings)

    def returns(self, **settings: Unpack[ComputeKeywords]) -> pl.Expr:
        """The same of the returns, named as `return_column` says."""
        return self._made("return", settings)

    def _made(self, which: Literal["advantage", "return"], settings: ComputeKeywords) -> pl.Expr:
        checked_arguments(gaecli.compute, settings)
        is_advantage = which == "advantage"
        name = (settings.get("advantage_column") if is_advantage else settings.get("return_column")) or which

        def made(rows: pl.Series) -> pl.Series:
            if not isinstance(rows.dtype, pl.Struct):
                raise UsageError(
                    f"`gae.{which}` of a column of {rows.dtype}; it needs the columns that tell a step: "
                    '`pl.struct("reward", "value", "terminated")`'
                )
            frame = _told(rows.struct.unnest(), settings)
            if name not in frame.columns:
                raise UsageError(f"`{settings.get('estimator')}` makes no column `{name}`")
            column = frame[name]
            if column.dtype.is_nested():
                raise UsageError(
                    f"`gae.{which}` of rows that hold several steps each; use `frame.gae.compute()`"
                )
            return column.cast(pl.Float64)

        return self._expr.map_batches(made, return_dtype=pl.Float64).alias(name)


def _told(rows: pl.DataFrame, settings: ComputeKeywords) -> pl.DataFrame:
    """What `gaecli.compute` gives. Of an error in an expression Polars shows the message alone: the hint joins it."""
    try:
        return gaecli.compute(rows, **settings)
    except GaeError as error:
        raise type(error)("\nhint: ".join(filter(None, (error.message, error.hint)))) from error
