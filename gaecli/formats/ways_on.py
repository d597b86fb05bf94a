"""Files and folders that people have rollouts in and that are not read: what they are, and what makes one that is.

Names are words of the commands, and no part of a text in it, so that whatever they hold is a name to the shell, to
Python and to SQL. A command that unpickles says so.
"""

from __future__ import annotations

import codecs
import json
from pathlib import Path

from gaecli.errors import FileError
from gaecli.formats.base import ColumnInfo, RolloutFile
from gaecli.records import dataclass
from gaecli.shell_words import file_word, word

#: As much of a file tells what a pickle holds.
_HEAD_BYTES = 256
#: The most that `safetensors` has as a header.
_MOST_HEADER_BYTES = 100_000_000
_MOST_META_BYTES = 1 << 20


@dataclass(frozen=True)
class Way:
    """What a file is, and how one that is read is made of it."""

    what: str
    #: With `{name}` and the name of what is made: `{parquet}`, `{npz}`, `{pt}`, `{dict}`, `{episodes}`.
    command: str = ""
    #: What is said with the command: before it, and behind it.
    before: str = ""
    behind: str = ""

    def hint(self, path: Path) -> str | None:
        if not self.command:
            return self.before or None
        made = {name: file_word(_beside(path, name)) for name in ("parquet", "npz", "pt")}
        made["dict"] = file_word(path.with_name(f"{path.stem}-dict.pt"))
        made["episodes"] = file_word(path.with_name(f"{path.stem}-episodes.hdf5"))
        return self.before + self.command.format(name=file_word(path), **made) + self.behind


def _beside(path: Path, suffix: str) -> Path:
    """`x.zarr` becomes `x.npz`, and `1.0.0`, a folder, `1.0.0.npz`."""
    if path.name in ("", ".."):
        path = path.resolve()
    if path.suffix != ".zarr" and path.is_dir():
        return path.with_name(f"{path.name}.{suffix}")
    return path.with_suffix(f".{suffix}")


def _python(code: str, made: str, *more: str) -> str:
    assert not set("'{}") & set(code)
    return " ".join([f"python -c '{code}' {{name}} {{{made}}}", *more])


_TRUSTED = "if you trust the file, which is run as it is loaded: "
_JSON_ARRAY = (
    "duckdb -c \"COPY (FROM read_json('/dev/stdin')) TO '/dev/stdout' (FORMAT parquet)\" < {name} > {parquet}"
)
_STEPS_OF_TFDS = (
    "import sys, pandas as pd, tensorflow_datasets as tfds; episodes = "
    'tfds.as_numpy(tfds.builder_from_directory(sys.argv[1]).as_dataset("train", shuffle_files=False)); '
    'pd.DataFrame([dict([("episode_index", index), *(cell for cell in step.items() if getattr(cell[1], "ndim", 1) '
    '== 0)]) for index, episode in enumerate(episodes) for step in episode["steps"]]).to_parquet(sys.argv[2])'
)
#: Of files of other records, which TensorFlow's own data sets do not read.
_STEPS_OF_RECORDS = _STEPS_OF_TFDS.replace("tfds.as_numpy(", "").replace(
    '.as_dataset("train", shuffle_files=False))', '.as_data_source("train")'
)
_TENSORS_OF_FOLDER = (
    "import sys, numpy as np; from tensordict import TensorDict; steps = TensorDict.load_memmap(sys.argv[1]); "
    'np.savez(sys.argv[2], **dict((name, cells.numpy()) for name, cells in steps.flatten_keys(".").items()))'
)
_STEPS_OF_BUFFER = (
    "import json, sys, numpy as np; from tensordict import TensorDict; folder = sys.argv[1]; steps = "
    'TensorDict.load_memmap(folder + "/storage"); rows = json.load(open(folder + "/storage/storage_metadata.json"))'
    '["len"] // steps.shape[1:].numel(); first = json.load(open(folder + "/writer/metadata.json"))["cursor"]; '
    'steps = steps[[(first + row) % rows for row in range(rows)]].flatten_keys("."); np.savez(sys.argv[2], '
    "**dict((name, cells.numpy()) for name, cells in steps.items()))"
)
_ARRAYS_OF_HDF5 = (
    "import sys, h5py, numpy as np; arrays = dict(); h5py.File(sys.argv[1]).visititems(lambda name, item: "
    'arrays.update([(name.replace("/", "."), item[()])]) if isinstance(item, h5py.Dataset) and item.shape else '
    "None); np.savez(sys.argv[2], **arrays)"
)
_FIELDS_OF_HDF5 = (
    "import sys, h5py, numpy as np; table = h5py.File(sys.argv[1])[sys.argv[3]]; np.savez(sys.argv[2], "
    "**dict((name, table[name]) for name in table.dtype.names))"
)
_EPISODES_OF_HDF5 = (
    'import sys, h5py; old, new = h5py.File(sys.argv[1]), h5py.File(sys.argv[2], "w"); places = [(name, '
    '*name.rpartition("_")) for name in old]; [new.create_dataset("episode_" + number + "/" + kind, '
    "data=old[name][()]) for name, kind, _, number in places if number.isdigit()]"
)
_ARRAYS_OF_ZARR = (
    'import sys, numpy as np, zarr; root = zarr.open_group(sys.argv[1], mode="r"); np.savez(sys.argv[2], '
    "**dict((name, array[...]) for group in (root, *(group for _, group in root.groups())) for name, array in "
    "group.arrays()))"
)

