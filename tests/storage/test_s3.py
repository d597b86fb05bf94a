"""`gae compute` on objects of an S3 server: what is there afterwards, and what went over the wire.

In this process, with parts of a sixteenth of their size, but for what is about processes.
"""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from in_process import run_here

import gaecli

pytest.importorskip("werkzeug", reason="comes with moto, of the extra `test`")

from storage.s3_server import BUCKET, S3Server, forbid
from storage.store_runs import BIG_ROWS, SCALE, rollout

# Not imported here: it takes seconds, in every worker that collects.
pytestmark = pytest.mark.skipif(
    None in map(importlib.util.find_spec, ("moto", "s3fs")), reason="needs the extras `test` and `s3`"
)

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
ODD_NAMES = [
    "[a] & b/é 100%",
    "日本",
    "50%25",
    "a#b",
    "why?",
    "a+b",
    "a=b",
    "a*b",
    "{a}",
    "a\\b",
    "'a' \"b\"",
    "a:b;c,d|e",
]


class TestTables:
    """Their logs are not read there; so no file of theirs may change, and none may be added."""

    DELTA, ICEBERG = "_delta_log/00000000000000000000.json", "metadata/v1.metadata.json"

    @pytest.mark.parametrize(
        ("log", "args"),
        [
            (ICEBERG, ["s3://bucket/runs/**", "-o", "out"]),
            (DELTA, ["s3://bucket/runs/env=0/part-0.parquet"]),
            (ICEBERG, ["s3://bucket/runs/env=0/part-0.parquet", "--sidecar"]),
            (DELTA, ["local.parquet", "-o", "s3://bucket/runs/"]),
        ],
    )
    def test_a_table_is_refused_and_stays_as_it_is(self, s3, here, tmp_path, log, args):
        s3.put("runs/env=0/part-0.parquet", rollout(10))
        s3.put(f"runs/{log}", b"{}")
        before = [(key, s3.get(key)) for key in sorted(s3.keys())]
        (tmp_path / "local.parquet").write_bytes(rollout(10))
        result = here("compute", *(arg.replace("bucket", BUCKET) for arg in args), cwd=tmp_path)
        assert result.returncode == 2, result.stderr
        assert "table" in result.stderr
        assert "local folder" in result.stderr
        assert [(key, s3.get(key)) for key in sorted(s3.keys())] == before

    def test_a_folder_of_tables_is_told_as_well(self, s3, here):
        s3.put("all/runs/ducklake-019a1b2c-0001-7000-8000-0123456789ab.parquet", rollout(10))
        assert "DuckLake" in here("compute", f"s3://{BUCKET}/all").stderr


