"""What gaecli knows of its columns in JSON lines, in a file beside them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import gaecli
from gaecli.formats.registry import open_file
from gaecli.writing import transaction

ROWS = [
    {"reward": 1.0, "value": 0.25, "terminated": False},
    {"reward": 2.0, "value": 0.5, "terminated": True},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "rollouts.jsonl", ROWS)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def record(path: Path) -> Path:
    return path.with_name(f".{path.name}.gae.json")


def status(path: Path, **settings: Any) -> str:
    (file,) = gaecli.compute(path, **settings).files
    return file.status


def test_readers_see_the_new_columns_and_no_other(path: Path) -> None:
    status(path)
    assert [list(row) for row in rows(path)] == [[*ROWS[0], "advantage", "return"]] * 2
    assert json.loads(record(path).read_text())["columns"] == ["advantage", "return"]


def test_it_is_no_input_of_any_pattern_or_folder(path: Path) -> None:
    status(path)
    for source in (path.parent, f"{path.parent}/*.json*", f"{path.parent}/*"):
        summary = gaecli.compute(source)
        assert [(file.input, file.status) for file in summary.files] == [(str(path), "up to date")]


def test_settings_are_known_again_and_force_computes(path: Path) -> None:
    assert [status(path), status(path), status(path, force=True)] == ["written", "up to date", "written"]
    assert [status(path, gamma=0.5), status(path, gamma=0.5)] == ["written", "up to date"]


def test_a_result_elsewhere_has_it_there(path: Path, tmp_path: Path) -> None:
    for target in (tmp_path / "out.jsonl", tmp_path / "folder/"):
        assert status(path, output=f"{target}/" if target.name == "folder" else target) == "written"
        assert status(path, output=f"{target}/" if target.name == "folder" else target) == "up to date"
    assert record(tmp_path / "out.jsonl").exists()
    assert record(tmp_path / "folder/rollouts.jsonl").exists()
    assert not record(path).exists()


def test_the_field_of_earlier_versions_is_known_and_goes(path: Path) -> None:
    status(path)
    first, second = path.read_text().splitlines()
    stored = json.dumps(record(path).read_text())
    record(path).unlink()
    path.write_text(f'{first[:-1]}, "g\\u0061ecli": {stored}}}\n{second}\n')
    assert status(path) == "up to date"
    assert status(path, gamma=0.5) == "written"
    assert [list(row) for row in rows(path)] == [[*ROWS[0], "advantage", "return"]] * 2
    assert status(path, gamma=0.5) == "up to date"


@pytest.mark.parametrize("value", [5, "text", {"a": 1}])
def test_a_field_of_that_name_of_somebody_else_stays(value: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [{**row, "gaecli": value} for row in ROWS])
    assert "gaecli" in open_file(path).columns
    status(path)
    assert [row["gaecli"] for row in rows(path)] == [value] * 2
    assert status(path) == "up to date"


def test_a_file_that_took_the_place_of_ours_keeps_its_columns(path: Path) -> None:
    status(path)
    write(path, [{**row, "reward": 7.0, "advantage": 3.0} for row in ROWS])
    with pytest.raises(gaecli.UsageError, match="`advantage` already"):
        gaecli.compute(path)
    assert [row["advantage"] for row in rows(path)] == [3.0, 3.0]


def test_other_rewards_beside_our_columns_are_computed_with(path: Path) -> None:
    status(path)
    path.write_text(path.read_text().replace('"reward": 2.0', '"reward": 3.0'))
    assert status(path) == "written"
    assert rows(path)[1]["advantage"] == 2.5


def test_without_it_the_columns_are_somebody_elses(path: Path, tmp_path: Path) -> None:
    status(path)
    copy = tmp_path / "copy.jsonl"
    shutil.copy(path, copy)
    with pytest.raises(gaecli.UsageError, match="no mark of gaecli"):
        gaecli.compute(copy)
    shutil.copy(record(path), record(copy))
    assert status(copy) == "up to date"


def nan(place: Path) -> None:
    place.write_text(place.read_text().replace('"schema":1', '"schema":NaN'))


def huge(place: Path) -> None:
    place.write_text(place.read_text()[:-2] + " " * (17 << 20) + "}")


def deep(place: Path) -> None:
    place.write_text('{"columns": ' + "[" * 100_000 + "]" * 100_000 + "}")


def no_text(place: Path) -> None:
    place.write_bytes(b"\xff\xfe\x00")


def other_types(place: Path) -> None:
    place.write_text('{"columns": {"a": 1}, "digests": {"advantage": [1]}, "payload": 3, "earlier": 5}')


def no_digests(place: Path) -> None:
    document = json.loads(place.read_text())
    place.write_text(
        json.dumps({**document, "digests": {"advantage": [1]}, "payload": "x", "earlier": ["a", {}]})
    )


@pytest.mark.few(3)
@pytest.mark.parametrize("harm", [nan, huge, deep, no_text, other_types, no_digests])
def test_one_that_is_damaged_is_none(harm: Any, path: Path) -> None:
    status(path)
    harm(record(path))
    with pytest.raises(gaecli.UsageError, match="no mark of gaecli"):
        gaecli.compute(path)
    assert status(path, overwrite=True) == "written"
    assert status(path) == "up to date"


def test_a_link_in_its_place_is_not_followed(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    record(path).symlink_to(victim)
    before = path.read_bytes()
    with pytest.raises(gaecli.FileError, match="is a link") as raised:
        gaecli.compute(path)
    assert "remove it" in str(raised.value.hint)
    assert (victim.read_text(), path.read_bytes()) == ("mine", before)


def test_a_folder_in_its_place_is_an_error_that_changes_nothing(path: Path) -> None:
    record(path).mkdir()
    before = path.read_bytes()
    with pytest.raises(gaecli.FileError, match=r"\.rollouts\.jsonl\.gae\.json` is no regular file"):
        gaecli.compute(path)
    assert path.read_bytes() == before
    assert sorted(path.parent.iterdir()) == [record(path), path]


def test_a_link_to_the_file_has_it_where_the_file_is(path: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    link = tmp_path / "links/x.jsonl"
    link.symlink_to(path)
    assert [status(link), status(link), status(path)] == ["written", "up to date", "up to date"]
    assert list((tmp_path / "links").iterdir()) == [link]


@pytest.mark.parametrize("had_columns", [False, True])
def test_a_kill_between_it_and_the_file_leaves_a_file_that_can_be_written(
    had_columns: bool, path: Path
) -> None:
    if had_columns:
        status(path)
    before = path.read_bytes()
    status(path, gamma=0.5)
    after = path.read_bytes()
    path.write_bytes(before)  # the new record, the old file
    assert status(path, gamma=0.5) == "written"
    assert path.read_bytes() == after


def test_the_record_comes_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[str] = []
    commit = transaction.NewFile.commit
    monkeypatch.setattr(
        transaction.NewFile, "commit", lambda file: (places.append(file.target.name), commit(file))[1]
    )
    status(path)
    assert places == [record(path).name, path.name]


def test_a_rename_that_fails_leaves_both_as_they_were(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status(path)
    before = (path.read_bytes(), record(path).read_bytes())
    commit = transaction.NewFile.commit

    def failing(file: Any) -> None:
        if file.target == path:
            raise OSError(5, "Input/output error")
        commit(file)

    monkeypatch.setattr(transaction.NewFile, "commit", failing)
    with pytest.raises(gaecli.FileError, match="the file is as it was"):
        gaecli.compute(path, gamma=0.5)
    monkeypatch.undo()
    assert (path.read_bytes(), record(path).read_bytes()) == before
    assert status(path) == "up to date"


def test_nobody_reads_it_who_may_not_read_the_file(path: Path) -> None:
    path.chmod(0o600)
    status(path)
    assert record(path).stat().st_mode & 0o777 == 0o600


def test_a_name_that_leaves_no_room_for_it_is_written_all_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / f"{'x' * 245}.jsonl", ROWS)
    assert status(path) == "written"
    assert list(tmp_path.iterdir()) == [path]
