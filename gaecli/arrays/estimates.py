"""`gaecli.gae`: generalized advantage estimates for arrays in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypedDict, TypeVar, Unpack, overload

import numpy as np
import numpy.typing as npt

from gaecli.arrays.arguments import Arguments, are_seen_by_numpy, check_word, is_tensor
from gaecli.errors import UsageError

# As tuples: `torch.compile` does not follow `int | float`.
_NUMBERS = (int, float, np.number)
_PER_STEP = (np.ndarray, list, tuple)


class TensorLike(Protocol):
    """What `torch.Tensor` is told by, without torch."""

    def detach(self) -> TensorLike: ...


A = TypeVar("A")
Tensor = TypeVar("Tensor", bound=TensorLike)
Floats = npt.NDArray[np.floating[Any]]
#: An array of NumPy, a tensor, or lists of numbers.
Numbers = npt.NDArray[Any] | TensorLike | Sequence[Any]
#: The same, or one number for all.
NumberOrNumbers = float | np.number[Any] | Numbers


class GaeResult(NamedTuple, Generic[A]):
    """Advantages Aₜ and returns Aₜ + V(sₜ), of the shape and kind of the rewards."""

    advantages: A
    returns: A


class GaeKeywords(TypedDict, total=False):
    """Of `gae`, which describes them."""

    terminated: Numbers | None
    truncated: Numbers | None
    next_values: Numbers | None
    bootstrap: NumberOrNumbers | None
    offsets: Numbers | None
    mask: Numbers | None
    layout: Literal["time-major", "batch-major"] | None
    gamma: NumberOrNumbers
    lam: NumberOrNumbers
    device: str
    precision: Literal["double", "single"]
    validate: bool | None


@overload
def gae(rewards: Tensor, values: Numbers, **given: Unpack[GaeKeywords]) -> GaeResult[Tensor]: ...


@overload
def gae(
    rewards: npt.NDArray[Any] | Sequence[Any], values: Numbers, **given: Unpack[GaeKeywords]
) -> GaeResult[Floats]: ...


def gae(
    rewards: Any,
    values: Any,
    *,
    terminated: Any = None,
    truncated: Any = None,
    next_values: Any = None,
    bootstrap: Any = None,
    offsets: Any = None,
    mask: Any = None,
    layout: Literal["time-major", "batch-major"] | None = None,
    gamma: Any = 0.99,
    lam: Any = 0.95,
    device: object = "auto",
    precision: Literal["double", "single"] = "double",
    validate: bool | None = None,
) -> GaeResult[Any]:
    """Generalized advantage estimates for flat, segmented, or rectangular rollouts.

        δₜ = rₜ + γₜ (1 - dₜ) V(sₜ₊₁) - V(sₜ)
        Aₜ = δₜ + γₜ λₜ mₜ Aₜ₊₁        mₜ = 0 at the last step of a trajectory, else 1
        Rₜ = Aₜ + V(sₜ)

    Schulman et al. 2016, eq. 16, https://arxiv.org/abs/1506.02438. There rₜ is the reward
    *after* acting in sₜ, as here; Sutton & Barto call it rₜ₊₁.

    A trajectory ends where `terminated` or `truncated` is set and at the end of its segment (of its
    row or column, if rectangular). V(sₜ₊₁) is, in this order: 0 where terminated; `next_values[t]`
    if given and not NaN; inside a trajectory the value of its next step; at the end of a segment
    its `bootstrap`; else 0. Cells that this does not use may hold anything, NaN included.

    Tensors stay on their device: nothing is copied to the host, nothing waits for the device, and no
    shape depends on numbers, so a call can be captured in a CUDA graph and compiled by `torch.compile`.
    Numbers are therefore not checked there unless `validate=True` asks for it. Tensors of the host share
    their memory with NumPy, which computes on them, unless torch has to see it done.

    Args:
        rewards: [N] rₜ; or [T, N] with layout "time-major", or [B, T] with "batch-major".
        values: V(sₜ), of the shape of rewards.
        terminated: dₜ, 0 or 1, of the shape of rewards. 1 when sₜ₊₁ is terminal, so its value counts
            as 0. Wins over `truncated`. A time limit is not terminal: that is `truncated`.
        truncated: 0 or 1, of the shape of rewards: the trajectory ends here, and sₜ₊₁ has a value.
        next_values: V(sₜ₊₁), of the shape of rewards; NaN means not given.
        bootstrap: V after the last step of each segment: [S], [N] if time-major, [B] if batch-major,
            or one number for all. None is 0.
        offsets: [S + 1] int. Segment k is rows offsets[k] up to offsets[k + 1]. None: one segment.
        mask: 1 at the steps, 0 at cells that are none (padding, tokens of the prompt), of the shape of
            rewards. Those are passed over as if they were not there, and get 0. None: all are steps.
        layout: required for, and only for, arrays of two dimensions.
        gamma: discount γ, in [0, 1]: one number, or one per step.
        lam: λ, in [0, 1]: one number, or one per step.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps", or a `torch.device`. "auto" is where a tensor
            lies, and NumPy for arrays in host memory, unless they are large and there is a GPU.
        precision: "double" computes in float64, "single" in float32, as "mps" always does.
        validate: look at the numbers, and refuse those that cannot be meant. None does so for all
            but tensors. For tensors it copies them to the host: a help in finding errors. A number that is
            not finite and not looked at makes NaN of its step and of those before it in its trajectory.

    Returns:
        `advantages` and `returns`, of the shape of rewards: torch tensors on the device of rewards if
        that is a tensor, else NumPy arrays. float32 if no input number is of float64 or all are
        integers, else float64. Inputs are not modified; gradients do not flow.

    Raises:
        DataError: if shapes differ or something does not hold numbers; and, with the numbers looked at, if a flag
            is not 0 or 1, offsets are not ascending from 0 to N, γ or λ is outside [0, 1], or a number that is
            used is not finite: then it names the first row.
        UsageError: if gamma, lam, layout, device or precision is none of the above.
        DeviceError: if the device is not there.

    Example:
        >>> advantages, returns = gae([1.0, 1.0], [0.5, 0.5], terminated=[0, 1], gamma=0.5, lam=1.0)
        >>> advantages.tolist(), returns.tolist()
        ([1.0, 0.5], [1.5, 1.0])
    """
    check_word("precision", precision, ("double", "single"))
    if not isinstance(device, str):  # a `torch.device` says it as well
        device = str(device)
    given = Arguments(
        rewards,
        values,
        terminated,
        truncated,
        next_values,
        bootstrap,
        offsets,
        mask,
        layout,
        _decay("gamma", gamma),
        _decay("lam", lam),
    )
    if not is_tensor(rewards):
        from gaecli.arrays import host

        return GaeResult(*host.gae(given, device, precision, validate=validate is not False))
    if device in ("auto", "cpu") and are_seen_by_numpy(given):
        from gaecli.arrays import host

        return GaeResult(*host.gae_of_tensors(given, precision, validate=bool(validate)))
    from gaecli.arrays import tensors  # which needs torch

    if validate:
        from gaecli.arrays.host import HostRollout

        HostRollout(given)
    return GaeResult(*tensors.gae(given, device, precision))


def _decay(name: str, given: Any) -> Any:
    """A number in [0, 1], or what holds one per step."""
    if is_tensor(given) or isinstance(given, _PER_STEP):
        return given
    if isinstance(given, bool) or not isinstance(given, _NUMBERS):
        raise UsageError(f"`{name}` is {given!r}; it must be a number, or one per step")
    if not 0.0 <= given <= 1.0:
        raise UsageError(f"`{name}` is {given}; it must lie in [0, 1]")
    return float(given)
