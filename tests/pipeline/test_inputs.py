"""What names and patterns stand for, where links go in circles and folders are closed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cli.rollout_files import document_of, write

import gaecli
from gaecli.sources.inputs import plan_streams


def names(sources: list[str], root: Path) -> list[str]:
    return [str(plan.paths[0].relative_to(root)) for plan in plan_streams(sources, None)]


@pytest.fixture
def tree(tmp_path) -> Path:
    for name in ("a.parquet", "one/b.parquet", "one/two/c.parquet", ".hidden/d.parquet", "one/.e.parquet"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
    return tmp_path


@pytest.fixture
def closed(tree, monkeypatch) -> Path:
    """A folder that may not be listed; as root is bound by no mode, the system call says so."""
    return close(tree / "one" / "two", monkeypatch)


def close(folder: Path, monkeypatch) -> Path:
    def refused(listed):
        def call(path: object = "."):
            if Path(os.fsdecode(path)).absolute() == folder:
                raise PermissionError(13, "Permission denied", str(path))
            return listed(path)

        return call

    for name in ("scandir", "listdir"):  # `Path.iterdir` takes the one from 3.13 on, else the other
        monkeypatch.setattr(os, name, refused(getattr(os, name)))
    return folder


# Patterns


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.parquet", ["a.parquet"]),
        ("*/*.parquet", ["one/b.parquet"]),
        ("**/*.parquet", ["a.parquet", "one/b.parquet", "one/two/c.parquet"]),
        ("**/**/c.parquet", ["one/two/c.parquet"]),
        ("**/two/*.parquet", ["one/two/c.parquet"]),
        ("o?e/**", ["one/b.parquet", "one/two/c.parquet"]),
        (".h*/*", [".hidden/d.parquet"]),
        ("one/[ab].parquet", ["one/b.parquet"]),
        ("one/../*.parquet", ["one/../a.parquet"]),
    ],
)
def test_a_pattern_matches_as_in_a_shell(tree, pattern, found):
    assert names([f"{tree}/{pattern}"], tree) == found


def test_a_pattern_goes_through_links_and_never_in_a_circle(tree):
    for name in ("s1", "s2", "one/up"):
        (tree / name).symlink_to(tree)
    elsewhere = tree / "elsewhere"
    elsewhere.mkdir()
    write(elsewhere / "f.parquet")
    (tree / "one" / "link").symlink_to(elsewhere)
    found = names([f"{tree}/**/*.parquet"], tree)
    assert sorted(found) == ["a.parquet", "elsewhere/f.parquet", "one/b.parquet", "one/two/c.parquet"]


def test_a_pattern_that_matches_folders_only_means_what_is_in_them(tree):
    assert names([f"{tree}/o*"], tree) == ["one/b.parquet", "one/two/c.parquet"]
    (plan, _) = plan_streams([f"{tree}/o*"], None)
    assert plan.root == tree


# Links in a circle


@pytest.mark.parametrize("source", ["y.parquet", "", "*.parquet"])
def test_of_links_in_a_circle_only_they_fail(run_gae, tmp_path, source):
    write(tmp_path / "a.parquet")
    (tmp_path / "y.parquet").symlink_to("x")
    (tmp_path / "x").symlink_to("y.parquet")
    result = run_gae("compute", tmp_path / "a.parquet", tmp_path / source, "--json")
    assert result.returncode == 4
    assert "Traceback" not in result.stderr
    good, bad = document_of(result)["files"]
    assert (good["status"], bad["status"]) == ("written", "failed")
    assert "y.parquet` cannot be read: Too many levels of symbolic links" in bad["error"]


@pytest.mark.parametrize("command", ["compute", "inspect", "check"])
def test_links_in_a_circle_alone(run_gae, tmp_path, command):
    (tmp_path / "y.parquet").symlink_to("y.parquet")
    result = run_gae(command, tmp_path / "y.parquet")
    assert result.returncode == 4
    assert "Too many levels of symbolic links" in result.stderr


# Folders that cannot be read


@pytest.mark.parametrize("pattern", ["**/*.parquet", "*/*/*.parquet", "one/tw[o]/*"])
def test_a_folder_that_a_pattern_cannot_look_into_fails_and_the_rest_is_done(closed, tree, pattern):
    summary = gaecli.compute([f"{tree}/{pattern}", tree / "a.parquet"])
    failed = [file for file in summary.files if file.status == "failed"]
    assert [(file.error, file.exit_code) for file in failed] == [
        (f"no permission to look into `{closed}`", 4)
    ]
    assert {file.status for file in summary.files if file not in failed} == {"written"}
    assert summary.exit_code == 4


def test_a_folder_below_a_folder_that_cannot_be_read_fails_and_the_rest_is_done(closed, tree):
    summary = gaecli.compute(tree)
    assert [file.status for file in summary.files] == ["written", "written", "failed"]
    assert summary.files[-1].error == f"no permission to look into `{closed}`"


def test_where_all_is_one_stream_a_closed_folder_is_an_error(closed, tree):
    with pytest.raises(gaecli.FileError, match="no permission to look into"):
        gaecli.compute(tree, join=True)


def test_partitions_that_cannot_be_read_are_missing_from_the_whole(tree, monkeypatch):
    """Their rows belong to the same stream as the others."""
    (tree / "one").rename(tree / "env=1")
    (tree / "env=2").mkdir()
    close(tree / "env=2", monkeypatch)
    with pytest.raises(gaecli.FileError, match=f"no permission to look into `{tree}/env=2`, a part of"):
        gaecli.compute(tree)


# The reason


@pytest.fixture
def mixed(tmp_path) -> list[str]:
    write(tmp_path / "a.parquet")
    (tmp_path / "empty").mkdir()
    return [
        f"{tmp_path}/a.parquet",
        f"{tmp_path}/empty",
        f"{tmp_path}/no*.parquet",
        f"{tmp_path}/gone.parquet",
    ]


def test_a_reason_is_the_same_alone_and_among_others(run_gae, mixed):
    good, *bad = document_of(run_gae("compute", *mixed, "--json"))["files"]
    assert good["status"] == "written"
    for source, file in zip(mixed[1:], bad, strict=True):
        alone = run_gae("compute", source)
        assert alone.returncode == file["exit_code"] == 4
        assert f"error: {file['error']}\n" in alone.stderr
    said = " / ".join(file["error"] for file in bad)
    for words in ("holds no rollout files", "matches no file", "does not exist"):
        assert words in said
