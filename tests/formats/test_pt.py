"""Files of `torch.save`: dicts of tensors, read and written without torch and without a pickle that runs."""

from __future__ import annotations

import collections
import json
import shlex
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import gaecli
from gaecli.errors import GaeError
from gaecli.formats.registry import open_file

torch = pytest.importorskip("torch")

SHAPE = (4, 3)
_generator = torch.Generator().manual_seed(3)
REWARDS, VALUES = (torch.randn(SHAPE, generator=_generator) for _ in range(2))
TERMINATED = torch.rand(SHAPE, generator=_generator) < 0.3


def saved(path: Path, **tensors: Any) -> Path:
    torch.save({"rewards": REWARDS, "values": VALUES, "terminated": TERMINATED, **tensors}, path)
    return path


def loaded(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True, mmap=True)


def advantages(rewards: torch.Tensor, values: torch.Tensor, terminated: torch.Tensor) -> np.ndarray:
    """[T, N] by plain loops over floats."""
    found = np.zeros(rewards.shape)
    for env in range(rewards.shape[1]):
        following = beyond = 0.0
        for t in reversed(range(rewards.shape[0])):
            alive = 0.0 if terminated[t, env] else 1.0
            delta = float(rewards[t, env]) + 0.99 * alive * beyond - float(values[t, env])
            following = delta + 0.99 * 0.95 * alive * following
            beyond = float(values[t, env])
            found[t, env] = following
    return found


def compute(path: Path, *args: Any, **settings: Any) -> Any:
    return gaecli.compute(path, *args, layout="time-major", **settings)


def test_tensors_are_read_and_new_ones_written_beside_them(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "r.pt",
        obs=torch.arange(24.0).reshape(4, 3, 2),
        gamma=0.9,
        note="ä",
        config={"a": [1, (2,)]},
    )
    before = loaded(path)
    compute(path)
    after = loaded(path)
    assert list(after) == [*before, "advantage", "return"]
    assert (after["gamma"], after["note"], after["config"]) == (0.9, "ä", {"a": [1, (2,)]})
    for name in ("rewards", "values", "terminated", "obs"):
        assert torch.equal(after[name], before[name])
    np.testing.assert_allclose(
        after["advantage"], advantages(REWARDS, VALUES, TERMINATED), rtol=1e-5, atol=1e-6
    )
    assert gaecli.strip(path).files[0].state == "stripped"
    assert str(loaded(path)) == str(before)


