"""`-`: rollout files on stdin and stdout of the installed command."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

pty = pytest.importorskip("pty")


def table(body: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(body))


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """Where spools lie; nothing may stay there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def big_file(tmp_path) -> Path:
    """More than a pipe holds."""
    path = tmp_path / "big.parquet"
    count = 50_000
    columns = {"reward": np.ones(count), "value": np.random.default_rng(0).normal(size=count)}
    pq.write_table(pa.table({**columns, "done": np.arange(count) % 100 == 99}), path)
    return path


class TestThrough:
    def test_what_comes_out_is_what_a_file_would_become(self, run_gae, copy_sample, temporary):
        sample = copy_sample("cartpole.parquet")
        result = run_gae("compute", "-", "-o", "-", input=sample.read_bytes(), text=False)
        assert result.returncode == 0, result.stderr
        assert run_gae("compute", sample).returncode == 0
        assert table(result.stdout).equals(table(sample.read_bytes()))
        assert list(temporary.iterdir()) == []

    def test_archives_as_well(self, run_gae, copy_sample, temporary):
        sample = copy_sample("cartpole_TN.npz")
        result = run_gae("compute", "-", "-o", "-", input=sample.read_bytes(), text=False)
        assert result.returncode == 0, result.stderr
        assert run_gae("compute", sample).returncode == 0
        ours, theirs = np.load(io.BytesIO(result.stdout)), np.load(sample)
        assert set(ours) == set(theirs)
        for name in theirs:
            np.testing.assert_array_equal(ours[name], theirs[name])

    def test_an_arrow_stream_becomes_an_arrow_stream(self, run_gae, copy_sample, temporary):
        sample = copy_sample("cartpole.parquet")
        stream = io.BytesIO()
        rows = pq.read_table(sample)
        with ipc.new_stream(stream, rows.schema) as writer:
            writer.write_table(rows, max_chunksize=100)
        result = run_gae("compute", "-", "-o", "-", input=stream.getvalue(), text=False)
        assert result.returncode == 0, result.stderr
        assert run_gae("compute", sample).returncode == 0
        ours, theirs = ipc.open_stream(result.stdout).read_all(), pq.read_table(sample)
        assert ours.to_pydict() == theirs.to_pydict()

    def test_a_file_to_stdout_stays_as_it_is(self, run_gae, copy_sample, temporary):
        sample = copy_sample("cartpole.parquet")
        before = sample.read_bytes()
        result = run_gae("compute", sample, "-o", "-", text=False)
        assert result.returncode == 0, result.stderr
        assert "advantage" in table(result.stdout).column_names
        assert sample.read_bytes() == before

    def test_stdin_to_a_file(self, run_gae, copy_sample, tmp_path, temporary):
        body = copy_sample("cartpole.parquet").read_bytes()
        result = run_gae("compute", "-", "-o", tmp_path / "out.parquet", input=body, text=False)
        assert result.returncode == 0, result.stderr
        assert "advantage" in pq.read_schema(tmp_path / "out.parquet").names

    @pytest.mark.parametrize(
        ("sample", "name"), [("cartpole.parquet", "stdin.parquet"), ("cartpole_TN.npz", "stdin.npz")]
    )
    def test_in_a_directory_it_is_called_after_its_format(
        self, run_gae, copy_sample, tmp_path, temporary, sample, name
    ):
        body = copy_sample(sample).read_bytes()
        result = run_gae("compute", "-", "-o", f"{tmp_path}/out/", "--json", input=body, text=False)
        assert result.returncode == 0, result.stderr
        (file,) = json.loads(result.stdout)["files"]
        assert (file["input"], file["output"]) == ("-", f"{tmp_path}/out/{name}")
        assert [path.name for path in (tmp_path / "out").iterdir()] == [name]

    def test_its_sidecar_as_well(self, run_gae, copy_sample, tmp_path, temporary):
        body = copy_sample("cartpole.parquet").read_bytes()
        run_gae("compute", "-", "--sidecar", "-o", f"{tmp_path}/out/", input=body, text=False)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["stdin.gae.parquet"]

    def test_twice_through_is_once_through(self, run_gae, copy_sample, temporary):
        body = copy_sample("cartpole.parquet").read_bytes()
        once = run_gae("compute", "-", "-o", "-", input=body, text=False).stdout
        twice = run_gae("compute", "-", "-o", "-", input=once, text=False).stdout
        assert table(twice).equals(table(once))

    def test_keys_and_new_columns_alone(self, run_gae, copy_sample, temporary):
        body = copy_sample("cartpole.parquet").read_bytes()
        result = run_gae("compute", "-", "-o", "-", "--sidecar", input=body, text=False)
        assert table(result.stdout).column_names == ["env_id", "episode_id", "t", "advantage", "return"]


