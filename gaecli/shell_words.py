"""Words of commands that messages tell: a shell takes them as they stand."""

from __future__ import annotations

import shlex
from pathlib import Path


def file_word(path: str | Path) -> str:
    """The file in a command: quoted, and never taken for a flag. `-` is stdin."""
    name = str(path)
    return shlex.quote(f"./{name}" if name.startswith("-") and name != "-" else name)
