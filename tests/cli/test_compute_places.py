"""Links, modes, owners and permissions of the files that are replaced; signals in the middle of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.rollout_files import ROWS, advantages, columns, document_of, ok, write, write_npz, written

import gaecli

NOBODY = 65534


def test_the_target_of_a_symbolic_link_is_replaced_and_the_link_stays(run_gae, tmp_path):
    (tmp_path / "data").mkdir()
    path = write(tmp_path / "data" / "r.parquet")
    link, second = tmp_path / "link.parquet", tmp_path / "second.parquet"
    link.symlink_to(Path("data") / "r.parquet")
    second.symlink_to(link)
    ok(run_gae("compute", second, "-q"))
    assert link.readlink() == Path("data/r.parquet")
    assert second.readlink() == link
    assert not path.is_symlink()
    assert written(path) == advantages(columns())
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == [
        "data",
        "link.parquet",
        "r.parquet",
        "second.parquet",
    ]


def test_a_link_that_leads_nowhere_is_a_file_that_is_not_there(run_gae, tmp_path):
    link = tmp_path / "link.parquet"
    link.symlink_to("gone.parquet")
    result = run_gae("compute", link)
    assert result.returncode == 4
    assert "does not exist" in result.stderr


def test_a_file_and_a_link_to_it_are_one_input(run_gae, tmp_path):
    """`latest` beside the runs that it points to."""
    write(tmp_path / "run-7.parquet")
    (tmp_path / "latest.parquet").symlink_to("run-7.parquet")
    document = document_of(ok(run_gae("compute", tmp_path, "--json")))
    assert [Path(file["input"]).name for file in document["files"]] == ["run-7.parquet"]
    assert (tmp_path / "latest.parquet").is_symlink()


def test_an_output_that_is_a_link_to_the_input_is_the_input(run_gae, tmp_path):
    path, link = write(tmp_path / "r.parquet"), tmp_path / "link.parquet"
    link.symlink_to(path)
    ok(run_gae("compute", path, "-o", link, "-q"))
    assert link.is_symlink()
    assert written(path) == advantages(columns())


def test_the_other_name_of_a_hard_linked_file_keeps_the_old_content(run_gae, tmp_path):
    path, other = write(tmp_path / "r.parquet"), tmp_path / "other.parquet"
    before = path.read_bytes()
    os.link(path, other)
    ok(run_gae("compute", path, "-q"))
    assert other.read_bytes() == before
    assert written(path) == advantages(columns())


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
@pytest.mark.parametrize("make", [lambda f: write(f / "r.parquet"), lambda f: write_npz(f / "r.npz")])
def test_the_mode_is_kept(tmp_path, make, mode):
    path = make(tmp_path)
    path.chmod(mode)
    gaecli.compute(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
@pytest.mark.parametrize("flags", [{"output": "out.parquet"}, {"sidecar": True}], ids=str)
def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path, monkeypatch, flags, umask):
    path = write(tmp_path / "r.parquet")
    monkeypatch.chdir(tmp_path)
    old = os.umask(umask)
    try:
        (file,) = gaecli.compute(path, **flags).files
    finally:
        os.umask(old)
    assert stat.S_IMODE(Path(file.output).stat().st_mode) == 0o666 & ~umask


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_the_owner_is_kept(run_gae, tmp_path):
    path = write(tmp_path / "r.parquet")
    os.chown(path, NOBODY, 12)
    ok(run_gae("compute", path, "-q"))
    assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, 12)


def test_nobody_else_can_read_the_new_file_before_it_is_complete(tmp_path, monkeypatch):
    from gaecli.storage.new_file import NewFile

    path = write(tmp_path / "r.parquet")
    path.chmod(0o644)
    modes = []
    seal = NewFile.seal

    def sealed(new):
        modes.append(stat.S_IMODE(new.temporary.stat().st_mode))
        seal(new)

    monkeypatch.setattr(NewFile, "seal", sealed)
    gaecli.compute(path)
    assert modes == [0o600]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


# As somebody whom permissions bind


@pytest.fixture
def common_folder() -> Iterator[Path]:
    """A folder that belongs to whoever the tests below run as; those of pytest are closed to others."""
    folder = Path(tempfile.mkdtemp()).resolve()
    if os.getuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    yield folder
    for entry in (folder, *folder.rglob("*")):
        if not entry.is_symlink():
            entry.chmod(0o755)
    shutil.rmtree(folder)


def computed_by_a_user(path: Path, **settings) -> str:
    """`compute` in a process that is not root: what it wrote, or its error."""
    if os.getuid() == 0:
        for entry in path.parent.iterdir():
            os.chown(entry, NOBODY, NOBODY, follow_symlinks=False)
    gaecli.compute(path, dry_run=True)  # imports what the user may not be able to read
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        text = "died"
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            text = gaecli.compute(path, jobs=1, **settings).files[0].status
        except gaecli.GaeError as error:
            text = f"{error.exit_code}: {error} / {error.hint}"
        except BaseException as error:
            text = repr(error)
        finally:
            os.write(writer, text.encode())
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        return pipe.read()


def test_a_read_only_directory(common_folder):
    path = write_npz(common_folder / "r.npz")
    before = path.read_bytes()
    common_folder.chmod(0o555)
    found = computed_by_a_user(path)
    assert found.startswith(f"4: no permission to write in `{common_folder}`; the file is as it was")
    assert "--output" in found
    assert path.read_bytes() == before


def test_a_folder_in_which_none_can_be_made(common_folder):
    """It is the one that is there that is in the way."""
    path = write_npz(common_folder / "r.npz")
    common_folder.chmod(0o555)
    found = computed_by_a_user(path, output=common_folder / "new" / "newer" / "out.npz")
    assert found.startswith(f"4: no permission to write in `{common_folder}`;")


def test_a_read_only_file_is_left_alone(common_folder):
    path = write_npz(common_folder / "r.npz")
    path.chmod(0o444)
    before = path.read_bytes()
    assert computed_by_a_user(path).startswith(f"4: `{path}` is read-only; the file is as it was")
    assert path.read_bytes() == before
    assert computed_by_a_user(path, output=common_folder / "out.npz") == "written"
    assert "advantage" in np.load(common_folder / "out.npz")


def test_a_file_that_may_not_be_read(common_folder):
    path = write_npz(common_folder / "r.npz")
    other = write_npz(common_folder / "other.npz")
    path.chmod(0o000)
    if os.getuid() == 0:
        for entry in (path, other):
            os.chown(entry, NOBODY, NOBODY)
    found = computed_by_a_user(path)
    assert found.startswith("4: no permission to read")


def test_a_group_that_may_write_keeps_its_group(common_folder):
    if os.getuid() != 0:
        pytest.skip("needs two users")
    path = write_npz(common_folder / "r.npz")
    common_folder.chmod(0o777)
    gaecli.compute(path, dry_run=True)
    os.chown(path, 0, NOBODY)
    path.chmod(0o664)
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            gaecli.compute(path, jobs=1)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert "advantage" in np.load(path)
    # Only root could have left it to root.
    assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o664


# Places that are no files


@pytest.mark.parametrize("flags", [(), ("--overwrite",)])
def test_a_device_is_never_replaced(run_gae, tmp_path, flags):
    path, fifo = write(tmp_path / "r.parquet"), tmp_path / "fifo"
    os.mkfifo(fifo)
    result = run_gae("compute", path, "-o", fifo, *flags)
    assert result.returncode == 4
    assert "is not a regular file" in result.stderr
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_fifo_nobody_writes_to_is_no_input(run_gae, tmp_path):
    fifo = tmp_path / "r.parquet"
    os.mkfifo(fifo)
    result = run_gae("compute", fifo, timeout=120)
    assert result.returncode == 4
    assert "not a regular file" in result.stderr


def test_a_directory_in_the_way_of_an_output(run_gae, tmp_path):
    path = write(tmp_path / "r.parquet")
    (tmp_path / "out" / "r.parquet").mkdir(parents=True)
    result = run_gae("compute", path, "-o", tmp_path / "out", "--overwrite")
    assert result.returncode == 4
    assert "is not a regular file" in result.stderr


def test_a_file_in_the_way_of_a_folder(tmp_path):
    path, note = write(tmp_path / "r.parquet"), tmp_path / "note.txt"
    note.write_text("kept")
    with pytest.raises(gaecli.FileError, match=f"`{note}` is a file and no folder; the file is as it was"):
        gaecli.compute(path, note / "deep" / "x.parquet")
    assert note.read_text() == "kept"


def test_a_name_as_long_as_names_may_be(run_gae, tmp_path):
    path = write(tmp_path / ("x" * 247 + ".parquet"))
    ok(run_gae("compute", path, "-q"))
    assert written(path) == advantages(columns())
    assert list(tmp_path.iterdir()) == [path]


def test_names_of_all_kinds_are_written_back_to(tmp_path):
    names = [
        "with space",
        "br[a]ck*et?",
        "two\nlines",
        "größe Δ 🎲",
        "-dash",
        "'q\"",
        "a.b.c",
        " lead",
        "trail ",
    ]
    for name in names:
        path = write(tmp_path / f"{name}.parquet")
        assert gaecli.compute(path).files[0].status == "written"
        assert written(path) == advantages(columns())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(f"{name}.parquet" for name in names)


# Signals


@pytest.fixture
def large_file(tmp_path) -> Path:
    """Some tenths of a second of work after the start."""
    rows = 3_000_000
    random = np.random.default_rng(0)
    of = {
        "reward": random.random(rows, np.float32),
        "value": random.random(rows),
        "done": random.random(rows) < 0.01,
    }
    path = tmp_path / "large.parquet"
    pq.write_table(pa.table(of), path, row_group_size=300_000, compression="none", use_dictionary=False)
    return path


@pytest.mark.few(2)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_ends_in_130_and_leaves_nothing(start_gae, large_file, number):
    before = large_file.read_bytes()
    run = start_gae("compute", large_file, "--normalize", "episode", "--done-at", "end")
    deadline = time.monotonic() + 120
    while not any(entry.name.endswith(".tmp") for entry in large_file.parent.iterdir()):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    while run.poll() is None:  # again and again, as impatient people do
        run.send_signal(number)
        time.sleep(0.002)
    output, errors = run.communicate(timeout=120)
    assert run.returncode == 130
    assert errors == b"interrupted; nothing was left half-written\n"
    assert output == b""
    assert large_file.read_bytes() == before
    assert list(large_file.parent.iterdir()) == [large_file]


def test_what_nohup_ignores_stays_ignored(gae_command, large_file):
    run = subprocess.Popen(
        [gae_command, "compute", large_file, "--done-at", "end", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # noqa: PLW1509 - no threads here
    )
    while not any(entry.name.endswith(".tmp") for entry in large_file.parent.iterdir()):
        assert run.poll() is None
        time.sleep(0.001)
    run.send_signal(signal.SIGHUP)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 0
    assert json.loads(output)["files"][0]["status"] == "written"


def test_a_signal_while_many_files_are_worked_on_leaves_whole_files_only(start_gae, run_gae, tmp_path):
    paths = [write(tmp_path / f"{number:03}.parquet", seed=number) for number in range(100)]
    contents = [path.read_bytes() for path in paths]
    for _ in range(5):  # on a busy machine all may be done when the first is seen
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        before = [path.stat().st_ino for path in paths]
        run = start_gae("compute", tmp_path, "-q")
        while [path.stat().st_ino for path in paths] == before and run.poll() is None:
            time.sleep(0.001)
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=120)
        if run.returncode != 0:
            break
    assert run.returncode == 130, errors
    done = ["advantage" in pq.read_schema(path).names for path in paths]
    assert any(done)
    assert not all(done)
    assert len(list(tmp_path.iterdir())) == len(paths)
    document = document_of(ok(run_gae("compute", tmp_path, "--json")))
    assert [file["status"] == "up to date" for file in document["files"]] == done
    assert document["totals"]["steps"] == ROWS * len(paths)


@pytest.mark.parametrize("name", ["x.txt", "x.json", "x.hdf5", "x.gz", "x.npy", "x.v2", "newdir"])
@pytest.mark.parametrize("sidecar", [False, True])
def test_a_result_has_a_name_that_says_its_format(copy_sample, tmp_path, name: str, sidecar: bool) -> None:
    path = copy_sample("cartpole.parquet")
    with pytest.raises(gaecli.UsageError, match=name) as raised:
        gaecli.compute(path, tmp_path / name, sidecar=sidecar)
    assert ".parquet" in raised.value.hint
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("sidecar", [False, True])
def test_several_results_go_into_no_folder_with_the_name_of_a_file(
    copy_sample, tmp_path, sidecar: bool
) -> None:
    paths = [copy_sample("cartpole.parquet"), copy_sample("pendulum.parquet")]
    with pytest.raises(gaecli.UsageError, match="2 inputs"):
        gaecli.compute(paths, tmp_path / "both.parquet", sidecar=sidecar)
    gaecli.compute(paths, tmp_path / "both", sidecar=sidecar)
    assert len(list((tmp_path / "both").iterdir())) == 2
