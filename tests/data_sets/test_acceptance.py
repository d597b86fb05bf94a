"""The data sets' own loaders read what gaecli wrote. docs/formats.md says how to run this and when it last ran.

    pip install --no-deps lerobot==0.4.4
    pip install "datasets>=4.8,<5" "pandas<3" "numpy<2.3" av draccus einops jsonlines deepdiff imageio \
        opencv-python-headless gymnasium minari==0.5.4 h5py
    pytest -m acceptance
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import gaecli

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
SHARED = Path(__file__).parents[3] / "shared" / "samples"

pytestmark = pytest.mark.acceptance


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    for name in ("HF_HOME", "HF_LEROBOT_HOME", "HF_DATASETS_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))


@pytest.fixture
def lerobot_set(tmp_path: Path) -> Path:
    """With the list of episodes, which the loader needs and the tests' own copy leaves out."""
    source = SHARED / "lerobot/v30_state"
    if not source.is_dir():
        pytest.skip("needs `meta/episodes`, which is not among the tests' own samples")
    root = Path(shutil.copytree(source, tmp_path / "set", copy_function=shutil.copyfile))
    for path in [root, *root.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return root


def load_lerobot(root: Path) -> Any:
    pytest.importorskip("lerobot")
    from lerobot_stand_ins import install

    install()
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset("someone/set", root=root)


@pytest.mark.usefixtures("offline")
def test_lerobot_loads_a_set_with_its_new_columns(lerobot_set: Path) -> None:
    gaecli.compute(lerobot_set)
    data = load_lerobot(lerobot_set)
    wanted = pq.read_table(SAMPLES / "lerobot/v30_state_expected.parquet").column("advantage").to_numpy()
    found = np.array([float(data[index]["advantage"]) for index in range(0, 990, 11)])
    np.testing.assert_allclose(found, wanted[::11], rtol=1e-5)


@pytest.mark.usefixtures("offline")
def test_lerobot_loads_a_copy_and_a_set_with_a_sidecar(lerobot_set: Path, tmp_path: Path) -> None:
    gaecli.compute(lerobot_set, output=tmp_path / "copy")
    assert "advantage" in load_lerobot(tmp_path / "copy").features
    gaecli.compute(lerobot_set, sidecar=True)
    assert "advantage" not in load_lerobot(lerobot_set).features


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("kind", ["bool", "text"])
def test_lerobot_loads_labels_of_success(tmp_path: Path, sample_data: Path, kind: str) -> None:
    root = tmp_path / "set"
    gaecli.compute(
        sample_data / "reach_lerobot",
        root,
        estimator="mc",
        success_column="next.success",
        failure_cost=50,
        label_rule="lerobot-3764",
        label_type=kind,
        names="lerobot",
        weight="rabc",
        progress_column="timestamp",
    )
    data = load_lerobot(root)
    table = pq.read_table(next(root.glob("data/*/*.parquet")))
    for index in range(0, len(data), 7):
        row = data[index]
        label = row["label"] if kind == "text" else bool(row["label"])
        assert label == table["label"][index].as_py()
        assert bool(row["is_terminal"]) == table["is_terminal"][index].as_py()
        assert float(row["mc_return"]) == table["mc_return"][index].as_py()


@pytest.mark.parametrize("data_format", ["parquet", "hdf5"])
def test_minari_loads_a_set_with_its_new_columns(
    data_format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    name = f"cartpole/{data_format}-v0"
    source = SAMPLES / "minari" / name
    if not source.is_dir():
        source = SHARED / "minari" / name
    if not source.is_dir():
        pytest.skip(f"no {name} here")
    root = Path(shutil.copytree(source, tmp_path / name, copy_function=shutil.copyfile))
    for path in [root, *root.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    before = [episode.rewards for episode in minari.load_dataset(name).iterate_episodes()]
    gaecli.compute(root, value_column="infos.value")
    gaecli.compute(root, value_column="infos.value", sidecar=True)
    after = [episode.rewards for episode in minari.load_dataset(name).iterate_episodes()]
    assert len(after) == 12
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("offline")
def test_datasets_loads_shards_with_their_new_columns(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    root = Path(shutil.copytree(SAMPLES / "hf/sharded", tmp_path / "sharded"))
    gaecli.compute(root)
    gaecli.compute(root, sidecar=True, overwrite=True)
    data = datasets.load_dataset(str(root), split="train", cache_dir=str(tmp_path / "cache"))
    assert data.features["advantage"].dtype == "float32"
    wanted = pq.read_table(SAMPLES / "hf/sharded_expected.parquet").column("advantage").to_numpy()
    np.testing.assert_allclose(np.array(data["advantage"]), wanted, rtol=1e-5, atol=1e-4)


HUB_CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
  - split: test
    path: data/test-*
---
"""


@pytest.fixture
def rollouts() -> Any:
    datasets = pytest.importorskip("datasets")
    columns = {"reward": [1.0] * 6, "value": [0.5] * 6, "terminated": [False, True] * 3}
    return datasets.Dataset.from_dict({**columns, "episode": [0, 0, 1, 1, 2, 2]})


@pytest.mark.usefixtures("offline")
def test_datasets_loads_from_disk_what_it_saved_there(rollouts: Any, tmp_path: Path) -> None:
    import datasets

    rollouts.save_to_disk(tmp_path / "alone", num_shards=3)
    both = datasets.DatasetDict({"train": rollouts, "test": rollouts})
    both.save_to_disk(tmp_path / "both", num_shards={"train": 2, "test": 1})
    old = datasets.load_from_disk(tmp_path / "alone")
    old_rows = old.map(lambda row: {"twice": 2 * row["reward"]})
    for name in ("alone", "both"):
        gaecli.compute(tmp_path / name, output=tmp_path / f"{name}-copy")
        gaecli.compute(tmp_path / name, gamma=0.5)
        for folder, gamma in ((name, 0.5), (f"{name}-copy", 0.99)):
            found = datasets.load_from_disk(tmp_path / folder)
            for split in found.values() if name == "both" else [found]:
                # Values are 0.5, the last step is terminal: 1 + 0.5 γ - 0.5 + 0.95 γ (1 - 0.5), and 1 - 0.5.
                wanted = [0.5 + 0.5 * gamma + 0.95 * gamma * 0.5, 0.5] * 3
                np.testing.assert_allclose(np.array(split["advantage"]), wanted, rtol=1e-6)
                assert split.features["advantage"].dtype == "float32"
    # What was computed from the old rows is not taken for what would be computed from the new ones.
    new = datasets.load_from_disk(tmp_path / "alone")
    new_rows = new.map(lambda row: {"twice": 2 * row["reward"]})
    assert "advantage" in new_rows.column_names
    assert "advantage" not in old_rows.column_names


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("has_configs", [True, False])
@pytest.mark.parametrize("has_features", [True, False])
def test_datasets_loads_a_hub_folder_whose_card_lists_features(
    rollouts: Any, tmp_path: Path, has_configs: bool, has_features: bool
) -> None:
    import datasets

    root, cache = tmp_path / "set", tmp_path / "old cache"
    for split in ("train", "test"):
        for number in range(2):
            path = root / f"data/{split}-{number:05d}-of-00002.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            rollouts.shard(2, number, contiguous=True).to_parquet(path)
    if has_configs:
        (root / "README.md").write_text(HUB_CARD)
    if has_features:
        infos = datasets.info.DatasetInfosDict({"default": datasets.DatasetInfo(features=rollouts.features)})
        infos.write_to_directory(root)
        assert "features" in (root / "README.md").read_text()

    def load(cache: Path) -> Any:
        return datasets.load_dataset(str(root), cache_dir=str(cache))["train"]

    assert "advantage" not in load(cache).column_names
    first = gaecli.compute(root)
    fresh = load(tmp_path / "fresh cache")
    wanted = [0.5 + 0.5 * 0.99 + 0.95 * 0.99 * 0.5, 0.5] * 3
    np.testing.assert_allclose(np.array(fresh["advantage"]), wanted, rtol=1e-6)
    streamed = next(iter(datasets.load_dataset(str(root), split="test", streaming=True)))
    assert streamed["advantage"] == pytest.approx(wanted[0])

    # Where the summary says nothing of a cache, there is nothing to say; where it does, it is so.
    def is_told(summary: gaecli.Summary) -> bool:
        return any(note.code == "stale-cache" for note in summary.warnings)

    assert is_told(first) == ("advantage" not in load(cache).column_names)
    load(cache)
    again = gaecli.compute(root, gamma=0.5)
    found = load(cache)
    is_stale = "advantage" not in found.column_names or found["advantage"][0] == pytest.approx(wanted[0])
    assert is_told(again) == is_stale
    assert is_stale == has_configs
    elsewhere = load(tmp_path / "another cache")
    assert elsewhere["advantage"][0] == pytest.approx(0.5 + 0.5 * 0.5 + 0.95 * 0.5 * 0.5)
