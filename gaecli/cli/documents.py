"""What `--json` prints: one way for all commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from gaecli.cli import defaults


def print_document(document: Mapping[str, Any], stream: TextIO | None = None) -> None:
    """On stdout, or `stream`, with the defaults that took effect."""
    from gaecli.report.document import to_json

    (stream or sys.stdout).write(to_json({**document, **defaults.as_document()}) + "\n")


def print_documents(documents: Iterable[Mapping[str, Any]]) -> None:
    """One as it is; several as JSON lines."""
    first, *others = documents
    if not others:
        print_document(first)
        return
    for document in (first, *others):
        sys.stdout.write(json.dumps({**document, **defaults.as_document()}, allow_nan=False) + "\n")