JSON = Way("JSON that does not begin with an object; write one object per line instead", _JSON_ARRAY)
PANDAS_JSON = Way(
    "one object with an object per column, as pandas writes it by default",
    _python("import sys, pandas as pd; pd.read_json(sys.argv[1]).to_parquet(sys.argv[2])", "parquet"),
)
ORC = Way(
    "ORC",
    _python(
        "import sys, pyarrow.orc as orc, pyarrow.parquet as pq; "
        "pq.write_table(orc.read_table(sys.argv[1]), sys.argv[2])",
        "parquet",
    ),
)
FEATHER_1 = Way(
    "Feather version 1, which holds no metadata; write it again as version 2",
    _python(
        "import sys, pyarrow.feather as feather, pyarrow.parquet as pq; "
        "pq.write_table(feather.read_table(sys.argv[1]), sys.argv[2])",
        "parquet",
    ),
)
ARRAY = Way(
    "a single NumPy array (.npy)",
    _python("import sys, numpy as np; np.savez(sys.argv[2], rewards=np.load(sys.argv[1]))", "npz"),
    behind=", with the other arrays beside `rewards`",
)
SQLITE = Way(
    "a SQLite database",
    _python(
        'import sys, sqlite3, pandas as pd; pd.read_sql("SELECT * FROM " + sys.argv[3], '
        "sqlite3.connect(sys.argv[1])).to_parquet(sys.argv[2])",
        "parquet",
        "TABLE",
    ),
)
DUCKDB = Way(
    "a DuckDB database",
    "duckdb -readonly {name} \"COPY (FROM steps) TO '/dev/stdout' (FORMAT parquet)\" > {parquet}",
    behind=", with the name of the table in the place of `steps`",
)
SAFETENSORS = Way(
    "safetensors",
    _python(
        "import sys, torch; from safetensors.torch import load_file; torch.save(load_file(sys.argv[1]), sys.argv[2])",
        "pt",
    ),
)
TFRECORD = Way(
    "a file of records of TensorFlow",
    before="of a data set of TFDS (RLDS), name its folder, the one with `dataset_info.json`: what makes steps of it "
    "is told there; of others, write the features as Parquet",
)
DEMONSTRATION = Way(
    "a demonstration of ML-Agents",
    before="it holds rewards and no values; `mlagents.trainers.demo_loader.demo_to_buffer` reads it, and its arrays "
    "(`ENVIRONMENT_REWARDS`, `DONE`) go into an NPZ with values beside them",
)
TENSORS_OF_A_FOLDER = Way(
    "one tensor of a TensorDict that is mapped into memory",
    before="name the folder with `meta.json` that it is in",
)
PICKLE = Way("", before="save the arrays with `numpy.savez` or as Parquet")
OLD_TORCH = Way("", before="save it again with a current torch, whose files are archives")
HDF5_ARRAYS = Way("", _python(_ARRAYS_OF_HDF5, "npz"))
HDF5_TABLE = Way("a table, whose columns are fields of one array", _python(_FIELDS_OF_HDF5, "npz"))
HDF5_EPISODES = Way(
    "arrays that are numbered by episode, as d3rlpy writes them", _python(_EPISODES_OF_HDF5, "episodes")
)
TENSOR_DICT = Way(
    "a TensorDict, an object of a class of its own",
    _python(
        "import sys, torch; torch.save(torch.load(sys.argv[1], weights_only=False).to_dict(), sys.argv[2])",
        "dict",
    ),
    before=_TRUSTED,
)
#: What stands near the beginning of a pickle -> what to do.
_PICKLES = (
    (
        (b"pandas", b"DataFrame"),
        Way(
            "a DataFrame of pandas",
            _python(
                "import sys, pandas as pd; pd.read_pickle(sys.argv[1]).to_parquet(sys.argv[2])", "parquet"
            ),
            before=_TRUSTED,
        ),
    ),
    (
        (b"stable_baselines3", b"RolloutBuffer"),
        Way(
            "a rollout buffer of Stable-Baselines3",
            _python(
                'import pickle, sys, numpy as np; buffer = pickle.load(open(sys.argv[1], "rb")); '
                "np.savez(sys.argv[2], rewards=buffer.rewards, values=buffer.values, "
                "episode_starts=buffer.episode_starts)",
                "npz",
            ),
            before=_TRUSTED,
            behind="; values of the last states are not in it: `gae compute … --bootstrap` says what counts for them",
        ),
    ),
    (
        (b"stable_baselines3", b"ReplayBuffer"),
        Way(
            "a replay buffer of Stable-Baselines3, which has no values",
            before="GAE takes the rollouts of an on-policy algorithm: save `model.rollout_buffer` with `numpy.savez`",
        ),
    ),
)

