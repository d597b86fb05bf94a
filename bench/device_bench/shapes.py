"""A billion steps of several shapes, against a copy on the device that moves as many bytes."""

from __future__ import annotations

from typing import Any

import torch

import gaecli
from device_bench.harness import Bench

#: Reward, value and flag are read, advantage and return written.
BYTES_PER_STEP = 4 + 4 + 1 + 4 + 4
#: Of what is measured is kept free: the buffers of one call and of its rivals.
SHARE_OF_MEMORY = 0.6


def measure_shapes(bench: Bench) -> None:
    num_steps = _steps_that_fit(bench)
    copying = bench.findings.figure(
        f"copy, {BYTES_PER_STEP} bytes a step read or written", _seconds_of_copy(bench, num_steps), num_steps
    )
    rewards, values = (torch.randn(num_steps, device=bench.device) for _ in range(2))
    taken: dict[str, float] = {}

    def measure(name: str, num_steps: int, **given: Any) -> None:
        if not bench.has_time(name):
            return
        for precision in ("double", "single"):
            seconds = bench.seconds(lambda: gaecli.gae(**given, precision=precision))  # noqa: B023 - called at once
            of_copy = seconds / copying * len(rewards) / num_steps
            bench.findings.figure(f"{name}, {precision}", seconds, num_steps, of_copy=of_copy)
            if precision == "double":
                taken[name] = of_copy

    def flags(rate: float) -> torch.Tensor:
        return torch.rand(num_steps, device=bench.device) < rate

    flat = {"rewards": rewards, "values": values}
    measure("ragged, 200 steps on average", num_steps, **flat, terminated=flags(1 / 200))
    measure("one episode", num_steps, **flat, terminated=flags(0.0))
    measure("every row cut", num_steps, **flat, terminated=flags(2.0))
    rows = num_steps // 128
    lanes = {name: one[: rows * 128].view(128, rows) for name, one in flat.items()}
    ends = flags(1 / 200)[: rows * 128].view(128, rows)
    measure("[128, N] in one call", rows * 128, **lanes, terminated=ends, layout="time-major")
    if bench.has_time("blocks"):
        seconds, covered = _seconds_of_blocks(bench, rewards, values, flags(1 / 200))
        taken["blocks"] = seconds / copying * num_steps / covered
        name = f"{list(bench.sizes.block)} blocks, captured, double"
        bench.findings.figure(name, seconds, covered, of_copy=taken["blocks"])
    ragged = taken.get("ragged, 200 steps on average")
    bench.findings.at_most("ragged, of a copy of the same bytes", ragged, 1.6)
    for name in ("one episode", "blocks", "every row cut"):
        found = taken.get(name)
        ratio = None if found is None or ragged is None else found / ragged
        bench.findings.at_most(f"{name}, of ragged", ratio, 1.2)


def _seconds_of_blocks(
    bench: Bench, rewards: torch.Tensor, values: torch.Tensor, ends: torch.Tensor
) -> tuple[float, int]:
    """One call for each block, as buffers and files have them; and how many steps they cover."""
    size = bench.sizes.block[0] * bench.sizes.block[1]
    blocks = [
        tuple(one[start : start + size].view(bench.sizes.block) for one in (rewards, values, ends))
        for start in range(0, len(rewards) - size + 1, size)
    ]

    def all_of_them() -> list[
        Any
    ]:  # kept, as results that lie where the last ones lay would never leave the cache
        return [
            gaecli.gae(reward, value, terminated=end, layout="time-major") for reward, value, end in blocks
        ]

    replay, _kept = bench.captured(all_of_them)
    return bench.seconds(replay), len(blocks) * size


def _seconds_of_copy(bench: Bench, num_steps: int) -> float:
    source = torch.empty(num_steps * BYTES_PER_STEP // 2, dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    return bench.seconds(lambda: target.copy_(source))


def _steps_that_fit(bench: Bench) -> int:
    if not bench.is_cuda:
        return bench.sizes.steps
    free, _ = torch.cuda.mem_get_info(bench.device)
    fit = int(free * SHARE_OF_MEMORY) // (3 * BYTES_PER_STEP)
    if fit < bench.sizes.steps:
        bench.findings.left_out.append(f"{bench.sizes.steps:,} steps do not fit: {fit:,} were taken")
    return min(bench.sizes.steps, fit // 128 * 128)
