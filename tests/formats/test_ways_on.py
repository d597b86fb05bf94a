"""What is not read is told with a command that makes a file of it, and the command does."""

from __future__ import annotations

import ast
import json
import os
import shlex
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pytest

import gaecli

h5py = pytest.importorskip("h5py")

NUM_EPISODES, LENGTH = 4, 6
_generator = np.random.default_rng(3)
REWARDS, VALUES = (_generator.normal(size=(NUM_EPISODES, LENGTH)).astype(np.float32) for _ in range(2))
DONE = np.tile(np.arange(LENGTH) == LENGTH - 1, (NUM_EPISODES, 1))
FRAME = pd.DataFrame({"reward": REWARDS.ravel(), "value": VALUES.ravel(), "done": DONE.ravel()})
TABLE = pa.Table.from_pandas(FRAME)


def advantages(values: np.ndarray, gamma: float, lam: float) -> np.ndarray:
    """Of all steps in order, by a plain loop: every episode ends in a terminal state."""
    found = np.zeros(REWARDS.shape)
    for episode in range(NUM_EPISODES):
        following = 0.0
        for step in reversed(range(LENGTH)):
            beyond = 0.0 if step == LENGTH - 1 else float(values[episode, step + 1])
            delta = float(REWARDS[episode, step]) + gamma * beyond - float(values[episode, step])
            following = found[episode, step] = delta + gamma * lam * following
    return found.ravel()


def feather_1(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyarrow.feather.write_feather(TABLE, path, version=1)


def sqlite(path: Path) -> None:
    with sqlite3.connect(path) as database:
        FRAME.to_sql("TABLE1", database)
    database.close()


def table_in_hdf5(path: Path) -> None:
    cells = np.zeros(len(FRAME), [("obs", "f4", 3), ("reward", "f4"), ("value", "f4"), ("done", "?")])
    for name in FRAME:
        cells[name] = FRAME[name]
    with h5py.File(path, "w") as file:
        file["steps"] = cells


def arrays_in_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.update({"next/reward": REWARDS, "next/done": DONE, "state_value": VALUES})


def of_d3rlpy(path: Path) -> None:
    """As `d3rlpy.dataset.dump` of d3rlpy 2.8.1 lays it out; it knows no values."""
    with h5py.File(path, "w") as file:
        file["columns"] = np.array(["observations", "actions", "rewards", "terminated"], dtype="S")
        for number in range(NUM_EPISODES):
            file[f"observations_{number}"] = np.ones((LENGTH, 3), np.float32)
            file[f"rewards_{number}"] = REWARDS[number, :, None]
            file[f"terminated_{number}"] = True
        file["num_episodes"], file["version"] = NUM_EPISODES, "2.1"


#: Name of the file -> (what writes it, what the made one is called, how it is computed).
FILES: dict[str, tuple[Callable[[Path], Any], str, dict[str, Any]]] = {
    "r.orc": (lambda path: pyarrow.orc.write_table(TABLE, path), "r.parquet", {}),
    "old.feather": (feather_1, "old.parquet", {}),
    "a frame.pkl": (FRAME.to_pickle, "a frame.parquet", {}),
    "columns.json": (FRAME.to_json, "columns.parquet", {}),
    "r.db": (sqlite, "r.parquet", {}),
    "table.h5": (table_in_hdf5, "table.npz", {}),
    "it's.hdf5": (arrays_in_hdf5, "it's.npz", {"layout": "batch-major"}),
    "d3.h5": (of_d3rlpy, "d3-episodes.hdf5", {"estimator": "mc"}),
}


@pytest.mark.parametrize("name", FILES)
def test_the_command_of_the_message_makes_a_file_that_is_read(tmp_path: Path, name: str) -> None:
    write, made, settings = FILES[name]
    write(tmp_path / name)
    with pytest.raises(gaecli.errors.GaeError) as raised:
        gaecli.compute(tmp_path / name)
    run(raised.value.hint.replace(" TABLE", " TABLE1"))
    is_mc = settings.get("estimator") == "mc"
    gaecli.compute(tmp_path / made, gamma=0.9, **settings if is_mc else {"lam": 0.8, **settings})
    expected = advantages(np.zeros_like(VALUES), 0.9, 1.0) if is_mc else advantages(VALUES, 0.9, 0.8)
    # float32 columns
    np.testing.assert_allclose(
        cells_of(tmp_path / made, "return" if is_mc else "advantage"), expected, rtol=1e-5, atol=1e-6
    )


def run(hint: str) -> None:
    """The command in a hint: by a shell where it is quoted for one, else here, where pandas is imported."""
    command = hint[hint.index("python -c") :]
    _, _, code, *arguments = shlex.split(command)
    if "'" not in "".join(arguments) + code:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["-c", *arguments])
            exec(compile(code, "-c", "exec"), {"__name__": "__main__"})
        return
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def cells_of(path: Path, name: str) -> np.ndarray:
    if path.suffix == ".parquet":
        return pq.read_table(path)[name].to_numpy()
    if path.suffix == ".npz":
        return np.load(path)[name].ravel()
    with h5py.File(path) as file:
        return np.concatenate([file[f"episode_{number}/{name}"][()] for number in range(NUM_EPISODES)])


