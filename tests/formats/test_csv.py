"""CSV: what its cells are, that they stay as they were written, and what is refused with its line."""

from __future__ import annotations

import csv
import io
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

import gaecli
from gaecli.errors import GaeError
from gaecli.formats.csv import records
from gaecli.formats.csv.header import MOST_COLUMNS
from gaecli.formats.registry import open_file

Run = Callable[..., Any]

HEADER = "reward,value,done"
#: One step that ends its episode: its advantage is 1 - 0.25, its return 1.
STEP, ADDED = "1.0,0.25,true", "0.75,1.0"


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "r.csv"


def type_of(path: Path, *cells: str) -> str:
    """Without the cell that it is of."""
    return (
        open_file(written(path, "\n".join(["x,y", *(f"{cell},0" for cell in cells)])))
        .columns["x"]
        .type_name.partition(",")[0]
    )


@pytest.mark.parametrize(
    ("cells", "type_name"),
    [
        (("1", "2"), "int64"),
        (("1", "2.5"), "double"),
        (("1", "", "3"), "int64"),
        (("", ""), "null"),
        (("1", "NA", "null", '""'), "int64"),
        (("nan", "NaN", "inf", "-Infinity", "1e-3", ".5", "5."), "double"),
        (("+1", " 2", "3 "), "int64"),
        (("+1.5", "\t2"), "double"),
        (('"1"', "2"), "int64"),
        (("true", "False", "TRUE"), "bool"),
        (("0", "1"), "int64"),
        (("true", "0"), "string"),
        (("007", "8"), "string"),
        (("1.5", "007"), "string"),
        (("-01", "2"), "string"),
        (("0x1F", "2"), "string"),
        (("0.5", "-0.25", "0"), "double"),
        (("2024-01-01", "2024-01-02"), "string"),
        (("9223372036854775807",), "int64"),
        (("9223372036854775808", "1"), "string"),
        (("9223372036854775808", "1.5"), "double"),
        (("1e400",), "string"),
        (("1" * 5000,), "string"),
        (("1_000",), "string"),
        (("a", "NA"), "string"),
    ],
)
def test_a_column_is_what_all_of_its_cells_are(path: Path, cells: tuple[str, ...], type_name: str) -> None:
    assert type_of(path, *cells) == type_name
    assert type_of(path, *cells[::-1]) == type_name


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("first", "later", "type_name"),
    [
        ("1", "2.5", "double"),
        ("1.5", "007", "string"),
        ("true", "1", "string"),
        ("", "1", "int64"),
        ("1" * 400, "1.5", "string"),
    ],
)
def test_cells_of_later_pieces_count_as_those_of_the_first(
    path: Path, monkeypatch: pytest.MonkeyPatch, first: str, later: str, type_name: str
) -> None:
    monkeypatch.setattr(records, "_PIECE_BYTES", 16)
    for cells in ([first] * 9 + [later], [later] + [first] * 9):
        assert type_of(path, *cells) == type_name
        assert len(open_file(path).units(100, "x")) > 1


@pytest.mark.few(5)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"{HEADER}\n{STEP}\n", f"{HEADER},advantage,return\n{STEP},{ADDED}\n"),
        (f"{HEADER}\r\n{STEP}\r\n", f"{HEADER},advantage,return\r\n{STEP},{ADDED}\r\n"),
        (f"{HEADER}\n{STEP}", f"{HEADER},advantage,return\n{STEP},{ADDED}"),
        (f"\ufeff{HEADER}\n{STEP}\n\n", f"\ufeff{HEADER},advantage,return\n{STEP},{ADDED}\n\n"),
        (f"# run 7\n\n{HEADER}\n\n{STEP}\n", f"# run 7\n\n{HEADER},advantage,return\n\n{STEP},{ADDED}\n"),
        ("# reward,value,done\n1,.25,1\n", "# reward,value,done,advantage,return\n1,.25,1,0.75,1.0\n"),
        (
            "reward\tvalue\tdone\n1\t.25\t1\n",
            "reward\tvalue\tdone\tadvantage\treturn\n1\t.25\t1\t0.75\t1.0\n",
        ),
        ("reward;value;done\n1;.25;1\n", "reward;value;done;advantage;return\n1;.25;1;0.75;1.0\n"),
        ("reward, value, done\n1, .25, 1\n", "reward, value, done,advantage,return\n1, .25, 1,0.75,1.0\n"),
        (
            '"reward",value,done,"a, ""b"""\n"1.0",0.25,TRUE,"x\n,""y"""\n',
            f'"reward",value,done,"a, ""b""",advantage,return\n"1.0",0.25,TRUE,"x\n,""y""",{ADDED}\n',
        ),
    ],
)
def test_all_bytes_stay_and_cells_are_appended(path: Path, before: str, after: str) -> None:
    written(path, before)
    gaecli.compute(path)
    assert path.read_bytes() == after.encode()
    gaecli.compute(path, gamma=0.5)  # of one step γ changes nothing
    assert path.read_bytes() == after.encode()
    assert gaecli.strip(path).files[0].state == "stripped"
    assert path.read_bytes() == before.encode()


