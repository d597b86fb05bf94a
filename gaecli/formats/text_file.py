"""What files of text have in common: no place for metadata, so that a record of gaecli's columns lies beside them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from gaecli.formats.own_columns import fingerprint
from gaecli.formats.record_beside import believed, read_record


class TextFile(ABC):
    """One of them: its digests, and the record as far as they fit."""

    path: Path

    @cached_property
    def provenance(self) -> dict[str, Any] | None:
        """As much of the record as is of this file."""
        record = read_record(self.path)
        return None if record is None else believed(record, self.payload, self.digests)

    def fingerprint(self, own_columns: Sequence[str]) -> str:
        return fingerprint(self, own_columns)

    def payload(self, own_columns: Sequence[str]) -> str:
        """Of the text of the whole file without gaecli's columns; once for each set of them."""
        names = frozenset(own_columns)
        if names not in self._payloads:
            self._payloads[names] = self.digest_without(names)
        return self._payloads[names]

    @cached_property
    def _payloads(self) -> dict[frozenset[str], str]:
        return {}

    @abstractmethod
    def digest_without(self, own_columns: frozenset[str]) -> str: ...

    @abstractmethod
    def digests(self, names: Sequence[str]) -> dict[str, str]: ...
