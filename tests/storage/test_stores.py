"""Names of stores, ranges of bytes, sizes of parts: what needs no server."""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaecli.errors import MissingExtraError, UsageError
from gaecli.storage.extents import chunks_of, column_extents, merged, missing
from gaecli.storage.mirror import Mirror
from gaecli.storage.objects import ObjectStore
from gaecli.storage.schemes import SCHEMES, open_store, uri_of
from gaecli.storage.uploads import MAX_PARTS, part_bytes

ROOT = Path(__file__).parents[2]
ranges = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: (min(pair), max(pair))))


class TestSchemes:
    @pytest.mark.parametrize("name", SCHEMES)
    def test_a_store_without_its_package_names_the_extra(self, monkeypatch, name):
        found = importlib.util.find_spec
        package = SCHEMES[name].package
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda spec: None if spec == package else found(spec)
        )
        with pytest.raises(MissingExtraError) as failure:
            open_store(f"{name}://bucket/key.parquet")
        assert failure.value.exit_code == 5
        assert f"gaecli[{SCHEMES[name].extra}]" in str(failure.value.hint)

    def test_every_extra_installs_its_package(self):
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        for scheme in SCHEMES.values():
            assert any(requirement.startswith(scheme.package) for requirement in extras[scheme.extra])

    @pytest.mark.parametrize("source", ["https://host/a.parquet", "ftp://host/a.parquet"])
    def test_other_schemes_are_refused_by_name(self, run_gae, source):
        result = run_gae("compute", source)
        assert result.returncode == 2
        assert f"`{source}`" in result.stderr
        assert "`s3://`" in result.stderr

    def test_hugging_face_is_read_only(self, run_gae, copy_sample, tmp_path):
        (tmp_path / "temporary").mkdir()
        command = ["compute", copy_sample("cartpole.parquet"), "-o", "hf://datasets/me/set/a.parquet"]
        result = run_gae(*command, env={"TMPDIR": str(tmp_path / "temporary")})
        assert list((tmp_path / "temporary").iterdir()) == []
        assert result.returncode == 2
        assert "can only be read" in result.stderr

    def test_a_path_object_may_hold_a_uri(self):
        assert uri_of(Path("s3://bucket/runs/a.parquet")) == "s3://bucket/runs/a.parquet"

    @pytest.mark.parametrize("path", ["a.parquet", "./s3/a.parquet", "C:/a.parquet", "s3:a", "-"])
    def test_a_local_path_is_none(self, path):
        assert uri_of(path) is None
        assert uri_of(Path(path)) is None


class TestMirror:
    @pytest.mark.parametrize(
        "uri",
        [
            "s3://bucket/runs/a.parquet",
            "gs://bucket/a b/[x]/é.parquet",
            "abfs://container@account.dfs.core.windows.net/a.parquet",
            "hf://datasets/user/set/data/train.parquet",
        ],
    )
    def test_a_path_goes_back_to_its_uri(self, tmp_path, uri):
        mirror = Mirror(tmp_path)
        path = mirror.path_of(uri)
        assert path.is_relative_to(tmp_path)
        assert mirror.uri_of(path) == uri
        assert mirror.holds(path)
        assert not mirror.holds(tmp_path / "other" / "a.parquet")

    @pytest.mark.parametrize(
        "uri", ["s3://", "s3://bucket//a", "s3://bucket/../etc/passwd", "s3://bucket/./a"]
    )
    def test_a_key_that_is_no_path_is_refused(self, tmp_path, uri):
        with pytest.raises(UsageError, match="not a name"):
            Mirror(tmp_path).path_of(uri)


class FakeDriver:
    """A driver by its answers."""

    def __init__(self, stripped: str = "", names: Sequence[str] = (), bucket_type: str = "") -> None:
        self.stripped = stripped
        self.names = names
        self.bucket_type = bucket_type

    def _strip_protocol(self, uri: str) -> str:
        return self.stripped

    def split_path(self, path: str) -> tuple[str, str, None]:
        bucket, _, key = path.partition("/")
        return bucket, key, None

    def find(self, path: str, detail: bool) -> dict[str, dict[str, Any]]:
        return {name: {"type": "file", "size": 1} for name in self.names}

    def _sync_lookup_bucket_type(self, bucket: str) -> SimpleNamespace:
        return SimpleNamespace(name=self.bucket_type)