class TestInPlace:
    def test_an_object_becomes_what_a_local_file_becomes(self, s3, here, locally):
        body = rollout(1000)
        uri = s3.put("runs/a.parquet", body)
        result = here("compute", uri)
        assert result.returncode == 0, result.stderr
        assert s3.get("runs/a.parquet") == locally(body)
        assert s3.keys() == ["runs/a.parquet"]
        assert s3.pending() == []
        assert uri in result.stdout
        assert str(here.temporary) not in result.stdout + result.stderr

    def test_an_upload_in_parts_is_the_same(self, s3, here, locally, big):
        result = here("compute", s3.put("big.parquet", big))
        assert result.returncode == 0, result.stderr
        assert sum(request.is_part for request in s3.requests) > 1
        assert s3.get("big.parquet") == locally(big)

    def test_json_lines_have_what_is_known_of_them_beside_them(self, s3, here):
        line = b'{"reward": 1.0, "value": 0.25, "terminated": true}\n'
        uri = s3.put("runs/a.jsonl", line)
        for status in ("written", "up to date"):
            result = here("compute", uri, "--json")
            assert result.returncode == 0, result.stderr
            assert json.loads(result.stdout)["files"][0]["status"] == status
        assert sorted(s3.keys()) == ["runs/.a.jsonl.gae.json", "runs/a.jsonl"]
        assert s3.get("runs/a.jsonl") == line[:-2] + b', "advantage": 0.75, "return": 1.0}\n'
        # A folder of results is no folder of more inputs.
        result = here("compute", f"s3://{BUCKET}/runs/", "--json")
        assert [file["status"] for file in json.loads(result.stdout)["files"]] == ["up to date"]
        result = here("compute", uri, "-g", "0.5", "-o", f"s3://{BUCKET}/other/", "--json")
        assert result.returncode == 0, result.stderr
        assert {"other/.a.jsonl.gae.json", "other/a.jsonl"} <= set(s3.keys())

    def test_metadata_of_the_object_stays(self, s3, here):
        headers = {
            "Metadata": {"run": "7"},
            "ContentType": "application/x-rollouts",
            "StorageClass": "STANDARD_IA",
        }
        assert here("compute", s3.put("a.parquet", rollout(10), **headers)).returncode == 0
        head = s3.client.head_object(Bucket=BUCKET, Key="a.parquet")
        assert {name: head[name] for name in headers} == headers

    def test_archives_too(self, s3, here, sample_data, copy_sample):
        name = "cartpole_TN.npz"
        uri = s3.put(name, (sample_data / name).read_bytes())
        copy = copy_sample(name)
        assert here("compute", uri).returncode == run_here("compute", copy).returncode == 0
        ours, theirs = np.load(io.BytesIO(s3.get(name))), np.load(copy)
        np.testing.assert_array_equal(ours["advantage"], theirs["advantage"])

    def test_a_second_run_reads_the_footer_and_writes_nothing(self, s3, here, big):
        uri = s3.put("big.parquet", big)
        assert here("compute", uri).returncode == 0
        etag = s3.etag("big.parquet")
        s3.forget()
        result = here("compute", uri)
        assert result.returncode == 0, result.stderr
        assert "up to date" in result.stdout
        assert s3.bytes_read < 100_000
        assert {request.method for request in s3.requests} <= {"HEAD", "GET"}
        assert s3.etag("big.parquet") == etag

    def test_odd_names(self, s3, here):
        keys = [f"runs {name}/{name}.parquet" for name in ODD_NAMES]
        result = here("compute", *(s3.put(key, rollout(10)) for key in keys))
        assert result.returncode == 0, result.stderr
        assert sorted(s3.keys()) == sorted(keys)
        columns = {key: pq.read_schema(io.BytesIO(s3.get(key))).names for key in keys}
        assert [key for key in keys if "advantage" not in columns[key]] == []


