"""The screen of `gae show`: what `gae report` puts on a page, in the terminal. Drawn by textual, the extra `show`.

Texts of files are hostile: what moves the cursor is an escape (`Canvas.clean`), and none of them is parsed as markup.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

from gaecli.errors import MissingExtraError, UsageError
from gaecli.report.sizes import is_dumb, is_terminal
from gaecli.shell_words import file_word


def check_available(source: str) -> None:
    """Raise where there is nothing to draw with, or nobody who looks and types."""
    instead = f"`gae report {file_word(source)}` writes the same as a page"
    # Keys come from stdin, and textual draws on stderr.
    if not all(is_terminal(stream) for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise UsageError(
            "`gae show` needs a terminal: stdin, stdout or stderr is none",
            hint="`gae report -` reads stdin and writes a page" if source == "-" else instead,
        )
    if source == "-":
        raise UsageError(
            "`gae show` reads keys from stdin, and no file",
            hint="name a file, or pipe it into `gae report -`",
        )
    if is_dumb():
        raise UsageError(
            f"`gae show` cannot draw on this terminal (`TERM={os.environ['TERM']}`)", hint=instead
        )
    if find_spec("textual") is None:
        raise MissingExtraError(
            "`gae show` draws with textual, which the extra `show` brings",
            hint=f"pip install 'gaecli[show]'; {instead}",
        )
