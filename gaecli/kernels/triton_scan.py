"""The estimates of tensors by a kernel of Triton, which makes x and a, scans them and writes what comes at once.

Time is taken in tiles of `rows` steps of `lanes` lanes, the last tile first (`gaecli.kernels.triton_kernels`).
Few long lanes would leave most of the device idle, so time is split into chunks of several tiles, each a program's:

    reduce    the map of each chunk; it reads on until there is a cut, as nothing behind one matters
    link      y of the first step of each chunk, from the last chunk to the first: one program for a block of lanes
    scan      all steps of a chunk, from what the chunk behind it begins with

Not one kernel in which each chunk waits for the one behind it (decoupled look-back): in the worst case that moves 17
bytes a step and not 26, but it rests on how programs are scheduled and on the order in which they see memory, neither
of which a test without a GPU can show.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from gaecli.kernels.tensor_steps import Tensor, TensorSteps
from gaecli.kernels.torch_import import torch_module
from gaecli.kernels.triton_kernels import link_chunks, over_chunks

torch: Any = torch_module()


class Tiling(NamedTuple):
    """How programs share the work: a matter of speed, and of rounding."""

    rows: int
    lanes: int
    #: Per chunk.
    tiles: int
    num_chunks: int
    #: Whether something passes from one chunk to another.
    is_linked: bool


#: Numbers in a tile; with four warps eight for each thread.
TILE = 1024
MOST_LANES = 32
#: Programs at which a device is busy, and tiles after which waiting for one another costs more than more launches.
BUSY_PROGRAMS, FEW_TILES = 2048, 8
MOST_TILES = 16
NUM_WARPS = 4
#: Steps of a lane by itself that a thread has: 16 bytes of float32. Two halvings are written out in the kernels.
PIECE = 4


def scan_tensors(steps: TensorSteps, computed: object, written: object) -> tuple[Tensor, Tensor | None]:
    """`ScanTensors`."""
    launch = _launch_for(steps, computed)
    device = steps.rewards.device
    if not torch.compiler.is_compiling() and device.index == torch.cuda.current_device():
        return _scan(steps, computed, written, launch)
    with torch.cuda.device(device):  # kernels go to the current one
        return _scan(steps, computed, written, launch)


class LaunchForm(NamedTuple):
    """All of some steps that decides how a kernel is begun."""

    shape: tuple[int, int, int]
    computed: object
    #: Values, next values, values at the ends, terminated, truncated, mask: whether they are there.
    has: tuple[bool, ...]
    #: As `_kind_of`.
    gammas: int
    lams: int


class Launch(NamedTuple):
    """How a kernel is begun, for steps of one form."""

    tiling: Tiling
    num_blocks: int
    #: What it takes behind pointers and numbers, but for what it is to do.
    constants: tuple[Any, ...]


def _launch_for(steps: TensorSteps, computed: object, tiling: Tiling | None = None) -> Launch:
    has = (
        steps.values is not None,
        steps.next_values is not None,
        steps.end_values is not None,
        steps.terminated is not None,
        steps.truncated is not None,
        steps.is_step is not None,
    )
    form = LaunchForm(steps.shape, computed, has, _kind_of(steps.gamma), _kind_of(steps.lam))
    if torch.compiler.is_compiling():
        return _launch(form, tiling)
    return _known_launch(form, tiling)


def _launch(form: LaunchForm, tiling: Tiling | None) -> Launch:
    outer, num_steps, inner = form.shape
    length = outer * num_steps
    tiling = tiling or tiling_of(length, num_steps, inner)
    constants = (
        length,
        num_steps,
        inner,
        tiling.tiles,
        tiling.num_chunks,
        *form.has,
        form.gammas,
        form.lams,
        outer == 1,
        tiling.rows,
        tiling.lanes,
        PIECE if inner == 1 else 1,
        form.computed == torch.float64,
    )
    return Launch(tiling, _quotient(inner, tiling.lanes), constants)


#: Found again in a fraction of the time: what is left of a call in a training loop is not the device's.
_known_launch = functools.lru_cache(1024)(_launch)


def tiling_of(length: int, lane_length: int, num_lanes: int) -> Tiling:
    """Of lanes side by side, or (then `num_lanes` is 1) of `length` steps, with a lane each `lane_length`."""
    lanes = MOST_LANES
    while lanes // 2 >= num_lanes:
        lanes //= 2
    rows = TILE // lanes
    num_tiles, num_blocks = _quotient(length, rows), _quotient(num_lanes, lanes)
    if num_lanes > 1 and (num_tiles <= FEW_TILES or num_blocks * 8 >= BUSY_PROGRAMS):
        return Tiling(rows, lanes, num_tiles, 1, is_linked=False)
    tiles = max(1, min(MOST_TILES, num_tiles * num_blocks // BUSY_PROGRAMS))
    num_chunks = _quotient(num_tiles, tiles)
    return Tiling(rows, lanes, tiles, num_chunks, num_chunks > 1 and (tiles * rows) % lane_length != 0)


def _quotient(number: int, divisor: int) -> int:
    """Rounded up. Not `triton.cdiv`, which takes a hundred times as long on the host."""
    return -(-number // divisor)


def scan_in_tiles(
    steps: TensorSteps, computed: object, written: object, tiling: Tiling
) -> tuple[Tensor, Tensor | None]:
    """`ScanTensors`, with the tiling given."""
    return _scan(steps, computed, written, _launch_for(steps, computed, tiling))


def _scan(
    steps: TensorSteps, computed: object, written: object, launch: Launch
) -> tuple[Tensor, Tensor | None]:
    rewards, inner, tiling = steps.rewards, steps.shape[2], launch.tiling
    y = torch.empty_like(rewards, dtype=written)
    returns = None if steps.values is None else torch.empty_like(y)
    given = (
        *(
            _pointer(one, rewards)
            for one in (
                rewards,
                steps.values,
                steps.next_values,
                steps.end_values,
                steps.terminated,
                steps.truncated,
                steps.is_step,
                steps.gamma,
                steps.lam,
            )
        ),
        *_halves(steps.gamma),
        *_halves(steps.lam),
        *launch.constants,
    )
    grid = (tiling.num_chunks * launch.num_blocks,)  # one axis: others end at 65,535
    firsts = y
    if tiling.is_linked:
        maps = torch.empty((2, tiling.num_chunks, inner), dtype=computed, device=rewards.device)
        firsts = torch.empty_like(maps[0])
        over_chunks[grid](maps[0], maps[1], firsts, *given, LINKED=False, REDUCE=True, num_warps=NUM_WARPS)
        link_chunks[(launch.num_blocks,)](
            firsts,
            maps[0],
            maps[1],
            tiling.num_chunks,
            inner,
            ROWS=tiling.rows,
            LANES=tiling.lanes,
            DOUBLE=computed == torch.float64,
            num_warps=NUM_WARPS,
        )
    beside = y if returns is None else returns
    over_chunks[grid](y, beside, firsts, *given, LINKED=tiling.is_linked, REDUCE=False, num_warps=NUM_WARPS)
    return y, returns


def _pointer(given: Any, rewards: Tensor) -> Tensor:
    """Of what is not there, that of the rewards, which is not followed."""
    if given is None or isinstance(given, (int, float)):
        return rewards
    return given.view(torch.uint8) if given.dtype == torch.bool else given


def _halves(number: Any) -> tuple[float, float]:
    """A number of 53 bits as two of 24, as which a kernel takes it; what is left over is 2⁻⁴⁹ of it."""
    if not isinstance(number, (int, float)):
        return 0.0, 0.0
    shifted = number * (2.0**29 + 1.0)  # Veltkamp 1968
    high = shifted - (shifted - number)
    return high, number - high


def _kind_of(number: Any) -> int:
    """0: a number; 1: a tensor of one; 2: one per step."""
    return 0 if isinstance(number, (int, float)) else 1 if number.ndim == 0 else 2
