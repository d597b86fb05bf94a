"""`gae strip`: a way back from `gae compute`, byte for byte where the format allows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.rollout_files import write, write_npz
from faults.data_sets import MAKERS, content, made
from formats.contract_files import BUILDERS, Builder
from formats.parquet_files import WRITERS, append, put_footer

import gaecli
from gaecli.commands.strip import strip
from gaecli.errors import UsageError
from gaecli.formats.parquet import thrift_compact as thrift
from gaecli.formats.parquet.footer import FileMetaData, read_footer
from gaecli.formats.parquet.keys import to_thrift
from gaecli.formats.parquet.strip import StrippedParquet
from gaecli.formats.parquet.thrift_compact import Struct
from gaecli.formats.registry import FORMATS, open_file
from gaecli.settings import RunOptions
from gaecli.stripped import StripResult

Run = Callable[..., Any]
RESTORED = "restored: byte for byte"
TWICE = {"advantage_column": "a2", "return_column": "r2"}


def states(found: StripResult) -> list[str]:
    return [file.state for file in found.files]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "a.parquet")


@pytest.mark.parametrize("known", FORMATS, ids=lambda known: known.name)
def test_every_format_has_its_own_content_back(known, tmp_path: Path) -> None:
    builder: Builder = BUILDERS[known.name]
    path = tmp_path / f"a{builder.suffix}"
    builder.write(path, "kept")
    before, content_before = path.read_bytes(), builder.other(path)
    names = list(open_file(path).columns)
    gaecli.compute(path)
    assert set(open_file(path).columns) > set(names)
    (found,) = strip([path]).files
    assert (found.state, found.columns) == ("stripped", ("advantage", "return"))
    file = open_file(path)
    assert (list(file.columns), file.provenance) == (names, None)
    assert builder.other(path) == content_before
    assert list(tmp_path.iterdir()) == [path]  # nothing is left beside it either
    # HDF5 does not give back the room of what is deleted, and Arrow is written as pyarrow writes it.
    assert known.name in ("hdf5", "arrow", "npz", "pt") or path.read_bytes() == before


@pytest.mark.few(8)
@pytest.mark.parametrize("writer", WRITERS)
def test_parquet_of_every_writer_comes_back_byte_for_byte(writer: str, tmp_path: Path) -> None:
    """Spliced below the command, as the tables of these writers hold no rollouts."""
    path, labelled, back = (tmp_path / f"{name}.parquet" for name in "abc")
    WRITERS[writer](path)
    appender = append(path, labelled)
    ends = {"payload_end": appender.payload_end, "source_footer": appender.source_footer}
    provenance = {"columns": ["advantage", "return"], **ends}
    stripped = StrippedParquet(labelled, back, ["advantage", "return"], provenance)
    stripped.finish(None)
    assert stripped.method == RESTORED
    assert back.read_bytes() == path.read_bytes()


@pytest.mark.few(3)
@pytest.mark.parametrize(
    "runs",
    [
        [{}],
        [{"gamma": 0.9}, {"gamma": 0.5}],
        [{}, {**TWICE, "gamma": 0.5}],
        [{}, TWICE, {**TWICE, "lam": 0.0}],
        [{"normalize": "all"}, {"estimator": "mc", **TWICE}],
    ],
)
def test_whatever_was_run_one_strip_takes_all_of_it_back(runs, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    before = path.read_bytes()
    for run in runs:
        gaecli.compute(path, **run)
    assert len(open_file(path).columns) > 5
    (found,) = strip([path]).files
    assert (found.state, found.method) == ("stripped", RESTORED)
    assert path.read_bytes() == before
    assert states(strip([path])) == ["clean"]
    assert path.read_bytes() == before


def test_a_file_that_was_written_anew_since_has_its_content_back(path: Path) -> None:
    before = pq.read_table(path)
    gaecli.compute(path)
    with pq.ParquetFile(path) as file:
        stored = file.metadata.metadata[b"gaecli"]
    labelled = pq.read_table(path)
    pq.write_table(
        labelled.replace_schema_metadata({b"gaecli": stored, b"mine": b"1"}), path, compression="zstd"
    )
    (found,) = strip([path]).files
    assert found.method == "rewrite: columns taken out"
    after = pq.read_table(path)
    assert after.equals(before)
    assert after.schema.metadata == {b"mine": b"1"}
    assert pq.ParquetFile(path).metadata.metadata.keys() == {b"ARROW:schema", b"mine"}


def test_what_the_provenance_claims_is_not_believed(path: Path) -> None:
    """An end in the midst of the data, or that of another file with a footer of its own, is no way back."""
    gaecli.compute(path)
    before = pq.read_table(path).drop_columns(["advantage", "return"])
    other = path.with_name("b.parquet")
    pq.write_table(pa.table({"reward": [9.0]}), other)
    with pq.ParquetFile(path) as file:
        stored = json.loads(file.metadata.metadata[b"gaecli"])
    for claims in (
        {"payload_end": 100},
        {"source_footer": "0" * 64},
        {"payload_end": True},
        {"payload_end": -4},
    ):
        with pq.ParquetFile(path) as file:
            table = file.read()
        text = json.dumps({**stored, **claims}).encode()
        edited = path.with_name("c.parquet")
        pq.write_table(table.replace_schema_metadata({b"gaecli": text}), edited)
        (found,) = strip([edited]).files
        assert found.method == "rewrite: columns taken out"
        assert pq.read_table(edited).equals(before)


def test_a_footer_that_is_not_the_one_noted_is_no_way_back(path: Path) -> None:
    before = pq.read_table(path)
    gaecli.compute(path)
    footer = read_footer(path)
    stored = json.loads(footer.pairs[b"gaecli"] or b"")
    size = path.stat().st_size
    tree = Struct(footer.tree)
    pairs = {**footer.pairs, b"gaecli": json.dumps({**stored, "source_footer": "0" * 64}).encode()}
    tree.put(FileMetaData.KEY_VALUE_METADATA, thrift.LIST, to_thrift(pairs))
    put_footer(path, thrift.encode(tree))
    assert path.stat().st_size >= size
    (found,) = strip([path]).files
    assert found.method == "rewrite: columns taken out"
    assert pq.read_table(path).equals(before)


def test_columns_of_others_with_our_names_stay(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", advantage=np.arange(60.0))
    before = path.read_bytes()
    assert states(strip([path])) == ["clean"]
    gaecli.compute(path, advantage_column="mine", return_column="also_mine")
    assert states(strip([path])) == ["stripped"]
    assert path.read_bytes() == before


def test_a_dry_run_tells_and_writes_nothing(path: Path) -> None:
    gaecli.compute(path)
    before = content(path.parent)
    (found,) = strip([path], RunOptions(dry_run=True)).files
    assert (found.state, found.method, found.num_bytes_after) == ("would strip", RESTORED, None)
    assert content(path.parent) == before


def test_elsewhere_every_file_arrives_and_the_input_stays(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    labelled, plain = write(runs / "a.parquet"), write_npz(runs / "b.npz")
    first, second = labelled.read_bytes(), plain.read_bytes()
    gaecli.compute(labelled)
    before = content(runs)
    found = strip([runs], RunOptions(output=str(tmp_path / "out")))
    assert states(found) == ["stripped", "clean"]
    assert content(runs) == before
    assert content(tmp_path / "out") == {"a.parquet": first, "b.npz": second}
    with pytest.raises(UsageError, match="exists"):
        raise strip([plain], RunOptions(output=str(tmp_path / "out"))).failures[0].as_error()


@pytest.mark.few(4)
@pytest.mark.parametrize("kind", MAKERS)
def test_a_data_set_has_its_marks_back_as_well(kind: str, tmp_path: Path) -> None:
    root = made(kind, tmp_path)
    before = content(root)
    gaecli.compute(root)
    assert content(root) != before
    assert set(states(strip([root]))) == {"stripped"}
    after = content(root)

    def comparable(found: Mapping[str, bytes]) -> dict[str, Any]:
        """`datasets` tells caches apart by a fingerprint, which has to be another one; HDF5 keeps its room."""
        kept = {name: data for name, data in found.items() if not name.endswith((".hdf5", ".arrow"))}
        return {
            name: {**json.loads(data), "_fingerprint": None} if name.endswith("state.json") else data
            for name, data in kept.items()
        }

    assert comparable(after) == comparable(before)
    assert all(
        open_file(root / name).provenance is None for name in after if name.endswith((".hdf5", ".arrow"))
    )


def test_one_bad_file_of_a_data_set_leaves_all_as_they_were(tmp_path: Path) -> None:
    root = made("LeRobot v3.0", tmp_path)
    gaecli.compute(root)
    _, bad, *_ = sorted(root.rglob("*.parquet"))
    bad.write_bytes(b"PAR1 and then nothing")
    before = content(root)
    found = strip([root])
    assert set(states(found)) == {"failed"}
    assert (found.exit_code, content(root)) == (4, before)
    assert [one.input for one in found.failures if one.follows is None] == [str(bad)]


def test_the_command_tells_what_it_did(path: Path, run_gae: Run) -> None:
    before = path.read_bytes()
    bad = path.with_name("bad.parquet")
    bad.write_bytes(b"nothing of the kind")
    gaecli.compute(path)
    done = run_gae("strip", path, bad)
    assert done.returncode == 4
    assert "1 stripped, 1 failed" in done.stdout
    assert "a.parquet: advantage, return; restored: byte for byte" in " ".join(done.stdout.split())
    assert "not a rollout file" in done.stderr
    assert path.read_bytes() == before
    document = json.loads(run_gae("strip", path, "--json").stdout)
    assert document["counts"] == {"stripped": 0, "would strip": 0, "clean": 1, "failed": 0}


def test_a_sidecar_is_nothing_to_be_stripped(path: Path) -> None:
    gaecli.compute(path, sidecar=True)
    (failure,) = strip([path.with_name("a.gae.parquet")]).failures
    assert "--sidecar" in failure.error
    assert failure.hint == "delete the file"


def test_the_footer_of_the_source_stays_where_it_was(path: Path) -> None:
    """No reader looks for it: the file ends in another one."""
    before = path.read_bytes()
    gaecli.compute(path)
    data = path.read_bytes()
    assert data.startswith(before)
    assert read_footer(path).start > len(before)
