"""A folder that Spark wrote: spliced, described to Spark as well, and with checksums that fit.

Spark itself is no part of the tests. `bench/spark.py` asks it, and DuckDB, Polars and pyarrow, about larger ones.
"""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from formats.parquet_files import append, flat_table

from gaecli.formats.parquet.footer import read_footer
from gaecli.storage.checksums import piece_bytes, write_checksum
from gaecli.storage.new_file import NewFile

SAMPLE = Path(__file__).parents[1] / "data" / "samples" / "spark"
NAME = "part-00000.snappy.parquet"
ROW = b"org.apache.spark.sql.parquet.row.metadata"
ADDED = ["advantage", "return"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLE, tmp_path / "out"))


def checksums(body: bytes, size: int = 512) -> bytes:
    """As HDFS defines them."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return (
        b"crc\0"
        + struct.pack(">i", size)
        + b"".join(struct.pack(">I", zlib.crc32(piece)) for piece in pieces)
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestInPlace:
    def test_it_is_spliced_and_every_reader_sees_the_same_columns(self, folder, run_gae):
        result = run_gae("compute", folder, "--json")
        assert result.returncode == 0, result.stderr
        (file,) = json.loads(result.stdout)["files"]
        assert (file["status"], file["method"], file["episodes"]) == ("written", "splice", 3)
        before, after = pq.read_table(SAMPLE / NAME), pq.read_table(folder / NAME)
        assert after.column_names == [*before.column_names, *ADDED]
        assert after.drop_columns(ADDED).equals(before)
        query = 'SELECT * EXCLUDE (advantage, "return") FROM read_parquet(?)'
        old = duckdb.execute("SELECT * FROM read_parquet(?)", [str(SAMPLE / NAME)]).fetchall()
        assert duckdb.execute(query, [str(folder / NAME)]).fetchall() == old
        assert polars.read_parquet(folder / NAME).drop(ADDED).equals(polars.read_parquet(SAMPLE / NAME))

    def test_spark_is_told_of_the_columns(self, folder, run_gae):
        """It takes its schema from this key, and sees no column that is not there."""
        assert run_gae("compute", folder).returncode == 0
        before, after = (json.loads(read_footer(root / NAME).pairs[ROW] or b"") for root in (SAMPLE, folder))
        new = [{"name": name, "type": "float", "nullable": True, "metadata": {}} for name in ADDED]
        assert after == {**before, "fields": [*before["fields"], *new]}

    def test_columns_that_are_computed_anew_are_described_once(self, folder, run_gae):
        assert run_gae("compute", folder).returncode == 0
        assert run_gae("compute", folder, "--gamma", "0.9").returncode == 0
        fields = json.loads(read_footer(folder / NAME).pairs[ROW] or b"")["fields"]
        assert [field["name"] for field in fields] == pq.read_schema(folder / NAME).names

    def test_the_checksum_fits_the_new_file(self, folder, run_gae):
        """Or Spark would not read it: `ChecksumException`."""
        checksum = folder / f".{NAME}.crc"
        assert checksum.read_bytes() == checksums((SAMPLE / NAME).read_bytes())
        checksum.chmod(0o640)
        assert run_gae("compute", folder).returncode == 0
        assert checksum.read_bytes() == checksums((folder / NAME).read_bytes())
        assert checksum.stat().st_mode & 0o777 == 0o640
        assert names(folder) == names(SAMPLE)
        assert (folder / "._SUCCESS.crc").read_bytes() == (SAMPLE / "._SUCCESS.crc").read_bytes()

    def test_a_dry_run_and_a_second_run_leave_it(self, folder, run_gae):
        checksum = folder / f".{NAME}.crc"
        assert run_gae("compute", folder, "--dry-run").returncode == 0
        assert checksum.read_bytes() == (SAMPLE / checksum.name).read_bytes()
        assert run_gae("compute", folder).returncode == 0
        written = checksum.stat().st_mtime_ns
        assert "up to date" in run_gae("compute", folder).stdout
        assert checksum.stat().st_mtime_ns == written


def test_results_elsewhere_need_no_checksum(folder, run_gae, tmp_path):
    target = tmp_path / "new"
    assert run_gae("compute", folder, "-o", f"{target}/").returncode == 0
    assert names(target) == [NAME]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in SAMPLE.iterdir()
    }


@pytest.mark.parametrize(
    ("data_type", "expected"),
    [
        (pa.float64(), "double"),
        (pa.int32(), "integer"),
        (pa.list_(pa.float32()), {"type": "array", "elementType": "float", "containsNull": True}),
        (pa.float16(), None),
    ],
)
def test_spark_is_told_the_types_that_it_has(data_type: pa.DataType, expected: Any, tmp_path: Path) -> None:
    old = {
        "type": "struct",
        "fields": [{"name": "other", "type": "long", "nullable": True, "metadata": {"a": 1}}],
    }
    path, target = tmp_path / "a.parquet", tmp_path / ".a.parquet.tmp"
    pq.write_table(flat_table(4).replace_schema_metadata({ROW: json.dumps(old)}), path)
    append(path, target, pa.table({"advantage": pa.nulls(4, data_type)}))
    fields = json.loads(read_footer(target).pairs[ROW] or b"")["fields"]
    new = {"name": "advantage", "type": expected, "nullable": True, "metadata": {}}
    assert fields == old["fields"] + ([] if expected is None else [new])
    assert pq.read_schema(target).metadata[ROW] == read_footer(target).pairs[ROW]


class TestChecksum:
    """The file itself, whatever it holds."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        (tmp_path / "a").write_bytes(b"old" * 1000)
        (tmp_path / ".a.crc").write_bytes(checksums(b"old" * 1000))
        return tmp_path / "a"

    @pytest.mark.parametrize("size", [1, 512, 4096, 1 << 24])
    @pytest.mark.parametrize("length", [0, 1, 512, 513, 3_000_001])
    def test_it_is_as_hdfs_defines_it(self, file, size, length):
        length = min(length, 2000 * size)
        body = bytes(range(251)) * (length // 251 + 1)
        file.write_bytes(body[:length])
        target = file.with_name("new")
        write_checksum(file, target, like=file, size=size)
        assert target.read_bytes() == checksums(body[:length], size)

    @pytest.mark.parametrize(
        "content", [b"", b"crc", b"0a1b2c3d\n", b"crc\0\0\0\0\0", b"crc\0\xff\xff\xff\xff"]
    )
    def test_what_is_none_of_hadoops_is_left_alone(self, file, content):
        file.with_name(".a.crc").write_bytes(content)
        assert piece_bytes(file.with_name(".a.crc")) is None
        replace(file, b"new")
        assert file.with_name(".a.crc").read_bytes() == content

    def test_no_wrong_checksum_is_beside_a_file_at_any_time(self, file, monkeypatch):
        seen = []
        rename, unlink = Path.replace, Path.unlink

        def look(change):
            def changed(path, *args, **kwargs):
                result = change(path, *args, **kwargs)
                checksum = file.with_name(".a.crc")
                fits = not checksum.exists() or checksum.read_bytes() == checksums(file.read_bytes())
                seen.append((file.read_bytes()[:3], fits))
                return result

            return changed

        monkeypatch.setattr(Path, "replace", look(rename))
        monkeypatch.setattr(Path, "unlink", look(unlink))
        replace(file, b"new" * 500)
        assert {content for content, _ in seen} == {b"old", b"new"}
        assert all(fits for _, fits in seen)
        assert file.with_name(".a.crc").read_bytes() == checksums(b"new" * 500)

    def test_what_is_discarded_leaves_both(self, file):
        new = NewFile(file)
        new.create()
        new.temporary.write_bytes(b"new")
        new.seal()
        assert len(names(file.parent)) == 4
        new.discard()
        assert names(file.parent) == [".a.crc", "a"]
        assert file.with_name(".a.crc").read_bytes() == checksums(b"old" * 1000)


def replace(file: Path, body: bytes) -> None:
    new = NewFile(file)
    new.create()
    new.temporary.write_bytes(body)
    new.seal()
    new.commit()
