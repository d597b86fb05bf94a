"""Whether gaecli's columns are as gaecli wrote them.

What is stored beside the columns outlives them: whoever edits a cell keeps the provenance, which then says
of numbers of somebody else that they are up to date. So it has a digest of every column that was written.
Parquet has a mark for this that writers do not carry over (`parquet/mark.py`), and needs to read no cell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from gaecli.array_types import Array
from gaecli.formats.base import Column, WritePlan

_KEY = "digests"


class SelfKnowing(Protocol):
    """A file whose parts can be digested."""

    @property
    def provenance(self) -> dict[str, Any] | None: ...

    def payload(self, own_columns: Sequence[str]) -> str:
        """Of all that is in the file but these columns."""

    def digests(self, names: Sequence[str]) -> Mapping[str, str]:
        """Of the content of each of these columns that is there."""


def fingerprint(file: SelfKnowing, own_columns: Sequence[str]) -> str:
    """`RolloutFile.fingerprint`: of the payload, and of which own columns are not as they were written."""
    return _with_edits(file, file.payload(own_columns), own_columns)


def signature(source: SelfKnowing, plan: WritePlan, written: Mapping[str, str]) -> dict[str, Any]:
    """What a writer adds to the provenance, so that the new file knows itself. `written`: digests."""
    kept = plan.kept_own_columns
    ours = (*plan.own_columns, *plan.drop_columns, *plan.new_columns, *kept)
    known = {name: digest for name, digest in _stored(source).items() if name in kept}
    payload = _with_edits(source, source.payload(ours), kept)
    return {"payload": payload, _KEY: {**known, **written}}


def _with_edits(file: SelfKnowing, payload: str, names: Sequence[str]) -> str:
    stored = _stored(file)
    found = file.digests(names) if names else {}
    edited = sorted(name for name, digest in found.items() if stored.get(name) != digest)
    return f"{payload} edited: {', '.join(edited)}" if edited else payload


def _stored(file: SelfKnowing) -> dict[str, Any]:
    stored = (file.provenance or {}).get(_KEY)
    return stored if isinstance(stored, dict) else {}


class ContentDigest:
    """Of the cells of one column, in whatever pieces its rows come."""

    def __init__(self) -> None:
        self._values, self._nulls, self._lengths = (hashlib.sha256() for _ in range(3))
        self._num_items = 0

    def add(self, column: Column) -> None:
        values = column.values if column.categories is None else _texts(column.values, column.categories)
        if column.is_null is not None:
            self._nulls.update((np.flatnonzero(column.is_null) + self._num_items).tobytes())
            values = np.where(column.is_null, values.dtype.type(0), values)
        self._values.update(np.ascontiguousarray(values).data)
        if column.offsets is not None:
            lengths = np.diff(column.offsets)
            self._lengths.update(
                (lengths if column.null_lists is None else lengths - column.null_lists).tobytes()
            )
        self._num_items += len(values)

    def hexdigest(self) -> str:
        parts = (self._values, self._nulls, self._lengths)
        return hashlib.sha256(b"".join(part.digest() for part in parts)).hexdigest()


def _texts(codes: Array, texts: Sequence[Any]) -> Array:
    """A number for each text, the same whatever code it has in a piece."""
    digests = [hashlib.blake2b(str(text).encode("utf-8", "surrogatepass"), digest_size=8) for text in texts]
    numbers = np.frombuffer(b"".join(one.digest() for one in digests), np.uint64)
    return np.append(numbers, np.uint64(0))[codes]  # -1, which stands for a null, is the last one
