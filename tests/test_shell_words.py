"""Words of commands come back from a shell, and from our own reading, as they were."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_process import run_here

from gaecli.shell_words import file_word, joined, split, word

WORDS = [
    "",
    "plain",
    "a b",
    "it's",
    '"',
    "$(touch pwned)",
    "$'x'",
    " $' ",
    "\\x41",
    "\x1b[31m",
    "\x1b'\\",
    "a\u200db",
    "\u2028",
    "λ\n",
    os.fsdecode(b"\xff"),
]


def test_a_shell_gives_the_words_back() -> None:
    run = subprocess.run(["bash", "-c", f"printf '%s\\0' {joined(WORDS)}"], capture_output=True, check=True)
    assert [os.fsdecode(one) for one in run.stdout.split(b"\0")[:-1]] == WORDS
    assert joined(WORDS).isprintable()


@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text(st.characters(exclude_characters="\0")))))
def test_they_are_split_again(words: list[str]) -> None:
    words = [one.encode(errors="ignore").decode() for one in words]
    assert split(joined(words)) == words


def test_a_quote_that_is_not_closed_is_an_error() -> None:
    for text in ("'", "$'a", 'x "y'):
        with pytest.raises(ValueError, match="closing quotation"):
            split(text)


def test_hints_show_what_cannot_be_seen_in_a_name(tmp_path: Path) -> None:
    ends = {"done\u200b?": [False, True]}
    values = {"value\x07s": [0.0, 0.0]}
    for columns, hint in (
        ({**values, "terminated": [False, True]}, r"`--value-column $'value\x07s'`"),
        ({"value": [0.0, 0.0], **ends}, r"`--done-column $'done\xe2\x80\x8b?'`"),
    ):
        path = tmp_path / "r.parquet"
        pq.write_table(pa.table({"reward": [1.0, 2.0], **columns}), path)
        done = run_here("compute", path, "--dry-run", env={"COLUMNS": "200"})
        assert hint in done.stderr


def test_a_file_is_no_flag() -> None:
    assert [file_word(name) for name in ("-n.parquet", "-", "r s")] == ["./-n.parquet", "-", "'r s'"]
    assert word("\x07") == r"$'\x07'"
