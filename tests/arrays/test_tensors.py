"""`gaecli.gae` on torch tensors: the numbers of NumPy arrays; by NumPy in host memory, else where they lie.

A mode that is told of every operation has tensors of the host go the way of those on a device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gaecli
from gaecli.errors import DataError, UsageError

LAYOUTS = ["time-major", "batch-major", "flat", "segments"]
#: What is given beside rewards and values.
GIVEN = {
    "nothing": (),
    "ends": ("terminated", "truncated", "bootstrap"),
    "next": ("terminated", "truncated", "bootstrap", "next_values"),
    "mask": ("mask", "bootstrap"),
    "all": ("terminated", "truncated", "bootstrap", "next_values", "mask", "gamma", "lam"),
}


def arguments(layout: str, given: str, seed: int = 0) -> dict[str, Any]:
    """NumPy arrays of 12 steps of 5 lanes, or of 60 rows, of which some segments are empty."""
    rng = np.random.default_rng(seed)
    shape = {"time-major": (12, 5), "batch-major": (5, 12)}.get(layout, (60,))
    made: dict[str, Any] = {"rewards": rng.normal(size=shape), "values": rng.normal(size=shape)}
    terminated, truncated = rng.random((2, *shape)) < 0.15
    num_segments = {"flat": 1, "segments": 7}.get(layout, 5)
    offered = {
        "terminated": terminated,
        "truncated": truncated.astype(np.int8),
        "next_values": np.where(rng.random(shape) < 0.4, rng.normal(size=shape), np.nan),
        "bootstrap": rng.normal(size=num_segments),
        "mask": rng.random(shape) < 0.6,
        "gamma": rng.random(shape),
        "lam": rng.random(shape),
    }
    made |= {name: offered[name] for name in GIVEN[given]}
    if layout == "segments":
        made["offsets"] = np.array([0, 0, 10, 11, 11, 30, 60, 60])
    if layout in ("time-major", "batch-major"):
        made["layout"] = layout
    return made


def tensors(given: dict[str, Any], **how: Any) -> dict[str, Any]:
    import torch

    return {
        name: torch.from_numpy(array).to(**how) if isinstance(array, np.ndarray) else array
        for name, array in given.items()
    }


@pytest.fixture(params=["by NumPy", "as on a device"])
def road(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each way that tensors of the host may go, and no other."""
    from torch.utils._python_dispatch import TorchDispatchMode

    from gaecli.arrays import host
    from gaecli.arrays import tensors as on_device

    taken: list[str] = []

    def watched(name: str, function: Any) -> Any:
        return lambda *args, **how: (taken.append(name), function(*args, **how))[1]

    monkeypatch.setattr(host, "gae_of_tensors", watched("by NumPy", host.gae_of_tensors))
    monkeypatch.setattr(on_device, "gae", watched("as on a device", on_device.gae))

    class Watching(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}))

    with Watching() if request.param == "as on a device" else contextlib.nullcontext():
        yield
    assert set(taken) == {request.param}


