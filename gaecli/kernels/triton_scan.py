"""The estimates of tensors by a kernel of Triton, which makes x and a, scans them and writes what comes at once.

Time is taken in tiles of `rows` steps of `lanes` lanes, the last tile first. Within one an associative scan over the
maps y ↦ x + a y goes over addresses that descend: `reverse=True` has been wrong in several releases
(https://github.com/triton-lang/triton/issues/4362). Of a lane by itself a thread takes `PIECE` steps, which lie side
by side in memory, and the scan goes over these. As in `gaecli.kernels.tensor_scan` a cut is an a of NaN.

Few long lanes would leave most of the device idle, so time is split into chunks of several tiles, each a program's:

    reduce    the map of each chunk; it reads on until there is a cut, as nothing behind one matters
    link      y of the first step of each chunk, from the last chunk to the first: one program for a block of lanes
    scan      all steps of a chunk, from what the chunk behind it begins with

Not one kernel in which each chunk waits for the one behind it (decoupled look-back): in the worst case that moves 17
bytes a step and not 26, but it rests on how programs are scheduled and on the order in which they see memory, neither
of which a test without a GPU can show.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from gaecli.kernels.tensor_steps import Tensor, TensorSteps
from gaecli.kernels.torch_import import torch_module

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
#: Steps of a lane by itself that a thread has: 16 bytes of float32. Two halvings are written out below.
PIECE = 4
_NAN: tl.constexpr = tl.constexpr(float("nan"))


def scan_tensors(steps: TensorSteps, computed: object, written: object) -> tuple[Tensor, Tensor | None]:
    """`ScanTensors`."""
    outer, num_steps, inner = steps.shape
    with torch.cuda.device(steps.rewards.device):  # kernels go to the current one
        return scan_in_tiles(steps, computed, written, tiling_of(outer * num_steps, num_steps, inner))


def tiling_of(length: int, lane_length: int, num_lanes: int) -> Tiling:
    """Of lanes side by side, or (then `num_lanes` is 1) of `length` steps, with a lane each `lane_length`."""
    lanes = min(MOST_LANES, triton.next_power_of_2(num_lanes))
    rows = TILE // lanes
    num_tiles, num_blocks = triton.cdiv(length, rows), triton.cdiv(num_lanes, lanes)
    if num_lanes > 1 and (num_tiles <= FEW_TILES or num_blocks * 8 >= BUSY_PROGRAMS):
        return Tiling(rows, lanes, num_tiles, 1, is_linked=False)
    tiles = max(1, min(MOST_TILES, num_tiles * num_blocks // BUSY_PROGRAMS))
    num_chunks = triton.cdiv(num_tiles, tiles)
    return Tiling(rows, lanes, tiles, num_chunks, num_chunks > 1 and (tiles * rows) % lane_length != 0)


def scan_in_tiles(
    steps: TensorSteps, computed: object, written: object, tiling: Tiling
) -> tuple[Tensor, Tensor | None]:
    """`ScanTensors`, with the tiling given."""
    rewards, inner = steps.rewards, steps.shape[2]
    y = torch.empty(steps.shape, dtype=written, device=rewards.device)
    returns = None if steps.values is None else torch.empty_like(y)
    given = _arguments(steps, computed, tiling)
    num_blocks = triton.cdiv(inner, tiling.lanes)
    grid = (tiling.num_chunks * num_blocks,)  # one axis: others end at 65,535
    firsts = y
    if tiling.is_linked:
        maps = torch.empty((2, tiling.num_chunks, inner), dtype=computed, device=rewards.device)
        firsts = torch.empty_like(maps[0])
        _over_chunks[grid](maps[0], maps[1], firsts, **given, LINKED=False, REDUCE=True)
        _link_chunks[(num_blocks,)](
            firsts,
            maps[0],
            maps[1],
            tiling.num_chunks,
            inner,
            ROWS=tiling.rows,
            LANES=tiling.lanes,
            DOUBLE=given["DOUBLE"],
            num_warps=NUM_WARPS,
        )
    written_to = (y, y if returns is None else returns)
    _over_chunks[grid](*written_to, firsts, **given, LINKED=tiling.is_linked, REDUCE=False)
    return y, returns


def _arguments(steps: TensorSteps, computed: object, tiling: Tiling) -> dict[str, Any]:
    """What the kernels take alike. A pointer to what is not there is to the rewards, and is not followed."""
    outer, num_steps, inner = steps.shape

    def pointer(given: Any) -> Tensor:
        if given is None or isinstance(given, (int, float)):
            return steps.rewards
        return given.view(torch.uint8) if given.dtype == torch.bool else given

    gamma_high, gamma_low = _halves(steps.gamma)
    lam_high, lam_low = _halves(steps.lam)
    return {
        "rewards": pointer(steps.rewards),
        "values": pointer(steps.values),
        "next_values": pointer(steps.next_values),
        "end_values": pointer(steps.end_values),
        "terminated": pointer(steps.terminated),
        "truncated": pointer(steps.truncated),
        "is_step": pointer(steps.is_step),
        "gammas": pointer(steps.gamma),
        "lams": pointer(steps.lam),
        "gamma_high": gamma_high,
        "gamma_low": gamma_low,
        "lam_high": lam_high,
        "lam_low": lam_low,
        "length": outer * num_steps,
        "lane_length": num_steps,
        "num_lanes": inner,
        "num_tiles": tiling.tiles,
        "num_chunks": tiling.num_chunks,
        "HAS_VALUES": steps.values is not None,
        "HAS_NEXT": steps.next_values is not None,
        "HAS_ENDS": steps.end_values is not None,
        "HAS_TERMINATED": steps.terminated is not None,
        "HAS_TRUNCATED": steps.truncated is not None,
        "HAS_MASK": steps.is_step is not None,
        "GAMMAS": _kind_of(steps.gamma),
        "LAMS": _kind_of(steps.lam),
        "ONE_LANE": outer == 1,
        "ROWS": tiling.rows,
        "LANES": tiling.lanes,
        "PIECE": PIECE if inner == 1 else 1,
        "DOUBLE": computed == torch.float64,
        "num_warps": NUM_WARPS,
    }


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


@triton.jit
def _joined(later_x, later_a, x, a):
    """The map of what comes later, and then the one here."""
    return tl.where(a != a, x, x + a * later_x), a * later_a


@triton.jit
def _read(pointer, offset, inside, DOUBLE: tl.constexpr):
    number = tl.load(pointer + offset, mask=inside, other=0)
    return number.to(tl.float64 if DOUBLE else tl.float32)


@triton.jit
def _decay(pointer, high, low, offset, inside, KIND: tl.constexpr, DOUBLE: tl.constexpr):
    if KIND == 0:
        return tl.zeros(offset.shape, tl.float64 if DOUBLE else tl.float32) + high + low
    elif KIND == 1:
        return _read(pointer, offset * 0, inside, DOUBLE)
    else:
        return _read(pointer, offset, inside, DOUBLE)


@triton.jit
def _first(numbers, ROWS: tl.constexpr):
    """[LANES] of the first step of a tile, which stands last."""
    is_first = tl.arange(0, ROWS)[:, None] == ROWS - 1
    return tl.sum(tl.where(is_first, numbers, 0.0), 0)


@triton.jit
def _four(numbers, PIECES: tl.constexpr):
    """[pieces, 4] as four of [pieces]; no number leaves its thread."""
    even, odd = tl.split(tl.reshape(numbers, (PIECES, 2, 2)))
    first, third = tl.split(even)
    second, fourth = tl.split(odd)
    return first, second, third, fourth


@triton.jit
def _one(first, second, third, fourth, PIECES: tl.constexpr):
    """The way back."""
    return tl.reshape(tl.join(tl.join(first, third), tl.join(second, fourth)), (PIECES, 4))


@triton.jit
def _map_of_tile(x, a, PIECES: tl.constexpr, PIECE: tl.constexpr):
    """[lanes]: from what comes behind a tile to y of its first step."""
    if PIECE > 1:
        x_0, x_1, x_2, x_3 = _four(x, PIECES)
        a_0, a_1, a_2, a_3 = _four(a, PIECES)
        x, a = _joined(x_3, a_3, x_2, a_2)
        x, a = _joined(x, a, x_1, a_1)
        x, a = _joined(x, a, x_0, a_0)
        x, a = tl.associative_scan((x, a), 0, _joined)
        return _first(x[:, None], PIECES), _first(a[:, None], PIECES)
    else:
        x, a = tl.associative_scan((x, a), 0, _joined)
        return _first(x, PIECES), _first(a, PIECES)


@triton.jit
def _scanned(x, a, behind, PIECES: tl.constexpr, PIECE: tl.constexpr):
    """y of a tile, given that of the step behind it; and, [lanes], that of its first step."""
    if PIECE > 1:
        x_0, x_1, x_2, x_3 = _four(x, PIECES)
        a_0, a_1, a_2, a_3 = _four(a, PIECES)
        x_2, a_2 = _joined(x_3, a_3, x_2, a_2)
        x_1, a_1 = _joined(x_2, a_2, x_1, a_1)
        x_0, a_0 = _joined(x_1, a_1, x_0, a_0)
        x, a = tl.associative_scan((x_0, a_0), 0, _joined)
        y = tl.where(a != a, x, x + a * behind)  # of the first step of each piece
        piece = tl.arange(0, PIECES)
        following = tl.where(piece > 0, tl.gather(y, tl.where(piece > 0, piece - 1, 0), 0), behind)
        y_1 = tl.where(a_1 != a_1, x_1, x_1 + a_1 * following)
        y_2 = tl.where(a_2 != a_2, x_2, x_2 + a_2 * following)
        y_3 = tl.where(a_3 != a_3, x_3, x_3 + a_3 * following)
        return _one(y, y_1, y_2, y_3, PIECES), _first(y[:, None], PIECES)
    else:
        x, a = tl.associative_scan((x, a), 0, _joined)
        y = tl.where(a != a, x, x + a * behind[None, :])
        return y, _first(y, PIECES)


@triton.jit
def _over_chunks(
    out,  # y; or, to reduce, x of the map of each chunk
    out_beside,  # y + v; or a of the map
    firsts,
    rewards,
    values,
    next_values,
    end_values,
    terminated,
    truncated,
    is_step,
    gammas,
    lams,
    gamma_high,
    gamma_low,
    lam_high,
    lam_low,
    length,
    lane_length,
    num_lanes,
    num_tiles,
    num_chunks,
    HAS_VALUES: tl.constexpr,
    HAS_NEXT: tl.constexpr,
    HAS_ENDS: tl.constexpr,
    HAS_TERMINATED: tl.constexpr,
    HAS_TRUNCATED: tl.constexpr,
    HAS_MASK: tl.constexpr,
    GAMMAS: tl.constexpr,
    LAMS: tl.constexpr,
    ONE_LANE: tl.constexpr,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
    PIECE: tl.constexpr,
    DOUBLE: tl.constexpr,
    LINKED: tl.constexpr,
    REDUCE: tl.constexpr,
):
    """To reduce, from the first tile of a chunk to the last; to scan, the other way."""
    num_blocks = tl.cdiv(num_lanes, LANES)
    chunk = tl.program_id(0).to(tl.int64) // num_blocks
    lane = (tl.program_id(0).to(tl.int64) % num_blocks) * LANES + tl.arange(0, LANES)
    # [pieces, lanes], or, of one lane, [pieces, steps of each]; pieces from the last to the first
    before = (ROWS // PIECE - 1 - tl.arange(0, ROWS // PIECE)[:, None]) * PIECE
    if PIECE > 1:
        before = before + tl.arange(0, PIECE)[None, :]
    carried_x = tl.zeros((LANES,), tl.float64 if DOUBLE else tl.float32)
    carried_a = carried_x + 1.0
    if LINKED:
        is_linked = (lane < num_lanes) & (chunk + 1 + lane * 0 < num_chunks)
        carried_x = tl.load(firsts + (chunk + 1) * num_lanes + lane, mask=is_linked, other=0.0)
    for turn in range(num_tiles):
        is_open = num_tiles > 0
        if REDUCE:  # nothing behind a cut matters, so it is not read
            is_open = tl.max((carried_a == carried_a).to(tl.int32), 0) > 0
        if is_open:
            tile = chunk * num_tiles + (turn if REDUCE else num_tiles - 1 - turn)
            row = tile * ROWS + before
            inside = (row < length) & (lane < num_lanes)[None, :]
            if REDUCE:
                inside = inside & (carried_a == carried_a)[None, :]
            offset = row * num_lanes + lane[None, :]
            step = row if ONE_LANE else row % lane_length
            is_last = (step == lane_length - 1) & inside
            goes_on = (step != lane_length - 1) & inside
            a = _decay(gammas, gamma_high, gamma_low, offset, inside, GAMMAS, DOUBLE)
            x = _read(rewards, offset, inside, DOUBLE)
            v = x * 0.0
            is_terminal = inside & (row < 0)
            if HAS_TERMINATED:
                flags = tl.load(terminated + offset, mask=inside, other=0)
                is_terminal, goes_on = flags != 0, goes_on & (flags == 0)
            if HAS_TRUNCATED:
                goes_on = goes_on & (tl.load(truncated + offset, mask=inside, other=0) == 0)
            if HAS_VALUES:
                v = _read(values, offset, inside, DOUBLE)
                following = _read(values, offset + num_lanes, goes_on, DOUBLE)
                if HAS_ENDS:
                    number = lane[None, :] + (row * 0 if ONE_LANE else row // lane_length)
                    following = tl.where(is_last, _read(end_values, number, is_last, DOUBLE), following)
                if HAS_NEXT:
                    given = _read(next_values, offset, inside, DOUBLE)
                    following = tl.where(given != given, following, given)
                x = x + a * tl.where(is_terminal, 0.0, following) - v
            a = a * _decay(lams, lam_high, lam_low, offset, inside, LAMS, DOUBLE)
            x = tl.where((x - x == 0.0) & (a - a == 0.0), x, _NAN)
            here = inside
            if HAS_MASK:
                here = here & (tl.load(is_step + offset, mask=inside, other=0) != 0)
            a = tl.where(goes_on, tl.where(here, a, 1.0), tl.where(inside, _NAN, 1.0))
            x = tl.where(here, x, 0.0)
            if REDUCE:
                tile_x, tile_a = _map_of_tile(x, a, ROWS // PIECE, PIECE)
                carried_x, carried_a = _joined(tile_x, tile_a, carried_x, carried_a)
            else:
                x, carried_x = _scanned(x, a, carried_x, ROWS // PIECE, PIECE)
                tl.store(out + offset, tl.where(here, x, 0.0).to(out.dtype.element_ty), mask=inside)
                if HAS_VALUES:
                    summed = tl.where(here, x + v, 0.0)
                    tl.store(out_beside + offset, summed.to(out_beside.dtype.element_ty), mask=inside)
    if REDUCE:
        tl.store(out + chunk * num_lanes + lane, carried_x, mask=lane < num_lanes)
        tl.store(out_beside + chunk * num_lanes + lane, carried_a, mask=lane < num_lanes)


@triton.jit
def _link_chunks(
    firsts,
    map_x,
    map_a,
    num_chunks,
    num_lanes,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
    DOUBLE: tl.constexpr,
):
    lane = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)[None, :]
    y = tl.zeros((LANES,), tl.float64 if DOUBLE else tl.float32)
    num_tiles = tl.cdiv(num_chunks, ROWS)
    for tile in range(num_tiles):
        chunk = (num_tiles - 1 - tile).to(tl.int64) * ROWS + (ROWS - 1 - tl.arange(0, ROWS)[:, None])
        inside = (chunk < num_chunks) & (lane < num_lanes)
        x = tl.load(map_x + chunk * num_lanes + lane, mask=inside, other=0.0)
        a = tl.load(map_a + chunk * num_lanes + lane, mask=inside, other=1.0)
        x, a = tl.associative_scan((x, a), 0, _joined)
        x = tl.where(a != a, x, x + a * y[None, :])
        tl.store(firsts + chunk * num_lanes + lane, x, mask=inside)
        y = _first(x, ROWS)
