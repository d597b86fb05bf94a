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
