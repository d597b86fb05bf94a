"""Deflate, as most compressed archives have it: by isal, which is made for speed, or else by the zlib of Python.

What is written is compressed in pieces of one size that know nothing of each other, on as many threads as there are
cores: the bytes depend neither on their number nor on `--jobs`. They do depend on which of the two is installed.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import IO, Any

#: Larger ones compress no better, and each costs five bytes at its end.
PIECE_BYTES = 1 << 20
_RAW = -zlib.MAX_WBITS  # no header, no checksum: the archive has its own
_MOST_THREADS = 8
#: Of 0 to 3. On advantages and returns 2 takes a third more time for the same size, 3 three times as much; 0 makes
#: noise larger than it was.
_ISAL_LEVEL = 1


@cache
def _isal() -> ModuleType | None:
    """There are no wheels of it for every machine."""
    try:
        from isal import isal_zlib
    except ImportError:
        return None
    module: ModuleType = isal_zlib
    return module


def name() -> str:
    """What the bytes of compressed members depend on."""
    if _isal() is None:
        return f"zlib {zlib.ZLIB_RUNTIME_VERSION}"
    import isal

    return f"isal {isal.__version__}, level {_ISAL_LEVEL}"


def crc32(content: Any, start: int = 0) -> int:
    return int((_isal() or zlib).crc32(content, start))


def is_fast() -> bool:
    """Whether there is an `Inflater`."""
    return _isal() is not None


class Inflater:
    """As those of `bz2`, where isal is installed."""

    def __init__(self) -> None:
        # Its stubs take the class of its errors for one of them.
        igzip_lib: Any = import_module("isal.igzip_lib")
        self._damaged = igzip_lib.error
        self._inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)

    @property
    def needs_input(self) -> bool:
        return bool(self._inflater.needs_input)

    @property
    def eof(self) -> bool:
        return bool(self._inflater.eof)

    def decompress(self, packed: bytes, most: int) -> bytes:
        try:
            return bytes(self._inflater.decompress(packed, most))
        except self._damaged as error:
            raise zlib.error(str(error)) from error


def deflated(piece: bytes | memoryview, *, is_last: bool) -> bytes:
    """Bytes that follow those of the piece before."""
    isal = _isal()
    packer: Any = (
        zlib.compressobj(level=6, wbits=_RAW)
        if isal is None
        else isal.compressobj(level=_ISAL_LEVEL, wbits=_RAW)
    )
    return bytes(packer.compress(piece) + packer.flush(zlib.Z_FINISH if is_last else zlib.Z_SYNC_FLUSH))


class DeflaterThreads:
    """For all arrays of one archive. Both libraries let go of the interpreter while they work."""

    def __init__(self) -> None:
        self.count = min(
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1, _MOST_THREADS
        )
        self._pool: ThreadPoolExecutor | None = None

    def start(self, piece: bytes | memoryview, *, is_last: bool) -> Future[bytes]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count, "npz-deflate")
        return self._pool.submit(deflated, piece, is_last=is_last)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


class DeflatedContent:
    """What goes into a member, deflated as it comes, to `file` from where that stands."""

    def __init__(self, threads: DeflaterThreads, file: IO[bytes]) -> None:
        self.num_bytes = self.packed_bytes = self.crc = 0
        self.file = file
        self._threads = threads
        #: Of one piece; what fills one by itself is not copied.
        self._parts: list[memoryview] = []
        self._num_held = 0
        self._window: deque[Future[bytes]] = deque()

    def write(self, content: bytes | memoryview) -> None:
        """`content` stays as it is."""
        rest = memoryview(content).cast("B")
        self.num_bytes += len(rest)
        self.crc = crc32(rest, self.crc)
        while rest:
            if self._num_held == PIECE_BYTES:  # the last one is told that it is
                self._window.append(self._threads.start(self._piece(), is_last=False))
                self._take(self._threads.count)
            part = rest[: PIECE_BYTES - self._num_held]
            self._parts.append(part)
            self._num_held += len(part)
            rest = rest[len(part) :]

    def finish(self) -> None:
        """All of it is in `file`."""
        last = self._piece()
        if not self._window:  # not worth a thread
            self._keep(deflated(last, is_last=True))
        else:
            self._window.append(self._threads.start(last, is_last=True))
            self._take(0)

    def close(self) -> None:
        self.file.close()

    def _piece(self) -> bytes | memoryview:
        parts, self._parts, self._num_held = self._parts, [], 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _take(self, most_left: int) -> None:
        while len(self._window) > most_left:
            self._keep(self._window.popleft().result())

    def _keep(self, packed: bytes) -> None:
        self.file.write(packed)
        self.packed_bytes += len(packed)
