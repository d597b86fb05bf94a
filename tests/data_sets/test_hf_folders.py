"""Folders of Hugging Face `datasets`: what lists their columns changes with them, and nothing else does.

That the library itself loads them is in `test_acceptance.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from data_sets.labelled_folders import labelled, statuses
from faults.data_sets import MAKERS, MARKS, content, data_files, is_labelled, rows, write

import gaecli
from gaecli.errors import UsageError
from gaecli.sources.inputs import plan_streams

KINDS = ("save_to_disk", "save_to_disk, splits", "Hub")


# save_to_disk


@pytest.mark.parametrize("kind", ["save_to_disk", "save_to_disk, splits"])
def test_only_features_and_fingerprint_of_a_saved_set_change(make: Callable[[str], Path], kind: str) -> None:
    root = make(kind)
    before = content(root)
    gaecli.compute(root)
    after = content(root)
    assert after.keys() == before.keys()
    for name, text in before.items():
        if name.endswith("dataset_info.json"):
            new = '    "{}": {{\n      "dtype": "float32",\n      "_type": "Value"\n    }}'
            listed = ",\n".join(new.format(column) for column in ("advantage", "return")).encode()
            assert after[name] == text.replace(b"\n    }\n  },", b"\n    },\n" + listed + b"\n  },")
        elif name.endswith("state.json"):
            old, found = json.loads(text), json.loads(after[name])
            assert len(found["_fingerprint"]) == 16
            assert after[name] == text.replace(old["_fingerprint"].encode(), found["_fingerprint"].encode())
        elif name == "dataset_dict.json":
            assert after[name] == text
    assert all(labelled(root))
    assert set(statuses(root)) == {"up to date"}
    assert content(root) == after


def test_trajectories_of_imitation_are_not_written_in_place(tmp_path: Path) -> None:
    """imitation 1.0.1: `serialize.save`; its `load` fails with `unexpected keyword argument 'return'`."""
    steps = {"obs": [[0.0] * 4, [0.0] * 3], "acts": [[1] * 3, [1] * 2], "infos": [["{}"] * 3, ["{}"] * 2]}
    table = pa.table(steps | {"terminal": [True, False], "rews": [[1.0, 2.0, 4.0], [8.0, 16.0]]})
    root = tmp_path / "trajectories"
    root.mkdir()
    with pa.ipc.new_stream(root / "data-00000-of-00001.arrow", table.schema) as stream:
        stream.write_table(table)
    features = {name: {} for name in table.column_names}
    (root / "dataset_info.json").write_text(json.dumps({"features": features}, indent=2))
    files = [{"filename": "data-00000-of-00001.arrow"}]
    (root / "state.json").write_text(json.dumps({"_data_files": files, "_fingerprint": "0"}, indent=2))
    before = content(root)
    with pytest.raises(UsageError, match="trajectories of imitation") as raised:
        gaecli.compute(root, estimator="mc", gamma=0.5)
    assert "`--sidecar`" in raised.value.hint
    assert content(root) == before
    gaecli.compute(root, tmp_path / "copy", estimator="mc", gamma=0.5)
    with pa.ipc.open_stream(tmp_path / "copy" / "data-00000-of-00001.arrow") as copy:
        assert copy.read_all()["return"].to_pylist() == [[3.0, 4.0, 4.0], [16.0, 16.0]]


def test_the_fingerprint_differs_where_the_numbers_do(make: Callable[[str], Path]) -> None:
    root = make("save_to_disk")

    def fingerprint(**settings: Any) -> str:
        gaecli.compute(root, **settings)
        return str(json.loads((root / "state.json").read_text())["_fingerprint"])

    first = fingerprint()
    assert fingerprint(gamma=0.5) not in (first, "b6abfb80a2e35f3f")
    assert fingerprint() == first


def test_files_of_a_saved_set_are_those_of_its_list_in_their_order(make: Callable[[str], Path]) -> None:
    root = make("save_to_disk")
    (root / "cache-0123.arrow").write_bytes((root / "data-00000-of-00003.arrow").read_bytes())
    state = json.loads((root / "state.json").read_text())
    state["_data_files"].reverse()
    (root / "state.json").write_text(json.dumps(state))
    (plan,) = plan_streams([root], None)
    assert [path.name for path in plan.paths] == [f"data-0000{number}-of-00003.arrow" for number in (2, 1, 0)]
    gaecli.compute(root)
    assert not is_labelled(root / "cache-0123.arrow")


@pytest.mark.parametrize("name", ["../x.arrow", "/etc/x.arrow", "a/b.arrow", "..", "", 5, None])
def test_a_list_of_files_never_leads_elsewhere(make: Callable[[str], Path], name: object) -> None:
    root = make("save_to_disk")
    state = json.loads((root / "state.json").read_text())
    state["_data_files"][0]["filename"] = name
    (root / "state.json").write_text(json.dumps(state))
    with pytest.raises(gaecli.FileError, match=r"state\.json` names no files"):
        plan_streams([root], None)


@pytest.mark.parametrize("what", ["a file", "a split", "its list"])
def test_what_a_saved_set_lacks_is_named(make: Callable[[str], Path], what: str) -> None:
    root = make("save_to_disk, splits")
    gone = {
        "a file": "train/data-00001-of-00002.arrow",
        "a split": "test/state.json",
        "its list": "test/dataset_info.json",
    }[what]
    (root / gone).unlink()
    with pytest.raises(gaecli.FileError, match=Path(gone).name):
        plan_streams([root], None)


def test_a_selection_of_rows_is_refused(make: Callable[[str], Path]) -> None:
    root = make("save_to_disk")
    state = json.loads((root / "state.json").read_text())
    state["_indices_data_files"] = [{"filename": "indices.arrow"}]
    (root / "state.json").write_text(json.dumps(state))
    with pytest.raises(UsageError, match="selection of rows"):
        plan_streams([root], None)


# All of them


@pytest.mark.parametrize("kind", KINDS)
def test_one_bad_file_leaves_all_splits_as_they_were(make: Callable[[str], Path], kind: str) -> None:
    root = make(kind)
    bad = data_files(root)[-1 if kind != "save_to_disk, splits" else 0]  # of `test` there, of `train` else
    table = rows(episode=[9, 9])
    broken = table.set_column(0, "reward", pa.array([float("nan")] * 2))
    if bad.suffix == ".parquet":
        write(bad, broken)
    else:
        with pa.OSFile(str(bad), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(broken)
    before = content(root)
    summary = gaecli.compute(root)
    assert summary.exit_code == 3
    assert sorted(file.status for file in summary.files) == ["failed", "not written", "not written"]
    assert content(root) == before


@pytest.mark.few(3)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("join", [True, False])
def test_no_file_is_made_independent_of_the_list(
    make: Callable[[str], Path], tmp_path: Path, kind: str, join: bool
) -> None:
    root = make(kind)
    with pytest.raises(UsageError, match="lists the columns of all its files"):
        gaecli.compute(root, join=join)
    assert not any(labelled(root))
    gaecli.compute(root, join=join, output=tmp_path / "out")
    assert all(labelled(tmp_path / "out"))


@pytest.mark.parametrize("kind", KINDS)
def test_one_file_or_one_split_is_not_written_in_place(make: Callable[[str], Path], kind: str) -> None:
    root = make(kind)
    for named in (data_files(root)[:1], data_files(root)[:2]):
        with pytest.raises(UsageError, match="of the 3 files") as raised:
            gaecli.compute(named)
        assert "--no-join" not in str(raised.value.hint)
    assert not any(labelled(root))
    gaecli.compute(data_files(root))  # all of them
    assert all(labelled(root))


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_a_set_and_leaves_the_first_one_alone(
    make: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    root = make(kind)
    before = content(root)
    gaecli.compute(root, output=tmp_path / "copy")
    assert content(root) == before
    copied = content(tmp_path / "copy")
    gaecli.compute(root)
    assert copied.keys() == content(root).keys()
    for name, text in content(root).items():
        if name.endswith((".md", "dataset_info.json")):
            assert copied[name] == text
    assert set(statuses(root, output=tmp_path / "copy2")) == {"written"}


@pytest.mark.few(3)
@pytest.mark.parametrize("kind", MAKERS)
def test_sets_side_by_side_are_several(tmp_path: Path, kind: str) -> None:
    for name in ("a", "b"):
        (tmp_path / "sets" / name).mkdir(parents=True)
        MAKERS[kind](tmp_path / "sets" / name)
    (tmp_path / "alone").mkdir()
    MAKERS[kind](tmp_path / "alone")
    gaecli.compute(tmp_path / "alone")
    gaecli.compute(tmp_path / "sets")
    wanted = content(tmp_path / "alone")
    for name in ("a", "b"):
        found = content(tmp_path / "sets" / name)
        assert found.keys() == wanted.keys()
        for mark in MARKS[kind]:
            assert found[mark] == wanted[mark]


def test_a_readme_of_something_else_means_nothing(tmp_path: Path) -> None:
    write(tmp_path / "data/x.parquet", rows(t=[0, 1]))
    for text in ("# features:\n", "---\ntitle: features\n---\n", "---\nfeatures: [a]\n---\n", "\xff"):
        (tmp_path / "README.md").write_bytes(text.encode("latin-1"))
        (plan,) = plan_streams([tmp_path], None)
        assert plan.data_set is None
