"""Folders of Hugging Face `datasets`: what lists their columns changes with them, and nothing else does.

That the library itself loads them is in `test_acceptance.py`.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from faults.data_sets import CARD, MAKERS, MARKS, content, data_files, is_labelled, rows, write

import gaecli
from gaecli.datasets.base import in_the_style_of
from gaecli.datasets.hub.front_matter import NotPlainError, front_matter, quoted
from gaecli.errors import UsageError
from gaecli.sources.inputs import plan_streams

KINDS = ("save_to_disk", "save_to_disk, splits", "Hub")
NEW = [{"name": "advantage", "dtype": "float32"}, {"name": "return", "dtype": "float32"}]


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Path]:
    def make(kind: str) -> Path:
        root = tmp_path / "set"
        root.mkdir()
        MAKERS[kind](root)
        return root

    return make


def labelled(root: Path) -> list[bool]:
    return [is_labelled(path) for path in data_files(root)]


def statuses(root: Path, **settings: Any) -> list[str]:
    return [file.status for file in gaecli.compute(root, **settings).files]


def codes(root: Path, **settings: Any) -> list[str]:
    return [note.code for note in gaecli.compute(root, **settings).warnings]


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


# Hub


def test_only_the_new_features_come_into_the_card(make: Callable[[str], Path]) -> None:
    root = make("Hub")
    gaecli.compute(root)
    lines = "".join(f"  - name: {new['name']}\n    dtype: float32\n" for new in NEW)
    assert (root / "README.md").read_text() == CARD.replace("  splits:\n", lines + "  splits:\n")
    assert all(labelled(root))
    after = content(root)
    assert set(statuses(root)) == {"up to date"}
    assert content(root) == after


CARDS = {
    "deeper": """
        dataset_info:
            features:
                -   name: reward
                    dtype: float64
                # a comment
                -   name: x
                    sequence: int64

            splits: []
        """,
    "a list of configurations": """
        dataset_info:
        - config_name: default
          features:
          - name: 'reward'
            dtype: float64  # before
          download_size: 1
        language:
        - en
        """,
    "at the end": """
        license: mit
        dataset_info:
          config_name: plain
          features:
          - name: "reward"
            dtype:
              class_label:
                names:
                  '0': neg
                  '1': pos
        """,
    "in configs": """
        configs:
        - config_name: default
          data_files: "data/*.parquet"
          features:
          - name: reward
            struct:
            - name: inner
              dtype: float64
        """,
}


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_features_are_added_in_the_manner_of_the_list(
    make: Callable[[str], Path], name: str, ending: str
) -> None:
    root = make("Hub")
    text = f"---\n{textwrap.dedent(CARDS[name]).lstrip()}---\n# Text\nfeatures:\n- name: no\n"
    (root / "README.md").write_bytes(text.replace("\n", ending).encode())
    gaecli.compute(root)
    found = (root / "README.md").read_bytes().decode()
    assert (found.count("\r\n") == found.count("\n")) == (ending == "\r\n")
    lines, old = found.replace("\r\n", "\n").splitlines(), text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.endswith("name: advantage"))
    texts = [line.strip(" -") for line in lines[start : start + 4]]
    assert texts == ["name: advantage", "dtype: float32", "name: return", "dtype: float32"]
    assert lines[:start] + lines[start + 4 :] == old
    block = front_matter(found.splitlines(keepends=True), ["dataset_info", "configs"])
    entry = next(iter(block.values()))
    features = (entry.items or [entry])[0].get("features")
    assert features is not None
    assert features.plain()[-2:] == NEW  # type: ignore[index]


@pytest.mark.parametrize(
    "features",
    [
        "features: [{name: reward, dtype: float64}]",
        "features: &anchor\n  - name: reward\n    dtype: float64",
        "features:\n  - {name: reward, dtype: float64}",
        "features:\n  - name: |\n      reward\n    dtype: float64",
        "features:\n  - dtype: float64",
        'features:\n  - name: "re\\u0077ard"\n    dtype: float64',
        "features:\n  - name: reward\n   dtype: float64",
        "features:\n  - name: reward\n    dtype: float64\n  features:\n  - name: x",
    ],
)
def test_a_list_that_is_not_plain_is_left_alone_and_the_way_out_is_named(
    make: Callable[[str], Path], tmp_path: Path, features: str
) -> None:
    root = make("Hub")
    (root / "README.md").write_text(f"---\ndataset_info:\n  {features}\n---\n")
    before = content(root)
    with pytest.raises(UsageError, match="in a way that gaecli does not change") as raised:
        gaecli.compute(root)
    for way in ("--sidecar", "--output", "take `features` out"):
        assert way in str(raised.value.hint)
    assert content(root) == before
    gaecli.compute(root, output=tmp_path / "copy")
    assert all(labelled(tmp_path / "copy"))
    assert not (tmp_path / "copy/README.md").exists()
    gaecli.compute(root, sidecar=True)
    assert content(root) == before


def test_a_feature_that_is_there_takes_its_new_type(make: Callable[[str], Path]) -> None:
    root = make("Hub")
    for path in data_files(root):
        write(path, rows(episode=[0, 0], advantage=["a", "b"]).append_column("e", pa.array([1, 1])))
    card = CARD.replace("  - name: value\n", "  - name: advantage\n    dtype: string\n  - name: value\n")
    (root / "README.md").write_text(card)
    assert gaecli.compute(root, episode_column="none").exit_code == 2
    assert (root / "README.md").read_text() == card
    gaecli.compute(root, overwrite=True, episode_column="none")
    found = (root / "README.md").read_text()
    wanted = card.replace("dtype: string", "dtype: float32")
    assert found == wanted.replace("  splits:\n", "  - name: return\n    dtype: float32\n  splits:\n")


@pytest.mark.parametrize(
    ("like", "listed"),
    [
        (pa.list_(pa.float32()), ["list: float32"]),
        (pa.large_list(pa.float32()), ["large_list: float32"]),
        (pa.list_(pa.float32(), 2), ["list: float32", "length: 2"]),
    ],
)
@pytest.mark.parametrize("is_old", [False, True])
def test_lists_of_steps_get_features_that_are_lists(
    make: Callable[[str], Path], like: pa.DataType, listed: list[str], is_old: bool
) -> None:
    root = make("Hub")
    card = CARD
    if is_old:
        card = CARD.replace("dtype: int64", "sequence: int64")
        listed = [
            line.replace("list: ", "sequence: ") if line.startswith("list") else line for line in listed
        ]
    (root / "README.md").write_text(card)
    for path in data_files(root):
        columns = {name: pa.array([[1.0, 2.0]] * 2, like) for name in ("reward", "value")}
        write(path, pa.table(columns))
    gaecli.compute(root)
    item = "".join(f"    {line}\n" for line in listed)
    added = f"  - name: advantage\n{item}  - name: return\n{item}"
    assert (root / "README.md").read_text() == card.replace("  splits:\n", added + "  splits:\n")


def test_old_lists_of_features_as_json_are_kept_true(make: Callable[[str], Path]) -> None:
    root = make("Hub")
    (root / "README.md").unlink()
    infos = {"someone--set": {"features": {"reward": {"dtype": "float64", "id": None, "_type": "Value"}}}}
    (root / "dataset_infos.json").write_text(json.dumps(infos, indent=4))
    gaecli.compute(root)
    for name in ("advantage", "return"):
        infos["someone--set"]["features"][name] = {"dtype": "float32", "_type": "Value"}
    assert (root / "dataset_infos.json").read_text() == json.dumps(infos, indent=4)


TWO_CONFIGS = """---
configs:
- config_name: runs
  data_files:
  - split: train
    path:
    - runs/train-*
  - split: test
    path: runs/test*/*
- config_name: names
  data_dir: names
dataset_info:
- config_name: runs
  features:
  - name: reward
    dtype: float64
- config_name: names
  features:
  - name: label
    dtype: string
---
"""


def test_each_configuration_goes_by_itself(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name in ("runs/train-00000-of-00001", "runs/test/00"):
        write(root / f"{name}.parquet", rows(t=[0, 1]))
    write(root / "names/a.parquet", pa.table({"label": ["x"]}))
    (root / "README.md").write_text(TWO_CONFIGS)
    summary = gaecli.compute(root)
    assert [file.status for file in summary.files] == ["failed", "written", "written"]
    added = "".join(f"  - name: {new['name']}\n    dtype: float32\n" for new in NEW)
    wanted = TWO_CONFIGS.replace(
        "- config_name: names\n  features", added + "- config_name: names\n  features"
    )
    assert (root / "README.md").read_text() == wanted
    # A folder with all files of one configuration is all of it.
    (root / "README.md").write_text(TWO_CONFIGS)
    gaecli.compute(root / "runs", gamma=0.5)
    assert (root / "README.md").read_text() == wanted
    with pytest.raises(UsageError, match="of the 3 files"):
        gaecli.compute(root / "runs/test")


def test_a_cache_that_is_behind_is_told_of(make: Callable[[str], Path], tmp_path: Path) -> None:
    """`datasets` looks at the text of the card: it tells of new columns, and not of new numbers."""
    root = make("Hub")
    assert "stale-cache" not in codes(root)
    assert "stale-cache" in codes(root, gamma=0.5)
    assert "stale-cache" not in codes(root, gamma=0.5)  # up to date
    assert "stale-cache" not in codes(root, output=tmp_path / "copy")
    assert "stale-cache" in codes(root, output=tmp_path / "copy", gamma=0.9)
    assert "stale-cache" not in codes(root, sidecar=True)
    (root / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_files: data/*\n---\n")
    assert "stale-cache" in codes(root)
    (root / "README.md").write_text("# No more configs\n")
    assert "stale-cache" not in codes(root, gamma=0.8)


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


# The part of YAML


def test_yaml_is_read_as_it_is_meant() -> None:
    text = """---
    # nothing
a: 1
dataset_info:
- one: 'it''s'
  two: "x y" # comment
  three:
  - - p
    - q
  - r
-   four:
    five: a:b
b: {c: d}
---
dataset_info: no
"""
    found = front_matter(text.splitlines(keepends=True), ["dataset_info"])
    assert found["dataset_info"].plain() == [
        {"one": "it's", "two": "x y", "three": [["p", "q"], "r"]},
        {"four": "", "five": "a:b"},
    ]


@pytest.mark.parametrize("text", ["", "---\n", "# x\n---\ndataset_info:\n  a: b\n---\n", "--- x\n---\n"])
def test_without_front_matter_there_is_none(text: str) -> None:
    assert front_matter(text.splitlines(keepends=True), ["dataset_info"]) == {}


@pytest.mark.parametrize(
    "body",
    [
        "\ta: b",
        "  a: b\n c: d",
        "  a: >\n    text",
        "  a: *alias",
        "  a: !tag x",
        "  a: b: c",
        "  a: 'open",
        "  a: b\n    more",
        "  a: b\n  a: c",
        "  just text",
        "  ? a\n  : b",
    ],
)
def test_what_is_not_plain_is_not_guessed(body: str) -> None:
    lines = f"---\ndataset_info:\n{body}\n---\n".splitlines(keepends=True)
    with pytest.raises(NotPlainError):
        front_matter(lines, ["dataset_info"])


def test_deep_nesting_ends_soon() -> None:
    body = "".join(f"{' ' * depth}a:\n" for depth in range(1, 3000))
    with pytest.raises(NotPlainError):
        front_matter(f"---\ndataset_info:\n{body}---\n".splitlines(keepends=True), ["dataset_info"])


@pytest.mark.parametrize(
    ("name", "text"),
    [("next.reward", "next.reward"), ("on", "'on'"), ("it's", "'it''s'"), ("5", "'5'"), ("a: b", "'a: b'")],
)
def test_names_are_quoted_where_they_mean_something_else(name: str, text: str) -> None:
    assert quoted(name) == text


@pytest.mark.parametrize("indent", [None, 1, 2, 4, "\t"])
@pytest.mark.parametrize("ensure_ascii", [False, True])
@pytest.mark.parametrize("ending", ["", "\n"])
def test_json_keeps_its_style(indent: int | str | None, ensure_ascii: bool, ending: str) -> None:
    style: dict[str, Any] = {"indent": indent, "ensure_ascii": ensure_ascii}
    old, new = {"a": "é", "b": [1]}, {"a": "é", "b": [1], "c": {}}
    text = json.dumps(old, **style) + ending
    assert in_the_style_of(text.encode(), old, new) == (json.dumps(new, **style) + ending).encode()
