"""What every kernel for tensors does, held against the law, over the same steps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from kernels.tensor_cases import KINDS, SHAPES, estimates, steps_of

from gaecli.kernels.tensor_steps import TensorSteps

#: float64: rounding. float32: of numbers of about 1, over some ten steps.
TOLERANCE = {"float64": 1e-12, "float32": 3e-5}


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The operations of torch, with trees of several levels for few steps."""
    from gaecli.kernels import tensor_scan

    monkeypatch.setattr(tensor_scan, "ROOT_SIZE", 3)
    monkeypatch.setattr(tensor_scan, "RADIX", 4)
    return tensor_scan.scan_tensors


def as_tensors(steps: dict[str, Any], dtype: str = "float64") -> TensorSteps:
    import torch

    def tensor(given: Any) -> Any:
        if not isinstance(given, np.ndarray):
            return given
        made = torch.from_numpy(given.copy())
        return made.to(getattr(torch, dtype)) if made.dtype == torch.float64 else made

    return TensorSteps(**{name: tensor(given) for name, given in steps.items()})


def check(kernel: Any, steps: dict[str, Any], computed: str = "float64") -> None:
    import torch

    y, returns = kernel(as_tensors(steps), getattr(torch, computed), torch.float64)
    expected_y, expected_returns = estimates(steps)
    bound = TOLERANCE[computed]
    np.testing.assert_allclose(y.reshape(steps["shape"]), expected_y, rtol=bound, atol=bound)
    if expected_returns is None:
        assert returns is None
    else:
        np.testing.assert_allclose(returns.reshape(steps["shape"]), expected_returns, rtol=bound, atol=bound)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_operations_give_what_the_law_gives(operations: Any, kind: str, shape: Any) -> None:
    check(operations, steps_of(kind, shape))


def test_trees_of_the_usual_size_give_what_the_law_gives() -> None:
    from gaecli.kernels.tensor_scan import scan_tensors

    check(scan_tensors, steps_of("next_values", (1, 4321, 1)))


def test_operations_compute_in_single_precision_where_that_is_asked_for(operations: Any) -> None:
    import torch

    steps = steps_of("next_values", (1, 37, 1))
    check(operations, steps, "float32")
    double, single = (
        operations(as_tensors(steps), dtype, torch.float64)[0] for dtype in (torch.float64, torch.float32)
    )
    assert not torch.equal(double, single)


@pytest.mark.parametrize(
    ("device", "major", "has_triton", "kernel"),
    [
        ("cuda:0", 9, True, "triton"),
        ("cuda:0", 7, True, "triton"),
        ("cuda:0", 6, True, "operations"),  # Triton does not compile for it
        ("cuda:0", 9, False, "operations"),
        ("mps", 9, True, "operations"),
        ("cpu", 9, True, "operations"),
    ],
)
def test_the_kernel_is_that_of_the_device(
    monkeypatch: pytest.MonkeyPatch, device: str, major: int, has_triton: bool, kernel: str
) -> None:
    import torch

    from gaecli.kernels import tensor_registry

    properties = SimpleNamespace(major=major)
    monkeypatch.setattr(tensor_registry, "HAS_TRITON", has_triton)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert tensor_registry.tensor_kernel_for(torch.device(device)).name == kernel


@pytest.mark.parametrize(
    ("found", "variable", "expected"),
    [
        ({"triton": "3.9.0"}, None, True),
        ({"pytorch-triton": "3.2.0+git1b2c3d"}, None, True),
        ({"triton": "3.1.0"}, None, False),  # of torch 2.5: no `tl.gather`
        ({"triton": "3.9.0"}, "0", False),
        ({}, None, False),
    ],
)
def test_triton_is_used_where_it_is_new_enough_and_wanted(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, str], variable: str | None, expected: bool
) -> None:
    from gaecli.kernels import tensor_registry

    def version(name: str) -> str:
        if name not in found:
            raise tensor_registry.PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(tensor_registry, "find_spec", lambda name: found or None)
    monkeypatch.setattr(tensor_registry, "version", version)
    monkeypatch.delenv("GAECLI_TRITON", raising=False)
    if variable is not None:
        monkeypatch.setenv("GAECLI_TRITON", variable)
    assert tensor_registry._is_triton_here() is expected
