"""The scan on an accelerator, of rows that lie on the host: sent, computed and fetched tile by tile, all at a time.

While the device computes on one tile, the next one is on its way there and the last one on its way back, and the host
lays out the one after. It waits only for what it has to copy out, two tiles behind what it sends. Rows go in the type
that they have, half as wide as float64 for most, and are widened there.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gaecli.choices import Precision
from gaecli.kernels.base import Array, Terms
from gaecli.kernels.devices import Device
from gaecli.kernels.tensor_registry import tensor_kernel_for
from gaecli.kernels.tensor_steps import Tensor, TensorSteps
from gaecli.kernels.torch_import import torch_module

torch: Any = torch_module()

#: 4 Mi rows: some milliseconds on the way, and some hundred MiB on the device.
TILE_ROWS = 1 << 22
#: Tiles whose results are on their way.
IN_FLIGHT = 2


def scan_terms(
    terms: Terms,
    out: NDArray[Any],
    *,
    device: Device | None = None,
    precision: Precision = "double",
    threads: int = 1,
    tile_rows: int | None = None,
) -> None:
    """`ScanTerms` on a device of torch."""
    where = torch.device("cpu" if device is None else device.name)
    is_single = precision == "single" or (device is not None and not device.has_float64)
    computed = torch.float32 if is_single else torch.float64
    link = CudaLink(where) if where.type == "cuda" else PlainLink(where)
    scan_over(link, terms, out, computed, tile_rows or TILE_ROWS)


class Link(Protocol):
    """How arrays get to a device and back."""

    device: Any

    def computing(self) -> contextlib.AbstractContextManager[Any]:
        """What is computed within comes after all that was sent before."""

    def send(self, rows: NDArray[Any]) -> Tensor:
        """These rows there, in their own type. They may change as soon as this returns."""

    def fetch(self, tensor: Tensor) -> Callable[[], NDArray[Any]]:
        """Begin to; what comes back waits for it."""


class PlainLink:
    """For devices of which torch knows no streams, and the CPU itself: one thing after the other."""

    def __init__(self, device: Any) -> None:
        self.device = device

    def computing(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()

    def send(self, rows: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.array(rows)).to(
            self.device
        )  # a copy: torch warns at arrays that are read-only

    def fetch(self, tensor: Tensor) -> Callable[[], NDArray[Any]]:
        return lambda: np.asarray(tensor.cpu())


class CudaLink:
    """Three streams of its own, so that several threads can have one each; and memory that the device reads itself.

    torch gives pinned memory, and memory of the device, to nobody else before what was begun with it is done: of the
    first it sees to that by itself, of the second by `record_stream`.
    """

    def __init__(self, device: Any, cuda: Any = None, *, pinned: bool = True) -> None:
        self.device = device
        self._cuda = cuda or torch.cuda
        self._pinned = pinned
        self._to, self._on, self._back = (self._cuda.Stream(device) for _ in range(3))

    def computing(self) -> contextlib.AbstractContextManager[Any]:
        self._on.wait_stream(self._to)
        stream: contextlib.AbstractContextManager[Any] = self._cuda.stream(self._on)
        return stream

    def send(self, rows: NDArray[Any]) -> Tensor:
        host = self._host(len(rows), torch.from_numpy(np.empty(0, rows.dtype)).dtype)
        host.numpy()[...] = rows
        with self._cuda.stream(self._to):
            there = host.to(self.device, non_blocking=True)
        self._keep(there, self._on)
        self._on.wait_stream(self._to)
        return there

    def fetch(self, tensor: Tensor) -> Callable[[], NDArray[Any]]:
        host = self._host(len(tensor), tensor.dtype)
        self._back.wait_stream(self._on)
        with self._cuda.stream(self._back):
            host.copy_(tensor, non_blocking=True)
            arrived = self._back.record_event()
        self._keep(tensor, self._back)

        def fetched() -> NDArray[Any]:
            arrived.synchronize()
            return np.asarray(host)

        return fetched

    def _keep(self, tensor: Tensor, stream: Any) -> None:
        """Its memory, until that stream has done what was begun on it."""
        tensor.record_stream(stream)

    def _host(self, num_rows: int, dtype: Any) -> Tensor:
        return torch.empty(num_rows, dtype=dtype, pin_memory=self._pinned)


class _There:
    """`Arrays` at the other end of a link."""

    module = torch

    def __init__(self, link: Link, computed: Any) -> None:
        self._link, self._computed = link, computed

    def numbers(self, rows: NDArray[Any]) -> Array:
        return self._link.send(_sendable(rows, self._computed)).to(self._computed)

    def flags(self, rows: NDArray[Any]) -> Array:
        return self._link.send(np.asarray(rows, np.bool_))


def scan_over(link: Link, terms: Terms, out: NDArray[Any], computed: Any, tile_rows: int) -> None:
    """The terms over a link, `tile_rows` at a time, from the last ones to the first."""
    flying: deque[tuple[slice, Callable[[], NDArray[Any]]]] = deque()
    for rows, y in _tiles(link, terms, computed, tile_rows):
        flying.append((rows, link.fetch(y)))
        while len(flying) > IN_FLIGHT:
            _land(flying.popleft(), out)
    while flying:
        _land(flying.popleft(), out)


def _land(flight: tuple[slice, Callable[[], NDArray[Any]]], out: NDArray[Any]) -> None:
    rows, fetched = flight
    out[rows] = fetched()


def _tiles(link: Link, terms: Terms, computed: Any, tile_rows: int) -> Iterator[tuple[slice, Tensor]]:
    """y of each tile, on the device, which may not have computed it yet."""
    scan = tensor_kernel_for(link.device).find()
    arrays = _There(link, computed)
    following: Tensor | None = None
    for stop in range(terms.num_rows, 0, -tile_rows):
        rows = slice(max(stop - tile_rows, 0), stop)
        shape = (1, rows.stop - rows.start, 1)
        cuts = arrays.flags(terms.cuts[rows])
        with link.computing():
            x, a = torch.empty((2, shape[1]), dtype=computed, device=link.device)
            terms.fill(x, a, rows, arrays)
            if following is not None:
                x[-1:] += torch.where(cuts[-1:], 0.0, a[-1:] * following)
            y, _ = scan(TensorSteps(shape, x, None, 1.0, a, truncated=cuts), computed, computed)
            y = y.reshape(-1)
            following = y[:1]
        yield rows, y


def _sendable(rows: NDArray[Any], computed: Any) -> NDArray[Any]:
    """In a type that the device has, and as narrow as it comes."""
    if rows.dtype.kind == "b" or (rows.dtype.kind == "f" and 2 <= rows.dtype.itemsize <= computed.itemsize):
        return rows
    return np.asarray(rows, np.float32 if computed == torch.float32 else np.float64)