_PAGE = Way("a web page or XML, as a failed download leaves it", before="download the file again")
#: The first bytes of a file -> what it is.
_BY_MAGIC = (
    (b"ORC", ORC),
    (b"FEA1", FEATHER_1),
    (b"\x93NUMPY", ARRAY),
    (b"SQLite format 3\0", SQLITE),
    (b"\x1f\x8b", Way("compressed with gzip; unpack it first", "gunzip -k {name}")),
    (b"\x28\xb5\x2f\xfd", Way("compressed with zstd; unpack it first", "zstd -d {name}")),
    (b"BZh", Way("compressed with bzip2; unpack it first", "bunzip2 -k {name}")),
    (b"\xfd7zXZ\x00", Way("compressed with xz; unpack it first", "unxz -k {name}")),
    (b"\x04\x22\x4d\x18", Way("compressed with lz4; unpack it first", "unlz4 -k {name}")),
    (b"[", Way("one JSON array; write one object per line instead", _JSON_ARRAY)),
    (
        b"version https:/",
        Way(
            "a pointer of Git LFS, whose content was not fetched",
            before="run `git lfs pull` in its repository",
        ),
    ),
    *((start, _PAGE) for start in (b"<!DOCTYPE", b"<!doctype", b"<html", b"<?xml")),
)
_DUCKDB_MAGIC = slice(8, 12)


def unread_file(path: Path, magic: bytes, names: str) -> FileError:
    """What to raise of a file that no format reads. `magic`: how it begins; `names`: of what is read."""
    if not magic:
        return FileError(f"`{path}` is empty: 0 bytes", hint=f"expected one of {names}")
    if magic.startswith(b"\x80"):
        way = _pickle(path)
        kind = f" ({way.what})" if way.what else ""
        return FileError(
            f"`{path}` is a pickle{kind}; reading one can run code, so it is never loaded",
            hint=way.hint(path),
        )
    found = _kind_of(path, magic)
    what = f"it is {found.what}" if found is not None else _beginning(magic)
    hint = None if found is None else found.hint(path)
    return FileError(f"`{path}` is not a rollout file ({names}): {what}", hint=hint)


def _beginning(magic: bytes) -> str:
    """Of a text its first characters, by which one may know it."""
    try:
        text = codecs.utf_8_decode(magic, "strict", False)[0].partition("\n")[0].strip()
    except UnicodeDecodeError:
        text = ""
    is_text = bool(text) and text.isprintable() and "`" not in text
    return f"it begins with `{text}`" if is_text else "it does not start like one"


