"""Words of commands come back from a shell, and from our own reading, as they were."""

from __future__ import annotations

import gzip
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_process import run_here

import gaecli
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


@pytest.mark.parametrize("suffix", [".npy", ".json", ".jsonl.gz", ".pt"])
def test_commands_that_convert_a_file_take_its_name_for_nothing_else(suffix: str, tmp_path: Path) -> None:
    """`duckdb` and the `python` that would need torch are scripts here, which give back what they were given."""
    (tmp_path / "bin").mkdir()
    path = tmp_path / f"it's $(touch pwned) \u2028{suffix}"
    made, script = {
        ".npy": (path.with_suffix(".npz"), ""),
        ".json": (path.with_suffix(".parquet"), "cat"),
        ".jsonl.gz": (path.with_suffix(""), ""),
        ".pt": (path.with_suffix(".jsonl"), 'printf %s "$3"'),
    }[suffix]
    if script:
        command = tmp_path / "bin" / ("duckdb" if suffix == ".json" else "python")
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
    if suffix == ".npy":
        np.save(path, np.arange(3))
    elif suffix == ".pt":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("5/data.pkl", pickle.dumps([{"reward": 1.0}], protocol=2))
            archive.writestr("5/version", b"3\n")
    else:
        path.write_bytes(gzip.compress(b"[1]") if suffix.endswith(".gz") else b"[1]")
    with pytest.raises(gaecli.FileError) as caught:
        gaecli.read(path)
    command_line = (caught.value.hint or "").rpartition("file: ")[2].partition(", with the other")[0]
    places = [str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    env = {**os.environ, "PATH": os.pathsep.join(places)}
    subprocess.run(["bash", "-c", command_line], cwd=tmp_path, env=env, check=True)
    assert {one.name for one in tmp_path.iterdir()} == {"bin", path.name, made.name}
    if suffix == ".npy":
        assert np.load(made)["rewards"].tolist() == [0, 1, 2]
    else:
        assert made.read_bytes() == (os.fsencode(path) if suffix == ".pt" else b"[1]")


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
