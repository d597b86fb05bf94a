"""The estimates of tensors by the operations that torch has on every device.

A cut is an a of NaN. A product with NaN is NaN, so a map over several steps knows by itself whether there is a cut in
it; and what comes from behind a cut is left out, not multiplied by 0, which would let a NaN through.

The scan is the tree of `gaecli.kernels.scan`, over [outer, steps, inner]; but what is left at its root is done by
doubling, as a loop over the numbers would read them back from the device.
"""

from __future__ import annotations

import math
from typing import Any

from gaecli.kernels.tensor_steps import Tensor, TensorSteps
from gaecli.kernels.torch_import import torch_module

torch: Any = torch_module()

#: Steps per group of the tree.
RADIX = 8
#: So many steps are left to doubling: few calls, which read all rows log₂ times. On a device calls cost more.
ROOT_SIZE = 64


def scan_tensors(steps: TensorSteps, computed: object, written: object) -> tuple[Tensor, Tensor | None]:
    """`ScanTensors`."""
    values = None if steps.values is None else steps.values.reshape(steps.shape).to(computed)
    x, a = _terms(steps, values, computed)
    y = affine_scan(x, a)
    returns = None if values is None else y + values
    if steps.is_step is not None:
        is_step = steps.is_step.reshape(steps.shape) != 0
        y = torch.where(is_step, y, 0.0)
        returns = None if returns is None else torch.where(is_step, returns, 0.0)
    cells = steps.rewards.shape
    return y.to(written).view(cells), None if returns is None else returns.to(written).view(cells)


def affine_scan(x: Tensor, a: Tensor) -> Tensor:
    """yₜ = xₜ + aₜ yₜ₊₁ along the axis in the middle, with y = 0 behind the last one; an a of NaN is a cut."""
    outer, num_steps, inner = x.shape
    if num_steps <= ROOT_SIZE:
        return _doubled(x, a)
    num_groups = -(-num_steps // RADIX)
    padding = (0, 0, 0, num_groups * RADIX - num_steps)
    groups = (outer, num_groups, RADIX, inner)
    columns = []
    for rows, identity in ((x, 0.0), (a, 1.0)):
        column = torch.nn.functional.pad(rows, padding, value=identity).view(groups).transpose(1, 2)
        # Lanes side by side are contiguous as they are; one lane is laid out in columns, as its strides cost more.
        columns.append((column.contiguous() if inner == 1 else column).unbind(1))
    xs, decays = columns
    group_x, group_a = xs[-1], decays[-1]
    for k in range(RADIX - 2, -1, -1):
        group_x, group_a = _joined(xs[k], decays[k], group_x), decays[k] * group_a
    firsts = affine_scan(group_x, group_a)
    following = torch.cat([firsts[:, 1:], torch.zeros_like(firsts[:, :1])], 1)
    ys = [firsts]
    for k in range(RADIX - 1, 0, -1):
        following = _joined(xs[k], decays[k], following)
        ys.insert(1, following)
    return torch.stack(ys, 2).view(outer, num_groups * RADIX, inner)[:, :num_steps]


def _doubled(x: Tensor, a: Tensor) -> Tensor:
    num_steps, ahead = x.shape[1], 1
    while ahead < num_steps:
        now, later = slice(None, num_steps - ahead), slice(ahead, None)
        rest = slice(num_steps - ahead, None)  # done: nothing comes from behind them
        x = torch.cat([_joined(x[:, now], a[:, now], x[:, later]), x[:, rest]], 1)
        a = torch.cat([a[:, now] * a[:, later], a[:, rest]], 1)
        ahead *= 2
    return x


def _joined(x: Tensor, a: Tensor, following: Tensor) -> Tensor:
    return torch.where(torch.isnan(a), x, torch.addcmul(x, a, following))


def _terms(steps: TensorSteps, values: Tensor | None, computed: object) -> tuple[Tensor, Tensor]:
    """x, with what is not finite as NaN, and a, with cuts as NaN; of `steps.shape`."""
    x = steps.rewards.reshape(steps.shape).to(computed)
    gamma, lam = (_of_steps(number, steps, computed) for number in (steps.gamma, steps.lam))
    a = gamma * lam * torch.ones_like(x)
    cuts = _set(steps.truncated, steps)
    terminated = _set(steps.terminated, steps)
    if terminated is not None:
        cuts = terminated if cuts is None else cuts | terminated
    if values is not None:
        x = gamma * _following(steps, values, cuts, terminated) + x - values
    x = torch.where(torch.isfinite(x) & torch.isfinite(a), x, math.nan)
    if steps.is_step is not None:
        is_filler = steps.is_step.reshape(steps.shape) == 0
        x, a = torch.where(is_filler, 0.0, x), torch.where(is_filler, 1.0, a)
    if cuts is not None:
        a = torch.where(cuts, math.nan, a)
    last = torch.full_like(a[:, -1:], math.nan)
    return x, torch.cat([a[:, :-1], last], 1)


def _following(steps: TensorSteps, values: Tensor, cuts: Tensor | None, terminated: Tensor | None) -> Tensor:
    """vₜ₊₁."""
    inside = values[:, 1:]
    if cuts is not None:
        inside = torch.where(cuts[:, :-1], 0.0, inside)
    outer, _, inner = steps.shape
    if steps.end_values is None:
        ends = torch.zeros_like(values[:, -1:])
    else:
        ends = steps.end_values.reshape(outer, 1, inner).to(values.dtype)
    following = torch.cat([inside, ends], 1)
    if steps.next_values is not None:
        given = steps.next_values.reshape(steps.shape).to(values.dtype)
        following = torch.where(torch.isnan(given), following, given)
    return following if terminated is None else torch.where(terminated, 0.0, following)


def _of_steps(number: object, steps: TensorSteps, computed: object) -> Tensor | float:
    if not isinstance(number, torch.Tensor):
        return float(number)  # type: ignore[arg-type]
    return (number if number.ndim == 0 else number.reshape(steps.shape)).to(computed)


def _set(flags: Tensor | None, steps: TensorSteps) -> Tensor | None:
    if flags is None:
        return None
    flags = flags.reshape(steps.shape)
    return flags if flags.dtype == torch.bool else flags != 0
