"""The card of a folder of the Hub: the new features come into its list, in the manner of the list."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from data_sets.labelled_folders import NEW, codes, labelled, statuses
from faults.data_sets import CARD, content, data_files, rows, write

import gaecli
from gaecli.datasets.hub.front_matter import front_matter
from gaecli.errors import UsageError


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


@pytest.mark.few(4)
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


@pytest.mark.few(4)
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


@pytest.mark.few(3)
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
