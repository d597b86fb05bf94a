"""What a process has begun to send to a store and not completed, told to whoever finds its spool if it was killed.

A bucket does not tell whose an upload is, nor whether that process lives. A note in the spool tells both to later
runs of the same user on the same machine: the spool is locked as long as its process lives.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from gaecli.storage.spool import NOTES, abandoned_spools, sweep_spools
from gaecli.storage.uploads import SentObject


class UploadNotes:
    """Those of this process. One that cannot be written is none: the upload is taken back a day later then."""

    def __init__(self, spool: Path) -> None:
        self._folder = spool / NOTES
        self._written: dict[str, Path] = {}

    def add(self, uri: str, sent: SentObject) -> None:
        if sent.upload_id in self._written:
            return
        note = {"uri": uri, "bucket": sent.bucket, "key": sent.key, "upload_id": sent.upload_id}
        path = self._folder / f"{time.time_ns()}-{len(self._written)}.json"
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            path.write_text(json.dumps(note))
            self._written[sent.upload_id] = path

    def strike(self, sent: SentObject) -> None:
        """It is complete, taken back, or another process has it."""
        path = self._written.pop(sent.upload_id, None)
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink()


class LeftUpload(NamedTuple):
    """Of a process that has ended without completing it or taking it back."""

    note: Path
    sent: SentObject


def left_uploads(folder: Path) -> Iterator[tuple[str, LeftUpload]]:
    """By URI, of what abandoned spools in a folder tell; whoever has dealt with one removes its note.

    A spool without notes is of no use any more.
    """
    spools = abandoned_spools(folder)
    for spool in spools:
        with contextlib.suppress(OSError):
            for note in sorted((spool / NOTES).iterdir()):
                with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                    found: Mapping[str, str] = json.loads(note.read_text())
                    sent = SentObject(found["bucket"], found["key"], found["upload_id"])
                    yield found["uri"], LeftUpload(note, sent)
    if spools:
        sweep_spools(folder)