class TestElsewhere:
    def test_a_prefix_keeps_its_tree(self, s3, here, locally):
        bodies = {
            f"in/{name}.parquet": rollout(20, seed) for seed, name in enumerate(["a", "sub/b", "sub/c"])
        }
        for key, body in bodies.items():
            s3.put(key, body)
        s3.put("in/_hidden.parquet", b"not data")
        s3.put("in/notes.txt", b"not data")
        result = here("compute", f"s3://{BUCKET}/in", "-o", f"s3://{BUCKET}/out/")
        assert result.returncode == 0, result.stderr
        written = {key for key in s3.keys() if key.startswith("out/")}  # noqa: SIM118 - a method of ours
        assert written == {"out/a.parquet", "out/sub/b.parquet", "out/sub/c.parquet"}
        for key, body in bodies.items():
            assert s3.get(key) == body
            # The provenance of a copy holds the time of its source, so only the data is the same.
            ours = pq.read_table(io.BytesIO(s3.get(key.replace("in/", "out/", 1))))
            assert ours.equals(pq.read_table(io.BytesIO(locally(body))))

    @pytest.mark.few(1)
    @pytest.mark.parametrize(
        "folder",
        [
            "runs [a]",
            *(pytest.param(name, marks=pytest.mark.slow) for name in ("runs?", "runs*")),
            "a#b c%20",
        ],
    )
    def test_a_folder_is_found_by_its_name(self, s3, here, folder):
        for name in ("a", "sub/b"):
            s3.put(f"{folder}/{name}.parquet", rollout(50))
        result = here("compute", f"s3://{BUCKET}/{folder}", "--json")
        assert result.returncode == 0, result.stderr
        inputs = [file["input"] for file in json.loads(result.stdout)["files"]]
        assert inputs == [f"s3://{BUCKET}/{folder}/a.parquet", f"s3://{BUCKET}/{folder}/sub/b.parquet"]
        assert all("advantage" in pq.read_schema(io.BytesIO(s3.get(key))).names for key in s3.keys())  # noqa: SIM118

    @pytest.mark.few(1)
    @pytest.mark.parametrize("source", ["page", "page/*.parquet"])
    def test_a_listing_of_several_pages_is_read_to_its_end(self, s3, here, source):
        s3.page_keys = 5
        for index in range(12):
            s3.put(f"page/{index:04}.txt", b"not data")
        s3.put("page/last.parquet", rollout(50))
        result = here("compute", f"s3://{BUCKET}/{source}")
        assert result.returncode == 0, result.stderr
        assert sum("continuation-token" in request.query for request in s3.requests) >= 2
        assert "advantage" in pq.read_schema(io.BytesIO(s3.get("page/last.parquet"))).names

    def test_a_pattern_picks_objects(self, s3, here):
        for key in ("x/1.parquet", "x/2.parquet", "y/3.parquet"):
            s3.put(key, rollout(10))
        result = here("compute", f"s3://{BUCKET}/x/*.parquet", "--json")
        assert result.returncode == 0, result.stderr
        inputs = [file["input"] for file in json.loads(result.stdout)["files"]]
        assert inputs == [f"s3://{BUCKET}/x/1.parquet", f"s3://{BUCKET}/x/2.parquet"]

    def test_down_and_up(self, s3, here, tmp_path):
        uri = s3.put("a.parquet", rollout(10))
        assert here("compute", uri, "-o", tmp_path / "a.parquet").returncode == 0
        assert here("compute", tmp_path / "a.parquet", "-o", f"s3://{BUCKET}/b.parquet").returncode == 0
        local = pq.read_table(tmp_path / "a.parquet")
        assert pq.read_table(io.BytesIO(s3.get("b.parquet"))).equals(local)
        assert "advantage" in local.column_names
        assert s3.get("a.parquet") == rollout(10)

    def test_through_a_pipe(self, s3, gae):
        uri = s3.put("a.parquet", rollout(10))
        down = gae("compute", uri, "-o", "-", text=False)
        assert down.returncode == 0, down.stderr
        up = gae("compute", "-", "-o", f"s3://{BUCKET}/b.parquet", input=down.stdout, text=False)
        assert up.returncode == 0, up.stderr
        assert pq.read_table(io.BytesIO(s3.get("b.parquet"))).equals(pq.read_table(io.BytesIO(down.stdout)))

    def test_an_object_of_somebody_else_is_not_overwritten(self, s3, here):
        uri = s3.put("a.parquet", rollout(10))
        target = s3.put("b.parquet", rollout(20))
        result = here("compute", uri, "-o", target)
        assert result.returncode == 2
        assert f"`{target}` exists" in result.stderr
        assert s3.get("b.parquet") == rollout(20)
        assert here("compute", uri, "-o", target, "--overwrite").returncode == 0
        assert pq.read_metadata(io.BytesIO(s3.get("b.parquet"))).num_rows == 10

    def test_a_copy_that_is_there_is_up_to_date(self, s3, here):
        uri = s3.put("a.parquet", rollout(10))
        target = f"s3://{BUCKET}/b.parquet"
        assert here("compute", uri, "-o", target).returncode == 0
        etag = s3.etag("b.parquet")
        assert "up to date" in here("compute", uri, "-o", target).stdout
        assert s3.etag("b.parquet") == etag

    def test_normalisation_spans_objects(self, s3, here, tmp_path):
        for seed in range(3):
            body = rollout(40, seed)
            s3.put(f"n/{seed}.parquet", body)
            (tmp_path / f"{seed}.parquet").write_bytes(body)
        assert here("compute", f"s3://{BUCKET}/n", "--normalize", "all").returncode == 0
        local = sorted(tmp_path.glob("*.parquet"))
        assert run_here("compute", *local, "--normalize", "all").returncode == 0
        for path in local:
            assert s3.get(f"n/{path.name}") == path.read_bytes()


