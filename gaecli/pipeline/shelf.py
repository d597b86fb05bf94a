"""Streams that wait for one another: the first ones as they are, of the others as little as brings them back.

Thousands of them share a normalisation, and of an open file all that there is takes more memory than its rows do.
So of most streams what was found out is kept as bytes, and their files are opened again when they are asked for.
"""

from __future__ import annotations

import io
import pickle
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, overload

from gaecli.errors import GaeError
from gaecli.pipeline.opening import OpenFile, OpenStream, open_files
from gaecli.pipeline.stream import SummarisedStream
from gaecli.settings import Settings
from gaecli.sources.inputs import StreamPlan
from gaecli.storage.local_inputs import Identity

AnyStream = OpenStream | SummarisedStream

#: Streams that are kept as they are: some twenty megabytes.
MOST_KEPT = 1024
#: zlib looks so far back.
_MOST_LIKE = 32 << 10


class Shelf:
    """Each stream is put there and taken by one thread at a time.

    Args:
        settings: of the run.
        check: raises where a file is not the one that it was.
        forget: gives up what the process has of a stream.
    """

    def __init__(
        self,
        settings: Settings,
        check: Callable[[Path, Identity], None],
        forget: Callable[[int], None],
    ) -> None:
        self._settings = settings
        self._check = check
        self._forget = forget
        self._kept: dict[int, AnyStream] = {}
        self._packed: dict[int, bytes] = {}
        #: What one stream is packed as; the others hardly differ.
        self._like: bytes | None = None
        self._lock = threading.Lock()

    def keeps(self, number: int) -> bool:
        """Whether a stream stays as it is."""
        return number < MOST_KEPT

    def put(self, stream: AnyStream) -> None:
        number = _opened(stream).number
        if self.keeps(number):
            self._kept[number] = stream
            return
        raw = self._raw(stream)
        with self._lock:
            if self._like is None:
                self._like = raw[-_MOST_LIKE:]
        self._forget(number)
        packer = zlib.compressobj(1, zdict=self._like)
        self._packed[number] = packer.compress(raw) + packer.flush()

    def get(self, number: int, plan: StreamPlan) -> AnyStream:
        """The stream as it was put there; its files are opened once they are asked for."""
        if number in self._kept:
            return self._kept[number]
        unpacker = zlib.decompressobj(zdict=self._like or b"")
        raw = unpacker.decompress(self._packed[number])
        stream: AnyStream = _Unpacker(raw, {"plan": plan, "settings": self._settings}, self._check).load()
        opened = _opened(stream)
        assert isinstance(opened.files, _LetGo)
        opened.files.stream = opened
        return stream

    def _raw(self, stream: AnyStream) -> bytes:
        out = io.BytesIO()
        opened = _opened(stream)
        _Packer(out, {id(opened.plan): "plan", id(self._settings): "settings"}, opened).dump(stream)
        return out.getvalue()

    def drop(self, number: int) -> None:
        self._kept.pop(number, None)
        self._packed.pop(number, None)


def _opened(stream: AnyStream) -> OpenStream:
    return stream if isinstance(stream, OpenStream) else stream.opened


class _LetGo(Sequence[OpenFile]):
    """The files of a stream, opened again when one of them is asked for."""

    def __init__(self, identities: tuple[Identity, ...], check: Callable[[Path, Identity], None]) -> None:
        self.identities = identities
        self._check = check
        #: How they were open.
        self.stream: OpenStream | None = None
        self._files: list[OpenFile] | None = None

    def __len__(self) -> int:
        return len(self.identities)

    @overload
    def __getitem__(self, index: int) -> OpenFile: ...
    @overload
    def __getitem__(self, index: slice) -> list[OpenFile]: ...
    def __getitem__(self, index: int | slice) -> OpenFile | list[OpenFile]:
        if self._files is None:
            self._files = self._open()
        return self._files[index]

    def _open(self) -> list[OpenFile]:
        assert self.stream is not None
        paths = self.stream.plan.paths
        try:
            files = open_files(
                self.stream.plan, self.stream.settings, self.stream.rows_per_block, self.stream.row_order
            )
        except GaeError:
            for path, identity in zip(paths, self.identities, strict=True):
                self._check(path, identity)
            raise
        for path, file, identity in zip(paths, files, self.identities, strict=True):
            if file.file.identity != identity:
                self._check(path, identity)
        return files


class _Packer(pickle.Pickler):
    """Without what the run has of every stream, and without its open files."""

    def __init__(self, out: io.BytesIO, names: dict[int, str], opened: OpenStream) -> None:
        super().__init__(out, pickle.HIGHEST_PROTOCOL)
        self._names = names
        self._opened = opened

    def persistent_id(self, thing: Any) -> Any:
        if thing is self._opened.files:
            return self._opened.identities
        return self._names.get(id(thing))


class _Unpacker(pickle.Unpickler):
    """Of bytes that never left this process."""

    def __init__(self, raw: bytes, known: dict[str, Any], check: Callable[[Path, Identity], None]) -> None:
        super().__init__(io.BytesIO(raw))
        self._known = known
        self._check = check

    def persistent_load(self, name: Any) -> Any:
        return self._known[name] if isinstance(name, str) else _LetGo(name, self._check)
