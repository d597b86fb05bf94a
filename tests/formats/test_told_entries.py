"""Where episodes end is told beside the columns: in attributes, in metadata, as JSON, as pairs of rows."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from traps.passed_over import notes_of, plain_gae

import gaecli
from gaecli.formats.told_entries import entries_in, entries_of

h5py = pytest.importorskip("h5py")

LENGTHS = [5, 3, 7, 4, 6]
ENDS = np.cumsum(LENGTHS)
PAIRS = np.stack([ENDS - LENGTHS, ENDS], axis=1)
LAST = np.isin(np.arange(ENDS[-1]), ENDS - 1)
RNG = np.random.default_rng(11)
STEPS = {"rewards": RNG.normal(size=len(LAST)), "values": RNG.normal(size=len(LAST))}
WANTED = plain_gae(STEPS["rewards"], STEPS["values"], LAST)
#: Two of the five ends have a flag.
SOME = {"dones": LAST & np.isin(np.arange(len(LAST)), ENDS[[0, 2]] - 1)}
TEXT = json.dumps({"env": "ant", "shape": [3, 3], "episode_lengths": LENGTHS})


def hdf5(path, columns, tell):
    with h5py.File(path, "w") as file:
        for name, cells in columns.items():
            file[name] = cells
        tell(file)


def told_in_hdf5(place, value):
    def tell(file):
        group, _, name = place.rpartition("@")
        (file.require_group(group) if group and group not in file else file[group or "/"]).attrs[name] = value

    return lambda path, columns: hdf5(path, columns, tell)


def npz(**more):
    return lambda path, columns: np.savez(path, **columns, **more)


def parquet(**pairs):
    def write(path, columns):
        pq.write_table(pa.table(columns).replace_schema_metadata(pairs), path)

    return write


#: What writes a file -> the name by which the entries go.
TOLD = {
    "attribute.hdf5": (told_in_hdf5("@episode_ends", ENDS), "episode_ends"),
    "of_group.hdf5": (told_in_hdf5("meta@lengths", np.array(LENGTHS)), "meta/lengths"),
    "of_dataset.hdf5": (told_in_hdf5("rewards@bounds", PAIRS), "rewards/bounds"),
    "text.hdf5": (told_in_hdf5("@info", TEXT), "info.episode_lengths"),
    "pairs.hdf5": (
        lambda path, columns: hdf5(path, columns, lambda file: file.__setitem__("meta/rows", PAIRS - [0, 1])),
        "meta/rows",
    ),
    "pairs.npz": (npz(bounds=PAIRS), "bounds"),
    "text.npz": (npz(meta=TEXT), "meta.episode_lengths"),
    "metadata.parquet": (parquet(episode_lengths=json.dumps(LENGTHS)), "episode_lengths"),
    "document.parquet": (parquet(run=TEXT), "run.episode_lengths"),
}


@pytest.mark.few(5)
@pytest.mark.parametrize("name", TOLD)
def test_ends_beside_the_columns_are_told_and_cut_by_their_name(tmp_path, name):
    write, told = TOLD[name]
    path = tmp_path / name
    write(path, STEPS | SOME)
    (note,) = notes_of(path, "unused-id")
    assert note.count == 2
    assert f"--episode-column {told}" in note.hint
    out = path.with_stem("out")
    gaecli.compute(path, out, episode_column=told)
    # float32 columns of float64 numbers
    np.testing.assert_allclose(advantages_in(out), WANTED, rtol=1e-5, atol=1e-6)


def advantages_in(path):
    if path.suffix == ".hdf5":
        with h5py.File(path) as file:
            return file["advantage"][()]
    return np.asarray(
        np.load(path)["advantage"] if path.suffix == ".npz" else pq.read_table(path)["advantage"]
    )


@pytest.mark.parametrize("name", TOLD)
def test_where_nothing_else_tells_the_refusal_names_them(tmp_path, name):
    write, told = TOLD[name]
    write(tmp_path / name, STEPS)
    with pytest.raises(gaecli.UsageError, match="tells where a trajectory ends") as error:
        gaecli.compute(tmp_path / name, dry_run=True)
    assert f"`--episode-column {told}`" in error.value.hint


@pytest.mark.few(4)
@pytest.mark.parametrize("name", TOLD)
def test_they_are_quiet_where_all_ends_have_flags(tmp_path, name):
    TOLD[name][0](tmp_path / name, STEPS | {"dones": LAST})
    assert notes_of(tmp_path / name, "unused-id") == []


def test_what_is_no_list_of_whole_numbers_is_none():
    text = json.dumps(
        {"a": [1.5, 2], "b": [[1], [2, 3]], "c": ["x"], "d": {"e": [1, 2]}, "f": [], "g": [4, 5]}
    )
    assert {name: list(found) for name, found in entries_in("m", text).items()} == {"m.g": [4, 5]}
    for other in ("[1, 2", "{}", "7", "", "[" * 100_000, "[99999999999999999999999, 1]"):
        assert not entries_in("m", other)
    assert entries_of(np.array([[0, 5], [7, 9]])) is None  # row 6 is of neither