VIEWS = {
    "contiguous": lambda x: x.clone(),
    "transposed": lambda x: x.T.contiguous().T,
    "sliced": lambda x: torch.cat([x, x], 1)[:, :3],
    "behind others": lambda x: torch.cat([x * 0, x])[4:],
    "every second row": lambda x: torch.stack([x, x * 0], 1).reshape(8, 3)[::2],
    "requires grad": lambda x: x.clone().requires_grad_(),
    "a parameter": lambda x: torch.nn.Parameter(x.clone()),
    "float64": lambda x: x.double(),
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_tensor_may_lie_in_its_storage_as_it_likes(tmp_path: Path, view: str) -> None:
    path = saved(tmp_path / "r.pt", rewards=VIEWS[view](REWARDS), values=VIEWS[view](VALUES))
    compute(path)
    found = loaded(path)
    np.testing.assert_allclose(
        found["advantage"], advantages(REWARDS, VALUES, TERMINATED), rtol=1e-5, atol=1e-6
    )
    assert torch.equal(found["rewards"].detach().float(), REWARDS)
    assert type(found["rewards"]) is type(VIEWS[view](REWARDS))


DTYPES = ["float16", "bfloat16", "float32", "float64", "bool"]
DTYPES += [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]


@pytest.mark.parametrize("name", DTYPES)
def test_every_type_of_numbers_is_read_as_it_is(tmp_path: Path, name: str) -> None:
    cells = torch.tensor([[0, 1, 3], [2, 0, 1]]).to(getattr(torch, name))
    path = tmp_path / "r.pt"
    torch.save({"x": cells}, path)
    file = open_file(path)
    (_, _, columns), *_ = file.blocks(file.units(100, "x")[0], ["x"], 100)
    assert columns["x"].values.tolist() == cells.tolist()
    assert file.columns["x"].type_name == name


def test_bfloat16_is_all_of_its_digits(tmp_path: Path) -> None:
    cells = torch.randn(200, generator=_generator).bfloat16()
    torch.save({"x": cells}, tmp_path / "r.pt")
    assert (open_file(tmp_path / "r.pt").read_whole("x").values == cells.float().numpy()).all()


def test_the_tensors_of_the_only_dict_within_are_meant(tmp_path: Path) -> None:
    path = tmp_path / "r.pth"
    inner = collections.OrderedDict(rewards=REWARDS, values=VALUES, terminated=TERMINATED)
    torch.save({"epoch": 3, "rollout": inner}, path)
    compute(path)
    found = loaded(path)
    assert found["epoch"] == 3
    assert list(found["rollout"]) == [*inner, "advantage", "return"]
    assert isinstance(found["rollout"], collections.OrderedDict)


def test_a_dict_of_settings_beside_the_tensors_is_none_of_them(tmp_path: Path) -> None:
    """As DataProto of verl has them, once they are plain dicts."""
    path = tmp_path / "r.pt"
    tensors = {"rewards": REWARDS, "values": VALUES, "terminated": TERMINATED}
    torch.save({"meta_info": {"step": 3, "names": ["a"]}, "batch": tensors}, path)
    compute(path)
    found = loaded(path)
    assert list(found["batch"]) == [*tensors, "advantage", "return"]
    assert found["meta_info"] == {"step": 3, "names": ["a"]}


def test_what_torchrl_saves_as_objects_and_buffers_is_told_with_a_way_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names in a TensorDict of tensordict 0.15.3, and the keys of a state of TorchRL 0.14.1."""
    make = type("_make_td", (), {"__module__": "tensordict._reductions", "__qualname__": "_make_td"})
    for name in ("tensordict", "tensordict._reductions"):
        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(_make_td=make))
    torch.save(make(), tmp_path / "td.pt")
    with pytest.raises(GaeError, match="is a TensorDict") as raised:
        gaecli.compute(tmp_path / "td.pt")
    assert ".to_dict(), sys.argv[2])" in raised.value.hint
    steps = {"next": {"reward": REWARDS}, "state_value": VALUES}
    state = {"_storage": {"_storage": steps, "_len": 3}, "_writer": {"_cursor": 3}, "_rng": None}
    torch.save(state, tmp_path / "state.pt")
    with pytest.raises(GaeError, match="whose rows go round") as raised:
        gaecli.compute(tmp_path / "state.pt")
    assert "buffer.dumps(FOLDER)" in raised.value.hint


def test_tensors_of_a_dict_within_go_by_their_path(tmp_path: Path) -> None:
    """As `TensorDict.to_dict` has them; a literal name comes first, and a dict that is there twice counts once."""
    path = tmp_path / "r.pt"
    rewards, flags = REWARDS[..., None], TERMINATED[..., None]
    inner = {"reward": rewards, "terminated": flags, "deep": {"note": VALUES}}
    torch.save(
        {"state_value": VALUES[..., None], "next": inner, "again": inner, "next.terminated": ~flags}, path
    )
    columns = open_file(path).columns
    assert list(columns) == ["state_value", "next.terminated", "next.reward", "next.deep.note"]
    torch.save({"state_value": VALUES[..., None], "next": inner, "empty": {}}, path)
    before = loaded(path)
    compute(path)
    after = loaded(path)
    assert list(after) == [*before, "advantage", "return"]
    assert str(after["next"]) == str(before["next"])
    expected = advantages(REWARDS, VALUES, TERMINATED)[..., None]
    np.testing.assert_allclose(after["advantage"], expected, rtol=1e-5, atol=1e-6)
    assert gaecli.strip(path).files[0].state == "stripped"
    assert str(loaded(path)) == str(before)


def test_a_name_is_no_longer_for_every_dict_around_it(tmp_path: Path) -> None:
    """Ten thousand tensors under a key of a megabyte would have ten gigabytes of names."""
    key = "k" * 10_000
    torch.save({"rewards": REWARDS, key: {str(number): number for number in range(100)}}, tmp_path / "r.pt")
    assert list(open_file(tmp_path / "r.pt").columns) == ["rewards", key]


@pytest.mark.parametrize("holder", ["dict", "list", "outside"])
def test_a_storage_that_another_tensor_has_stays_when_a_column_is_replaced(
    tmp_path: Path, holder: str
) -> None:
    """Wherever that one stands: its numbers were those of the new column otherwise."""
    path, shared = tmp_path / "r.pt", torch.arange(12.0).reshape(SHAPE)
    columns = {
        "rewards": REWARDS,
        "values": VALUES,
        "terminated": TERMINATED,
        "advantage": shared,
        "return": shared,
    }
    elsewhere = {"dict": {"kept": {"it": shared}}, "list": {"kept": [(shared, 1)]}, "outside": {}}[holder]
    torch.save(
        {"rollout": columns, "version": [shared]} if holder == "outside" else {**columns, **elsewhere}, path
    )
    gaecli.compute(path, layout="time-major", overwrite=True)
    found = loaded(path)
    kept = {
        "dict": lambda: found["kept"]["it"],
        "list": lambda: found["kept"][0][0],
        "outside": lambda: found["version"][0],
    }[holder]()
    assert torch.equal(kept, shared)
    advantage = (found["rollout"] if holder == "outside" else found)["advantage"]
    np.testing.assert_allclose(advantage, advantages(REWARDS, VALUES, TERMINATED), rtol=1e-5, atol=1e-6)


def test_tensors_that_share_numbers_still_do(tmp_path: Path) -> None:
    compute(saved(tmp_path / "r.pt", a=(both := torch.zeros(4)), b=both[1:]))
    found = torch.load(tmp_path / "r.pt", weights_only=True)
    found["a"][1] = 7
    assert found["b"][0] == 7


OTHERS = {
    "sparse": (lambda: REWARDS.to_sparse(), "a sparse tensor"),
    "quantized": (lambda: torch.quantize_per_tensor(REWARDS, 0.1, 0, torch.qint8), "a quantized tensor"),
    "complex": (lambda: REWARDS.to(torch.complex64), "of type ComplexFloatStorage"),
    "float8": (lambda: REWARDS.to(torch.float8_e4m3fn), "float8_e4m3fn"),
    "negated": (lambda: torch._neg_view(REWARDS), r"\.resolve_neg\(\)"),
    "imaginary part": (lambda: torch.complex(VALUES, REWARDS).conj().imag, r"\.resolve_neg\(\)"),
    "list": (lambda: REWARDS.tolist(), "a list, not a tensor"),
    "numpy": (lambda: REWARDS.numpy(), "an object of"),
    "meta": (lambda: REWARDS.to("meta"), "the device `meta`"),
    "huge": (lambda: torch.ones(1).expand(1 << 20, 1 << 10), r"\.contiguous\(\)"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_plain_tensor_is_told_where_it_is_needed(tmp_path: Path, kind: str) -> None:
    make, says = OTHERS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = saved(tmp_path / "r.pt", rewards=make())
    with pytest.raises(GaeError, match=says):
        compute(path, reward_column="rewards")


@pytest.mark.parametrize(
    ("content", "says", "place"),
    [
        ([1, 2], "is no dict of tensors: it holds a list", None),
        (REWARDS, "is no dict of tensors: it holds one tensor", None),
        ({"samples": [{"reward": 1.0}]}, "`samples` is a list, not a tensor", '["samples"]'),
        ([{"reward": REWARDS}], "is no dict of tensors: it holds a list", ""),
        ({"runs": [{"reward": REWARDS}], "seed": [1]}, "`runs` is a list, not a tensor", '["runs"]'),
        ({}, "it holds no tensor", None),
        ({"a": 1}, "it holds no tensor", None),
    ],
)
def test_a_file_without_tensors_is_told_to_be_one(
    tmp_path: Path, content: Any, says: str, place: str | None
) -> None:
    """With the command that makes lines of what is a list of dicts, and of slime what may be of it."""
    torch.save(content, tmp_path / "r.pt")
    with pytest.raises(gaecli.FileError, match=says) as raised:
        gaecli.compute(tmp_path / "r.pt")
    hint = raised.value.hint
    assert ("slime" in hint) is (place == '["samples"]')
    assert (f"weights_only=True){place}]'" in hint) is (place is not None)


def test_the_lines_of_a_list_of_dicts_are_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(
        {"episodes": [{"reward": torch.arange(3.0), "id": 7}, {"reward": torch.ones(2)}]}, tmp_path / "r.pt"
    )
    with pytest.raises(gaecli.FileError) as raised:
        gaecli.compute(tmp_path / "r.pt")
    _, _, command = raised.value.hint.partition("python -c ")
    code, path, _, made = shlex.split(command)
    monkeypatch.setattr(sys, "argv", ["-c", path])
    exec(code, {})
    assert made == str(tmp_path / "r.jsonl")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"reward": [0.0, 1.0, 2.0], "id": 7}, {"reward": [1.0, 1.0]}]


def test_a_file_of_old_is_a_pickle_alone(tmp_path: Path) -> None:
    torch.save({"rewards": REWARDS}, tmp_path / "r.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(gaecli.FileError, match="is a pickle") as raised:
        gaecli.compute(tmp_path / "r.pt")
    assert "current torch" in raised.value.hint


def test_a_key_that_is_no_text_names_no_column(tmp_path: Path) -> None:
    path = tmp_path / "r.pt"
    torch.save(
        {"rewards": REWARDS, "values": VALUES, "terminated": TERMINATED, "1": REWARDS, 1: VALUES}, path
    )
    assert open_file(path).read_whole("1").values.flatten().tolist() == REWARDS.flatten().tolist()
    compute(path)
    torch.testing.assert_close(loaded(path)[1], VALUES)
    torch.testing.assert_close(loaded(path)["1"], REWARDS)


def test_it_converts(tmp_path: Path) -> None:
    path = saved(tmp_path / "r.pt", obs=torch.ones(4, 3, 2).bfloat16())
    compute(path, tmp_path / "r.parquet")
    compute(path)
    found = pq.read_table(tmp_path / "r.parquet")
    assert found["obs"].to_pylist() == [[1.0, 1.0]] * 12
    assert found["advantage"].to_pylist() == loaded(path)["advantage"].reshape(-1).tolist()