def test_columns_of_an_earlier_run_are_taken_out_wherever_they_stand(path: Path) -> None:
    written(path, f"{HEADER}\n{STEP}\n")
    gaecli.compute(path)
    written(path, f'{HEADER},advantage,return,note\n{STEP},{ADDED},"a,b"\n')
    gaecli.compute(path, gamma=0.5)
    assert path.read_text() == f'{HEADER},note,advantage,return\n{STEP},"a,b",{ADDED}\n'


@pytest.mark.parametrize(
    ("content", "says", "hint"),
    [
        ("1,2,3\n4,5,6\n", "line 1 holds numbers where the names", "header"),
        ("0,1,2\n4,5,6\n", "line 1 holds numbers where the names", "header"),
        (f"{HEADER}\n{STEP}\n1,2\n", "line 3 has 2 cells, and the header names 3", "every row"),
        (f"{HEADER}\n\n{STEP}\n1,2,true,4\n", "line 4 has 4 cells", "stands in quotes"),
        (f'{HEADER},n\n{STEP},"a\nb"\n{STEP}\n', "line 4 has 3 cells", "every row"),
        (f'{HEADER},n\n{STEP},5" pipe\n', "line 2 has a quote in the middle", "doubled"),
        (f'{HEADER},n\n{STEP},"a\\"b"\n', "line 2 has a quote in the middle", "Spark"),
        (f'{HEADER},n\n{STEP},"a\n{STEP},"b"\n', "line 3 has a quote.*line 2 on is open", "doubled"),
        (f'{HEADER},n\n{STEP},"a\n{STEP},b\n', "line 2 is never closed", "cut off"),
        (f"{HEADER}\n{STEP}\n".encode("utf-16"), "UTF-16", "iconv"),
        (f"{HEADER}\n{STEP}\n".encode("utf-16-le"), "UTF-16", "iconv"),
        (f"{HEADER},n\n{STEP},\xe9\n".encode("latin-1"), r"line 2 is not UTF-8 \(byte 0xe9\)", "iconv"),
        (f"{HEADER}\n{STEP}\n1,\0,true\n", "line 3 has a NUL byte", "damaged"),
        (f"{HEADER}\r{STEP}\r", "line 1 holds a carriage return", "LF or CRLF"),
        (f"{HEADER}\n{STEP}\r{STEP}\n", "line 2 holds a carriage return", "LF or CRLF"),
        ("# nothing\n\n", "no line with the names", "header"),
        ("reward\n1\n\n2\n", "line 3 is blank, in a file of one column", "NA"),
        (",".join(["x"] * (MOST_COLUMNS + 1)) + "\n", "names 10,001 columns", "Parquet"),
        ("reward value done\n1,2,3\n", "line 2 has 3 cells, and the header names 1", "told apart"),
        ("", "is empty: 0 bytes", "CSV"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(
    path: Path, content: str | bytes, says: str, hint: str
) -> None:
    with pytest.raises(gaecli.FileError, match=says) as raised:
        gaecli.compute(written(path, content))
    assert hint in raised.value.hint


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("reward;value;done\n0,5;1,5;1\n", "decimal commas"),
        ('reward,value,done\n"[1.0, 2.0]",1,1\n', "lists written as texts"),
        ("reward,reward,value,done\n1,2,3,1\n", "two columns have this name"),
        ("reward,value,done\n1.0,a,1\n", "`value`.*its type is string, and"),
        ("reward,value,done\n1.0,1,1\n1,NA,1\n2,x,1\n", "its type is string, as row 2 holds `x`"),
        ("reward,value,done\n1.0,01,1\n1,2,1\n", "its type is string"),
        ("reward,value,done\n1.0,,1\n", "`value` is null"),
        ("reward,value,done\n1.0,nan,1\n", "`value` is NaN"),
        ("reward,value,done\n1.0,1e400,1\n", "`value`"),
    ],
)
def test_a_cell_that_is_no_number_is_told_where_one_is_needed(path: Path, content: str, says: str) -> None:
    written(path, content)
    with pytest.raises(GaeError, match=says):
        gaecli.compute(path)
    assert path.read_text() == content


@pytest.mark.parametrize("kind", ["line", "quote"])
def test_a_record_without_end_is_refused_before_it_fills_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(records, "_PIECE_BYTES", 1 << 17)
    monkeypatch.setattr(records, "MOST_RECORD_BYTES", 1 << 20)
    long = "7" * (2 << 20) if kind == "line" else '"' + "a\n" * (1 << 20)
    says = "line 3 is more than 1 MiB long" if kind == "line" else "from line 3 on is not closed within 1 MiB"
    with pytest.raises(gaecli.FileError, match=says):
        gaecli.inspect(written(path, f"{HEADER}\n{STEP}\n{long}"))


def test_a_header_and_no_rows_are_no_steps(path: Path) -> None:
    written(path, f"{HEADER}\n")
    assert gaecli.inspect(path).counts.steps == 0


def test_ids_with_zeros_before_them_are_other_ids(path: Path) -> None:
    rows = "".join(f"{episode},1.0,0.25,0\n" for episode in ("007", "7"))
    found = gaecli.inspect(written(path, f"episode,reward,value,done\n{rows}"))
    assert found.counts.episodes == 2


def test_other_readers_find_the_numbers_to_the_last_bit(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    columns = {
        "reward": random.normal(size=500),
        "value": random.normal(size=500),
        "done": np.arange(500) % 7 == 6,
    }
    path, twin = tmp_path / "r.csv", tmp_path / "r.npz"
    pl.DataFrame(columns).write_csv(path)
    np.savez(twin, **columns)
    for one in (path, twin):
        gaecli.compute(one)
    expected = np.load(twin)["advantage"]
    readers = {
        "pandas": pd.read_csv(path)["advantage"],
        "polars": pl.read_csv(path)["advantage"],
        "duckdb": duckdb.sql(f"SELECT advantage FROM '{path}'").fetchnumpy()["advantage"],
        "csv": [float(row["advantage"]) for row in csv.DictReader(path.open())],
    }
    for name, found in readers.items():
        assert (np.asarray(found, expected.dtype) == expected).all(), name


TEXTS = st.text(st.sampled_from("ab ,;\t\"\n\r'é0#"), max_size=6)


@examples(30)
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=8), quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
)
def test_whatever_texts_stand_beside_the_numbers_they_come_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], quoting: int
) -> None:
    path = tmp_path_factory.mktemp("csv") / "r.csv"
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting, lineterminator="\r\n")
    writer.writerow(["note", *HEADER.split(",")])
    writer.writerows([one, *STEP.split(",")] for one in texts)
    written(path, text.getvalue())
    assert gaecli.compute(path).totals.steps == len(texts)
    rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))
    assert [row["note"] for row in rows] == texts
    assert {row["advantage"] for row in rows} == {"0.75"}


