"""JSON lines whose keys are written in odd ways, and text that would take a parser for ever."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gaecli
from gaecli.formats.jsonl.bounds import MOST_FIELDS, MOST_LEVELS
from gaecli.formats.jsonl.objects import edited, field_texts

Run = Callable[..., Any]

#: One step that ends its episode: its advantage is 1.0 - 0.25, its return 1.0.
STEP = '"reward": 1.0, "value": 0.25, "terminated": true'


def written(path: Path, *fields: str) -> Path:
    path.write_text("".join(f"{{{STEP}{field}}}\n" for field in fields))
    return path


def pairs(path: Path) -> list[list[tuple[str, Any]]]:
    """Names and values of every line, twice where they stand there twice."""
    return [json.loads(line, object_pairs_hook=list) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    "key", [r"\u0061dvantage", r"adv\u0061ntage", r"\u0061\u0064vantag\u0065", "advantage"]
)
class TestEscapedKeys:
    def test_are_the_columns_that_they_spell(self, key: str, tmp_path: Path) -> None:
        path = written(tmp_path / "x.jsonl", f', "{key}": 5.0')
        with pytest.raises(gaecli.UsageError, match="`advantage` already"):
            gaecli.compute(path)

    def test_are_replaced_and_not_doubled(self, key: str, tmp_path: Path) -> None:
        path = written(tmp_path / "x.jsonl", f', "{key}": 5.0, "note": "a\\u0062"', f', "{key}": 6.0')
        gaecli.compute(path, overwrite=True)
        for line in pairs(path):
            assert [value for name, value in line if name == "advantage"] == [0.75]
        assert r'"note": "a\u0062"' in path.read_text()

    def test_are_known_as_edited(self, key: str, tmp_path: Path) -> None:
        path = written(tmp_path / "x.jsonl", "")
        gaecli.compute(path)
        path.write_text(path.read_text().replace('"advantage": 0.75', f'"{key}": 5.0'))
        assert gaecli.compute(path).files[0].status == "written"
        (line,) = pairs(path)
        assert [value for name, value in line if name == "advantage"] == [0.75]


def test_roles_are_found_by_what_keys_spell(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(r'{"r\u0065ward": 1.0, "value": 0.25, "termin\u0061ted": true}' + "\n")
    gaecli.compute(path)
    assert dict(pairs(path)[0])["advantage"] == 0.75
    assert path.read_text().startswith(r'{"r\u0065ward": 1.0, "value": 0.25, "termin\u0061ted": true, ')


def test_a_key_that_stands_twice_in_one_object_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", r', "a": 1, "\u0061": 2')
    before = path.read_bytes()
    with pytest.raises(gaecli.FileError, match="specified twice in row 0"):
        gaecli.compute(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("number", ["1e99999", "-1e-99999", "1" * 10_000, "0." + "1" * 10_000])
def test_numbers_beside_a_field_may_be_of_any_length(number: str) -> None:
    line = f'{{"other": {number}, "\\u0061": {number}}}\n'
    assert edited(line, {"a"}, [("b", "1")]) == f'{{"other": {number}, "b": 1}}\n'
    assert list(field_texts(line, {"a"})) == [("a", number)]


def nested(levels: int, kind: str) -> str:
    """A value of so many levels."""
    if kind == "lists":
        return "[" * levels + "]" * levels
    if kind == "objects":
        return '{"a": ' * levels + "1" + "}" * levels
    return '[{"]": ' * (levels // 2) + '"]]]]}}}}"' + "}]" * (levels // 2)


@pytest.mark.parametrize("kind", ["lists", "objects", "both, with marks in texts"])
class TestDepth:
    def test_too_deep_is_an_error_of_the_row(self, kind: str, tmp_path: Path) -> None:
        for levels in (MOST_LEVELS, 500, 200_000):
            path = written(tmp_path / "x.jsonl", "", f', "x": {nested(levels, kind)}')
            with pytest.raises(gaecli.FileError, match="row 1 is nested more than 64 levels deep") as raised:
                gaecli.compute(path)
            assert "leave out the field" in str(raised.value.hint)

    def test_levels_of_chats_and_tools_are_read(self, kind: str, tmp_path: Path) -> None:
        path = written(tmp_path / "x.jsonl", "", f', "x": {nested(MOST_LEVELS - 2, kind)}')
        before = path.read_text().splitlines()
        gaecli.compute(path)
        lines = path.read_text().splitlines()
        assert [line.startswith(old[:-1]) for line, old in zip(lines, before, strict=True)] == [True, True]


def test_marks_in_texts_are_no_levels(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", f', "text": "{"[{" * 500}"', ', "text": "\\"[[\\\\"')
    assert gaecli.compute(path).files[0].counts.steps == 2


def columns_of_one_row_each() -> str:
    return "".join(f'{{{STEP}, "k{number}": 1}}\n' for number in range(40_000))


def wide_row_among_empty_ones() -> str:
    wide = ", ".join(f'"k{number}": 1' for number in range(3_000))
    return f"{{{STEP}, {wide}}}\n" + f"{{{STEP}}}\n" * 100_000


def paths_of_few_names() -> str:
    names = ((number % 9, number // 9 % 9, number // 81 % 9, number // 729) for number in range(40_000))
    return "".join(f'{{{STEP}, "{a}": {{"{b}": {{"{c}": {{"{d}": 1}}}}}}}}\n' for a, b, c, d in names)


def row_of_too_many_fields() -> str:
    return f"{{{STEP}, " + ", ".join(f'"k{number}": 1' for number in range(5 * MOST_FIELDS)) + "}\n"


def row_of_too_many_inner_fields() -> str:
    inner = ", ".join(f'"k{number}": 1' for number in range(MOST_FIELDS // 50))
    return f"{{{STEP}, " + ", ".join(f'"k{number}": {{{inner}}}' for number in range(100)) + "}\n"


@pytest.mark.few(3)
@pytest.mark.parametrize(
    "text",
    [
        columns_of_one_row_each,
        wide_row_among_empty_ones,
        paths_of_few_names,
        row_of_too_many_fields,
        row_of_too_many_inner_fields,
    ],
)
def test_tables_of_empty_cells_are_refused_before_they_are_made(
    text: Callable[[], str], tmp_path: Path
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(text())
    start = time.process_time()
    with pytest.raises(gaecli.FileError, match="different fields between them"):
        gaecli.compute(path)
    # pyarrow takes from half a minute to hours over them, and many gigabytes.
    assert time.process_time() - start < 10


def test_texts_that_quote_json_are_no_fields(tmp_path: Path) -> None:
    quoted = ", ".join(rf"\"k{number}\": 1" for number in range(2 * MOST_FIELDS))
    path = written(tmp_path / "x.jsonl", f', "text": "{quoted}"')
    assert gaecli.compute(path).files[0].counts.steps == 1


def test_lines_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaecli.formats.jsonl.bounds.MOST_LINE_BYTES", 1 << 20)
    monkeypatch.setattr("gaecli.formats.jsonl.bounds._PIECE_BYTES", 1 << 16)
    path = written(tmp_path / "x.jsonl", "", f', "text": "{"x" * (1 << 19)}"')
    assert gaecli.compute(path).files[0].counts.steps == 2
    written(path, "", f', "text": "{"x" * (1 << 21)}"')
    with pytest.raises(gaecli.FileError, match="longer than 1 MiB") as raised:
        gaecli.compute(path)
    assert "one object per line" in str(raised.value.hint)


def test_objects_that_do_not_keep_to_their_lines_are_refused(tmp_path: Path) -> None:
    """As many objects as lines, and all the same no place for a field in each line."""
    path = tmp_path / "r.jsonl"
    path.write_text(
        '{"reward": 1.0, "value": 0.0, "terminated": true} {"reward": 2.0,\n"value": 0.0, "terminated": true}\n'
    )
    before = path.read_bytes()
    with pytest.raises(gaecli.FileError, match=r"a line that is not one JSON object: `\{"):
        gaecli.compute(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["r.jsonl"]
