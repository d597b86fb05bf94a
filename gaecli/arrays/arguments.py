"""What `gaecli.gae` was given, and what its shapes alone tell to be wrong."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaecli.errors import DataError, UsageError


class Arguments(NamedTuple):
    """The arrays as given; None where there is none. Meanings as in `gaecli.gae`."""

    rewards: Any
    values: Any
    terminated: Any
    truncated: Any
    next_values: Any
    bootstrap: Any
    offsets: Any
    mask: Any
    layout: str | None
    gamma: Any
    lam: Any


def is_tensor(array: Any) -> bool:
    """Without importing torch: who has a tensor has done that."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def are_seen_by_numpy(given: Arguments) -> bool:
    """Whether all tensors of it are plain numbers in host memory, on which NumPy computes faster than torch.

    Not where torch has to see what becomes of them: compiled, traced, under a mode that is told of every operation,
    or under a transform such as `vmap`.
    """
    torch = sys.modules["torch"]
    if given.rewards.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    if torch._C._len_torch_dispatch_stack() or torch._C._get_tracing_state() is not None:
        return False
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return False
    tensors: list[Any] = [one for one in given if is_tensor(one)]
    return all(
        type(one) in (torch.Tensor, torch.nn.Parameter)
        and one.device.type == "cpu"
        and one.layout is torch.strided
        and not one.is_quantized
        for one in tensors
    )


def check_word(name: str, given: object, words: tuple[str, ...]) -> None:
    """`given`, which may be anything, is one of two words."""
    if not isinstance(given, str) or given not in words:
        raise UsageError(f"`{name}` is {given!r}; it must be {' or '.join(map(repr, words))}")


def check_layout(shape: tuple[int, ...], layout: str | None, *, has_offsets: bool) -> None:
    num_dims = len(shape)
    if layout is not None:
        check_word("layout", layout, ("time-major", "batch-major"))
    if num_dims == 2 and layout is None:
        raise UsageError(
            f"`rewards` has shape {shape}, and which axis is time is not said",
            hint="pass layout='time-major' for [T, N], or layout='batch-major' for [B, T]",
        )
    if num_dims not in (1, 2) or (num_dims == 1 and layout is not None):
        wanted = "two dimensions" if layout else "one dimension, or two with `layout`"
        raise UsageError(f"`rewards` has shape {shape}; it must have {wanted}")
    if num_dims == 2 and has_offsets:
        raise UsageError("`offsets` goes with flat arrays; with `layout`, every lane is one segment")


def check_shape(name: str, shape: tuple[int, ...], rewards: tuple[int, ...]) -> None:
    if shape == rewards:
        return
    hint = None
    if name == "values" and len(shape) == len(rewards):
        more = sorted(there - here for there, here in zip(shape, rewards, strict=True))
        if more == [*[0] * (len(more) - 1), 1]:
            hint = "leave V behind the last step out of `values`, and pass it as `bootstrap`"
    raise DataError(f"`{name}` has shape {shape}, but `rewards` has {rewards}", hint=hint)


def check_bootstrap_shape(shape: tuple[int, ...], num_segments: int) -> None:
    if shape not in ((), (num_segments,)):
        raise DataError(
            f"`bootstrap` has shape {shape}; it must be one number, or one per segment: {(num_segments,)}"
        )


def check_offsets_kind(shape: tuple[int, ...], dtype: Any, *, is_whole: bool) -> None:
    if len(shape) != 1 or not is_whole or not shape[0]:
        raise DataError(f"`offsets` must be whole numbers, [S + 1]; found {dtype} {shape}")


def host_numbers(name: str, array: Any) -> NDArray[Any]:
    """The argument as a NumPy array of real numbers or flags; no copy where none is needed."""
    if is_tensor(array):
        torch = sys.modules["torch"]
        if array.dtype.is_complex:
            raise DataError(f"`{name}` has dtype {array.dtype}; it must hold numbers")
        is_known = not array.is_floating_point() or array.dtype in (
            torch.float16,
            torch.float32,
            torch.float64,
        )
        array = (array if is_known else array.float()).numpy(force=True)
    if num_masked := num_masked_cells(array):
        raise DataError(
            f"`{name}` is a masked array, and {num_masked} of its cells are masked",
            hint="fill them, as with `.filled(0.0)`, and pass `mask` where they are no steps",
        )
    try:
        array = np.asarray(array)
    except ValueError as error:
        raise DataError(f"`{name}` is not an array: {error}") from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"`{name}` has dtype {array.dtype}; it must hold numbers")
    result: NDArray[Any] = array
    return result


def num_masked_cells(array: Any) -> int:
    """Of a masked array of NumPy, whose numbers there are anything."""
    masked_arrays = sys.modules.get("numpy.ma")  # which nobody has to load who makes none
    if masked_arrays is None or not isinstance(array, masked_arrays.MaskedArray):
        return 0
    return int(np.count_nonzero(masked_arrays.getmaskarray(array)))