class TestBytes:
    """Nothing is read that is not needed."""

    @pytest.mark.parametrize("flags", [["--dry-run"], ["--sidecar"]])
    def test_the_other_columns_are_left_where_they_are(self, s3, here, big, flags):
        result = here("compute", s3.put("big.parquet", big), *flags)
        assert result.returncode == 0, result.stderr
        assert s3.bytes_read < len(big) / 2
        assert s3.get("big.parquet") == big

    def test_many_small_objects_take_six_requests_each(self, s3, here):
        """Its bytes, its headers, the three of an upload, and the last look; one where nothing is to be done."""
        num_objects = 6
        for index in range(num_objects):
            s3.put(f"many/{index:03}.parquet", rollout(50))
        for requests in (6, 1):
            s3.forget()
            result = here("compute", f"s3://{BUCKET}/many")
            assert result.returncode == 0, result.stderr
            assert sum(bool(request.key) for request in s3.requests) == num_objects * requests + 1
            assert (
                sum(not request.key for request in s3.requests) <= 4
            )  # one of them for uploads of killed runs
        assert s3.pending() == []

    def test_results_elsewhere_are_looked_for_with_one_listing(self, s3, here):
        for index in range(5):
            s3.put(f"many/{index:03}.parquet", rollout(50))
        target = f"s3://{BUCKET}/labelled/"
        assert here("compute", f"s3://{BUCKET}/many", "-o", target).returncode == 0
        s3.client.delete_object(Bucket=BUCKET, Key="labelled/003.parquet")
        s3.forget()
        result = here("compute", f"s3://{BUCKET}/many", "-o", target, "--dry-run", "--json")
        files = {Path(file["input"]).stem: file["status"] for file in json.loads(result.stdout)["files"]}
        assert files == {f"{index:03}": "dry run" if index == 3 else "up to date" for index in range(5)}
        asked = [request for request in s3.requests if request.key.startswith("labelled/")]
        assert [request.method for request in asked if request.method == "HEAD"] == []
        assert len(asked) == 4, "the bytes of those that are there"

    def test_no_byte_is_read_twice_and_what_stays_as_it_is_does_not_travel(self, s3, here, locally, big):
        flags = ["--normalize", "all"]
        assert here("compute", s3.put("big.parquet", big), *flags).returncode == 0
        assert s3.get("big.parquet") == locally(big, *flags)
        (copy,) = (request for request in s3.requests if request.copied)
        assert copy.copied == f"{BUCKET}/big.parquet"
        s3.forget()
        s3.put("again.parquet", big)
        assert here("compute", f"s3://{BUCKET}/again.parquet", *flags).returncode == 0
        assert s3.bytes_read < len(big) / 2

    def test_to_another_object_and_in_place_of_earlier_columns(self, s3, here, big, locally, tmp_path):
        body = locally(big, "--lam", "0.5")
        uri = s3.put("a+b/é.parquet", body)
        assert here("compute", uri).returncode == 0
        assert s3.get("a+b/é.parquet") == locally(body)
        s3.put("a+b/é.parquet", big)
        assert here("compute", uri, "-o", f"s3://{BUCKET}/other.parquet").returncode == 0
        assert pq.read_table(io.BytesIO(s3.get("other.parquet"))).num_rows == BIG_ROWS // SCALE
        assert sum(bool(request.copied) for request in s3.requests) == 2

    def test_a_store_that_copies_nothing_is_sent_the_bytes(self, s3, here, locally, big):
        s3.fault = lambda request: forbid() if request.copied else None
        assert here("compute", s3.put("big.parquet", big)).returncode == 0
        assert 0.95 * len(big) < s3.bytes_read < 1.05 * len(big)  # those that were needed before are here
        assert s3.get("big.parquet") == locally(big)
        assert s3.pending() == []


