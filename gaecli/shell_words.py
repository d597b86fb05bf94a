"""Words of commands that messages tell: a shell takes them as they stand."""

from __future__ import annotations

import os
import re
import shlex
import unicodedata
from collections.abc import Iterable
from pathlib import Path

#: Controls, what formats (joiners, directions of text), bytes that are no text, separators of lines.
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")

#: A whole word in such escapes, and one of them: `\x1b`, or a character behind a backslash.
_IN_ESCAPES = re.compile(r"(?<!\S)\$'((?:[^'\\]|\\.)*)'(?!\S)")
_ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|(.))")


def file_word(path: str | Path) -> str:
    """The file in a command: quoted, and never taken for a flag. `-` is stdin."""
    name = str(path)
    return word(f"./{name}" if name.startswith("-") and name != "-" else name)


def word(text: str) -> str:
    """Quoted. What cannot be seen is in escapes of `$'…'`, which can be shown and copied; bash and zsh take them."""
    if not any(unicodedata.category(char) in _UNSEEN for char in text):
        return shlex.quote(text)
    return f"$'{''.join(map(_escaped, text))}'"


def joined(words: Iterable[str]) -> str:
    return " ".join(map(word, words))


def split(text: str) -> list[str]:
    """The words again, `$'…'` among them.

    Raises:
        ValueError: of a quote that is not closed.
    """
    return shlex.split(_IN_ESCAPES.sub(lambda found: shlex.quote(_meant(found[1])), text))


def _meant(escaped: str) -> str:
    plain = _ESCAPE.sub(
        lambda found: bytes([int(found[1], 16)]) if found[1] else found[2], os.fsencode(escaped)
    )
    return os.fsdecode(plain)


def _escaped(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    if unicodedata.category(char) not in _UNSEEN:
        return char
    # Bytes, as `\u` is for those alone whose locale has UTF-8.
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))
