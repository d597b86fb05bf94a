"""Other libraries on layouts of their own."""

from __future__ import annotations

import torch

import gaecli
from device_bench.cases import GAMMA, LAM
from device_bench.harness import Bench


def measure_rivals(bench: Bench) -> None:
    steps, lanes = (128, 8192) if bench.is_cuda else bench.sizes.loop
    rng = torch.Generator(device=bench.device).manual_seed(0)
    rewards, values = (torch.randn(lanes, steps, 1, device=bench.device, generator=rng) for _ in range(2))
    done = torch.rand(lanes, steps, 1, device=bench.device, generator=rng) < 1 / 200
    bench.findings.at_least("times as fast as TorchRL", _torchrl(bench, rewards, values, done), 50.0)
    last = torch.randn(lanes, 1, device=bench.device, generator=rng)
    found = _rl_games(bench, rewards, values, done, last)
    bench.findings.at_least("times as fast as the kernel of rl_games", found, 1.5)


def _torchrl(bench: Bench, rewards: torch.Tensor, values: torch.Tensor, done: torch.Tensor) -> float | None:
    """[B, T, 1]"""
    lanes, steps, _ = rewards.shape
    ours = bench.seconds(
        lambda: gaecli.gae(rewards[..., 0], values[..., 0], terminated=done[..., 0], layout="batch-major")
    )
    bench.findings.figure(f"[{lanes}, {steps}], gaecli", ours, lanes * steps)
    try:
        from torchrl.objectives.value.functional import vec_generalized_advantage_estimate
    except ImportError as error:
        bench.findings.left_out.append(f"TorchRL: {error}")
        return None
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], 1)
    theirs = bench.seconds(
        lambda: vec_generalized_advantage_estimate(GAMMA, LAM, values, following, rewards, done, done)
    )
    bench.findings.figure(f"[{lanes}, {steps}], TorchRL, vectorised", theirs, lanes * steps)
    return theirs / ours


def _rl_games(
    bench: Bench, rewards: torch.Tensor, values: torch.Tensor, done: torch.Tensor, last: torch.Tensor
) -> float | None:
    """[T, N, 1], with flags of the states in which steps begin."""
    lanes, steps, _ = rewards.shape
    rewards, values = (one.transpose(0, 1).contiguous() for one in (rewards, values))
    arrived = done[..., 0].T.contiguous()
    ended = torch.cat([arrived[1:], torch.zeros_like(arrived[:1])])
    ours = bench.seconds(
        lambda: gaecli.gae(
            rewards[..., 0],
            values[..., 0],
            terminated=ended,
            bootstrap=last[:, 0],
            layout="time-major",
            gamma=GAMMA,
            lam=LAM,
        )
    )
    bench.findings.figure(f"[{steps}, {lanes}], gaecli", ours, lanes * steps)
    try:
        from rl_games.triton_kernels.gae_kernel import _triton_gae
    except ImportError as error:
        bench.findings.left_out.append(f"rl_games: {error}")
        return None
    flags, last_flags = arrived.float(), torch.zeros(lanes, device=bench.device)
    theirs = bench.seconds(lambda: _triton_gae(rewards, values, flags, last, last_flags, GAMMA, LAM))
    bench.findings.figure(f"[{steps}, {lanes}], rl_games", theirs, lanes * steps)
    return theirs / ours