def _kind_of(path: Path, magic: bytes) -> Way | None:
    for start, way in _BY_MAGIC:
        if magic.startswith(start):
            return way
    if magic[_DUCKDB_MAGIC] == b"DUCK":
        return DUCKDB
    if magic[8:9] == b"{" and int.from_bytes(magic[:8], "little") <= _MOST_HEADER_BYTES:
        return SAFETENSORS
    if any(kind in path.name.lower() for kind in (".tfrecord", ".array_record")):
        return TFRECORD
    by_suffix = {".json": JSON, ".demo": DEMONSTRATION, ".memmap": TENSORS_OF_A_FOLDER}
    return by_suffix.get(path.suffix.lower())


def _pickle(path: Path) -> Way:
    if path.suffix.lower() in (".pt", ".pth"):
        return OLD_TORCH
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return next((way for words, way in _PICKLES if all(word in head for word in words)), PICKLE)


def unread_hdf5(path: Path, way: Way, *words: str) -> FileError:
    """Of an HDF5 file; `words`: what the command takes behind the names of the files."""
    told = " ".join([way.hint(path) or "", *map(word, words)])
    return FileError(f"`{path}` is HDF5 with {way.what}", hint=told)


def unread_tensor_dict(path: Path) -> FileError:
    """Of a file of `torch.save`."""
    return FileError(
        f"`{path}` was written by `torch.save`, and is {TENSOR_DICT.what}", hint=TENSOR_DICT.hint(path)
    )


def unread_buffer(path: Path) -> FileError:
    """Of a replay buffer of TorchRL in a form in which its rows are no rows of steps."""
    return FileError(
        f"`{path}` is the state of a replay buffer of TorchRL, whose rows go round and may not all be filled",
        hint="load it into a buffer, save that with `buffer.dumps(FOLDER)`, and name the folder: what makes a file "
        "of its steps is told there",
    )


def way_of_column(file: RolloutFile, info: ColumnInfo) -> str | None:
    """What makes a file of which a column can be used that cannot be here."""
    if file.format_name == "hdf5" and "more than one number per step" in (info.unusable or ""):
        return HDF5_ARRAYS.hint(file.path)
    if file.format_name == "jsonl" and info.type_name.startswith("struct<0: "):
        return PANDAS_JSON.hint(file.path)
    return None


def unread_folder(folder: Path, suffixes: str) -> FileError:
    """What to raise of a folder without a file that is read. `suffixes`: what was looked for."""
    way = _kind_of_folder(folder)
    if way is None:
        return FileError(f"directory `{folder}` holds no rollout files", hint=f"looked for {suffixes}")
    return FileError(f"directory `{folder}` holds no rollout files: it is {way.what}", hint=way.hint(folder))


def _kind_of_folder(folder: Path) -> Way | None:
    names = {path.name for path in folder.iterdir()}
    if names & {".zgroup", "zarr.json"}:
        return Way("a zarr group", _python(_ARRAYS_OF_ZARR, "npz"))
    if names & {".zarray"}:
        return Way("one array of zarr", before="name the group that it is in")
    if {"dataset_info.json", "features.json"} <= names:
        is_of_others = any(".array_record" in name for name in names)
        return Way(
            "a data set of TFDS",
            _python(_STEPS_OF_RECORDS if is_of_others else _STEPS_OF_TFDS, "parquet"),
            behind="; `train` is the split, and values have to be in the steps",
        )
    if {"tables.tfrecord", "chunks.tfrecord"} <= names:
        return Way(
            "a checkpoint of Reverb", before="load it in a server, and write what a client samples as Parquet"
        )
    if {"storage", "writer"} <= names and _is_tensor_dict(folder / "storage"):
        return Way("a replay buffer of TorchRL", _python(_STEPS_OF_BUFFER, "npz"))
    if "meta.json" in names and _is_tensor_dict(folder):
        return Way("a TensorDict that is mapped into memory", _python(_TENSORS_OF_FOLDER, "npz"))
    return None


def _is_tensor_dict(folder: Path) -> bool:
    path = folder / "meta.json"
    try:
        if not path.is_file() or path.stat().st_size > _MOST_META_BYTES:
            return False
        meta = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(meta, dict) and "tensordict" in str(meta.get("_type", ""))