def described(folder: Path, text: str = "<class 'tensordict._td.TensorDict'>") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meta.json").write_text(json.dumps({"shape": [3, 12], "_type": text}))


def of_zarr(folder: Path) -> None:
    (folder / "rewards" / "c").mkdir(parents=True)
    (folder / "zarr.json").write_text("{}")


def of_tfds(folder: Path, kind: str = "tfrecord") -> None:
    folder.mkdir()
    for name in ("dataset_info.json", "features.json", f"tiny-train.{kind}-00000-of-00001"):
        (folder / name).write_text("{}")


def of_reverb(folder: Path) -> None:
    folder.mkdir()
    for name in ("tables", "chunks", "items"):
        (folder / f"{name}.tfrecord").touch()


def of_torchrl(folder: Path) -> None:
    described(folder / "storage")
    (folder / "writer").mkdir()


#: Name of the folder -> (what makes it, what it is called, what is made of it). The commands were run with tensordict
#: 0.15.3, torchrl 0.14.1, zarr 3.1.6 and tensorflow_datasets 4.9.4; what those of the first two made, of buffers that
#: were full, not yet full and full several times over, was compared with what was put in.
FOLDERS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "run.zarr": (of_zarr, "a zarr group", "run.npz"),
    "1.0.0": (of_tfds, "a data set of TFDS", "1.0.0.parquet"),
    "2.0.0": (lambda folder: of_tfds(folder, "array_record"), "a data set of TFDS", "2.0.0.parquet"),
    "steps": (described, "a TensorDict that is mapped into memory", "steps.npz"),
    "buffer": (of_torchrl, "a replay buffer of TorchRL", "buffer.npz"),
    "checkpoint": (of_reverb, "a checkpoint of Reverb", ""),
    "other": (lambda folder: described(folder, "something else"), "", ""),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_called_what_it_is(tmp_path: Path, name: str) -> None:
    make, kind, made = FOLDERS[name]
    make(tmp_path / name)
    with pytest.raises(gaecli.FileError, match="holds no rollout files") as raised:
        gaecli.compute(tmp_path / name)
    assert str(raised.value).endswith(f": it is {kind}" if kind else "files")
    if made:
        program, flag, code, *names = shlex.split(raised.value.hint.partition("; `train`")[0])
        assert (program, flag, names) == ("python", "-c", [str(tmp_path / name), str(tmp_path / made)])
        ast.parse(code)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("r.safetensors", (14).to_bytes(8, "little") + b'{"rewards":{}}', "it is safetensors"),
        ("r.duckdb", bytes(8) + b"DUCK" + bytes(20), "it is a DuckDB database"),
        ("r.tfrecord-00000-of-00001", b"\x10\0\0\0\0\0\0\0abcd", "it is a file of records of TensorFlow"),
        ("r.demo", b"\x08\x12\0\0", "it is a demonstration of ML-Agents"),
        ("reward.memmap", b"\x01\0\0\0", "it is one tensor of a TensorDict"),
        (
            "r.parquet",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n",
            "it is a pointer of Git LFS",
        ),
        (
            "r.csv",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n",
            "it is a pointer of Git LFS",
        ),
        ("r.csv", b"<!DOCTYPE html><html>404</html>", "it is a web page"),
        (
            "r.pkl",
            b"\x80\x05\x95stable_baselines3.common.buffers\x94RolloutBuffer",
            "a rollout buffer of Stable-B",
        ),
        ("r.pkl", b"\x80\x05\x95stable_baselines3.common.buffers\x94ReplayBuffer", "which has no values"),
    ],
)
def test_a_file_is_called_what_it_is(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(gaecli.FileError) as raised:
        gaecli.compute(tmp_path / name)
    assert says in str(raised.value)
    assert raised.value.hint


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"hello\nworld\n", "it begins with `hello`"),
        ("Bahnhofsstraßeé".encode(), "it begins with `Bahnhofsstraße`"),  # 16 bytes are looked at
        (b"abc\xff\xfe", "it does not start like one"),
        (b"\x00\x01\x02", "it does not start like one"),
    ],
)
def test_of_text_that_is_no_rollout_file_the_beginning_is_shown(
    tmp_path: Path, content: bytes, says: str
) -> None:
    (tmp_path / "r.parquet").write_bytes(content)
    with pytest.raises(gaecli.FileError) as raised:
        gaecli.compute(tmp_path / "r.parquet")
    assert str(raised.value).endswith(f": {says}")


