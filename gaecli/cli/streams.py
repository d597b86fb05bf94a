"""stdout and stderr of the process: never closed, and with words for what goes wrong in writing to them."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from typing import TextIO

from gaecli.errors import FileError
from gaecli.report.sizes import size_in_environment

_SPELL_OUT = "gaecli.spell-out"
_SPELLINGS = {
    "γ": "gamma",
    "λ": "lambda",
    "α": "alpha",
    "β": "beta",
    "δ": "delta",
    "ε": "eps",
    "μ": "mu",
    "π": "pi",
    "ρ": "rho",
    "τ": "tau",
    "Σ": "sum",
    "ₜ": "_t",
    "²": "^2",
    "√": "sqrt",
    "·": "*",
    "×": "x",
    "−": "-",
    "–": "-",
    "—": "-",
    "…": "...",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "→": "->",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
}


def prepare_streams() -> None:
    """Before anything is opened, or written."""
    _forget_odd_sizes()
    _open_closed_files()
    codecs.register_error(_SPELL_OUT, _spelt_out)
    sys.stdout = _telling(1, "stdout", sys.stdout)
    sys.stderr = _telling(2, "stderr", sys.stderr)


def _forget_odd_sizes() -> None:
    """Rich and typer take whatever digits stand in these for the size of the terminal, thousands of them too."""
    for name in ("COLUMNS", "LINES"):
        if size_in_environment(name) is None:
            os.environ.pop(name, None)


def _open_closed_files() -> None:
    """`gae ... >&-` has no stdout: a file opened next would take its place, and its number."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(handle)


def _telling(handle: int, name: str, stream: TextIO | None) -> TextIO:
    """The same stream over a file whose failures are told, in whichever layer and command they come up."""
    file = io.BufferedWriter(_OutputStream(handle, name))
    if stream is None:
        return io.TextIOWrapper(file, encoding="utf-8")
    is_direct = name == "stderr" or stream.isatty()
    errors = _SPELL_OUT if stream.errors == "strict" else stream.errors
    return io.TextIOWrapper(file, stream.encoding, errors, line_buffering=is_direct)


def _spelt_out(error: UnicodeError) -> tuple[str, int]:
    """What an encoding cannot carry in letters that it can: help texts hold γ and λ, and latin-1 none of them."""
    assert isinstance(error, UnicodeEncodeError)
    spelt = ""
    for letter in error.object[error.start : error.end]:
        spelling = _SPELLINGS.get(letter) or _escaped(letter)
        spelt += " " + spelling if spelt[-1:].isalpha() and spelling.isalpha() else spelling
    return spelt, error.end


def _escaped(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode("ascii")


class _OutputStream(io.FileIO):
    def __init__(self, handle: int, name: str) -> None:
        super().__init__(handle, "wb", closefd=False)
        self._title = name

    def write(self, content: object) -> int:
        try:
            return super().write(content)  # type: ignore[arg-type]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _not_written(self._title, error) from error


def _not_written(name: str, error: OSError) -> FileError:
    if error.errno == errno.ENOSPC:
        return FileError(f"no space left to write {name}")
    if error.errno == errno.EDQUOT:
        return FileError(f"the disk quota is used up: {name} was not written in full")
    if error.errno == errno.EFBIG:
        return FileError(f"{name} would be larger than a file may be here", hint="see `ulimit -f`")
    return FileError(f"{name} cannot be written: {error.strerror or error}")
