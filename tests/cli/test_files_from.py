"""`--files-from`: names of inputs from a file or from stdin, and batches that were cut short."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gaecli.cli import files_from as names
from gaecli.errors import UsageError


@pytest.fixture
def folder(tmp_path, sample_data) -> Path:
    """Files with names that shells and lists trip over."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.parquet", "with space.parquet", "br[a]ck*et.parquet", "é.parquet"):
        shutil.copyfile(sample_data / "pendulum.parquet", folder / name)
    return folder


def outputs(result: subprocess.CompletedProcess[str]) -> list[str]:
    assert result.returncode == 0, result.stderr
    return [file["output"] for file in json.loads(result.stdout)["files"]]


class TestNames:
    def test_a_line_is_a_name(self, run_gae, folder):
        names = sorted(map(str, folder.iterdir()))
        given = "\n".join(names) + "\n"
        assert outputs(run_gae("compute", "--files-from", "-", "--json", input=given)) == names

    def test_nul_stands_between_names_with_line_breaks(self, run_gae, folder):
        odd = folder / "two\nlines .parquet"
        (folder / "a.parquet").rename(odd)
        names = sorted(map(str, folder.iterdir()))
        given = "\0".join(names) + "\0"
        assert outputs(run_gae("compute", "--files-from", "-", "--json", input=given)) == names
        assert "advantage" in pq.read_schema(odd).names

    def test_names_are_bytes(self, run_gae, folder):
        odd = os.fsencode(folder) + b"/\xff\xfe.parquet"
        os.rename(folder / "a.parquet", odd)  # noqa: PTH104 - bytes
        result = run_gae("compute", "--files-from", "-", "-q", input=odd + b"\0", text=False)
        assert result.returncode == 0, result.stderr

    def test_a_list_may_be_a_file_and_come_from_windows(self, run_gae, folder, tmp_path):
        names = sorted(map(str, folder.iterdir()))
        (tmp_path / "list.txt").write_bytes(b"\r\n".join(map(os.fsencode, names)) + b"\r\n\r\n")
        assert outputs(run_gae("compute", "--files-from", tmp_path / "list.txt", "--json")) == names

    def test_names_come_after_inputs_and_once(self, run_gae, folder):
        first = str(folder / "é.parquet")
        given = f"{folder / 'a.parquet'}\n{first}\n"
        found = outputs(run_gae("compute", first, "--files-from", "-", "--json", input=given))
        assert found == [first, str(folder / "a.parquet")]

    def test_an_empty_list_is_said(self, run_gae):
        result = run_gae("compute", "--files-from", "-", input="\n")
        assert result.returncode == 2
        assert "names no input" in result.stderr

    def test_stdin_cannot_be_both(self, run_gae):
        result = run_gae("compute", "-", "-o", "-", "--files-from", "-", input="x")
        assert result.returncode == 2
        assert "both read stdin" in result.stderr

    def test_a_list_that_is_not_there_is_said(self, run_gae, tmp_path):
        result = run_gae("compute", "--files-from", tmp_path / "none")
        assert result.returncode == 2
        assert "cannot be read" in result.stderr


NUM_FILES = 60


class TestBatches:
    @pytest.fixture
    def batch(self, tmp_path, sample_data) -> list[Path]:
        paths = [tmp_path / "batch" / f"{index:03}.parquet" for index in range(NUM_FILES)]
        paths[0].parent.mkdir()
        for path in paths:
            shutil.copyfile(sample_data / "pendulum.parquet", path)
        return paths

    def test_one_bad_file_stops_none_of_the_others(self, run_gae, batch):
        batch[40].write_bytes(b"PAR1 is not enough")
        result = run_gae("compute", batch[0].parent, "--json")
        assert result.returncode == 4
        statuses = [file["status"] for file in json.loads(result.stdout)["files"]]
        assert statuses == ["failed" if index == 40 else "written" for index in range(NUM_FILES)]

    def test_a_killed_batch_is_finished_by_the_same_command(self, start_gae, run_gae, batch):
        content = batch[0].read_bytes()
        for _ in range(5):  # on a busy machine all may be done when the first is seen
            for path in batch:
                path.write_bytes(content)
            process = start_gae("compute", batch[0].parent, "-q")
            while (
                all(path.stat().st_size == len(content) for path in batch[20:30]) and process.poll() is None
            ):
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=60)
            done = {
                path: path.stat().st_mtime_ns for path in batch if "advantage" in pq.read_schema(path).names
            }
            if len(done) < len(batch):
                break
        assert 0 < len(done) < len(batch), "the kill has to fall into the middle"
        result = run_gae("compute", batch[0].parent, "--json")
        files = json.loads(result.stdout)["files"]
        again = {Path(file["input"]) for file in files if file["status"] == "written"}
        assert again == set(batch) - set(done)
        assert {path: path.stat().st_mtime_ns for path in done} == done
        assert sorted(batch[0].parent.iterdir()) == batch, "no temporary files are left"


@pytest.mark.parametrize("content", [b"\0" * 300, b"x" * 300])
def test_a_list_of_names_has_an_end(tmp_path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """`/dev/zero` has none."""
    monkeypatch.setattr(names, "_MOST_BYTES", 256)
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(UsageError, match="no list of names"):
        names.names_from(str(tmp_path / "list"), [])
    assert names.names_from(str(_written(tmp_path / "short", b"a\0\0b\0")), []) == ["a", "b"]


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