def test_a_checkpoint_of_torchrl_has_rows_that_hold_no_step(tmp_path: Path) -> None:
    """`H5StorageCheckpointer` of 0.14.1: 3 of 5 rows are filled, and the other two are a trajectory as well."""
    with h5py.File(tmp_path / "checkpoint.h5", "w") as file:
        file.update({"_len": 3, "_storage_shape": [5], "is_full": False, "shift": 3})
        for number, length in enumerate((3, 2)):
            file[f"traj_{number}/reward"] = np.ones((length, 1))
            file[f"traj_{number}/observation"] = np.ones((length + 1 - number, 4))
    with pytest.raises(gaecli.FileError, match="may not all be filled") as raised:
        gaecli.compute(tmp_path / "checkpoint.h5", estimator="mc")
    assert "buffer.dumps(FOLDER)" in raised.value.hint


@pytest.mark.few(3)
@pytest.mark.parametrize("place", ["episodes", "meta/episodes"])
@pytest.mark.parametrize(
    ("names", "second"), [(("start", "stop"), 1), (("start", "length"), 0), (("first", "last"), 1)]
)
def test_named_pairs_of_where_episodes_lie_cut_them(
    tmp_path: Path, place: str, names: tuple[str, str], second: int
) -> None:
    starts = np.arange(NUM_EPISODES) * LENGTH
    pairs = np.zeros(NUM_EPISODES, [(name, "i8") for name in names])
    pairs[names[0]] = starts
    pairs[names[1]] = starts * second + LENGTH - (names[1] == "last")
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file.update({"data/rewards": REWARDS.ravel(), "data/values": VALUES.ravel(), place: pairs})
    with pytest.raises(gaecli.UsageError) as raised:
        gaecli.compute(tmp_path / "r.h5")
    assert f"--episode-column {place}" in raised.value.hint
    gaecli.compute(tmp_path / "r.h5", gamma=0.9, lam=0.8, episode_column=place)
    with h5py.File(tmp_path / "r.h5") as file:
        found = file["data/advantage"][()]
    np.testing.assert_allclose(found, advantages(VALUES, 0.9, 0.8), rtol=1e-5, atol=1e-6)
