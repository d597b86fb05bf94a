"""Rows sent to a device and back. There is none here: one that does nothing before it is waited for stands in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from kernels.test_kernel_contract import explicit_sums, made_terms

import gaecli
from gaecli.kernels import registry
from gaecli.kernels.devices import Device
from gaecli.kernels.registry import KERNELS, kernel_for


class Stream:
    """Copies back wait in it until its event is waited for."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log, self.begun = name, log, []

    def wait_stream(self, other: Stream) -> None:
        self.log.append(f"{self.name} waits for {other.name}")

    def record_event(self) -> Stream:
        return self

    def synchronize(self) -> None:
        while self.begun:
            self.begun.pop(0)()


class Cuda:
    """In place of `torch.cuda`."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.names = iter(("to", "on", "back"))
        self.current: list[Stream] = []

    def Stream(self, device: Any) -> Stream:
        return Stream(next(self.names), self.log)

    @contextlib.contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        self.current.append(stream)
        yield
        self.current.pop()


@pytest.fixture
def cuda() -> Cuda:
    return Cuda()


@pytest.fixture
def link(cuda: Cuda) -> Any:
    """A `CudaLink` to the CPU."""
    import torch

    from gaecli.kernels.on_device import CudaLink

    class Pinned(torch.Tensor):
        """Memory into which the device writes when it comes to it."""

        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.Tensor.copy_:
                host, tensor = args
                assert kwargs == {"non_blocking": True}
                plain = host.as_subclass(torch.Tensor)
                cuda.current[-1].begun.append(lambda: plain.copy_(tensor))
                return host
            found = super().__torch_function__(func, types, args, kwargs or {})
            return found.as_subclass(torch.Tensor) if func is torch.Tensor.to else found

    class Loop(CudaLink):
        def _keep(self, tensor: Any, stream: Any) -> None:
            cuda.log.append(f"kept for {stream.name}")

        def _host(self, num_rows: int, dtype: Any) -> Any:
            return torch.full((num_rows,), 77, dtype=dtype).as_subclass(Pinned)

    return Loop(torch.device("cpu"), cuda)


@pytest.mark.parametrize("num_rows", [1, 100, 1000])
def test_results_are_taken_when_they_have_arrived(link: Any, cuda: Cuda, num_rows: int) -> None:
    import torch

    from gaecli.kernels.on_device import scan_over

    terms, out = made_terms(num_rows), np.empty(num_rows)
    scan_over(link, terms, out, torch.float64, 100)
    np.testing.assert_allclose(out, explicit_sums(terms), rtol=1e-12, atol=1e-12)
    num_tiles = -(-num_rows // 100)
    # x, a and the cuts of each tile are sent; nothing computes before it is there, or comes back before it is made
    assert cuda.log.count("kept for on") == 3 * num_tiles
    assert cuda.log.count("on waits for to") >= 3 * num_tiles
    assert cuda.log.count("back waits for on") == cuda.log.count("kept for back") == num_tiles
    assert not cuda.current


def test_more_tiles_are_on_their_way_than_are_waited_for(link: Any) -> None:
    import torch

    from gaecli.kernels.on_device import IN_FLIGHT, scan_over

    fetched, in_flight = [], []
    begin = link.fetch

    def fetch(tensor: Any) -> Any:
        fetched.append(tensor)
        in_flight.append(len(fetched))
        arrive = begin(tensor)

        def arrived() -> Any:
            fetched.pop()
            return arrive()

        return arrived

    link.fetch = fetch
    scan_over(link, made_terms(1000), np.empty(1000), torch.float64, 100)
    assert max(in_flight) == IN_FLIGHT + 1


@pytest.mark.parametrize(
    ("dtype", "computed", "sent"),
    [
        (np.float32, "float64", np.float32),  # half of what float64 takes on the way
        (np.float64, "float64", np.float64),
        (np.float64, "float32", np.float32),  # of a device that has nothing wider
        (np.int64, "float64", np.float64),
        (np.bool_, "float64", np.bool_),
    ],
)
def test_numbers_travel_as_narrow_as_they_come(dtype: Any, computed: str, sent: Any) -> None:
    import torch

    from gaecli.kernels.on_device import _sendable

    assert _sendable(np.zeros(3, dtype), getattr(torch, computed)).dtype == sent


@pytest.mark.parametrize(
    ("name", "kernel"), [("cuda:0", "on-device"), ("mps", "on-device"), ("cpu", "tiles")]
)
def test_accelerators_have_a_kernel_that_sends(name: str, kernel: str) -> None:
    assert kernel_for(Device(name, "torch", "as requested", uses_torch=True)).name == kernel


@pytest.mark.parametrize("normalize", ["none", "all"])
def test_files_are_computed_by_it_block_by_block_in_several_threads(
    copy_sample: Any, monkeypatch: pytest.MonkeyPatch, normalize: str
) -> None:
    import pyarrow.parquet as pq

    def computed(device: str) -> Any:
        path = copy_sample("cartpole.parquet")
        gaecli.compute(path, device=device, normalize=normalize, jobs=2, memory_bytes=1 << 20, overwrite=True)
        return pq.read_table(path, columns=["advantage", "return"]).to_pandas().to_numpy()

    expected = computed("auto")
    (on_device,) = (kernel for kernel in KERNELS if kernel.name == "on-device")
    taken: list[str] = []
    everywhere = registry.Kernel(on_device.name, on_device.module, lambda device: taken.append("") is None)
    monkeypatch.setattr(registry, "KERNELS", (everywhere,))
    np.testing.assert_allclose(computed("cpu"), expected, rtol=1e-6, atol=1e-6)  # written in float32
    assert taken
