"""Estimates of torch tensors, on the device on which they lie, from first to last.

Nothing here reads a number: no `.item()`, no `.cpu()`, no `if` over a tensor, no shape that depends on one. Each of
these would make the host wait for the device, and break a CUDA graph and `torch.compile`.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from gaecli.arrays.arguments import (
    Arguments,
    check_bootstrap_shape,
    check_layout,
    check_offsets_kind,
    check_shape,
    host_numbers,
    is_tensor,
)
from gaecli.choices import Precision
from gaecli.errors import DataError
from gaecli.kernels.devices import choose_device
from gaecli.kernels.tensor_registry import TensorKernel, tensor_kernel_for
from gaecli.kernels.tensor_steps import ScanTensors, Tensor, TensorSteps
from gaecli.kernels.torch_import import torch_module

torch: Any = torch_module()


class Plan(NamedTuple):
    """What kinds, shapes and places of the arguments decide, whatever the numbers."""

    shape: tuple[int, int, int]
    scan: ScanTensors
    computed: Any
    written: Any


#: Of earlier calls whose tensors kernels took as they were: to find it out takes longer than a device takes for the
#: steps of a training loop. So many that those with ever new shapes are forgotten.
_PLANS: dict[Hashable, Plan] = {}
MOST_PLANS = 512


def gae(
    given: Arguments, device: str, precision: Precision, kernel: TensorKernel | None = None
) -> tuple[Tensor, Tensor]:
    """Advantages and returns; as `gaecli.gae`, for rewards that are a tensor."""
    if torch.compiler.is_compiling():  # which finds out once by itself
        return _looked_at(given, device, precision, kernel, looks=None)
    looks = (device, precision, kernel, *map(_look, given))
    plan = _PLANS.get(looks)
    if plan is None:
        return _looked_at(given, device, precision, kernel, looks)
    advantages, returns = plan.scan(_as_given(plan.shape, given), plan.computed, plan.written)
    assert returns is not None
    return advantages, returns


def _look(one: Any) -> Any:
    """All of an argument that a plan rests on."""
    if isinstance(one, torch.Tensor):
        is_dense = one.layout is torch.strided and one.is_contiguous()
        return one.shape, one.dtype, one.device, is_dense, one.requires_grad
    return one if isinstance(one, str) else type(one)


def _as_given(shape: tuple[int, int, int], given: Arguments) -> TensorSteps:
    return TensorSteps(
        shape,
        given.rewards,
        given.values,
        given.gamma,
        given.lam,
        given.bootstrap,
        given.next_values,
        given.terminated,
        given.truncated,
    )


def _looked_at(
    given: Arguments, device: str, precision: Precision, kernel: TensorKernel | None, looks: Hashable
) -> tuple[Tensor, Tensor]:
    """The same, with all that shapes tell to be wrong. `looks`: by what a plan is found from now on."""
    rewards = given.rewards
    target = rewards.device
    if device != "auto" and device != target.type and device != str(target):
        target = torch.device(choose_device(device, 0).name)
    check_layout(tuple(rewards.shape), given.layout, has_offsets=given.offsets is not None)
    values = given.values if is_tensor(given.values) else _of_the_host("values", given.values)
    written = _result_dtype(rewards.dtype, values.dtype, target)
    if not rewards.numel():
        empty = rewards.new_empty(rewards.shape, dtype=written)
        return empty, torch.empty_like(empty)
    is_single = precision == "single" or target.type == "mps"
    computed = torch.float32 if is_single else torch.float64
    kernel = kernel or tensor_kernel_for(target)
    steps = _TensorArguments(given._replace(values=values), target, kernel, computed).steps()
    scan = kernel.find()
    if looks is not None and _are_alike(steps, _as_given(steps.shape, given)):
        if len(_PLANS) >= MOST_PLANS:
            _PLANS.clear()
        _PLANS[looks] = Plan(steps.shape, scan, computed, written)
    advantages, returns = scan(steps, computed, written)
    assert returns is not None
    if target != rewards.device:
        advantages, returns = advantages.to(rewards.device), returns.to(rewards.device)
    return advantages, returns


def _are_alike(steps: TensorSteps, others: TensorSteps) -> bool:
    """Whether they are the same tensors, and numbers where there are numbers."""
    return all(
        one is other or (isinstance(one, float) and isinstance(other, (int, float)))
        for one, other in zip(steps, others, strict=True)
    )


class _TensorArguments:
    """The arguments as the kernels take them: what belongs to segments becomes a cut or a next value of its step."""

    def __init__(self, given: Arguments, device: Any, kernel: TensorKernel, computed: Any) -> None:
        self._given, self._device, self._kernel, self._computed = given, device, kernel, computed
        self._is_rectangular = given.layout is not None
        self._cells = tuple(given.rewards.shape)
        if given.layout == "time-major":
            self.shape = (1, *self._cells)
        elif given.layout == "batch-major":
            self.shape = (*self._cells, 1)
        else:
            self.shape = (1, *self._cells, 1)

    def steps(self) -> TensorSteps:
        given = self._given
        rewards = self._of_cells("rewards", given.rewards)
        values = self._of_cells("values", given.values)
        next_values = self._of_cells("next_values", given.next_values)
        terminated, truncated = (
            self._of_cells("terminated", given.terminated),
            self._of_cells("truncated", given.truncated),
        )
        is_step = self._of_cells("mask", given.mask)
        if is_step is not None:  # a flag on what is no step is none
            terminated, truncated = (
                None if flags is None else (flags != 0) & (is_step != 0) for flags in (terminated, truncated)
            )
        end_values = None
        ends: Tensor | None = None  # [cells] bool, of segments within the one lane
        if given.offsets is not None:
            ends, at_ends = self._segment_ends(given.offsets, given.bootstrap)
        else:
            at_ends = None
            end_values = self._bootstrap(given.bootstrap, self.shape[0] * self.shape[2])
        if is_step is not None:
            following = self._following_steps(values, is_step, truncated, ends, at_ends, end_values)
            next_values = following if next_values is None else _first_given(next_values, following)
        elif at_ends is not None:
            next_values = at_ends if next_values is None else _first_given(next_values, at_ends)
        if ends is not None:
            truncated = ends if truncated is None else (truncated != 0) | ends
        return TensorSteps(
            shape=self.shape,
            rewards=rewards,
            values=values,
            gamma=self._decay("gamma", given.gamma),
            lam=self._decay("lam", given.lam),
            end_values=end_values,
            next_values=next_values,
            terminated=terminated,
            truncated=truncated,
            is_step=is_step,
        )

    def _here(self, name: str, array: Any) -> Tensor:
        """The argument as a tensor of numbers on the device; from the host it is sent there."""
        if isinstance(array, (int, float)):
            # Filled in there: a number that is sent from the host could not be captured in a CUDA graph.
            return torch.full((), array, dtype=self._computed, device=self._device)
        if not is_tensor(array):
            array = _of_the_host(name, array)
        if array.layout is not torch.strided:
            raise DataError(f"`{name}` is {array.layout}; it must be a dense tensor")
        if array.requires_grad:
            array = array.detach()
        if array.dtype.is_complex or array.is_quantized:
            raise DataError(f"`{name}` has dtype {array.dtype}; it must hold numbers")
        if array.device != self._device:
            if array.device.type not in ("cpu", self._given.rewards.device.type):
                raise DataError(
                    f"`{name}` lies on {array.device}, but `rewards` on {self._given.rewards.device}"
                )
            if array.dtype.is_floating_point and array.dtype.itemsize > self._computed.itemsize:
                array = array.to(self._computed)  # a device may have nothing wider
            array = array.to(self._device, non_blocking=True)
        return array

    def _of_cells(self, name: str, array: Any) -> Tensor | None:
        if array is None:
            return None
        here = self._here(name, array)
        check_shape(name, tuple(here.shape), self._cells)
        return here.contiguous()

    def _decay(self, name: str, given: Any) -> Any:
        if isinstance(given, (int, float)):
            return float(given)
        here = self._here(name, given)
        return here if here.ndim == 0 else self._of_cells(name, here)

    def _bootstrap(self, bootstrap: Any, num_segments: int) -> Tensor | None:
        """[segments]"""
        if bootstrap is None:
            return None
        here = self._here("bootstrap", bootstrap)
        check_bootstrap_shape(tuple(here.shape), num_segments)
        return here.contiguous() if here.ndim else here.expand(num_segments).contiguous()

    def _segment_ends(self, offsets: Any, bootstrap: Any) -> tuple[Tensor, Tensor | None]:
        """[cells] Whether a segment ends behind a step; and its bootstrap there, NaN elsewhere.

        An empty segment has no last step: what is told of it goes to a cell behind all others, which is cut off.
        """
        here = self._here("offsets", offsets)
        check_offsets_kind(tuple(here.shape), here.dtype, is_whole=_is_whole(here.dtype))
        here = here.to(torch.int64)
        num_cells = self._cells[0]
        last = (here[1:] - 1).clamp(0, num_cells - 1)
        last = torch.where(here[1:] > here[:-1], last, num_cells)
        ends = torch.zeros(num_cells + 1, dtype=torch.bool, device=self._device)
        ends = ends.scatter(0, last, True)[:num_cells]
        found = self._bootstrap(bootstrap, here.shape[0] - 1)
        if found is None:
            return ends, None
        dtype = found.dtype if found.dtype.is_floating_point else self._computed
        at_ends = torch.full((num_cells + 1,), torch.nan, dtype=dtype, device=self._device)
        return ends, at_ends.scatter(0, last, _never_missing(found.to(at_ends.dtype)))[:num_cells]

    def _following_steps(
        self,
        values: Tensor,
        is_step: Tensor,
        truncated: Tensor | None,
        ends: Tensor | None,
        at_ends: Tensor | None,
        end_values: Tensor | None,
    ) -> Tensor:
        """vₜ₊₁ of the next cell that is a step, of the segment's end where there is none; 0 behind a truncation."""
        outer, num_steps, inner = self.shape
        is_step = (is_step != 0).reshape(self.shape)
        nothing = torch.zeros((outer, num_steps, inner), dtype=self._computed, device=self._device)
        at_last = torch.zeros_like(nothing[:, -1:])
        if end_values is not None:
            at_last = at_last + end_values.reshape(outer, 1, inner)
        behind = torch.cat([nothing[:, :-1], at_last], 1)  # v at the end of segments
        is_last = torch.zeros_like(is_step)
        if ends is not None:
            is_last = ends.reshape(self.shape)
        if at_ends is not None:
            behind = torch.where(is_last, at_ends.reshape(self.shape).to(self._computed), behind)
        is_last = torch.cat([is_last[:, :-1], torch.ones_like(is_last[:, -1:])], 1)
        found = torch.where(is_step, values.reshape(self.shape).to(self._computed), behind)
        following = self._next_found(found, is_step, is_last, behind)
        if truncated is not None:
            # What is behind the last step of a segment follows on a truncation; what is another trajectory does not.
            more = self._next_found(is_step.to(self._computed), is_step, is_last, nothing)
            following = torch.where(truncated.reshape(self.shape) & (more != 0), 0.0, following)
        return _never_missing(following).reshape(self._cells)

    def _next_found(self, found: Tensor, is_step: Tensor, is_last: Tensor, behind: Tensor) -> Tensor:
        """Behind each cell the first `found` of a step, or of the end of the segment."""
        passes = torch.where(is_step, 0.0, 1.0).to(self._computed)
        steps = TensorSteps(self.shape, found, None, 1.0, passes, truncated=is_step | is_last)
        carried, _ = self._kernel.find()(steps, self._computed, self._computed)
        carried = carried.reshape(self.shape)
        shifted = torch.cat([carried[:, 1:], behind[:, -1:]], 1)
        return torch.where(is_last, behind, shifted)


def _of_the_host(name: str, array: Any) -> Tensor:
    if torch.compiler.is_compiling():  # which follows this, but no look at what kind of array it is
        return torch.as_tensor(np.asarray(array))
    return torch.tensor(host_numbers(name, array))


def _first_given(first: Tensor, second: Tensor) -> Tensor:
    return torch.where(torch.isnan(first), second, first)


def _never_missing(numbers: Tensor) -> Tensor:
    """NaN, which would mean that nothing is given, as infinity, which makes NaN of what uses it."""
    return torch.where(torch.isnan(numbers), torch.inf, numbers)


def _result_dtype(rewards: Any, values: Any, device: Any) -> Any:
    floats = [dtype for dtype in (rewards, values) if dtype.is_floating_point]
    is_double = not floats or any(dtype.itemsize > 4 for dtype in floats)
    return torch.float64 if is_double and device.type != "mps" else torch.float32


def _is_whole(dtype: Any) -> bool:
    return not dtype.is_floating_point and not dtype.is_complex and dtype != torch.bool