@examples(50)
@given(number=st.floats(width=32))
def test_a_float32_is_written_so_that_it_is_read_as_the_same(number: float) -> None:
    from gaecli.formats.base import OutputColumn
    from gaecli.formats.csv.writer import cell_texts

    (text,) = cell_texts(OutputColumn(np.array([number], np.float32)), ",")
    found = np.float32(float(text))
    assert struct.pack("f", found) == struct.pack("f", number) or (math.isnan(found) and math.isnan(number))


def test_csv_goes_through_pipes(run_gae: Run, tmp_path: Path) -> None:
    done = run_gae("compute", "-", "-o", "-", input=f"{HEADER}\n{STEP}\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{HEADER},advantage,return\n{STEP},{ADDED}\n"


def test_a_folder_of_csv_is_as_many_rollouts(tmp_path: Path) -> None:
    for name in ("a.csv", "b.tsv"):
        mark = "\t" if name == "b.tsv" else ","
        written(tmp_path / name, f"{HEADER}\n{STEP}\n{STEP}\n".replace(",", mark))
    totals = gaecli.compute(tmp_path).totals
    assert (totals.steps, totals.episodes) == (4, 4)


def test_label_texts_are_quoted_where_they_would_be_read_as_something_else() -> None:
    from gaecli.formats.base import OutputColumn
    from gaecli.formats.csv.writer import cell_texts

    texts = OutputColumn(np.array(["a,b", 'say "x"', "", "plain", "gone"]), np.array([False] * 4 + [True]))
    assert cell_texts(texts, ",") == ['"a,b"', '"say ""x"""', '""', "plain", ""]


@pytest.mark.few(3)
@pytest.mark.parametrize("command", ["check", "explain", "sweep", "verify"])
def test_all_commands_read_it_as_they_read_json_lines(run_gae: Run, tmp_path: Path, command: str) -> None:
    random = np.random.default_rng(1)
    frame = pl.DataFrame(
        {"reward": random.normal(size=40), "value": random.normal(size=40), "done": np.arange(40) % 9 == 8}
    )
    texts = []
    for name in ("r.csv", "r.ndjson"):
        place = tmp_path / name
        getattr(frame, f"write_{name[2:]}")(place)
        gaecli.compute(place)
        told = ("--row", "3") if command == "explain" else ()
        done = run_gae(command, place, *told, "--json")
        assert done.returncode == 0, done.stderr
        texts.append(done.stdout.replace(name, "r"))
    assert _plain(texts[0]) == _plain(texts[1])


def _plain(document: str) -> Any:
    """Without times, and what only tells how a file is written."""
    import json

    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            skip = {"seconds", "format", "steps_per_second", "type", "row_groups", "size", "path"}
            return {key: cleaned(inner) for key, inner in value.items() if key not in skip}
        return [cleaned(one) for one in value] if isinstance(value, list) else value

    return cleaned(json.loads(document))
