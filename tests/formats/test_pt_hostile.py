"""Files of `torch.save` that somebody damaged, or made to do harm: nothing in them runs, and all end in an error."""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats.test_pt import REWARDS, compute, saved
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

import gaecli
from gaecli.errors import GaeError
from gaecli.formats.pt import pickled
from gaecli.formats.registry import open_file

torch = pytest.importorskip("torch")


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["EVIL"],)


def test_nothing_in_a_file_runs_and_all_of_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVIL", str(tmp_path / "ran"))
    path = saved(tmp_path / "r.pt", evil=_Evil())
    compute(path)
    assert not (tmp_path / "ran").exists()
    with zipfile.ZipFile(path) as archive:
        (member,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
        assert b"mkdir" in archive.read(member)
    with pytest.raises(GaeError, match=r"array `evil`.*an object of `posix\.mkdir`, which is never made"):
        compute(path, tmp_path / "out.csv", force=True)


def rewritten(path: Path, **contents: bytes) -> Path:
    """With other members in the place of those whose names end so."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, contents.get(name.rpartition("/")[2].replace(".", "_"), content))
    return path


@pytest.mark.parametrize(
    ("member", "content", "says"),
    [
        ("data_pkl", b"\x80\x02}", "damaged"),
        ("data_pkl", b"\x80\x02u.", "damaged"),
        ("data_pkl", b"\x80\x02" + b"N" * 1_000_001, "more than 1,000,000 steps"),
        ("data_pkl", b"N" * ((16 << 20) + 1), "too long"),
        ("data_pkl", b"c__builtin__\neval\n(X\x01\0\0\0atR.", "an object of `__builtin__.eval`"),
        ("data_pkl", b"cos\nsystem\n(S'x'\ntR.", "does not write"),
        ("data_pkl", b"\x8b\xff\xff\xff\x7f.", "damaged"),
        ("data_pkl", b"(q\0th\0.", "damaged"),
        ("data_pkl", b"X\x04\0\0\0o\nR.X\x01\0\0\0x\x93.", "damaged"),
        ("data_pkl", b"\x80\x02cos\nsystem\n]R.", "damaged"),
        ("data_pkl", b"\x80\x02](NNu.", "damaged"),
        ("data_pkl", b"\x80\x02}Na.", "damaged"),
        ("byteorder", b"big", "big-endian"),
    ],
)
def test_a_pickle_that_asks_for_more_is_refused(
    tmp_path: Path, member: str, content: bytes, says: str
) -> None:
    path = rewritten(saved(tmp_path / "r.pt"), **{member: content})
    with pytest.raises(gaecli.FileError, match=says):
        gaecli.compute(path)


def test_a_shape_that_its_numbers_do_not_fill_is_told(tmp_path: Path) -> None:
    path = saved(tmp_path / "r.pt")
    rewritten(path, **{"0": b"\0" * 8})
    with pytest.raises(GaeError, match="its shape and the size of its numbers disagree"):
        compute(path, reward_column="rewards")


@pytest.mark.parametrize("place", [2, 3])
def test_a_tensor_whose_shape_or_strides_are_no_tuple_is_told(tmp_path: Path, place: int) -> None:
    path = saved(tmp_path / "r.pt")
    with zipfile.ZipFile(path) as archive:
        tree = pickled.parse(archive.read("r/data.pkl"))
    (_, tensor), *_ = tree.items
    tensor.args = (*tensor.args[:place], 12, *tensor.args[place + 1 :])
    rewritten(path, data_pkl=pickled.emit(tree))
    with pytest.raises(GaeError, match="a tensor that says less or more than tensors do"):
        compute(path, reward_column="rewards")


def test_a_member_that_cannot_be_copied_is_an_error_of_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "r.pt")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("r/notes", b"what was said of it")
    path.write_bytes(path.read_bytes().replace(b"what was said of it", b"what was sadi of it"))
    with pytest.raises(gaecli.FileError, match=r"cannot be read as a file of `torch.save`: Bad CRC-32"):
        compute(path)
    assert [one.name for one in tmp_path.iterdir()] == ["r.pt"]


def test_a_dict_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    deep: Any = {}
    for _ in range(100):
        deep = {"a": deep}
    path = saved(tmp_path / "r.pt", deep=deep)
    before = path.read_bytes()
    with pytest.raises(gaecli.FileError, match="nested more than 64 levels"):
        compute(path)
    assert path.read_bytes() == before


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.tuples(inner)
    ),
    max_leaves=10,
)


@examples(100)
@given(value=PLAIN, protocol=st.integers(2, 5))
def test_a_tree_says_again_what_the_pickle_said(value: Any, protocol: int) -> None:
    assert pickle.loads(pickled.emit(pickled.parse(pickle.dumps(value, protocol)))) == value


@examples(100)
@given(seed=st.integers(0, 2**32))
def test_a_damaged_pickle_is_an_error_and_no_crash(seed: int) -> None:
    random = np.random.default_rng(seed)
    content = bytearray(pickle.dumps({"a": [1, (2.0, "x")], "b": collections.OrderedDict(c=1)}, 2))
    for place in random.integers(0, len(content), 3):
        content[place] = random.integers(256)
    with contextlib.suppress(pickled.PickleError):
        pickled.emit(pickled.parse(bytes(content)))


#: A tuple of 2 ** 40 texts, of which only 40 steps are written.
LAUGHS = b"X\x01\0\0\0aq\xf0" + b"h\xf0h\xf0\x86q\xf0" * 40


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(b"N(" + LAUGHS + b"th\xf0N", id="key"),
        pytest.param(b"N(" + LAUGHS + b"tX\x01\0\0\0xh\xf0)R", id="function"),
        pytest.param(b"X\x01\0\0\0x(" + b"N" * 100_000 + b"(t" * 50_000 + b"t", id="tuples above much else"),
        pytest.param(
            b"\x8b" + (8000).to_bytes(4, "little") + b"\x01" * 8000 + b"N", id="a whole number as key"
        ),
    ],
)
def test_few_steps_do_not_take_an_age(tmp_path: Path, more: bytes) -> None:
    path = saved(tmp_path / "r.pt")
    with zipfile.ZipFile(path) as archive:
        content = archive.read(f"{path.stem}/data.pkl")
    rewritten(path, data_pkl=content.removesuffix(b"u.") + more + b"u.")
    started = time.process_time()
    columns = open_file(path).columns
    assert time.process_time() - started < 20
    assert set(columns) - {"x"} == {"rewards", "values", "terminated"}


@pytest.mark.parametrize("member", ["r/data/0", "r/data.pkl"])
def test_two_members_of_one_name_are_refused(tmp_path: Path, member: str) -> None:
    path = saved(tmp_path / "r.pt")
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(member, bytes(REWARDS.nbytes))
    with pytest.raises(gaecli.FileError, match="two of its members have one name"):
        compute(path)


@pytest.mark.parametrize(
    "name",
    ["../evil", "r/../../evil", "/evil", "..\\evil", "C:\\evil", "C:evil", "r/data/..", "r/x\0/../../y"],
)
def test_a_member_that_leads_out_of_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / "r.pt")
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("placeholder")
        info.filename = info.orig_filename = name
        archive.writestr(info, b"x")
    before = path.read_bytes()
    for call in (gaecli.inspect, compute, lambda path: compute(path, tmp_path / "new.pt")):
        with pytest.raises(gaecli.FileError, match=r"its member `.*` leads out of the archive"):
            call(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["r.pt"]


def test_names_with_dots_are_within_the_archive(tmp_path: Path) -> None:
    path = saved(tmp_path / "r.pt")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("r/notes..txt", b"x")
    compute(path)
    with zipfile.ZipFile(path) as archive:
        assert "r/notes..txt" in archive.namelist()


def test_a_reference_to_itself_ends() -> None:
    tree: Any = []
    tree.append(tree)
    again = pickle.loads(pickled.emit(pickled.parse(pickle.dumps(tree, 2))))
    assert again[0] is again
