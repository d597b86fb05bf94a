"""The kernels of `gaecli.kernels.triton_scan`, as Triton compiles them.

Within a tile an associative scan over the maps y ↦ x + a y goes over addresses that descend: `reverse=True` has been
wrong in several releases (https://github.com/triton-lang/triton/issues/4362). Of a lane by itself a thread takes
`PIECE` steps, which lie side by side in memory, and the scan goes over these. As in `gaecli.kernels.tensor_scan` a
cut is an a of NaN.
"""

from __future__ import annotations

import triton
import triton.language as tl

_NAN: tl.constexpr = tl.constexpr(float("nan"))


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
def over_chunks(
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
def link_chunks(
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