@pytest.fixture
def no_reading() -> Any:
    """A mode in which no number may come to the host, and no shape depend on one."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    forbidden = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal", "item")

    class NoReading(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = func.overloadpacket.__name__
            assert name not in forbidden, f"{name} waits for the device"
            by_flags = name.startswith("index") and any(
                isinstance(index, torch.Tensor) and index.dtype == torch.bool
                for indices in args[1:2]
                if isinstance(indices, list | tuple)
                for index in indices
            )
            assert not by_flags, f"{name} by flags has a shape that depends on them"
            return func(*args, **(kwargs or {}))

    return NoReading()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("given", GIVEN)
def test_tensors_get_what_arrays_get_and_no_number_is_read(layout: str, given: str, no_reading: Any) -> None:
    arrays = arguments(layout, given)
    expected = gaecli.gae(**arrays)
    inputs = tensors(arrays)
    with no_reading:
        found = gaecli.gae(**inputs)
    for tensor, array in zip(found, expected, strict=True):
        np.testing.assert_allclose(tensor.numpy(), array, rtol=1e-12, atol=1e-12)


@pytest.mark.turns
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("given", GIVEN)
def test_nothing_of_a_call_lies_anywhere_but_on_the_device(layout: str, given: str) -> None:
    # On the device `meta` there are no numbers: whatever reads one, or copies to the host, fails. And a tensor of the
    # host among them would be a copy to the device, which waits, and which a CUDA graph refuses.
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    places = set()

    class Watching(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            places.update(
                one.device.type for one in tree_leaves((args, kwargs, made)) if isinstance(one, torch.Tensor)
            )
            return made

    inputs = tensors(arguments(layout, given), device="meta")
    with Watching():
        found = gaecli.gae(**inputs)
        gaecli.gae(**inputs | {"bootstrap": 0.5, "gamma": 1.0})
    assert places == {"meta"}
    for tensor in found:
        assert tensor.device.type == "meta"
        assert tensor.shape == inputs["rewards"].shape


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_call_does_the_same_whatever_the_numbers_are(layout: str) -> None:
    # As a CUDA graph will do again, on other numbers in the same places.
    from torch.utils._python_dispatch import TorchDispatchMode

    class Noting(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.done: list[Any] = []

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            self.done.append((str(func), getattr(made, "shape", None)))
            return made

    noted = []
    for seed in (0, 1):
        with Noting() as mode:
            gaecli.gae(**tensors(arguments(layout, "all", seed)))
        noted.append(mode.done)
    assert len(noted[0]) > 20
    assert noted[0] == noted[1]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tensors_of_the_host_get_to_the_last_bit_what_arrays_get(layout: str) -> None:
    arrays = arguments(layout, "all")
    for tensor, array in zip(gaecli.gae(**tensors(arrays)), gaecli.gae(**arrays), strict=True):
        assert tensor.is_contiguous()
        np.testing.assert_array_equal(tensor.numpy(), array)


def test_tensors_without_numbers_and_of_a_transform_are_not_shown_to_numpy() -> None:
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    rewards, values = torch.randn(2, 3), torch.randn(2, 3)
    with FakeTensorMode():
        assert gaecli.gae(torch.empty(3), torch.empty(3)).advantages.shape == (3,)
    lanes = torch.vmap(lambda *one: gaecli.gae(*one).advantages)(rewards, values)
    torch.testing.assert_close(lanes, gaecli.gae(rewards, values, layout="batch-major").advantages)


@pytest.mark.parametrize(
    ("change", "times_looked"),
    [
        (lambda given: tensors(arguments("time-major", "next", seed=1)), 1),
        (lambda given: given | {"gamma": 0.5, "lam": 1}, 1),
        (lambda given: given | {"gamma": given["values"].new_tensor(0.5)}, 2),
        (lambda given: given | {"rewards": given["rewards"].float()}, 2),
        (lambda given: given | {"rewards": given["rewards"].T.contiguous().T}, 2),
        (lambda given: given | {"rewards": given["rewards"].clone().requires_grad_()}, 2),
        (lambda given: given | {"bootstrap": None}, 2),
        (lambda given: given | {"precision": "single"}, 2),
        (lambda given: given | {"mask": given["terminated"]}, 2),
    ],
)
def test_a_call_like_one_before_is_not_looked_at_again(
    change: Any, times_looked: int, no_reading: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gaecli.arrays import tensors as on_device

    looked = []
    look = on_device._TensorArguments
    monkeypatch.setattr(on_device, "_TensorArguments", lambda *one: looked.append(one) or look(*one))
    monkeypatch.setattr(on_device, "_PLANS", {})
    first = tensors(arguments("time-major", "next"))
    second = change(first)
    with no_reading:
        gaecli.gae(**first)
        found = gaecli.gae(**second)
    assert len(looked) == times_looked
    tolerance = 1e-4 if second.get("precision") == "single" else 1e-12
    for tensor, expected in zip(found, gaecli.gae(**second), strict=True):
        assert not tensor.requires_grad
        assert tensor.dtype == expected.dtype
        np.testing.assert_allclose(tensor, expected, rtol=tolerance, atol=tolerance)


def test_shapes_that_were_never_right_stay_wrong() -> None:
    inputs = tensors(arguments("time-major", "ends"), device="meta")
    gaecli.gae(**inputs)
    for _ in range(2):
        with pytest.raises(DataError, match="`values` has shape"):
            gaecli.gae(**inputs | {"values": inputs["values"][:-1]})


@pytest.mark.usefixtures("road")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_masked_cells_are_as_if_they_were_not_there(layout: str) -> None:
    # Lane by lane, without them. Arrays go another way than tensors, so both are held against it.
    arrays = arguments(layout, "all", seed=3)
    cells = np.arange(60).reshape(arrays["rewards"].shape)
    if layout == "segments":
        lanes = [cells[a:b] for a, b in zip(arrays["offsets"], arrays["offsets"][1:], strict=False)]
    else:
        lanes = {"time-major": cells.T, "batch-major": cells}.get(layout, [cells])
    expected = np.zeros(60)
    for lane, end in zip(lanes, arrays["bootstrap"], strict=True):
        kept = lane[arrays["mask"].reshape(-1)[lane]]
        alone = {
            name: arrays[name].reshape(-1)[kept]
            for name in ("rewards", "values", "terminated", "truncated", "next_values", "gamma", "lam")
        }
        expected[kept] = gaecli.gae(**alone, bootstrap=end).advantages
    arrays["rewards"] = np.where(arrays["mask"], arrays["rewards"], np.nan)  # nobody looks at what is no step
    for inputs in (arrays, tensors(arrays)):
        found = gaecli.gae(**inputs)
        np.testing.assert_allclose(np.ravel(found.advantages), expected, rtol=1e-12, atol=1e-12)
        assert not np.ravel(found.returns)[~arrays["mask"].reshape(-1)].any()


@pytest.mark.usefixtures("road")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_numbers_are_widened_before_anything_is_computed(dtype: str) -> None:
    import torch

    inputs = tensors(arguments("time-major", "next"))
    rounded = {
        name: one.to(getattr(torch, dtype))
        if isinstance(one, torch.Tensor) and one.is_floating_point()
        else one
        for name, one in inputs.items()
    }
    found = gaecli.gae(**rounded)
    exact = gaecli.gae(
        **{
            name: one.double() if isinstance(one, torch.Tensor) and one.is_floating_point() else one
            for name, one in rounded.items()
        }
    )
    for tensor, expected in zip(found, exact, strict=True):
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, expected.float(), rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("road")
@pytest.mark.parametrize("name", ["rewards", "values", "gamma", "lam"])
def test_what_is_not_finite_spoils_its_trajectory_up_to_it_and_no_other(name: str) -> None:
    import torch

    given = {one: torch.zeros(8) for one in ("rewards", "values", "gamma", "lam")}
    given[name][[1, 5]] = torch.tensor([torch.nan, torch.inf])
    found = gaecli.gae(**given, offsets=torch.tensor([0, 3, 8]))
    # What goes into δ of the step before is γ V, and 0 · NaN is NaN.
    assert found.advantages.isnan().tolist() == [True, True, False, True, True, True, False, False]


@pytest.mark.usefixtures("road")
def test_a_bootstrap_that_is_not_finite_is_not_taken_for_none() -> None:
    import torch

    ends = torch.tensor([torch.nan, 1.0])
    flat = gaecli.gae(torch.zeros(4), torch.zeros(4), offsets=torch.tensor([0, 2, 4]), bootstrap=ends)
    lanes = gaecli.gae(torch.zeros(2, 2), torch.zeros(2, 2), bootstrap=ends, layout="batch-major")
    for advantages in (flat.advantages, lanes.advantages.reshape(-1)):
        assert advantages.isnan().tolist() == [True, True, False, False]


def test_numbers_of_tensors_are_looked_at_where_that_is_asked_for() -> None:
    import torch

    inputs = {"rewards": torch.tensor([0.0, torch.nan]), "values": torch.zeros(2)}
    assert gaecli.gae(**inputs).advantages.isnan().all()
    with pytest.raises(DataError, match="`rewards` is nan at row 1"):
        gaecli.gae(**inputs, validate=True)
    with pytest.raises(DataError, match="`terminated` is 2 at row 0; it must be 0 or 1"):
        gaecli.gae(torch.zeros(2), torch.zeros(2), terminated=torch.tensor([2, 0]), validate=True)
    with pytest.raises(DataError, match=r"`lam` is 1\.5 at row 1; it must lie"):
        gaecli.gae(torch.zeros(2), torch.zeros(2), lam=torch.tensor([1.0, 1.5]), validate=True)


def test_arrays_are_not_looked_at_where_that_is_not_wanted() -> None:
    found = gaecli.gae([0.0, np.nan, 1.0], np.zeros(3), truncated=[0, 1, 0], validate=False)
    assert np.isnan(found.advantages).tolist() == [True, True, False]


@pytest.mark.usefixtures("road")
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"values": np.zeros(3)}, DataError, r"`values` has shape \(3,\), but `rewards` has \(4,\)"),
        ({"mask": np.zeros((4, 1))}, DataError, r"`mask` has shape \(4, 1\)"),
        ({"bootstrap": np.zeros(2)}, DataError, r"`bootstrap` has shape \(2,\); it must be one number"),
        ({"offsets": np.array([0.0, 4.0])}, DataError, r"`offsets` must be whole numbers"),
        ({"gamma": np.ones(3)}, DataError, r"`gamma` has shape \(3,\)"),
        ({"values": np.zeros(4, complex)}, DataError, r"`values` has dtype"),
        ({"layout": "time-major"}, UsageError, r"it must have two dimensions"),
        ({"layout": ["time-major"]}, UsageError, r"`layout` is \['time-major'\]"),
    ],
)
def test_what_shapes_tell_is_said_of_tensors_as_well(changes: Any, error: Any, message: str) -> None:
    given = {"rewards": np.zeros(4), "values": np.zeros(4)} | changes
    with pytest.raises(error, match=message):
        gaecli.gae(**tensors(given))


@pytest.mark.parametrize("place", ["cpu", "meta"])
def test_a_device_may_be_one_of_torch(place: str) -> None:
    import torch

    rewards = torch.ones(3, device=place)
    assert gaecli.gae(rewards, rewards, device=torch.device(place)).returns.device.type == place


def test_a_sparse_tensor_is_refused() -> None:
    import torch

    with pytest.raises(DataError, match=r"`rewards` is torch\.sparse_coo; it must be a dense tensor"):
        gaecli.gae(torch.eye(4)[0].to_sparse(), torch.zeros(4))


def test_a_tensor_on_another_device_is_refused_and_not_fetched() -> None:
    import torch

    with pytest.raises(DataError, match="`values` lies on meta, but `rewards` on cpu"):
        gaecli.gae(torch.zeros(4), torch.zeros(4, device="meta"))


@pytest.mark.usefixtures("road")
def test_gradients_do_not_flow() -> None:
    import torch

    inputs = {name: torch.randn(6, requires_grad=True) for name in ("rewards", "values", "next_values")}
    decays = {name: torch.rand(6).requires_grad_() for name in ("gamma", "lam")}
    found = gaecli.gae(**inputs, **decays, bootstrap=torch.ones((), requires_grad=True))
    assert not any(tensor.requires_grad for tensor in found)
