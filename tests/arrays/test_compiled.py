"""`gaecli.gae` under `torch.compile(fullgraph=True)`: whatever may be given, it breaks no graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from arrays.test_tensors import LAYOUTS, arguments, tensors

import gaecli


def check_compiled(given: dict[str, Any], **how: Any) -> None:
    import torch

    torch._dynamo.reset()
    compiled = torch.compile(gaecli.gae, fullgraph=True, **how)(**given)
    for found, expected in zip(compiled, gaecli.gae(**given), strict=True):
        torch.testing.assert_close(found, expected)


#: Layout, what is given beside, and what is given in another way.
FORMS = {
    "numbers of the host": ("time-major", "next", {"gamma": np.float32(0.9), "bootstrap": [0.5] * 5}),
    "one number at all ends": ("batch-major", "next", {"bootstrap": 0.5, "gamma": 1, "lam": 0}),
    "offsets of the host": ("segments", "ends", {"offsets": np.array([0, 0, 10, 11, 11, 30, 60, 60])}),
    "a mask": ("time-major", "mask", {}),
    "values of the host": ("flat", "ends", {"values": np.ones(60)}),
    "nothing beside": ("time-major", "nothing", {"device": "cpu", "validate": False}),
}


@pytest.mark.parametrize(
    "form", [pytest.param(form, marks=pytest.mark.slow if k else ()) for k, form in enumerate(FORMS)]
)
def test_a_call_of_every_form_compiles_whole(form: str) -> None:
    layout, given, others = FORMS[form]
    check_compiled(tensors(arguments(layout, given)) | others, backend="eager")


@pytest.mark.slow
@pytest.mark.parametrize("change", ["bfloat16", "numbers", "one tensor", "gradients", "transposed"])
def test_tensors_of_every_kind_compile_whole(change: str) -> None:
    import torch

    given = tensors(arguments("time-major", "next"))
    rewards = given["rewards"]
    changes: dict[str, dict[str, Any]] = {
        "bfloat16": {"rewards": rewards.bfloat16(), "values": given["values"].bfloat16()},
        "numbers": {"terminated": given["terminated"].double()},
        "one tensor": {"gamma": torch.tensor(0.9), "lam": torch.tensor(0.8, dtype=torch.float64)},
        "gradients": {"values": given["values"].clone().requires_grad_()},
        "transposed": {"rewards": rewards.T.contiguous().T},
    }
    check_compiled(given | changes[change], backend="eager")


@pytest.mark.slow
def test_a_call_compiles_once_for_all_lengths() -> None:
    import torch

    torch._dynamo.reset()
    compiled = torch.compile(gaecli.gae, fullgraph=True, backend="eager", dynamic=True)
    for length in (12, 20, 100):
        rewards, values = torch.randn(2, length, 5, dtype=torch.float64)
        found = compiled(rewards, values, layout="time-major")
        torch.testing.assert_close(found.returns, gaecli.gae(rewards, values, layout="time-major").returns)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("given", ["next", "all"])
def test_a_call_of_every_layout_compiles_whole(layout: str, given: str) -> None:
    check_compiled(tensors(arguments(layout, given)), backend="aot_eager")