def objects(s3: S3Server, prefix: str) -> dict[str, bytes]:
    keys = [key for key in s3.keys() if key.startswith(f"{prefix}/")]  # noqa: SIM118 - a method of ours
    return {key.removeprefix(f"{prefix}/"): s3.get(key) for key in keys}


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


class TestDataSets:
    @pytest.fixture
    def lerobot(self, s3) -> str:
        root = SAMPLES / "lerobot" / "v30_state"
        for path in root.rglob("*"):
            if path.is_file():
                s3.put(f"set/{path.relative_to(root)}", path.read_bytes())
        return f"s3://{BUCKET}/set"

    @pytest.fixture
    def local(self, tmp_path) -> Path:
        return Path(shutil.copytree(SAMPLES / "lerobot" / "v30_state", tmp_path / "local" / "set"))

    def test_one_that_describes_its_columns_is_written_with_its_description(self, s3, here, lerobot, local):
        for command, place in ((here, lerobot), (run_here, local)):
            result = command("compute", place)
            assert result.returncode == 0, result.stderr
        assert objects(s3, "set") == files(local)
        assert "up to date" in here("compute", lerobot).stdout

    def test_a_copy_of_it_is_whole(self, s3, here, lerobot, local, tmp_path):
        for _ in range(2):  # the second one finds its own work
            result = here("compute", lerobot, "-o", f"s3://{BUCKET}/copy")
            assert result.returncode == 0, result.stderr
        assert run_here("compute", local, "-o", tmp_path / "copy").returncode == 0
        ours, theirs = objects(s3, "copy"), files(tmp_path / "copy")
        assert ours.keys() == theirs.keys()
        for name, content in theirs.items():
            # Provenance in a copy holds the time of its source.
            if not name.startswith("data/"):
                assert ours[name] == content, name
        assert objects(s3, "set") == files(SAMPLES / "lerobot" / "v30_state")

    def test_it_can_have_a_sidecar(self, s3, here, lerobot, local):
        for command, place in ((here, lerobot), (run_here, local)):
            result = command("compute", place, "--sidecar")
            assert result.returncode == 0, result.stderr
        before = files(SAMPLES / "lerobot" / "v30_state").keys()
        (name,) = objects(s3, "set").keys() - before
        assert files(local).keys() - before == {name}
        assert pq.read_table(io.BytesIO(s3.get(f"set/{name}"))).equals(pq.read_table(local / name))

    def test_shards_are_one_stream(self, s3, here):
        rows = pq.read_table(io.BytesIO(rollout(90)))
        for index in range(3):
            part = io.BytesIO()
            pq.write_table(rows.slice(index * 30, 30), part)
            s3.put(f"shards/train-{index:05}-of-00003.parquet", part.getvalue())
        result = here("compute", f"s3://{BUCKET}/shards", "--bootstrap", "current")
        assert result.returncode == 0, result.stderr
        whole = here("compute", s3.put("whole.parquet", rollout(90)), "--bootstrap", "current")
        assert whole.returncode == 0, whole.stderr
        parts = [
            pq.read_table(io.BytesIO(s3.get(f"shards/train-{index:05}-of-00003.parquet")))
            for index in range(3)
        ]
        wanted = pq.read_table(io.BytesIO(s3.get("whole.parquet")))
        np.testing.assert_allclose(
            pa.concat_tables(parts)["advantage"].to_numpy(), wanted["advantage"].to_numpy(), rtol=1e-6
        )


class TestOtherCommands:
    def test_inspect_reads_an_object(self, s3, here):
        uri = s3.put("a.parquet", rollout(100))
        result = here("inspect", uri, "--json")
        assert result.returncode == 0, result.stderr
        assert uri in result.stdout
        assert str(here.temporary) not in result.stdout

    def test_python_reads_an_object(self, s3, monkeypatch):
        s3.stands_for_amazon(monkeypatch)
        uri = s3.put("a.parquet", rollout(100))
        assert len(gaecli.read(uri).rewards) == 100
        (file,) = gaecli.compute(uri).files
        assert (file.input, file.status) == (uri, "written")
        with pytest.raises(gaecli.UsageError, match=uri):
            gaecli.compute(uri, reward_column="nope")
