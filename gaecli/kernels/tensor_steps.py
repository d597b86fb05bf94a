"""What a kernel for tensors gets, and what it does with it: estimates of all steps in one call, where they lie.

    xₜ = rₜ + γₜ vₜ₊₁ - vₜ          aₜ = γₜ λₜ, or nothing passes at a cut
    yₜ = xₜ + aₜ yₜ₊₁

Beside `gaecli.kernels.base`, where x and a are made tile by tile out of arrays on the host, because here making them
is most of the work: what a device computes with is read from its memory once.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeAlias

#: A `torch.Tensor`.
Tensor: TypeAlias = Any


class TensorSteps(NamedTuple):
    """Contiguous tensors of one device, each of `shape` [outer, steps, inner], of which outer or inner is 1.

    Time is the axis in the middle. Nothing passes from one lane to another, nor over a cut, NaN included.
    """

    shape: tuple[int, int, int]
    #: rₜ; of any real dtype, as all numbers here are.
    rewards: Tensor
    #: vₜ; None: 0, so that x is the rewards.
    values: Tensor | None
    #: γₜ and λₜ: a number, a tensor of one, or one per step.
    gamma: Any
    lam: Any
    #: [outer · inner] v behind the last step of each lane. None: 0.
    end_values: Tensor | None = None
    #: vₜ₊₁ where it is not NaN; else that of the next step, or 0 behind a cut.
    next_values: Tensor | None = None
    #: bool or numbers, set if not 0: a cut behind which v is 0 whatever is given.
    terminated: Tensor | None = None
    #: The same, a cut only.
    truncated: Tensor | None = None
    #: The same: where it is 0, y passes as it comes, though not over the end of a lane or a truncation, and 0 is
    #: written.
    is_step: Tensor | None = None


class ScanTensors(Protocol):
    """A kernel for tensors. It reads no number back from the device, and no shape depends on one."""

    def __call__(self, steps: TensorSteps, computed: Any, written: Any) -> tuple[Tensor, Tensor | None]:
        """y, and y + v where there are values, of the shape of the rewards.

        A step whose x or a is not finite makes NaN of itself and of those before it up to the next cut, and of
        no others.

        Args:
            steps: what to compute on.
            computed: the `torch.dtype` of the arithmetic.
            written: that of the results.
        """