class TestStreams:
    """stdout carries the data and nothing else."""

    def test_the_table_goes_to_stderr(self, run_gae, copy_sample, temporary):
        body = copy_sample("cartpole.parquet").read_bytes()
        result = run_gae("compute", "-", "-o", "-", input=body, text=False)
        assert b"1,024 steps" in result.stderr
        assert result.stdout.startswith(b"PAR1")
        assert result.stdout.endswith(b"PAR1")

    def test_so_does_the_document_and_it_is_alone_there(self, run_gae, copy_sample, temporary):
        sample = copy_sample("pendulum.parquet")
        result = run_gae("compute", sample, "-o", "-", "--json", text=False)
        assert result.returncode == 0
        (file,) = json.loads(result.stderr)["files"]
        assert (file["input"], file["output"]) == (str(sample), "-")

    def test_quiet_is_quiet(self, run_gae, copy_sample, temporary):
        body = copy_sample("cartpole.parquet").read_bytes()
        assert run_gae("compute", "-", "-o", "-", "-q", input=body, text=False).stderr == b""

    def test_a_failure_leaves_stdout_empty(self, run_gae, temporary):
        result = run_gae("compute", "-", "-o", "-", input=b"PAR1 and nothing more", text=False)
        assert result.returncode == 4
        assert result.stdout == b""
        assert b"`-`" in result.stderr
        assert str(temporary).encode() not in result.stderr
        assert list(temporary.iterdir()) == []

    def test_nothing_on_stdin_is_said(self, run_gae, temporary):
        result = run_gae("compute", "-", "-o", "-", input=b"", text=False)
        assert result.returncode == 4
        assert b"`-` is empty" in result.stderr


class TestRefusals:
    def test_what_came_through_a_pipe_goes_on_through_one(self, run_gae, copy_sample, temporary):
        sample = copy_sample("cartpole.parquet")
        result = run_gae("compute", "-", input=sample.read_bytes(), text=False)
        assert result.returncode == 0, result.stderr
        assert run_gae("compute", sample).returncode == 0
        assert table(result.stdout).equals(table(sample.read_bytes()))

    def test_a_dry_run_needs_none(self, run_gae, copy_sample, temporary):
        body = copy_sample("cartpole.parquet").read_bytes()
        result = run_gae("compute", "-", "--dry-run", input=body, text=False)
        assert result.returncode == 0, result.stderr
        assert b"1,024 steps" in result.stdout

    def test_two_results_do_not_fit_into_one_stream(self, run_gae, copy_sample, temporary):
        paths = [copy_sample("cartpole.parquet"), copy_sample("pendulum.parquet")]
        result = run_gae("compute", *paths, "-o", "-")
        assert result.returncode == 2
        assert result.stdout == ""
        assert "2 inputs" in result.stderr

    def test_the_format_is_that_of_the_suffix(self, run_gae, copy_sample, tmp_path, temporary):
        sample = copy_sample("cartpole.parquet")
        output = tmp_path / "out.npz"
        result = run_gae("compute", "-", "-o", output, input=sample.read_bytes(), text=False)
        assert result.returncode == 0, result.stderr
        assert run_gae("compute", sample).returncode == 0
        wanted = pq.read_table(sample)["advantage"].to_numpy()
        np.testing.assert_array_equal(np.load(output)["advantage"], wanted)

    @pytest.mark.parametrize("args", [["-", "-o", "out.parquet"], ["{sample}", "-o", "-"]])
    def test_no_binary_from_or_to_a_terminal(self, gae_command, copy_sample, tmp_path, temporary, args):
        sample = copy_sample("cartpole.parquet")
        ours, theirs = pty.openpty()
        command = [gae_command, "compute", *(arg.format(sample=sample) for arg in args)]
        process = subprocess.run(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            timeout=60,
            check=False,
        )
        os.close(theirs)
        os.close(ours)
        assert process.returncode == 2
        assert b"terminal" in process.stderr
        assert b"hint" in process.stderr
        assert not (tmp_path / "out.parquet").exists()


class TestEnds:
    def test_a_reader_that_leaves_is_no_error(self, start_gae, big_file, temporary):
        process = start_gae("compute", big_file, "-o", "-")
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(4) == b"PAR1"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 128 + signal.SIGPIPE
        assert list(temporary.iterdir()) == []

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_an_interrupt_leaves_nothing(self, start_gae, big_file, temporary, number):
        process = start_gae("compute", "-", "-o", "-", stdin=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write(big_file.read_bytes()[:100_000])  # and the rest never comes
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while not any(temporary.glob("*/in/-")) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert any(temporary.glob("*/in/-"))
        process.send_signal(number)
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert out == b""
        assert b"Traceback" not in errors
        assert list(temporary.iterdir()) == []

    def test_a_killed_run_is_cleaned_up_by_the_next(self, start_gae, run_gae, copy_sample, temporary):
        process = start_gae("compute", "-", "-o", "-", stdin=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not any(temporary.glob("*/in/-")) and time.monotonic() < deadline:
            time.sleep(0.01)
        other = run_gae("compute", copy_sample("cartpole.parquet"), "-o", "-", text=False)
        assert other.returncode == 0
        assert len(list(temporary.iterdir())) == 1, "a spool in use stays"
        process.kill()
        process.wait(timeout=60)
        assert run_gae("compute", copy_sample("cartpole.parquet"), "-o", "-", text=False).returncode == 0
        assert list(temporary.iterdir()) == []