class TestObjects:
    @pytest.mark.parametrize(
        ("uri", "stripped"),
        [
            ("abfs://box/runs", "box/runs"),
            ("abfs://box@me.dfs.core.windows.net/runs", "box/runs"),
            ("abfs://me.dfs.core.windows.net/box/runs", "box/runs"),
            ("abfs://box@me.dfs.core.windows.net/runs/", "box/runs"),
        ],
    )
    def test_what_is_listed_is_named_as_it_was_asked_for(self, monkeypatch, uri, stripped):
        driver = FakeDriver(stripped, ["box/runs/a.parquet", "box/runs/sub/b.parquet"])
        monkeypatch.setattr("gaecli.storage.objects.open_store", lambda uri: driver)
        found = [info.uri for info in ObjectStore(uri).below(uri)]
        assert found == [f"{uri.rstrip('/')}/a.parquet", f"{uri.rstrip('/')}/sub/b.parquet"]

    def test_a_store_that_cannot_take_back_is_not_written_to(self, monkeypatch, tmp_path):
        """Google's zonal buckets: the driver streams into the object itself."""
        (tmp_path / "new").write_bytes(b"new")
        driver = FakeDriver("zone/a.parquet", bucket_type="ZONAL_HIERARCHICAL")
        monkeypatch.setattr("gaecli.storage.objects.open_store", lambda uri: driver)
        upload = ObjectStore("gs://zone/a.parquet").upload("gs://zone/a.parquet", tmp_path / "new")
        with pytest.raises(UsageError, match="zonal bucket"):
            upload.send()


class TestParts:
    @given(st.integers(0, 5 << 40))
    def test_there_are_never_too_many_and_memory_stays_small(self, size):
        part = part_bytes(size)
        assert part * MAX_PARTS >= size
        assert part % (1 << 20) == 0
        assert part <= max(16 << 20, size // MAX_PARTS + (1 << 20))


class TestExtents:
    @given(ranges)
    def test_merging_changes_no_byte(self, given_ranges):
        found = merged(given_ranges)
        assert _bytes(found) == _bytes(given_ranges)
        assert all(one[1] < other[0] for one, other in pairwise(found))

    @given(ranges, ranges)
    def test_missing_is_what_is_wanted_and_not_there(self, wanted, present):
        assert _bytes(missing(wanted, present)) == _bytes(wanted) - _bytes(present)

    def test_a_columns_bytes_are_enough_to_read_it(self, tmp_path):
        path, copy = tmp_path / "a.parquet", tmp_path / "b.parquet"
        columns = {name: list(range(1000)) for name in ("a", "b", "c")}
        columns["nested"] = [{"x": row, "y": str(row)} for row in range(1000)]
        table = pa.table(columns)
        pq.write_table(table, path, row_group_size=300)
        body = path.read_bytes()
        holes = bytearray(len(body))
        footer = len(body) - 8 - int.from_bytes(body[-8:-4], "little")
        for start, end in [(0, 4), (footer, len(body)), *column_extents(chunks_of(path), ["b", "nested.x"])]:
            holes[start:end] = body[start:end]
        copy.write_bytes(holes)
        with pq.ParquetFile(copy) as file:
            assert file.read(["b"]).equals(table.select(["b"]))
            assert file.read(["nested"]).equals(table.select(["nested"]))
            with pytest.raises((OSError, pa.ArrowException)):
                file.read(["a"])  # a hole is never taken for numbers

    def test_those_of_some_row_groups_are_enough_for_these_and_not_for_others(self, tmp_path):
        path = tmp_path / "a.parquet"
        table = pa.table({name: list(range(1000)) for name in ("a", "b")})
        pq.write_table(table, path, row_group_size=300)
        body, holes = path.read_bytes(), bytearray(path.stat().st_size)
        footer = len(body) - 8 - int.from_bytes(body[-8:-4], "little")
        for start, end in [(0, 4), (footer, len(body)), *column_extents(chunks_of(path), ["b"], (1, 3))]:
            holes[start:end] = body[start:end]
        path.write_bytes(holes)
        with pq.ParquetFile(path) as file:
            found = pa.concat_tables(file.read_row_group(number, ["b"]) for number in (1, 3))
            assert found["b"].to_pylist() == [*range(300, 600), *range(900, 1000)]
            for number in (0, 2):
                with pytest.raises((OSError, pa.ArrowException)):
                    file.read_row_group(number, ["b"])


def _bytes(extents: list[tuple[int, int]]) -> set[int]:
    return {byte for start, end in extents for byte in range(start, end)}
