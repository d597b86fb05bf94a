"""What a kernel does: it scans the terms of a block backwards.

yₜ = xₜ + aₜ · yₜ₊₁        for t = N-1 … 0, with y_N = 0
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from gaecli.choices import Precision
from gaecli.kernels.devices import Device

#: A `numpy.ndarray`, or an array of the library that computes, such as a `torch.Tensor`.
Array: TypeAlias = Any


class Arrays(Protocol):
    """A library of arrays on one device, as terms see it."""

    #: Where functions such as `where` and `isnan` are found.
    module: Any

    def numbers(self, rows: NDArray[Any]) -> Array:
        """These rows where the arithmetic is, in a type that it can mix with its own."""

    def flags(self, rows: NDArray[Any]) -> Array:
        """These rows as booleans where the arithmetic is."""


class Terms(Protocol):
    """xₜ and aₜ of the rows of a block, made piece by piece as a kernel comes to them."""

    num_rows: int
    #: [N] bool: aₜ is 0 there, whatever is given.
    cuts: NDArray[Any]
    #: aₜ of all other rows, where that is one number. None: `fill` tells.
    decay: float | None

    def fill(self, x: Array, a: Array | None, rows: slice, arrays: Arrays) -> None:
        """x ← xₜ and a ← aₜ of these rows. May be called for any rows, in any order, from any thread.

        Whoever goes by `decay` may pass None for a.
        """


class ScanTerms(Protocol):
    """A kernel. Nothing that it is given or gives back makes it wait for a device but `out` itself."""

    def __call__(
        self,
        terms: Terms,
        out: NDArray[Any],
        *,
        device: Device | None,
        precision: Precision,
        threads: int,
        tile_rows: int | None = None,
    ) -> None:
        """Write yₜ of every row to `out`.

        A row whose xₜ is not finite makes NaN of itself and of the rows before it up to the next cut, and of
        no others.

        Args:
            terms: xₜ and aₜ.
            out: [N], of any float dtype.
            device: where to compute; None: NumPy.
            precision: "double" computes in float64 where the device has it, "single" in float32.
            threads: how many may be used. They never change a bit.
            tile_rows: rows that are taken at a time, where the kernel has tiles: a matter of speed, and of
                rounding.
        """
